//! A call that comes in: rejected at once where the session's settings say so, and told with what became of it.
//!
//! What the settings say is read for every call, so they hold from the moment somebody changes them, whoever owns the session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wafleet_browser::{Call, Page};
use wafleet_protocol::command::{Action, Calls, RejectCall};

use super::browser::Live;
use super::{Happening, SessionActor, acting, telling};
use crate::database::Database;
use crate::events::{Correlation, EmitError};
use crate::lease::Lease;
use crate::logging::chain;
use crate::settle::Outcome;

/// How long the database may take to say what becomes of a call: it rings meanwhile.
const SETTING_WITHIN: Duration = Duration::from_secs(2);
/// How often the page is asked to reject a call.
const TRIES: u32 = 3;
/// Pause before it is asked again.
const PAUSE: Duration = Duration::from_secs(1);

impl SessionActor {
    /// Somebody calls.
    pub(super) fn called(&mut self, call: Call) {
        self.copies.active(Instant::now());
        let (_, event) = telling::call(&self.session, &call, false);
        self.tell_mappings(&telling::met(&event));
        let page = self.live.as_ref().map(Live::page);
        let (world, lease, session) = (self.world.clone(), self.lease.clone(), self.session.clone());
        let (sink, known) = (Arc::clone(&self.sink), self.calls);
        self.work.spawn(async move {
            let rejected = match page {
                Some(page)
                    if !call.group && setting(&world.database, session.as_str(), known).await == Calls::Reject =>
                {
                    reject(&lease, &page, &call.id).await
                }
                _ => false,
            };
            world.counters.count("calls", if rejected { "rejected" } else { "rang" });
            let (id, event) = telling::call(&session, &call, rejected);
            match sink.emit(id, event, Correlation::default()) {
                Ok(_) | Err(EmitError::Fenced(_)) => {}
                Err(error) => tracing::error!(error = %chain(&error), "a call could not be told"),
            }
            Happening::Nothing
        });
    }
}

/// What becomes of calls now, or did when the session was claimed if the database is away.
async fn setting(database: &Database, session: &str, known: Calls) -> Calls {
    match tokio::time::timeout(SETTING_WITHIN, database.calls(session)).await {
        Ok(Ok(calls)) => calls,
        Ok(Err(error)) => {
            tracing::warn!(error = %chain(&error), "what becomes of a call is not known; it is what it was");
            known
        }
        Err(_) => known,
    }
}

/// Ends a call that rings. Whether it did.
async fn reject(lease: &Lease, page: &Page, call: &str) -> bool {
    let Ok(call) = call.try_into() else { return false };
    let action = Action::RejectCall(RejectCall { call });
    for round in 0..TRIES {
        if round > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        match acting::act(lease, page, &action).await {
            Outcome::Succeeded(_) => return true,
            // It has ended, or somebody has taken it.
            Outcome::Failed(_) => return false,
            _ => {}
        }
    }
    tracing::warn!("a call could not be rejected; it rings on");
    false
}
