//! The claim loop: each tick compares what could be owned with what is owned. Nudges only shorten the wait.
//!
//! A session that ends badly is left alone for a while by this worker, so that another one may try it; the lease is
//! released after the browser is gone, never before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use wafleet_protocol::event::SessionStatus;
use wafleet_protocol::id::{SessionId, WorkspaceId};

use crate::database::SessionRow;
use crate::health::Vitals;
use crate::lease::Lease;
use crate::logging::chain;
use crate::session::{self, End, Request, SessionHandle};
use crate::world::World;

/// Sessions looked at in one tick beyond the free places: some of them are owned by others already.
const LOOK_AHEAD: u32 = 2000;
/// Browsers started in one tick: a start costs seconds of CPU.
const CLAIMS_PER_TICK: usize = 4;
/// How long a session that failed here is left to others.
const AVOID_FOR: Duration = Duration::from_secs(30);
/// Pause before nudges are listened for again while Redis is away.
const NUDGE_RETRY: Duration = Duration::from_secs(2);
/// Rows purged from the ledger at once, and how often.
const PURGE_LIMIT: u32 = 1000;
/// A snapshot may have hundreds of chunk rows that go with it.
const SNAPSHOT_PURGE_LIMIT: u32 = 20;
const PURGE_EVERY: Duration = Duration::from_secs(600);

/// Owns the sessions of this worker.
pub(crate) struct Supervisor {
    world: World,
    vitals: Arc<Vitals>,
    sessions: HashMap<String, Owned>,
    running: JoinSet<End>,
    by_task: HashMap<Id, Lease>,
    avoid: HashMap<String, Instant>,
    purged_at: Instant,
}

struct Owned {
    handle: SessionHandle,
}

impl Supervisor {
    pub(crate) fn new(world: World, vitals: Arc<Vitals>) -> Self {
        Self {
            world,
            vitals,
            sessions: HashMap::new(),
            running: JoinSet::new(),
            by_task: HashMap::new(),
            avoid: HashMap::new(),
            purged_at: Instant::now(),
        }
    }

    /// Claims and reaps until `drain`, then asks every session to close and waits for all of them, or until `kill`.
    pub(crate) async fn run(mut self, drain: CancellationToken, kill: CancellationToken) {
        let nudged = Arc::new(Notify::new());
        let listener = tokio::spawn(listen(self.world.clone(), Arc::clone(&nudged), drain.clone()));
        while !drain.is_cancelled() {
            self.tick().await;
            self.beat(false);
            let pause = self.world.config.claim_interval.mul_f64(rand::random_range(0.8..1.2));
            tokio::select! {
                () = drain.cancelled() => {}
                () = nudged.notified() => {}
                () = tokio::time::sleep(pause) => {}
                Some(ended) = self.running.join_next_with_id() => self.reap(ended).await,
            }
        }
        tracing::info!(sessions = self.sessions.len(), "draining: no more claims, sessions close");
        for owned in self.sessions.values() {
            owned.handle.ask(Request::Drain);
        }
        while !self.running.is_empty() {
            tokio::select! {
                biased;
                () = kill.cancelled() => break,
                Some(ended) = self.running.join_next_with_id() => self.reap(ended).await,
                () = tokio::time::sleep(Duration::from_secs(1)) => self.beat(true),
            }
        }
        if !self.running.is_empty() {
            // Dropping the actors kills their browsers; the leases end with their TTL.
            tracing::error!(sessions = self.sessions.len(), "the drain was cut short");
            self.running.shutdown().await;
        }
        listener.abort();
    }

    async fn tick(&mut self) {
        self.stop_unwanted().await;
        let room = self.world.config.capacity.saturating_sub(self.sessions.len());
        if room > 0
            && self.world.leash.is_up()
            && let Err(error) = self.claim(room.min(CLAIMS_PER_TICK)).await
        {
            tracing::warn!(error, "no claims this time");
        }
        if self.purged_at.elapsed() > PURGE_EVERY {
            self.purged_at = Instant::now();
            match self.world.database.purge_commands(PURGE_LIMIT).await {
                Ok(0) => {}
                Ok(rows) => tracing::info!(rows, "purged commands whose time is over"),
                Err(error) => tracing::warn!(error = %chain(&error), "the ledger could not be purged"),
            }
            match self.world.database.purge_snapshots(SNAPSHOT_PURGE_LIMIT).await {
                Ok(0) => {}
                Ok(rows) => tracing::info!(rows, "purged profiles of devices that were unlinked long ago"),
                Err(error) => tracing::warn!(error = %chain(&error), "the saved profiles could not be purged"),
            }
        }
    }

