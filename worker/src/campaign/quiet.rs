//! Quiet hours: whether it is a time of the recipient's day at which a campaign does not disturb. Pure, the moment is passed in.

use jiff::civil::{Time, time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use wafleet_protocol::command::{QuietHours, TimeOfDay};

/// The zones of countries by their calling code: of those with several, the ones at both ends. Longer codes are tried first.
const ZONES: [(&str, &[&str]); 72] = [
    ("1", &["America/St_Johns", "America/New_York", "America/Los_Angeles", "Pacific/Honolulu"]),
    ("1787", &["America/Puerto_Rico"]),
    ("1809", &["America/Santo_Domingo"]),
    ("1829", &["America/Santo_Domingo"]),
    ("1849", &["America/Santo_Domingo"]),
    ("1876", &["America/Jamaica"]),
    ("1939", &["America/Puerto_Rico"]),
    ("20", &["Africa/Cairo"]),
    ("212", &["Africa/Casablanca"]),
    ("213", &["Africa/Algiers"]),
    ("216", &["Africa/Tunis"]),
    ("221", &["Africa/Dakar"]),
    ("225", &["Africa/Abidjan"]),
    ("233", &["Africa/Accra"]),
    ("234", &["Africa/Lagos"]),
    ("237", &["Africa/Douala"]),
    ("244", &["Africa/Luanda"]),
    ("251", &["Africa/Addis_Ababa"]),
    ("254", &["Africa/Nairobi"]),
    ("255", &["Africa/Dar_es_Salaam"]),
    ("256", &["Africa/Kampala"]),
    ("258", &["Africa/Maputo"]),
    ("27", &["Africa/Johannesburg"]),
    ("30", &["Europe/Athens"]),
    ("31", &["Europe/Amsterdam"]),
    ("32", &["Europe/Brussels"]),
    ("33", &["Europe/Paris"]),
    ("34", &["Europe/Madrid", "Atlantic/Canary"]),
    ("351", &["Europe/Lisbon", "Atlantic/Azores"]),
    ("353", &["Europe/Dublin"]),
    ("358", &["Europe/Helsinki"]),
    ("36", &["Europe/Budapest"]),
    ("380", &["Europe/Kyiv"]),
    ("39", &["Europe/Rome"]),
    ("40", &["Europe/Bucharest"]),
    ("41", &["Europe/Zurich"]),
    ("420", &["Europe/Prague"]),
    ("43", &["Europe/Vienna"]),
    ("44", &["Europe/London"]),
    ("45", &["Europe/Copenhagen"]),
    ("46", &["Europe/Stockholm"]),
    ("47", &["Europe/Oslo"]),
    ("48", &["Europe/Warsaw"]),
    ("49", &["Europe/Berlin"]),
    ("51", &["America/Lima"]),
    ("52", &["America/Cancun", "America/Mexico_City", "America/Tijuana"]),
    ("54", &["America/Argentina/Buenos_Aires"]),
    ("55", &["America/Noronha", "America/Sao_Paulo", "America/Rio_Branco"]),
    ("56", &["America/Santiago", "Pacific/Easter"]),
    ("57", &["America/Bogota"]),
    ("58", &["America/Caracas"]),
    ("593", &["America/Guayaquil", "Pacific/Galapagos"]),
    ("60", &["Asia/Kuala_Lumpur"]),
    ("61", &["Australia/Sydney", "Australia/Brisbane", "Australia/Perth"]),
    ("62", &["Asia/Jayapura", "Asia/Makassar", "Asia/Jakarta"]),
    ("63", &["Asia/Manila"]),
    ("64", &["Pacific/Auckland"]),
    ("65", &["Asia/Singapore"]),
    ("66", &["Asia/Bangkok"]),
    ("7", &["Asia/Kamchatka", "Asia/Almaty", "Europe/Moscow", "Europe/Kaliningrad"]),
    ("81", &["Asia/Tokyo"]),
    ("82", &["Asia/Seoul"]),
    ("84", &["Asia/Ho_Chi_Minh"]),
    ("86", &["Asia/Shanghai"]),
    ("880", &["Asia/Dhaka"]),
    ("90", &["Europe/Istanbul"]),
    ("91", &["Asia/Kolkata"]),
    ("92", &["Asia/Karachi"]),
    ("94", &["Asia/Colombo"]),
    ("966", &["Asia/Riyadh"]),
    ("971", &["Asia/Dubai"]),
    ("972", &["Asia/Jerusalem"]),
];
/// Where a number's country is not known.
const ELSEWHERE: &[&str] = &["UTC"];

/// There is no such time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("campaign.quiet_hours.zone names no time zone")]
pub(crate) struct NoZone;

/// Until when (unix seconds) a campaign must not reach this number (digits); `None`: it may now.
///
/// # Errors
/// [`NoZone`].
pub(crate) fn quiet_until(hours: &QuietHours, phone: Option<&str>, now: u64) -> Result<Option<u64>, NoZone> {
    let named = hours.zone.as_deref();
    let names = match &named {
        Some(name) => std::slice::from_ref(name),
        None => zones(phone.unwrap_or_default()),
    };
    let now = Timestamp::from_second(i64::try_from(now).unwrap_or(i64::MAX)).map_err(|_| NoZone)?;
    let mut until = None;
    for name in names {
        let zone = TimeZone::get(name).map_err(|_| NoZone)?;
        until = until.max(quiet_here(hours, &now.to_zoned(zone)));
    }
    Ok(until.and_then(|until: Timestamp| u64::try_from(until.as_second()).ok()))
}

/// The zones of the longest calling code that a number begins with.
fn zones(phone: &str) -> &'static [&'static str] {
    let known = ZONES.iter().filter(|(code, _)| phone.starts_with(code)).max_by_key(|(code, _)| code.len());
    known.map_or(ELSEWHERE, |(_, zones)| zones)
}

