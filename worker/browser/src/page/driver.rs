//! The task that owns the tab: puts the adapter into every document, hands its events on, keeps the
//! heartbeat, and notices when the tab crashes, hangs or never gets ready.
//!
//! ```text
//!   loading ──context created──▶ installing ──▶ probing ──wa-js started──▶ starting ──▶ ready
//!      ▲                             │ 60 s without core modules │ 60 s without ready      │
//!      ├─────────── load again ◀─────┴───────────────────────────┘                         │
//!      └──────────────────────────────── a new document ◀──────────────────────────────────┘
//! ```

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chromiumoxide_cdp::cdp::browser_protocol::page::{HandleJavaScriptDialogParams, ReloadParams};
use chromiumoxide_cdp::cdp::browser_protocol::target::{EventTargetCrashed, SetDiscoverTargetsParams};
use chromiumoxide_cdp::cdp::js_protocol::runtime::{
    EventBindingCalled, EventExecutionContextCreated, ExecutionContextDescription,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::document::{Document, Installation};
use super::heartbeat::{self, Heartbeat};
use super::local_storage::LocalStorage;
use super::model::{PageEvent, Status};
use super::pulse::{BEAT_EVERY, Beat, PAGE_ANSWERS_IN, Pulse, Verdict};
use super::tab::{Setup, Tab};
use super::wire::{Batches, Incoming, Phase};
use super::{CallError, PageError, PageOptions};
use crate::{Cdp, CdpError, CdpEvent, CdpEvents, CdpEventsEnd, Chromium};

/// From the load to the core modules, and from the start of wa-js to its being ready. WhatsApp Web
/// takes 1–3 s for the one and 3.5–7 s for the other.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Without a word from the worker for so long the page sends nothing more.
pub(super) const OWNER_SILENCE: Duration = Duration::from_secs(12);

/// Calls to the browser that it answers at once.
const QUICK: Duration = Duration::from_secs(5);

/// What the page writes to its console is kept by the browser as long as a debugging session is
/// open; once in so many heartbeats it is dropped.
const BEATS_PER_CONSOLE: u32 = 12;

const BROWSER_EVENTS: &[&str] = &["Target.targetCrashed"];

/// What a handle asks the driver to do.
#[derive(Debug)]
pub(super) enum Request {
    Reload(oneshot::Sender<Result<(), CallError>>),
    Reopen(oneshot::Sender<Result<(), CallError>>),
}

/// What the driver shares with the handles.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) document: watch::Sender<Option<Document>>,
    pub(super) status: watch::Sender<Status>,
}

/// The main document of the tab.
#[derive(Debug)]
struct Main {
    /// Numbers the context within this tab; events name it so.
    context: i64,
    /// Names the context over all tabs.
    unique: String,
    batches: Batches,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Live,
    /// Its process is gone; a load starts another.
    Crashed,
    /// The tab itself is gone.
    Closed,
}

/// Work that is started and not awaited.
enum Done {
    Installed { unique: String, result: Result<Document, String> },
    Beaten { browser: Beat, page: Beat },
    Freed(bool),
    Loaded(Result<(), PageError>),
    Nothing,
}

pub(super) struct Driver {
    cdp: Cdp,
    setup: Setup,
    options: PageOptions,
    local_storage: LocalStorage,
    browser_events: CdpEvents,
    tab: Tab,
    health: Health,
    main: Option<Main>,
    /// `Loading` was said and nothing since.
    loading: bool,
    published: Published,
    events: mpsc::Sender<PageEvent>,
    requests: mpsc::Receiver<Request>,
    owned_until: watch::Receiver<Option<SystemTime>>,
    work: JoinSet<Done>,
    pulse: Pulse,
    beats: u32,
    /// When the next heartbeat is due; none while one is under way.
    next_beat: Option<Instant>,
    /// When the document must have got further.
    ready_by: Option<Instant>,
}

impl Driver {
    /// Opens a tab and loads the address into it.
    pub(super) async fn open(
        chromium: &Chromium,
        setup: Setup,
        options: PageOptions,
        published: Published,
        events: mpsc::Sender<PageEvent>,
        requests: mpsc::Receiver<Request>,
        owned_until: watch::Receiver<Option<SystemTime>>,
    ) -> Result<Self, PageError> {
        let cdp = chromium.cdp();
        let browser_events = cdp.subscribe(None, BROWSER_EVENTS);
        cdp.call(None, SetDiscoverTargetsParams::new(true), QUICK).await?;
        let tab = Tab::first(cdp, &setup).await?;
        tab.navigate(&options.url).await?;
        let now = Instant::now();
        Ok(Driver {
            cdp: cdp.clone(),
            setup,
            options,
            local_storage: LocalStorage::of(chromium.profile_dir()),
            browser_events,
            tab,
            health: Health::Live,
            main: None,
            loading: false,
            published,
            events,
            requests,
            owned_until,
            work: JoinSet::new(),
            pulse: Pulse::default(),
            beats: 0,
            next_beat: Some(now + BEAT_EVERY),
            ready_by: Some(now + READY_WITHIN),
        })
    }

