//! One session on this worker: the actor that owns it, its browser and its lanes.
//!
//! The actor owns all state. [`state::State::step`] decides, [`SessionActor::start`] is the only place that touches the
//! world, and what takes time is started as a task and comes back as a [`Happening`]. One command is executed at a time.

mod browser;
mod execute;
mod sending;
mod state;
mod telling;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use lapin::message::Delivery;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use wafleet_browser::{Message as PageMessage, PageEvent};
use wafleet_protocol::event::{Cause, Event, Health, SessionCode, SessionQr, SessionStatus, SessionStatusChanged};
use wafleet_protocol::id::{EventId, PhoneNumber, SessionId, WorkspaceId};
use wafleet_protocol::lane::Lane;
use wafleet_protocol::timestamp::Timestamp;
use wafleet_protocol::topology;

use crate::broker::consumer::{Reader, Source};
use crate::broker::publisher::Confirm;
use crate::database::{Desired, SessionRow, StatusWrite};
use crate::events::{Correlation, EmitError, EventSink};
use crate::lease::Lease;
use crate::logging::chain;
use crate::snapshot::Snapshots;
use crate::world::{World, unix_ms, unix_secs};
use browser::Live;
use execute::{Done, Follow, Job};
use state::{Effect, Input, State};
use telling::{Origin, Told};

pub(crate) use state::End;

/// Deliveries of the urgent lane held at most; paced lanes hold their head only, so that nothing blocks an urgent one.
const URGENT_PREFETCH: u16 = 4;
const PACED_PREFETCH: u16 = 1;
/// Pause before a row or a budget is tried again while the database or Redis is away.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How often the watermark goes to the database at most.
const WATERMARK_EVERY: Duration = Duration::from_secs(5);
/// Messages asked for at once when catching up, and how many times.
const CATCH_UP_PAGE: u32 = 200;
const CATCH_UP_PAGES: usize = 50;
/// Seconds before the watermark that are looked at again: WhatsApp's clock has whole seconds and messages come out of order.
const CATCH_UP_OVERLAP_SECS: u64 = 120;
/// WhatsApp's pairing code lives this long: measured 3 min 15 s, told a little shorter.
const LINK_CODE_LIFE: Duration = Duration::from_secs(180);
/// How long a stop or a drain waits for the send in flight.
const SEND_IN_FLIGHT_LIMIT: Duration = Duration::from_secs(20);
/// Window of the workspace's QR budget.
const QR_BUDGET_WINDOW: Duration = Duration::from_secs(3600);

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
}

/// The task that owns a session.
pub(crate) struct SessionActor {
    world: World,
    lease: Lease,
    workspace: WorkspaceId,
    session: SessionId,
    sink: Arc<EventSink>,
    state: State,
    live: Option<Live>,
    requests: mpsc::Receiver<Request>,
    status: watch::Sender<SessionStatus>,
    urgent: Option<Reader>,
    paced: Option<Reader>,
    /// A command is being executed: no further delivery is taken.
    busy: bool,
    /// Somebody wants the session to end, and a command is still being executed.
    leaving: Option<Request>,
    opening: Option<AbortHandle>,
    work: JoinSet<Happening>,
    told: Told,
    incompatible: Option<Vec<String>>,
    pairing_phone: Option<PhoneNumber>,
    /// A pairing code that the page made and nobody was told yet, with its end if the page says it.
    untold_code: Option<(String, Option<i64>)>,
    confirms: FuturesOrdered<TellingConfirmed>,
    watermark: Watermark,
    row: RowWriter,
    snapshots: Option<Snapshots>,
    /// It was connected under this ownership, so its profile is worth saving.
    worth_saving: bool,
}

/// A message event on its way: resolves to the message's time once the broker has it.
type TellingConfirmed = BoxFuture<'static, Option<u64>>;

#[derive(Debug, Default)]
struct Watermark {
    /// Catch up from here.
    from: u64,
    confirmed: u64,
    written: u64,
    written_at: Option<Instant>,
}

/// Writes the status row, latest first: an older status that could not be written is not worth writing later.
#[derive(Default)]
struct RowWriter {
    writing: bool,
    next: Option<SessionStatusChanged>,
}

