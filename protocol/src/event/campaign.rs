//! How a campaign goes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::CampaignId;

/// Data of `campaign.progress`, and what the `campaign.*` commands yield. Counts the messages that the fleet has seen; those
/// that nobody has taken out of the queue yet are not among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CampaignProgress {
    /// The campaign.
    pub campaign: CampaignId,
    /// Whether its messages go out.
    pub state: CampaignState,
    /// Messages that were seen and have no end yet: deferred, put off, or being sent.
    pub waiting: u64,
    /// Messages that WhatsApp has.
    pub succeeded: u64,
    /// Messages that were refused, cancelled or opted out of.
    pub failed: u64,
    /// Messages that may have gone out.
    pub unknown: u64,
    /// Messages that expired before they could be sent.
    pub expired: u64,
}

/// Whether the messages of a campaign go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CampaignState {
    /// They do.
    Running,
    /// They wait.
    Paused,
    /// They fail. For good.
    Cancelled,
}

impl CampaignState {
    /// The word on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::str::FromStr for CampaignState {
    type Err = UnknownCampaignState;

    fn from_str(text: &str) -> Result<Self, UnknownCampaignState> {
        let all = [Self::Running, Self::Paused, Self::Cancelled];
        all.into_iter().find(|state| state.as_str() == text).ok_or(UnknownCampaignState)
    }
}

/// The word names no state of a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a state of a campaign")]
pub struct UnknownCampaignState;
