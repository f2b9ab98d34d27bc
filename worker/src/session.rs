//! One session on this worker: the actor that owns it, its browser and its lanes.
//!
//! The actor owns all state. [`state::State::step`] decides, [`effects`] is the only place that touches the
//! world, and what takes time is started as a task and comes back as a [`Happening`]. One command is executed at a time.

mod acting;
mod browser;
mod calling;
mod checking;
mod choosing;
mod cloud;
mod copies;
mod effects;
mod execute;
mod hearing;
mod lanes;
mod opening;
mod pace;
mod picturing;
mod provider;
mod score;
mod sending;
mod state;
mod syncing;
mod telling;
mod typing;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use lapin::message::Delivery;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::task::AbortOnDropHandle;
use wafleet_browser::{CallError, PageEvent, Sent};
use wafleet_protocol::command::Calls;
use wafleet_protocol::event::{Cause, Event, SessionStatus, SessionStatusChanged};
use wafleet_protocol::id::{EventId, PhoneNumber, SessionId, WorkspaceId};

use crate::broker::consumer::Reader;
use crate::broker::outbox::Room;
use crate::broker::publisher::Confirm;
use crate::database::{ContactKey, Desired, SessionRow};
use crate::events::{Correlation, EmitError, EventSink};
use crate::lease::Lease;
use crate::logging::chain;
use crate::pacing::Restricted;
use crate::snapshot::Snapshots;
use crate::world::World;
use browser::{Farewell, Live};
use copies::Copies;
use execute::{Done, Follow, Job};
use hearing::{Confirmed, Missed, Watermark};
use lanes::{Lanes, Tier};
use opening::Opening;
use pace::Pace;
use score::Score;
use state::{Effect, Input, State};
use telling::Told;
use typing::Watched;

pub(crate) use cloud::channel as cloud_channel;
pub(crate) use score::connection as connection_score;
pub(crate) use state::End;
pub(crate) use telling::message_id;

/// Pause before a row or a budget is tried again while the database or Redis is away.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Pause before the head of a paced lane is looked at again that not even the number that helps out can send.
const HELD_PAUSE: Duration = Duration::from_secs(5);
/// How long a stop or a drain waits for the send in flight.
const SEND_IN_FLIGHT_LIMIT: Duration = Duration::from_secs(20);

/// Other workers that may try a session that was given up, one after the other, before it has failed.
const RELOCATIONS: u32 = 2;

/// What the worker can ask of a running session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// The host wants it to stop.
    Stop,
    /// The worker is shutting down.
    Drain,
}

impl From<Request> for Input {
    fn from(request: Request) -> Self {
        match request {
            Request::Stop => Self::Stop,
            Request::Drain => Self::Drain,
        }
    }
}

/// Talks to a running session.
#[derive(Clone)]
pub(crate) struct SessionHandle {
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<SessionStatus>,
    activity: watch::Receiver<Activity>,
    taker: watch::Receiver<Option<String>>,
}

/// Whether a session does something for its users just now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Activity {
    /// A command is being executed.
    pub(crate) busy: bool,
    /// Since it has been so.
    pub(crate) since: Instant,
}

impl SessionHandle {
    /// Passes a request on; a session that has ended needs none.
    pub(crate) fn ask(&self, request: Request) {
        // The mailbox holds more than the two kinds of request there are, so a full one holds this request already.
        let _ = self.requests.try_send(request);
    }

    /// Its public status.
    pub(crate) fn status(&self) -> SessionStatus {
        *self.status.borrow()
    }

    /// Whether it executes a command, and since when.
    pub(crate) fn activity(&self) -> Activity {
        *self.activity.borrow()
    }

    /// The worker it is to be released for, because a command said so.
    pub(crate) fn taker(&self) -> Option<String> {
        self.taker.borrow().clone()
    }
}

