//! Identifiers as types: whoever holds one holds a checked one.
//!
//! Every identifier is parsed once, at the edge, by [`FromStr`] or [`TryFrom`], and is plain text
//! (or, for [`WorkspaceId`], a number) on the wire. What a parser refuses, it refuses with an [`IdError`] that names
//! the kind of identifier and the fault, and never repeats the input.
//!
//! [`SessionId`], [`CommandId`] and [`KeyId`] are safe as file names, routing-key words and log fields: their alphabets
//! hold no separator, no dot-dot and nothing outside ASCII.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod campaign_id;
mod event_id;
mod whatsapp;

pub use campaign_id::CampaignId;
pub use event_id::EventId;
pub use whatsapp::{ChatId, ChatKind, MessageId, MessageKey, PhoneNumber};

/// Why a text is not the identifier it should be. Never contains the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind}: {fault}")]
pub struct IdError {
    /// What was expected, for people: `session id`, `phone number`, ….
    pub kind: &'static str,
    /// What is wrong.
    pub fault: IdFault,
}

/// The ways in which a text can fail to be an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdFault {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// Longer than the identifier may be.
    #[error("it is longer than {max} characters")]
    TooLong {
        /// The longest that is accepted.
        max: usize,
    },
    /// A character outside the identifier's alphabet.
    #[error("it holds a character outside {allowed}")]
    BadCharacter {
        /// The alphabet, as the inside of a regular expression's brackets.
        allowed: &'static str,
    },
    /// A word with a meaning of its own.
    #[error("this word is reserved")]
    Reserved,
    /// The right characters in the wrong shape.
    #[error("it does not have the form {form}")]
    WrongForm {
        /// The form that is accepted, for people.
        form: &'static str,
    },
}

/// Checks length and alphabet, the part all textual identifiers share.
fn check_text(
    kind: &'static str,
    text: &str,
    max: usize,
    allowed: &'static str,
    is_allowed: fn(u8) -> bool,
) -> Result<(), IdError> {
    let fault = if text.is_empty() {
        IdFault::Empty
    } else if text.len() > max {
        IdFault::TooLong { max }
    } else if !text.bytes().all(is_allowed) {
        IdFault::BadCharacter { allowed }
    } else {
        return Ok(());
    };
    Err(IdError { kind, fault })
}

