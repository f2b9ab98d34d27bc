//! Keeping a message at the top of its chat, for everybody in it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::id::MessageKey;
use crate::json::Fields;
use crate::rejection::Rejection;

/// Data of `message.pin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PinMessage {
    /// The key of the message, as `message.received` and `message.sent` tell it.
    pub message: MessageKey,
    /// Whether it stays at the top of its chat. The default is yes.
    #[schemars(with = "Option<bool>")]
    pub pin: bool,
    /// For how long, where it is pinned; the default is 7 days. One that is pinned already keeps its time.
    #[schemars(with = "Option<PinTime>")]
    pub duration: PinTime,
}

/// How long a message may be pinned. WhatsApp has these three.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub enum PinTime {
    /// 24 hours.
    #[serde(rename = "1d")]
    Day,
    /// 7 days.
    #[default]
    #[serde(rename = "7d")]
    Week,
    /// 30 days.
    #[serde(rename = "30d")]
    Month,
}

impl PinMessage {
    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let message = data.parsed("message")?;
        let pin = data.optional_flag("pin")?.unwrap_or(true);
        let duration = match data.optional_text("duration")?.as_deref() {
            None => PinTime::default(),
            Some("1d") => PinTime::Day,
            Some("7d") => PinTime::Week,
            Some("30d") => PinTime::Month,
            Some(_) => return Err(data.invalid("duration", "must be \"1d\", \"7d\" or \"30d\"")),
        };
        Ok(Self { message, pin, duration })
    }
}
