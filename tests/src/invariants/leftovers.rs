//! What must not be there any more: messages in queues before the workers end, everything else after.

use std::path::Path;
use std::time::Duration;

use wafleet_protocol::topology;

use crate::processes::Process;
use crate::stage::Stage;

/// How long the browsers of a worker that was killed may take to notice it.
const PROCESSES_END_WITHIN: Duration = Duration::from_secs(20);
/// How long the lease of a worker that was killed may last: the longest TTL that tests set, and a second.
const LEASES_END_WITHIN: Duration = Duration::from_secs(16);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The queues of the fleet in which messages wait or are being worked on. Dead letters are archived in their own time,
/// and events that nobody wanted stay.
pub(super) async fn waiting(stage: &Stage) -> anyhow::Result<Vec<String>> {
    let fill = stage.fleet.virtual_host().fill().await?;
    let kept = [topology::DEAD, topology::EVENTS_UNCONSUMED];
    let waits = fill.into_iter().filter(|(queue, messages)| *messages > 0 && !kept.contains(&queue.as_str()));
    Ok(waits.map(|(queue, messages)| format!("{messages} message(s) in {queue}")).collect())
}

/// Processes, leases and half-made directories after the last worker.
pub(super) async fn left_behind(stage: &Stage) -> anyhow::Result<Vec<String>> {
    let scratch = stage.fleet.scratch();
    let mut left = Vec::new();
    let processes = gone(PROCESSES_END_WITHIN, async || Process::naming(scratch)).await?;
    left.extend(processes.iter().map(|process| format!("process {} is left: {}", process.id, process.command)));
    let leases = gone(LEASES_END_WITHIN, async || stage.fleet.leases().await).await?;
    left.extend(leases.iter().map(|(key, owner)| format!("lease {key} of {owner} is left")));
    left.extend(half_made(scratch)?.into_iter().map(|path| format!("{path} is left")));
    Ok(left)
}

/// Looks again until there is nothing, or time is over.
async fn gone<T>(within: Duration, mut look: impl AsyncFnMut() -> anyhow::Result<Vec<T>>) -> anyhow::Result<Vec<T>> {
    let started = std::time::Instant::now();
    loop {
        let left = look().await?;
        if left.is_empty() || started.elapsed() > within {
            return Ok(left);
        }
        tokio::time::sleep(LOOK_EVERY).await; // between two looks
    }
}

/// What a restore, or the writing of a mark, leaves when it is cut short, in any session's directory of any disk.
fn half_made(scratch: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for disk in directories(scratch)? {
        for workspace in directories(&disk)? {
            for session in directories(&workspace)? {
                for entry in std::fs::read_dir(&session)?.flatten() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    if name.starts_with("restoring-") || name == "replaced" || name.ends_with(".partial") {
                        found.push(entry.path().display().to_string());
                    }
                }
            }
        }
    }
    Ok(found)
}

/// The directories in a directory.
fn directories(path: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let entries = std::fs::read_dir(path)?.flatten();
    Ok(entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect())
}
