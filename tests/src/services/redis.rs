//! A private Redis: no persistence, nothing evicted, a password.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::Context;

use super::Guard;
use super::certificates::Certificates;
use super::process::{Process, dial, find, free_ports, secret};

/// A running Redis.
pub struct Redis {
    port: u16,
    tls_port: u16,
    password: String,
    // Held only to end with it.
    _process: Process,
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
        let mut command = Command::new(find("redis-server").context("redis-server is missing")?);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--tls-port", &tls_port.to_string(), "--tls-auth-clients", "no"]);
        command.arg("--tls-cert-file").arg(&certificates.certificate);
        command.arg("--tls-key-file").arg(&certificates.key);
        command.arg("--tls-ca-cert-file").arg(&certificates.authority);
        command.arg("--dir").arg(data);
        command.args(["--requirepass", &password]);
        command.args(["--save", "", "--appendonly", "no"]);
        command.args(["--maxmemory-policy", "noeviction", "--daemonize", "no"]);
        let mut process = Process::spawn("redis", command, &logs.join("redis.log"), guard)?;
        process.wait_until_ready(|| answers(port, &password))?;
        Ok(Self { port, tls_port, password, _process: process })
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
