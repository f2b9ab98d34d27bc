//! The life of a session as a pure function: an input and the time go in, effects come out. No I/O, no clock, no chance.
//!
//! ```text
//! Opening ──opened──▶ Loading ──code──▶ Linking ──registered──▶ Syncing ──online──▶ Settling ──reopened──▶ Connected
//!    ▲                   │                                         ▲  (returning session: no settling)        │
//!    │                   └──registered─────────────────────────────┘                                          │
//!    └─ ladder: reload, restart, older profile, another worker, failed ◀─── crash, hang, no answer, socket away ─┘
//! Connected ──safety copy due, nothing going on──▶ Pausing ──reopened──▶ Loading … Connected, and nothing is told
//! any ──stop, drain, lease lost, logged out, failed──▶ Closing ──browser gone──▶ Closed
//! ```
//! The public status follows with a delay where the page may heal itself, so that it does not flap.

use std::time::{Duration, Instant};

use wafleet_browser::{Me, Status as PageStatus};
use wafleet_protocol::event::{Cause, SessionPasskey, SessionStatus};

/// Starting Chromium and opening the address. Both have bounds of their own, of about 40 s each; this is the backstop.
pub(crate) const OPEN_LIMIT: Duration = Duration::from_secs(120);
/// From the address to a code or a registered page. WhatsApp Web takes up to about 10 s on a busy machine.
pub(crate) const LOAD_LIMIT: Duration = Duration::from_secs(120);
/// From registered to online. The first synchronisation after linking can take minutes.
pub(crate) const SYNC_LIMIT: Duration = Duration::from_secs(240);
/// A connected page whose socket is away reconnects by itself, most often within a second; after this long it is told.
pub(crate) const DISCONNECTED_AFTER: Duration = Duration::from_secs(10);
/// A page that does not reconnect by itself within this time is reloaded.
pub(crate) const RECONNECT_LIMIT: Duration = Duration::from_secs(60);
/// The page forgets its registration at once when the phone unlinks it; this long it must stay so to be believed.
pub(crate) const UNLINKED_AFTER: Duration = Duration::from_secs(3);
/// A planned pause (the browser closes, its profile is saved, it starts again: 3 s as a rule) is told only if it lasts longer.
pub(crate) const PAUSE_TOLD_AFTER: Duration = Duration::from_secs(60);
/// The backstop of a planned pause: closing, saving and starting have bounds of their own, of about 75 s together.
pub(crate) const PAUSE_LIMIT: Duration = Duration::from_secs(150);
/// Connected this long, the ladder starts again from its first rung.
pub(crate) const STABLE_AFTER: Duration = Duration::from_secs(600);
/// WhatsApp Web shows six codes, the first for 60 s and the others for 20 s each, and then stops.
pub(crate) const QR_FIRST_LIFE: Duration = Duration::from_secs(60);
/// See [`QR_FIRST_LIFE`].
pub(crate) const QR_NEXT_LIFE: Duration = Duration::from_secs(20);
/// See [`QR_FIRST_LIFE`].
pub(crate) const QR_CODES_PER_GENERATION: u32 = 6;
/// Rungs of the recovery ladder: one reload, a new browser, then one on an older profile if that may help, else once more.
pub(crate) const RECOVERIES: u32 = 3;
/// Older profiles that are tried one after the other: as many as are kept.
pub(crate) const GOING_BACK: u32 = 2;
/// The backstop of going back to one. Trying the site on an empty profile, restoring and starting have bounds of their own.
pub(crate) const GO_BACK_LIMIT: Duration = Duration::from_secs(300);

/// How long a page waits for a passkey, and a little more: WhatsApp's challenge is good for about ten minutes (observed by
/// others in July 2026).
pub(crate) const PASSKEY_LIMIT: Duration = Duration::from_secs(630);

