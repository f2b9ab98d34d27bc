//! What a message that came in holds besides its text, kind by kind.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::personal::Personal;

/// A place on the map.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// What it is called.
    pub name: Option<Personal>,
    /// Where it is, for people.
    pub address: Option<Personal>,
    /// What opens when somebody taps on it.
    pub url: Option<Personal>,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place(redacted)")
    }
}

/// A visiting card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VisitingCard {
    /// The name that is shown.
    pub name: Option<Personal>,
    /// The vCard, as its sender wrote it.
    pub vcard: Personal,
}

/// A question with answers to choose from. Votes come as `poll.vote`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Question {
    /// The question.
    pub question: Personal,
    /// The answers.
    pub options: Vec<Personal>,
    /// Whether one person may choose several answers.
    pub multiple: bool,
}

/// What is known of a medium without downloading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Medium {
    /// Its type, as its sender said it.
    pub mimetype: Option<String>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// The name of a document.
    pub filename: Option<Personal>,
    /// How long a sound or a video is.
    pub seconds: Option<u64>,
    /// The width of a picture or video in pixels.
    pub width: Option<u64>,
    /// The height of a picture or video in pixels.
    pub height: Option<u64>,
}

/// The message that a message answers, as far as its sender repeated it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quoted {
    /// WhatsApp's id of it.
    pub id: String,
    /// Who wrote it: `…@c.us` or `…@lid`.
    pub sender_id: Option<Personal>,
    /// What it is, in WhatsApp's words.
    pub kind: Option<String>,
    /// Its text, or the caption of its medium.
    pub text: Option<Personal>,
}