/// Something the actor waited for.
enum Happening {
    Input(Input),
    Page(PageEvent),
    Opened(Result<Live, Cause>),
    Reopened(Result<Live, Cause>),
    Requested(Request),
    Delivery {
        urgent: bool,
        delivery: Delivery,
    },
    ReaderOpened {
        urgent: bool,
        reader: Reader,
    },
    ReaderBroken {
        urgent: bool,
    },
    Executed(Done),
    Missed(Vec<PageMessage>),
    RowWritten {
        fenced: bool,
    },
    /// The send in flight took too long for somebody who wants the session to end.
    Impatient,
    Confirmed(Option<u64>),
    Panicked,
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
    let linked =
        row.phone.is_some() && row.status != SessionStatus::LoggedOut.as_str() && row.desired == Desired::Running;
    let sink = Arc::new(EventSink::of_owner(world.clone(), workspace, session.clone(), lease.clone()));
    let watermark = Watermark {
        from: if row.watermark > 0 { row.watermark.saturating_sub(CATCH_UP_OVERLAP_SECS) } else { unix_secs() },
        ..Watermark::default()
    };
    let snapshots = Snapshots::new(&world, workspace, &session, &lease);
    let actor = SessionActor {
        world,
        lease,
        workspace,
        session,
        sink,
        state: State::new(linked),
        live: None,
        requests,
        status,
        urgent: None,
        paced: None,
        busy: false,
        leaving: None,
        opening: None,
        work: JoinSet::new(),
        told: Told::default(),
        incompatible: None,
        pairing_phone: row.pairing_phone.as_deref().and_then(|phone| phone.parse().ok()),
        untold_code: None,
        confirms: FuturesOrdered::new(),
        watermark,
        row: RowWriter::default(),
        snapshots,
        worth_saving: false,
    };
    (SessionHandle { requests: sender, status: status_receiver }, actor)
}