/// What can happen to a session.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Input {
    /// The browser is up and the address is being loaded.
    Opened,
    /// The same, on an older profile: the newest one was damaged.
    OpenedOlder,
    /// There is no older profile to go back to.
    NothingSaved,
    /// Chromium did not start or the address did not open.
    OpenFailed { cause: Cause },
    /// The page says where it stands.
    Page(PageStatus),
    /// A new document began to load.
    Loading,
    /// The page shows a code.
    Qr { code: String, first: bool },
    /// The page has stopped showing codes.
    QrIdle,
    /// The answer to [`Effect::AskQrPermit`]: `used` generations of the workspace's budget are used up.
    QrPermit { granted: bool, used: u32 },
    /// The browser or its tab was closed and opened again, after pairing or for a safety copy.
    Reopened,
    /// A safety copy of the profile is due, and no command is being executed.
    CopyDue,
    /// The page asks for a passkey.
    Passkey(Box<SessionPasskey>),
    /// The page was given the answer.
    PasskeyAnswered,
    /// A browser effect (reload, reopen, refresh) failed, or the browser or page broke.
    Broken { cause: Cause },
    /// A command unlinks the device: from here on its signs are expected, and its end is told by the answer.
    Unlinking,
    /// It could not unlink the device.
    StillLinked,
    /// The device was unlinked because a command asked for it.
    LoggedOut,
    /// The host wants the session to stop.
    Stop,
    /// The worker is shutting down; another one goes on.
    Drain,
    /// Ownership is over.
    LeaseLost,
    /// The time that [`State::deadline`] named has come.
    Deadline,
    /// The browser is gone.
    Closed,
}

/// What the session does to the world.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Start Chromium and open the address; answer with `Opened` or `OpenFailed`.
    Open,
    /// Close the browser if there is one, wait, and open again.
    Restart { after: Duration },
    /// Close the browser if there is one, set its profile aside, restore an older one and open it; answer with `OpenedOlder`,
    /// `NothingSaved` or `OpenFailed`. `doubtful`: only if a browser on an empty profile does better; if it does not, or
    /// nothing is saved, open the same profile again and answer with `Opened`.
    GoBack { doubtful: bool },
    /// Load the page again in its tab.
    Reload,
    /// Close the tab and open a new one; answer with `Reopened`.
    Reopen,
    /// Close the browser, save its profile, start again; answer with `Reopened` or `OpenFailed`.
    Copy,
    /// Take one generation from the workspace's budget; answer with `QrPermit`.
    AskQrPermit,
    /// Ask the page for a new series of codes.
    RefreshQr,
    /// Tell the world a code.
    ShowQr { code: String, generation: u32, attempt: u32, life: Duration },
    /// Tell the world that a passkey is asked for.
    ShowPasskey(Box<SessionPasskey>),
    /// Tell the world the public status.
    Publish,
    /// Messages can go and come: emit what came in meanwhile, serve the lanes.
    Online,
    /// Stop serving the paced lanes.
    Offline,
    /// Nobody wants this session to run any more.
    StopWanting,
    /// Close the browser; answer with `Closed`. `politely` leaves it time to write its state down.
    Close { politely: bool },
}

/// Why a session ended on this worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The host wanted it.
    Stopped,
    /// The device is unlinked.
    LoggedOut,
    /// The ladder or the QR budget is used up, or WhatsApp refuses the session.
    Failed,
    /// The worker drains; another one takes over.
    Drained,
    /// The ladder is used up here, and what broke may be this machine: another worker shall try.
    Elsewhere,
    /// Ownership was lost.
    Fenced,
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    New,
    Opening,
    Loading,
    Linking,
    Syncing,
    /// After pairing: the tab is closed and opened again, because that is what brings the credentials to the disk.
    Settling {
        reopened: bool,
    },
    Connected,
    /// Connected, and closed for a moment by ourselves: the profile of a closed browser is the one that can be copied.
    Pausing,
    Closing(End),
    Closed(End),
}

/// What the world knows: status, its cause, and how often it was tried.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Public {
    /// The public status.
    pub(crate) status: SessionStatus,
    /// The status before it.
    pub(crate) previous: Option<SessionStatus>,
    /// A stable word.
    pub(crate) cause: Cause,
    /// Rung of the recovery ladder, 0 when all is well.
    pub(crate) attempt: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Permit {
    None,
    Asked,
    Granted { generation: u32 },
    Shown { generation: u32 },
}

/// How far linking with a passkey has come.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Passkey {
    None,
    Asked,
    Answered,
}

