//! One Chromium: started in its own process group, watched, closed, killed.
//!
//! ```text
//!            launch                close / drop / SIGKILL of the worker
//!   (none) ────────▶ running ─────────────────────────────────────────▶ gone, state on disk
//!                       │  kill, crash
//!                       └───────────▶ gone; IndexedDB is copied aside before the next launch
//! ```
//!
//! Invariants: no process of a browser outlives its [`Chromium`] by more than the ladder in
//! [`Chromium::close`]; if the worker is killed, the end of the debugging pipe makes the browser
//! end by itself, with its state on disk, in about a second; nothing of it ever listens on a
//! network socket.

mod directory;
mod flags;
mod identity;
mod launch;
mod log_file;
mod process_table;
mod supervise;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use chromiumoxide_cdp::cdp::browser_protocol::browser::CloseParams;
use chromiumoxide_cdp::cdp::browser_protocol::emulation::SetUserAgentOverrideParams;

use crate::Cdp;

use identity::Version;
use supervise::{CLOSE_GRACE, INTERRUPT_GRACE, Supervised};

/// Which build of Chromium the executable is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// The full build, in its new headless mode.
    Chromium,
    /// `chromium-headless-shell`: 15–40 MB smaller, on older code that is easier to recognise.
    HeadlessShell,
}

impl Flavor {
    /// Where Debian puts the executable itself.
    pub fn debian_executable(self) -> &'static Path {
        Path::new(match self {
            Flavor::Chromium => "/usr/lib/chromium/chromium",
            Flavor::HeadlessShell => "/usr/lib/chromium/chromium-headless-shell",
        })
    }
}

/// Whether Chromium's own sandbox must work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandbox {
    /// Needs a user that is not root and user namespaces; without them the launch fails.
    Required,
    /// `--no-sandbox`, for development as root.
    Off,
}

/// How a Chromium is started.
#[derive(Debug, Clone)]
pub struct LaunchOptions {
    /// The browser's own executable, never a wrapper script; see [`Flavor::debian_executable`].
    pub executable: PathBuf,
    /// Which build it is.
    pub flavor: Flavor,
    /// Whether its sandbox must work.
    pub sandbox: Sandbox,
    /// The session's directory, absolute; `profile/`, `tmp/` and `chromium.log` are made below it.
    pub session_dir: PathBuf,
    /// More arguments, put behind the built-in ones; features are merged into the built-in lists.
    pub extra_args: Vec<String>,
}

/// A Chromium could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The executable is not there or cannot be read.
    #[error("no chromium at {path}")]
    NoExecutable {
        /// Where it should be.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        source: std::io::Error,
    },
    /// The executable is a script or something else that is not the browser itself.
    #[error("{0} is not an executable of chromium itself but a wrapper")]
    NotABinary(PathBuf),
    /// The session's directories could not be prepared.
    #[error("cannot prepare {path}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The caller does not own the session any more; nothing was started.
    #[error("the session is not ours any more")]
    NotOwned,
    /// Another process uses the profile and could not be ended.
    #[error("{0} is in use by a process that cannot be ended")]
    ProfileInUse(PathBuf),
    /// The process could not be started.
    #[error("cannot start chromium")]
    Spawn(#[source] std::io::Error),
    /// It ended before it answered.
    #[error("chromium ended at once ({exit}): {log}")]
    Ended {
        /// How it ended.
        exit: Exit,
        /// The end of what it wrote.
        log: String,
    },
    /// It did not answer in time and was killed.
    #[error("chromium did not answer within {0:?}")]
    NoAnswer(Duration),
}

/// How the browser process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Exit {
    /// The system did not say.
    const UNKNOWN: Exit = Exit { code: None, signal: None };
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        Exit { code: status.code(), signal: status.signal() }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(signal)) => write!(f, "signal {signal}"),
            (None, None) => f.write_str("no status"),
        }
    }
}

/// Which rung of the ladder ended the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// `Browser.close`: everything is on disk.
    Clean,
    /// SIGINT: everything is on disk.
    Interrupted,
    /// SIGKILL, or a crash before: the last writes may be lost. The next launch first copies
    /// IndexedDB aside.
    Killed,
}

/// A running Chromium, leader of a process group of its own.
///
/// Dropping it closes the connection, which makes the browser end in good order; what has not
/// ended 2 s later is interrupted and 5 s after that killed.
#[derive(Debug)]
pub struct Chromium {
    process: Supervised,
    cdp: Cdp,
    version: Option<Version>,
    flavor: Flavor,
}

impl Chromium {
    /// Starts a Chromium on the session's profile and waits until it answers.
    ///
    /// The caller must own the session: lock files of an earlier browser are removed, and processes
    /// that still use the profile are ended. After a bad end IndexedDB is first copied aside.
    ///
    /// # Errors
    /// Within about 40 s; nothing is left running.
    pub async fn launch(options: &LaunchOptions) -> Result<Chromium, LaunchError> {
        launch::launch(options, &|| true).await
    }

    /// As [`launch`](Self::launch), for an owner who may lose the session meanwhile: `owned` is asked
    /// before another process is ended, before the directories are touched, and right before the start.
    ///
    /// # Errors
    /// [`LaunchError::NotOwned`] when it answers no, else as for [`launch`](Self::launch).
    pub async fn launch_while(
        options: &LaunchOptions,
        owned: &(dyn Fn() -> bool + Sync),
    ) -> Result<Chromium, LaunchError> {
        launch::launch(options, owned).await
    }

    /// The browser process, which is also the process group.
    pub fn pid(&self) -> u32 {
        self.process.pid().as_raw_nonzero().get().unsigned_abs()
    }

    /// The connection to it.
    pub fn cdp(&self) -> &Cdp {
        &self.cdp
    }

    /// Its user-data dir.
    pub(crate) fn profile_dir(&self) -> &Path {
        self.process.profile_dir()
    }

    /// What its pages are to say that they run in; `None` when the executable does not tell its version.
    pub(crate) fn page_identity(&self) -> Option<SetUserAgentOverrideParams> {
        self.version.as_ref().map(|version| version.page_override(self.flavor))
    }

    /// Waits until the browser process has ended. Cancel-safe; may be called any number of times.
    pub async fn exited(&self) -> Exit {
        self.process.exited().await
    }

    /// Ends it: `Browser.close` (2 s), SIGINT (5 s), SIGKILL to the whole group.
    ///
    /// When this returns, no process of it is left. SIGTERM is not among the rungs: Chromium then
    /// ends without writing `localStorage` and cookies.
    pub async fn close(self) -> End {
        let asked = async {
            // No answer, or a connection that is gone already, changes nothing: what counts is the end.
            let _ = self.cdp.call(None, CloseParams::default(), CLOSE_GRACE).await;
            self.exited().await
        };
        let end = if tokio::time::timeout(CLOSE_GRACE, asked).await.is_ok() {
            End::Clean
        } else {
            self.process.interrupt();
            match tokio::time::timeout(INTERRUPT_GRACE, self.exited()).await {
                Ok(_) => End::Interrupted,
                Err(_) => End::Killed,
            }
        };
        if end == End::Killed {
            self.kill();
        }
        if self.process.gone().await { end } else { End::Killed }
    }

    /// SIGKILL to the whole process group, now. The end shows in [`exited`](Self::exited).
    pub fn kill(&self) {
        self.process.kill();
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        self.cdp.hang_up();
    }
}
