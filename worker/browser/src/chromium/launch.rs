//! Starting a Chromium: checks, pipes, environment, process group, first answer.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use chromiumoxide_cdp::cdp::browser_protocol::browser::GetVersionParams;
use command_fds::{CommandFdExt, FdMapping};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use tokio::process::{Child, Command};

use super::directory::Mark;
use super::identity::Version;
use super::supervise::Supervised;
use super::{Chromium, LaunchError, LaunchOptions, directory, flags, log_file, process_table};
use crate::Cdp;

/// From the start to the first answer: 0.2–0.4 s measured, 1.7 s on a cold disk, more on a machine
/// that starts many at once.
const FIRST_ANSWER: Duration = Duration::from_secs(30);

/// A browser whose worker was killed ends by itself in about a second, state saved. A start on its
/// profile waits this long before it kills it.
const LEFTOVER_GRACE: Duration = Duration::from_secs(5);

/// A killed process is gone in about 0.1 s.
const KILL_GRACE: Duration = Duration::from_secs(5);

/// What Chromium may see of the worker's environment. The rest may hold secrets, and every process
/// of the same user could read them in `/proc/<pid>/environ`.
const ENVIRONMENT: &[&str] = &[
    "PATH",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "TZ",
    "FONTCONFIG_FILE",
    "FONTCONFIG_PATH",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

pub(super) async fn launch(
    options: &LaunchOptions,
    owned: &(dyn Fn() -> bool + Sync),
) -> Result<Chromium, LaunchError> {
    check_executable(&options.executable)?;
    let (mark, version) = tokio::join!(clear_the_way(options, owned), Version::of(&options.executable));
    let mark = mark?;
    let user_agent = version.as_ref().map(Version::user_agent);

    let spawn_error = |error: rustix::io::Errno| LaunchError::Spawn(error.into());
    let (their_commands, our_commands) = pipe_with(PipeFlags::CLOEXEC).map_err(spawn_error)?;
    let (our_answers, their_answers) = pipe_with(PipeFlags::CLOEXEC).map_err(spawn_error)?;
    // What came before takes seconds, and a worker that was stopped meanwhile may go on just here.
    if !owned() {
        return Err(LaunchError::NotOwned);
    }
    let mut child = spawn(options, user_agent.as_deref(), their_commands, their_answers).map_err(LaunchError::Spawn)?;
    let group = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
        .expect("a child that was not waited for has a process id");
    if let Some(stderr) = child.stderr.take() {
        tokio::spawn(log_file::copy(stderr, options.log_file()));
    }
    let cdp = Cdp::new(our_commands, our_answers).map_err(LaunchError::Spawn)?;
    let chromium =
        Chromium { process: Supervised::new(child, group, mark, options), cdp, version, flavor: options.flavor };

    // From here on a return drops `chromium`, which ends the process.
    let answer = tokio::select! {
        biased;
        exit = chromium.exited() => Err(exit),
        answer = chromium.cdp.call(None, GetVersionParams::default(), FIRST_ANSWER) => Ok(answer),
    };
    match answer {
        Ok(Ok(answer)) => {
            tracing::debug!(pid = chromium.pid(), product = %answer.product, "chromium is up");
            Ok(chromium)
        }
        Ok(Err(crate::CdpError::Gone { .. })) => Err(ended(chromium.exited().await, options).await),
        Err(exit) => Err(ended(exit, options).await),
        Ok(Err(_)) => {
            chromium.kill();
            Err(LaunchError::NoAnswer(FIRST_ANSWER))
        }
    }
}

async fn ended(exit: super::Exit, options: &LaunchOptions) -> LaunchError {
    LaunchError::Ended { exit, log: log_file::tail(&options.log_file()).await }
}

/// Debian's `/usr/bin/chromium` is a shell script that adds flags of its own and puts a process
/// between us and the browser.
fn check_executable(path: &Path) -> Result<(), LaunchError> {
    let mut magic = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    match read {
        Ok(()) if &magic == b"\x7fELF" => Ok(()),
        Ok(()) => Err(LaunchError::NotABinary(path.to_owned())),
        Err(source) => Err(LaunchError::NoExecutable { path: path.to_owned(), source }),
    }
}

/// Makes sure that nothing uses the profile and that the directories are as they should be.
async fn clear_the_way(options: &LaunchOptions, owned: &(dyn Fn() -> bool + Sync)) -> Result<Mark, LaunchError> {
    let profile = options.profile_dir();
    let unused = process_table::wait_unused(&profile, LEFTOVER_GRACE).await;
    // Whoever uses it may be the new owner's browser.
    if !owned() {
        return Err(LaunchError::NotOwned);
    }
    if !unused && !process_table::kill_users(&profile, KILL_GRACE).await {
        return Err(LaunchError::ProfileInUse(profile));
    }
    let options = options.clone();
    tokio::task::spawn_blocking(move || directory::prepare(&options, SystemTime::now()))
        .await
        .map_err(|error| LaunchError::Spawn(error.into()))?
        .map_err(|(path, source)| LaunchError::Directory { path, source })
}

fn spawn(
    options: &LaunchOptions,
    user_agent: Option<&str>,
    commands: OwnedFd,
    answers: OwnedFd,
) -> std::io::Result<Child> {
    let mut command = Command::new(&options.executable);
    command
        .args(flags::arguments(options, user_agent))
        // One group for the whole process tree, so that one signal reaches all of it.
        .process_group(0)
        // A session's directory may be deep, but Chromium makes a socket in its temporary
        // directory, whose path must stay below 108 bytes, or else it aborts. Seen through
        // `/proc/self/cwd` the path is short wherever the directory is.
        .current_dir(options.tmp_dir())
        .env_clear()
        .envs(ENVIRONMENT.iter().filter_map(|&name| Some((name, std::env::var_os(name)?))))
        .env("HOME", "/proc/self/cwd")
        .env("TMPDIR", "/proc/self/cwd")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // If the worker dies, the end of the pipe tells Chromium to end in good order.
        .kill_on_drop(false);
    command
        .fd_mappings(vec![
            FdMapping { parent_fd: commands, child_fd: 3 },
            FdMapping { parent_fd: answers, child_fd: 4 },
        ])
        .map_err(std::io::Error::other)?;
    // Dropping the command closes our copies of the browser's ends of the pipes.
    command.spawn()
}
