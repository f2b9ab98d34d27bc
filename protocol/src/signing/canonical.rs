//! The text that is signed.

use sha2::{Digest, Sha256};

/// The first line of the canonical string, and the prefix of every signature: the version of both.
pub(super) const VERSION: &str = "WA1";

/// The signed fields as they stand in headers and properties, character for character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanonicalFields<'a> {
    /// `x-wa-key`.
    pub key: &'a str,
    /// `x-wa-audience`.
    pub audience: &'a str,
    /// The AMQP property `type`.
    pub type_: &'a str,
    /// The AMQP property `message_id`.
    pub message_id: &'a str,
    /// `x-wa-workspace`.
    pub workspace: &'a str,
    /// `x-wa-session`.
    pub session: &'a str,
    /// `x-wa-issued-at`.
    pub issued_at: &'a str,
    /// `x-wa-expires-at`.
    pub expires_at: &'a str,
    /// The AMQP property `content_type`.
    pub content_type: &'a str,
}

impl<'a> CanonicalFields<'a> {
    /// The fields in the order of their lines, each with the name of the header or property it comes from.
    pub(super) fn in_order(&self) -> [(&'static str, &'a str); 9] {
        [
            (super::KEY_HEADER, self.key),
            (super::AUDIENCE_HEADER, self.audience),
            ("type", self.type_),
            ("message_id", self.message_id),
            (super::WORKSPACE_HEADER, self.workspace),
            (super::SESSION_HEADER, self.session),
            (super::ISSUED_AT_HEADER, self.issued_at),
            (super::EXPIRES_AT_HEADER, self.expires_at),
            ("content_type", self.content_type),
        ]
    }
}

/// A field holds a control character, which could forge the line of another field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name} holds a control character")]
pub struct ControlCharacter {
    /// The header or property.
    pub name: &'static str,
}

/// The canonical string of a message.
///
/// # Errors
/// When a field holds a control character (U+0000 to U+001F, U+007F to U+009F).
pub fn canonical_string(fields: &CanonicalFields<'_>, body: &[u8]) -> Result<String, ControlCharacter> {
    with_body_hash(fields, &body_hash(body))
}

/// SHA-256 of a body.
pub(super) fn body_hash(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// The canonical string of a message whose body has this hash.
pub(super) fn with_body_hash(fields: &CanonicalFields<'_>, body_sha256: &[u8; 32]) -> Result<String, ControlCharacter> {
    let mut text = String::with_capacity(512);
    text.push_str(VERSION);
    text.push('\n');
    for (name, value) in fields.in_order() {
        if value.chars().any(char::is_control) {
            return Err(ControlCharacter { name });
        }
        text.push_str(value);
        text.push('\n');
    }
    push_hex(&mut text, body_sha256);
    text.push('\n');
    Ok(text)
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: CanonicalFields<'static> = CanonicalFields {
        key: "cmd-1",
        audience: "wa.commands",
        type_: "message.send",
        message_id: "m1",
        workspace: "7",
        session: "s1",
        issued_at: "1",
        expires_at: "2",
        content_type: "application/json",
    };

    #[test]
    fn every_field_has_its_line() {
        let empty_sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let expected =
            format!("WA1\ncmd-1\nwa.commands\nmessage.send\nm1\n7\ns1\n1\n2\napplication/json\n{empty_sha256}\n");
        assert_eq!(canonical_string(&FIELDS, b""), Ok(expected));
    }

    #[test]
    fn control_characters_are_refused_with_the_name_of_the_field() {
        for control in ["\n", "\r", "\0", "\u{1b}", "\u{7f}", "\u{85}", "\u{9f}"] {
            let fields = CanonicalFields { session: control, ..FIELDS };
            assert_eq!(canonical_string(&fields, b""), Err(ControlCharacter { name: "x-wa-session" }), "{control:?}");
            let fields = CanonicalFields { message_id: control, ..FIELDS };
            assert_eq!(canonical_string(&fields, b""), Err(ControlCharacter { name: "message_id" }), "{control:?}");
        }
        assert!(canonical_string(&CanonicalFields { session: "ü \u{2028}", ..FIELDS }, b"").is_ok());
    }
}
