//! What a session hears from its page and passes on: messages, acks, pairing codes, and what came in while nobody listened.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;
use wafleet_browser::{CallError, Message as PageMessage, PageEvent, Sent};
use wafleet_protocol::event::{
    Ack, Cause, ChatLabel, CommandResult, Event, Label, LabelUpdate, Outcome, ResultData, SentMessage, SessionCode,
    SessionPasskey,
};
use wafleet_protocol::id::{CommandId, EventId, PhoneNumber, SessionId};
use wafleet_protocol::timestamp::Timestamp;

use super::state::Input;
use super::syncing::Syncer;
use super::telling::{self, Origin};
use super::{Happening, SessionActor};
use crate::broker::outbox::Room;
use crate::database::Heard;
use crate::events::Correlation;
use crate::logging::chain;
use crate::media;

/// How often the watermark goes to the database at most.
const WATERMARK_EVERY: Duration = Duration::from_secs(5);
/// Messages asked for at once when catching up. The next are asked for when these are on their way.
const CATCH_UP_PAGE: u32 = 200;
/// Seconds before the watermark that are looked at again: WhatsApp's clock has whole seconds and messages come out of order.
const CATCH_UP_OVERLAP_SECS: u64 = 120;
/// Pause before a page that could not be read is read again.
const CATCH_UP_PAUSE: Duration = Duration::from_secs(5);
/// A page that was away tells in [`Status::stream_info`] when everything that waited for it has arrived. One that never
/// says so is read after this long all the same.
const ARRIVED_WITHIN: Duration = Duration::from_secs(60);
/// Commands of unknown end that are looked up in the page at once.
const UNKNOWN_AT_ONCE: u32 = 100;
/// Seconds by which the host's clock, which dates commands, may be ahead of WhatsApp's, which dates chats.
const UNKNOWN_SLACK_SECS: i64 = 600;
/// How long what comes in waits behind an own message whose command is looked up.
const LEDGER_ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// Acks of one session that wait for the ledger. Those of messages that came in since the watermark are read again anyway.
const UNTOLD_ACKS: usize = 10_000;
/// WhatsApp's pairing code lives this long: measured 3 min 15 s, told a little shorter.
const LINK_CODE_LIFE: Duration = Duration::from_secs(180);

/// Up to where everything that came in was told, and confirmed by the broker. By WhatsApp's clock.
///
/// ```text
///   held ──page read to its end, and all of it confirmed──▶ free: moves with every confirmed message
///    ▲                                                        │
///    └────────────────────── online again ◀──────────────────┘
/// ```
/// While a page delivers what waited for it, an older message may follow a newer one. So the mark is held from the moment
/// the page is online until it has been read from the mark on: whatever happens before, the next owner reads it again.
#[derive(Debug, Default)]
pub(super) struct Watermark {
    /// Everything before this second was told and confirmed.
    mark: u64,
    /// The latest second that was confirmed, which becomes the mark once it is free.
    confirmed: u64,
    /// As the database has it.
    written: u64,
    written_at: Option<Instant>,
    /// Which reading of the page the mark waits for.
    held_for: Option<u64>,
    readings: u64,
    /// When the page came online, until it has been read.
    unread_since: Option<Instant>,
}

impl Watermark {
    /// Picks up where the last owner stopped; a session that was never linked begins now.
    pub(super) fn resume(recorded: u64, now: u64) -> Self {
        let mark = if recorded > 0 { recorded } else { now };
        Self { mark, confirmed: mark, written: recorded, ..Self::default() }
    }

    /// From where the page is read: a little before the mark.
    fn from(&self) -> u64 {
        self.mark.saturating_sub(CATCH_UP_OVERLAP_SECS)
    }

    /// The page is online: what waited for it comes now.
    pub(super) fn hold(&mut self, now: Instant) {
        self.readings += 1;
        self.held_for = Some(self.readings);
        self.unread_since = Some(now);
    }

