//! One private service as an operating system process: found, started in a group of its own, probed, ended by its id.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use super::Guard;

/// How long a service may take from its start to its first right answer. RabbitMQ needs 5 to 13 s on two
/// cores, and was seen to need 90 s on two that had ten times their work to do.
const READY_WITHIN: Duration = Duration::from_secs(180);

/// The directories a Debian package puts servers into. A user's PATH often lacks the `sbin` ones.
const SERVER_DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/sbin"];

/// Finds a program by PATH and the directories of servers.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SERVER_DIRECTORIES.map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

/// A running service. Dropping it kills its whole process group.
pub(super) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    guard: Arc<Guard>,
}

impl Process {
    /// Starts `command` in its own process group, its output appended to `log`.
    pub(super) fn spawn(
        name: &'static str,
        mut command: Command,
        log: &Path,
        guard: &Arc<Guard>,
    ) -> anyhow::Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name} ({:?})", command.get_program()))?;
        guard.watch(child.id());
        Ok(Self { name, child, log: log.to_owned(), guard: Arc::clone(guard) })
    }

    /// The id of the main process, which is also that of its group.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks `probe` until it says yes; gives up when the process ends or time is over.
    pub(super) fn wait_until_ready(&mut self, mut probe: impl FnMut() -> std::io::Result<bool>) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            if matches!(probe(), Ok(true)) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status} while starting:\n{}", self.name, tail(&self.log));
            }
            if started.elapsed() > READY_WITHIN {
                bail!("{} did not answer within {READY_WITHIN:?}:\n{}", self.name, tail(&self.log));
            }
            std::thread::sleep(Duration::from_millis(20)); // between two questions
        }
    }

    /// Kills the whole group and returns how the main process ended.
    pub(super) fn kill(&mut self) -> std::io::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            // The leader is gone and was reaped; what it left behind still has its group.
            self.kill_group();
            return Ok(status);
        }
        self.kill_group();
        self.child.wait()
    }

    fn kill_group(&self) {
        // ESRCH only says that nothing is left.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        self.guard.forget(self.child.id());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!(service = self.name, %error, "ending a service");
        }
    }
}

/// The last lines of a log, for an error message.
pub(super) fn tail(log: &Path) -> String {
    const LINES: usize = 30;
    match std::fs::read(log) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            let from = lines.len().saturating_sub(LINES);
            format!("{}:\n{}", log.display(), lines[from..].join("\n"))
        }
        Err(error) => format!("{}: {error}", log.display()),
    }
}

/// `N` different loopback ports that nobody listens on, below the range the kernel gives to clients.
///
/// A client that redials a port inside that range can be given the very same port as its own, connects to itself and
/// keeps the restarted server from binding it.
pub(super) fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    use std::hash::{BuildHasher, RandomState};
    const LOWEST: u16 = 10_240;
    let highest = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse::<u16>().ok())
        .filter(|low| *low > LOWEST + 1_000)
        .unwrap_or(32_768);
    let span = u64::from(highest - LOWEST);
    // Held until all are found, so that no port is handed out twice.
    let mut held: Vec<TcpListener> = Vec::with_capacity(N);
    let random = RandomState::new();
    for attempt in 0..2_000_u32 {
        if held.len() == N {
            break;
        }
        let offset = u16::try_from(random.hash_one(attempt) % span)?;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, LOWEST + offset)) {
            held.push(listener);
        }
    }
    let ports = held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<std::io::Result<Vec<u16>>>()?;
    <[u16; N]>::try_from(ports).map_err(|found| anyhow::anyhow!("only {} of {N} free ports found", found.len()))
}

/// A connection for a probe: short time limits, because the probe is repeated anyway.
pub(super) fn dial(port: u16) -> std::io::Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    Ok(stream)
}

/// A word nobody can guess, for the passwords of one run: hexadecimal, 128 bits.
pub(super) fn secret() -> anyhow::Result<String> {
    use std::io::Read;
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_different_and_below_the_range_of_clients() {
        let mut ports = free_ports::<20>().expect("20 free ports");
        ports.sort_unstable();
        assert!(ports.windows(2).all(|pair| pair[0] != pair[1]), "{ports:?}");
        assert!(ports.iter().all(|port| (10_240..32_768).contains(port)));
    }

    #[test]
    fn a_service_that_ends_early_is_reported_with_its_log() {
        let log = std::env::temp_dir().join(format!("wafleet-process-{}.log", std::process::id()));
        let guard = Arc::new(Guard::start(None).expect("a shell"));
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo no such option >&2; exit 3"]);
        let mut process = Process::spawn("example", command, &log, &guard).expect("a shell");
        let error = process.wait_until_ready(|| Ok(false)).expect_err("it ended");
        let _ = std::fs::remove_file(&log);
        let text = error.to_string();
        assert!(text.contains("example ended with exit status: 3"), "{text}");
        assert!(text.contains("no such option"), "{text}");
    }
}
