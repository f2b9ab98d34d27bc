//! A private Redis: no persistence, nothing evicted, a password.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::Context;

use super::Guard;
use super::process::{Process, dial, find, free_ports, secret};

/// A running Redis.
pub struct Redis {
    port: u16,
    password: String,
    process: Process,
}

impl Redis {
    /// Starts a Redis with its data in `data` and its output in `logs`, and waits until it answers.
    ///
    /// # Errors
    /// When the program is missing, ends early or does not answer in time.
    pub fn start(data: &Path, logs: &Path, guard: &Arc<Guard>) -> anyhow::Result<Self> {
        let [port] = free_ports()?;
        let password = secret()?;
        std::fs::create_dir_all(data)?;
        let mut command = Command::new(find("redis-server").context("redis-server is missing")?);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.arg("--dir").arg(data);
        command.args(["--requirepass", &password]);
        command.args(["--save", "", "--appendonly", "no"]);
        command.args(["--maxmemory-policy", "noeviction", "--daemonize", "no"]);
        let mut process = Process::spawn("redis", command, &logs.join("redis.log"), guard)?;
        process.wait_until_ready(|| answers(port, &password))?;
        Ok(Self { port, password, process })
    }

    /// `redis://…`, password included.
    pub fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}", self.password, self.port)
    }

    /// The process id of the server.
    pub fn id(&self) -> u32 {
        self.process.id()
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
