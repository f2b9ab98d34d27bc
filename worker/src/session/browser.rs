//! The browser of one session, from its profile directory to its end.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use wafleet_browser::{Chromium, End, LaunchError, LaunchOptions, Page, PageEvent, PageOptions};
use wafleet_profile::archive::{self, Prune};
use wafleet_protocol::event::Cause;
use wafleet_protocol::id::{SessionId, WorkspaceId};

use crate::config::Browser;
use crate::lease::Lease;
use crate::leash::{Hold, Leash};
use crate::logging::chain;
use crate::snapshot::{Prepared, SCRATCH, Snapshots};
use crate::world::World;

/// How often the page is told until when the session is owned.
const OWNERSHIP_EVERY: Duration = Duration::from_secs(1);
/// Mode of every directory of a profile: nobody else reads it.
const PRIVATE: u32 = 0o700;

/// A browser on an empty profile shows its first code within this time: WhatsApp Web takes about 10 s on a busy machine.
const CODE_WITHIN: Duration = Duration::from_secs(45);

/// Where a session's browser lives, and how it is started.
#[derive(Clone)]
pub(crate) struct Home {
    browser: Browser,
    root: PathBuf,
    workspace: WorkspaceId,
    session: SessionId,
    quota: u64,
    lease: Lease,
    leash: Leash,
}

impl Home {
    pub(crate) fn new(world: &World, workspace: WorkspaceId, session: &SessionId, lease: &Lease) -> Self {
        let config = &world.config;
        let (browser, root) = (config.browser.clone(), config.profile_root.clone());
        let (lease, leash) = (lease.clone(), world.leash.clone());
        Self { browser, root, workspace, session: session.clone(), quota: config.profile_quota, lease, leash }
    }

    /// `<root>/<workspace>/<session>`, made if needed, for nobody but us. The ids cannot leave the root: their types forbid it.
    pub(crate) fn session_dir(&self) -> std::io::Result<PathBuf> {
        let workspace = self.root.join(self.workspace.to_string());
        let dir = workspace.join(self.session.as_str());
        std::fs::DirBuilder::new().recursive(true).mode(PRIVATE).create(&dir)?;
        for part in [&workspace, &dir] {
            std::fs::set_permissions(part, std::fs::Permissions::from_mode(PRIVATE))?;
        }
        Ok(dir)
    }

    /// A browser on this directory, on the worker's leash before anything of the session runs in it. The log says why not.
    async fn launch(&self, session_dir: PathBuf) -> Option<(Chromium, Hold)> {
        let options = LaunchOptions {
            executable: self.browser.executable.clone(),
            flavor: self.browser.flavor,
            sandbox: self.browser.sandbox,
            session_dir,
            extra_args: self.browser.extra_args.clone(),
        };
        let chromium = match Chromium::launch_while(&options, &|| self.lease.prove().is_ok()).await {
            Ok(chromium) => chromium,
            Err(LaunchError::NotOwned) => {
                tracing::info!("no browser is started: the lease was lost on the way to it");
                return None;
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "the browser did not start");
                return None;
            }
        };
        match self.leash.hold(chromium.pid(), self.lease.clone()).await {
            Ok(hold) => Some((chromium, hold)),
            Err(error) => {
                tracing::error!(error = %chain(&error), "a browser without a leash is not used");
                chromium.close().await;
                None
            }
        }
    }

    fn page_options(&self) -> PageOptions {
        PageOptions {
            url: self.browser.site.clone(),
            bundle: self.browser.bundle.clone(),
            call_timeout: self.browser.call_timeout,
            quiet: self.browser.quiet,
            stalled: self.browser.stalled,
        }
    }
}

/// What became of a browser's profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Farewell {
    pub(crate) saved: bool,
    /// The session's directory is too large, caches aside.
    pub(crate) over_quota: bool,
}

/// A running browser with its page.
pub(crate) struct Live {
    chromium: Chromium,
    page: Page,
    events: mpsc::Receiver<PageEvent>,
    ownership: tokio::task::JoinHandle<()>,
    lease: Lease,
    _hold: Hold,
    session_dir: PathBuf,
    quota: u64,
    older: bool,
}