    /// Whether it is time to read the page: it says that everything has arrived, or has not said so for too long. Answers
    /// once, with the number of the reading.
    fn begin_reading(&mut self, arrived: bool, now: Instant) -> Option<u64> {
        let since = self.unread_since?;
        if !arrived && now.duration_since(since) < ARRIVED_WITHIN {
            return None;
        }
        self.unread_since = None;
        self.held_for
    }

    /// A message of this second is confirmed, and so is all that was told before it.
    fn confirm(&mut self, at: u64) {
        self.confirmed = self.confirmed.max(at);
        if self.held_for.is_none() {
            self.mark = self.mark.max(self.confirmed);
        }
    }

    /// All that this reading found is confirmed. A reading that another one has followed frees nothing.
    fn free(&mut self, reading: u64) {
        if self.held_for == Some(reading) {
            self.held_for = None;
            self.mark = self.mark.max(self.confirmed);
        }
    }

    /// Moves on.
    pub(super) fn note(&mut self, confirmed: Confirmed) {
        match confirmed {
            Confirmed::Message(at) => self.confirm(at),
            Confirmed::Reading(reading) => self.free(reading),
            Confirmed::Nothing => {}
        }
    }

    /// When the page is read if it does not say that everything has arrived.
    pub(super) fn due(&self) -> Option<Instant> {
        self.unread_since.map(|since| since + ARRIVED_WITHIN)
    }

    /// What the database does not have yet.
    pub(super) fn unwritten(&self) -> Option<u64> {
        (self.mark > self.written).then_some(self.mark)
    }

    /// What the database gets now, if it is time to.
    fn write(&mut self, now: Instant) -> Option<u64> {
        let due = self.written_at.is_none_or(|written| now.duration_since(written) >= WATERMARK_EVERY);
        let mark = self.unwritten().filter(|_| due)?;
        self.written = mark;
        self.written_at = Some(now);
        Some(mark)
    }
}

/// The ledger does not say now whose command it was.
struct Unknown;

/// What the broker has confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirmed {
    /// The event of a message of this second.
    Message(u64),
    /// Everything that this reading of the page found.
    Reading(u64),
    /// Nothing: an event is lost for a reason that was logged.
    Nothing,
}

/// A part of what the page's store holds.
pub(super) struct Missed {
    reading: u64,
    messages: Vec<PageMessage>,
    /// There is more behind the last of them.
    more: bool,
}

impl SessionActor {
    /// The page is online: it is read as soon as everything that waited for it has arrived.
    pub(super) fn catch_up(&mut self) {
        self.watermark.hold(Instant::now());
        self.look_whether_arrived();
    }

    /// Reads the page if it is time to.
    pub(super) fn look_whether_arrived(&mut self) {
        if !self.state.is_online() {
            return; // it will be online again, or another page will
        }
        if let Some(reading) = self.watermark.begin_reading(self.arrived, Instant::now()) {
            self.settle_unknown();
            let since = i64::try_from(self.watermark.from()).unwrap_or(0);
            self.read_page(reading, since, None, Duration::ZERO);
        }
    }

    fn read_page(&mut self, reading: u64, since: i64, after: Option<String>, pause: Duration) {
        let Some(live) = &self.live else { return };
        let page = live.page();
        let mut room = self.room.clone();
        let database = self.world.database.clone();
        let reading_task = self.work.spawn(async move {
            tokio::time::sleep(pause).await;
            // The page keeps its messages as long as there is no room for their events.
            let _ = room.wait_for(|room| *room != Room::Full).await;
            match page.messages_since(since, after.as_deref(), CATCH_UP_PAGE).await {
                Ok(messages) => {
                    // Which command an own message belongs to stands in the ledger. Told while that is away, a message
                    // that an earlier owner told already would be told otherwise under the same event id.
                    if messages.iter().any(|message| message.from_me) {
                        database.available().await;
                    }
                    let more = messages.len() >= CATCH_UP_PAGE as usize;
                    Happening::Missed(Missed { reading, messages, more })
                }
                Err(error) => Happening::Unread { reading, since, after, error },
            }
        });
        self.reading = Some(reading_task);
    }

