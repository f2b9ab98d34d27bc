//! How many messages a session may send, and when the next one goes: pure, the clock and the dice are passed in.
//!
//! ```text
//! what was sent, per window ──┐
//! limits, warmed up by age  ──┼─▶ decide ─▶ Go: counted, with a ticket that can be given back
//! the message, the moment   ──┘         └─▶ Wait: until when, and why
//! ```
//! A window slides: it is a row of buckets, and a bucket counts until the last moment it stands for has left the window. So
//! no stretch of the window's length ever holds more than its limit, and what is kept has a bound.

mod window;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wafleet_protocol::command::SessionLimits;
use wafleet_protocol::event::{Budget, Restriction, Used};
use wafleet_protocol::timestamp::Timestamp;

use window::{DAY, HOUR, MINUTE, Span, Window};

/// Share of the limits that a number may use on the day it was linked.
const WARM_UP_FIRST_PERCENT: u64 = 10;
const DAY_SECS: u64 = 24 * 3600;
/// Seconds between two messages, by the share of the minute's limit that the last minute has seen: below each percentage.
const DELAYS: [(u32, u64); 5] = [(25, 0), (50, 1), (70, 2), (90, 3), (u32::MAX, 5)];
/// A delay is drawn from this range around its length, in percent: three quarters to five quarters.
const JITTER_FROM_PERCENT: u64 = 75;
const JITTER_PERCENT: u64 = 50;
/// A text is typed for at least and at most so long, in milliseconds.
const TYPING_MS: (u64, u64) = (500, 6_000);
/// No pause is longer, the typing before it counted in. One that is comes from a clock that was wrong.
const LONGEST_DELAY_MS: u64 = 6_250 + TYPING_MS.1;
/// A restriction without an end is looked at again so much later.
const RESTRICTION_LOOK_MS: u64 = 10 * 60 * 1000;
/// However little a session shall take of a campaign, it takes something.
const LEAST_SHARE: f64 = 0.02;

/// What a session may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) per_minute: u32,
    pub(crate) per_hour: u32,
    pub(crate) per_day: u32,
    /// What urgent messages may use above these three.
    pub(crate) urgent_reserve_percent: u32,
    /// First messages to contacts that the session has never exchanged one with.
    pub(crate) cold_per_day: u32,
    /// Look-ups of numbers that may not be on WhatsApp.
    pub(crate) checks_per_hour: u32,
    /// Messages to one contact.
    pub(crate) contact_per_minute: u32,
    /// Days until a newly linked number has all of the above.
    pub(crate) warm_up_days: u32,
    /// Its share of the workspace's campaigns beside other sessions, in percent.
    pub(crate) weight: u32,
    /// Characters typed in a second before a text; 0: none is.
    pub(crate) typing_chars_per_second: u32,
}

impl Limits {
    /// These, where a session has no limits of its own.
    pub(crate) fn with(&self, own: &SessionLimits) -> Self {
        Self {
            per_minute: own.per_minute.unwrap_or(self.per_minute),
            per_hour: own.per_hour.unwrap_or(self.per_hour),
            per_day: own.per_day.unwrap_or(self.per_day),
            urgent_reserve_percent: own.urgent_reserve_percent.unwrap_or(self.urgent_reserve_percent),
            cold_per_day: own.cold_per_day.unwrap_or(self.cold_per_day),
            checks_per_hour: own.checks_per_hour.unwrap_or(self.checks_per_hour),
            contact_per_minute: own.contact_per_minute.unwrap_or(self.contact_per_minute),
            warm_up_days: own.warm_up_days.unwrap_or(self.warm_up_days),
            weight: own.weight.unwrap_or(self.weight),
            typing_chars_per_second: own.typing_chars_per_second.unwrap_or(self.typing_chars_per_second),
        }
    }

