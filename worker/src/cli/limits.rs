//! The options of `wafleet session limits`.

use wafleet_protocol::command::SessionLimits;

/// Limits of a session's own. What is not given follows the fleet's settings again.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct LimitOptions {
    /// Messages in any minute.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(SessionLimits::MOST)))]
    per_minute: Option<u32>,
    /// Messages in any hour.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(SessionLimits::MOST)))]
    per_hour: Option<u32>,
    /// Messages in any 24 hours.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(SessionLimits::MOST)))]
    per_day: Option<u32>,
    /// What urgent messages may use above these, in percent.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    urgent_reserve: Option<u32>,
    /// First messages in any 24 hours to contacts the session never exchanged one with; 0: none.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(SessionLimits::MOST)))]
    cold_per_day: Option<u32>,
    /// Look-ups of numbers in any hour; 0: none.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(SessionLimits::MOST)))]
    checks_per_hour: Option<u32>,
    /// Messages in any minute to one contact or group.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(SessionLimits::MOST)))]
    contact_per_minute: Option<u32>,
    /// Days in which a newly linked number gets to its limits; 0: at once.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(0..=365))]
    warm_up_days: Option<u32>,
    /// Share of the workspace's campaigns, in percent of a full one.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    weight: Option<u32>,
    /// Characters a second that a contact sees being typed before a text; 0: texts come at once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(SessionLimits::FASTEST_TYPING)))]
    typing_chars_per_second: Option<u32>,
}

impl From<LimitOptions> for SessionLimits {
    fn from(options: LimitOptions) -> Self {
        Self {
            per_minute: options.per_minute,
            per_hour: options.per_hour,
            per_day: options.per_day,
            urgent_reserve_percent: options.urgent_reserve,
            cold_per_day: options.cold_per_day,
            checks_per_hour: options.checks_per_hour,
            contact_per_minute: options.contact_per_minute,
            warm_up_days: options.warm_up_days,
            weight: options.weight,
            typing_chars_per_second: options.typing_chars_per_second,
        }
    }
}
