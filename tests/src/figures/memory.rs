//! What the kernel says of a worker's memory.

use anyhow::{Context, ensure};

use crate::fleet::Worker;

/// Forgets the peak so far, and returns what is resident now.
pub(super) fn reset_peak(worker: &Worker) -> anyhow::Result<u64> {
    // proc(5): 5 resets the peak resident set size.
    std::fs::write(format!("/proc/{}/clear_refs", worker.pid()), "5")?;
    resident(worker, "VmRSS:")
}

/// A field of the kernel's about a process' memory, in KiB.
pub(super) fn resident(worker: &Worker, field: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context("the kernel tells it")?;
    let kib = line.trim().trim_end_matches(" kB").parse()?;
    ensure!(kib > 0, "nothing is resident");
    Ok(kib)
}
