//! The driver of the one tab: typed calls into the page, [`PageEvent`]s out of it.
//!
//! A task owns the tab; [`Page`] is the handle to it. Calls go to the adapter, a piece of
//! JavaScript that the task puts into every document that is loaded; the adapter's events come
//! back through one binding. What goes wrong is noticed within [`CRASH_NOTICED_WITHIN`],
//! [`DETACHED_NOTICED_WITHIN`] and [`HANG_NOTICED_WITHIN`].

mod document;
mod driver;
mod files;
mod heartbeat;
mod local_storage;
mod model;
mod pulse;
mod tab;
mod wire;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use url::Url;

use crate::{CdpError, Chromium};

use document::Document;
use driver::{Driver, Published, Request};
use tab::Setup;

pub use files::PageFile;
pub use model::{
    Ack, Call, Capabilities, Card, Draft, DraftContent, GroupChange, GroupDeed, GroupSetting, GroupUpdate, Location,
    Me, Media, Message, MessageSource, PageEvent, Person, Poll, Presence, Quoted, Reaction, Sent, Status, VisitingCard,
    Vote,
};

/// A tab whose process ends is noticed within this time; Chromium says it in 0.2–0.3 s.
pub const CRASH_NOTICED_WITHIN: Duration = Duration::from_secs(2);

/// A browser that ends, or whose connection ends, is noticed within this time: the pipe says it at once.
pub const DETACHED_NOTICED_WITHIN: Duration = Duration::from_secs(1);

/// A page or a browser that stands still is noticed within this time: a heartbeat every 5 s, two
/// silences of 5 s (2 s for the browser), then 2 s for the attempt to free the page and 2 s to see
/// whether it helped.
pub const HANG_NOTICED_WITHIN: Duration = Duration::from_secs(20);

/// Events that may wait for their reader. A reader that lets them wait for longer than the
/// connection can hold more makes the page be loaded again.
const EVENT_QUEUE: usize = 1024;

/// Bytes in a second that an upload is expected to make at least: what it may take is added to the time of a call.
const SLOWEST_UPLOAD: u64 = 256 * 1024;

/// Requests to the driver that may wait; each of them holds up the next anyway.
const REQUEST_QUEUE: usize = 8;

/// After an own logout WhatsApp Web clears its databases and is back at its codes in a few seconds.
const LOGOUT_WITHIN: Duration = Duration::from_secs(45);

/// How a page is opened.
#[derive(Debug, Clone)]
pub struct PageOptions {
    /// What to open, `https://web.whatsapp.com/` in earnest.
    pub url: Url,
    /// The in-page adapter, [`built_in_bundle`] unless it is replaced.
    pub bundle: Arc<str>,
    /// How long one call may take inside the page.
    pub call_timeout: Duration,
    /// After so long without a sign of WhatsApp's server it is asked for one; see [`silence_noticed_within`].
    pub quiet: Duration,
    /// An own message that WhatsApp's server has not acknowledged for so long is told as [`PageEvent::Stalled`].
    pub stalled: Duration,
}

/// A line that looks open and carries nothing is noticed within this time: the quiet time, two questions of 15 s each, and
/// a second for each look at the clock. The page's own watch is most often faster, and then redials by itself.
pub fn silence_noticed_within(quiet: Duration) -> Duration {
    quiet + Duration::from_secs(2 * (15 + 1))
}

impl PageOptions {
    /// The built-in bundle, 30 s for a call, a question after 90 s without a sign of the server, and 60 s for an ack.
    pub fn new(url: Url) -> Self {
        let (call_timeout, quiet) = (Duration::from_secs(30), Duration::from_secs(90));
        let stalled = Duration::from_secs(60);
        PageOptions { url, bundle: built_in_bundle().into(), call_timeout, quiet, stalled }
    }
}

/// A page could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The browser refused or did not answer.
    #[error("the browser could not open a page")]
    Browser(#[from] CdpError),
    /// The address could not be loaded.
    #[error("the address could not be loaded: {0}")]
    Navigation(String),
}

