//! The claim loop: each tick compares what could be owned with what is owned. Nudges only shorten the wait.
//!
//! A worker claims up to its fair share of what is wanted, so that whoever starts together shares, and takes more only
//! when a session has been free for so long that nobody else seems to come. A worker above its share hands sessions over,
//! the longest idle first and few at a time, to those below theirs: [`spread`] decides, the same for all. A session that
//! ends badly is left alone for a while by this worker, so that another one may try it; the lease is released after the
//! browser is gone, never before.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use wafleet_protocol::event::SessionStatus;
use wafleet_protocol::id::{SessionId, WorkspaceId};

use crate::database::SessionRow;
use crate::health::Vitals;
use crate::lease::{HINT_LIFE, Lease, Meeting, Standing};
use crate::logging::chain;
use crate::session::{self, End, Request, SessionHandle};
use crate::spread::{self, Candidate, Member};
use crate::world::World;

/// Sessions looked at in one tick beyond the free places: some of them are owned by others already.
const LOOK_AHEAD: u32 = 2000;
/// Browsers started in one tick: a start costs seconds of CPU.
const CLAIMS_PER_TICK: usize = 4;
/// A session that has been free for so many claim intervals is claimed above the fair share too: whose share it was does
/// not come.
const STRANDED_INTERVALS: u32 = 3;
/// An uneven spread has to last for so many claim intervals before a session is handed over: workers that start together
/// settle first.
const UNEVEN_INTERVALS: u32 = 3;
/// Sessions of one worker on their way to another at once: each costs its users some seconds and the taker a browser's start.
const HANDED_AT_ONCE: usize = 2;
/// Bound on one tick: many statements, each of which may wait for a connection.
const TICK_LIMIT: Duration = Duration::from_secs(30);
/// Sessions of a draining worker that close at once: the fewer start together elsewhere, the shorter each is away.
const DRAINED_AT_ONCE: usize = 4;
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
    /// The workers of the fleet, as Redis last told.
    meeting: Meeting,
    /// Sessions that nobody has, and since when.
    free_since: HashMap<String, Instant>,
    uneven_since: Option<Instant>,
    /// Sessions released for another worker, which has not come yet.
    given: HashMap<String, Given>,
    purged_at: Instant,
}

struct Owned {
    handle: SessionHandle,
    since: Instant,
    /// It is being handed over to this worker.
    to: Option<String>,
}