    /// Tells what the page's store holds and was not told yet, and asks for more.
    pub(super) async fn missed(&mut self, missed: Missed) {
        for message in &missed.messages {
            self.tell_message(message).await;
            if message.from_me && message.ack != 0 {
                self.tell_ack(&message.key, &message.chat_id, message.ack).await;
            }
        }
        match missed.messages.last().filter(|_| missed.more) {
            Some(last) => self.read_page(missed.reading, last.timestamp, Some(last.key.clone()), Duration::ZERO),
            // Confirms come in order: when this one is due, everything before it is confirmed.
            None => {
                self.confirms.push_back(Box::pin(std::future::ready(Confirmed::Reading(missed.reading))));
                // What is new comes before what is past.
                self.tell_the_past();
            }
        }
    }

    /// The page could not be read. One that is on its way out, or went away, is read when it is online again.
    pub(super) fn unread(&mut self, reading: u64, since: i64, after: Option<String>, error: &CallError) {
        if self.state.is_closing() || !self.state.is_online() {
            tracing::debug!(%error, "the page went away while it was read");
            return;
        }
        tracing::warn!(%error, "messages that came before the page was ready are not read yet; trying again");
        self.read_page(reading, since, after, CATCH_UP_PAUSE);
    }

    /// What the page says. Most of it is told at once; what moves the state comes back as an input.
    pub(super) async fn page_event(&mut self, event: PageEvent) -> Option<Input> {
        match event {
            PageEvent::State(status) => {
                self.arrived = status.stream_info.as_deref().is_none_or(|info| info == "NORMAL");
                self.look_whether_arrived();
                self.look_whether_restricted(&status);
                Some(Input::Page(status))
            }
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
            PageEvent::Silent { since } => {
                tracing::warn!(
                    silent_secs = since.as_secs(),
                    "the page takes its line for open, and WhatsApp does not answer"
                );
                self.world.counters.count("pages.broken", "silent");
                Some(Input::Broken { cause: Cause::ConnectionLost })
            }
            PageEvent::Detached => {
                tracing::warn!("the browser is gone");
                self.world.counters.count("pages.broken", "browser_exited");
                self.live = None;
                Some(Input::Broken { cause: Cause::BrowserExited })
            }
            PageEvent::LinkCode { code, expires_at } => {
                self.untold_code = Some((code, expires_at));
                self.tell_code();
                None
            }
            PageEvent::PasskeyAnswered => Some(Input::PasskeyAnswered),
            PageEvent::Passkey { id, request, origin, expires_at } => {
                let Ok(request) = serde_json::from_value(request) else {
                    tracing::warn!("the page asks for a passkey in a form that is not WebAuthn's");
                    return None;
                };
                let expires_at = Timestamp::from_unix_secs(u64::try_from(expires_at).unwrap_or(0));
                Some(Input::Passkey(Box::new(SessionPasskey { request_id: id, request, origin, expires_at })))
            }
            PageEvent::Ready(capabilities) => {
                let missing = (!capabilities.missing.is_empty()).then(|| capabilities.missing.clone());
                if missing.is_some() && missing != self.incompatible {
                    tracing::warn!(missing = ?capabilities.missing, version = capabilities.version, "this version of the page lacks something; the session goes on with less");
                    self.emit(self.sink.fresh_id(), telling::incompatible(&capabilities), Correlation::default());
                }
                self.incompatible = missing;
                None
            }
            PageEvent::Message(message) => {
                self.copies.active(Instant::now());
                self.tell_message(&message).await;
                None
            }
            PageEvent::Ack(ack) => {
                for key in &ack.keys {
                    self.tell_ack(key, &ack.chat_id, ack.ack).await;
                }
                None
            }
            PageEvent::Edited { message, at_ms } => {
                self.tell(telling::edited(&self.session, &message, at_ms));
                None
            }
            PageEvent::Revoked { key, chat_id, from_me } => {
                self.tell(telling::revoked(&self.session, &key, &chat_id, from_me));
                None
            }
            PageEvent::Reaction(reaction) => {
                self.tell(telling::reaction(&self.session, &reaction));
                None
            }
            PageEvent::Vote(vote) => {
                self.tell(telling::vote(&self.session, &vote));
                None
            }
            PageEvent::Waiting(message) => {
                self.tell(telling::waiting(&self.session, &message));
                None
            }
            PageEvent::Presence { chat_id, participant, state } => {
                let told = telling::presence(&chat_id, participant.as_deref(), state);
                self.tell((self.sink.fresh_id(), told));
                None
            }
            PageEvent::Group(change) => {
                self.tell((self.sink.fresh_id(), telling::participants(&change)));
                None
            }
            PageEvent::GroupUpdate(update) => {
                self.tell((self.sink.fresh_id(), telling::group_update(&update)));
                None
            }
            PageEvent::Stalled { key, chat_id, at_ms } => {
                let origin = self.origin(telling::message_id(&key)).await.unwrap_or_default();
                self.tell(telling::stalled(&self.session, &key, &chat_id, at_ms, origin));
                None
            }
            PageEvent::Label { id, name, color, deleted } => {
                let label = Label { id, name: name.into(), color };
                self.tell((self.sink.fresh_id(), Event::LabelUpdate(LabelUpdate { label, deleted })));
                None
            }
            PageEvent::ChatLabel { chat_id, label_id, label, labelled } => {
                let told = ChatLabel { chat_id: chat_id.into(), label_id, label: label.map(Into::into), labelled };
                self.tell((self.sink.fresh_id(), Event::ChatLabel(told)));
                None
            }
            PageEvent::Call(call) => {
                self.called(call);
                None
            }
            PageEvent::Fault { what } => {
                tracing::warn!(what, "something from the page could not be understood and was left out");
                self.world.counters.count("pages.faults", "adapter");
                None
            }
        }
    }

