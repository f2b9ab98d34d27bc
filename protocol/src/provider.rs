//! Who carries a message: WhatsApp's page in a browser, or Meta's Cloud API.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// WhatsApp's page, in the session's browser.
    Web,
    /// Meta's Cloud API, by a number of its own.
    Cloud,
}

impl Provider {
    /// The word on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Cloud => "cloud",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who shall act.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProviderChoice {
    /// The session's own provider; another one only as the session's policy allows.
    #[default]
    Auto,
    /// WhatsApp's page and nothing else.
    Web,
    /// The Cloud API and nothing else.
    Cloud,
}

impl ProviderChoice {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Web, Self::Cloud];

    /// The word on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Web => "web",
            Self::Cloud => "cloud",
        }
    }
}

/// The word names no choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither auto nor web nor cloud")]
pub struct UnknownProvider;

impl TryFrom<String> for ProviderChoice {
    type Error = UnknownProvider;

    fn try_from(text: String) -> Result<Self, UnknownProvider> {
        text.parse()
    }
}

impl std::str::FromStr for ProviderChoice {
    type Err = UnknownProvider;

    fn from_str(text: &str) -> Result<Self, UnknownProvider> {
        Self::ALL.into_iter().find(|choice| choice.as_str() == text).ok_or(UnknownProvider)
    }
}
