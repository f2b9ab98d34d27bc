//! One Chromium: started in its own process group, watched, closed, killed.

use std::path::PathBuf;
use std::time::Duration;

use crate::Cdp;

/// Which build of Chromium the executable is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// The full build, in its new headless mode.
    Chromium,
    /// `chromium-headless-shell`: smaller, older code.
    HeadlessShell,
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
    /// The browser's own executable, never a wrapper script.
    pub executable: PathBuf,
    /// Which build it is.
    pub flavor: Flavor,
    /// Whether its sandbox must work.
    pub sandbox: Sandbox,
    /// The session's directory; `profile/`, `tmp/` and `chromium.log` are made below it.
    pub session_dir: PathBuf,
    /// More arguments, put behind the built-in ones.
    pub extra_args: Vec<String>,
}

/// A Chromium could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The executable is not there.
    #[error("no chromium at {0}")]
    NoExecutable(PathBuf),
    /// The session's directories could not be prepared.
    #[error("cannot prepare {path}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
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
    /// SIGKILL: the last writes may be lost; the profile is marked and guarded at the next start.
    Killed,
}

/// A running Chromium. It is the leader of a process group of its own, killed when this is dropped.
#[derive(Debug)]
pub struct Chromium {}

impl Chromium {
    /// Starts a Chromium on the session's profile and waits until it answers.
    ///
    /// The caller must own the session: lock files that an earlier browser left are removed.
    pub async fn launch(_options: &LaunchOptions) -> Result<Chromium, LaunchError> {
        todo!()
    }

    /// The browser process, which is also the process group.
    pub fn pid(&self) -> u32 {
        todo!()
    }

    /// The connection to it.
    pub fn cdp(&self) -> &Cdp {
        todo!()
    }

    /// Waits until the browser process has ended. Cancel-safe; may be called any number of times.
    pub async fn exited(&self) -> Exit {
        todo!()
    }

    /// Ends it: `Browser.close` (2 s), SIGINT (5 s), SIGKILL to the group; then nothing that uses the profile is left.
    pub async fn close(self) -> End {
        todo!()
    }

    /// SIGKILL to the whole process group, now.
    pub fn kill(&self) {
        todo!()
    }
}