    /// Tells something that follows from no command and that no watermark waits for.
    fn tell(&mut self, (id, event): (EventId, Event)) {
        self.copies.active(Instant::now());
        let met = telling::met(&event);
        self.emit(id, event, Correlation::default());
        self.tell_mappings(&met);
    }

    /// Tells both ids of everybody who was named by both, once each.
    pub(super) fn tell_mappings(&mut self, met: &[(String, String)]) {
        for (phone, lid) in met {
            if self.told.is_new_mapping(phone, lid) {
                let (id, event) = telling::mapping(&self.session, phone, lid);
                self.emit(id, event, Correlation::default());
            }
        }
    }

    /// Tells the page's newest pairing code, once it is known which phone it is for.
    pub(super) fn tell_code(&mut self) {
        let Some(phone) = self.pairing_phone.clone() else { return };
        if let Some((code, expires_at)) = self.untold_code.take() {
            let event = Event::SessionCode(session_code(&code, &phone, expires_at, self.world.clock.unix_secs()));
            self.emit(self.sink.fresh_id(), event, Correlation::default());
        }
    }

    pub(super) async fn tell_message(&mut self, message: &PageMessage) {
        if !self.told.is_new_message(&message.key) {
            return;
        }
        self.meet(message);
        let origin = match message.from_me {
            false => None,
            true => match self.origin(&message.id).await {
                Ok(origin) => Some(origin),
                // The page is read again when the ledger answers; until then the mark stays where it is.
                Err(Unknown) => return self.wait_for_the_ledger(),
            },
        };
        self.told.remember_message(&message.key);
        let (id, event) = telling::message(&self.session, message, origin.as_ref());
        let at = u64::try_from(message.timestamp).unwrap_or(0);
        let with_file = message.has_media && !message.from_me;
        let brought = (with_file && self.world.objects.is_some()).then(|| self.note_media(message));
        let met = telling::met(&event);
        let confirm = self.emit(id, event, correlation(origin.as_ref()));
        self.tell_mappings(&met);
        if let Some(confirm) = confirm {
            self.confirms.push_back(Box::pin(async move {
                // Until they are noted the message does not count as told, so nobody has to remember them but the page.
                if let Some(brought) = brought {
                    brought.await;
                }
                if confirm.wait().await.is_ok() { Confirmed::Message(at) } else { Confirmed::Nothing }
            }));
        }
        if with_file && self.world.objects.is_none() {
            let heard = heard(self.workspace.get(), &self.session, message);
            let (id, event) = media::not_kept(&self.world.downloads, &heard, &self.session);
            self.emit(id, event, Correlation::default());
        }
    }

