//! Why a message was refused, and what its sender should do about it.
//!
//! A refused message is never executed. Its [`reason`](Rejection::reason) is the same word everywhere: in the header of
//! the dead letter, as the label of the counter, in the audit row.

/// Why a message was refused. Each case says what the sender should do.
///
/// Never contains anything of the message itself except the names of fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The body is over 1 MiB. Send a reference to large content instead of the content.
    #[error("the body is longer than {max} bytes")]
    TooLarge {
        /// The longest body that is accepted, in bytes.
        max: usize,
    },
    /// A header or property that every message needs is absent. Set it.
    #[error("{name} is missing")]
    MissingHeader {
        /// The header or property.
        name: &'static str,
    },
    /// A header has another AMQP type than text. Send every `x-wa-*` header as a string, numbers too: client libraries
    /// change the width of integers, and the signature covers the exact characters.
    #[error("{name} is not text")]
    HeaderNotText {
        /// The header.
        name: &'static str,
    },
    /// A header or property is over 512 bytes. No legitimate value comes near.
    #[error("{name} is longer than {max} bytes")]
    HeaderTooLong {
        /// The header or property.
        name: &'static str,
        /// The longest that is accepted, in bytes.
        max: usize,
    },
    /// A header or property holds something other than what belongs there: times are unix seconds in decimal without
    /// sign, space or leading zero; control characters belong nowhere. Send it as documented.
    #[error("{name} is malformed")]
    MalformedHeader {
        /// The header or property.
        name: &'static str,
    },
    /// There is no `x-wa-signature`. Sign the message.
    #[error("the message is not signed")]
    Unsigned,
    /// The signature is not `WA1=` and 43 characters of unpadded base64url. Check the encoding (`-` and `_`, no `=`).
    #[error("the signature is malformed")]
    MalformedSignature,
    /// The key ring has no key of this id. Check the key's id, or add the key to the ring before signing with it.
    #[error("the key is unknown")]
    UnknownKey,
    /// The key's not-after has passed. Sign with its successor.
    #[error("the key is no longer valid")]
    KeyExpired,
    /// The key has another role: a commands key cannot sign events, nor the reverse. Sign with a key of the right role.
    #[error("the key's role does not allow this")]
    WrongRole,
    /// The key may not speak for this workspace. Sign with a key of the workspace; this refusal is audited.
    #[error("the key does not cover this workspace")]
    ForeignScope,
    /// The signature does not fit the message: another secret, or something was changed on the way. Sign the exact bytes
    /// that are published, and compare the canonical string with the published vectors.
    #[error("the signature does not match")]
    BadSignature,
    /// The message is signed for another audience, for example an event that was put on the command exchange. Set `x-wa-audience`.
    #[error("the message is meant for another audience")]
    WrongAudience,
    /// The content type is not exactly `application/json`. Set it.
    #[error("the content type is not application/json")]
    BadContentType,
    /// An identifier does not have its form. Use the documented alphabet and length.
    #[error("{name} is not a valid identifier")]
    BadId {
        /// Which one.
        name: &'static str,
    },
    /// `x-wa-issued-at` is more than 5 minutes ahead. Set the sender's clock, and send seconds, not milliseconds.
    #[error("the message was issued in the future")]
    IssuedInFuture,
    /// `x-wa-expires-at` has passed, or does not lie after `x-wa-issued-at`. If it is still wanted, send a new command with a new id.
    #[error("the message has expired")]
    Expired,
    /// The message asks to live for more than 30 days. Ask for less.
    #[error("the message's lifetime is over {max_secs} seconds")]
    LifetimeTooLong {
        /// The longest lifetime that is accepted, in seconds.
        max_secs: u64,
    },
    /// The body is not JSON in UTF-8 without a byte-order mark (RFC 8259). `NaN`, `Infinity` and halves of surrogate pairs are not JSON.
    #[error("the body is not valid JSON")]
    NotJson,
    /// The body nests deeper than 32 levels. Flatten it.
    #[error("the body nests deeper than {max} levels")]
    TooDeep {
        /// The deepest nesting that is accepted.
        max: usize,
    },
    /// An object has the same field twice; readers disagree on which of them counts. Send it once.
    #[error("the field {path} occurs twice")]
    DuplicateField {
        /// Where.
        path: String,
    },
    /// No such type. Check the spelling, or update the fleet before using a newer type.
    #[error("the type is unknown")]
    UnknownType,
    /// The type is known, this version of it is not. Send a version that the fleet speaks.
    #[error("version {version} of this type is unknown")]
    UnknownVersion {
        /// The version that was asked for.
        version: u64,
    },
    /// `type` in the body differs from the AMQP `type`, which is the signed one. Make them equal.
    #[error("the type in the body differs from the signed one")]
    TypeMismatch,
    /// A field is missing, unknown, of the wrong type or out of range. Correct it.
    #[error("the field {path} {why}")]
    InvalidField {
        /// Where, for example `data.to`.
        path: String,
        /// What is wrong, to be read after the path.
        why: String,
    },
    /// It was found in the queue of another session than the signed one, or of none. Use the routing key of the session.
    #[error("the signed session is not the one it was sent to")]
    Misrouted,
    /// A command of this id was seen before with another body. Ids are never used again: send it under a new id. This refusal is audited.
    #[error("this id was used before with another body")]
    BodyChanged,
    /// No such session in this workspace. Start it first.
    #[error("the session is unknown")]
    UnknownSession,
    /// Every worker that began this command died or panicked over it, again and again. It is kept away from the others;
    /// replay it when the cause is known. If it had got as far as WhatsApp, its result is `unknown`.
    #[error("{crashes} executions of this command took their worker down")]
    Poison {
        /// How many executions ended so.
        crashes: u32,
    },
}

