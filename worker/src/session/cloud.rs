//! A session without a browser: a number at Meta's Cloud API, claimed, fenced and drained like any other session.
//!
//! ```text
//! initializing ──Meta knows the number──▶ connected ⇄ disconnected (Meta does not answer, or refuses the token)
//! any ──stop, drain, lease lost──▶ ended
//! ```
//! Meta is asked for the number at the start, now and then while all is well, and often while it is not; in between the sends
//! themselves tell. The paced lanes are read while the session is connected.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::message::Delivery;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use wafleet_cloud::client::Account;
use wafleet_cloud::fault::{Fault, Verdict};
use wafleet_protocol::event::{Cause, Event, Health, SessionStatus, SessionStatusChanged};
use wafleet_protocol::id::{SessionId, WorkspaceId};
use wafleet_protocol::personal::Personal;
use wafleet_protocol::timestamp::Timestamp;

use super::execute::{Done, Follow, Job};
use super::lanes::{self, Lanes, Tier};
use super::pace::Pace;
use super::typing;
use super::{Activity, End, RETRY_PAUSE, Request, SEND_IN_FLIGHT_LIMIT, SessionHandle, connection_score};
use crate::broker::consumer::Reader;
use crate::database::StatusWrite;
use crate::events::{Correlation, EventSink};
use crate::lease::Lease;
use crate::logging::chain;
use crate::world::World;

/// Pause between two questions to Meta about a number that is well.
const CHECK_EVERY: Duration = Duration::from_secs(300);
/// The same for a number that is not.
const RECHECK_EVERY: Duration = Duration::from_secs(10);

/// The task that owns a session without a browser.
pub(crate) struct CloudActor {
    world: World,
    lease: Lease,
    workspace: WorkspaceId,
    session: SessionId,
    sink: Arc<EventSink>,
    requests: mpsc::Receiver<Request>,
    status: watch::Sender<SessionStatus>,
    activity: watch::Sender<Activity>,
    taker: watch::Sender<Option<String>>,
    lanes: Lanes,
    /// Somebody wants the session to end, and a command is still being executed.
    leaving: Option<Request>,
    work: JoinSet<Happening>,
    told: SessionStatusChanged,
    check_at: Instant,
    checking: bool,
}

enum Happening {
    LeaseLost,
    Requested(Request),
    CheckDue,
    /// What Meta says of the number; `None` when there is no number, or its token does not open.
    Checked(Result<Account, Option<Fault>>),
    Delivery {
        tier: Tier,
        delivery: Box<Delivery>,
    },
    ReaderOpened {
        tier: Tier,
        reader: Reader,
    },
    ReaderBroken {
        tier: Tier,
    },
    Executed(Done),
    Impatient,
    Panicked,
}

/// Makes a handle and its actor. The caller spawns [`CloudActor::run`].
pub(crate) fn channel(
    world: World,
    lease: Lease,
    workspace: WorkspaceId,
    session: SessionId,
) -> (SessionHandle, CloudActor) {
    let (sender, requests) = mpsc::channel(8);
    let (status, status_receiver) = watch::channel(SessionStatus::Initializing);
    let (activity, activity_receiver) = watch::channel(Activity { busy: false, since: Instant::now() });
    let (taker, taker_receiver) = watch::channel(None);
    let sink = Arc::new(EventSink::of_owner(world.clone(), workspace, session.clone(), lease.clone()));
    let lanes = Lanes::new(world.publisher.room());
    let told = standing(&world, SessionStatus::Initializing, None, Cause::Claimed);
    let actor = CloudActor {
        world,
        lease,
        workspace,
        session,
        sink,
        requests,
        status,
        activity,
        taker,
        lanes,
        leaving: None,
        work: JoinSet::new(),
        told,
        check_at: Instant::now(),
        checking: false,
    };
    let handle =
        SessionHandle { requests: sender, status: status_receiver, activity: activity_receiver, taker: taker_receiver };
    (handle, actor)
}

impl CloudActor {
    /// Runs the session until it ends on this worker. The lease is still held when this returns.
    #[tracing::instrument(name = "session", skip_all, fields(session_id = %self.session, workspace_id = %self.workspace, epoch = self.lease.fence()))]
    pub(crate) async fn run(mut self) -> End {
        self.tell(self.told.clone()).await;
        self.open_reader(Tier::Urgent, Duration::ZERO);
        loop {
            let happening = self.next().await;
            let Some(end) = self.handle(happening).await else { continue };
            self.lanes.close(); // closes the channels: what they hold goes back in order
            self.work.shutdown().await;
            let last = match end {
                End::Stopped => Some((SessionStatus::Stopped, Cause::Command)),
                End::Fenced => None,
                _ => Some((SessionStatus::Disconnected, Cause::Released)),
            };
            if let Some((status, cause)) = last {
                self.become_(status, cause, None).await;
            }
            return end;
        }
    }

