//! The other end of the pipe: `wafleet leash`, one thread that knows of nothing but browsers and deadlines.
//!
//! ```text
//! in:   hold <pid> <started> <until>   a browser's group may live until then    (again: until later)
//!       free <pid>                     it is gone
//!       sync <number>                  answer me
//! out:  sync <number> · killed <pid>
//! ```
//! It opens no socket, reads no setting and writes no file. Its timer runs on CLOCK_BOOTTIME, so a machine that was
//! suspended finds the deadlines passed the moment it wakes.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, setsid};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};

use super::group::Group;
use crate::boottime::BootInstant;

/// After its worker died a browser sees the end of the debugging pipe and closes with its state on the disk, in 0.2 to
/// 1.3 s. What is left after this long, or at its deadline, is killed.
const FAREWELL: Duration = Duration::from_secs(2);
/// Longest line; the worker writes about 40 bytes.
const LINE_BYTES: usize = 256;

/// Runs until the worker's end of the pipe is closed and every browser is gone.
///
/// # Errors
/// The timer or the pipe cannot be used. The worker starts another leash.
pub(crate) fn run() -> std::io::Result<()> {
    // A session of its own: what stops or ends the worker's group must not reach it. Refused only where it leads a group
    // already, started by hand in a shell.
    let _ = setsid();
    let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    Watch { timer, held: HashMap::new(), line: Vec::new() }.run()
}

struct Held {
    group: Group,
    until_ms: u64,
}

struct Watch {
    timer: OwnedFd,
    held: HashMap<u32, Held>,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
}

impl Watch {
    fn run(mut self) -> std::io::Result<()> {
        let feed = std::io::stdin().lock();
        loop {
            self.set_timer()?;
            let fed = {
                let (timer, pipe) = (self.timer.as_fd(), feed.as_fd());
                let mut wanted = [PollFd::new(&pipe, PollFlags::IN), PollFd::new(&timer, PollFlags::IN)];
                match poll(&mut wanted, None) {
                    Ok(_) => !wanted[0].revents().is_empty(),
                    Err(rustix::io::Errno::INTR) => false,
                    Err(error) => return Err(error.into()),
                }
            };
            // What the worker has said counts before its deadlines do.
            if fed {
                let mut bytes = [0; 4096];
                match rustix::io::read(feed.as_fd(), &mut bytes) {
                    Ok(0) => break,
                    Ok(read) => self.fed(&bytes[..read]),
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            self.kill_due();
        }
        self.worker_is_gone();
        Ok(())
    }

    fn fed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte != b'\n' {
                if self.line.len() < LINE_BYTES {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
            self.obey(&line);
        }
    }

    fn obey(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["hold", pid, started, until] => {
                if let (Ok(pid), Ok(started), Ok(until_ms)) = (pid.parse(), started.parse(), until.parse()) {
                    self.held.insert(pid, Held { group: Group { pid, started }, until_ms });
                }
            }
            ["free", pid] => drop(pid.parse().map(|pid: u32| self.held.remove(&pid))),
            ["sync", number] => tell(&format!("sync {number}")),
            _ => {}
        }
    }

    fn set_timer(&self) -> std::io::Result<()> {
        // Zero would disarm it; a deadline of zero is long past, and 1 ns after boot is too.
        let first = self.held.values().map(|held| held.until_ms.max(1)).min().unwrap_or(0);
        let value = Timespec {
            tv_sec: i64::try_from(first / 1000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(first % 1000 * 1_000_000).unwrap_or(0),
        };
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval: zero, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        Ok(())
    }

    fn kill_due(&mut self) {
        let now = BootInstant::now().as_millis();
        self.held.retain(|pid, held| {
            if held.until_ms > now {
                return true;
            }
            // Killed first, told afterwards: nobody may be reading.
            if kill(&held.group) {
                tell(&format!("killed {pid}"));
            }
            false
        });
    }

    /// Leaves each browser the time to close by itself, and kills what has not.
    fn worker_is_gone(&mut self) {
        let last_ms = BootInstant::now().as_millis() + u64::try_from(FAREWELL.as_millis()).unwrap_or(0);
        let mut left: Vec<Held> = self.held.drain().map(|(_, held)| held).collect();
        left.sort_by_key(|held| held.until_ms);
        for held in left {
            wait_for_end(&held.group, last_ms.min(held.until_ms));
            if kill(&held.group) {
                let _ =
                    writeln!(std::io::stderr(), "leash: the worker is gone, its browser {} was killed", held.group.pid);
            }
        }
    }
}

/// Waits until the process that leads the group has ended, or until a time on CLOCK_BOOTTIME.
fn wait_for_end(group: &Group, until_ms: u64) {
    let left = until_ms.saturating_sub(BootInstant::now().as_millis());
    let timeout = Timespec {
        tv_sec: i64::try_from(left / 1000).unwrap_or(0),
        tv_nsec: i64::try_from(left % 1000 * 1_000_000).unwrap_or(0),
    };
    let Some(pid) = raw(group.pid) else { return };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if group.is_led() {
        let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout));
    }
}

/// Kills a group that is still the one that was meant; whether there was anything to kill.
fn kill(group: &Group) -> bool {
    group.lives() && raw(group.pid).is_some_and(|pid| kill_process_group(pid, Signal::KILL).is_ok())
}

fn raw(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// The worker may be stopped and its end of the pipe full: then nobody needs to know, and nobody is waited for.
fn tell(line: &str) {
    let out = std::io::stdout();
    let mut ready = [PollFd::new(&out, PollFlags::OUT)];
    if matches!(poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..)) {
        let _ = writeln!(out.lock(), "{line}");
    }
}