    /// Drives the tab until the browser is gone or nobody holds the page any more.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                () = self.cdp.closed() => break,
                event = self.browser_events.next() => self.on_browser_event(event).await,
                event = self.tab.events.next(), if self.health != Health::Closed => self.on_tab_event(event).await,
                Some(done) = self.work.join_next() => self.on_done(done.unwrap_or(Done::Nothing)).await,
                request = self.requests.recv() => match request {
                    Some(request) => self.on_request(request).await,
                    None => return,
                },
                Ok(()) = self.owned_until.changed() => self.tell_ownership(),
                () = at(self.next_beat) => self.start_beat(),
                () = at(self.ready_by) => self.on_never_ready().await,
            }
        }
        self.forget_document();
        // Whoever has dropped the receiver does not want to know.
        let _ = self.events.send(PageEvent::Detached).await;
    }

    /// Hands an event on. A reader that does not read holds this task up; then the bounded queue of
    /// the connection runs over, which is noticed and answered with a new load.
    async fn emit(&mut self, event: PageEvent) {
        if let PageEvent::State(status) = &event {
            self.published.status.send_replace(status.clone());
        }
        tokio::select! {
            biased;
            () = self.cdp.closed() => {}
            // Whoever has dropped the receiver does not want to know.
            _ = self.events.send(event) => {}
        }
    }

    async fn fault(&mut self, what: impl Into<String>) {
        let what = what.into();
        tracing::debug!(%what, "page fault");
        self.emit(PageEvent::Fault { what }).await;
    }

    async fn on_browser_event(&mut self, event: Result<CdpEvent, CdpEventsEnd>) {
        match event {
            Ok(event) => {
                if let Some(crash) = event.parse::<EventTargetCrashed>()
                    && *crash.target_id.inner() == self.tab.target
                {
                    self.on_crash(Health::Crashed, crash.status).await;
                }
            }
            Err(CdpEventsEnd::Overflow) => self.browser_events = self.cdp.subscribe(None, BROWSER_EVENTS),
            // The connection is gone; the loop is about to see it.
            Err(CdpEventsEnd::Gone) => self.cdp.closed().await,
        }
    }

    async fn on_tab_event(&mut self, event: Result<CdpEvent, CdpEventsEnd>) {
        let event = match event {
            Ok(event) => event,
            Err(CdpEventsEnd::Overflow) => {
                self.tab.listen_again();
                self.fault("events of the page were lost; it is loaded again").await;
                self.load();
                return;
            }
            Err(CdpEventsEnd::Gone) if self.cdp.is_closed() => return,
            Err(CdpEventsEnd::Gone) => return self.on_crash(Health::Closed, "closed".into()).await,
        };
        match event.method.as_str() {
            "Runtime.executionContextCreated" => {
                if let Some(created) = event.parse::<EventExecutionContextCreated>()
                    && is_main(&created.context, &self.tab.target)
                {
                    self.on_document(created.context).await;
                }
            }
            "Runtime.executionContextsCleared" if self.main.is_some() => {
                self.forget_document();
                self.say_loading().await;
            }
            "Runtime.bindingCalled" => {
                if let Some(called) = event.parse::<EventBindingCalled>()
                    && let Some(main) = &mut self.main
                    && called.name == self.setup.binding
                    && main.context == *called.execution_context_id.inner()
                {
                    for incoming in main.batches.parse(&called.payload) {
                        self.on_incoming(incoming).await;
                    }
                }
            }
            "Page.javascriptDialogOpening" => {
                // Nobody is there to answer, and the page stands still until somebody does.
                let (cdp, session) = (self.cdp.clone(), self.tab.session.clone());
                self.work.spawn(async move {
                    // A dialog that is gone meanwhile needs no answer.
                    let _ = cdp.call(Some(&session), HandleJavaScriptDialogParams::new(true), QUICK).await;
                    Done::Nothing
                });
            }
            _ => {}
        }
    }

    async fn on_document(&mut self, context: ExecutionContextDescription) {
        self.forget_document();
        self.say_loading().await;
        self.health = Health::Live;
        let unique = context.unique_id.clone();
        self.main = Some(Main { context: *context.id.inner(), unique: unique.clone(), batches: Batches::default() });
        self.ready_by = Some(Instant::now() + READY_WITHIN);
        let installation = Installation {
            cdp: self.cdp.clone(),
            session: self.tab.session.clone(),
            context: context.unique_id,
            bundle: Arc::clone(&self.options.bundle),
            binding: self.setup.binding.clone(),
            quiet: self.options.quiet,
            stalled: self.options.stalled,
            owned_until: self.owned_now(),
        };
        self.work.spawn(async move { Done::Installed { unique, result: installation.run().await } });
    }

    async fn on_incoming(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Phase(Phase::Probed) => self.ready_by = None,
            Incoming::Phase(Phase::Library) => self.ready_by = Some(Instant::now() + READY_WITHIN),
            Incoming::Event(event) => {
                self.loading = false;
                if matches!(event, PageEvent::Ready(_)) {
                    self.ready_by = None;
                }
                self.emit(event).await;
            }
        }
    }

    async fn on_done(&mut self, done: Done) {
        match done {
            Done::Nothing => {}
            // For a document that is gone already.
            Done::Installed { unique, .. } if self.main.as_ref().is_none_or(|main| main.unique != unique) => {}
            Done::Installed { result: Ok(document), .. } => {
                self.loading = false;
                self.published.document.send_replace(Some(document));
            }
            Done::Installed { result: Err(error), .. } => self.fault(error).await,
            Done::Beaten { browser, page } => {
                self.next_beat = Some(Instant::now());
                match self.pulse.beat(browser, page) {
                    Verdict::Fine => {}
                    Verdict::Free => self.start_freeing(),
                    Verdict::Hung => self.emit(PageEvent::Hung).await,
                }
            }
            Done::Freed(answered) => {
                if answered {
                    self.fault("the page did not answer; what it ran was dropped").await;
                }
                self.next_beat = Some(Instant::now() + BEAT_EVERY);
                if self.pulse.freed(answered) == Verdict::Hung {
                    self.emit(PageEvent::Hung).await;
                }
            }
            Done::Loaded(Ok(())) => {}
            Done::Loaded(Err(error)) => self.fault(format!("cannot load the page: {error}")).await,
        }
    }

    async fn on_request(&mut self, request: Request) {
        match request {
            Request::Reload(reply) => {
                self.ready_by = Some(Instant::now() + READY_WITHIN);
                let reloading = self.cdp.call(Some(&self.tab.session), ReloadParams::default(), QUICK).await;
                let reloading = match reloading {
                    // It was just being exchanged for another document; a load from outside reaches either.
                    Err(CdpError::Refused { .. }) => {
                        self.load();
                        Ok(())
                    }
                    reloading => reloading.map(drop),
                };
                if reloading.is_ok() && self.health == Health::Crashed {
                    self.health = Health::Live;
                }
                // A caller that has given up gets no answer.
                let _ = reply.send(reloading.map_err(|error| unloaded(&error)));
            }
            Request::Reopen(reply) => {
                let reopening = self.reopen().await;
                // A caller that has given up gets no answer.
                let _ = reply.send(reopening.map_err(|error| match error {
                    PageError::Browser(error) => unloaded(&error),
                    PageError::Navigation(message) => CallError::Page {
                        name: "NavigationError".into(),
                        code: Some("navigation_failed".into()),
                        message,
                    },
                }));
            }
        }
    }

    /// Exchanges the tab. The new one is made first, because a browser without a tab ends; the
    /// address is loaded last, because WhatsApp Web allows itself only one tab, and because the old
    /// tab's data reach the disk only while the site is not open.
    async fn reopen(&mut self) -> Result<(), PageError> {
        self.forget_document();
        self.say_loading().await;
        let new = Tab::another(&self.cdp, &self.setup).await?;
        let old = std::mem::replace(&mut self.tab, new);
        self.health = Health::Live;
        self.ready_by = Some(Instant::now() + READY_WITHIN);
        let before = self.local_storage.logs();
        match old.close().await {
            Ok(()) => {}
            Err(error @ CdpError::Gone { .. }) => return Err(error.into()),
            // A tab that is gone already, or stands still and is left behind, is no obstacle.
            Err(error) => tracing::debug!(%error, "the old tab was not closed in good order"),
        }
        if !self.local_storage.written_since(&before).await {
            tracing::debug!("closing the tab wrote nothing to the local storage");
        }
        self.tab.navigate(&self.options.url).await
    }

    async fn on_crash(&mut self, health: Health, reason: String) {
        tracing::debug!(%reason, "the page has crashed");
        self.health = health;
        // Chromium never answers what was in flight there.
        self.cdp.abandon(&self.tab.session);
        if health == Health::Crashed {
            self.tab.listen_again();
        }
        self.forget_document();
        self.ready_by = None;
        self.emit(PageEvent::Crashed { reason }).await;
    }

    async fn on_never_ready(&mut self) {
        self.fault(format!("the page was not ready after {READY_WITHIN:?}; it is loaded again")).await;
        self.load();
    }

    /// Loads the address again, without waiting for it.
    fn load(&mut self) {
        self.ready_by = Some(Instant::now() + READY_WITHIN);
        let (cdp, session, url) = (self.cdp.clone(), self.tab.session.clone(), self.options.url.clone());
        self.work.spawn(async move {
            let navigate = chromiumoxide_cdp::cdp::browser_protocol::page::NavigateParams::new(url.as_str());
            let answer = cdp.call(Some(&session), navigate, READY_WITHIN).await;
            Done::Loaded(match answer {
                Ok(answer) => answer.error_text.map_or(Ok(()), |error| Err(PageError::Navigation(error))),
                Err(error) => Err(error.into()),
            })
        });
    }

    fn forget_document(&mut self) {
        self.main = None;
        self.published.document.send_replace(None);
    }

    async fn say_loading(&mut self) {
        if !std::mem::replace(&mut self.loading, true) {
            self.emit(PageEvent::Loading).await;
        }
    }

    fn owned_now(&self) -> SystemTime {
        owned_until(SystemTime::now(), *self.owned_until.borrow())
    }

    fn tell_ownership(&mut self) {
        let Some(document) = self.published.document.borrow().clone() else { return };
        let until = self.owned_now();
        self.work.spawn(async move {
            // The next heartbeat says it again.
            let _ = document.beat(until, PAGE_ANSWERS_IN).await;
            Done::Nothing
        });
    }

    fn start_beat(&mut self) {
        self.next_beat = None;
        self.beats = self.beats.wrapping_add(1);
        let heartbeat = Heartbeat {
            cdp: self.cdp.clone(),
            session: self.tab.session.clone(),
            document: self.published.document.borrow().clone(),
            live: self.health == Health::Live,
            owned_until: self.owned_now(),
            clear_console: self.beats.is_multiple_of(BEATS_PER_CONSOLE),
        };
        self.work.spawn(async move {
            let begun = Instant::now();
            let (browser, page) = heartbeat.run().await;
            sleep_until(begun + BEAT_EVERY).await;
            Done::Beaten { browser, page }
        });
    }

    fn start_freeing(&mut self) {
        self.next_beat = None;
        let (cdp, session) = (self.cdp.clone(), self.tab.session.clone());
        self.work.spawn(async move { Done::Freed(heartbeat::free(&cdp, &session).await) });
    }
}

