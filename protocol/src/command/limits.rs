//! What one session may do, where that differs from the fleet's settings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::json::Fields;
use crate::rejection::Rejection;

/// Data of `session.limits`: the session's own limits. What is absent or `null` follows the fleet's settings, so an empty
/// object takes all own limits away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SessionLimits {
    /// Messages in any 60 seconds.
    #[schemars(range(min = 1, max = SessionLimits::MOST))]
    pub per_minute: Option<u32>,
    /// Messages in any hour.
    #[schemars(range(min = 1, max = SessionLimits::MOST))]
    pub per_hour: Option<u32>,
    /// Messages in any 24 hours.
    #[schemars(range(min = 1, max = SessionLimits::MOST))]
    pub per_day: Option<u32>,
    /// What urgent messages may use above these three, in percent of them.
    #[schemars(range(max = 100))]
    pub urgent_reserve_percent: Option<u32>,
    /// First messages in any 24 hours to contacts that the session has never exchanged a message with.
    #[schemars(range(max = SessionLimits::MOST))]
    pub cold_per_day: Option<u32>,
    /// Look-ups in any hour of numbers that may not be on WhatsApp. The first message to a number is one.
    #[schemars(range(max = SessionLimits::MOST))]
    pub checks_per_hour: Option<u32>,
    /// Messages in any 60 seconds to one contact or group.
    #[schemars(range(min = 1, max = SessionLimits::MOST))]
    pub contact_per_minute: Option<u32>,
    /// Days after the first link in which the limits above grow from a tenth to the whole; 0: the whole at once.
    #[schemars(range(max = 365))]
    pub warm_up_days: Option<u32>,
    /// The session's share of the workspace's campaigns beside other sessions, in percent of a full one.
    #[schemars(range(min = 1, max = 100))]
    pub weight: Option<u32>,
    /// Characters a second that a contact sees being typed before a text, but for urgent ones; 0: texts come at once.
    #[schemars(range(max = SessionLimits::FASTEST_TYPING))]
    pub typing_chars_per_second: Option<u32>,
}

impl SessionLimits {
    /// No number of messages is larger.
    pub const MOST: u32 = 10_000_000;
    /// Nobody types faster, in characters a second.
    pub const FASTEST_TYPING: u32 = 1000;

    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let mut number = |name: &'static str, least: u32, most: u32| match data.take(name) {
            None => Ok(None),
            Some(value) => {
                let value = value.as_u64().and_then(|value| u32::try_from(value).ok());
                let fits = value.filter(|value| (least..=most).contains(value));
                fits.map(Some)
                    .ok_or_else(|| data.invalid(name, &format!("must be a whole number from {least} to {most}")))
            }
        };
        Ok(Self {
            per_minute: number("per_minute", 1, Self::MOST)?,
            per_hour: number("per_hour", 1, Self::MOST)?,
            per_day: number("per_day", 1, Self::MOST)?,
            urgent_reserve_percent: number("urgent_reserve_percent", 0, 100)?,
            cold_per_day: number("cold_per_day", 0, Self::MOST)?,
            checks_per_hour: number("checks_per_hour", 0, Self::MOST)?,
            contact_per_minute: number("contact_per_minute", 1, Self::MOST)?,
            warm_up_days: number("warm_up_days", 0, 365)?,
            weight: number("weight", 1, 100)?,
            typing_chars_per_second: number("typing_chars_per_second", 0, Self::FASTEST_TYPING)?,
        })
    }
}
