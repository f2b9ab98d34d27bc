//! The process of one browser: waited for, and never left behind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::Child;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::directory::Mark;
use super::{Exit, LaunchOptions, directory, process_table};

/// After `Browser.close` or the end of the pipe the browser is gone in 0.2–1.0 s.
pub(super) const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// SIGINT is Chromium's way to end in good order without a connection; 0.8 s measured.
pub(super) const INTERRUPT_GRACE: Duration = Duration::from_secs(5);

/// The helpers of a browser that ended see it at once; a stopped one never does.
const HELPER_GRACE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    /// The browser process has ended and was waited for; helpers may still be ending.
    Ended(Exit),
    /// No process of the group is left.
    Gone(Exit),
}

/// A browser process and its group. A task waits for it, so that it never becomes a zombie, and
/// ends what it leaves behind. Dropping this ends the browser, in good order if it still can.
#[derive(Debug)]
pub(super) struct Supervised {
    group: Pid,
    session_dir: PathBuf,
    profile_dir: PathBuf,
    life: watch::Receiver<Life>,
    abandoned: CancellationToken,
}

impl Supervised {
    pub(super) fn new(child: Child, group: Pid, mark: Mark, options: &LaunchOptions) -> Self {
        let (life, watched) = watch::channel(Life::Running);
        let abandoned = CancellationToken::new();
        let supervised = Supervised {
            group,
            session_dir: options.session_dir.clone(),
            profile_dir: options.profile_dir(),
            life: watched,
            abandoned: abandoned.clone(),
        };
        tokio::spawn(supervise(child, group, mark, life, abandoned));
        supervised
    }

    pub(super) fn pid(&self) -> Pid {
        self.group
    }

    pub(super) fn profile_dir(&self) -> &Path {
        &self.profile_dir
    }

    pub(super) async fn exited(&self) -> Exit {
        match self.wait(|life| *life != Life::Running).await {
            Life::Ended(exit) | Life::Gone(exit) => exit,
            Life::Running => Exit::UNKNOWN,
        }
    }

    /// Waits until no process of the group is left, and sees to it that none is left on the profile.
    /// `true` when everything ended in good order.
    pub(super) async fn gone(&self) -> bool {
        self.wait(|life| matches!(life, Life::Gone(_))).await;
        if !process_table::using(&self.profile_dir).is_empty() {
            self.mark_unclean();
            process_table::kill_users(&self.profile_dir, INTERRUPT_GRACE).await;
        }
        !directory::ended_badly(&self.session_dir)
    }

    async fn wait(&self, until: impl FnMut(&Life) -> bool) -> Life {
        let mut life = self.life.clone();
        // The sender lives until the group is gone; it ends early only with the runtime.
        life.wait_for(until).await.map_or(Life::Running, |life| *life)
    }

    pub(super) fn interrupt(&self) {
        if self.is_running() {
            // Gone meanwhile is as good.
            let _ = rustix::process::kill_process(self.group, Signal::INT);
        }
    }

    pub(super) fn kill(&self) {
        // A group that is gone may be somebody else's by now.
        if !matches!(*self.life.borrow(), Life::Gone(_)) {
            kill_group(self.group);
        }
    }

    fn is_running(&self) -> bool {
        *self.life.borrow() == Life::Running
    }

    fn mark_unclean(&self) {
        if let Err(error) = directory::mark_unclean(&self.session_dir) {
            tracing::error!(%error, "cannot mark a profile that did not end well");
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.abandoned.cancel();
    }
}

fn kill_group(group: Pid) {
    // Gone meanwhile is as good.
    let _ = rustix::process::kill_process_group(group, Signal::KILL);
}

async fn supervise(mut child: Child, group: Pid, mark: Mark, life: watch::Sender<Life>, abandoned: CancellationToken) {
    let ended = tokio::select! {
        ended = child.wait() => ended,
        () = abandoned.cancelled() => end(&mut child, group).await,
    };
    let exit = ended.map_or(Exit::UNKNOWN, Exit::from);
    life.send_replace(Life::Ended(exit));
    let mut clean = exit.code == Some(0);
    if !process_table::wait_group_gone(group, HELPER_GRACE).await {
        tracing::warn!(group = group.as_raw_nonzero(), "killing what a browser left behind");
        clean = false;
        kill_group(group);
        process_table::wait_group_gone(group, INTERRUPT_GRACE).await;
    }
    if let Err(error) = mark.note(clean) {
        tracing::warn!(%error, "cannot note how a browser ended");
    }
    life.send_replace(Life::Gone(exit));
}

/// Ends a browser that nobody holds any more. Its connection is closed already, which alone makes it end.
async fn end(child: &mut Child, group: Pid) -> std::io::Result<std::process::ExitStatus> {
    for (grace, signal) in [(CLOSE_GRACE, Signal::INT), (INTERRUPT_GRACE, Signal::KILL)] {
        if let Ok(ended) = tokio::time::timeout(grace, child.wait()).await {
            return ended;
        }
        // Gone meanwhile is as good.
        let _ = match signal {
            Signal::KILL => rustix::process::kill_process_group(group, signal),
            _ => rustix::process::kill_process(group, signal),
        };
    }
    child.wait().await
}