/// The task that owns a session.
pub(crate) struct SessionActor {
    world: World,
    lease: Lease,
    workspace: WorkspaceId,
    session: SessionId,
    sink: Arc<EventSink>,
    /// What may still be told.
    room: watch::Receiver<Room>,
    state: State,
    live: Option<Live>,
    requests: mpsc::Receiver<Request>,
    status: watch::Sender<SessionStatus>,
    /// While a command is executed no further delivery is taken.
    activity: watch::Sender<Activity>,
    /// The worker that shall go on with this session.
    taker: watch::Sender<Option<String>>,
    lanes: Lanes,
    /// The command that is executed, which may be typing.
    typing: Option<Watched>,
    /// What came meanwhile from a tier before it, and is executed next.
    overtaking: Option<(Tier, Box<Delivery>)>,
    /// Somebody wants the session to end, and a command is still being executed.
    leaving: Option<Request>,
    /// Since when the browser cannot send.
    away_since: Option<Instant>,
    /// It has been away for so long that a Cloud API number helps out.
    helped: bool,
    /// Waits until a Cloud API number may help out.
    absence: Option<AbortHandle>,
    opening: Opening,
    copies: Copies,
    /// The session's directory is larger than it should be.
    over_quota: bool,
    work: JoinSet<Happening>,
    told: Told,
    /// Acks (message key, chat id, level) that wait for the ledger to say whose message it was.
    untold_acks: Vec<(String, String, i8)>,
    waits_for_ledger: bool,
    /// The task that fetches received media, while the page is connected, and what wakes it.
    receiving: Option<AbortOnDropHandle<()>>,
    media_news: Arc<tokio::sync::Notify>,
    score: Score,
    /// WhatsApp's restriction of the account, as the page says it.
    restricted: Option<Restricted>,
    /// Redis has what the page says of it.
    restriction_noted: bool,
    /// Contacts that are noted as met, or about to be.
    met: HashSet<ContactKey>,
    /// The task that tells the session's past, while the page is connected, and what wakes it.
    syncing: Option<AbortOnDropHandle<()>>,
    sync_news: Arc<tokio::sync::Notify>,
    incompatible: Option<Vec<String>>,
    pairing_phone: Option<PhoneNumber>,
    /// What becomes of calls, as it was when the session was claimed.
    calls: Calls,
    /// A pairing code that the page made and nobody was told yet, with its end if the page says it.
    untold_code: Option<(String, Option<i64>)>,
    confirms: FuturesOrdered<TellingConfirmed>,
    watermark: Watermark,
    /// The page says that everything has arrived that waited for it.
    arrived: bool,
    /// The task that reads the page's store.
    reading: Option<AbortHandle>,
    row: RowWriter,
    snapshots: Option<Snapshots>,
    /// The browser was connected, so its profile is worth saving.
    worth_saving: bool,
    /// It comes from another worker, which told the world that it moves.
    arriving: bool,
    /// Workers that gave it up since it was last connected.
    relocations: u32,
}

/// A message event on its way: resolves to the message's time once the broker has it.
type TellingConfirmed = BoxFuture<'static, Confirmed>;

/// Writes the status row, latest first: an older status that could not be written is not worth writing later.
#[derive(Default)]
struct RowWriter {
    writing: bool,
    next: Option<SessionStatusChanged>,
}

/// Something the actor waited for.
enum Happening {
    Input(Input),
    Page(Box<PageEvent>),
    Opened(Result<Live, Cause>),
    /// After pairing or for a safety copy.
    Reopened {
        opened: Result<Live, Cause>,
        farewell: Farewell,
    },
    Requested(Request),
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
    CopyDue,
    ScoreDue,
    Missed(Missed),
    Unread {
        reading: u64,
        since: i64,
        after: Option<String>,
        error: CallError,
    },
    /// The page has had time enough to say that everything has arrived.
    PageArrived,
    /// The database answers again, and something waited for it.
    LedgerAnswers,
    Found(Vec<Sent>),
    RowWritten {
        fenced: bool,
    },
    /// The send in flight took too long for somebody who wants the session to end.
    Impatient,
    Confirmed(Confirmed),
    Panicked,
    /// The browser has been away since then, for as long as the session's policy bears.
    HelpDue {
        absence: Instant,
    },
    Nothing,
}