    async fn stop_unwanted(&mut self) {
        if self.sessions.is_empty() {
            return;
        }
        match self.world.database.unwanted(self.world.config.worker_id.as_str()).await {
            Ok(unwanted) => {
                for owned in unwanted.iter().filter_map(|session| self.sessions.get(session)) {
                    owned.handle.ask(Request::Stop);
                }
            }
            Err(error) => tracing::warn!(error = %chain(&error), "it is unknown which sessions should stop"),
        }
    }

    async fn claim(&mut self, most: usize) -> Result<(), String> {
        self.avoid.retain(|_, until| *until > Instant::now());
        let look = LOOK_AHEAD.saturating_add(u32::try_from(self.sessions.len()).unwrap_or(u32::MAX));
        let wanted = self.world.database.wanted(look).await.map_err(|error| chain(&error))?;
        let candidates: Vec<SessionRow> = wanted
            .into_iter()
            .filter(|row| !self.sessions.contains_key(&row.session_id) && !self.avoid.contains_key(&row.session_id))
            .collect();
        let ids: Vec<String> = candidates.iter().map(|row| row.session_id.clone()).collect();
        let free = self.world.leases.free(&ids).await.map_err(|error| chain(&error))?;
        let mut claimed = 0;
        for (row, _) in candidates.into_iter().zip(free).filter(|(_, free)| *free) {
            if claimed == most {
                break;
            }
            match self.world.leases.claim(&row.session_id).await {
                Ok(Some(lease)) => {
                    claimed += 1;
                    self.run_session(lease, &row);
                }
                Ok(None) => {} // another worker was faster
                Err(error) => return Err(chain(&error)),
            }
        }
        Ok(())
    }

    fn run_session(&mut self, lease: Lease, row: &SessionRow) {
        let ids = (row.session_id.parse::<SessionId>(), WorkspaceId::new(row.workspace_id));
        let (Ok(session), Ok(workspace)) = ids else {
            tracing::error!(session_id = ?row.session_id, "a row with an impossible id is left alone");
            return;
        };
        tracing::info!(session_id = %session, workspace_id = %workspace, epoch = lease.fence(), "session claimed");
        self.world.counters.count("leases", "claimed");
        let (handle, actor) = session::channel(self.world.clone(), lease.clone(), workspace, session, row);
        let task = self.running.spawn(actor.run());
        self.by_task.insert(task.id(), lease);
        self.sessions.insert(row.session_id.clone(), Owned { handle });
    }

    async fn reap(&mut self, ended: Result<(Id, End), tokio::task::JoinError>) {
        let (id, end) = match ended {
            Ok((id, end)) => (id, Some(end)),
            Err(error) => (error.id(), None),
        };
        let Some(lease) = self.by_task.remove(&id) else { return };
        self.sessions.remove(lease.session_id());
        match end {
            Some(end) => tracing::info!(session_id = lease.session_id(), ?end, "session ended on this worker"),
            None => tracing::error!(session_id = lease.session_id(), "the session's task panicked"),
        }
        if matches!(end, None | Some(End::Failed)) {
            self.avoid.insert(lease.session_id().to_owned(), Instant::now() + AVOID_FOR);
        }
        self.world.counters.count("leases", if end == Some(End::Fenced) { "lost" } else { "released" });
        self.world.leases.release(&lease).await;
    }

    fn beat(&self, draining: bool) {
        let mut by_status: HashMap<SessionStatus, usize> = HashMap::new();
        for owned in self.sessions.values() {
            *by_status.entry(owned.handle.status()).or_default() += 1;
        }
        self.vitals.tick(draining, self.world.leases.count(), &by_status);
    }
}

/// Turns nudges of the whole fleet into early ticks, for as long as Redis lets us.
async fn listen(world: World, nudged: Arc<Notify>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = world.leases.nudges(&nudged).await {
            tracing::debug!(error = %chain(&error), "nudges cannot be heard; ticks come anyway");
        }
        tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(NUDGE_RETRY) => {} }
    }
}