    /// How long so many characters are typed, in milliseconds; `dice` from 0 to 1.
    pub(crate) fn typing_ms(&self, characters: usize, dice: f64) -> u64 {
        if self.typing_chars_per_second == 0 || characters == 0 {
            return 0;
        }
        let characters = u64::try_from(characters).unwrap_or(u64::MAX);
        let whole = characters.saturating_mul(1000) / u64::from(self.typing_chars_per_second);
        jittered(whole.min(TYPING_MS.1), dice).clamp(TYPING_MS.0, TYPING_MS.1)
    }

    /// The share of these that a number linked so long ago may use.
    fn warmth_percent(&self, linked_for_secs: u64) -> u32 {
        let whole = u64::from(self.warm_up_days) * DAY_SECS;
        if linked_for_secs >= whole {
            return 100;
        }
        let grown = (100 - WARM_UP_FIRST_PERCENT) * linked_for_secs / whole;
        u32::try_from(WARM_UP_FIRST_PERCENT + grown).unwrap_or(100)
    }

    /// What a number linked so long ago may do. Of what is allowed at all, one is always left.
    pub(crate) fn warmed(&self, linked_for_secs: u64) -> Self {
        let percent = self.warmth_percent(linked_for_secs);
        let part = |limit: u32| u32::try_from((u64::from(limit) * u64::from(percent)).div_ceil(100)).unwrap_or(limit);
        Self {
            per_minute: part(self.per_minute),
            per_hour: part(self.per_hour),
            per_day: part(self.per_day),
            cold_per_day: part(self.cold_per_day),
            checks_per_hour: part(self.checks_per_hour),
            ..self.clone()
        }
    }

    fn with_reserve(&self, limit: u32, urgent: bool) -> u32 {
        let reserve = u64::from(limit) * u64::from(self.urgent_reserve_percent) / 100;
        if urgent { limit.saturating_add(u32::try_from(reserve.max(1)).unwrap_or(u32::MAX)) } else { limit }
    }
}

/// What a session has sent, as far as a limit still asks for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spent {
    minute: Window,
    hour: Window,
    day: Window,
    cold: Window,
    checks: Window,
    contacts: BTreeMap<u64, Window>,
    /// No message that is not urgent goes before this moment, in unix milliseconds.
    next_at: u64,
    /// WhatsApp restricts the account: contacts that the session has not met wait.
    restricted: Option<Restricted>,
}

/// WhatsApp's restriction of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restricted {
    /// WhatsApp's own word for it.
    pub(crate) kind: String,
    /// Unix milliseconds, if WhatsApp says so.
    pub(crate) until: Option<u64>,
}

impl From<Restricted> for Restriction {
    fn from(restricted: Restricted) -> Self {
        Self { kind: restricted.kind, until: restricted.until.map(Timestamp::from_unix_ms) }
    }
}

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// It may use the reserve, and waits for no delay.
    pub(crate) urgent: bool,
    /// Whom it goes to; a group has its own.
    pub(crate) contact: u64,
    /// The session has never exchanged a message with the contact.
    pub(crate) cold: bool,
    /// The page has to ask WhatsApp whether the number exists.
    pub(crate) checked: bool,
    /// It is typed for so long before it goes, in milliseconds.
    pub(crate) typing_ms: u64,
}

/// Why a message has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Minute,
    Hour,
    Day,
    /// The pause after the message before.
    Delay,
    Cold,
    Checks,
    Contact,
    Restricted,
}

impl Why {
    /// The word in metrics and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Delay => "delay",
            Self::Cold => "cold",
            Self::Checks => "checks",
            Self::Contact => "contact",
            Self::Restricted => "restricted",
        }
    }

    /// Every message of the session waits for it, and not only this one.
    pub(crate) fn holds_the_session(self) -> bool {
        matches!(self, Self::Minute | Self::Hour | Self::Day | Self::Delay)
    }
}

/// What was counted for one message, so that it can be given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    at: u64,
    ask: Ask,
    /// The pause that it brought, and the one that was there before it.
    next_at: u64,
    before: u64,
}