/// Makes a handle and its actor. The caller spawns [`SessionActor::run`].
pub(crate) fn channel(
    world: World,
    lease: Lease,
    workspace: WorkspaceId,
    session: SessionId,
    row: &SessionRow,
) -> (SessionHandle, SessionActor) {
    let (sender, requests) = mpsc::channel(8);
    let (status, status_receiver) = watch::channel(SessionStatus::Initializing);
    let (activity, activity_receiver) = watch::channel(Activity { busy: false, since: Instant::now() });
    let (taker, taker_receiver) = watch::channel(None);
    let linked =
        row.phone.is_some() && row.status != SessionStatus::LoggedOut.as_str() && row.desired == Desired::Running;
    let sink = Arc::new(EventSink::of_owner(world.clone(), workspace, session.clone(), lease.clone()));
    let snapshots = Snapshots::new(&world, workspace, &session, &lease);
    let copies = Copies::new(world.config.safety_copy.filter(|_| snapshots.is_some()), Instant::now());
    let room = world.publisher.room();
    let watermark = Watermark::resume(row.watermark, world.clock.unix_secs());
    let lanes = Lanes::new(room.clone());
    let actor = SessionActor {
        room,
        world,
        lease,
        workspace,
        session,
        sink,
        state: State::new(linked),
        live: None,
        requests,
        status,
        activity,
        taker,
        lanes,
        typing: None,
        overtaking: None,
        leaving: None,
        away_since: None,
        helped: false,
        absence: None,
        opening: Opening::new(),
        work: JoinSet::new(),
        told: Told::default(),
        untold_acks: Vec::new(),
        waits_for_ledger: false,
        receiving: None,
        media_news: Arc::default(),
        score: Score::default(),
        restricted: None,
        restriction_noted: false,
        met: HashSet::new(),
        syncing: None,
        sync_news: Arc::default(),
        incompatible: None,
        pairing_phone: row.pairing_phone.as_deref().and_then(|phone| phone.parse().ok()),
        calls: row.calls,
        untold_code: None,
        confirms: FuturesOrdered::new(),
        watermark,
        arrived: false,
        reading: None,
        row: RowWriter::default(),
        snapshots,
        copies,
        over_quota: false,
        worth_saving: false,
        arriving: row.cause.as_deref() == Some("released"),
        relocations: row.relocations,
    };
    let handle =
        SessionHandle { requests: sender, status: status_receiver, activity: activity_receiver, taker: taker_receiver };
    (handle, actor)
}

impl SessionActor {
    /// Runs the session until it ends on this worker. The lease is still held when this returns; the browser is gone.
    #[tracing::instrument(name = "session", skip_all, fields(session_id = %self.session, workspace_id = %self.workspace, epoch = self.lease.fence()))]
    pub(crate) async fn run(mut self) -> End {
        self.open_reader(Tier::Urgent, Duration::ZERO);
        self.went_away();
        let mut effects = self.state.start(Instant::now());
        loop {
            for effect in effects {
                self.start(effect);
            }
            if let Some(end) = self.state.ended() {
                self.finish().await;
                return end;
            }
            let happening = self.next().await;
            effects = self.handle(happening).await;
        }
    }

    /// Waits for one thing to happen. Every branch is cancel-safe: the losers lose nothing.
    async fn next(&mut self) -> Happening {
        let deadline = self.state.deadline();
        let closing = self.state.is_closing();
        let score_due = self.score.due(self.status_now().health.score, Instant::now());
        let unread = self.watermark.due().filter(|_| self.state.is_online());
        let takes = !self.is_busy() && self.leaving.is_none() && !self.state.is_pausing();
        let typed = self.typing.as_ref().and_then(Watched::tier);
        let overtaken =
            typed.filter(|_| self.leaving.is_none() && self.overtaking.is_none() && !self.state.is_pausing());
        let copy_at = self.copies.at().filter(|_| takes && self.state.is_online());
        // A full spool: what the page says waits in the page, and is read from its store if it overflows.
        let listens = *self.room.borrow_and_update() != Room::Full;
        tokio::select! {
            biased;
            () = self.lease.lost(), if !closing => Happening::Input(Input::LeaseLost),
            Some(done) = self.work.join_next() => match done {
                Ok(happening) => happening,
                Err(error) if error.is_cancelled() => Happening::Nothing,
                Err(_) => Happening::Panicked,
            },
            Some(request) = self.requests.recv(), if !closing => Happening::Requested(request),
            event = page_event(&mut self.live), if listens => event.map_or(Happening::Nothing, |event| Happening::Page(Box::new(event))),
            Some(confirmed) = self.confirms.next(), if !self.confirms.is_empty() => Happening::Confirmed(confirmed),
            () = sleep_until(deadline) => Happening::Input(Input::Deadline),
            () = sleep_until(copy_at), if !closing => Happening::CopyDue,
            () = sleep_until(score_due), if !closing => Happening::ScoreDue,
            () = sleep_until(unread) => Happening::PageArrived,
            Ok(()) = self.room.changed(), if !listens => Happening::Nothing,
            () = typing_changed(&mut self.typing) => Happening::Nothing,
            (tier, delivery) = self.lanes.next(overtaken), if (takes || overtaken.is_some()) && !closing => match delivery {
                Some(delivery) => Happening::Delivery { tier, delivery: Box::new(delivery) },
                None => Happening::ReaderBroken { tier },
            },
        }
    }

