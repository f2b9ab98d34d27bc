//! The cloud: accounts, their linked devices, the connections of pages, and what travels between them.
//!
//! [`State`] holds all of it and is plain data: it never waits, it is told the time, and it speaks to a page by putting
//! frames into that connection's outbox. [`Cloud`] is the shared handle: it locks the state for one short change at a
//! time, and runs the clock that makes planned things happen.
//!
//! A lock instead of an actor, because tests ask and change things from synchronous code and want the effect to have
//! happened when the call returns; nothing ever waits while it holds the lock.

mod account;
mod agenda;
mod connection;
mod groups;
mod happenings;
mod history;
mod labels;
mod linking;
mod messages;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

pub use account::{DeviceId, Restrict};
pub(crate) use connection::{ConnectionId, Conversation, Mode};
pub(crate) use state::State;

/// Why the far end could not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// No page shows this QR code (any more).
    #[error("no page shows this QR code")]
    NoSuchQr,
    /// The code's reference is known, but its keys are not the page's: it was assembled wrongly.
    #[error("the keys in the QR code are not those of the page that shows it")]
    WrongKeys,
    /// No page waits for this pairing code, or it has expired.
    #[error("no page waits for this pairing code")]
    NoSuchPairingCode,
    /// The pairing code was made for another phone number.
    #[error("the pairing code was made for another phone number")]
    ForeignPairingCode,
    /// The page did not store its credentials in time.
    #[error("the page did not confirm the link within {} s", .0.as_secs())]
    NotConfirmed(Duration),
    /// The account has no device that is connected right now.
    #[error("no device of {0} is connected")]
    NotConnected(crate::ids::Number),
    /// No message with this id was sent to this account.
    #[error("no message with this id was sent to this account")]
    NoSuchMessage,
    /// There is no such fault.
    #[error("there is no fault called {0:?}")]
    NoSuchFault(String),
    /// What was waited for did not happen.
    #[error("{what} did not happen within {} s", .within.as_secs_f32())]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        within: Duration,
    },
}

/// One moment, on both clocks the cloud uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) at: Instant,
    pub(crate) unix_ms: u64,
}

impl Moment {
    fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { at: Instant::now(), unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) }
    }

    pub(crate) fn unix(&self) -> u64 {
        self.unix_ms / 1000
    }
}

/// The shared handle on the state of the far end. Cloning it gives another handle on the same state.
#[derive(Clone, Debug)]
pub(crate) struct Cloud {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something was planned: the clock looks at the agenda again.
    planned: Notify,
    /// Counts changes, so that waiters can look again.
    changes: watch::Sender<u64>,
}

impl Cloud {
    pub(crate) fn new(state: State) -> Self {
        let shared = Shared { state: Mutex::new(state), planned: Notify::new(), changes: watch::Sender::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// Looks at the state.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the state, then tells the clock and everybody who waits.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State, Moment) -> T) -> T {
        let result = change(&mut self.lock(), Moment::now());
        self.shared.planned.notify_one();
        self.shared.changes.send_modify(|count| *count += 1);
        result
    }

    /// Waits until `find` finds something.
    ///
    /// # Errors
    /// [`ControlError::Timeout`] after `within`, naming `what`.
    pub(crate) async fn wait_for<T>(
        &self,
        what: &'static str,
        within: Duration,
        mut find: impl FnMut(&State) -> Option<T>,
    ) -> Result<T, ControlError> {
        let mut changes = self.shared.changes.subscribe();
        let search = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = self.look(&mut find) {
                    return found;
                }
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await; // cannot happen: `self` holds the sender
                }
            }
        };
        timeout(within, search).await.map_err(|_| ControlError::Timeout { what, within })
    }

    /// Runs planned deeds when they are due. Never returns; whoever spawned it aborts it.
    pub(crate) async fn run_clock(self) {
        loop {
            match self.look(State::next_deed) {
                Some(at) => tokio::select! {
                    () = sleep_until(at) => self.change(State::do_what_is_due),
                    () = self.shared.planned.notified() => {}
                },
                None => self.shared.planned.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of one test thread inside a change must not hide behind a poisoned lock in all others.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