    /// Notes that a message brought a file, and wakes who fetches it. The message is not held up by it.
    fn note_media(&self, message: &PageMessage) -> impl Future<Output = ()> + Send + use<> {
        let (database, news) = (self.world.database.clone(), Arc::clone(&self.media_news));
        let (workspace, session, message) = (self.workspace.get(), self.session.clone(), message.clone());
        async move {
            let heard = heard(workspace, &session, &message);
            media::note(&database, &heard).await;
            news.notify_one();
        }
    }

    /// Fetches the files of received messages, those of earlier owners too, as long as this page is connected.
    pub(super) fn receive_media(&mut self) {
        self.stop_receiving();
        let Some(live) = &self.live else { return };
        let receiver = media::Receiver {
            world: self.world.clone(),
            sink: Arc::clone(&self.sink),
            lease: self.lease.clone(),
            workspace: self.workspace,
            session: self.session.clone(),
            page: live.page(),
            news: Arc::clone(&self.media_news),
        };
        self.receiving = Some(AbortOnDropHandle::new(tokio::spawn(receiver.run())));
    }

    /// What was under way is begun anew by whoever is online next.
    pub(super) fn stop_receiving(&mut self) {
        self.receiving = None; // dropping it ends it
    }

    /// Goes on with the session's sync, or begins the first one after linking, as long as this page is connected.
    fn tell_the_past(&mut self) {
        let Some(live) = self.live.as_ref().filter(|_| self.state.is_online()) else { return };
        let syncer = Syncer {
            world: self.world.clone(),
            sink: Arc::clone(&self.sink),
            lease: self.lease.clone(),
            workspace: self.workspace,
            session: self.session.clone(),
            page: live.page(),
            activity: self.activity.subscribe(),
            news: Arc::clone(&self.sync_news),
        };
        self.syncing = Some(AbortOnDropHandle::new(tokio::spawn(syncer.run())));
    }

    /// Tells how far an own message has come, and settles a command whose end was not known.
    async fn tell_ack(&mut self, key: &str, chat_id: &str, ack: i8) {
        if !self.told.is_new_ack(key, ack) {
            return;
        }
        let Ok(origin) = self.origin(telling::message_id(key)).await else {
            if self.untold_acks.len() < UNTOLD_ACKS {
                self.untold_acks.push((key.to_owned(), chat_id.to_owned(), ack));
            }
            return self.wait_for_the_ledger();
        };
        self.told.remember_ack(key, ack);
        let (id, event) = telling::ack(&self.session, key, chat_id, ack, Some(&origin));
        self.emit(id, event, correlation(Some(&origin)));
        if ack > 0
            && let Some(command) = origin.command
        {
            self.settle_late(&command, key, chat_id, ack);
        }
    }

