//! What the cloud will do later, ordered by time and then by when it was planned.

use std::collections::BTreeMap;

use tokio::time::Instant;

/// A list of deeds with their times. It never sleeps itself: somebody asks it what is due.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    entries: BTreeMap<(Instant, u64), T>,
    planned: u64,
}

impl<T> Agenda<T> {
    pub(crate) fn new() -> Self {
        Self { entries: BTreeMap::new(), planned: 0 }
    }

    pub(crate) fn plan(&mut self, at: Instant, deed: T) {
        self.planned += 1;
        self.entries.insert((at, self.planned), deed);
    }

    /// When the next deed is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.entries.keys().next().map(|(at, _)| *at)
    }

    /// Takes the next deed that is due at `now`.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<T> {
        let entry = self.entries.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn deeds_come_by_time_then_by_order_of_planning() {
        let start = Instant::now();
        let mut agenda = Agenda::new();
        agenda.plan(start + Duration::from_secs(2), "late");
        agenda.plan(start + Duration::from_secs(1), "first");
        agenda.plan(start + Duration::from_secs(1), "second");
        assert_eq!(agenda.take_due(start), None);
        assert_eq!(agenda.next(), Some(start + Duration::from_secs(1)));
        let due: Vec<_> = std::iter::from_fn(|| agenda.take_due(start + Duration::from_secs(1))).collect();
        assert_eq!(due, ["first", "second"]);
    }
}