impl Rejection {
    /// Every reason, for counters that exist before they count.
    pub const REASONS: [&'static str; 29] = [
        "too_large",
        "missing_header",
        "header_not_text",
        "header_too_long",
        "malformed_header",
        "unsigned",
        "malformed_signature",
        "unknown_key",
        "key_expired",
        "wrong_role",
        "foreign_scope",
        "bad_signature",
        "wrong_audience",
        "bad_content_type",
        "bad_id",
        "issued_in_future",
        "expired",
        "lifetime_too_long",
        "not_json",
        "too_deep",
        "duplicate_field",
        "unknown_type",
        "unknown_version",
        "type_mismatch",
        "invalid_field",
        "misrouted",
        "body_changed",
        "unknown_session",
        "poison",
    ];

    /// Whether the signature had been found to match before this was found: then the message really comes from the holder
    /// of the key it names, and an audit trail may say so.
    pub fn is_about_the_key(&self) -> bool {
        matches!(self, Self::KeyExpired | Self::WrongAudience | Self::WrongRole | Self::ForeignScope)
    }

    /// The stable word for dead letters, counters and the audit trail.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::MissingHeader { .. } => "missing_header",
            Self::HeaderNotText { .. } => "header_not_text",
            Self::HeaderTooLong { .. } => "header_too_long",
            Self::MalformedHeader { .. } => "malformed_header",
            Self::Unsigned => "unsigned",
            Self::MalformedSignature => "malformed_signature",
            Self::UnknownKey => "unknown_key",
            Self::KeyExpired => "key_expired",
            Self::WrongRole => "wrong_role",
            Self::ForeignScope => "foreign_scope",
            Self::BadSignature => "bad_signature",
            Self::WrongAudience => "wrong_audience",
            Self::BadContentType => "bad_content_type",
            Self::BadId { .. } => "bad_id",
            Self::IssuedInFuture => "issued_in_future",
            Self::Expired => "expired",
            Self::LifetimeTooLong { .. } => "lifetime_too_long",
            Self::NotJson => "not_json",
            Self::TooDeep { .. } => "too_deep",
            Self::DuplicateField { .. } => "duplicate_field",
            Self::UnknownType => "unknown_type",
            Self::UnknownVersion { .. } => "unknown_version",
            Self::TypeMismatch => "type_mismatch",
            Self::InvalidField { .. } => "invalid_field",
            Self::Misrouted => "misrouted",
            Self::BodyChanged => "body_changed",
            Self::UnknownSession => "unknown_session",
            Self::Poison { .. } => "poison",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn reasons_are_distinct_words_and_all_listed() {
        let text = || String::from("data.to");
        let all = [
            Rejection::TooLarge { max: 1 },
            Rejection::MissingHeader { name: "type" },
            Rejection::HeaderNotText { name: "type" },
            Rejection::HeaderTooLong { name: "type", max: 512 },
            Rejection::MalformedHeader { name: "type" },
            Rejection::Unsigned,
            Rejection::MalformedSignature,
            Rejection::UnknownKey,
            Rejection::KeyExpired,
            Rejection::WrongRole,
            Rejection::ForeignScope,
            Rejection::BadSignature,
            Rejection::WrongAudience,
            Rejection::BadContentType,
            Rejection::BadId { name: "message_id" },
            Rejection::IssuedInFuture,
            Rejection::Expired,
            Rejection::LifetimeTooLong { max_secs: 1 },
            Rejection::NotJson,
            Rejection::TooDeep { max: 32 },
            Rejection::DuplicateField { path: text() },
            Rejection::UnknownType,
            Rejection::UnknownVersion { version: 2 },
            Rejection::TypeMismatch,
            Rejection::InvalidField { path: text(), why: "is missing".to_owned() },
            Rejection::Misrouted,
            Rejection::BodyChanged,
            Rejection::UnknownSession,
            Rejection::Poison { crashes: 5 },
        ];
        assert_eq!(all.each_ref().map(Rejection::reason), Rejection::REASONS);
        assert_eq!(BTreeSet::from(Rejection::REASONS).len(), Rejection::REASONS.len());
        for rejection in &all {
            assert!(rejection.reason().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{rejection}");
        }
    }
}
