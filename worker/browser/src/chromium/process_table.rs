//! Which processes belong to a browser, from `/proc`.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::time::Instant;

/// How often is looked whether processes have gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The processes that were told to use this directory: the browser and the children that it names it to.
///
/// A process that has ended and waits for its parent has no command line any more and does not count.
pub(super) fn using(user_data_dir: &Path) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut wanted = b"--user-data-dir=".to_vec();
    wanted.extend_from_slice(user_data_dir.as_os_str().as_bytes());
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            // It may be gone since it was listed, or be another user's.
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            names(&line, &wanted).then(|| Pid::from_raw(pid))?
        })
        .collect()
}

/// Whether one of the arguments is the wanted one. Arguments end in NUL; the children of
/// Chromium's zygote write theirs over the zygote's own, as one text with blanks.
fn names(line: &[u8], wanted: &[u8]) -> bool {
    line.split(|&b| b == 0).any(|argument| argument == wanted)
        || line
            .windows(wanted.len())
            .zip(line[wanted.len().min(line.len())..].iter().chain([&0]))
            .any(|(window, after)| window == wanted && matches!(after, 0 | b' '))
}

/// Waits until nothing uses the directory any more; `false` when it still does at the end.
pub(super) async fn wait_unused(user_data_dir: &Path, at_most: Duration) -> bool {
    let deadline = Instant::now() + at_most;
    loop {
        if using(user_data_dir).is_empty() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Kills whatever uses the directory, and waits until it is gone; `false` when something stays.
pub(super) async fn kill_users(user_data_dir: &Path, at_most: Duration) -> bool {
    for pid in using(user_data_dir) {
        tracing::warn!(pid = pid.as_raw_nonzero(), "killing a process that still uses the profile");
        // Gone meanwhile is as good.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    wait_unused(user_data_dir, at_most).await
}

/// Waits until the process group has no member; `false` when it still has at the end.
pub(super) async fn wait_group_gone(group: Pid, at_most: Duration) -> bool {
    let deadline = Instant::now() + at_most;
    loop {
        if !group_has_members(group) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether a process of the group is alive. One that has ended and waits for its parent is not:
/// nothing of ours may be the parent of a browser's grandchild.
fn group_has_members(group: Pid) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else {
        return false;
    };
    entries.flatten().any(|entry| {
        entry.file_name().to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()))
            && fs::read_to_string(entry.path().join("stat"))
                .ok()
                .and_then(|stat| Stat::parse(&stat))
                .is_some_and(|stat| stat.group == group.as_raw_nonzero().get() && stat.is_alive())
    })
}

/// What `/proc/<pid>/stat` says of a process.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    group: i32,
    threads: u32,
}

impl Stat {
    /// From `pid (name) state parent group …`, with the number of threads as the twentieth field;
    /// the name may hold blanks and brackets.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line[line.rfind(')')? + 1..].split_whitespace();
        let state = fields.next()?.chars().next()?;
        let group = fields.nth(1)?.parse().ok()?;
        let threads = fields.nth(14)?.parse().ok()?;
        Some(Stat { state, group, threads })
    }

    /// A process whose first thread has ended is a zombie although others may still be writing.
    fn is_alive(&self) -> bool {
        self.state != 'Z' || self.threads > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_directory_counts() {
        let wanted = b"--user-data-dir=/s/profile";
        for (line, expected) in [
            (&b"chromium\0--user-data-dir=/s/profile\0about:blank\0"[..], true),
            (b"chromium --type=renderer --user-data-dir=/s/profile --lang=en", true),
            (b"chromium --type=renderer --user-data-dir=/s/profile", true),
            (b"chromium\0--user-data-dir=/s/profile2\0", false),
            (b"chromium\0--user-data-dir=/s\0", false),
            (b"", false),
        ] {
            assert_eq!(names(line, wanted), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn state_group_and_threads_are_read_behind_the_name() {
        let rest = "0 -1 4194560 1 2 3 4 5 6 7 8 20 0";
        for (line, expected) in [
            (format!("12 (chromium) S 1 10 10 {rest} 7 0"), Some(('S', 10, 7, true))),
            (format!("12 (a) b) (c) Z 1 11 10 {rest} 1 0"), Some(('Z', 11, 1, false))),
            (format!("12 (chromium) Z 1 11 10 {rest} 3 0"), Some(('Z', 11, 3, true))),
            ("12 (x".into(), None),
            ("12 (x) S".into(), None),
            ("12 (x) S 1 10 10".into(), None),
        ] {
            let stat = Stat::parse(&line).map(|stat| (stat.state, stat.group, stat.threads, stat.is_alive()));
            assert_eq!(stat, expected, "{line}");
        }
    }
}