/// The next end of the quiet hours in one zone, if it is quiet there now.
fn quiet_here(hours: &QuietHours, now: &Zoned) -> Option<Timestamp> {
    let (from, to, at) = (clock(hours.from), clock(hours.to), now.time());
    let quiet = if from < to { from <= at && at < to } else { at >= from || at < to };
    if !quiet {
        return None;
    }
    let day = if at < to { now.date() } else { now.date().checked_add(1.day()).ok()? };
    // An hour that the change to summer time leaves out ends when it would have.
    let end = day.to_datetime(to).to_zoned(now.time_zone().clone()).ok()?;
    Some(end.timestamp())
}

fn clock(at: TimeOfDay) -> Time {
    let (hour, minute) = (at.minute() / 60, at.minute() % 60);
    time(i8::try_from(hour).unwrap_or(0), i8::try_from(minute).unwrap_or(0), 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(from: &str, to: &str, zone: Option<&str>) -> QuietHours {
        let at = |text: &str| TimeOfDay::try_from(text.to_owned()).expect("a time of the day");
        QuietHours { from: at(from), to: at(to), zone: zone.map(str::to_owned) }
    }

    fn unix(text: &str) -> u64 {
        let at: Timestamp = text.parse().expect("RFC 3339");
        u64::try_from(at.as_second()).expect("after 1970")
    }

    #[test]
    fn it_is_quiet_by_the_recipients_clock() {
        let night = |zone| hours("21:00", "08:00", zone);
        let cases = [
            // Berlin is two hours ahead in summer and one in winter.
            (night(Some("Europe/Berlin")), None, "2026-07-01T18:59:00Z", None),
            (night(Some("Europe/Berlin")), None, "2026-07-01T19:00:00Z", Some("2026-07-02T06:00:00Z")),
            (night(Some("Europe/Berlin")), None, "2026-07-02T05:59:59Z", Some("2026-07-02T06:00:00Z")),
            (night(Some("Europe/Berlin")), None, "2026-12-01T20:30:00Z", Some("2026-12-02T07:00:00Z")),
            (night(None), Some("4915112345678"), "2026-07-01T19:00:00Z", Some("2026-07-02T06:00:00Z")),
            (night(None), Some("5511987654321"), "2026-07-01T19:00:00Z", None),
            // Noon at the eastern end of North America is early at its western end.
            (night(None), Some("12025550123"), "2026-07-01T16:00:00Z", Some("2026-07-01T18:00:00Z")),
            (night(None), None, "2026-07-01T22:00:00Z", Some("2026-07-02T08:00:00Z")),
            (hours("12:00", "14:00", Some("Asia/Kolkata")), None, "2026-07-01T07:00:00Z", Some("2026-07-01T08:30:00Z")),
            // The night of 29 March 2026 has no half past two in Berlin.
            (
                hours("01:00", "02:30", Some("Europe/Berlin")),
                None,
                "2026-03-29T00:30:00Z",
                Some("2026-03-29T01:30:00Z"),
            ),
        ];
        for (hours, phone, now, expected) in cases {
            let until = quiet_until(&hours, phone, unix(now)).expect("a zone");
            assert_eq!(until, expected.map(unix), "{hours:?} {now}");
        }
        assert_eq!(quiet_until(&night(Some("Europe/Atlantis")), None, 0), Err(NoZone));
    }

    #[test]
    fn every_country_has_zones_that_exist() {
        for (code, names) in ZONES {
            assert!(code.bytes().all(|b| b.is_ascii_digit()));
            for name in names {
                assert!(TimeZone::get(name).is_ok(), "{code} {name}");
            }
        }
        assert_eq!(zones("18095551234"), ["America/Santo_Domingo"], "the longest code wins");
        assert_eq!(zones("999123456"), ELSEWHERE);
    }
}
