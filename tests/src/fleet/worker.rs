//! The real worker binary as a child process, its environment made for one test and its output kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use wafleet::health::Heartbeat;

use super::Fleet;
use crate::processes::Frozen;
use crate::services::Guard;

/// How long a worker may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How many lines of a worker's output are shown when a test is over. The file has them all.
const SHOWN_LINES: usize = 200;

/// A worker about to be started.
pub struct WorkerBuilder {
    name: String,
    environment: BTreeMap<String, String>,
    runtime: PathBuf,
    log: PathBuf,
    guard: Arc<Guard>,
    quiet: bool,
}

impl WorkerBuilder {
    pub(super) fn new(fleet: &Fleet, name: &str) -> Self {
        let runtime = fleet.scratch().join(format!("runtime-{name}"));
        // Chromium's sandbox needs a user other than root.
        let sandbox = if rustix::process::geteuid().is_root() { "off" } else { "required" };
        let environment = [
            ("WAFLEET_AMQP_URL", fleet.virtual_host().url().to_owned()),
            ("WAFLEET_REDIS_URL", fleet.redis_url().to_owned()),
            ("WAFLEET_REDIS_PREFIX", fleet.redis_prefix().to_owned()),
            ("WAFLEET_DATABASE_URL", fleet.database().url().to_owned()),
            ("WAFLEET_KEYRING_FILE", fleet.keyring_file().display().to_string()),
            ("WAFLEET_PROFILE_KEYS_FILE", fleet.profile_keys_file().display().to_string()),
            ("WAFLEET_PROFILE_ROOT", fleet.profile_root().display().to_string()),
            ("WAFLEET_RUNTIME_DIR", runtime.display().to_string()),
            ("WAFLEET_EVENT_SPOOL_DIR", fleet.scratch().join("events").display().to_string()),
            ("WAFLEET_MEDIA_DIR", fleet.scratch().join("media").display().to_string()),
            ("WAFLEET_SYNC_AFTER_LINKING", "off".to_owned()),
            ("WAFLEET_WORKER_ID", name.to_owned()),
            ("WAFLEET_CHROMIUM_SANDBOX", sandbox.to_owned()),
            // Tests send as fast as they can, all to people they never wrote to; those about pacing set their own.
            ("WAFLEET_MESSAGES_PER_MINUTE", "100000".to_owned()),
            ("WAFLEET_MESSAGES_PER_HOUR", "1000000".to_owned()),
            ("WAFLEET_MESSAGES_PER_DAY", "1000000".to_owned()),
            ("WAFLEET_COLD_CONTACTS_PER_DAY", "1000000".to_owned()),
            ("WAFLEET_NUMBER_CHECKS_PER_HOUR", "1000000".to_owned()),
            ("WAFLEET_CONTACT_MESSAGES_PER_MINUTE", "100000".to_owned()),
            ("WAFLEET_WARM_UP_DAYS", "0".to_owned()),
            ("WAFLEET_TYPING_CHARS_PER_SECOND", "0".to_owned()),
            ("WAFLEET_LOG", "info,wafleet=debug,wafleet_browser=debug".to_owned()),
            ("WAFLEET_LOG_FORMAT", "text".to_owned()),
        ];
        Self {
            name: name.to_owned(),
            environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
            runtime,
            log: fleet.logs().join(format!("{name}.log")),
            guard: Arc::clone(fleet.guard()),
            quiet: false,
        }
    }

    /// Sets an environment variable, or replaces one that is set by default.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Takes an environment variable out that is set by default.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Puts a program that ends at once in the place of the browser.
    #[must_use]
    pub fn without_browser(self) -> Self {
        self.env("WAFLEET_CHROMIUM_PATH", "/bin/false")
    }

    /// Does not show the output when the worker is dropped, for programs that are no tests.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Starts `wafleet worker`.
    ///
    /// # Errors
    /// When the binary was not built.
    pub fn spawn(self) -> anyhow::Result<Worker> {
        std::fs::create_dir_all(&self.runtime)?;
        let mut command = self.wafleet(&["worker"])?;
        let output = File::options().create(true).append(true).open(&self.log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let child = command.spawn().with_context(|| format!("starting {:?}", command.get_program()))?;
        self.guard.watch(child.id());
        Ok(Worker { child, ended: None, builder: self })
    }

    /// The `wafleet` binary with this worker's environment and no other variable that means anything to it.
    ///
    /// # Errors
    /// When the binary was not built.
    pub fn wafleet(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(binary()?);
        let foreign = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WAFLEET_"));
        for (name, _) in foreign {
            command.env_remove(name);
        }
        command.args(arguments).envs(&self.environment);
        Ok(command)
    }

    /// Runs a subcommand in this worker's environment to its end.
    ///
    /// # Errors
    /// When the binary was not built, or does not end within a minute.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = tokio::process::Command::from(self.wafleet(arguments)?);
        let output = command.kill_on_drop(true).stdin(Stdio::null()).output();
        let output = tokio::time::timeout(Duration::from_secs(60), output).await;
        Ok(output.with_context(|| format!("wafleet {arguments:?} does not end"))??)
    }
}

/// A running worker. Dropping it kills it and shows what it wrote; the test runner keeps that for tests that fail.
pub struct Worker {
    child: Child,
    ended: Option<ExitStatus>,
    builder: WorkerBuilder,
}