/// A session's whole state.
#[derive(Debug, Clone)]
pub(crate) struct State {
    phase: Phase,
    public: Public,
    /// The end of the phase, after which the ladder is climbed.
    phase_deadline: Option<Instant>,
    /// Connected before, and not online since then.
    offline_since: Option<Instant>,
    /// Why, in case it lasts.
    away: Cause,
    /// The absence was planned, and is not told before.
    pause_until: Option<Instant>,
    unregistered_since: Option<Instant>,
    online_since: Option<Instant>,
    /// The connected page gave its registration up, which it does when WhatsApp says so.
    let_go: bool,
    /// Older profiles tried since the session was last stable.
    gone_back: u32,
    /// The profile is believed to hold a linked device.
    linked: bool,
    /// A command is unlinking the device.
    unlinking: bool,
    /// A code was shown, or asked for, in this browser: the credentials are young.
    paired_here: bool,
    permit: Permit,
    pending_qr: Option<String>,
    qr_attempt: u32,
    passkey: Passkey,
    recoveries: u32,
    me: Option<Me>,
    online: bool,
    /// Another worker is there and may try when the ladder is used up here.
    may_leave: bool,
}

impl State {
    /// A session that was just claimed. `linked`: its profile held a linked device when it was last seen.
    pub(crate) fn new(linked: bool) -> Self {
        Self {
            phase: Phase::New,
            public: Public { status: SessionStatus::Initializing, previous: None, cause: Cause::Claimed, attempt: 0 },
            phase_deadline: None,
            offline_since: None,
            away: Cause::ConnectionLost,
            pause_until: None,
            unregistered_since: None,
            online_since: None,
            let_go: false,
            gone_back: 0,
            linked,
            unlinking: false,
            paired_here: false,
            permit: Permit::None,
            pending_qr: None,
            qr_attempt: 0,
            passkey: Passkey::None,
            recoveries: 0,
            me: None,
            online: false,
            may_leave: false,
        }
    }

    /// Whether another worker is there and may still try. Asked for when the ladder is used up.
    pub(crate) fn set_may_leave(&mut self, may_leave: bool) {
        self.may_leave = may_leave;
    }

    /// Begins.
    pub(crate) fn start(&mut self, now: Instant) -> Vec<Effect> {
        self.enter(Phase::Opening, now);
        vec![Effect::Publish, Effect::Open]
    }

    /// What the world knows.
    pub(crate) fn public(&self) -> &Public {
        &self.public
    }

    /// The own account, once known.
    pub(crate) fn me(&self) -> Option<&Me> {
        self.me.as_ref()
    }

    /// Whether messages can go and come.
    pub(crate) fn is_online(&self) -> bool {
        self.online
    }

    /// Whether a code could be scanned or typed now.
    pub(crate) fn is_linking(&self) -> bool {
        matches!(self.phase, Phase::Linking)
    }

    /// Why it ended, once the browser is gone.
    pub(crate) fn ended(&self) -> Option<End> {
        if let Phase::Closed(end) = self.phase { Some(end) } else { None }
    }

    /// Whether the browser is closed for a moment: commands wait.
    pub(crate) fn is_pausing(&self) -> bool {
        matches!(self.phase, Phase::Pausing)
    }

