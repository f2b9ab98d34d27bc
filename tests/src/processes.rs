//! The processes of this machine as tests ask for them: who descends from whom, what listens, what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A process that was alive when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its id.
    pub id: u32,
    /// Its parent.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// When it started, in the kernel's ticks: tells it from a later process of the same id.
    started: u64,
    /// Its arguments, separated by spaces.
    pub command: String,
}

impl Process {
    /// Every process that is alive; one that ended and was not waited for is not.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn all() -> anyhow::Result<Vec<Self>> {
        let ids = std::fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Ok(ids.filter_map(Self::of).collect())
    }

    /// The process of this id, if it is alive.
    pub fn of(id: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name in brackets may hold anything, brackets too: what follows the last one counts.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        if fields.first() == Some(&"Z") {
            return None;
        }
        let command = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
        Some(Self {
            id,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
            command: String::from_utf8_lossy(&command).replace('\0', " ").trim_end().to_owned(),
        })
    }

    /// The process of this id and all that descend from it.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn tree(root: u32) -> anyhow::Result<Vec<Self>> {
        let all = Self::all()?;
        let mut found = BTreeSet::from([root]);
        loop {
            let before = found.len();
            found.extend(
                all.iter()
                    .filter(|process| found.contains(&process.parent))
                    .map(|process| process.id)
                    .collect::<Vec<_>>(),
            );
            if found.len() == before {
                return Ok(all.into_iter().filter(|process| found.contains(&process.id)).collect());
            }
        }
    }

    /// Every process whose arguments name this path.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn naming(path: &Path) -> anyhow::Result<Vec<Self>> {
        let path = path.to_str().context("a path of a test is text")?;
        Ok(Self::all()?.into_iter().filter(|process| process.command.contains(path)).collect())
    }

    /// Whether it is still alive.
    pub fn is_alive(&self) -> bool {
        Self::of(self.id).is_some_and(|now| now.started == self.started)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        send(self.id, signal).with_context(|| self.command.clone())
    }
}

/// A process that was stopped (SIGSTOP). Dropping it lets the process go on, so that a test that fails can still end it.
#[derive(Debug)]
pub struct Frozen(u32);

impl Frozen {
    /// Stops a process.
    ///
    /// # Errors
    /// When it is gone.
    pub fn new(id: u32) -> anyhow::Result<Self> {
        send(id, Signal::STOP)?;
        Ok(Self(id))
    }

    /// Lets it go on.
    pub fn thaw(self) {}
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // It may have been killed meanwhile.
        let _ = send(self.0, Signal::CONT);
    }
}

fn send(id: u32, signal: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).context("no process id")?;
    kill_process(pid, signal).with_context(|| format!("{signal:?} to process {id}"))
}

/// Waits until no process names this path any more, and kills what still does after `grace`. For the end of a test: it
/// blocks.
pub fn clear(path: &Path, grace: Duration) {
    let started = Instant::now();
    while let Ok(left) = Process::naming(path)
        && !left.is_empty()
        && started.elapsed() < 2 * grace
    {
        if started.elapsed() > grace {
            for process in &left {
                eprintln!("killing what a test left behind: {process:?}");
                let _ = process.signal(Signal::KILL); // gone meanwhile is as good
            }
        }
        std::thread::sleep(Duration::from_millis(20)); // between two questions
    }
}

/// The browser's own process of a session, and the renderer of its page.
#[derive(Debug, Clone)]
pub struct Browser {
    /// The process that leads the group.
    pub main: Process,
    /// All of the group.
    pub group: Vec<Process>,
}

impl Browser {
    /// The browser that descends from a worker and uses the profile in this session directory.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn of(worker: u32, session_dir: &Path) -> anyhow::Result<Self> {
        let dir = session_dir.to_str().context("a path of a test is text")?;
        let tree = Process::tree(worker)?;
        let leads = |process: &&Process| {
            process.id == process.group && process.command.contains(dir) && !process.command.contains("--type=")
        };
        let [main] = tree.iter().filter(leads).collect::<Vec<_>>()[..] else {
            bail!("not exactly one browser on {dir}: {tree:#?}")
        };
        let group = tree.iter().filter(|process| process.group == main.id).cloned().collect();
        Ok(Self { main: main.clone(), group })
    }

    /// The renderer of the page.
    ///
    /// # Errors
    /// When there is none.
    pub fn renderer(&self) -> anyhow::Result<&Process> {
        let renderer = self.group.iter().find(|process| process.command.contains("--type=renderer"));
        renderer.with_context(|| format!("no renderer among {:#?}", self.group))
    }
}

/// The sockets through which something could come in: TCP in state LISTEN, and UDP that is bound and has no peer.
///
/// Answers with a line for each that one of the processes holds.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn ways_in(processes: &[Process]) -> anyhow::Result<Vec<String>> {
    const LISTEN: &str = "0A";
    let mut open: BTreeMap<String, String> = BTreeMap::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = std::fs::read_to_string(format!("/proc/net/{table}"))?;
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, local, remote, state, ..] = fields[..] else { bail!("/proc/net/{table}: {line}") };
            let inode = fields.get(9).with_context(|| format!("/proc/net/{table}: {line}"))?;
            let no_peer = remote.chars().all(|c| c == '0' || c == ':');
            if (table.starts_with("tcp") && state == LISTEN) || (table.starts_with("udp") && no_peer) {
                open.insert(format!("socket:[{inode}]"), format!("{table} {local}"));
            }
        }
    }
    let mut found = Vec::new();
    for process in processes {
        // A process that ended meanwhile holds nothing.
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{}/fd", process.id)) else { continue };
        for descriptor in descriptors.flatten() {
            let target = std::fs::read_link(descriptor.path()).unwrap_or_default();
            if let Some(socket) = target.to_str().and_then(|target| open.get(target)) {
                found.push(format!("{socket} held by {} {}", process.id, process.command));
            }
        }
    }
    Ok(found)
}
