//! How well a session does, from 0 to 100: the worst of four parts.
//!
//! | part | 100 | less |
//! |---|---|---|
//! | connection | connected | 20 for each rung of recovery, 5 for each loss within the hour that was told; 50 at most while not connected |
//! | acks | WhatsApp acknowledged within five seconds, by the median | down to 0 at a minute |
//! | sends | every send ended well | the share that did not; a number that is not on WhatsApp is no fault of the session |
//! | restriction | none | 40 |
//!
//! Only the last half hour counts, and what did not happen counts for nothing: a quiet session is a healthy one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wafleet_protocol::event::{HealthParts, SessionStatus};

/// Sends that count, and for how long.
const SENDS: usize = 20;
const SENDS_FOR: Duration = Duration::from_secs(1800);
/// How long the loss of a connection counts.
const LOSSES_FOR: Duration = Duration::from_secs(3600);
const LOSS_COSTS: u32 = 5;
const RUNG_COSTS: u32 = 20;
/// An ack within this is a good one; from the other on it is worth nothing.
const GOOD_ACK: Duration = Duration::from_secs(5);
const BAD_ACK: Duration = Duration::from_secs(60);
const RESTRICTED: u8 = 40;
/// A change of the score is told if it is this large, or leads back to 100, and not more often than this. So one short absence
/// is not told.
const TOLD_FROM: u8 = 10;
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// How one send went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Send {
    /// WhatsApp acknowledged it after so long.
    Acknowledged(Duration),
    /// It failed, or nobody knows.
    Failed,
}

/// What the score is made of.
#[derive(Debug, Default)]
pub(super) struct Score {
    sends: VecDeque<(Instant, Send)>,
    losses: VecDeque<Instant>,
    told: Option<(u8, Instant)>,
}

impl Score {
    pub(super) fn sent(&mut self, send: Send, now: Instant) {
        self.sends.push_back((now, send));
        if self.sends.len() > SENDS {
            self.sends.pop_front();
        }
    }

    pub(super) fn lost_connection(&mut self, now: Instant) {
        self.losses.push_back(now);
        if self.losses.len() > 10 {
            self.losses.pop_front();
        }
    }

    /// The parts now; the score is the least of them.
    pub(super) fn parts(&self, status: SessionStatus, attempt: u32, restricted: bool, now: Instant) -> HealthParts {
        let losses = self.losses.iter().filter(|at| now.duration_since(**at) < LOSSES_FOR).count();
        let cost = LOSS_COSTS.saturating_mul(u32::try_from(losses).unwrap_or(u32::MAX));
        let connection = u32::from(connection(status, attempt)).saturating_sub(cost);
        let recent: Vec<Send> =
            self.sends.iter().filter(|(at, _)| now.duration_since(*at) < SENDS_FOR).map(|(_, send)| *send).collect();
        let failed = recent.iter().filter(|send| **send == Send::Failed).count();
        let mut acks: Vec<Duration> = recent
            .iter()
            .filter_map(|send| match send {
                Send::Acknowledged(took) => Some(*took),
                Send::Failed => None,
            })
            .collect();
        acks.sort_unstable();
        HealthParts {
            connection: u8::try_from(connection).unwrap_or(0),
            acks: acks.get(acks.len() / 2).map_or(100, |median| ack_score(*median)),
            sends: u8::try_from(100 - 100 * failed / recent.len().max(1)).unwrap_or(0),
            restriction: if restricted { RESTRICTED } else { 100 },
        }
    }

    /// Whether this score is worth telling now; if so, it counts as told.
    pub(super) fn is_news(&mut self, score: u8, now: Instant) -> bool {
        let news = match self.told {
            None => is_worth(100, score),
            Some((told, at)) => is_worth(told, score) && now.duration_since(at) >= TOLD_EVERY,
        };
        if news {
            self.told = Some((score, now));
        }
        news
    }

    /// It was told along with something else.
    pub(super) fn told(&mut self, score: u8, now: Instant) {
        self.told = Some((score, now));
    }

