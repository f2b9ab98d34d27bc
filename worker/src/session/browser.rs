//! The browser of one session, from its profile directory to its end.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use wafleet_browser::{Chromium, End, LaunchOptions, Page, PageEvent, PageOptions};
use wafleet_protocol::event::Cause;
use wafleet_protocol::id::{SessionId, WorkspaceId};

use crate::config::Browser;
use crate::lease::Lease;
use crate::leash::{Hold, Leash};
use crate::logging::chain;
use crate::snapshot::Snapshots;

/// How often the page is told until when the session is owned.
const OWNERSHIP_EVERY: Duration = Duration::from_secs(1);
/// Mode of every directory of a profile: nobody else reads it.
const PRIVATE: u32 = 0o700;

/// A running browser with its page.
pub(crate) struct Live {
    chromium: Chromium,
    page: Page,
    events: mpsc::Receiver<PageEvent>,
    ownership: tokio::task::JoinHandle<()>,
    lease: Lease,
    _hold: Hold,
    session_dir: PathBuf,
}

impl Live {
    /// Starts Chromium on the session's newest profile and opens the site.
    ///
    /// # Errors
    /// The cause to tell; the log has the rest.
    pub(crate) async fn open(
        browser: &Browser,
        profile_root: &Path,
        workspace: WorkspaceId,
        session: &SessionId,
        lease: &Lease,
        leash: &Leash,
        snapshots: Option<&Snapshots>,
    ) -> Result<Self, Cause> {
        let session_dir = session_dir(profile_root, workspace, session).map_err(|error| {
            tracing::error!(error = %chain(&error), root = %profile_root.display(), "no profile directory");
            Cause::StartFailed
        })?;
        if let Some(snapshots) = snapshots {
            snapshots.prepare(&session_dir).await.map_err(|error| {
                tracing::error!(error = %chain(&error), "the saved profile of this session cannot be used; nothing is deleted");
                Cause::StartFailed
            })?;
        }
        let options = LaunchOptions {
            executable: browser.executable.clone(),
            flavor: browser.flavor,
            sandbox: browser.sandbox,
            session_dir: session_dir.clone(),
            extra_args: browser.extra_args.clone(),
        };
        let chromium = Chromium::launch(&options).await.map_err(|error| {
            tracing::error!(error = %chain(&error), "the browser did not start");
            Cause::StartFailed
        })?;
        // Before the page: until here nothing of the session runs in it.
        let hold = match leash.hold(chromium.pid(), lease.clone()).await {
            Ok(hold) => hold,
            Err(error) => {
                tracing::error!(error = %chain(&error), "a browser without a leash is not used");
                chromium.close().await;
                return Err(Cause::StartFailed);
            }
        };
        let options = PageOptions {
            url: browser.site.clone(),
            bundle: browser.bundle.clone(),
            call_timeout: browser.call_timeout,
            quiet: browser.quiet,
        };
        match Page::open(&chromium, options).await {
            Ok((page, events)) => {
                let ownership = tokio::spawn(tell_ownership(page.clone(), lease.clone()));
                Ok(Self { chromium, page, events, ownership, lease: lease.clone(), _hold: hold, session_dir })
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the page did not open");
                chromium.close().await;
                Err(Cause::PageTimeout)
            }
        }
    }

    /// A handle to the page.
    pub(crate) fn page(&self) -> Page {
        self.page.clone()
    }

    /// What happened in the page next. `None` once the browser is gone. Cancel-safe.
    pub(crate) async fn next_event(&mut self) -> Option<PageEvent> {
        self.events.recv().await
    }

    /// Ends the browser in good order and saves its profile. One that did not end so is not saved: its last writes may be
    /// missing, and the next browser on it heals what can be healed. Returns whether it was saved.
    pub(crate) async fn close_and_save(self, snapshots: Option<&Snapshots>) -> bool {
        let session_dir = self.session_dir.clone();
        let end = self.close(true).await;
        match snapshots {
            Some(snapshots) if end != End::Killed => snapshots.save(&session_dir).await,
            Some(_) => {
                tracing::warn!("the browser had to be killed; its profile is not saved");
                false
            }
            None => false,
        }
    }

    /// Ends the browser and waits until it is gone. `politely`: it may write its state down first.
    pub(crate) async fn close(self, politely: bool) -> End {
        self.ownership.abort();
        if !politely {
            self.chromium.kill();
        }
        let pid = self.chromium.pid();
        let closing = self.chromium.close();
        tokio::pin!(closing);
        let end = tokio::select! {
            end = &mut closing => end,
            // No time left for politeness: another worker may start a browser on this session.
            () = self.lease.lost() => {
                kill_group(pid);
                closing.await
            }
        };
        tracing::debug!(?end, "browser closed");
        end
    }
}

/// Kills a browser with all its processes: it leads its own process group.
fn kill_group(pid: u32) {
    use rustix::process::{Pid, Signal, kill_process_group};
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, Signal::KILL); // gone already is as good
    }
}

/// The page refuses to send once ownership cannot be proven any more: it must know until when it can.
async fn tell_ownership(page: Page, lease: Lease) {
    loop {
        page.owned_until(SystemTime::now() + lease.remaining());
        tokio::time::sleep(OWNERSHIP_EVERY).await;
    }
}

/// `<root>/<workspace>/<session>`, made if needed, for nobody but us. The ids cannot leave the root: their types forbid it.
fn session_dir(root: &Path, workspace: WorkspaceId, session: &SessionId) -> std::io::Result<PathBuf> {
    let dir = root.join(workspace.to_string()).join(session.as_str());
    std::fs::DirBuilder::new().recursive(true).mode(PRIVATE).create(&dir)?;
    for part in [root.join(workspace.to_string()), dir.clone()] {
        std::fs::set_permissions(part, std::fs::Permissions::from_mode(PRIVATE))?;
    }
    Ok(dir)
}