impl SessionActor {
    /// Runs the session until it ends on this worker. The lease is still held when this returns; the browser is gone.
    #[tracing::instrument(name = "session", skip_all, fields(session_id = %self.session, workspace_id = %self.workspace, epoch = self.lease.fence()))]
    pub(crate) async fn run(mut self) -> End {
        self.open_reader(true, Duration::ZERO);
        let mut effects = self.state.start(Instant::now());
        loop {
            for effect in effects {
                self.start(effect).await;
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
        let takes = !self.busy && self.leaving.is_none();
        tokio::select! {
            biased;
            () = self.lease.lost(), if !closing => Happening::Input(Input::LeaseLost),
            Some(done) = self.work.join_next() => match done {
                Ok(happening) => happening,
                Err(error) if error.is_cancelled() => Happening::Nothing,
                Err(_) => Happening::Panicked,
            },
            Some(request) = self.requests.recv(), if !closing => Happening::Requested(request),
            event = page_event(&mut self.live) => event.map_or(Happening::Nothing, Happening::Page),
            Some(confirmed) = self.confirms.next(), if !self.confirms.is_empty() => Happening::Confirmed(confirmed),
            () = sleep_until(deadline) => Happening::Input(Input::Deadline),
            delivery = read(&mut self.urgent), if takes && !closing => match delivery {
                Some(delivery) => Happening::Delivery { urgent: true, delivery },
                None => Happening::ReaderBroken { urgent: true },
            },
            delivery = read(&mut self.paced), if takes && !closing => match delivery {
                Some(delivery) => Happening::Delivery { urgent: false, delivery },
                None => Happening::ReaderBroken { urgent: false },
            },
        }
    }

    async fn handle(&mut self, happening: Happening) -> Vec<Effect> {
        let input = match happening {
            Happening::Input(input) => Some(input),
            Happening::Requested(request) if self.busy && self.leaving.is_none() => {
                // The send in flight is finished first, within a bound.
                self.leaving = Some(request);
                self.work.spawn(async {
                    tokio::time::sleep(SEND_IN_FLIGHT_LIMIT).await;
                    Happening::Impatient
                });
                None
            }
            Happening::Requested(_) if self.busy => None,
            Happening::Requested(request) => Some(request.into()),
            Happening::Impatient => self.leaving.take().map(Input::from),
            Happening::Page(event) => self.page_event(event).await,
            Happening::Opened(Ok(live)) => {
                let waits_for_it = !self.state.is_closing() && self.live.is_none();
                if waits_for_it {
                    self.live = Some(live);
                    Some(Input::Opened)
                } else {
                    self.work.spawn(async move {
                        live.close(true).await;
                        Happening::Nothing
                    });
                    None
                }
            }
            Happening::Reopened(Ok(live)) if !self.state.is_closing() && self.live.is_none() => {
                self.live = Some(live);
                Some(Input::Reopened)
            }
            Happening::Reopened(Ok(live)) => {
                self.work.spawn(async move {
                    live.close(true).await;
                    Happening::Nothing
                });
                None
            }
            Happening::Reopened(Err(cause)) | Happening::Opened(Err(cause)) => Some(Input::OpenFailed { cause }),
            Happening::Delivery { urgent, delivery } => {
                self.execute(urgent, delivery);
                None
            }
            Happening::ReaderOpened { urgent, reader } => {
                if urgent {
                    self.urgent = Some(reader);
                } else if self.state.is_online() {
                    self.paced = Some(reader);
                }
                None
            }
            Happening::ReaderBroken { urgent } => {
                let broken = if urgent { &mut self.urgent } else { &mut self.paced };
                *broken = None;
                if urgent || self.state.is_online() {
                    self.open_reader(urgent, RETRY_PAUSE);
                }
                None
            }
            Happening::Executed(done) => {
                let input = self.executed(done).await;
                input.or_else(|| self.leaving.take().map(Input::from))
            }
            Happening::Missed(messages) => {
                for message in messages {
                    self.tell_message(&message).await;
                }
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
                self.busy = false;
                Some(Input::Broken { cause: Cause::BrowserExited })
            }
            Happening::Nothing => None,
        };
        input.map(|input| self.state.step(input, Instant::now())).unwrap_or_default()
    }

    /// The only place where a session touches the world.
    async fn start(&mut self, effect: Effect) {
        match effect {
            Effect::Open => self.open(None, Duration::ZERO),
            Effect::Restart { after } => {
                let old = self.live.take();
                self.open(old, after);
            }
            Effect::Reload => self.with_page(Cause::BrowserExited, async |page| page.reload().await.map(|()| None)),
            Effect::Reopen if self.snapshots.is_some() => self.reopen_saved(),
            Effect::Reopen => {
                self.with_page(Cause::BrowserExited, async |page| page.reopen().await.map(|()| Some(Input::Reopened)));
            }
            Effect::RefreshQr => self.with_page(Cause::PageHung, async |page| page.refresh_qr().await.map(|()| None)),
            Effect::AskQrPermit => self.ask_qr_permit(),
            Effect::ShowQr { code, generation, attempt, life } => self.show_qr(&code, generation, attempt, life).await,
            Effect::Publish => self.publish_status().await,
            Effect::Online => {
                self.worth_saving = true;
                self.catch_up();
                self.open_reader(false, Duration::ZERO);
            }
            Effect::Offline => self.paced = None, // closes its channel: what it held goes back in order
            Effect::StopWanting => {
                let (database, session, fence) =
                    (self.world.database.clone(), self.session.clone(), self.lease.fence());
                self.work.spawn(async move {
                    while let Err(error) = database.stop_as_owner(session.as_str(), fence).await {
                        tracing::warn!(error = %chain(&error), "the end of the session is not recorded yet; trying again");
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                    Happening::Nothing
                });
            }
            Effect::Close { politely } => {
                self.paced = None;
                self.urgent = None;
                let (live, snapshots) = (self.live.take(), self.snapshots.clone().filter(|_| politely));
                let unlinked = self.state.public().status == SessionStatus::LoggedOut;
                let worth_saving = self.worth_saving && !unlinked;
                self.work.spawn(async move {
                    if let Some(snapshots) = snapshots.as_ref().filter(|_| unlinked) {
                        snapshots.unlinked().await;
                    }
                    match live {
                        Some(live) if worth_saving && politely => live.close_and_save(snapshots.as_ref()).await,
                        Some(live) => drop(live.close(politely).await),
                        None => {}
                    }
                    Happening::Input(Input::Closed)
                });
            }
        }
    }

    fn open(&mut self, old: Option<Live>, after: Duration) {
        let (browser, profile_root) = (self.world.config.browser.clone(), self.world.config.profile_root.clone());
        let (workspace, session, lease) = (self.workspace, self.session.clone(), self.lease.clone());
        let snapshots = self.snapshots.clone();
        // Never two browsers on one profile: an opening that was given up is dropped, and its browser with it.
        if let Some(opening) = self.opening.take() {
            opening.abort();
        }
        let opening = self.work.spawn(async move {
            if let Some(old) = old {
                old.close(true).await;
            }
            tokio::time::sleep(after).await;
            let opened = Live::open(&browser, &profile_root, workspace, &session, &lease, snapshots.as_ref()).await;
            Happening::Opened(opened)
        });
        self.opening = Some(opening);
    }

    /// After pairing: closes the whole browser rather than its tab, because only a profile at rest can be saved, and a
    /// device that was just linked should not be lost with its machine.
    fn reopen_saved(&mut self) {
        let Some(old) = self.live.take() else { return };
        let (browser, profile_root) = (self.world.config.browser.clone(), self.world.config.profile_root.clone());
        let (workspace, session, lease) = (self.workspace, self.session.clone(), self.lease.clone());
        let snapshots = self.snapshots.clone();
        let opening = self.work.spawn(async move {
            // Reopening the tab is what was proven to bring the credentials to the disk; closing the whole browser this
            // early was seen to lose them once.
            if let Err(error) = old.page().reopen().await {
                tracing::warn!(error = %chain(&error), "the tab was not reopened before the browser is closed");
            }
            old.close_and_save(snapshots.as_ref()).await;
            let opened = Live::open(&browser, &profile_root, workspace, &session, &lease, snapshots.as_ref()).await;
            Happening::Reopened(opened)
        });
        self.opening = Some(opening);
    }

    /// Runs a call into the page; a failure means that the page or the browser is not well.
    fn with_page<F>(&mut self, broken: Cause, call: impl FnOnce(wafleet_browser::Page) -> F)
    where
        F: Future<Output = Result<Option<Input>, wafleet_browser::CallError>> + Send + 'static,
    {
        let Some(live) = &self.live else { return };
        let answer = call(live.page());
        self.work.spawn(async move {
            match answer.await {
                Ok(input) => input.map_or(Happening::Nothing, Happening::Input),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "the page did not do what it was asked");
                    Happening::Input(Input::Broken { cause: broken })
                }
            }
        });
    }

    fn ask_qr_permit(&mut self) {
        let (world, workspace) = (self.world.clone(), self.workspace);
        self.work.spawn(async move {
            let limit = world.config.qr_generations_per_hour;
            loop {
                match world.leases.spend(&format!("qr:{workspace}"), limit, QR_BUDGET_WINDOW).await {
                    Ok(spent) => {
                        if !spent.granted {
                            tracing::warn!(
                                limit,
                                frees_in_secs = spent.frees_in.as_secs(),
                                "the workspace has used up its QR generations"
                            );
                        }
                        return Happening::Input(Input::QrPermit { granted: spent.granted, used: spent.used });
                    }
                    Err(error) => {
                        tracing::warn!(error = %chain(&error), "the QR budget cannot be read; trying again");
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                }
            }
        });
    }

    async fn show_qr(&mut self, code: &str, generation: u32, attempt: u32, life: Duration) {
        let event = Event::SessionQr(SessionQr {
            qr: code.into(),
            expires_at: Timestamp::from_unix_ms(unix_ms() + u64::try_from(life.as_millis()).unwrap_or(0)),
            generation,
            attempt,
            max: state::QR_CODES_PER_GENERATION,
        });
        self.emit(EventSink::fresh_id(), event, Correlation::default()).await;
        let (database, session, code) = (self.world.database.clone(), self.session.clone(), code.to_owned());
        self.work.spawn(async move {
            if let Err(error) = database.write_qr(session.as_str(), Some(&code)).await {
                tracing::warn!(error = %chain(&error), "the host's row does not have the new QR");
            }
            Happening::Nothing
        });
        if attempt == 1
            && let Some(phone) = self.pairing_phone.clone()
        {
            self.request_link_code(phone);
        }
    }

    fn request_link_code(&mut self, phone: PhoneNumber) {
        let Some(live) = &self.live else { return };
        let page = live.page();
        self.work.spawn(async move {
            // The code itself comes as an event of the page, and so does each renewal.
            if let Err(error) = page.link_code(phone.as_str()).await {
                tracing::warn!(error = %chain(&error), "no pairing code; the QR is still there");
            }
            Happening::Nothing
        });
    }

    /// Tells the public status: event, row and log line.
    async fn publish_status(&mut self) {
        let told = self.status_now();
        tracing::info!(status = %told.status, cause = ?told.cause, attempt = told.attempt, "session status");
        self.world.counters.count("sessions.status", told.status.as_str());
        self.status.send_replace(told.status);
        self.emit(EventSink::fresh_id(), Event::SessionStatus(told.clone()), Correlation::default()).await;
        if self.row.writing {
            self.row.next = Some(told);
        } else {
            self.write_row(told);
        }
    }

    fn status_now(&self) -> SessionStatusChanged {
        let public = self.state.public();
        let me = self.state.me().filter(|_| public.status == SessionStatus::Connected);
        SessionStatusChanged {
            status: public.status,
            previous: public.previous,
            since: Timestamp::from_unix_ms(unix_ms()),
            cause: public.cause,
            attempt: public.attempt,
            health: Health {
                score: health_score(public.status, public.attempt),
                degraded: public.attempt > 0 || self.incompatible.is_some(),
                restricted: None,
                moving: public.cause == Cause::Released,
            },
            phone: me.map(|me| telling::phone_digits(&me.id).into()),
            lid: me.and_then(|me| me.lid.as_deref()).map(Into::into),
            name: me.and_then(|me| me.name.as_deref()).map(Into::into),
        }
    }

    fn write_row(&mut self, told: SessionStatusChanged) {
        self.row.writing = true;
        let (database, session, fence) = (self.world.database.clone(), self.session.clone(), self.lease.fence());
        self.work.spawn(async move {
            let cause = serde_json::to_value(told.cause).ok().and_then(|value| value.as_str().map(str::to_owned));
            let write = StatusWrite {
                session_id: session.as_str(),
                fence,
                status: told.status.as_str(),
                cause: cause.as_deref().unwrap_or_default(),
                attempt: told.attempt,
                phone: told.phone.as_ref().map(|phone| phone.as_str()),
                lid: told.lid.as_ref().map(|lid| lid.as_str()),
                name: told.name.as_ref().map(|name| name.as_str()),
                connected: told.status == SessionStatus::Connected,
                health_score: told.health.score,
            };
            match database.write_status(&write).await {
                Ok(current) => Happening::RowWritten { fenced: !current },
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "the status row could not be written; the next status will be");
                    Happening::RowWritten { fenced: false }
                }
            }
        });
    }

