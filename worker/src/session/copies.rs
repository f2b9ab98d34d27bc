//! When the next safety copy of the profile is made: after a while, at a moment when nothing is going on.
//!
//! The browser is closed for it, because only the profile of a closed browser always opens again: of copies of a running
//! one, made while the page wrote much, every fourth did not.

use std::time::{Duration, Instant};

/// So long nothing was sent and nothing came: the moment is an idle one.
const QUIET: Duration = Duration::from_secs(10);
/// A session that is never quiet is paused between two commands once the copy is overdue by this part of its interval.
const OVERDUE_PART: u32 = 4;
/// The interval varies by this part in both directions, so that the sessions of a worker do not pause together.
const JITTER: f64 = 0.2;
/// Pause before a session that was not well at the moment of its copy is looked at again.
const POSTPONED: Duration = Duration::from_secs(60);

/// The clock of one session's copies.
#[derive(Debug)]
pub(super) struct Copies {
    every: Option<Duration>,
    due: Option<Instant>,
    active: Instant,
}

impl Copies {
    /// `every`: the interval, or `None` for no copies at all.
    pub(super) fn new(every: Option<Duration>, now: Instant) -> Self {
        Self { every, due: None, active: now }
    }

    /// The session is connected. The first time a clock starts; a profile that was saved right after pairing is a copy too.
    /// `chance` is between 0 and 1.
    pub(super) fn connected(&mut self, now: Instant, chance: f64) {
        self.active = now;
        if self.due.is_none() {
            self.made(now, chance);
        }
    }

    /// A copy was made, or tried: the next one is due after a whole interval.
    pub(super) fn made(&mut self, now: Instant, chance: f64) {
        let factor = 1.0 - JITTER + 2.0 * JITTER * chance.clamp(0.0, 1.0);
        self.due = self.every.map(|every| now + every.mul_f64(factor));
    }

    /// A save did not come to its end: the next one is due soon, and only the one after it in a whole interval.
    pub(super) fn failed(&mut self, now: Instant) {
        self.due = self.every.map(|every| now + POSTPONED.min(every));
    }

    /// A command was executed, or something came in.
    pub(super) fn active(&mut self, now: Instant) {
        self.active = now;
    }

    /// The session was not in a state to be paused.
    pub(super) fn postponed(&mut self, now: Instant) {
        self.due = self.due.map(|due| due.max(now + POSTPONED));
    }

    /// The moment to pause at, unless something happens before.
    pub(super) fn at(&self) -> Option<Instant> {
        let (due, every) = (self.due?, self.every?);
        // In a short interval quietness is short as well.
        let quiet = self.active + QUIET.min(every / OVERDUE_PART);
        Some(due.max(quiet.min(due + every / OVERDUE_PART)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_copy_waits_for_a_quiet_moment_but_not_for_ever() {
        let now = Instant::now();
        let mut copies = Copies::new(Some(HOUR), now);
        assert_eq!(copies.at(), None, "never connected");
        copies.connected(now, 0.5);
        assert_eq!(copies.at(), Some(now + HOUR));
        copies.connected(now + HOUR / 2, 0.5);
        assert_eq!(copies.at(), Some(now + HOUR), "a short absence starts no new clock");
        for minutes in 59..80 {
            copies.active(now + Duration::from_secs(60 * minutes));
        }
        assert_eq!(copies.at(), Some(now + HOUR + HOUR / 4), "overdue");
        copies.postponed(now + 2 * HOUR);
        assert_eq!(copies.at(), Some(now + 2 * HOUR + POSTPONED));
        copies.failed(now + 2 * HOUR);
        assert_eq!(copies.at(), Some(now + 2 * HOUR + POSTPONED), "not saved");
        copies.made(now + 2 * HOUR, 0.5);
        assert_eq!(copies.at(), Some(now + 3 * HOUR));
    }

    #[test]
    fn intervals_differ_by_chance_and_none_means_none() {
        let now = Instant::now();
        for (chance, minutes) in [(0.0, 48), (0.5, 60), (1.0, 72)] {
            let mut copies = Copies::new(Some(HOUR), now);
            copies.connected(now, chance);
            let at = copies.at().expect("due");
            assert!(at.duration_since(now + Duration::from_secs(60 * minutes)) < Duration::from_millis(1));
        }
        let mut never = Copies::new(None, now);
        never.connected(now, 0.5);
        assert_eq!(never.at(), None);
    }
}
