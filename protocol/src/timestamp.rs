//! A moment as the wire carries it.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment in UTC to the millisecond, between 1970 and the end of 9999.
///
/// On the wire RFC 3339 with exactly three fractional digits and `Z`: `2026-11-22T07:13:05.123Z`. Carbon, JavaScript and
/// Python read it; bare numbers, which Carbon refuses, are not used in bodies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    unix_ms: u64,
}

/// The text is not a moment in RFC 3339 between 1970 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a time: expected RFC 3339, from 1970 to 9999")]
pub struct TimestampError;

impl Timestamp {
    /// 9999-12-31T23:59:59.999Z: RFC 3339 has four digits for the year.
    const MAX_UNIX_MS: u64 = 253_402_300_799_999;

    /// The moment so many milliseconds after 1970; later than the end of 9999 is held there.
    pub fn from_unix_ms(unix_ms: u64) -> Self {
        Self { unix_ms: unix_ms.min(Self::MAX_UNIX_MS) }
    }

    /// The moment so many seconds after 1970; later than the end of 9999 is held there.
    pub fn from_unix_secs(unix_secs: u64) -> Self {
        Self::from_unix_ms(unix_secs.saturating_mul(1000))
    }

    /// Milliseconds since 1970.
    pub fn unix_ms(self) -> u64 {
        self.unix_ms
    }

    /// Whole seconds since 1970.
    pub fn unix_secs(self) -> u64 {
        self.unix_ms / 1000
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.unix_ms) * 1_000_000)
            .expect("between 1970 and 9999");
        let (date, time) = (moment.date(), moment.time());
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.millisecond()
        )
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Accepts any RFC 3339 offset and precision; finer than a millisecond is cut off.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimestampError)?;
        let unix_ms = u64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).map_err(|_| TimestampError)?;
        if unix_ms > Self::MAX_UNIX_MS {
            return Err(TimestampError);
        }
        Ok(Self { unix_ms })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_with_three_digits_in_utc() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (1, "1970-01-01T00:00:00.001Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_000_000_120, "2026-11-18T11:06:40.120Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ];
        for (unix_ms, text) in cases {
            let moment = Timestamp::from_unix_ms(unix_ms);
            assert_eq!(moment.to_string(), text);
            assert_eq!(text.parse(), Ok(moment));
        }
        assert_eq!(Timestamp::from_unix_secs(7).unix_ms(), 7000);
        assert_eq!(Timestamp::from_unix_secs(u64::MAX).unix_secs(), 253_402_300_799);
    }

    #[test]
    fn what_laravel_writes_is_read() {
        let expected = Ok(Timestamp::from_unix_ms(1_770_066_306_789));
        for text in ["2026-02-02T21:05:06.789012Z", "2026-02-02T21:05:06.789Z", "2026-02-03T04:05:06.7890+07:00"] {
            assert_eq!(text.parse(), expected, "{text}");
        }
        assert_eq!("2026-02-02T21:05:06Z".parse(), Ok(Timestamp::from_unix_secs(1_770_066_306)));
    }

    #[test]
    fn other_texts_are_no_moments() {
        for text in [
            "",
            "1795000000",
            "2026-02-02",
            "2026-02-02 21:05",
            "2026-02-30T00:00:00Z",
            "1969-12-31T23:59:59.9999Z",
            "10000-01-01T00:00:00Z",
            "9999-12-31T23:59:59-01:00",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
    }
}