impl Live {
    /// Starts Chromium on the session's newest profile and opens the site.
    ///
    /// # Errors
    /// The cause to tell; the log has the rest.
    pub(crate) async fn open(home: &Home, snapshots: Option<&Snapshots>) -> Result<Self, Cause> {
        let session_dir = home.session_dir().map_err(|error| {
            tracing::error!(error = %chain(&error), root = %home.root.display(), "no profile directory");
            Cause::StartFailed
        })?;
        let mut older = false;
        if let Some(snapshots) = snapshots {
            let prepared = snapshots.prepare(&session_dir).await.map_err(|error| {
                tracing::error!(error = %chain(&error), "the saved profile of this session cannot be used; nothing is deleted");
                Cause::StartFailed
            })?;
            older = prepared == Prepared::Older;
        }
        let (chromium, hold) = home.launch(session_dir.clone()).await.ok_or(Cause::StartFailed)?;
        match Page::open(&chromium, home.page_options()).await {
            Ok((page, events)) => {
                let ownership = tokio::spawn(tell_ownership(page.clone(), home.lease.clone()));
                let (lease, quota) = (home.lease.clone(), home.quota);
                Ok(Self { chromium, page, events, ownership, lease, _hold: hold, session_dir, quota, older })
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the page did not open");
                chromium.close().await;
                Err(Cause::PageTimeout)
            }
        }
    }

    /// Whether its profile is older than it should be, because the newest one was damaged.
    pub(crate) fn is_older(&self) -> bool {
        self.older
    }

    /// See [`is_older`](Self::is_older).
    pub(crate) fn set_older(&mut self) {
        self.older = true;
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
    /// missing, and the next browser on it heals what can be healed.
    pub(crate) async fn close_and_save(self, snapshots: Option<&Snapshots>) -> Farewell {
        let (session_dir, quota) = (self.session_dir.clone(), self.quota);
        let end = self.close(true).await;
        let saved = match snapshots {
            Some(snapshots) if end != End::Killed => snapshots.save(&session_dir).await,
            Some(_) => {
                tracing::warn!("the browser had to be killed; its profile is not saved");
                false
            }
            None => false,
        };
        let over_quota = archive::size(&session_dir).is_ok_and(|bytes| bytes > quota);
        Farewell { saved, over_quota }
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
        // After a bad end everything stays as it is for the next start to look at.
        if end != End::Killed {
            let (session_dir, quota) = (self.session_dir, self.quota);
            let tidying = tokio::task::spawn_blocking(move || tidy(&session_dir, quota));
            if let Ok(Err(error)) = tidying.await {
                tracing::warn!(error = %chain(&error), "the caches of the closed browser are still there");
            }
        }
        end
    }
}

/// Takes away what the profile of a closed browser does not need: of its caches only when it is over its quota, because
/// without them a start costs more. What a linked device needs is never touched, whatever it weighs.
fn tidy(session_dir: &Path, quota: u64) -> std::io::Result<()> {
    let profile = session_dir.join("profile");
    let mut freed = archive::prune(&profile, Prune::Useless)?;
    if archive::size(session_dir)? > quota {
        let cache = session_dir.join("tmp/cache");
        freed += archive::prune(&profile, Prune::All)? + archive::size(&cache)?;
        match std::fs::remove_dir_all(cache) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let bytes = archive::size(session_dir)?;
        if bytes > quota {
            tracing::error!(
                bytes,
                quota,
                freed,
                "the session is over its quota even without caches; its profile is kept"
            );
            return Ok(());
        }
    }
    tracing::debug!(freed, "profile tidied");
    Ok(())
}

/// Whether Chromium works on this machine and the site answers it: a browser on an empty profile comes as far as a code. One
/// that does not on a session's own profile has to do with the profile then.
pub(crate) async fn site_is_well(home: &Home) -> bool {
    let Ok(session_dir) = home.session_dir() else { return false };
    let scratch = session_dir.join(format!("{SCRATCH}{:016x}", rand::random::<u64>()));
    let well = match home.launch(scratch.clone()).await {
        Some((chromium, _hold)) => {
            let well = shows_a_code(&chromium, home).await;
            chromium.close().await;
            well
        }
        None => false,
    };
    if let Err(error) = std::fs::remove_dir_all(&scratch)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(error = %chain(&error), "the scratch profile is still there");
    }
    well
}

async fn shows_a_code(chromium: &Chromium, home: &Home) -> bool {
    let Ok((_page, mut events)) = Page::open(chromium, home.page_options()).await else { return false };
    let shown = tokio::time::timeout(CODE_WITHIN, async {
        while let Some(event) = events.recv().await {
            if matches!(event, PageEvent::Qr { .. }) {
                return true;
            }
        }
        false
    });
    shown.await.unwrap_or(false)
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