/// Gives a newtype over checked text everything an identifier has, except `Debug`.
///
/// The type needs `fn check(text: String) -> Result<Self, IdError>` and `const PATTERN: &str`.
macro_rules! text_identifier {
    ($name:ident) => {
        impl $name {
            /// The text, exactly as it is on the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::id::IdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::check(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = $crate::id::IdError;

            fn try_from(text: &str) -> Result<Self, Self::Error> {
                Self::check(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::id::IdError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::check(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::check(&text).map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": Self::PATTERN })
            }
        }
    };
}
pub(crate) use text_identifier;

/// `Debug` that shows the text, for identifiers that may be logged.
macro_rules! plain_debug {
    ($name:ident) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}
pub(crate) use plain_debug;

/// `Debug` that hides the text, for identifiers that name a person.
macro_rules! redacted_debug {
    ($name:ident) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    };
}
pub(crate) use redacted_debug;

/// One linked WhatsApp number (or one Cloud API number): `[A-Za-z0-9_-]{1,64}`, chosen by the host application.
///
/// Always a single plain path component. `auto` is refused: in a command it means "any session of the workspace".
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// The accepted form; `auto` is refused besides.
    pub const PATTERN: &'static str = "^[A-Za-z0-9_-]{1,64}$";
    /// The word that stands for "any session of the workspace" and therefore names none.
    pub const RESERVED: &'static str = "auto";

    /// No session in particular: any one of the workspace, in a message that may go from any; or the workspace itself, in a
    /// command about it and in what is told of it. Only signed headers and events may name it.
    pub fn any() -> Self {
        Self(Self::RESERVED.to_owned())
    }

    /// Whether it names no session in particular.
    pub fn is_any(&self) -> bool {
        self.0 == Self::RESERVED
    }

    /// A session, or [any](Self::any).
    ///
    /// # Errors
    /// The text is neither.
    pub fn or_any(text: &str) -> Result<Self, IdError> {
        if text == Self::RESERVED { Ok(Self::any()) } else { Self::check(text) }
    }

    pub(crate) fn deserialize_or_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::or_any(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }

    fn check(text: &str) -> Result<Self, IdError> {
        const KIND: &str = "session id";
        check_text(KIND, text, 64, "A-Za-z0-9_-", |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')?;
        if text == Self::RESERVED {
            return Err(IdError { kind: KIND, fault: IdFault::Reserved });
        }
        Ok(Self(text.to_owned()))
    }
}
text_identifier!(SessionId);
plain_debug!(SessionId);

/// The identity of a command, chosen by its sender and used for nothing else ever after: `[A-Za-z0-9_-]{1,64}`.
/// A ULID or a UUID fits. The same id with the same body is the same command, however often it arrives.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(String);

impl CommandId {
    /// The accepted form.
    pub const PATTERN: &'static str = "^[A-Za-z0-9_-]{1,64}$";

    fn check(text: &str) -> Result<Self, IdError> {
        check_text("command id", text, 64, "A-Za-z0-9_-", |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')?;
        Ok(Self(text.to_owned()))
    }
}
text_identifier!(CommandId);
plain_debug!(CommandId);

/// One worker process: `[A-Za-z0-9._:/-]{1,128}`, which leaves room for a pod name and a namespace. Never a file name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(String);

impl WorkerId {
    /// The accepted form.
    pub const PATTERN: &'static str = "^[A-Za-z0-9._:/-]{1,128}$";

    fn check(text: &str) -> Result<Self, IdError> {
        check_text("worker id", text, 128, "A-Za-z0-9._:/-", |b| {
            b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'/' | b'-')
        })?;
        Ok(Self(text.to_owned()))
    }
}
text_identifier!(WorkerId);
plain_debug!(WorkerId);

/// The name of a key in a [`Keyring`](crate::signing::Keyring): `[A-Za-z0-9._-]{1,64}`, but neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// The accepted form; `.` and `..` are refused besides.
    pub const PATTERN: &'static str = "^[A-Za-z0-9._-]{1,64}$";

    fn check(text: &str) -> Result<Self, IdError> {
        const KIND: &str = "key id";
        check_text(KIND, text, 64, "A-Za-z0-9._-", |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))?;
        if text == "." || text.contains("..") {
            return Err(IdError { kind: KIND, fault: IdFault::Reserved });
        }
        Ok(Self(text.to_owned()))
    }
}
text_identifier!(KeyId);
plain_debug!(KeyId);

/// The tenant: the host application's `workspaces.id`. A JSON number, at most 2^53 − 1 so that JavaScript reads it exactly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkspaceId(u64);

impl WorkspaceId {
    /// The largest integer that every JSON reader keeps exact (RFC 8259, section 6).
    pub const MAX: u64 = (1 << 53) - 1;
    const KIND: &'static str = "workspace id";
    const FORM: &'static str = "a decimal number from 1 to 9007199254740991";

    /// Accepts 1 to [`WorkspaceId::MAX`].
    pub fn new(number: u64) -> Result<Self, IdError> {
        if (1..=Self::MAX).contains(&number) {
            Ok(Self(number))
        } else {
            Err(IdError { kind: Self::KIND, fault: IdFault::WrongForm { form: Self::FORM } })
        }
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for WorkspaceId {
    type Err = IdError;

    /// Accepts the one canonical spelling: no sign, no leading zero, no space.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = IdError { kind: Self::KIND, fault: IdFault::WrongForm { form: Self::FORM } };
        let canonical = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        if !canonical {
            return Err(wrong);
        }
        text.parse().map_err(|_| wrong).and_then(Self::new)
    }
}

impl TryFrom<u64> for WorkspaceId {
    type Error = IdError;