/// Whether a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Now; it is counted.
    Go(Ticket),
    /// Not before this moment, in unix milliseconds.
    Wait { until: u64, why: Why },
}

/// What is given back of a message that did not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refund {
    /// Everything: nothing was asked of WhatsApp, or it was counted before.
    All,
    /// All but the look-up: WhatsApp was asked for the number.
    NotTheCheck,
}

impl Spent {
    /// Whether a message may go now; if so, it is counted. `now` in unix milliseconds, `dice` from 0 to 1.
    pub(crate) fn decide(&mut self, limits: &Limits, ask: &Ask, now: u64, dice: f64) -> Verdict {
        let whole = |limit| limits.with_reserve(limit, ask.urgent);
        let mut waits = vec![
            (self.minute.frees_at(MINUTE, now, whole(limits.per_minute)), Why::Minute),
            (self.hour.frees_at(HOUR, now, whole(limits.per_hour)), Why::Hour),
            (self.day.frees_at(DAY, now, whole(limits.per_day)), Why::Day),
        ];
        if !ask.urgent {
            waits.push((self.paused_until(now), Why::Delay));
        }
        if ask.cold {
            waits.push((self.cold.frees_at(DAY, now, limits.cold_per_day), Why::Cold));
            waits.push((self.restricted_until(now), Why::Restricted));
        }
        if ask.checked {
            waits.push((self.checks.frees_at(HOUR, now, limits.checks_per_hour), Why::Checks));
        }
        let contact = self.contacts.get(&ask.contact);
        waits.push((contact.and_then(|c| c.frees_at(MINUTE, now, limits.contact_per_minute)), Why::Contact));
        // The longest wait is the one that counts: after it, none of the others is left.
        let longest = waits.into_iter().filter_map(|(until, why)| Some((until?, why))).max_by_key(|(until, _)| *until);
        if let Some((until, why)) = longest {
            return Verdict::Wait { until, why };
        }
        self.count(ask, now);
        let delay = delay_ms(self.minute.used(MINUTE, now), limits.per_minute, dice);
        let before = self.next_at;
        self.next_at = self.paused_until(now).unwrap_or(now).max(now + ask.typing_ms + delay);
        Verdict::Go(Ticket { at: now, ask: ask.clone(), next_at: self.next_at, before })
    }

    /// Counts a look-up of a number, if it may be made now; else when, in unix milliseconds.
    pub(crate) fn look_up(&mut self, limits: &Limits, now: u64) -> Option<u64> {
        let until = self.checks.frees_at(HOUR, now, limits.checks_per_hour);
        if until.is_none() {
            self.checks.add(HOUR, now);
        }
        until
    }

    fn count(&mut self, ask: &Ask, now: u64) {
        self.minute.add(MINUTE, now);
        self.hour.add(HOUR, now);
        self.day.add(DAY, now);
        if ask.cold {
            self.cold.add(DAY, now);
        }
        if ask.checked {
            self.checks.add(HOUR, now);
        }
        self.contacts.retain(|_, window| window.used(MINUTE, now) > 0);
        self.contacts.entry(ask.contact).or_default().add(MINUTE, now);
    }

    /// Gives back what a message was counted for that did not go out.
    pub(crate) fn refund(&mut self, ticket: &Ticket, refund: Refund) {
        let Ticket { at, ask, next_at, before } = ticket;
        if refund == Refund::All && self.next_at == *next_at {
            self.next_at = *before;
        }
        self.minute.take_back(MINUTE, *at);
        self.hour.take_back(HOUR, *at);
        self.day.take_back(DAY, *at);
        if ask.cold {
            self.cold.take_back(DAY, *at);
        }
        if ask.checked && refund == Refund::All {
            self.checks.take_back(HOUR, *at);
        }
        if let Some(window) = self.contacts.get_mut(&ask.contact) {
            window.take_back(MINUTE, *at);
        }
    }