    async fn handle(&mut self, happening: Happening) -> Vec<Effect> {
        let input = match happening {
            Happening::Input(input) => Some(input),
            Happening::Requested(request) if self.is_busy() && self.leaving.is_none() => {
                // The send in flight is finished first, within a bound.
                self.leaving = Some(request);
                self.stop_typing();
                self.work.spawn(async {
                    tokio::time::sleep(SEND_IN_FLIGHT_LIMIT).await;
                    Happening::Impatient
                });
                None
            }
            Happening::Requested(_) if self.is_busy() => None,
            Happening::Requested(request) => Some(request.into()),
            Happening::Impatient => self.leaving.take().map(Input::from),
            Happening::CopyDue => {
                self.copies.postponed(Instant::now()); // unless the state agrees
                Some(Input::CopyDue)
            }
            Happening::ScoreDue => {
                self.look_at_health();
                None
            }
            Happening::Page(event) => self.page_event(*event).await,
            Happening::Opened(Ok(live)) if live.is_older() => self.opened(live, Input::OpenedOlder),
            Happening::Opened(Ok(live)) => self.opened(live, Input::Opened),
            Happening::Reopened { opened, farewell } => {
                if !farewell.saved {
                    self.copies.failed(Instant::now());
                }
                if farewell.over_quota != self.over_quota {
                    self.over_quota = farewell.over_quota;
                    self.tell_health();
                }
                match opened {
                    Ok(live) => self.opened(live, Input::Reopened),
                    Err(cause) => Some(Input::OpenFailed { cause }),
                }
            }
            Happening::Opened(Err(cause)) => Some(Input::OpenFailed { cause }),
            Happening::Delivery { tier, delivery } if self.is_busy() => {
                self.overtaking = Some((tier, delivery));
                self.stop_typing();
                None
            }
            Happening::Delivery { tier, delivery } => {
                self.execute(tier, *delivery);
                None
            }
            Happening::ReaderOpened { tier, reader } => {
                if self.reads(tier) {
                    self.lanes.put(tier, reader);
                }
                None
            }
            Happening::ReaderBroken { tier } => {
                self.reopen(tier, RETRY_PAUSE);
                None
            }
            Happening::Executed(done) => {
                let input = self.executed(done).await;
                let input = input.or_else(|| self.leaving.take().map(Input::from));
                match self.overtaking.take() {
                    Some((tier, delivery)) if input.is_none() && !self.is_busy() => self.execute(tier, *delivery),
                    Some((tier, _)) => self.reopen(tier, RETRY_PAUSE), // it goes back
                    None => {}
                }
                input
            }
            Happening::Missed(missed) => {
                self.missed(missed).await;
                None
            }
            Happening::Unread { reading, since, after, error } => {
                self.unread(reading, since, after, &error);
                None
            }
            Happening::PageArrived => {
                self.look_whether_arrived();
                None
            }
            Happening::LedgerAnswers => {
                self.ledger_answers().await;
                None
            }
            Happening::Found(found) => {
                self.found(found).await;
                None
            }
            Happening::RowWritten { fenced: true } => Some(Input::LeaseLost),
            Happening::RowWritten { fenced: false } => {
                self.row.writing = false;
                if let Some(next) = self.row.next.take() {
                    self.write_row(next);
                }
                None
            }
            Happening::Confirmed(at) => {
                self.confirmed(at);
                None
            }
            Happening::Panicked => {
                tracing::error!("a task of this session panicked; the browser is started again");
                self.set_busy(false);
                self.typing = None;
                if let Some((tier, _)) = self.overtaking.take() {
                    self.reopen(tier, RETRY_PAUSE);
                }
                Some(Input::Broken { cause: Cause::BrowserExited })
            }
            Happening::HelpDue { absence } => {
                if !self.state.is_online() && !self.state.is_closing() && self.away_since == Some(absence) {
                    tracing::warn!(
                        "the browser has been away for long; messages may go by the session's Cloud API number"
                    );
                    self.helped = true;
                    self.open_page_lanes();
                }
                None
            }
            Happening::Nothing => None,
        };
        self.state.set_may_leave(self.relocations < RELOCATIONS && self.world.others.load(Ordering::Relaxed));
        input.map(|input| self.state.step(input, Instant::now())).unwrap_or_default()
    }

    fn job(&self, tier: Tier) -> Job {
        Job {
            world: self.world.clone(),
            sink: Arc::clone(&self.sink),
            lease: self.lease.clone(),
            workspace: self.workspace,
            session: self.session.clone(),
            page: self.live.as_ref().map(Live::page),
            online: self.state.is_online(),
            linking: self.state.is_linking(),
            browser: true,
            away: self.away_since.map_or(Duration::ZERO, |since| since.elapsed()),
            status: self.status_now(),
            tier,
            pace: Pace::default(),
            typist: typing::pair(tier).0,
        }
    }