    fn open_reader(&mut self, urgent: bool, after: Duration) {
        let (link, session) = (self.world.link.clone(), self.session.clone());
        let priority = i64::try_from(self.lease.fence()).ok();
        let database = self.world.database.clone();
        self.work.spawn(async move {
            tokio::time::sleep(after).await;
            // Without the ledger nothing can be executed, and every delivery that goes back counts against its limit.
            database.available().await;
            let lanes: &[Lane] = if urgent { &[Lane::Urgent] } else { &[Lane::High, Lane::Normal, Lane::Campaign] };
            let prefetch = if urgent { URGENT_PREFETCH } else { PACED_PREFETCH };
            let source = |lane: &Lane| Source { queue: topology::lane_queue(&session, *lane), prefetch, priority };
            let sources = lanes.iter().map(source).collect();
            let reader = Reader::open(link, Some(topology::session(&session)), sources).await;
            Happening::ReaderOpened { urgent, reader }
        });
    }

    fn catch_up(&mut self) {
        let Some(live) = &self.live else { return };
        let (page, from) =
            (live.page(), self.watermark.from.max(self.watermark.confirmed.saturating_sub(CATCH_UP_OVERLAP_SECS)));
        self.work.spawn(async move {
            let mut since = i64::try_from(from).unwrap_or(0);
            let mut missed: Vec<PageMessage> = Vec::new();
            for _ in 0..CATCH_UP_PAGES {
                let page_of_messages = match page.messages_since(since, CATCH_UP_PAGE).await {
                    Ok(messages) => messages,
                    Err(error) => {
                        tracing::warn!(error = %chain(&error), "messages that came before the page was ready are not read yet");
                        break;
                    }
                };
                let full = page_of_messages.len() >= CATCH_UP_PAGE as usize;
                let last = page_of_messages.last().map_or(since, |message| message.timestamp);
                missed.extend(page_of_messages);
                if !full || last <= since {
                    break;
                }
                since = last;
            }
            Happening::Missed(missed)
        });
    }

