//! Nothing outlives a run: a small shell process holds the list of what was started and ends it when this process is
//! gone, be it by a normal return, a panic or SIGKILL.
//!
//! The guard learns of our end by the end of file on a pipe that only we hold open, so it needs no signal handler, no
//! `unsafe`, and no help from a dying process.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;

/// Ends the process groups it was told of as soon as it is dropped or the process that holds it dies.
pub struct Guard {
    child: Child,
    // `None` only while dropping: closing it is what sets the guard off.
    orders: Mutex<Option<ChildStdin>>,
}

impl Guard {
    /// Starts a guard that removes `scratch`, if one is given, after everything has ended.
    ///
    /// # Errors
    /// When no shell can be started.
    pub fn start(scratch: Option<&Path>) -> anyhow::Result<Self> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", include_str!("guard.sh"), "wafleet-guard"])
            .arg(scratch.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0) // Ctrl-C in the terminal must not reach it
            .spawn()
            .context("starting the guard")?;
        let orders = child.stdin.take();
        Ok(Self { child, orders: Mutex::new(orders) })
    }

    /// From now on the process group `id` ends with us.
    pub fn watch(&self, id: u32) {
        self.order('+', id);
    }

    /// From now on the single process `id` is asked to stop (SIGTERM) when we end.
    pub fn ask(&self, id: u32) {
        self.order('!', id);
    }

    /// The process or group `id` has been ended and its number may be used again by others.
    pub fn forget(&self, id: u32) {
        self.order('-', id);
    }

    fn order(&self, what: char, id: u32) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipe) = orders.as_mut()
            && let Err(error) = pipe.write_all(format!("{what}{id}\n").as_bytes())
        {
            // Somebody ended the guard. The run goes on, our own Drop still ends everything.
            tracing::warn!(%error, "the guard is gone");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        drop(orders.take());
        if let Err(error) = self.child.wait() {
            tracing::warn!(%error, "waiting for the guard");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, test_kill_process_group};

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").process_group(0).spawn().expect("sleep exists everywhere")
    }

    #[test]
    fn a_watched_group_ends_with_the_guard_and_the_scratch_directory_goes() {
        let scratch = std::env::temp_dir().join(format!("wafleet-guard-{}", std::process::id()));
        std::fs::create_dir_all(scratch.join("below")).expect("temp dir is writable");
        let mut watched = sleeper();
        let guard = Guard::start(Some(&scratch)).expect("a shell");
        guard.watch(watched.id());
        // Reaped on the side, as the guard waits for the group to be empty.
        let reaper = std::thread::spawn(move || watched.wait().expect("our own child"));
        drop(guard);
        let status = reaper.join().expect("the reaper does not panic");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        assert!(!scratch.exists());
    }

    #[test]
    fn a_forgotten_group_is_left_alone() {
        let mut forgotten = sleeper();
        let guard = Guard::start(None).expect("a shell");
        guard.watch(forgotten.id());
        guard.forget(forgotten.id());
        drop(guard);
        let pid = Pid::from_child(&forgotten);
        assert!(test_kill_process_group(pid).is_ok(), "it was ended");
        forgotten.kill().expect("our own child");
        forgotten.wait().expect("our own child");
    }
}