    /// Waits for one thing to happen. Every branch is cancel-safe: the losers lose nothing.
    async fn next(&mut self) -> Happening {
        let takes = !self.activity.borrow().busy && self.leaving.is_none();
        let (check_at, checks) = (self.check_at, !self.checking);
        tokio::select! {
            biased;
            () = self.lease.lost() => Happening::LeaseLost,
            Some(done) = self.work.join_next() => done.unwrap_or(Happening::Panicked),
            Some(request) = self.requests.recv() => Happening::Requested(request),
            () = tokio::time::sleep_until(check_at.into()), if checks => Happening::CheckDue,
            (tier, delivery) = self.lanes.next(None), if takes => match delivery {
                Some(delivery) => Happening::Delivery { tier, delivery: Box::new(delivery) },
                None => Happening::ReaderBroken { tier },
            },
        }
    }

    async fn handle(&mut self, happening: Happening) -> Option<End> {
        match happening {
            Happening::LeaseLost => return Some(End::Fenced),
            Happening::Requested(request) if self.activity.borrow().busy => {
                // The send in flight is finished first, within a bound.
                if self.leaving.replace(request).is_none() {
                    self.work.spawn(async {
                        tokio::time::sleep(SEND_IN_FLIGHT_LIMIT).await;
                        Happening::Impatient
                    });
                }
            }
            Happening::Requested(request) => return Some(request.end()),
            Happening::Impatient => return self.leaving.take().map(Request::end),
            Happening::CheckDue => self.check(),
            Happening::Checked(answer) => self.checked(answer).await,
            Happening::Delivery { tier, delivery } => self.execute(tier, *delivery),
            Happening::ReaderOpened { tier, reader } => {
                if self.reads(tier) {
                    self.lanes.put(tier, reader);
                }
            }
            Happening::ReaderBroken { tier } => self.reopen(tier),
            Happening::Executed(done) => return self.executed(done),
            Happening::Panicked => {
                tracing::error!("a task of this session panicked");
                self.set_busy(false);
                self.checking = false;
            }
        }
        None
    }

    fn execute(&mut self, tier: Tier, delivery: Delivery) {
        self.set_busy(true);
        let job = Job {
            world: self.world.clone(),
            sink: Arc::clone(&self.sink),
            lease: self.lease.clone(),
            workspace: self.workspace,
            session: self.session.clone(),
            page: None,
            online: self.is_online(),
            linking: false,
            browser: false,
            away: Duration::ZERO,
            status: self.told.clone(),
            tier,
            pace: Pace::default(),
            typist: typing::pair(tier).0, // there is no page to type in
        };
        self.work.spawn(async move { Happening::Executed(job.run(delivery).await) });
    }

    fn executed(&mut self, done: Done) -> Option<End> {
        self.set_busy(false);
        // What the sends met may say something of the number.
        if self.is_online() && self.told.cause == Cause::Ready && self.world.cloud.suspects(self.session.as_str()) {
            self.check_at = Instant::now();
        }
        match done.follow {
            Follow::ReopenLane => self.reopen(done.tier),
            Follow::Leave { to } => {
                self.taker.send_replace(Some(to));
                // Who asked for an end before wants it for good or for anybody.
                return Some(self.leaving.take().map_or(End::Drained, Request::end));
            }
            // These are answers of a browser, and there is none.
            Follow::Nothing
            | Follow::Park { .. }
            | Follow::Unlink(_)
            | Follow::StillLinked
            | Follow::LoggedOut
            | Follow::Sync
            | Follow::PairingPhone(_) => {}
        }
        self.leaving.take().map(Request::end)
    }