/// A call into the page gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The page said no.
    #[error("{name}: {message}")]
    Page {
        /// The error's name: `DuplicateMessageError`, `WPPError`, `NotOwner`, …
        name: String,
        /// A code to switch on, where there is one: `no_such_number`, `not_owner`, `send_failed`, `chat_not_found`, …
        code: Option<String>,
        /// What it said.
        message: String,
    },
    /// No answer in time. The call may have had its effect.
    #[error("the page did not answer in time")]
    Timeout,
    /// The document, the tab or the browser went away during the call. It may have had its effect.
    #[error("the page went away during the call")]
    Gone,
    /// The adapter is not in the page (yet). The call had no effect.
    #[error("the page is not ready")]
    NotReady,
}

/// A handle to the one tab of a session. Clones drive the same tab; when the last one is dropped,
/// the tab is left alone and the events end.
#[derive(Debug, Clone)]
pub struct Page {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    requests: mpsc::Sender<Request>,
    document: watch::Receiver<Option<Document>>,
    status: watch::Receiver<Status>,
    owned_until: watch::Sender<Option<SystemTime>>,
    call_timeout: Duration,
}

impl Page {
    /// Opens the address in a tab and keeps the adapter in it, through every later load.
    ///
    /// Returns when the site has answered; the page's state and its code follow as events. The
    /// receiver must be drained. It ends after [`PageEvent::Detached`].
    ///
    /// # Errors
    /// When the browser fails, or the address cannot be loaded.
    pub async fn open(
        chromium: &Chromium,
        options: PageOptions,
    ) -> Result<(Page, mpsc::Receiver<PageEvent>), PageError> {
        // The page cannot know the name beforehand, and the adapter removes it from its sight.
        let setup = Setup {
            binding: format!("b{:016x}", RandomState::new().build_hasher().finish()),
            identity: chromium.page_identity(),
        };
        let (document, document_seen) = watch::channel(None);
        let (status, status_seen) = watch::channel(Status::default());
        let (owned_until, owned_until_seen) = watch::channel(None);
        let (events, event_queue) = mpsc::channel(EVENT_QUEUE);
        let (requests, request_queue) = mpsc::channel(REQUEST_QUEUE);
        let call_timeout = options.call_timeout;
        let published = Published { document, status };
        let driver = Driver::open(chromium, setup, options, published, events, request_queue, owned_until_seen).await?;
        tokio::spawn(driver.run());
        let shared = Shared { requests, document: document_seen, status: status_seen, owned_until, call_timeout };
        Ok((Page { shared: Arc::new(shared) }, event_queue))
    }

