//! A private Redis: no persistence, nothing evicted, a password.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::Context;

use super::Guard;
use super::certificates::Certificates;
use super::process::{Process, dial, find, free_ports, secret};

/// A Redis, running unless it was killed.
pub struct Redis {
    port: u16,
    tls_port: u16,
    password: String,
    data: PathBuf,
    log: PathBuf,
    certificates: Certificates,
    guard: Arc<Guard>,
    process: Option<Process>,
}

impl Redis {
    /// Starts a Redis with its data in `data` and its output in `logs`, and waits until it answers.
    ///
    /// # Errors
    /// When the program is missing, ends early or does not answer in time.
    pub fn start(data: &Path, logs: &Path, certificates: &Certificates, guard: &Arc<Guard>) -> anyhow::Result<Self> {
        let [port, tls_port] = free_ports()?;
        let password = secret()?;
        std::fs::create_dir_all(data)?;
        let mut redis = Self {
            port,
            tls_port,
            password,
            data: data.to_owned(),
            log: logs.join("redis.log"),
            certificates: certificates.clone(),
            guard: Arc::clone(guard),
            process: None,
        };
        redis.start_again()?;
        Ok(redis)
    }

    /// Starts it after [`kill`](Self::kill): same ports, same password, nothing in it. Does nothing while it runs.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let (port, password) = (self.port, self.password.clone());
        let mut process = Process::spawn("redis", self.command()?, &self.log, &self.guard)?;
        process.wait_until_ready(|| answers(port, &password))?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it as a crash would (SIGKILL). It keeps nothing on disk, so everything in it is gone.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// The process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    fn command(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(find("redis-server").context("redis-server is missing")?);
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--tls-port", &self.tls_port.to_string(), "--tls-auth-clients", "no"]);
        command.arg("--tls-cert-file").arg(&self.certificates.certificate);
        command.arg("--tls-key-file").arg(&self.certificates.key);
        command.arg("--tls-ca-cert-file").arg(&self.certificates.authority);
        command.arg("--dir").arg(&self.data);
        command.args(["--requirepass", &self.password]);
        command.args(["--save", "", "--appendonly", "no"]);
        command.args(["--maxmemory-policy", "noeviction", "--daemonize", "no"]);
        Ok(command)
    }

    /// `redis://…`, password included.
    pub fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}", self.password, self.port)
    }

    /// `rediss://…`: the same with TLS.
    pub fn tls_url(&self) -> String {
        format!("rediss://:{}@127.0.0.1:{}", self.password, self.tls_port)
    }
}

/// Whether the server takes our password and says PONG.
fn answers(port: u16, password: &str) -> std::io::Result<bool> {
    let mut stream = dial(port)?;
    stream.write_all(format!("AUTH {password}\r\nPING\r\n").as_bytes())?;
    let mut answer = [0_u8; 12];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"+OK\r\n+PONG\r\n")
}
