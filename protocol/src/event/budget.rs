//! What a session has used of what it may do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

/// What a session has sent and may send, its own limits and its warm-up counted in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Budget {
    /// Messages of the last 60 seconds.
    pub minute: Used,
    /// Messages of the last hour.
    pub hour: Used,
    /// Messages of the last 24 hours.
    pub day: Used,
    /// First messages of the last 24 hours to contacts that the session had never exchanged one with.
    pub cold_day: Used,
    /// Look-ups of numbers in the last hour.
    pub checks_hour: Used,
    /// What urgent messages may use above minute, hour and day, in percent of them.
    pub urgent_reserve_percent: u32,
    /// Messages that may go to one contact or group in 60 seconds.
    pub contact_per_minute: u32,
    /// How far the number has warmed up: the share of the limits that it has, in percent.
    pub warmth_percent: u32,
    /// The session's share of campaigns beside other sessions, in percent of a full one.
    pub weight: u32,
    /// When the next message goes that is not urgent, if not now.
    pub next_at: Option<Timestamp>,
}

/// How much of a limit is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Used {
    /// So many.
    pub used: u32,
    /// Of so many.
    pub limit: u32,
}
