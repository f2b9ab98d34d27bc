//! Asking browser and page whether they are there, and freeing a page that is not.

use std::time::{Duration, SystemTime};

use chromiumoxide_cdp::cdp::browser_protocol::browser::GetVersionParams;
use chromiumoxide_cdp::cdp::js_protocol::runtime::{
    DiscardConsoleEntriesParams, EvaluateParams, TerminateExecutionParams,
};

use super::document::Document;
use super::pulse::{BROWSER_ANSWERS_IN, Beat, FREED_IN, PAGE_ANSWERS_IN};
use crate::{Cdp, CdpError};

/// One beat: what is asked, and of whom.
pub(super) struct Heartbeat {
    pub(super) cdp: Cdp,
    pub(super) session: String,
    /// The adapter, which is also told until when the session is owned.
    pub(super) document: Option<Document>,
    /// There is a page to ask.
    pub(super) live: bool,
    pub(super) owned_until: SystemTime,
    pub(super) clear_console: bool,
}

impl Heartbeat {
    /// What the browser and the page said.
    pub(super) async fn run(self) -> (Beat, Beat) {
        let browser = async { heard(&self.cdp.call(None, GetVersionParams::default(), BROWSER_ANSWERS_IN).await) };
        let (browser, page) = tokio::join!(browser, self.ask_page());
        if self.clear_console && page == Beat::Answered {
            let clear = DiscardConsoleEntriesParams::default();
            // Only memory is at stake.
            let _ = self.cdp.call(Some(&self.session), clear, BROWSER_ANSWERS_IN).await;
        }
        (browser, page)
    }

    async fn ask_page(&self) -> Beat {
        match &self.document {
            _ if !self.live => Beat::Absent,
            Some(document) => heard(&document.beat(self.owned_until, PAGE_ANSWERS_IN).await),
            None => answers(&self.cdp, &self.session, PAGE_ANSWERS_IN).await,
        }
    }
}

/// Makes the page drop what it runs; whether it answers then.
pub(super) async fn free(cdp: &Cdp, session: &str) -> bool {
    // Whether it helped shows in the next line.
    let _ = cdp.call(Some(session), TerminateExecutionParams::default(), FREED_IN).await;
    answers(cdp, session, FREED_IN).await == Beat::Answered
}

async fn answers(cdp: &Cdp, session: &str, within: Duration) -> Beat {
    heard(&cdp.call(Some(session), EvaluateParams::new("1+1"), within).await)
}

/// Any answer is a sign of life, a refusal too.
fn heard<T>(result: &Result<T, CdpError>) -> Beat {
    match result {
        Ok(_) | Err(CdpError::Refused { .. } | CdpError::Malformed { .. }) => Beat::Answered,
        Err(CdpError::Timeout { .. }) => Beat::Silent,
        Err(CdpError::Gone { .. }) => Beat::Absent,
    }
}
