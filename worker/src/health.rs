//! Health without a port: the main loop writes a heartbeat file, `wafleet health` reads it.
//!
//! The file is written by the claim loop itself, because a heartbeat from a task of its own would prove nothing. Its stamp
//! is CLOCK_BOOTTIME, so that a wrong wall clock does not restart a fleet.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wafleet_protocol::event::SessionStatus;

use crate::boottime::BootInstant;
use crate::broker::outbox::Standing;
use crate::world::World;

/// A worker whose loop has not turned for this long is stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(60);
/// The file below the runtime directory.
const FILE: &str = "heartbeat.json";

/// What the file says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The worker.
    pub worker_id: String,
    /// Its process.
    pub pid: u32,
    /// `claiming` or `draining`.
    pub state: String,
    /// Milliseconds on CLOCK_BOOTTIME.
    pub boottime_ms: u64,
    /// Milliseconds by which this machine's own clock is ahead of the one the fleet agrees on.
    #[serde(default)]
    pub clock_skew_ms: i64,
    /// The consuming connection is up.
    pub broker_connected: bool,
    /// RabbitMQ, Redis and the database have all answered at least once.
    pub started: bool,
    /// Leases held.
    pub leases: usize,
    /// Sessions by public status.
    pub sessions: BTreeMap<String, usize>,
    /// Events that wait for the broker.
    #[serde(default)]
    pub events: WaitingEvents,
    /// Counts since the start.
    pub counters: BTreeMap<String, u64>,
}

/// Events that wait for the broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingEvents {
    /// How many messages wait or are not confirmed yet.
    pub waiting: usize,
    /// Bytes they take, of `bound`.
    pub bytes: u64,
    /// From 80 % of it on no command is taken.
    pub bound: u64,
    /// `free`; `no_commands`: commands stay in their queues; `full`: pages are not listened to either.
    pub room: String,
    /// `disk`; `memory`: there are no profile keys to seal them with; `trouble`: the disk does not take them.
    pub keeping: String,
}

impl From<Standing> for WaitingEvents {
    fn from(standing: Standing) -> Self {
        Self {
            waiting: standing.waiting,
            bytes: standing.bytes,
            bound: standing.bound,
            room: standing.room.as_str().to_owned(),
            keeping: standing.keeping.as_str().to_owned(),
        }
    }
}

/// What is asked of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Probe {
    /// Does its loop turn? An outage of a service does not matter.
    Live,
    /// Does it take sessions?
    Ready,
    /// Has it reached every service once?
    Startup,
}

/// Writes the heartbeat.
pub(crate) struct Vitals {
    world: World,
    path: PathBuf,
    started: Mutex<bool>,
}

impl Vitals {
    /// # Errors
    /// The runtime directory cannot be made.
    pub(crate) fn new(world: World) -> std::io::Result<Self> {
        fs::create_dir_all(&world.config.runtime_dir)?;
        let path = world.config.runtime_dir.join(FILE);
        Ok(Self { world, path, started: Mutex::new(false) })
    }

    /// All services have answered.
    pub(crate) fn started(&self) {
        *self.started.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// One turn of the loop.
    pub(crate) fn tick(&self, draining: bool, leases: usize, sessions: &HashMap<SessionStatus, usize>) {
        let heartbeat = Heartbeat {
            worker_id: self.world.config.worker_id.to_string(),
            pid: std::process::id(),
            state: if draining { "draining" } else { "claiming" }.to_owned(),
            boottime_ms: BootInstant::now().as_millis(),
            clock_skew_ms: self.world.clock.skew_ms(),
            broker_connected: self.world.link.connection().is_some(),
            started: *self.started.lock().unwrap_or_else(PoisonError::into_inner),
            leases,
            sessions: sessions.iter().map(|(status, count)| (status.to_string(), *count)).collect(),
            events: self.world.publisher.standing().into(),
            counters: self.world.counters.snapshot(),
        };
        let text = serde_json::to_vec(&heartbeat).expect("plain data always serialises");
        let next = self.path.with_extension("json.next");
        // Renamed into place, so that a reader never sees half of it.
        if let Err(error) = fs::write(&next, text).and_then(|()| fs::rename(&next, &self.path)) {
            tracing::warn!(%error, path = %self.path.display(), "the heartbeat could not be written");
        }
    }

    /// The worker has ended in good order.
    pub(crate) fn ended(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Judges the worker whose runtime directory this is. `Ok` is healthy; both carry a sentence for the operator.
///
/// # Errors
/// Why it is not healthy.
pub fn judge(runtime_dir: &Path, probe: Probe) -> Result<String, String> {
    let path = runtime_dir.join(FILE);
    let text = fs::read(&path).map_err(|error| format!("no heartbeat: {}: {error}", path.display()))?;
    let beat: Heartbeat = serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let age = Duration::from_millis(BootInstant::now().as_millis().saturating_sub(beat.boottime_ms));
    if !Path::new("/proc").join(beat.pid.to_string()).exists() {
        return Err(format!("worker {} (pid {}) is gone", beat.worker_id, beat.pid));
    }
    if age > STUCK_AFTER {
        return Err(format!("worker {} is stuck: its loop last turned {} s ago", beat.worker_id, age.as_secs()));
    }
    match probe {
        Probe::Ready if beat.state != "claiming" => return Err(format!("worker {} is {}", beat.worker_id, beat.state)),
        Probe::Ready if !beat.broker_connected => {
            return Err(format!("worker {} has no broker connection", beat.worker_id));
        }
        Probe::Ready | Probe::Startup if !beat.started => {
            return Err(format!("worker {} has not reached all services yet", beat.worker_id));
        }
        _ => {}
    }
    let sessions: Vec<String> = beat.sessions.iter().map(|(status, count)| format!("{count} {status}")).collect();
    let sessions = if sessions.is_empty() { "no sessions".to_owned() } else { sessions.join(", ") };
    Ok(format!(
        "worker {} is {}: {sessions}; {} leases; last beat {} ms ago",
        beat.worker_id,
        beat.state,
        beat.leases,
        age.as_millis()
    ))
}