    fn check(&mut self) {
        self.checking = true;
        let (world, workspace, session) = (self.world.clone(), self.workspace.get(), self.session.clone());
        self.work.spawn(async move {
            // Asked anew each time: an operator may have set another token.
            world.database.available().await;
            let answer = match world.database.cloud_binding(workspace, session.as_str()).await {
                Ok(Some(binding)) => world.cloud.account(&binding.number).await,
                Ok(None) => Err(None),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "the session's Cloud API number could not be read");
                    Err(None)
                }
            };
            Happening::Checked(answer)
        });
    }

    async fn checked(&mut self, answer: Result<Account, Option<Fault>>) {
        self.checking = false;
        self.world.cloud.trust(self.session.as_str());
        let (status, cause, pause) = match &answer {
            Ok(_) => (SessionStatus::Connected, Cause::Ready, CHECK_EVERY),
            // A refusal of the question is one of the token or of the number, whatever its code.
            Err(Some(Fault { verdict: Verdict::Defer { .. } | Verdict::Failed(_), code, trace, .. })) => {
                tracing::warn!(provider_code = code, trace, "Meta refuses the session's number or its token");
                (SessionStatus::Disconnected, Cause::CredentialsRefused, RECHECK_EVERY)
            }
            Err(None) => (SessionStatus::Disconnected, Cause::CredentialsRefused, RECHECK_EVERY),
            Err(Some(_)) => (SessionStatus::Disconnected, Cause::ConnectionLost, RECHECK_EVERY),
        };
        self.check_at = Instant::now() + pause;
        let phone = answer.ok().and_then(|account| {
            let digits: String =
                account.display_phone_number?.chars().filter(|character| character.is_ascii_digit()).collect();
            (!digits.is_empty()).then(|| Personal::from(digits))
        });
        let was_online = self.is_online();
        if (self.told.status, self.told.cause) != (status, cause) {
            self.become_(status, cause, phone).await;
        }
        match (was_online, self.is_online()) {
            (false, true) => {
                for tier in Tier::ALL.into_iter().filter(|tier| tier.needs_a_sender()) {
                    self.open_reader(tier, Duration::ZERO);
                }
            }
            (true, false) => self.lanes.offline(),
            _ => {}
        }
    }

    async fn become_(&mut self, status: SessionStatus, cause: Cause, phone: Option<Personal>) {
        let told = standing(&self.world, status, Some(self.told.status), cause);
        self.told = SessionStatusChanged { phone, ..told };
        self.tell(self.told.clone()).await;
    }

    /// Tells the public status: event, row and log line.
    async fn tell(&mut self, told: SessionStatusChanged) {
        tracing::info!(status = %told.status, cause = ?told.cause, provider = "cloud", "session status");
        self.world.counters.count("sessions.status", told.status.as_str());
        self.status.send_replace(told.status);
        let event = Event::SessionStatus(told.clone());
        if let Err(error) = self.sink.emit(self.sink.fresh_id(), event, Correlation::default()) {
            tracing::warn!(error = %chain(&error), "a status could not be told");
        }
        let cause = serde_json::to_value(told.cause).ok().and_then(|value| value.as_str().map(str::to_owned));
        let write = StatusWrite {
            session_id: self.session.as_str(),
            fence: self.lease.fence(),
            status: told.status.as_str(),
            cause: cause.as_deref().unwrap_or_default(),
            attempt: 0,
            phone: told.phone.as_ref().map(Personal::as_str),
            lid: None,
            name: None,
            connected: told.status == SessionStatus::Connected,
            health_score: told.health.score,
        };
        if let Err(error) = self.world.database.write_status(&write).await {
            tracing::warn!(error = %chain(&error), "the status row could not be written; the next status will be");
        }
    }

    /// Whether this tier is to be read.
    fn reads(&self, tier: Tier) -> bool {
        !tier.needs_a_sender() || self.is_online()
    }

    fn is_online(&self) -> bool {
        self.told.status == SessionStatus::Connected
    }

    fn set_busy(&self, busy: bool) {
        self.activity.send_replace(Activity { busy, since: Instant::now() });
    }

    /// The channel is closed, so that the broker puts back in order what it held, and opened again.
    fn reopen(&mut self, tier: Tier) {
        self.lanes.drop_reader(tier);
        if self.reads(tier) {
            self.open_reader(tier, RETRY_PAUSE);
        }
    }

    fn open_reader(&mut self, tier: Tier, after: Duration) {
        let opened = lanes::open(&self.world, &self.lease, self.workspace, &self.session, tier, after);
        self.work.spawn(async move { Happening::ReaderOpened { tier, reader: opened.await } });
    }
}

impl Request {
    fn end(self) -> End {
        match self {
            Self::Stop => End::Stopped,
            Self::Drain => End::Drained,
        }
    }
}

fn standing(
    world: &World,
    status: SessionStatus,
    previous: Option<SessionStatus>,
    cause: Cause,
) -> SessionStatusChanged {
    SessionStatusChanged {
        status,
        previous,
        since: Timestamp::from_unix_ms(world.clock.unix_ms()),
        cause,
        attempt: 0,
        health: Health {
            score: connection_score(status, 0),
            degraded: false,
            restricted: None,
            moving: cause == Cause::Released,
            parts: None,
        },
        phone: None,
        lid: None,
        name: None,
        budget: None,
        calls: None,
    }
}
