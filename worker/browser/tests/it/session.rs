//! A browser with a page of the imitation in it, and its events as facts to wait for.

use std::time::Duration;

use tokio::sync::mpsc;
use wafleet_browser::{Ack, Capabilities, Chromium, Draft, Message, Page, PageEvent, PageOptions, Status};
use wafleet_imitation::{Imitation, Options, Phone};

use crate::support::{PATIENCE, SessionDir};

/// The imitation with the waits of the real page made short.
pub(crate) fn quick() -> Options {
    let mut options = Options::default();
    options.page.qr_refresh_ms = 50;
    options.page.qr_after_logout_ms = 200;
    options
}

pub(crate) const ANNA: &str = "4915112345678";
pub(crate) const BERT: &str = "4915187654321";

/// An id in the form that pages make, from a number.
pub(crate) fn message_id(n: u32) -> String {
    format!("3EB0{n:018X}")
}

pub(crate) fn text(to: &str, n: u32, text: &str) -> Draft {
    Draft::text(to, message_id(n), text)
}

/// One session. What happened so far stays in `seen`.
pub(crate) struct Session {
    pub(crate) site: Imitation,
    pub(crate) anna: Phone,
    pub(crate) chromium: Chromium,
    pub(crate) page: Page,
    pub(crate) seen: Vec<PageEvent>,
    events: mpsc::Receiver<PageEvent>,
    pub(crate) dir: SessionDir,
}

impl Session {
    pub(crate) async fn open(options: Options) -> Self {
        let site = Imitation::start(options).await.expect("a site");
        let anna = site.phone(ANNA, "Anna");
        site.phone(BERT, "Bert");
        let dir = SessionDir::new();
        Self::on(site, anna, dir).await
    }

    /// A browser on a directory that may have been used before.
    pub(crate) async fn on(site: Imitation, anna: Phone, dir: SessionDir) -> Self {
        let chromium = Chromium::launch(&dir.options()).await.expect("launched");
        let (page, events) = Page::open(&chromium, page_options(&site)).await.expect("opened");
        Session { site, anna, chromium, page, seen: Vec::new(), events, dir }
    }

    /// Linked by a scan, and ready.
    pub(crate) async fn linked(options: Options) -> Self {
        let mut session = Self::open(options).await;
        let code = session.qr().await;
        session.anna.scan(&code).await.expect("scanned");
        session.online().await;
        session.ready().await;
        session
    }

    /// Waits for an event that has not been waited for yet.
    pub(crate) async fn wait<T>(&mut self, what: &str, mut wanted: impl FnMut(&PageEvent) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let event = self.events.recv().await.unwrap_or_else(|| panic!("the events ended before: {what}"));
                let found = wanted(&event);
                self.seen.push(event);
                if let Some(found) = found {
                    return found;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("never: {what}; seen: {:#?}", self.seen),
        }
    }

    pub(crate) async fn qr(&mut self) -> String {
        self.wait("a code", |event| match event {
            PageEvent::Qr { code, .. } => Some(code.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn state(&mut self, what: &str, mut wanted: impl FnMut(&Status) -> bool) -> Status {
        self.wait(what, |event| match event {
            PageEvent::State(status) if wanted(status) => Some(status.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn online(&mut self) -> Status {
        self.state("online", Status::is_online).await
    }

    pub(crate) async fn ready(&mut self) -> Capabilities {
        if let Some(capabilities) =
            self.seen.iter().rev().take_while(|event| **event != PageEvent::Loading).find_map(ready)
        {
            return capabilities;
        }
        self.wait("ready", ready).await
    }

    pub(crate) async fn message(&mut self, text: &str) -> Message {
        self.wait("a message", |event| match event {
            PageEvent::Message(message) if message.text.as_deref() == Some(text) => Some(message.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn ack(&mut self, key: &str, wanted: impl Fn(i8) -> bool) -> Ack {
        self.wait("an ack", |event| match event {
            PageEvent::Ack(ack) if wanted(ack.ack) && ack.keys.iter().any(|k| k == key) => Some(ack.clone()),
            _ => None,
        })
        .await
    }

    /// All events until nothing has come for a moment; for tests that say what must *not* happen.
    pub(crate) async fn quiet(&mut self, moment: Duration) {
        while let Ok(Some(event)) = tokio::time::timeout(moment, self.events.recv()).await {
            self.seen.push(event);
        }
    }

    /// Ends the browser with SIGKILL and starts another on the same directory.
    pub(crate) async fn kill_and_reopen(self) -> Self {
        self.chromium.kill();
        self.chromium.close().await;
        Self::on(self.site, self.anna, self.dir).await
    }

    pub(crate) async fn close(self) {
        self.chromium.close().await;
        self.site.stop().await;
    }
}

fn ready(event: &PageEvent) -> Option<Capabilities> {
    match event {
        PageEvent::Ready(capabilities) => Some(capabilities.clone()),
        _ => None,
    }
}

pub(crate) fn page_options(site: &Imitation) -> PageOptions {
    PageOptions::new(site.url().parse().expect("a URL"))
}