    /// Where the page stands now.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn status(&self) -> Result<Status, CallError> {
        self.call("status", json!(null)).await
    }

    /// Loads the page again in the same tab, also after a crash. [`PageEvent::Loading`] follows.
    ///
    /// # Errors
    /// [`CallError::Gone`] when the tab or the browser is gone, [`CallError::Timeout`].
    pub async fn reload(&self) -> Result<(), CallError> {
        self.request(Request::Reload).await
    }

    /// Closes the tab and opens the address in a new one; the event receiver stays the same.
    ///
    /// Closing makes Chromium write the page's `localStorage` to disk, where a part of the
    /// credentials lies: without it a kill some 30 s after pairing was measured to lose the session.
    /// When this returns, they are written.
    ///
    /// # Errors
    /// As [`reload`](Self::reload), and code `navigation_failed` when the address cannot be loaded.
    pub async fn reopen(&self) -> Result<(), CallError> {
        self.request(Request::Reopen).await
    }

    /// Asks for a new series of codes; the first follows as [`PageEvent::Qr`].
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn refresh_qr(&self) -> Result<(), CallError> {
        self.call("refresh_qr", json!(null)).await
    }

    /// Asks for the eight characters to type on the phone whose number is `phone`, in E.164 digits.
    ///
    /// The code also comes as [`PageEvent::LinkCode`], and so do its replacements.
    ///
    /// # Errors
    /// Codes `invalid_phone` and `cannot_get_code_for_already_authenticated`, and see [`CallError`].
    pub async fn link_code(&self, phone: &str) -> Result<String, CallError> {
        self.call("link_code", json!({ "phone": phone })).await
    }

    /// Hands the page the answer to a request for a passkey: WebAuthn's `AuthenticationResponseJSON`, or `None`, which
    /// declines. When this returns, the page has it; what WhatsApp says to it follows as a state or a new code.
    ///
    /// # Errors
    /// Codes `no_such_request`, `bad_assertion`, `wrong_challenge`, `wrong_origin` and `wrong_credential`: the page has
    /// not heard of it, and still waits if it did. And see [`CallError`].
    pub async fn answer_passkey(&self, id: &str, assertion: Option<&serde_json::Value>) -> Result<(), CallError> {
        self.assert_owned()?;
        self.call("answer_passkey", json!({ "id": id, "assertion": assertion })).await
    }

    /// Sends a message, unless the page already holds one of this id, and waits for the server's ack.
    ///
    /// When the ack does not come within the call's time, the answer has ack 0: the page holds the
    /// message and sends it as soon as it can. The same call later finds it.
    ///
    /// # Errors
    /// Without effect: codes `no_such_number`, `invalid_recipient`, `invalid_mention`, `invalid_message_id`,
    /// `invalid_message_key`, `message_not_found`, `quoted_msg_can_not_reply`, `not_forwardable`,
    /// `chat_not_found`, `not_owner`, `lookup_failed`, and [`CallError::NotReady`]. Given up by
    /// WhatsApp: `send_failed`. Perhaps sent: [`CallError::Timeout`] and [`CallError::Gone`]; then
    /// [`find_message`](Self::find_message), or the same call again, tells.
    pub async fn send(&self, message: &Draft) -> Result<Sent, CallError> {
        self.assert_owned()?;
        let upload = match &message.content {
            DraftContent::Media { size, .. } => Duration::from_secs(size / SLOWEST_UPLOAD),
            _ => Duration::ZERO,
        };
        self.document()?.call("send", message, self.shared.call_timeout + upload).await
    }

    /// Does what a command of this type asks for with this data; doing it again changes nothing more. The answer's form
    /// follows from the type.
    ///
    /// # Errors
    /// Codes `message_not_found`, `chat_not_found`, `no_such_number`, `not_allowed`, `not_done`, `not_owner`,
    /// `unknown_call` and those of WhatsApp's page; and see [`CallError`].
    pub async fn act(&self, type_: &str, data: impl Serialize) -> Result<Value, CallError> {
        self.assert_owned()?;
        self.call("act", json!({ "type": type_, "data": serde_json::to_value(data).unwrap_or_default() })).await
    }

    /// Looks up an own message by its id, in memory and in the page's database.
    ///
    /// # Errors
    /// Codes `invalid_recipient`, `invalid_message_id` and `lookup_failed`, and see [`CallError`].
    pub async fn find_message(&self, to: &str, message_id: &str) -> Result<Option<Sent>, CallError> {
        self.call("find_message", json!({ "to": to, "message_id": message_id })).await
    }

    /// Puts a file of this machine into the page and returns the name under which one call may use it. The browser reads it
    /// from the disk while it is sent, so it must stay there until then.
    ///
    /// # Errors
    /// See [`CallError`]; nothing was sent.
    pub async fn attach(&self, file: &std::path::Path) -> Result<String, CallError> {
        self.document()?.attach(file).await
    }

    /// The file of a message, which the page downloads and decrypts if it does not have it.
    ///
    /// # Errors
    /// Codes `media_not_found`, `message_not_contains_media` and `message_not_found`, and see [`CallError`].
    pub async fn file_of(&self, key: &str, within: Duration) -> Result<PageFile, CallError> {
        self.document()?.file_of(key, within).await
    }

    /// Unlinks this device and waits until the page is back at its codes.
    ///
    /// # Errors
    /// [`CallError::Timeout`] when it is not back after 45 s, and see [`CallError`].
    pub async fn logout(&self) -> Result<(), CallError> {
        if !self.status().await?.registered {
            return Ok(());
        }
        self.assert_owned()?;
        let mut status = self.shared.status.clone();
        match self.call::<()>("logout", json!(null)).await {
            // The page loads itself anew when it is done; its answer may get lost in that.
            Ok(()) | Err(CallError::Gone | CallError::Timeout) => {}
            Err(error) => return Err(error),
        }
        let out = |status: &Status| !status.registered && status.stream_mode.as_deref() == Some("QR");
        match tokio::time::timeout(LOGOUT_WITHIN, status.wait_for(out)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(CallError::Gone),
            Err(_) => Err(CallError::Timeout),
        }
    }

    /// Looks up own messages by their ids alone, in the chats in which anything happened from `unix_secs` on.
    ///
    /// # Errors
    /// Codes `invalid_message_id` and `lookup_failed`, and see [`CallError`].
    pub async fn find_own(&self, ids: &[String], unix_secs: i64) -> Result<Vec<Sent>, CallError> {
        self.call("find_own", json!({ "ids": ids, "since": unix_secs })).await
    }

    /// What the page's store holds from the second `unix_secs` on, oldest first, at most `limit`. Messages of one second
    /// are in the order of their keys; of `unix_secs` itself only those behind the key `after` are given, so that the
    /// last message of one answer is where the next one goes on.
    ///
    /// For own messages [`Message::source`] is only known if they were sent since the last load.
    ///
    /// # Errors
    /// See [`CallError`]. A chat that cannot be read is left out and reported as [`PageEvent::Fault`].
    pub async fn messages_since(
        &self,
        unix_secs: i64,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Message>, CallError> {
        self.call("messages_since", json!({ "since": unix_secs, "after": after, "limit": limit })).await
    }

    /// Says until when the caller owns the session: after it the page refuses to send (`not_owner`).
    ///
    /// To be called at each renewal of the lease. Worker and page compare with the same clock, so a
    /// word that was held up on its way extends nothing. Never called, only the worker's own life
    /// counts: the page refuses 12 s after this process last ran.
    pub fn owned_until(&self, deadline: SystemTime) {
        self.shared.owned_until.send_replace(Some(deadline));
    }

    fn assert_owned(&self) -> Result<(), CallError> {
        match *self.shared.owned_until.borrow() {
            Some(until) if until < SystemTime::now() => Err(CallError::Page {
                name: "NotOwner".into(),
                code: Some("not_owner".into()),
                message: "the session is no longer owned".into(),
            }),
            _ => Ok(()),
        }
    }

    async fn call<T: DeserializeOwned>(&self, name: &str, arguments: impl Serialize) -> Result<T, CallError> {
        self.document()?.call(name, arguments, self.shared.call_timeout).await
    }

    fn document(&self) -> Result<Document, CallError> {
        self.shared.document.borrow().clone().ok_or(CallError::NotReady)
    }

    async fn request(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<(), CallError>>) -> Request,
    ) -> Result<(), CallError> {
        let (reply, answer) = oneshot::channel();
        self.shared.requests.send(request(reply)).await.map_err(|_| CallError::Gone)?;
        answer.await.unwrap_or(Err(CallError::Gone))
    }
}

/// The in-page adapter that was built with this crate.
///
/// A replacement must be a script that defines `wafleetAdapter.install(options)`, whose result has
/// the methods `call(name, arguments, timeout)` and `beat(ownedUntil)`.
pub fn built_in_bundle() -> &'static str {
    include_str!(concat!(env!("OUT_DIR"), "/page/dist/adapter.js"))
}