    /// Whether it is on its way out.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing(_) | Phase::Closed(_))
    }

    /// When to call with [`Input::Deadline`].
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let stable = self.online_since.filter(|_| self.recoveries > 0 || self.gone_back > 0);
        [
            self.phase_deadline,
            self.absence_told_at(),
            self.unregistered_since.map(|since| since + UNLINKED_AFTER),
            stable.map(|since| since + STABLE_AFTER),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// When the absence of a session that is said to be connected has lasted long enough to be told.
    fn absence_told_at(&self) -> Option<Instant> {
        let since = self.offline_since.filter(|_| self.public.status == SessionStatus::Connected && !self.unlinking)?;
        Some(self.pause_until.map_or(since + DISCONNECTED_AFTER, |until| until.max(since + DISCONNECTED_AFTER)))
    }

    /// One thing happened at `now`.
    pub(crate) fn step(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        match (&self.phase, input) {
            (Phase::Closed(_), _) => Vec::new(),
            (Phase::Closing(end), Input::Closed) => {
                self.phase = Phase::Closed(*end);
                Vec::new()
            }
            // Already on its way out, and nothing more is told. Whoever closes the browser watches the lease too.
            (Phase::Closing(_), _) => Vec::new(),
            // Ownership is gone: whatever else is going on ends at once, and nothing is told.
            (_, Input::LeaseLost) => self.close(End::Fenced, Cause::Released, now),
            (_, Input::Stop) => self.close(End::Stopped, Cause::Command, now),
            (_, Input::Drain) => self.close(End::Drained, Cause::Released, now),
            (_, Input::Unlinking) => self.unlinking(true),
            (_, Input::StillLinked) => self.unlinking(false),
            (_, Input::LoggedOut) => self.close(End::LoggedOut, Cause::Command, now),
            (Phase::Opening, Input::Opened) => {
                self.enter(Phase::Loading, now);
                Vec::new()
            }
            (Phase::Opening, Input::OpenedOlder) => {
                self.enter(Phase::Loading, now);
                let status = if self.linked { SessionStatus::Disconnected } else { SessionStatus::Initializing };
                self.tell(status, Cause::ProfileDamaged).into_iter().collect()
            }
            // It showed a code, and there is no older profile that could know better: the link is gone.
            (Phase::Opening, Input::NothingSaved) => self.close(End::LoggedOut, Cause::Unlinked, now),
            (Phase::Connected, Input::CopyDue) if self.online && !self.unlinking && self.recoveries == 0 => {
                self.pause(now)
            }
            (_, Input::CopyDue) => Vec::new(),
            (Phase::Pausing, Input::Reopened) => {
                self.enter(Phase::Loading, now);
                Vec::new()
            }
            // The last words of the browser that is being closed.
            (Phase::Pausing, Input::Broken { .. } | Input::Loading | Input::Page(_) | Input::Qr { .. }) => Vec::new(),
            (_, Input::OpenFailed { cause } | Input::Broken { cause }) => self.recover(cause, now),
            (_, Input::Loading) => self.loading(now),
            (_, Input::Page(status)) => self.page(status, now),
            (_, Input::Qr { code, first }) => self.qr(code, first, now),
            (_, Input::QrIdle) => self.qr_idle(),
            (_, Input::Passkey(request)) => self.passkey(request, now),
            (_, Input::PasskeyAnswered) => self.passkey_answered(now),
            (_, Input::QrPermit { granted, used }) => self.qr_permit(granted, used, now),
            (Phase::Settling { .. }, Input::Reopened) => {
                self.enter(Phase::Settling { reopened: true }, now);
                Vec::new()
            }
            (_, Input::Deadline) => self.due(now),
            (_, Input::Opened | Input::OpenedOlder | Input::NothingSaved | Input::Reopened | Input::Closed) => {
                Vec::new()
            } // late answers of an earlier browser
        }
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase_deadline = match phase {
            Phase::Opening => Some(now + OPEN_LIMIT),
            Phase::Loading => Some(now + LOAD_LIMIT),
            Phase::Syncing | Phase::Settling { .. } => Some(now + SYNC_LIMIT),
            Phase::Pausing => Some(now + PAUSE_LIMIT),
            Phase::New | Phase::Linking | Phase::Connected | Phase::Closing(_) | Phase::Closed(_) => None,
        };
        self.phase = phase;
    }

    fn tell(&mut self, status: SessionStatus, cause: Cause) -> Option<Effect> {
        if self.public.status == status && self.public.cause == cause && self.public.attempt == self.recoveries {
            return None;
        }
        self.public = Public { status, previous: Some(self.public.status), cause, attempt: self.recoveries };
        Some(Effect::Publish)
    }

    fn loading(&mut self, now: Instant) -> Vec<Effect> {
        self.passkey = Passkey::None;
        self.unregistered_since = None;
        self.permit = Permit::None;
        self.pending_qr = None;
        match self.phase {
            // A document that loads by itself (an update, a logout) begins again from the start.
            Phase::Linking | Phase::Syncing => self.enter(Phase::Loading, now),
            Phase::Connected => {
                let effects = self.offline(now);
                self.enter(Phase::Loading, now);
                return effects;
            }
            _ => {}
        }
        Vec::new()
    }

    fn unlinking(&mut self, begun: bool) -> Vec<Effect> {
        self.unlinking = begun;
        self.unregistered_since = None;
        Vec::new()
    }

    fn page(&mut self, status: PageStatus, now: Instant) -> Vec<Effect> {
        if matches!(self.phase, Phase::Opening | Phase::New) {
            return Vec::new(); // the last words of a browser that is being replaced
        }
        if let Some(cause) = refusal(&status) {
            return self.close(End::Failed, cause, now);
        }
        if status.me.is_some() {
            self.me.clone_from(&status.me);
        }
        let online = status.is_online();
        self.unregistered_since = match self.phase {
            Phase::Connected if !status.registered && !self.unlinking => self.unregistered_since.or(Some(now)),
            _ => None,
        };
        if matches!(self.phase, Phase::Connected) {
            self.let_go = !status.registered && !self.unlinking;
        }
        match self.phase {
            Phase::Connected if online => self.online(now),
            Phase::Connected => {
                let conflict =
                    [&status.stream_mode, &status.socket_state].into_iter().flatten().any(|word| word == "CONFLICT");
                self.away = if conflict { Cause::Conflict } else { Cause::ConnectionLost };
                self.offline(now)
            }
            Phase::Settling { reopened: false } => Vec::new(), // the old tab still talks
            Phase::Settling { reopened: true } | Phase::Loading | Phase::Linking | Phase::Syncing if online => {
                if self.paired_here && !matches!(self.phase, Phase::Settling { .. }) {
                    self.enter(Phase::Settling { reopened: false }, now);
                    let told = self.tell(SessionStatus::Authenticating, Cause::Linked);
                    return told.into_iter().chain([Effect::Reopen]).collect();
                }
                self.paired_here = false;
                self.linked = true;
                self.enter(Phase::Connected, now);
                self.online(now)
            }
            Phase::Loading | Phase::Linking if status.registered => {
                self.enter(Phase::Syncing, now);
                // A returning session stays "initializing" (or "disconnected") until it is online.
                if self.paired_here {
                    self.tell(SessionStatus::Authenticating, Cause::Linked).into_iter().collect()
                } else {
                    Vec::new()
                }
            }
            _ => Vec::new(),
        }
    }

    /// Closes the browser for a moment. Commands wait in their lanes, and what comes in meanwhile is caught up with.
    fn pause(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = self.offline(now);
        self.pause_until = Some(now + PAUSE_TOLD_AFTER);
        self.unregistered_since = None;
        self.enter(Phase::Pausing, now);
        effects.push(Effect::Copy);
        effects
    }

    fn online(&mut self, now: Instant) -> Vec<Effect> {
        self.offline_since = None;
        self.pause_until = None;
        self.phase_deadline = None;
        let mut effects = Vec::new();
        if !self.online {
            self.online = true;
            self.online_since = Some(now);
            effects.push(Effect::Online);
        }
        // A short absence that nobody was told of needs no second "connected".
        if self.public.status != SessionStatus::Connected {
            effects.extend(self.tell(SessionStatus::Connected, Cause::Ready));
        }
        effects
    }

    fn offline(&mut self, now: Instant) -> Vec<Effect> {
        self.offline_since = self.offline_since.or(Some(now));
        self.online_since = None;
        if matches!(self.phase, Phase::Connected) && self.phase_deadline.is_none() {
            self.phase_deadline = Some(now + RECONNECT_LIMIT);
        }
        if std::mem::replace(&mut self.online, false) { vec![Effect::Offline] } else { Vec::new() }
    }

    fn qr(&mut self, code: String, first: bool, now: Instant) -> Vec<Effect> {
        if matches!(self.phase, Phase::Opening | Phase::New | Phase::Settling { reopened: false }) {
            return Vec::new();
        }
        if self.linked && self.unlinking {
            return Vec::new();
        }
        if self.linked || matches!(self.phase, Phase::Settling { .. }) {
            // A page that was connected and let go was told so by WhatsApp. Any other code may as well come from a profile
            // that lost its credentials, and no link is given up before the saved ones have said the same.
            let proven = self.let_go || !self.linked || matches!(self.phase, Phase::Connected);
            if !proven && self.gone_back < GOING_BACK {
                return self.go_back(false, now);
            }
            return self.close(End::LoggedOut, Cause::Unlinked, now);
        }
        self.enter(Phase::Linking, now);
        self.paired_here = true;
        let new_series = first || matches!(self.permit, Permit::None);
        self.qr_attempt = if new_series { 1 } else { self.qr_attempt + 1 };
        match self.permit {
            Permit::Asked => {
                self.pending_qr = Some(code);
                Vec::new()
            }
            Permit::Granted { generation } => self.show(code, generation),
            Permit::Shown { generation } if !new_series => self.show(code, generation),
            Permit::None | Permit::Shown { .. } => {
                self.pending_qr = Some(code);
                self.permit = Permit::Asked;
                vec![Effect::AskQrPermit]
            }
        }
    }

    fn show(&mut self, code: String, generation: u32) -> Vec<Effect> {
        self.permit = Permit::Shown { generation };
        self.pending_qr = None;
        let attempt = self.qr_attempt.min(QR_CODES_PER_GENERATION);
        let life = if attempt == 1 { QR_FIRST_LIFE } else { QR_NEXT_LIFE };
        let cause = match std::mem::replace(&mut self.passkey, Passkey::None) {
            Passkey::Answered => Cause::PasskeyRefused,
            _ if self.public.status == SessionStatus::QrRequired => self.public.cause,
            _ => Cause::LinkRequired,
        };
        let told = self.tell(SessionStatus::QrRequired, cause);
        told.into_iter().chain([Effect::ShowQr { code, generation, attempt, life }]).collect()
    }

    /// A person has to answer, and takes his time; a linked session asks for nothing of the kind.
    fn passkey(&mut self, request: Box<SessionPasskey>, now: Instant) -> Vec<Effect> {
        if self.linked || !matches!(self.phase, Phase::Loading | Phase::Linking | Phase::Syncing) {
            return Vec::new();
        }
        self.passkey = Passkey::Asked;
        self.paired_here = true;
        if self.phase_deadline.is_some() {
            self.phase_deadline = Some(now + PASSKEY_LIMIT);
        }
        let told = self.tell(SessionStatus::PasskeyRequired, Cause::PasskeyRequired);
        told.into_iter().chain([Effect::ShowPasskey(request)]).collect()
    }

    fn passkey_answered(&mut self, now: Instant) -> Vec<Effect> {
        if self.passkey != Passkey::Asked || self.public.status != SessionStatus::PasskeyRequired {
            return Vec::new();
        }
        self.passkey = Passkey::Answered;
        if self.phase_deadline.is_some() {
            self.phase_deadline = Some(now + SYNC_LIMIT);
        }
        self.tell(SessionStatus::Authenticating, Cause::Linked).into_iter().collect()
    }

    fn qr_idle(&mut self) -> Vec<Effect> {
        if !matches!(self.phase, Phase::Linking) || matches!(self.permit, Permit::Asked) {
            return Vec::new();
        }
        self.permit = Permit::Asked;
        self.pending_qr = None;
        vec![Effect::AskQrPermit]
    }

    fn qr_permit(&mut self, granted: bool, used: u32, now: Instant) -> Vec<Effect> {
        if !matches!((&self.phase, self.permit), (Phase::Linking, Permit::Asked)) {
            return Vec::new();
        }
        if !granted {
            return self.close(End::Failed, Cause::LinkAttemptsExhausted, now);
        }
        match self.pending_qr.take() {
            Some(code) => self.show(code, used),
            None => {
                self.permit = Permit::Granted { generation: used };
                vec![Effect::RefreshQr]
            }
        }
    }

    fn due(&mut self, now: Instant) -> Vec<Effect> {
        if self.phase_deadline.is_some_and(|at| at <= now) {
            let cause = match self.phase {
                Phase::Opening | Phase::Pausing => Cause::StartFailed,
                Phase::Connected => self.away,
                _ => Cause::PageTimeout,
            };
            return self.recover(cause, now);
        }
        if self.unregistered_since.is_some_and(|since| since + UNLINKED_AFTER <= now) {
            return self.close(End::LoggedOut, Cause::Unlinked, now);
        }
        if self.online_since.is_some_and(|since| since + STABLE_AFTER <= now) {
            self.recoveries = 0;
            self.gone_back = 0;
            self.public.attempt = 0;
        }
        if self.absence_told_at().is_some_and(|at| at <= now) {
            return self.tell(SessionStatus::Disconnected, self.away).into_iter().collect();
        }
        Vec::new()
    }

    /// The profile may be damaged.
    fn go_back(&mut self, doubtful: bool, now: Instant) -> Vec<Effect> {
        let mut effects = self.offline(now);
        self.gone_back += 1;
        self.away = Cause::ProfileDamaged;
        self.unregistered_since = None;
        self.permit = Permit::None;
        self.pending_qr = None;
        self.enter(Phase::Opening, now);
        self.phase_deadline = Some(now + GO_BACK_LIMIT);
        effects.push(Effect::GoBack { doubtful });
        effects
    }

    /// Climbs one rung: reload, restart, older profile or restart, another worker, failed.
    fn recover(&mut self, cause: Cause, now: Instant) -> Vec<Effect> {
        let was_connected =
            self.public.status == SessionStatus::Connected || self.public.status == SessionStatus::Disconnected;
        let mut effects = self.offline(now);
        self.away = cause;
        self.recoveries += 1;
        self.unregistered_since = None;
        self.permit = Permit::None;
        self.pending_qr = None;
        if self.recoveries > RECOVERIES {
            let end = if self.may_leave && may_be_local(cause) { End::Elsewhere } else { End::Failed };
            effects.extend(self.close(end, cause, now));
            return effects;
        }
        // A page that stands still takes no load either: with it the first rung would cost its whole time limit.
        let gone = matches!(self.phase, Phase::New | Phase::Opening | Phase::Pausing)
            || matches!(cause, Cause::BrowserExited | Cause::StartFailed | Cause::PageHung);
        // What a profile can be to blame for; whether it is, is tried first.
        let blames_profile =
            matches!(cause, Cause::StartFailed | Cause::PageTimeout | Cause::PageCrashed | Cause::BrowserExited);
        if self.recoveries == RECOVERIES && self.linked && self.gone_back == 0 && blames_profile {
            effects.extend(self.go_back(true, now));
            self.away = cause;
        } else if self.recoveries == 1 && !gone {
            self.enter(Phase::Loading, now);
            effects.push(Effect::Reload);
        } else {
            self.enter(Phase::Opening, now);
            effects.push(Effect::Restart { after: restart_pause(self.recoveries) });
        }
        // Connected sessions tell it only when it lasts; the others have something new to say at once.
        if !was_connected {
            let status = if self.linked { SessionStatus::Disconnected } else { SessionStatus::Initializing };
            effects.extend(self.tell(status, cause));
        }
        effects
    }

    fn close(&mut self, end: End, cause: Cause, now: Instant) -> Vec<Effect> {
        let mut effects = if std::mem::replace(&mut self.online, false) { vec![Effect::Offline] } else { Vec::new() };
        let status = match end {
            End::Stopped => Some(SessionStatus::Stopped),
            End::LoggedOut => Some(SessionStatus::LoggedOut),
            End::Failed => Some(SessionStatus::Failed),
            End::Drained => Some(SessionStatus::Disconnected),
            End::Elsewhere if self.linked => Some(SessionStatus::Disconnected),
            End::Elsewhere => Some(SessionStatus::Initializing),
            End::Fenced => None,
        };
        effects.extend(status.and_then(|status| self.tell(status, cause)));
        if matches!(end, End::LoggedOut | End::Failed) {
            effects.push(Effect::StopWanting);
        }
        effects.push(Effect::Close { politely: end != End::Fenced });
        self.offline_since = None;
        self.online_since = None;
        self.unregistered_since = None;
        self.enter(Phase::Closing(end), now);
        effects
    }
}

/// What another machine may not have: its browser, its disk, its memory, its way to WhatsApp.
fn may_be_local(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::StartFailed
            | Cause::BrowserExited
            | Cause::PageCrashed
            | Cause::PageHung
            | Cause::PageTimeout
            | Cause::ConnectionLost
    )
}

/// Pause before the n-th rung.
fn restart_pause(rung: u32) -> Duration {
    if rung <= 2 { Duration::from_secs(1) } else { Duration::from_secs(10) }
}

/// WhatsApp's own refusal of the session or of this page version, as a cause.
fn refusal(status: &PageStatus) -> Option<Cause> {
    [&status.stream_mode, &status.socket_state].into_iter().flatten().find_map(|word| match word.as_str() {
        "PROXYBLOCK" | "TOS_BLOCK" | "SMB_TOS_BLOCK" => Some(Cause::Banned),
        "DEPRECATED_VERSION" => Some(Cause::Outdated),
        _ => None,
    })
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