    /// It is proven that the message of a command has left. If the command was told to have an unknown end, its record is
    /// set right: whoever sends or replays it again is answered with what became of it. Its result event stands.
    fn settle_late(&mut self, command: &CommandId, key: &str, chat_id: &str, ack: i8) {
        let sent = SentMessage {
            key: key.into(),
            id: telling::message_id(key).to_owned(),
            chat_id: chat_id.into(),
            timestamp: Timestamp::from_unix_secs(self.world.clock.unix_secs()),
            ack: Ack::from_number(i64::from(ack)),
        };
        let (database, workspace) = (self.world.database.clone(), self.workspace.get());
        let (counters, fence, command) = (Arc::clone(&self.world.counters), self.lease.fence(), command.clone());
        self.work.spawn(async move {
            let settle = |result: serde_json::Value| {
                let result: CommandResult = serde_json::from_value(result).ok()?;
                let data = Some(ResultData::Message(sent.clone()));
                serde_json::to_value(CommandResult { outcome: Outcome::Succeeded, error: None, data, ..result }).ok()
            };
            match database.settle_unknown(workspace, command.as_str(), fence, settle).await {
                Ok(true) => {
                    counters.count("commands.settled_late", "succeeded");
                    tracing::info!(command_id = %command, "a command of unknown end has succeeded, as it turns out");
                }
                Ok(false) => {} // its end was known
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "the end of a command that turned out late is not recorded");
                }
            }
            Happening::Nothing
        });
    }

    /// Asks the page for the messages of commands whose end is not known: it may show them by now.
    fn settle_unknown(&mut self) {
        let Some(live) = &self.live else { return };
        let (page, database, session) = (live.page(), self.world.database.clone(), self.session.clone());
        self.work.spawn(async move {
            let unknown = match database.unknown_sends(session.as_str(), UNKNOWN_AT_ONCE).await {
                Ok(unknown) if unknown.is_empty() => return Happening::Nothing,
                Ok(unknown) => unknown,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "commands of unknown end are not looked up now");
                    return Happening::Nothing;
                }
            };
            let since = unknown.iter().map(|one| one.issued_at).min().unwrap_or(0) - UNKNOWN_SLACK_SECS;
            let ids: Vec<String> = unknown.into_iter().map(|one| one.message_id).collect();
            match page.find_own(&ids, since).await {
                Ok(found) => Happening::Found(found),
                Err(error) => {
                    tracing::warn!(%error, "commands of unknown end are looked up when the page is online again");
                    Happening::Nothing
                }
            }
        });
    }

    /// The page shows messages of commands whose end was not known.
    pub(super) async fn found(&mut self, found: Vec<Sent>) {
        for sent in found.into_iter().filter(|sent| sent.ack > 0) {
            self.tell_ack(&sent.key, &sent.chat_id, sent.ack).await;
        }
    }

    /// The command behind an own message: remembered, or in the ledger.
    async fn origin(&mut self, message_id: &str) -> Result<Origin, Unknown> {
        if let Some(origin) = self.told.origin(message_id) {
            return Ok(origin.clone());
        }
        // Only our own sends have ids of this form made from command ids; a miss costs one indexed look-up.
        let look = self.world.database.sender_of(self.session.as_str(), message_id);
        let found = match tokio::time::timeout(LEDGER_ANSWERS_WITHIN, look).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::debug!(error = %chain(&error), "the command behind a message could not be looked up");
                return Err(Unknown);
            }
            Err(_) => return Err(Unknown),
        };
        let origin = found.map(|(command, reference)| Origin::from_ledger(&command, reference)).unwrap_or_default();
        self.told.remember_origin(message_id, origin.clone());
        Ok(origin)
    }

    /// An own message or its ack cannot be told yet: told without its command, it would say something else under the same
    /// event id than what the next owner, or this one a moment later, says.
    fn wait_for_the_ledger(&mut self) {
        self.watermark.hold(Instant::now());
        if std::mem::replace(&mut self.waits_for_ledger, true) {
            return;
        }
        tracing::warn!("whose command an own message is cannot be looked up; it is told when the database answers");
        let database = self.world.database.clone();
        self.work.spawn(async move {
            database.available().await;
            Happening::LedgerAnswers
        });
    }

    /// What waited for the ledger is told now.
    pub(super) async fn ledger_answers(&mut self) {
        self.waits_for_ledger = false;
        self.catch_up();
        for (key, chat_id, ack) in std::mem::take(&mut self.untold_acks) {
            self.tell_ack(&key, &chat_id, ack).await;
        }
    }

    pub(super) fn confirmed(&mut self, confirmed: Confirmed) {
        self.watermark.note(confirmed);
        if let Some(watermark) = self.watermark.write(Instant::now()) {
            let (database, session, fence) = (self.world.database.clone(), self.session.clone(), self.lease.fence());
            self.work.spawn(async move {
                if let Err(error) = database.advance_watermark(session.as_str(), fence, watermark).await {
                    tracing::warn!(error = %chain(&error), "the watermark is not recorded; messages may be told again after a crash");
                }
                Happening::Nothing
            });
        }
    }
}