    /// What the page says. Most of it is told at once; what moves the state comes back as an input.
    async fn page_event(&mut self, event: PageEvent) -> Option<Input> {
        match event {
            PageEvent::State(status) => Some(Input::Page(status)),
            PageEvent::Loading => Some(Input::Loading),
            PageEvent::Qr { code, first } => Some(Input::Qr { code, first }),
            PageEvent::QrIdle => Some(Input::QrIdle),
            PageEvent::Crashed { reason } => {
                tracing::warn!(reason, "the page crashed");
                self.world.counters.count("pages.broken", "crashed");
                Some(Input::Broken { cause: Cause::PageCrashed })
            }
            PageEvent::Hung => {
                tracing::warn!("the page does not answer");
                self.world.counters.count("pages.broken", "hung");
                Some(Input::Broken { cause: Cause::PageHung })
            }
            PageEvent::Detached => {
                tracing::warn!("the browser is gone");
                self.world.counters.count("pages.broken", "browser_exited");
                self.live = None;
                Some(Input::Broken { cause: Cause::BrowserExited })
            }
            PageEvent::LinkCode { code, expires_at } => {
                self.untold_code = Some((code, expires_at));
                self.tell_code().await;
                None
            }
            PageEvent::Ready(capabilities) => {
                let missing = (!capabilities.missing.is_empty()).then(|| capabilities.missing.clone());
                if missing.is_some() && missing != self.incompatible {
                    tracing::warn!(missing = ?capabilities.missing, version = capabilities.version, "this version of the page lacks something; the session goes on with less");
                    self.emit(EventSink::fresh_id(), telling::incompatible(&capabilities), Correlation::default())
                        .await;
                }
                self.incompatible = missing;
                None
            }
            PageEvent::Message(message) => {
                self.tell_message(&message).await;
                None
            }
            PageEvent::Ack(ack) => {
                for key in &ack.keys {
                    if self.told.is_new_ack(key, ack.ack) {
                        let origin = self.origin(telling::message_id(key)).await;
                        let (id, event) = telling::ack(&self.session, key, &ack.chat_id, ack.ack, origin.as_ref());
                        self.emit(id, event, correlation(origin.as_ref())).await;
                    }
                }
                None
            }
            PageEvent::Fault { what } => {
                tracing::warn!(what, "something from the page could not be understood and was left out");
                self.world.counters.count("pages.faults", "adapter");
                None
            }
        }
    }

