//! The leash: a second process that kills this worker's browsers when the worker itself cannot.
//!
//! ```text
//! worker ──(pid, until when ownership is proven)──▶ leash ──SIGKILL at that moment──▶ the browser's process group
//!    └─ stopped, hung: no later moment comes     └─ dead: the pipe ends, browsers may close by themselves, then SIGKILL
//! ```
//! A worker that is stopped (SIGSTOP, a frozen container, a runtime that hangs) leaves Chromium running: the deadline that
//! the worker watches is worth nothing while the worker does not run. The leash is a mode of the same binary in a session
//! of its own, fed through a pipe. No browser opens a page before the leash has answered for it; a leash that dies or
//! falls silent is replaced and told everything anew; and if none can be started, nothing is claimed and, after
//! [`WITHOUT_LEASH_LIMIT`], nothing kept.

mod group;
mod process;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::counters::Counters;
use crate::lease::{Lease, Leases};
use group::Group;

pub(crate) use process::run;

/// How often the leash is fed at least. Renewed leases and new browsers do not wait for it.
const FEED_EVERY: Duration = Duration::from_secs(1);
/// A leash that has not answered for this long is stuck, or stopped, and no use.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// How long a browser that was just started waits for the leash: the time to replace one that is stuck.
const HOLD_LIMIT: Duration = Duration::from_secs(10);
/// Pause before another leash is started.
const RESTART_PAUSE: Duration = Duration::from_millis(200);
/// Without a leash for this long, the browsers are given up.
const WITHOUT_LEASH_LIMIT: Duration = Duration::from_secs(10);
/// How long the leash may take to end when the worker does.
const END_LIMIT: Duration = Duration::from_secs(3);

/// No leash has taken the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LeashError {
    /// The browser has ended already.
    #[error("the browser to be leashed is gone")]
    Gone,
    /// None could be started, or none answers.
    #[error("no leash answered within {} s", HOLD_LIMIT.as_secs())]
    Unanswered,
}

/// A handle to the leash. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Leash(Arc<Inner>);

struct Inner {
    held: Mutex<HashMap<u32, Held>>,
    /// Grows with each browser; what the leash has answered for says how many of them it knows.
    browsers: AtomicU64,
    changed: Notify,
    answered: watch::Sender<Option<u64>>,
    counters: Arc<Counters>,
}

struct Held {
    group: Group,
    lease: Lease,
    /// Nobody holds the browser any more; it is watched until all of it is gone.
    given_up: bool,
}

/// Keeps a browser on the leash. Dropped, the browser stays on it until it is gone.
pub(crate) struct Hold {
    leash: Leash,
    pid: u32,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(held) = self.leash.held().get_mut(&self.pid) {
            held.given_up = true;
        }
        self.leash.0.changed.notify_one();
    }
}