    /// When the next message that is not urgent may go to a contact the session knows; `now` or later.
    pub(crate) fn next_at(&self, limits: &Limits, now: u64) -> u64 {
        let windows = [
            self.minute.frees_at(MINUTE, now, limits.per_minute),
            self.hour.frees_at(HOUR, now, limits.per_hour),
            self.day.frees_at(DAY, now, limits.per_day),
        ];
        windows.into_iter().flatten().fold(self.paused_until(now).unwrap_or(now), u64::max)
    }

    fn paused_until(&self, now: u64) -> Option<u64> {
        Some(self.next_at).filter(|at| *at > now && at - now <= LONGEST_DELAY_MS)
    }

    /// How long the session leaves a workspace's campaigns to others after a message of one, in milliseconds: at full
    /// weight, health and budget an even share of the minute, and longer in proportion to what it lacks.
    pub(crate) fn campaign_gap(&self, limits: &Limits, health: u8, now: u64) -> u64 {
        let left = |window: &Window, span: Span, limit: u32| match limit {
            0 => 0.0,
            limit => 1.0 - f64::from(window.used(span, now).min(limit)) / f64::from(limit),
        };
        let budget = left(&self.hour, HOUR, limits.per_hour).min(left(&self.day, DAY, limits.per_day));
        let share = f64::from(limits.weight.min(100)) / 100.0 * f64::from(health.min(100)) / 100.0 * budget;
        let even = MINUTE.length_ms() as f64 / f64::from(limits.per_minute.max(1));
        (even / share.max(LEAST_SHARE)) as u64
    }

    /// WhatsApp's restriction, while it lasts.
    pub(crate) fn restriction(&self, now: u64) -> Option<&Restricted> {
        self.restricted.as_ref().filter(|restricted| restricted.until.is_none_or(|until| until > now))
    }

    /// Notes what WhatsApp says. Whether that is news.
    pub(crate) fn restrict(&mut self, restricted: Option<Restricted>) -> bool {
        let news = self.restricted != restricted;
        self.restricted = restricted;
        news
    }

    fn restricted_until(&self, now: u64) -> Option<u64> {
        self.restriction(now).map(|restricted| restricted.until.unwrap_or(now + RESTRICTION_LOOK_MS))
    }

    /// How it stands, for people.
    pub(crate) fn standing(&self, limits: &Limits, linked_for_secs: u64, now: u64) -> Budget {
        let warm = limits.warmed(linked_for_secs);
        let used = |window: &Window, span: Span, limit: u32| Used { used: window.used(span, now), limit };
        let next = self.next_at(&warm, now);
        Budget {
            minute: used(&self.minute, MINUTE, warm.per_minute),
            hour: used(&self.hour, HOUR, warm.per_hour),
            day: used(&self.day, DAY, warm.per_day),
            cold_day: used(&self.cold, DAY, warm.cold_per_day),
            checks_hour: used(&self.checks, HOUR, warm.checks_per_hour),
            urgent_reserve_percent: warm.urgent_reserve_percent,
            contact_per_minute: warm.contact_per_minute,
            warmth_percent: limits.warmth_percent(linked_for_secs),
            weight: warm.weight,
            next_at: (next > now).then(|| Timestamp::from_unix_ms(next)),
        }
    }
}

/// The pause after a message that made the last minute's volume what it is.
fn delay_ms(volume: u32, per_minute: u32, dice: f64) -> u64 {
    let percent = u64::from(volume) * 100 / u64::from(per_minute.max(1));
    let delay = DELAYS.into_iter().find(|(below, _)| percent < u64::from(*below)).map_or(0, |(_, secs)| secs * 1000);
    jittered(delay, dice)
}

fn jittered(ms: u64, dice: f64) -> u64 {
    let jitter = JITTER_FROM_PERCENT + (JITTER_PERCENT as f64 * dice.clamp(0.0, 1.0)) as u64;
    ms * jitter / 100
}

#[cfg(test)]
#[path = "pacing_tests.rs"]
mod tests;