    fn try_from(number: u64) -> Result<Self, IdError> {
        Self::new(number)
    }
}

impl From<WorkspaceId> for u64 {
    fn from(id: WorkspaceId) -> u64 {
        id.0
    }
}

impl fmt::Display for WorkspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for WorkspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkspaceId({})", self.0)
    }
}

impl Serialize for WorkspaceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for WorkspaceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for WorkspaceId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WorkspaceId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": Self::MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault<T: FromStr<Err = IdError>>(text: &str) -> Option<IdFault> {
        text.parse::<T>().err().map(|error| error.fault)
    }

    #[test]
    fn session_ids_of_every_allowed_form_are_accepted() {
        let longest = "x".repeat(64);
        for text in ["a", "7", "_", "-", "--rf", "Auto", "support-01", "01JD0000000000000000000001", "CON", &longest] {
            assert_eq!(text.parse::<SessionId>().map(String::from), Ok(text.to_owned()));
        }
    }

    #[test]
    fn hostile_session_ids_are_refused_with_their_fault() {
        let allowed = IdFault::BadCharacter { allowed: "A-Za-z0-9_-" };
        let cases = [
            ("", IdFault::Empty),
            ("auto", IdFault::Reserved),
            (".", allowed),
            ("..", allowed),
            ("../../etc/passwd", allowed),
            ("a/b", allowed),
            ("a\\b", allowed),
            ("%2e%2e", allowed),
            ("a\0", allowed),
            ("a\n", allowed),
            ("a b", allowed),
            ("\u{455}upport", allowed),
            ("a\u{200b}", allowed),
            ("\u{ff41}", allowed),
        ];
        for (text, expected) in cases {
            assert_eq!(fault::<SessionId>(text), Some(expected), "{text:?}");
        }
        assert_eq!(fault::<SessionId>(&"x".repeat(65)), Some(IdFault::TooLong { max: 64 }));
        assert_eq!(fault::<SessionId>(&"x".repeat(10_000)), Some(IdFault::TooLong { max: 64 }));
    }

    #[test]
    fn other_identifiers_have_their_own_alphabets() {
        assert!("auto".parse::<CommandId>().is_ok(), "reserved for sessions only");
        assert!("prod/wafleet-6d5f:1.2_3".parse::<WorkerId>().is_ok());
        assert!("prod wafleet".parse::<WorkerId>().is_err());
        assert!("cmd-2026.11".parse::<KeyId>().is_ok());
        for text in [".", "..", "a..b", "a/b", "a:b"] {
            assert!(text.parse::<KeyId>().is_err(), "{text}");
        }
    }

    #[test]
    fn workspace_ids_have_one_spelling_and_fit_a_javascript_number() {
        for (text, number) in [("1", 1), ("7", 7), ("9007199254740991", WorkspaceId::MAX)] {
            assert_eq!(text.parse::<WorkspaceId>().map(WorkspaceId::get), Ok(number));
            assert_eq!(serde_json::from_str::<WorkspaceId>(text).expect("a number").to_string(), text);
        }
        for text in
            ["", "0", "07", "+7", "-7", " 7", "7 ", "7.0", "0x7", "seven", "9007199254740992", "99999999999999999999"]
        {
            assert!(text.parse::<WorkspaceId>().is_err(), "{text:?}");
        }
        for json in ["0", "-1", "1.5", "\"7\"", "9007199254740992", "null"] {
            assert!(serde_json::from_str::<WorkspaceId>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong_and_never_repeat_the_input() {
        let error = "../secret".parse::<SessionId>().expect_err("refused");
        assert_eq!(error.to_string(), "not a session id: it holds a character outside A-Za-z0-9_-");
        let error = serde_json::from_str::<SessionId>("\"../secret\"").expect_err("refused");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
