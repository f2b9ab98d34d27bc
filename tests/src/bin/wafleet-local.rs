//! A worker on private services for a developer, until Ctrl-C. Runs inside `wafleet-services run`.
//!
//! What `wafleet` itself reads (`WAFLEET_SITE_URL`, `WAFLEET_CAPACITY`, …) may be set from outside and wins.

use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use wafleet_tests::fleet::Fleet;
use wafleet_tests::services::Guard;

/// Longer than the worker's own limit for a drain.
const DRAIN_LIMIT: Duration = Duration::from_secs(90);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let fleet = Fleet::start().await?;
    let chosen = std::env::vars().filter(|(name, _)| {
        name.starts_with("WAFLEET_") && !name.starts_with("WAFLEET_TEST_") && name != "WAFLEET_BIN"
    });
    let worker =
        chosen.fold(fleet.worker("local").env("WAFLEET_LOG", "info"), |worker, (name, value)| worker.env(&name, value));
    let mut command = worker.wafleet(&["worker"])?;
    let environment = Environment::write(&fleet, &command)?;

    // In a group of its own: Ctrl-C reaches this process, and the worker is asked to drain.
    let mut child = tokio::process::Command::from({
        command.stdin(Stdio::null()).process_group(0);
        command
    })
    .spawn()
    .context("starting the worker")?;
    let id = child.id().context("a child that was not waited for has an id")?;
    let guard = Guard::start(None)?;
    guard.watch(id);
    environment.explain();

    let status = tokio::select! {
        status = child.wait() => status?,
        _ = interrupt.recv() => drain(&mut child, id, &mut interrupt).await?,
        _ = terminate.recv() => drain(&mut child, id, &mut interrupt).await?,
    };
    guard.forget(id);
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks the worker to end; a second Ctrl-C, or too long a wait, kills it.
async fn drain(
    child: &mut tokio::process::Child,
    id: u32,
    again: &mut tokio::signal::unix::Signal,
) -> anyhow::Result<std::process::ExitStatus> {
    eprintln!("draining; Ctrl-C again kills");
    if let Some(pid) = Pid::from_raw(id.cast_signed()) {
        // It may just have ended; then `wait` tells.
        let _ = kill_process(pid, Signal::TERM);
    }
    tokio::select! {
        status = child.wait() => return Ok(status?),
        _ = again.recv() => {}
        () = tokio::time::sleep(DRAIN_LIMIT) => {}
    }
    child.kill().await?;
    Ok(child.wait().await?)
}

/// The worker's environment as a file for another terminal; removed at the end.
struct Environment {
    file: PathBuf,
    binary: PathBuf,
}

impl Environment {
    fn write(fleet: &Fleet, command: &std::process::Command) -> anyhow::Result<Self> {
        use std::io::Write;
        let file = fleet.scratch().join("environment.sh");
        // It holds passwords, though only of servers on loopback that end with this run.
        let mut out = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&file)?;
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                let value = value.to_string_lossy().replace('\'', r"'\''");
                writeln!(out, "export {}='{value}'", name.to_string_lossy())?;
            }
        }
        Ok(Self { file, binary: command.get_program().into() })
    }

    fn explain(&self) {
        let (file, binary) = (self.file.display(), self.binary.display());
        eprintln!(
            "\na worker is up on private services until Ctrl-C. In another terminal:\n\n  \
             source {file}\n  \
             {binary} session start my-phone --workspace 1 --show-qr\n  \
             {binary} events\n"
        );
    }
}
