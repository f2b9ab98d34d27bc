//! The driver of the one tab: typed calls into the page, [`PageEvent`]s out of it.

mod model;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use url::Url;

use crate::{CdpError, Chromium};

pub use model::{Ack, Capabilities, Me, Message, MessageSource, PageEvent, SendText, Sent, Status};

/// How a page is opened.
#[derive(Debug, Clone)]
pub struct PageOptions {
    /// What to open, `https://web.whatsapp.com/` in earnest.
    pub url: Url,
    /// The in-page adapter, [`built_in_bundle`] unless it is replaced.
    pub bundle: Arc<str>,
    /// How long one call may take inside the page.
    pub call_timeout: Duration,
}

impl PageOptions {
    /// The built-in bundle and 30 s for a call.
    pub fn new(url: Url) -> Self {
        PageOptions { url, bundle: built_in_bundle().into(), call_timeout: Duration::from_secs(30) }
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

/// A handle to the one tab of a session. Clones drive the same tab; it ends with the browser.
#[derive(Debug, Clone)]
pub struct Page {}

impl Page {
    /// Opens the address in a tab and keeps the adapter in it, through every later load.
    ///
    /// The receiver must be drained; it ends after [`PageEvent::Detached`].
    pub async fn open(
        _chromium: &Chromium,
        _options: PageOptions,
    ) -> Result<(Page, mpsc::Receiver<PageEvent>), PageError> {
        todo!()
    }

    /// Where the page stands now.
    pub async fn status(&self) -> Result<Status, CallError> {
        todo!()
    }

    /// Loads the page again in the same tab. [`PageEvent::Loading`] follows.
    pub async fn reload(&self) -> Result<(), CallError> {
        todo!()
    }

    /// Closes the tab and opens the address in a new one; the event receiver stays the same.
    ///
    /// Closing is what makes Chromium write the page's `localStorage` to disk.
    pub async fn reopen(&self) -> Result<(), CallError> {
        todo!()
    }

    /// Asks for a new series of codes.
    pub async fn refresh_qr(&self) -> Result<(), CallError> {
        todo!()
    }

    /// Asks for the eight characters to type on the phone whose number is `phone`, in E.164 digits.
    pub async fn link_code(&self, _phone: &str) -> Result<String, CallError> {
        todo!()
    }

    /// Sends a text, unless the page already holds a message of this id.
    pub async fn send_text(&self, _message: &SendText) -> Result<Sent, CallError> {
        todo!()
    }

    /// Looks up an own message by its id.
    pub async fn find_message(&self, _to: &str, _message_id: &str) -> Result<Option<Sent>, CallError> {
        todo!()
    }

    /// Unlinks this device and waits until the page is back at its QR.
    pub async fn logout(&self) -> Result<(), CallError> {
        todo!()
    }

    /// What the page's store holds from `unix_secs` on, oldest first, at most `limit`.
    pub async fn messages_since(&self, _unix_secs: i64, _limit: u32) -> Result<Vec<Message>, CallError> {
        todo!()
    }

    /// Says until when the caller owns the session: after it the page refuses to send (`not_owner`).
    ///
    /// To be called at each renewal of the lease. Never called, only the worker's own life counts:
    /// the page refuses 12 s after this process last ran.
    pub fn owned_until(&self, _deadline: SystemTime) {
        todo!()
    }
}

/// The in-page adapter that was built with this crate.
pub fn built_in_bundle() -> &'static str {
    ""
}