    /// Tells the page's newest pairing code, once it is known which phone it is for.
    async fn tell_code(&mut self) {
        let Some(phone) = self.pairing_phone.clone() else { return };
        if let Some((code, expires_at)) = self.untold_code.take() {
            let event = Event::SessionCode(session_code(&code, &phone, expires_at));
            self.emit(EventSink::fresh_id(), event, Correlation::default()).await;
        }
    }

    async fn tell_message(&mut self, message: &PageMessage) {
        if !self.told.is_new_message(&message.key) {
            return;
        }
        let origin = if message.from_me { self.origin(&message.id).await } else { None };
        let (id, event) = telling::message(&self.session, message, origin.as_ref());
        let at = u64::try_from(message.timestamp).unwrap_or(0);
        if let Some(confirm) = self.emit(id, event, correlation(origin.as_ref())).await {
            self.confirms.push_back(Box::pin(async move { confirm.wait().await.is_ok().then_some(at) }));
        }
    }

    /// The command behind an own message: remembered, or in the ledger.
    async fn origin(&mut self, message_id: &str) -> Option<Origin> {
        if let Some(origin) = self.told.origin(message_id) {
            return Some(origin.clone());
        }
        // Only our own sends have ids of this form made from command ids; a miss costs one indexed look-up.
        let found = self.world.database.sender_of(self.session.as_str(), message_id).await;
        let origin = match found {
            Ok(found) => found.map(|(command, reference)| Origin::from_ledger(&command, reference)).unwrap_or_default(),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the command behind a message could not be looked up");
                return None;
            }
        };
        self.told.remember_origin(message_id, origin.clone());
        Some(origin)
    }

    fn confirmed(&mut self, at: Option<u64>) {
        let Some(at) = at else { return };
        self.watermark.confirmed = self.watermark.confirmed.max(at);
        let due = self.watermark.written_at.is_none_or(|written| written.elapsed() >= WATERMARK_EVERY);
        if due && self.watermark.confirmed > self.watermark.written {
            self.watermark.written = self.watermark.confirmed;
            self.watermark.written_at = Some(Instant::now());
            let (database, session) = (self.world.database.clone(), self.session.clone());
            let (fence, watermark) = (self.lease.fence(), self.watermark.confirmed);
            self.work.spawn(async move {
                if let Err(error) = database.advance_watermark(session.as_str(), fence, watermark).await {
                    tracing::warn!(error = %chain(&error), "the watermark is not recorded; messages may be told again after a crash");
                }
                Happening::Nothing
            });
        }
    }

    fn job(&self, urgent: bool) -> Job {
        Job {
            world: self.world.clone(),
            sink: Arc::clone(&self.sink),
            lease: self.lease.clone(),
            workspace: self.workspace,
            session: self.session.clone(),
            page: self.live.as_ref().map(Live::page),
            online: self.state.is_online(),
            linking: self.state.is_linking(),
            status: self.status_now(),
            urgent,
        }
    }

    fn execute(&mut self, urgent: bool, delivery: Delivery) {
        self.busy = true;
        let job = self.job(urgent);
        self.work.spawn(async move { Happening::Executed(job.run(delivery).await) });
    }

    async fn executed(&mut self, done: Done) -> Option<Input> {
        self.busy = false;
        match done.follow {
            Follow::Nothing => None,
            Follow::Unlink(order) => {
                self.busy = true;
                let job = self.job(done.urgent);
                self.work.spawn(async move { Happening::Executed(job.unlink(*order).await) });
                Some(Input::Unlinking)
            }
            Follow::StillLinked => Some(Input::StillLinked),
            Follow::LoggedOut => Some(Input::LoggedOut),
            Follow::ReopenLane => {
                // The delivery could not be settled: its channel is closed, so that the broker puts it back in order.
                let broken = if done.urgent { &mut self.urgent } else { &mut self.paced };
                *broken = None;
                if done.urgent || self.state.is_online() {
                    self.open_reader(done.urgent, RETRY_PAUSE);
                }
                None
            }
            Follow::PairingPhone(phone) => {
                self.pairing_phone = Some(phone);
                self.tell_code().await;
                None
            }
        }
    }

    async fn emit(&mut self, id: EventId, event: Event, correlation: Correlation) -> Option<Confirm> {
        match self.sink.emit(id, event, correlation).await {
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
        let last_confirms = async {
            while let Some(confirmed) = self.confirms.next().await {
                if let Some(at) = confirmed {
                    self.watermark.confirmed = self.watermark.confirmed.max(at);
                }
            }
        };
        let _ = tokio::time::timeout(crate::broker::publisher::CONFIRM_LIMIT, last_confirms).await;
        if self.lease.prove().is_ok() && self.watermark.confirmed > self.watermark.written {
            let write = self.world.database.advance_watermark(
                self.session.as_str(),
                self.lease.fence(),
                self.watermark.confirmed,
            );
            if let Err(error) = write.await {
                tracing::warn!(error = %chain(&error), "the watermark is not recorded");
            }
        }
        // A status row or the end of wanting may still be on its way, and the last status waits for the one before it.
        let drain = async {
            while let Some(done) = self.work.join_next().await {
                if let Ok(Happening::RowWritten { fenced: false }) = done
                    && let Some(last) = self.row.next.take()
                {
                    self.write_row(last);
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), drain).await;
    }
}

fn session_code(code: &str, phone: &PhoneNumber, expires_at: Option<i64>) -> SessionCode {
    let expires_at = expires_at.and_then(|secs| u64::try_from(secs).ok());
    SessionCode {
        code: code.into(),
        phone: phone.as_str().into(),
        expires_at: Timestamp::from_unix_secs(expires_at.unwrap_or_else(|| unix_secs() + LINK_CODE_LIFE.as_secs())),
    }
}

fn correlation(origin: Option<&Origin>) -> Correlation {
    Correlation { command: origin.and_then(|origin| origin.command.clone()), metadata: None }
}

/// 100 when connected, less by 20 for each rung of the ladder; a session that is not connected has at most 50. Quietness
/// costs nothing.
pub(crate) fn health_score(status: SessionStatus, attempt: u32) -> u8 {
    let base = match status {
        SessionStatus::Connected => 100,
        SessionStatus::Failed | SessionStatus::LoggedOut => 0,
        _ => 50,
    };
    u8::try_from(u32::from(100u8).min(base).saturating_sub(20 * attempt)).unwrap_or(0)
}

async fn page_event(live: &mut Option<Live>) -> Option<PageEvent> {
    match live {
        Some(live) => live.next_event().await,
        None => std::future::pending().await,
    }
}

async fn read(reader: &mut Option<Reader>) -> Option<Delivery> {
    match reader {
        Some(reader) => reader.next().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
