//! The time a worker lives by: of its own clock, Redis' and the database's, the one in the middle.
//!
//! Commands carry the wall-clock times of their host, so a worker with a wrong clock would refuse what is in order
//! (`expired`, `issued in the future`) and date events by hours wrong, until somebody notices. Two clocks that agree
//! outvote the third, whichever it is. Between two comparisons the time is counted on CLOCK_BOOTTIME, so a clock that is
//! set while the worker runs moves nothing; leases never depend on any of this.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::boottime::BootInstant;
use crate::logging::chain;
use crate::world::{World, unix_time};

/// How often the clocks are compared. Nothing that a worker decides hangs on drift of less than seconds.
const COMPARED_EVERY: Duration = Duration::from_secs(30);
/// An answer that took longer says too little about the moment it was given.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// Clocks kept by NTP differ by less; above it an operator is told.
const SKEW_TOLD_MS: u64 = 2_000;

/// A wall clock that is not set by anybody's mistake. Clones are the same clock.
#[derive(Debug, Clone)]
pub(crate) struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Unix time minus CLOCK_BOOTTIME, in milliseconds.
    offset: AtomicI64,
    /// What this machine's own clock has too much, in milliseconds.
    skew: AtomicI64,
    told: Mutex<bool>,
}

impl Clock {
    /// Begins with this machine's own clock.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            offset: AtomicI64::new(offset(unix_time(), BootInstant::now())),
            skew: AtomicI64::new(0),
            told: Mutex::new(false),
        }))
    }

    /// Unix time in milliseconds.
    pub(crate) fn unix_ms(&self) -> u64 {
        let boot = i64::try_from(BootInstant::now().as_millis()).unwrap_or(i64::MAX);
        u64::try_from(boot.saturating_add(self.0.offset.load(Ordering::Relaxed))).unwrap_or(0)
    }

    /// Unix time in whole seconds.
    pub(crate) fn unix_secs(&self) -> u64 {
        self.unix_ms() / 1000
    }

    /// By how many milliseconds this machine's own clock is ahead (or, negative, behind).
    pub(crate) fn skew_ms(&self) -> i64 {
        self.0.skew.load(Ordering::Relaxed)
    }

    /// Compares the clocks every [`COMPARED_EVERY`] until `stop`.
    pub(crate) async fn keep(&self, world: &World, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(COMPARED_EVERY) => {} }
            self.compare(world).await;
        }
    }

    /// Compares them once.
    pub(crate) async fn compare(&self, world: &World) {
        let redis = timed(world.leases.time()).await;
        let database = timed(world.database.time()).await;
        let own = offset(unix_time(), BootInstant::now());
        let agreed = middle(own, redis, database, self.0.offset.load(Ordering::Relaxed));
        self.0.offset.store(agreed, Ordering::Relaxed);
        let skew = own.saturating_sub(agreed);
        self.0.skew.store(skew, Ordering::Relaxed);
        self.tell(skew, redis.map(|redis| redis - agreed), database.map(|database| database - agreed));
    }

    /// Says once that clocks differ, and once that they agree again.
    fn tell(&self, skew: i64, redis: Option<i64>, database: Option<i64>) {
        let differ = [Some(skew), redis, database].into_iter().flatten().any(|ms| ms.unsigned_abs() > SKEW_TOLD_MS);
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if differ && !*told {
            tracing::error!(
                own_ms = skew,
                redis_ms = redis,
                database_ms = database,
                "a clock is wrong (milliseconds ahead of the one in the middle, which counts); set it right, with NTP"
            );
        } else if !differ && *told {
            tracing::info!("the clocks of this machine, redis and the database agree again");
        }
        *told = differ;
    }
}

/// The offset of the clock in the middle; a clock that does not answer is stood in for by the time that is lived by now.
fn middle(own: i64, redis: Option<i64>, database: Option<i64>, now: i64) -> i64 {
    let mut clocks = [own, redis.unwrap_or(now), database.unwrap_or(now)];
    clocks.sort_unstable();
    clocks[1]
}

/// The offset that an answer tells, if it came soon enough to tell one.
async fn timed<E: std::error::Error + 'static>(answer: impl Future<Output = Result<Duration, E>>) -> Option<i64> {
    let asked = BootInstant::now().as_millis();
    let time = match tokio::time::timeout(ANSWER_LIMIT, answer).await {
        Ok(Ok(time)) => time,
        Ok(Err(error)) => {
            tracing::debug!(error = %chain(&error), "a clock could not be read");
            return None;
        }
        Err(_) => return None,
    };
    Some(offset(time, BootInstant::from_millis(asked.midpoint(BootInstant::now().as_millis()))))
}

fn offset(unix: Duration, boot: BootInstant) -> i64 {
    let unix = i64::try_from(unix.as_millis()).unwrap_or(i64::MAX);
    unix.saturating_sub(i64::try_from(boot.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clocks_outvote_the_third_and_a_silent_one_changes_nothing() {
        const HOUR: i64 = 3_600_000;
        let cases = [
            ("all agree", (1, Some(2), Some(3), 0), 2),
            ("our own is two hours ahead", (2 * HOUR, Some(2), Some(3), 0), 3),
            ("our own is behind", (-HOUR, Some(2), Some(3), 0), 2),
            ("Redis' is wrong", (1, Some(HOUR), Some(3), 0), 3),
            ("the database's is wrong", (1, Some(2), Some(-HOUR), 0), 1),
            ("set while both services are away", (-HOUR, None, None, 0), 0),
            ("set while the database is away", (-HOUR, Some(5), None, 0), 0),
            ("Redis is away, and the time lived by is wrong", (1, None, Some(2), HOUR), 2),
        ];
        for (what, (own, redis, database, now), wanted) in cases {
            assert_eq!(middle(own, redis, database, now), wanted, "{what}");
        }
    }
}