    /// When a score that was told too lately may be told, or what counted ceases to.
    pub(super) fn due(&self, score: u8, now: Instant) -> Option<Instant> {
        let (told, at) = self.told?;
        if is_worth(told, score) {
            return Some((at + TOLD_EVERY).max(now));
        }
        let sends = self.sends.iter().map(|(at, _)| *at + SENDS_FOR);
        let losses = self.losses.iter().map(|at| *at + LOSSES_FOR);
        (score < 100).then(|| sends.chain(losses).filter(|at| *at > now).min()).flatten()
    }
}

fn is_worth(told: u8, score: u8) -> bool {
    told.abs_diff(score) >= TOLD_FROM || (score == 100 && told != 100)
}

/// The least of the parts.
pub(super) fn score(parts: &HealthParts) -> u8 {
    parts.connection.min(parts.acks).min(parts.sends).min(parts.restriction)
}

/// 100 when connected, less for each rung of the ladder; a session that is not connected has at most 50.
pub(crate) fn connection(status: SessionStatus, attempt: u32) -> u8 {
    let base: u32 = match status {
        SessionStatus::Connected => 100,
        SessionStatus::Failed | SessionStatus::LoggedOut => 0,
        _ => 50,
    };
    u8::try_from(base.saturating_sub(RUNG_COSTS.saturating_mul(attempt))).unwrap_or(0)
}

fn ack_score(took: Duration) -> u8 {
    let late = took.saturating_sub(GOOD_ACK).as_millis() * 100 / (BAD_ACK - GOOD_ACK).as_millis();
    u8::try_from(100u128.saturating_sub(late)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected(score: &Score, now: Instant) -> HealthParts {
        score.parts(SessionStatus::Connected, 0, false, now)
    }

    #[test]
    fn quietness_costs_nothing_and_what_is_long_ago_neither() {
        let (mut health, start) = (Score::default(), Instant::now());
        assert_eq!(score(&connected(&health, start)), 100);
        health.sent(Send::Failed, start);
        health.lost_connection(start);
        let now = connected(&health, start);
        assert_eq!((now.sends, now.connection, score(&now)), (0, 95, 0));
        let later = connected(&health, start + LOSSES_FOR);
        assert_eq!(score(&later), 100, "{later:?}");
    }

    #[test]
    fn each_part_says_what_is_wrong() {
        let start = Instant::now();
        let acked = |secs| Send::Acknowledged(Duration::from_secs(secs));
        let sent = |sends: &[Send]| {
            let mut health = Score::default();
            sends.iter().for_each(|send| health.sent(*send, start));
            connected(&health, start)
        };
        assert_eq!(sent(&[acked(1), acked(4), acked(60)]).acks, 100, "the median counts");
        assert_eq!((sent(&[acked(60)]).acks, sent(&[acked(600)]).acks), (0, 0));
        assert_eq!(sent(&[acked(1), acked(1), acked(1), Send::Failed]).sends, 75);
        assert_eq!(sent(&[Send::Failed; 40]).sends, 0);
        let health = Score::default();
        assert_eq!(health.parts(SessionStatus::Connected, 0, true, start).restriction, 40);
        let cases = [
            (SessionStatus::Connected, 2, 60),
            (SessionStatus::Disconnected, 1, 30),
            (SessionStatus::Initializing, 9, 0),
            (SessionStatus::LoggedOut, 0, 0),
        ];
        for (status, attempt, expected) in cases {
            assert_eq!(health.parts(status, attempt, false, start).connection, expected, "{status}");
        }
    }

    #[test]
    fn small_and_quick_changes_are_not_told() {
        let (mut health, start) = (Score::default(), Instant::now());
        assert!(!health.is_news(100, start), "that is what everybody expects");
        assert!(health.is_news(75, start));
        let steps = [
            (1, 50, false),
            (31, 70, false),
            (31, 50, true),
            (40, 100, false),
            (62, 100, true),
            (93, 95, false),
            (93, 90, true),
        ];
        for (secs, score, news) in steps {
            assert_eq!(health.is_news(score, start + Duration::from_secs(secs)), news, "{score} after {secs} s");
        }
        let now = start + Duration::from_secs(94);
        assert_eq!(health.due(50, now), Some(start + Duration::from_secs(93) + TOLD_EVERY));
        assert_eq!(health.due(95, now), None, "nothing that would cease to count");
    }
}
