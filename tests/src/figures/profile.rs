//! What it takes to save a large profile in the database, and to restore it on another machine.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rand::RngCore;
use wafleet_imitation::Options;
use wafleet_protocol::command::{Command, SessionStart};
use wafleet_protocol::event::SessionStatus;

use super::memory::{reset_peak, resident};
use crate::fleet::{Target, Worker};
use crate::stage::Stage;
use crate::wait;

/// Bound on everything that is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// Settings of the object store, taken over from the environment: saved profiles are kept there instead of the database.
const OBJECT_STORE: &str = "WAFLEET_OBJECT_STORE_";

/// Whether saved profiles go to an object store.
pub fn in_object_store() -> bool {
    std::env::vars().any(|(name, _)| name.starts_with(OBJECT_STORE))
}

/// One direction.
#[derive(Debug, Clone, Copy)]
pub struct Passage {
    /// As the worker says itself: packed, sealed and stored, or loaded, verified, opened and unpacked.
    pub took: Duration,
    /// The most memory that the worker had resident meanwhile, in KiB, and what it had before.
    pub peak_kib: u64,
    /// Resident just before.
    pub before_kib: u64,
}

/// Links a session, makes its profile so much larger with bytes that do not compress, saves it, and restores it on a
/// machine with an empty disk.
///
/// # Errors
/// When something does not happen.
pub async fn there_and_back(megabytes: usize) -> anyhow::Result<(Passage, Passage)> {
    let stage = Stage::set(Options::default()).await?;
    let target = Target::new("profile")?;
    let anna = stage.site.phone("4915200000001", "Anna");

    let first = worker(&stage, "first").await?;
    stage.link(&target, &anna).await?;
    let default = stage.fleet.scratch().join("first").join(target.workspace.to_string()).join(target.session.as_str());
    fill(&default, megabytes)?;
    let before_kib = reset_peak(&first)?;
    let mark = stage.host.events().len();
    stage.host.ask(&target, &Command::SessionStop).await?;
    stage.host.wait_for_status(mark, &target, SessionStatus::Stopped).await?;
    let bytes = megabytes as u64 * 1_000_000;
    let saved = said(&first, "profile saved", |line| line["bytes"].as_u64().is_some_and(|size| size >= bytes)).await?;
    let saved = Passage { took: saved, peak_kib: resident(&first, "VmHWM:")?, before_kib };
    drop(first);

    let second = worker(&stage, "second").await?;
    let before_kib = reset_peak(&second)?;
    let mark = stage.host.events().len();
    stage.host.ask(&target, &Command::SessionStart(SessionStart::default())).await?;
    stage.host.wait_for_status(mark, &target, SessionStatus::Connected).await?;
    let restored = said(&second, "profile restored", |_| true).await?;
    Ok((saved, Passage { took: restored, peak_kib: resident(&second, "VmHWM:")?, before_kib }))
}

/// A worker on a machine of its own: it has no other's disk.
async fn worker(stage: &Stage, name: &str) -> anyhow::Result<Worker> {
    let root = stage.fleet.scratch().join(name).display().to_string();
    let worker = stage.worker(name).quiet().env("WAFLEET_PROFILE_ROOT", root).env("WAFLEET_LOG_FORMAT", "json");
    let worker = worker.env("WAFLEET_PROFILE_KEYS_FILE", stage.fleet.profile_keys_file().display().to_string());
    let store = std::env::vars().filter(|(name, _)| name.starts_with(OBJECT_STORE));
    let worker = store.fold(worker.env("WAFLEET_LOG", "info"), |worker, (name, value)| worker.env(&name, value));
    let mut worker = worker.spawn()?;
    worker.wait_until_ready().await?;
    Ok(worker)
}

/// Puts files among those of the page that a snapshot keeps and Chromium does not look at.
fn fill(session_dir: &Path, megabytes: usize) -> anyhow::Result<()> {
    let mut at = vec![session_dir.to_owned()];
    let mut tree = None;
    while let Some(directory) = at.pop() {
        for entry in std::fs::read_dir(&directory)?.flatten() {
            if entry.path().ends_with("Default/IndexedDB") {
                tree = Some(entry.path());
            } else if entry.path().is_dir() {
                at.push(entry.path());
            }
        }
    }
    let ballast = tree.context("the page has a database")?.join("ballast");
    std::fs::create_dir(&ballast)?;
    let mut bytes = vec![0; 1_000_000];
    for number in 0..megabytes {
        rand::rng().fill_bytes(&mut bytes);
        std::fs::File::create(ballast.join(number.to_string()))?.write_all(&bytes)?;
    }
    Ok(())
}

/// Waits for a line of the worker's log, and returns the time that it tells.
async fn said(worker: &Worker, message: &str, is: impl Fn(&serde_json::Value) -> bool) -> anyhow::Result<Duration> {
    let line = async || {
        let lines = worker.output()?;
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        Ok(lines.filter(|line| line["message"] == message && is(line)).last())
    };
    let line = wait::until(message, PATIENCE, line).await?;
    let millis = line["ms"].as_u64().or_else(|| line["ms"].as_str()?.parse().ok());
    Ok(Duration::from_millis(millis.context("the line tells its time")?))
}
