//! What became of the file of a received message.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::personal::Personal;
use crate::timestamp::Timestamp;

/// Data of `message.media`: comes once after a `message.received` with `has_media`, sooner or later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageMedia {
    /// WhatsApp's key of the message, as in its `message.received`.
    pub key: Personal,
    /// WhatsApp's id of the message.
    pub id: String,
    /// The chat.
    pub chat_id: Personal,
    /// What it is, in WhatsApp's words: `image`, `ptt`, `document`, ….
    pub kind: String,
    /// Where the file is, or why it is nowhere.
    #[serde(flatten)]
    pub outcome: MediaOutcome,
}

/// Where the file is, or why it is nowhere, told apart by `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum MediaOutcome {
    /// It lies in the fleet's object store, as its sender sent it.
    Available {
        /// Its key there, below the prefix that the fleet was given: `media/<workspace>/<session>/<message>`. The same
        /// workspace can send it on with `object`.
        object: String,
        /// Its MIME type, as its sender told it.
        mime: String,
        /// Its bytes.
        size: u64,
        /// SHA-256 of them, in lower-case hexadecimal digits.
        #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
        sha256: String,
        /// When the fleet deletes it.
        expires_at: Timestamp,
    },
    /// It is given up.
    Failed {
        /// Why.
        reason: MediaFailure,
    },
}

/// Why the file of a received message was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MediaFailure {
    /// The fleet has no object store to put it into.
    NoObjectStore,
    /// It is larger than the operator lets files be that are kept.
    TooLarge,
    /// WhatsApp does not have it any more, or what it has does not open.
    Gone,
    /// The page or the store was away at every attempt.
    Unavailable,
}

impl MediaFailure {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoObjectStore => "no_object_store",
            Self::TooLarge => "too_large",
            Self::Gone => "gone",
            Self::Unavailable => "unavailable",
        }
    }
}

impl From<&str> for MediaFailure {
    /// From the word; what is not known was a word of a later version, and is `unavailable` here.
    fn from(word: &str) -> Self {
        [Self::NoObjectStore, Self::TooLarge, Self::Gone]
            .into_iter()
            .find(|failure| failure.as_str() == word)
            .unwrap_or(Self::Unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_the_same_word_everywhere() {
        for failure in
            [MediaFailure::NoObjectStore, MediaFailure::TooLarge, MediaFailure::Gone, MediaFailure::Unavailable]
        {
            assert_eq!(serde_json::to_value(failure).expect("a word"), failure.as_str());
            assert_eq!(MediaFailure::from(failure.as_str()), failure);
        }
    }
}