/// The main frame's own context, not one of an extension or a frame, and not the empty page.
///
/// The main frame of a tab has the tab's id.
fn is_main(context: &ExecutionContextDescription, target: &str) -> bool {
    let data = context.aux_data.as_ref();
    let main_frame = data.and_then(|data| data.get("frameId")?.as_str()) == Some(target);
    let default = data.and_then(|data| data.get("isDefault")?.as_bool()) == Some(true);
    // The empty page and Chromium's own error page have no origin.
    main_frame && default && context.origin.starts_with("http")
}

/// Until when the page may send, as of now: while this process lives, and not beyond the lease.
fn owned_until(now: SystemTime, lease: Option<SystemTime>) -> SystemTime {
    let alive = now + OWNER_SILENCE;
    lease.map_or(alive, |lease| lease.min(alive))
}

fn unloaded(error: &CdpError) -> CallError {
    match error {
        CdpError::Timeout { .. } => CallError::Timeout,
        _ => CallError::Gone,
    }
}

/// Waits for a moment that may not be set.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::json;

    use super::*;

    #[test]
    fn the_page_may_send_for_twelve_seconds_but_never_beyond_the_lease() {
        let second = |n| UNIX_EPOCH + Duration::from_secs(n);
        for (lease, expected) in [(None, 112), (Some(115), 112), (Some(105), 105), (Some(90), 90)] {
            assert_eq!(owned_until(second(100), lease.map(second)), second(expected), "{lease:?}");
        }
    }

    #[test]
    fn the_adapter_goes_into_the_main_frame_of_a_site_and_nowhere_else() {
        let context = |origin: &str, frame: &str, default: bool| {
            serde_json::from_value::<ExecutionContextDescription>(json!({
                "id": 1, "origin": origin, "name": "", "uniqueId": "u",
                "auxData": { "isDefault": default, "type": "default", "frameId": frame }
            }))
            .expect("a context")
        };
        for (context, expected) in [
            (context("https://web.whatsapp.com", "T", true), true),
            (context("http://127.0.0.1:1", "T", true), true),
            (context("https://web.whatsapp.com", "F", true), false),
            (context("https://web.whatsapp.com", "T", false), false),
            (context("://", "T", true), false),
            (context("chrome-error://chromewebdata", "T", true), false),
        ] {
            assert_eq!(is_main(&context, "T"), expected, "{context:?}");
        }
    }
}
