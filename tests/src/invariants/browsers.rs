//! Counts the live browsers of every session while a story runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two samples. Two browsers of one session would both need seconds to come up and to go.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);
/// Moments kept for the report; one is as wrong as all.
const KEPT: usize = 20;

/// A thread that looks at the processes of this machine until it is dropped.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    counted: Arc<Mutex<Counted>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counted {
    samples: u64,
    doubles: Vec<String>,
}

impl Watch {
    /// Watches the browsers whose profiles are below `root`.
    pub(super) fn start(root: &Path) -> std::io::Result<Self> {
        let (stop, counted) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Counted::default())));
        let (stopped, written, root) = (Arc::clone(&stop), Arc::clone(&counted), root.to_owned());
        let thread = std::thread::Builder::new().name("browser watch".to_owned()).spawn(move || {
            let began = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                let doubles: Vec<String> = live(&root)
                    .into_iter()
                    .filter(|(_, ids)| ids.len() > 1)
                    .map(|(session, ids)| format!("{session} had the browsers {ids:?} at {:?}", began.elapsed()))
                    .collect();
                let mut counted = written.lock().unwrap_or_else(PoisonError::into_inner);
                counted.samples += 1;
                let room = KEPT.saturating_sub(counted.doubles.len());
                counted.doubles.extend(doubles.into_iter().take(room));
                drop(counted);
                std::thread::sleep(SAMPLE_EVERY); // between two samples
            }
        })?;
        Ok(Self { stop, counted, thread: Some(thread) })
    }

    /// How many samples were taken, and the moments at which a session had two browsers.
    pub(super) fn counted(&self) -> (u64, Vec<String>) {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        (counted.samples, counted.doubles.clone())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A watch that panicked has counted nothing more, and says so itself.
            let _ = thread.join();
        }
    }
}

/// The live browsers of each session, by `<workspace>/<session>`: two workers may keep the same session on two disks.
fn live(root: &Path) -> BTreeMap<String, Vec<u32>> {
    let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for id in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        if !leads_a_group(id, &stat) {
            continue;
        }
        let Ok(command) = std::fs::read(format!("/proc/{id}/cmdline")) else { continue };
        if let Some(session) = session_of(&command, root) {
            found.entry(session).or_default().push(id);
        }
    }
    found
}

/// Whether a process is alive and leads its group, as a browser's main process does and none of its helpers.
fn leads_a_group(id: u32, stat: &str) -> bool {
    let Some((_, fields)) = stat.rsplit_once(") ") else { return false };
    let mut fields = fields.split(' ');
    let (state, group) = (fields.next(), fields.nth(1));
    state != Some("Z") && state != Some("X") && group.and_then(|group| group.parse().ok()) == Some(id)
}

/// The session whose profile these arguments name, if it is below `root`.
fn session_of(command: &[u8], root: &Path) -> Option<String> {
    const PROFILE: &[u8] = b"--user-data-dir=";
    let argument = command.split(|byte| *byte == 0).find(|argument| argument.starts_with(PROFILE))?;
    let profile = PathBuf::from(std::str::from_utf8(&argument[PROFILE.len()..]).ok()?);
    let session = profile.strip_prefix(root).ok()?.parent()?;
    let mut parts: Vec<_> = session.iter().rev().take(2).filter_map(|part| part.to_str()).collect();
    parts.reverse();
    (parts.len() == 2).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    use super::*;

    #[test]
    fn a_session_is_named_by_the_profile_in_the_arguments() {
        let root = Path::new("/runs/1");
        for (command, session) in [
            ("chromium\0--user-data-dir=/runs/1/profiles/7/s1/profile\0about:blank\0", Some("7/s1")),
            ("chromium\0--user-data-dir=/runs/1/other-disk/7/s1/profile\0", Some("7/s1")),
            ("chromium\0--user-data-dir=/runs/2/profiles/7/s1/profile\0", None),
            ("worker\0/runs/1/profiles/7/s1\0", None),
        ] {
            assert_eq!(session_of(command.as_bytes(), root).as_deref(), session, "{command:?}");
        }
    }

    /// Something that looks like a browser: leads its group and names a profile.
    fn pretender(profile: &Path) -> Child {
        let argument = format!("--user-data-dir={}", profile.display());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read nothing", "pretender"]).arg(argument).stdin(std::process::Stdio::piped());
        command.process_group(0).spawn().expect("a shell")
    }

    #[test]
    fn two_browsers_of_one_session_are_seen_and_one_after_the_other_is_fine() {
        let root = PathBuf::from(format!("/nowhere/wafleet-{}", std::process::id()));
        let watch = Watch::start(&root).expect("a thread");
        let wait = |more: u64| {
            let until = watch.counted().0 + more;
            while watch.counted().0 < until {
                std::thread::yield_now();
            }
        };
        let end = |mut child: Child| {
            child.kill().expect("our own child");
            child.wait().expect("our own child");
        };
        let first = pretender(&root.join("a/7/s1/profile"));
        wait(2);
        end(first);
        let second = pretender(&root.join("b/7/s1/profile"));
        wait(2);
        assert!(watch.counted().1.is_empty(), "{:?}", watch.counted().1);
        let third = pretender(&root.join("c/7/s1/profile"));
        wait(2);
        assert!(!watch.counted().1.is_empty());
        end(second);
        end(third);
    }
}
