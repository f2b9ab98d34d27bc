//! What a session hears from its page and passes on: messages, acks, pairing codes, and what came in while nobody listened.

use std::time::{Duration, Instant};

use wafleet_browser::{Message as PageMessage, PageEvent};
use wafleet_protocol::event::{Cause, Event, SessionCode};
use wafleet_protocol::id::PhoneNumber;
use wafleet_protocol::timestamp::Timestamp;

use super::state::Input;
use super::telling::{self, Origin};
use super::{Happening, SessionActor};
use crate::events::{Correlation, EventSink};
use crate::logging::chain;
use crate::world::unix_secs;

/// How often the watermark goes to the database at most.
const WATERMARK_EVERY: Duration = Duration::from_secs(5);
/// Messages asked for at once when catching up, and how many times.
const CATCH_UP_PAGE: u32 = 200;
const CATCH_UP_PAGES: usize = 50;
/// Seconds before the watermark that are looked at again: WhatsApp's clock has whole seconds and messages come out of order.
const CATCH_UP_OVERLAP_SECS: u64 = 120;
/// WhatsApp's pairing code lives this long: measured 3 min 15 s, told a little shorter.
const LINK_CODE_LIFE: Duration = Duration::from_secs(180);

#[derive(Debug, Default)]
pub(super) struct Watermark {
    /// Catch up from here.
    pub(super) from: u64,
    pub(super) confirmed: u64,
    pub(super) written: u64,
    written_at: Option<Instant>,
}

impl Watermark {
    /// Picks up where the last owner stopped, a little before it; a session that was never linked begins now.
    pub(super) fn resume(recorded: u64) -> Self {
        let from = if recorded > 0 { recorded.saturating_sub(CATCH_UP_OVERLAP_SECS) } else { unix_secs() };
        Self { from, ..Self::default() }
    }
}

impl SessionActor {
    pub(super) fn catch_up(&mut self) {
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
    pub(super) async fn page_event(&mut self, event: PageEvent) -> Option<Input> {
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
                self.copies.active(Instant::now());
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
    pub(super) async fn tell_code(&mut self) {
        let Some(phone) = self.pairing_phone.clone() else { return };
        if let Some((code, expires_at)) = self.untold_code.take() {
            let event = Event::SessionCode(session_code(&code, &phone, expires_at));
            self.emit(EventSink::fresh_id(), event, Correlation::default()).await;
        }
    }

    pub(super) async fn tell_message(&mut self, message: &PageMessage) {
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

    pub(super) fn confirmed(&mut self, at: Option<u64>) {
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
}

pub(super) fn session_code(code: &str, phone: &PhoneNumber, expires_at: Option<i64>) -> SessionCode {
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
