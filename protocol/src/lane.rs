//! The four priority tiers.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How soon a message wants to leave. Greater is sooner: `Lane::Urgent > Lane::Campaign`.
///
/// Each session has one queue per lane, and that is what keeps an urgent message from waiting behind a campaign. The AMQP
/// priority is set as well, for people who look at a message; no queue orders by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Bulk sends, last of all.
    Campaign,
    /// The usual.
    Normal,
    /// A person waits for it.
    High,
    /// Now, and not paced: a one-time code.
    Urgent,
}

/// The word names no lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a lane: expected urgent, high, normal or campaign")]
pub struct UnknownLane;

impl Lane {
    /// All lanes, the soonest first.
    pub const ALL: [Lane; 4] = [Lane::Urgent, Lane::High, Lane::Normal, Lane::Campaign];

    /// The word in queue names, routing keys, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Campaign => "campaign",
        }
    }

    /// The AMQP `priority` property.
    pub fn amqp_priority(self) -> u8 {
        match self {
            Self::Urgent => 9,
            Self::High => 6,
            Self::Normal => 4,
            Self::Campaign => 1,
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Lane {
    type Err = UnknownLane;

    fn from_str(text: &str) -> Result<Self, UnknownLane> {
        Self::ALL.into_iter().find(|lane| lane.as_str() == text).ok_or(UnknownLane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sooner_lanes_are_greater_and_so_is_their_amqp_priority() {
        assert!(
            Lane::ALL.is_sorted_by(|sooner, later| sooner > later && sooner.amqp_priority() > later.amqp_priority())
        );
        assert_eq!(Lane::ALL.map(Lane::amqp_priority), [9, 6, 4, 1]);
    }

    #[test]
    fn names_are_the_same_in_text_and_json() {
        for lane in Lane::ALL {
            assert_eq!(lane.as_str().parse(), Ok(lane));
            assert_eq!(serde_json::to_value(lane).expect("a word"), lane.as_str());
        }
        assert_eq!("Urgent".parse::<Lane>(), Err(UnknownLane));
    }
}
