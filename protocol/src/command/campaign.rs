//! Campaigns: messages that go out in bulk, who does not want them, and when they must not come.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::id::{CampaignId, PhoneNumber};
use crate::json::Fields;
use crate::rejection::Rejection;

/// Data of `campaign.pause`, `campaign.resume`, `campaign.cancel` and `campaign.status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CampaignControl {
    /// The campaign.
    pub campaign: CampaignId,
}

/// Data of `optout.add` and `optout.remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct OptOut {
    /// Who wants no campaign of this workspace, or wants them again.
    #[schemars(length(min = 1, max = OptOut::MOST))]
    pub phones: Vec<PhoneNumber>,
}

impl OptOut {
    /// The most phones in one command.
    pub const MOST: usize = 1_000;

    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let Some(Value::Array(items)) = data.take("phones") else {
            return Err(data.invalid("phones", "must be a list of phone numbers"));
        };
        if items.is_empty() || items.len() > Self::MOST {
            return Err(data.invalid("phones", &format!("must hold 1 to {} phone numbers", Self::MOST)));
        }
        let phone = |item: Value| item.as_str().and_then(|text| text.parse().ok());
        let phones: Option<Vec<PhoneNumber>> = items.into_iter().map(phone).collect();
        phones.map(|phones| Self { phones }).ok_or_else(|| data.invalid("phones", "must be phone numbers in digits"))
    }
}

/// What makes a message part of a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CampaignPart {
    /// The campaign.
    pub id: CampaignId,
    /// When it must not come; without it, it may come at any time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<QuietHours>,
}

impl CampaignPart {
    pub(super) fn optional(data: &mut Fields) -> Result<Option<Self>, Rejection> {
        let Some(value) = data.take("campaign") else { return Ok(None) };
        let mut fields = Fields::new("data.campaign", value)?;
        let part = Self { id: fields.parsed("id")?, quiet_hours: QuietHours::optional(&mut fields)? };
        fields.finish()?;
        Ok(Some(part))
    }
}

/// Hours of the recipient's day in which a campaign does not disturb. They may go past midnight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct QuietHours {
    /// The first quiet minute.
    pub from: TimeOfDay,
    /// The first minute after it; another one than `from`.
    pub to: TimeOfDay,
    /// The recipient's time zone by its IANA name, such as `Europe/Berlin`. Without it, those of the country that the number
    /// belongs to: where it has several, it is quiet as long as it is quiet in one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9_+/-]{1,64}$"))]
    pub zone: Option<String>,
}

impl QuietHours {
    fn optional(part: &mut Fields) -> Result<Option<Self>, Rejection> {
        let Some(value) = part.take("quiet_hours") else { return Ok(None) };
        let mut fields = Fields::new("data.campaign.quiet_hours", value)?;
        let (from, to): (TimeOfDay, TimeOfDay) = (fields.parsed("from")?, fields.parsed("to")?);
        if from == to {
            return Err(fields.invalid("to", "must differ from `from`"));
        }
        let zone = fields.optional_text("zone")?;
        let named = |zone: &String| {
            (1..=64).contains(&zone.len())
                && zone.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'/' | b'-'))
        };
        if !zone.as_ref().is_none_or(named) {
            return Err(fields.invalid("zone", "must be the IANA name of a time zone"));
        }
        fields.finish()?;
        Ok(Some(Self { from, to, zone }))
    }
}

/// A minute of the day, as `21:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay {
    minute: u16,
}

impl TimeOfDay {
    /// The accepted form.
    pub const PATTERN: &'static str = "^([01][0-9]|2[0-3]):[0-5][0-9]$";

    /// Minutes since midnight.
    pub fn minute(self) -> u16 {
        self.minute
    }
}

/// The text is no time of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a time of the day such as 21:00")]
pub struct NoTimeOfDay;

impl TryFrom<String> for TimeOfDay {
    type Error = NoTimeOfDay;

    fn try_from(text: String) -> Result<Self, NoTimeOfDay> {
        let digits = |part: &str, below: u16| {
            let value: u16 = part.parse().ok()?;
            (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()) && value < below).then_some(value)
        };
        let (hour, minute) = text.split_once(':').ok_or(NoTimeOfDay)?;
        let (hour, minute) = digits(hour, 24).zip(digits(minute, 60)).ok_or(NoTimeOfDay)?;
        Ok(Self { minute: hour * 60 + minute })
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minute / 60, self.minute % 60)
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for TimeOfDay {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeOfDay".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": Self::PATTERN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_day_are_read_and_written_alike() {
        for (text, minute) in [("00:00", 0), ("07:05", 425), ("23:59", 1439)] {
            let time = TimeOfDay::try_from(text.to_owned()).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((time.minute(), time.to_string().as_str()), (minute, text));
        }
        for text in ["", "7:05", "24:00", "12:60", "12.30", "+1:00", "12:3", "12:30:00"] {
            assert_eq!(TimeOfDay::try_from(text.to_owned()), Err(NoTimeOfDay), "{text:?}");
        }
    }
}