/// A session on its way.
struct Given {
    to: String,
    at: Instant,
    taken: bool,
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
            meeting: Meeting { members: Vec::new(), remembers: false },
            free_since: HashMap::new(),
            uneven_since: None,
            given: HashMap::new(),
            purged_at: Instant::now(),
        }
    }

    /// Claims and reaps until `drain`, then asks every session to close and waits for all of them, or until `kill`.
    pub(crate) async fn run(mut self, drain: CancellationToken, kill: CancellationToken) {
        let nudged = Arc::new(Notify::new());
        let listener = tokio::spawn(listen(self.world.clone(), Arc::clone(&nudged), drain.clone()));
        while !drain.is_cancelled() {
            // A service that neither answers nor refuses must not keep the worker from draining, or from its next look.
            tokio::select! {
                () = drain.cancelled() => break,
                ticked = tokio::time::timeout(TICK_LIMIT, self.tick()) => if ticked.is_err() {
                    tracing::warn!("a service does not answer; the next tick asks again");
                }
            }
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
        // First, so that the others count what is ours as theirs the moment it is released.
        if let Err(error) = self.world.leases.leave().await {
            tracing::debug!(error = %chain(&error), "the others learn of the drain when our line ends");
        }
        self.drain(&kill).await;
        if !self.running.is_empty() {
            // Dropping the actors kills their browsers; the leases end with their TTL.
            tracing::error!(sessions = self.sessions.len(), "the drain was cut short");
            self.running.shutdown().await;
        }
        listener.abort();
    }

    /// Asks the sessions to close, the longest idle first, and waits for all of them, or until `kill`.
    async fn drain(&mut self, kill: &CancellationToken) {
        let began = Instant::now();
        let mut asked = HashSet::new();
        while !self.running.is_empty() {
            // One that does not close must not take the time of the others: in the second half nobody waits for it.
            let at_once = if began.elapsed() < self.world.config.drain / 2 { DRAINED_AT_ONCE } else { usize::MAX };
            self.ask_to_leave(&mut asked, at_once);
            let ended = tokio::select! {
                biased;
                () = kill.cancelled() => break,
                Some(ended) = self.running.join_next_with_id() => ended,
                () = tokio::time::sleep(Duration::from_secs(1)) => {
                    self.beat(true);
                    continue;
                }
            };
            tokio::select! {
                () = kill.cancelled() => break, // the lease ends with its TTL
                () = self.reap(ended) => {}
            }
        }
    }

    /// Asks so many sessions to close that no more than `at_once` are at it.
    fn ask_to_leave(&self, asked: &mut HashSet<String>, at_once: usize) {
        asked.retain(|session| self.sessions.contains_key(session));
        let staying = self.sessions.iter().filter(|(session, _)| !asked.contains(*session));
        let mut staying: Vec<Candidate> = staying.map(|(session, owned)| owned.candidate(session)).collect();
        // Those whom nobody can use yet go first: they lose nothing by it.
        staying.sort_by_key(|candidate| (candidate.connected, candidate.busy, Reverse(candidate.idle_for)));
        for candidate in staying.into_iter().take(at_once.saturating_sub(asked.len())) {
            if let Some(owned) = self.sessions.get(&candidate.session) {
                owned.handle.ask(Request::Drain);
            }
            asked.insert(candidate.session);
        }
    }

    async fn tick(&mut self) {
        self.stop_unwanted().await;
        match self.world.leases.meet(self.capacity(), self.load()).await {
            Ok(meeting) => {
                self.meeting = meeting;
                let members = &self.meeting.members;
                self.world.others.store(members.len() > 1, Ordering::Relaxed);
                if self.world.leash.is_up()
                    && let Err(error) = self.claim().await
                {
                    tracing::warn!(error, "no claims this time");
                }
                self.hand_over().await;
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "no claims this time: the other workers are not known")
            }
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

    fn capacity(&self) -> u32 {
        u32::try_from(self.world.config.capacity).unwrap_or(u32::MAX)
    }

    /// Sessions that stay here, as far as we know.
    fn load(&self) -> u32 {
        let staying = self.sessions.values().filter(|owned| owned.to.is_none()).count();
        u32::try_from(staying).unwrap_or(u32::MAX)
    }

    async fn claim(&mut self) -> Result<(), String> {
        let room = self.world.config.capacity.saturating_sub(self.sessions.len()).min(CLAIMS_PER_TICK);
        if room == 0 {
            return Ok(());
        }
        self.avoid.retain(|_, until| *until > Instant::now());
        let look = LOOK_AHEAD.saturating_add(u32::try_from(self.sessions.len()).unwrap_or(u32::MAX));
        let wanted = self.world.database.wanted(look).await.map_err(|error| chain(&error))?;
        let mut share = self.share(u32::try_from(wanted.len()).unwrap_or(u32::MAX)).saturating_sub(self.load());
        let candidates: Vec<SessionRow> = wanted
            .into_iter()
            .filter(|row| !self.sessions.contains_key(&row.session_id) && !self.avoid.contains_key(&row.session_id))
            .filter(|row| !self.may_be_forgotten(row))
            .collect();
        let ids: Vec<String> = candidates.iter().map(|row| row.session_id.clone()).collect();
        let standing = self.world.leases.standing(&ids).await.map_err(|error| chain(&error))?;
        let mut seen = std::mem::take(&mut self.free_since);
        let stranded_after = self.world.config.claim_interval * STRANDED_INTERVALS;
        let mut claimed = 0;
        for (row, standing) in candidates.into_iter().zip(standing) {
            let stranded = match standing {
                Standing::Held | Standing::LeftToAnother => continue,
                Standing::LeftToUs => true,
                Standing::Free => {
                    let since = seen.remove(&row.session_id).unwrap_or_else(Instant::now);
                    self.free_since.insert(row.session_id.clone(), since);
                    since.elapsed() >= stranded_after
                }
            };
            if claimed == room || (share == 0 && !stranded) {
                continue; // only how long it is free is of interest
            }
            match self.world.leases.claim(&row.session_id, row.fence).await {
                Ok(Some(lease)) => {
                    claimed += 1;
                    share = share.saturating_sub(1);
                    self.free_since.remove(&row.session_id);
                    self.run_session(lease, &row);
                }
                Ok(None) => {} // another worker was faster
                Err(error) => return Err(chain(&error)),
            }
        }
        if claimed > 0 {
            // Whoever handed something over to us counts it as ours no longer than until it sees our lease.
            let meeting = self.world.leases.meet(self.capacity(), self.load()).await;
            self.meeting = meeting.map_err(|error| chain(&error))?;
        }
        Ok(())
    }

    /// Whether a session whose lease is missing may still have an owner with a running browser, because Redis forgot the
    /// lease rather than ended it: the owner never released it, and either Redis forgot everything not long ago, or the
    /// claim is younger than any lease can end. Within the TTL that owner takes its lease again, or gives up by itself.
    fn may_be_forgotten(&self, row: &SessionRow) -> bool {
        let ttl_ms = i64::try_from(self.world.config.lease_ttl.as_millis()).unwrap_or(i64::MAX);
        row.unreleased_for_ms.is_some_and(|age_ms| !self.meeting.remembers || age_ms < ttl_ms)
    }

    /// Our fair share of so many sessions.
    fn share(&self, wanted: u32) -> u32 {
        let me = self.meeting.members.iter().position(|member| member.id == self.world.config.worker_id.as_str());
        let owned = self.meeting.members.iter().fold(0_u32, |sum, member| sum.saturating_add(member.load));
        let shares = spread::shares(&self.meeting.members, wanted.max(owned));
        me.and_then(|me| shares.get(me).copied()).unwrap_or(0)
    }

    /// Hands a session over if that makes the spread more even, and has done so for some ticks.
    async fn hand_over(&mut self) {
        self.forget_given().await;
        let members = self.members_to_be();
        let Some(taker) = spread::taker_for(&members, self.world.config.worker_id.as_str()) else {
            self.uneven_since = None;
            return;
        };
        let since = *self.uneven_since.get_or_insert_with(Instant::now);
        let on_their_way = self.sessions.values().filter(|owned| owned.to.is_some()).count() + self.given.len();
        if since.elapsed() < self.world.config.claim_interval * UNEVEN_INTERVALS || on_their_way >= HANDED_AT_ONCE {
            return;
        }
        let candidates: Vec<Candidate> =
            self.sessions.iter().map(|(session, owned)| owned.candidate(session)).collect();
        let Some(candidate) = spread::longest_idle(&candidates, self.world.config.min_stay) else { return };
        if let Some(owned) = self.sessions.get_mut(&candidate.session) {
            tracing::info!(
                session_id = candidate.session,
                to = taker.id,
                idle_secs = candidate.idle_for.as_secs(),
                "handing a session over"
            );
            self.world.counters.count("sessions.moved", "balance");
            owned.to = Some(taker.id.clone());
            owned.handle.ask(Request::Drain);
        }
    }

    /// The roster as it will be when everything on its way has arrived.
    fn members_to_be(&self) -> Vec<Member> {
        let leaving = self.sessions.values().filter_map(|owned| owned.to.as_ref());
        let given = self.given.values().map(|given| &given.to);
        let coming: Vec<&String> = leaving.chain(given).collect();
        let mut members = self.meeting.members.clone();
        for member in &mut members {
            let more = coming.iter().filter(|to| ***to == member.id).count();
            member.load = member.load.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        }
        members
    }

    /// A session is counted for its taker until the taker has claimed it, and counts it itself.
    async fn forget_given(&mut self) {
        self.given.retain(|_, given| !given.taken && given.at.elapsed() < HINT_LIFE);
        let ids: Vec<String> = self.given.keys().cloned().collect();
        if let Ok(standing) = self.world.leases.standing(&ids).await {
            for (id, standing) in ids.iter().zip(standing) {
                if let Some(given) = self.given.get_mut(id) {
                    given.taken = standing == Standing::Held;
                }
            }
        }
    }

    fn run_session(&mut self, lease: Lease, row: &SessionRow) {
        let ids = (row.session_id.parse::<SessionId>(), WorkspaceId::new(row.workspace_id));
        let (Ok(session), Ok(workspace)) = ids else {
            tracing::error!(session_id = ?row.session_id, "a row with an impossible id is left alone");
            return;
        };
        tracing::info!(session_id = %session, workspace_id = %workspace, epoch = lease.fence(), "session claimed");
        self.world.counters.count("leases", "claimed");
        let world = self.world.clone();
        let (handle, task) = if row.by_cloud {
            let (handle, actor) = session::cloud_channel(world, lease.clone(), workspace, session);
            (handle, self.running.spawn(actor.run()))
        } else {
            let (handle, actor) = session::channel(world, lease.clone(), workspace, session, row);
            (handle, self.running.spawn(actor.run()))
        };
        self.by_task.insert(task.id(), lease);
        self.sessions.insert(row.session_id.clone(), Owned { handle, since: Instant::now(), to: None });
    }

    async fn reap(&mut self, ended: Result<(Id, End), tokio::task::JoinError>) {
        let (id, end) = match ended {
            Ok((id, end)) => (id, Some(end)),
            Err(error) => (error.id(), None),
        };
        let Some(lease) = self.by_task.remove(&id) else { return };
        let owned = self.sessions.remove(lease.session_id());
        match end {
            Some(end) => tracing::info!(session_id = lease.session_id(), ?end, "session ended on this worker"),
            None => tracing::error!(session_id = lease.session_id(), "the session's task panicked"),
        }
        if end == Some(End::Elsewhere)
            && let Err(error) = self.world.database.relocated(lease.session_id(), lease.fence()).await
        {
            tracing::warn!(session_id = lease.session_id(), error = %chain(&error), "that a session goes elsewhere is not counted");
        }
        if matches!(end, None | Some(End::Failed | End::Elsewhere)) {
            self.avoid.insert(lease.session_id().to_owned(), Instant::now() + AVOID_FOR);
        }
        self.world.counters.count("leases", if end == Some(End::Fenced) { "lost" } else { "released" });
        let taker = match end {
            // An operator's word goes before the balance.
            Some(End::Drained) => owned.and_then(|owned| owned.handle.taker().or(owned.to)),
            Some(End::Elsewhere) => {
                self.world.counters.count("sessions.moved", "recovery");
                let me = self.world.config.worker_id.as_str();
                spread::roomiest(&self.meeting.members, me).map(|member| member.id.clone())
            }
            _ => None,
        };
        match taker {
            Some(to) => {
                self.world.leases.release_to(&lease, &to).await;
                self.given.insert(lease.session_id().to_owned(), Given { to, at: Instant::now(), taken: false });
            }
            None => self.world.leases.release(&lease).await,
        }
    }

    fn beat(&self, draining: bool) {
        let mut by_status: HashMap<SessionStatus, usize> = HashMap::new();
        for owned in self.sessions.values() {
            *by_status.entry(owned.handle.status()).or_default() += 1;
        }
        self.vitals.tick(draining, self.world.leases.count(), &by_status);
    }
}

impl Owned {
    fn candidate(&self, session: &str) -> Candidate {
        let activity = self.handle.activity();
        Candidate {
            session: session.to_owned(),
            connected: self.handle.status() == SessionStatus::Connected && self.to.is_none(),
            busy: activity.busy,
            idle_for: activity.since.elapsed(),
            here_for: self.since.elapsed(),
        }
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