impl Leash {
    /// No process yet: spawn [`Leash::keep`].
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self(Arc::new(Inner {
            held: Mutex::default(),
            browsers: AtomicU64::new(0),
            changed: Notify::new(),
            answered: watch::Sender::new(None),
            counters,
        }))
    }

    /// Whether a leash is there and has answered.
    pub(crate) fn is_up(&self) -> bool {
        self.0.answered.borrow().is_some()
    }

    /// Puts a browser, the leader of its process group, on the leash, and returns when the leash has it.
    ///
    /// # Errors
    /// [`LeashError`]: the browser must not be used.
    pub(crate) async fn hold(&self, pid: u32, lease: Lease) -> Result<Hold, LeashError> {
        let group = Group::led_by(pid).ok_or(LeashError::Gone)?;
        self.held().insert(pid, Held { group, lease, given_up: false });
        let hold = Hold { leash: self.clone(), pid };
        let number = self.0.browsers.fetch_add(1, Ordering::AcqRel) + 1;
        self.0.changed.notify_one();
        let mut answered = self.0.answered.subscribe();
        let answer = answered.wait_for(|answered| answered.is_some_and(|answered| answered >= number));
        match timeout(HOLD_LIMIT, answer).await {
            Ok(Ok(_)) => Ok(hold),
            Ok(Err(_)) | Err(_) => Err(LeashError::Unanswered),
        }
    }

    /// Leases were renewed: the leash learns of it now.
    pub(crate) fn renewed(&self) {
        self.0.changed.notify_one();
    }

    /// Keeps a leash running and fed until `stop`.
    pub(crate) async fn keep(&self, leases: &Leases, stop: CancellationToken) {
        let mut without_since = Instant::now();
        while !stop.is_cancelled() {
            match start() {
                Ok(process) => {
                    let why = self.feed(process, &stop).await;
                    if self.is_up() {
                        without_since = Instant::now();
                    }
                    self.0.answered.send_replace(None);
                    if stop.is_cancelled() {
                        return;
                    }
                    self.0.counters.count("leash", "replaced");
                    tracing::error!(why, "the leash is gone; starting another");
                }
                Err(error) => tracing::error!(%error, "the leash cannot be started"),
            }
            if without_since.elapsed() > WITHOUT_LEASH_LIMIT && leases.count() > 0 {
                leases.lose_all("no leash can be started");
            }
            tokio::select! { () = stop.cancelled() => {}, () = sleep(RESTART_PAUSE) => {} }
        }
    }

    /// Feeds one leash until it fails or `stop`; answers why it ended.
    async fn feed(&self, process: Process, stop: &CancellationToken) -> &'static str {
        let Process { mut child, mut feed, mut answers } = process;
        let mut unanswered: Option<Instant> = None;
        let mut next = Instant::now();
        let why = loop {
            if Instant::now() >= next && unanswered.is_none() {
                let text = self.words();
                match timeout(ANSWERS_WITHIN, feed.write_all(text.as_bytes())).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => break "its pipe is closed",
                    Err(_) => break "it does not read",
                }
                unanswered = Some(Instant::now());
                next = Instant::now() + FEED_EVERY;
            }
            let wake = unanswered.map_or(next, |asked| asked + ANSWERS_WITHIN);
            tokio::select! {
                biased;
                () = stop.cancelled() => break "the worker ends",
                _ = child.wait() => break "it ended",
                line = answers.next_line() => match line {
                    Ok(Some(line)) => if self.heard(&line) { unanswered = None },
                    Ok(None) | Err(_) => break "it closed its pipe",
                },
                () = self.0.changed.notified(), if unanswered.is_none() => next = Instant::now(),
                () = tokio::time::sleep_until(wake) => {
                    if unanswered.is_some_and(|asked| asked.elapsed() >= ANSWERS_WITHIN) {
                        break "it does not answer";
                    }
                }
            }
        };
        drop(feed);
        if !stop.is_cancelled() || timeout(END_LIMIT, child.wait()).await.is_err() {
            let _ = child.kill().await; // a stopped process ends by SIGKILL too
        }
        why
    }

    /// Everything the leash has to know, and a question at the end. What is gone is forgotten here.
    fn words(&self) -> String {
        let number = self.0.browsers.load(Ordering::Acquire);
        let mut text = String::new();
        self.held().retain(|pid, held| {
            if held.given_up && !held.group.lives() {
                let _ = writeln!(text, "free {pid}");
                return false;
            }
            let until = held.lease.proven_until().as_millis();
            let _ = writeln!(text, "hold {pid} {} {until}", held.group.started);
            true
        });
        let _ = writeln!(text, "sync {number}");
        text
    }

    /// Whether the line answers the question.
    fn heard(&self, line: &str) -> bool {
        match line.split_once(' ') {
            Some(("sync", number)) => {
                self.0.answered.send_replace(number.parse().ok());
                true
            }
            Some(("killed", pid)) => {
                let session = pid
                    .parse()
                    .ok()
                    .and_then(|pid: u32| self.held().get(&pid).map(|held| held.lease.session_id().to_owned()));
                self.0.counters.count("leash", "killed");
                tracing::warn!(session_id = session, pid, "the leash killed a browser at the end of its lease");
                false
            }
            _ => false,
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Held>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Process {
    child: Child,
    feed: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// Starts the same binary again, whatever has become of its file since.
fn start() -> std::io::Result<Process> {
    let mut command = std::process::Command::new("/proc/self/exe");
    command.arg0("wafleet").arg("leash");
    // It needs none of our secrets, and no directory of ours should be held by it.
    command.env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = tokio::process::Command::from(command).spawn()?;
    let (Some(feed), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(std::io::Error::other("no pipes"));
    };
    tracing::debug!(pid = child.id(), "leash started");
    Ok(Process { child, feed, answers: BufReader::new(answers).lines() })
}
