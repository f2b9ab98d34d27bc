//! How a session comes to a browser: what is done before, and that there are never two of them on one profile.
//!
//! One opening at a time: each waits until the one before has ended, and ends by itself when nobody wants a browser any
//! more. Closing the session waits for it too, so a copy that is being saved is finished, and nothing is left running.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wafleet_protocol::event::{Cause, SessionStatus};

use super::browser::{Home, Live, site_is_well};
use super::state::Input;
use super::{Happening, SessionActor};
use crate::lease::Lease;
use crate::logging::chain;
use crate::snapshot::Snapshots;

/// How long the end of a session waits for an opening that is under way; a save alone may take 25 s.
const OPENING_ENDS_WITHIN: Duration = Duration::from_secs(40);

/// What is done before the browser is opened.
pub(super) enum Errand {
    /// The old one, if there is one, ends, after a pause.
    Start { old: Option<Live>, after: Duration },
    /// The device was just linked: the tab is reopened, then the browser closed and its profile saved, because a device
    /// that was just linked should not be lost with its machine.
    Settle(Live),
    /// A safety copy is due.
    Copy(Live),
    /// The profile may be damaged: an older one takes its place. `doubtful`: only if a browser does well on an empty one.
    GoBack { old: Option<Live>, doubtful: bool },
}

/// The one opening that may be under way.
pub(super) struct Opening {
    slot: Arc<tokio::sync::Mutex<()>>,
    unwanted: CancellationToken,
    task: Option<tokio::task::AbortHandle>,
}

impl Opening {
    pub(super) fn new() -> Self {
        Self { slot: Arc::default(), unwanted: CancellationToken::new(), task: None }
    }
}

impl SessionActor {
    /// Opens a browser; answers with [`Happening::Opened`] or, for a session that is to go on as if nothing had been,
    /// [`Happening::Reopened`].
    pub(super) fn open(&mut self, errand: Errand) {
        let home = Home::new(&self.world, self.workspace, &self.session, &self.lease);
        let (snapshots, worth_saving) = (self.snapshots.clone(), self.worth_saving);
        // An opening that was given up is dropped, and its browser with it.
        if let Some(task) = self.opening.task.take() {
            task.abort();
        }
        let (slot, unwanted) = (Arc::clone(&self.opening.slot), self.opening.unwanted.clone());
        let task = self.work.spawn(async move {
            let _alone = slot.lock().await;
            let mut back = false;
            let farewell = match errand {
                Errand::Start { old, after } => {
                    if let Some(old) = old {
                        // A browser that still ends in good order is worth a copy, whatever was wrong with its page.
                        let snapshots = snapshots.as_ref().filter(|_| worth_saving);
                        old.close_and_save(snapshots).await;
                    }
                    tokio::time::sleep(after).await;
                    None
                }
                Errand::Settle(old) => {
                    // Reopening the tab is what was proven to bring the credentials to the disk; closing the whole
                    // browser this early was seen to lose them once.
                    if let Err(error) = old.page().reopen().await {
                        tracing::warn!(error = %chain(&error), "the tab was not reopened before the browser is closed");
                    }
                    Some(old.close_and_save(snapshots.as_ref()).await)
                }
                Errand::Copy(old) => Some(old.close_and_save(snapshots.as_ref()).await),
                Errand::GoBack { old, doubtful } => {
                    if let Some(old) = old {
                        old.close(true).await;
                    }
                    match go_back(&home, snapshots.as_ref(), doubtful).await {
                        Ok(true) => back = true,
                        // It showed a code, and there is nothing else to try.
                        Ok(false) if !doubtful => return Happening::Input(Input::NothingSaved),
                        Ok(false) => {}
                        Err(cause) => return Happening::Opened(Err(cause)),
                    }
                    None
                }
            };
            if unwanted.is_cancelled() {
                return Happening::Nothing;
            }
            let mut opened = Live::open(&home, snapshots.as_ref()).await;
            if let Ok(live) = &mut opened
                && back
            {
                live.set_older();
            }
            match (opened, farewell) {
                (Ok(live), _) if unwanted.is_cancelled() => {
                    live.close(true).await;
                    Happening::Nothing
                }
                (opened, Some(farewell)) => Happening::Reopened { opened, farewell },
                (opened, None) => Happening::Opened(opened),
            }
        });
        self.opening.task = Some(task);
    }

    /// The browser that somebody waited for is there; `None` if nobody does any more.
    pub(super) fn opened(&mut self, live: Live, input: Input) -> Option<Input> {
        if self.state.is_closing() || self.live.is_some() {
            self.work.spawn(async move {
                live.close(true).await;
                Happening::Nothing
            });
            return None;
        }
        self.live = Some(live);
        self.worth_saving = false; // until this browser has been connected, too
        Some(input)
    }

    /// Closes the browser, whatever it takes, and answers with [`Input::Closed`]. `politely`: its profile is saved.
    pub(super) fn close(&mut self, politely: bool) {
        self.lanes.close();
        let (live, snapshots) = (self.live.take(), self.snapshots.clone().filter(|_| politely));
        let unlinked = self.state.public().status == SessionStatus::LoggedOut;
        let worth_saving = self.worth_saving && !unlinked;
        self.opening.unwanted.cancel();
        let (slot, opening, lease) = (Arc::clone(&self.opening.slot), self.opening.task.take(), self.lease.clone());
        self.work.spawn(async move {
            if let Some(snapshots) = snapshots.as_ref().filter(|_| unlinked) {
                snapshots.unlinked().await;
            }
            match live {
                Some(live) if worth_saving && politely => drop(live.close_and_save(snapshots.as_ref()).await),
                Some(live) => drop(live.close(politely).await),
                None => {}
            }
            ended(&slot, opening, &lease, politely).await;
            Happening::Input(Input::Closed)
        });
    }
}

/// Puts an older profile in the place of one that may be damaged. Returns whether there was one, and reason to do so.
async fn go_back(home: &Home, snapshots: Option<&Snapshots>, doubtful: bool) -> Result<bool, Cause> {
    let Some(snapshots) = snapshots else { return Ok(false) };
    if doubtful && !site_is_well(home).await {
        tracing::warn!("a browser on an empty profile does no better, so the profile is not to blame");
        return Ok(false);
    }
    let failed = |error: &(dyn std::error::Error + 'static)| {
        tracing::error!(error = %chain(error), "no older profile could be restored; nothing is deleted");
        Cause::StartFailed
    };
    let session_dir = home.session_dir().map_err(|error| failed(&error))?;
    let back = snapshots.go_back(&session_dir).await.map_err(|error| failed(&error))?;
    if back {
        tracing::error!("the profile of this session is damaged; it is set aside, and an older one is in its place");
    }
    Ok(back)
}

/// Waits for the opening that is under way, or drops it.
async fn ended(
    slot: &tokio::sync::Mutex<()>,
    opening: Option<tokio::task::AbortHandle>,
    lease: &Lease,
    politely: bool,
) {
    let patience = if politely { OPENING_ENDS_WITHIN } else { Duration::ZERO };
    let in_time = tokio::select! {
        _alone = slot.lock() => true,
        () = tokio::time::sleep(patience) => false,
        () = lease.lost() => false,
    };
    if let (false, Some(opening)) = (in_time, opening) {
        opening.abort();
    }
}
