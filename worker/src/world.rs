//! What every part of a worker may reach: the services, the keys, the settings.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::broker::consumer::Link;
use crate::broker::publisher::Publisher;
use crate::campaign::Progress;
use crate::checked::Checked;
use crate::clock::Clock;
use crate::cloud::Cloud;
use crate::config::Config;
use crate::counters::Counters;
use crate::database::Database;
use crate::lease::Leases;
use crate::leash::Leash;
use crate::media::Downloads;
use crate::objects::Objects;
use crate::settle::Deferrals;

/// Handles to the world outside. Cheap to clone.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) config: Arc<Config>,
    pub(crate) database: Database,
    pub(crate) leases: Leases,
    pub(crate) leash: Leash,
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) publisher: Publisher,
    pub(crate) link: Link,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Clock,
    pub(crate) checked: Checked,
    pub(crate) deferrals: Arc<Deferrals>,
    pub(crate) progress: Arc<Progress>,
    /// This process, told from an earlier one of the same worker id.
    pub(crate) process: Arc<str>,
    /// Other workers are there, as far as the claim loop knows.
    pub(crate) others: Arc<AtomicBool>,
    /// The S3-compatible store, where one is configured.
    pub(crate) objects: Option<Arc<Objects>>,
    /// Received media in flight, over all sessions.
    pub(crate) downloads: Arc<Downloads>,
}

/// This machine's own clock, as time since the Unix epoch, for the command line and for names on this disk. A worker lives
/// by [`Clock`]; deadlines use clocks that nobody sets.
pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// [`unix_time`] in whole seconds.
pub(crate) fn unix_secs() -> u64 {
    unix_time().as_secs()
}

/// [`unix_time`] in milliseconds.
pub(crate) fn unix_ms() -> u64 {
    u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX)
}
