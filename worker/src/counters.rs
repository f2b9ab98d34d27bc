//! Counts of what the worker did and refused, for the heartbeat file and for a log line every minute.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Named counters with one label each.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<BTreeMap<(&'static str, String), u64>>);

impl Counters {
    /// Adds one to `name` under `label`, e.g. `("commands.rejected", "bad_signature")`. Labels come from fixed sets of words.
    pub(crate) fn count(&self, name: &'static str, label: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((name, label.to_owned())).or_default() += 1;
    }

    /// All counts as `name.label` → count.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, u64> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|((name, label), count)| (format!("{name}.{label}"), *count)).collect()
    }
}
