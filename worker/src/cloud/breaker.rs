//! A circuit breaker: after so many failures in a row a provider is left alone for a while, and then tried once.
//!
//! ```text
//! closed ──failures in a row──▶ open ──pause over──▶ trying ──success──▶ closed
//!                                ▲                      └──failure, or no answer within another pause──┐
//!                                └─────────────────────────────────────────────────────────────────────┘
//! ```

use std::time::{Duration, Instant};

/// The state of one provider.
#[derive(Debug)]
pub(crate) struct Breaker {
    limit: u32,
    pause: Duration,
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    pub(crate) fn new(limit: u32, pause: Duration) -> Self {
        Self { limit, pause, failures: 0, open_until: None }
    }

    /// Whether something may be tried. An open breaker lets one try through when its pause is over, and no other before
    /// another pause.
    pub(crate) fn lets(&mut self, now: Instant) -> bool {
        match self.open_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                self.open_until = Some(now + self.pause);
                true
            }
        }
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.open_until = None;
    }

    /// True when this failure opened it.
    pub(crate) fn failed(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        let opens = self.failures >= self.limit;
        let opened = opens && self.open_until.is_none();
        if opens {
            self.open_until = Some(now + self.pause);
        }
        opened
    }

    /// Whether it may be forgotten.
    pub(crate) fn is_quiet(&self) -> bool {
        self.failures == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);

    #[test]
    fn it_opens_after_failures_in_a_row_and_tries_once_after_the_pause() {
        let mut breaker = Breaker::new(3, PAUSE);
        let start = Instant::now();
        assert!(!breaker.failed(start) && !breaker.failed(start));
        breaker.succeeded();
        assert!(!breaker.failed(start) && !breaker.failed(start) && breaker.lets(start));
        assert!(breaker.failed(start), "three in a row");
        assert!(!breaker.lets(start) && !breaker.lets(start + PAUSE - Duration::from_millis(1)));
        let later = start + PAUSE;
        assert!(breaker.lets(later) && !breaker.lets(later), "one try");
        assert!(!breaker.failed(later), "it was open already");
        assert!(!breaker.lets(later + PAUSE / 2) && breaker.lets(later + PAUSE));
        breaker.succeeded();
        assert!(breaker.lets(later) && breaker.lets(later));
    }

    proptest! {
        #[test]
        fn an_open_breaker_lets_at_most_one_try_through_in_a_pause(
            steps in proptest::collection::vec((0_u64..20, any::<bool>()), 1..200),
        ) {
            let mut breaker = Breaker::new(2, PAUSE);
            let mut now = Instant::now();
            breaker.failed(now);
            breaker.failed(now);
            let mut last_try: Option<Instant> = None;
            for (secs, fails) in steps {
                now += Duration::from_secs(secs);
                if breaker.lets(now) {
                    prop_assert!(last_try.is_none_or(|last| now >= last + PAUSE));
                    last_try = Some(now);
                    if fails {
                        breaker.failed(now);
                    }
                }
            }
        }
    }
}