pub(super) fn session_code(code: &str, phone: &PhoneNumber, expires_at: Option<i64>, now: u64) -> SessionCode {
    let expires_at = expires_at.and_then(|secs| u64::try_from(secs).ok());
    SessionCode {
        code: code.into(),
        phone: phone.as_str().into(),
        expires_at: Timestamp::from_unix_secs(expires_at.unwrap_or_else(|| now + LINK_CODE_LIFE.as_secs())),
    }
}

fn correlation(origin: Option<&Origin>) -> Correlation {
    Correlation { command: origin.and_then(|origin| origin.command.clone()), metadata: None }
}

fn heard<'a>(workspace: u64, session: &'a SessionId, message: &'a PageMessage) -> Heard<'a> {
    Heard {
        workspace_id: workspace,
        session_id: session.as_str(),
        key: &message.key,
        chat_id: &message.chat_id,
        kind: &message.kind,
        at: u64::try_from(message.timestamp).unwrap_or(0),
        size: message.media_size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_held_until_the_page_is_read_and_all_of_it_confirmed() {
        let now = Instant::now();
        let mut watermark = Watermark::resume(1_000, 2_000);
        watermark.hold(now);
        watermark.confirm(2_000);
        assert_eq!((watermark.mark, watermark.from()), (1_000, 880), "an older message may still follow");
        assert_eq!(watermark.begin_reading(false, now), None, "not everything has arrived");
        let reading = watermark.begin_reading(true, now).expect("it has");
        assert_eq!(watermark.begin_reading(true, now), None, "it is read once");
        watermark.confirm(1_500);
        assert_eq!(watermark.unwritten(), None);
        watermark.free(reading);
        assert_eq!((watermark.mark, watermark.unwritten()), (2_000, Some(2_000)));
        watermark.confirm(2_100);
        assert_eq!(watermark.mark, 2_100, "free, it moves with the messages");
    }

    #[test]
    fn a_reading_that_another_one_has_followed_frees_nothing() {
        let now = Instant::now();
        let mut watermark = Watermark::resume(1_000, 2_000);
        watermark.hold(now);
        let first = watermark.begin_reading(true, now).expect("read");
        watermark.hold(now);
        watermark.confirm(3_000);
        watermark.free(first);
        assert_eq!(watermark.mark, 1_000);
        let second = watermark.begin_reading(true, now).expect("read again");
        watermark.free(second);
        assert_eq!(watermark.mark, 3_000);
    }

    #[test]
    fn a_page_that_never_says_so_is_read_all_the_same() {
        let now = Instant::now();
        let mut watermark = Watermark::resume(1_000, 2_000);
        watermark.hold(now);
        assert_eq!(watermark.begin_reading(false, now + ARRIVED_WITHIN - Duration::from_millis(1)), None);
        assert!(watermark.begin_reading(false, now + ARRIVED_WITHIN).is_some());
    }

    #[test]
    fn a_session_without_a_message_has_a_mark_once_its_page_was_read() {
        let now = Instant::now();
        let mut watermark = Watermark::resume(0, 1_790_000_000);
        assert!(watermark.unwritten().is_some(), "what comes while nobody owns it is read by the next owner");
        watermark.hold(now);
        let reading = watermark.begin_reading(true, now).expect("read");
        watermark.free(reading);
        let mark = watermark.write(now).expect("written");
        assert_eq!(mark, 1_790_000_000);
        assert_eq!(watermark.write(now), None);
        watermark.confirm(mark + 10);
        assert_eq!(watermark.write(now + Duration::from_secs(1)), None, "not that often");
        assert_eq!(watermark.write(now + WATERMARK_EVERY), Some(mark + 10));
    }
}