    /// Whether the paced lanes are to be read: the browser can send, or a Cloud API number helps out.
    fn reads_paced(&self) -> bool {
        self.state.is_online() || self.helped
    }

    /// Whether this tier is to be read.
    fn reads(&self, tier: Tier) -> bool {
        !tier.needs_a_sender() || self.reads_paced()
    }

    fn is_busy(&self) -> bool {
        self.activity.borrow().busy
    }

    fn set_busy(&self, busy: bool) {
        self.activity.send_replace(Activity { busy, since: Instant::now() });
    }

    fn execute(&mut self, tier: Tier, delivery: Delivery) {
        self.set_busy(true);
        self.copies.active(Instant::now());
        let (typist, watched) = typing::pair(tier);
        self.typing = Some(watched);
        let job = Job { typist, ..self.job(tier) };
        self.work.spawn(async move { Happening::Executed(job.run(delivery).await) });
    }

    fn stop_typing(&self) {
        if let Some(typing) = &self.typing {
            typing.stop();
        }
    }

    async fn executed(&mut self, done: Done) -> Option<Input> {
        self.set_busy(false);
        self.typing = None;
        self.copies.active(Instant::now());
        self.keep_pace(&done);
        match done.follow {
            Follow::Nothing => None,
            Follow::Unlink(order) => {
                self.set_busy(true);
                let job = self.job(done.tier);
                self.work.spawn(async move { Happening::Executed(job.unlink(*order).await) });
                Some(Input::Unlinking)
            }
            Follow::StillLinked => Some(Input::StillLinked),
            Follow::LoggedOut => Some(Input::LoggedOut),
            Follow::ReopenLane => {
                // The delivery could not be settled: its channel is closed, so that the broker puts it back in order.
                let pause = if self.state.is_online() { RETRY_PAUSE } else { HELD_PAUSE };
                self.reopen(done.tier, pause);
                None
            }
            Follow::Park { until } => {
                self.park(done.tier, until);
                None
            }
            Follow::Leave { to } => {
                self.taker.send_replace(Some(to));
                // Who asked for an end before wants it for good or for anybody.
                self.leaving.take().map(Input::from).or(Some(Input::Drain))
            }
            Follow::Sync => {
                self.sync_news.notify_one();
                None
            }
            Follow::PairingPhone(phone) => {
                self.pairing_phone = Some(phone);
                self.tell_code();
                None
            }
        }
    }

    fn emit(&mut self, id: EventId, event: Event, correlation: Correlation) -> Option<Confirm> {
        match self.sink.emit(id, event, correlation) {
            Ok(confirm) => Some(confirm),
            Err(EmitError::Fenced(_)) => None, // not ours to tell; the loss of the lease is noticed elsewhere
            Err(error) => {
                tracing::error!(error = %chain(&error), "an event could not be published");
                None
            }
        }
    }

    /// The last durable writes, while the lease is still held.
    async fn finish(&mut self) {
        for task in [self.reading.take(), self.absence.take()].into_iter().flatten() {
            task.abort();
        }
        let last_confirms = async {
            while let Some(confirmed) = self.confirms.next().await {
                self.watermark.note(confirmed);
            }
        };
        let _ = tokio::time::timeout(crate::broker::publisher::CONFIRM_LIMIT, last_confirms).await;
        if self.lease.prove().is_ok()
            && let Some(watermark) = self.watermark.unwritten()
        {
            let (session, fence) = (self.session.as_str(), self.lease.fence());
            let write = self.world.database.advance_watermark(session, fence, watermark);
            if let Err(error) = write.await {
                tracing::warn!(error = %chain(&error), "the watermark is not recorded");
            }
        }
        // A status row or the end of wanting may still be on its way, and the last status waits for the one before it.
        let drain = async {
            while let Some(done) = self.work.join_next().await {
                match done {
                    Ok(Happening::RowWritten { fenced: false }) => {
                        if let Some(last) = self.row.next.take() {
                            self.write_row(last);
                        }
                    }
                    // It came up in the very moment of the end.
                    Ok(Happening::Opened(Ok(live)) | Happening::Reopened { opened: Ok(live), .. }) => {
                        live.close(true).await;
                    }
                    _ => {}
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), drain).await;
    }
}

async fn page_event(live: &mut Option<Live>) -> Option<PageEvent> {
    match live {
        Some(live) => live.next_event().await,
        None => std::future::pending().await,
    }
}

async fn typing_changed(typing: &mut Option<Watched>) {
    match typing {
        Some(typing) => typing.changed().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