impl Worker {
    /// Its worker id.
    pub fn name(&self) -> &str {
        &self.builder.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file with everything it wrote.
    pub fn log(&self) -> &Path {
        &self.builder.log
    }

    /// The `wafleet` binary in this worker's environment, for its other subcommands.
    ///
    /// # Errors
    /// When the binary was not built.
    pub fn wafleet(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        self.builder.wafleet(arguments)
    }

    /// Runs one of the other subcommands in this worker's environment to its end.
    ///
    /// # Errors
    /// When the binary was not built, or does not end within a minute.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        self.builder.run(arguments).await
    }

    /// The file that `wafleet health` reads.
    pub fn heartbeat_file(&self) -> PathBuf {
        self.builder.runtime.join("heartbeat.json")
    }

    /// What the worker says of itself in its heartbeat file; `None` while there is none.
    ///
    /// # Errors
    /// When there is something else in the file.
    pub fn heartbeat(&self) -> anyhow::Result<Option<Heartbeat>> {
        match std::fs::read(self.heartbeat_file()) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A count since the worker's start, for example `commands.rejected.expired`.
    ///
    /// # Errors
    /// As for [`heartbeat`](Self::heartbeat).
    pub fn count(&self, name: &str) -> anyhow::Result<u64> {
        let counters = self.heartbeat()?.map(|heartbeat| heartbeat.counters).unwrap_or_default();
        Ok(counters.get(name).copied().unwrap_or(0))
    }

    /// Waits until `wafleet health ready` says so.
    ///
    /// # Errors
    /// When the worker ends, or is not ready within a minute.
    pub async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let mut health = tokio::process::Command::from(self.wafleet(&["health", "ready"])?);
            let answer = health.kill_on_drop(true).stdin(Stdio::null()).output().await?;
            if answer.status.success() {
                return Ok(());
            }
            if let Some(status) = self.try_wait()? {
                bail!("worker {} ended with {status} before it was ready:\n{}", self.name(), self.shown_output());
            }
            ensure!(
                started.elapsed() < READY_WITHIN,
                "worker {} is not ready after {READY_WITHIN:?}: {}{}",
                self.name(),
                String::from_utf8_lossy(&answer.stdout),
                String::from_utf8_lossy(&answer.stderr),
            );
            tokio::time::sleep(Duration::from_millis(50)).await; // between two questions
        }
    }

    /// Sends a signal to the worker process alone.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        ensure!(self.ended.is_none(), "worker {} has ended", self.name());
        kill_process(Pid::from_child(&self.child), signal)?;
        Ok(())
    }

    /// Waits for the process to end.
    ///
    /// # Errors
    /// When it has not ended in time.
    pub async fn wait(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            ensure!(started.elapsed() < within, "worker {} is still running after {within:?}", self.name());
            tokio::time::sleep(Duration::from_millis(20)).await; // between two questions
        }
    }

    /// Whether it has not ended yet.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn is_running(&mut self) -> anyhow::Result<bool> {
        Ok(self.try_wait()?.is_none())
    }

    /// Stops the process, and it alone (SIGSTOP): its browsers go on. It goes on when the answer is dropped.
    ///
    /// # Errors
    /// When it has ended.
    pub fn freeze(&self) -> anyhow::Result<Frozen> {
        ensure!(self.ended.is_none(), "worker {} has ended", self.name());
        Frozen::new(self.pid())
    }

    /// Asks it to drain (SIGTERM) and waits for the end.
    ///
    /// # Errors
    /// When it has not ended in time.
    pub async fn terminate(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(within).await
    }

    /// Ends it as a crash would (SIGKILL), the process alone: what it started has to notice by itself.
    ///
    /// # Errors
    /// When waiting for the process fails.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if self.try_wait()?.is_none() {
            self.child.kill()?;
            self.ended = Some(self.child.wait()?);
        }
        Ok(())
    }

    /// Everything it has written so far.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn output(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.builder.log)?).into_owned())
    }

    fn try_wait(&mut self) -> std::io::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    fn shown_output(&self) -> String {
        let output = self.output().unwrap_or_default();
        let lines: Vec<&str> = output.lines().collect();
        let from = lines.len().saturating_sub(SHOWN_LINES);
        let left_out = if from > 0 { format!("({from} lines above)\n") } else { String::new() };
        format!("{left_out}{}", lines[from..].join("\n"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Its group too, whatever is left in it. ESRCH only says that nothing is.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        self.builder.guard.forget(self.child.id());
        if self.ended.is_none()
            && let Err(error) = self.child.wait()
        {
            eprintln!("waiting for worker {}: {error}", self.name());
        }
        if !self.builder.quiet {
            eprintln!("---- worker {}, {} ----\n{}", self.name(), self.log().display(), self.shown_output());
        }
    }
}

/// The `wafleet` binary: `WAFLEET_BIN`, or the one in the target directory this test was built into.
fn binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("WAFLEET_BIN") {
        return Ok(path.into());
    }
    built("wafleet")
}

/// A program of this workspace in the target directory this one was built into.
///
/// # Errors
/// It was not built.
pub fn built(program: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let built = own.ancestors().skip(1).map(|directory| directory.join(program)).find(|path| path.is_file());
    built.with_context(|| {
        format!("{program} was not built: run `make test`, or `cargo build --workspace --bins` before the tests")
    })
}
