//! A private MariaDB: a fresh data directory from a prepared one, one account, and a clock that is not in UTC.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, bail};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection};

use super::Guard;
use super::certificates::Certificates;
use super::process::{Process, dial, find, free_ports, secret};

/// The redo log's size. The prepared directory and the server must agree, and the default of 96 MB would be copied each time.
const LOG_FILE_SIZE: &str = "--innodb-log-file-size=8M";

/// A MariaDB, running unless it was killed.
pub struct MariaDb {
    port: u16,
    password: String,
    data: PathBuf,
    log: PathBuf,
    certificates: Certificates,
    guard: Arc<Guard>,
    process: Option<Process>,
}

impl MariaDb {
    /// Starts a MariaDB with its data in `data` and its output in `logs`, and waits until it answers.
    ///
    /// `templates` keeps the prepared data directory between runs: preparing takes a second or more, copying a tenth of it.
    ///
    /// # Errors
    /// When a program is missing, preparing fails, or the server ends early or does not answer in time.
    pub fn start(
        data: &Path,
        logs: &Path,
        templates: &Path,
        certificates: &Certificates,
        guard: &Arc<Guard>,
    ) -> anyhow::Result<Self> {
        let server = find("mariadbd").context("mariadbd is missing")?;
        let template = prepare(&server, templates, logs)?;
        copy(&template, &data.join("tables")).context("copying the prepared data directory")?;
        // Its own, because a server that starts removes the temporary files of others from a shared one.
        std::fs::create_dir_all(data.join("tmp"))?;

        let [port] = free_ports()?;
        let password = secret()?;
        // Run by the server before it listens, at each start. The accounts of a fresh installation have no password.
        // Only the operator may write to a server that is read-only.
        std::fs::write(
            data.join("accounts.sql"),
            format!(
                "DELETE FROM mysql.global_priv WHERE User <> 'mariadb.sys';\nFLUSH PRIVILEGES;\n\
                 CREATE USER 'wafleet'@'127.0.0.1' IDENTIFIED BY '{password}';\n\
                 GRANT ALL ON *.* TO 'wafleet'@'127.0.0.1' WITH GRANT OPTION;\n\
                 REVOKE READ_ONLY ADMIN ON *.* FROM 'wafleet'@'127.0.0.1';\n\
                 CREATE USER 'operator'@'127.0.0.1' IDENTIFIED BY '{password}';\n\
                 GRANT ALL ON *.* TO 'operator'@'127.0.0.1';\n"
            ),
        )?;
        let mut mariadb = Self {
            port,
            password,
            data: data.to_owned(),
            log: logs.join("mariadb.log"),
            certificates: certificates.clone(),
            guard: Arc::clone(guard),
            process: None,
        };
        mariadb.start_again()?;
        Ok(mariadb)
    }

    /// Starts it after [`kill`](Self::kill): same port, same data. Does nothing while it runs.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let port = self.port;
        let mut process = Process::spawn("mariadb", self.command()?, &self.log, &self.guard)?;
        process.wait_until_ready(|| answers(port))?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it as a crash would (SIGKILL). What was committed is there again after [`start_again`](Self::start_again).
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// The process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Refuses every write of the account in [`url`](Self::url), or takes them again. A restart takes them again, too.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn set_read_only(&self, read_only: bool) -> anyhow::Result<()> {
        let url = format!("mysql://operator:{}@127.0.0.1:{}", self.password, self.port);
        let mut connection = MySqlConnection::connect(&url).await?;
        let set = AssertSqlSafe(format!("SET GLOBAL read_only = {}", u8::from(read_only)));
        sqlx::raw_sql(set).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }

    fn command(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(find("mariadbd").context("mariadbd is missing")?);
        command.arg("--no-defaults");
        command.arg(argument("--datadir=", &self.data.join("tables")));
        command.arg(argument("--init-file=", &self.data.join("accounts.sql")));
        command.arg(argument("--tmpdir=", &self.data.join("tmp")));
        // For clients that ask for TLS; the others are served as well.
        command.arg(argument("--ssl-cert=", &self.certificates.certificate));
        command.arg(argument("--ssl-key=", &self.certificates.key));
        command.arg(argument("--ssl-ca=", &self.certificates.authority));
        if rustix::process::geteuid().is_root() {
            command.arg("--user=root");
        }
        command.args([
            &format!("--port={}", self.port),
            "--bind-address=127.0.0.1",
            // Relative to the data directory, because a socket's path may have 107 bytes at most.
            "--socket=server.sock",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_unicode_ci",
            // A server that is not in UTC, as a host application's may be: a query that relies on the server's clock fails here.
            "--default-time-zone=+07:00",
            "--max-connections=500",
            "--max-allowed-packet=64M",
            "--innodb-buffer-pool-size=64M",
            LOG_FILE_SIZE,
            // A killed server keeps what it committed, a power cut is not tried: no need to wait for the disk.
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-doublewrite=0",
        ]);
        Ok(command)
    }

    /// `mysql://…` without a database, of an account that may do everything.
    pub fn url(&self) -> String {
        format!("mysql://wafleet:{}@127.0.0.1:{}", self.password, self.port)
    }
}

/// Whether the server greets with the first packet of its protocol, version 10.
fn answers(port: u16) -> std::io::Result<bool> {
    let mut start = [0_u8; 5];
    dial(port)?.read_exact(&mut start)?;
    Ok(start[4] == 10)
}

/// The prepared data directory for this server and this user; made now if there is none.
fn prepare(server: &Path, templates: &Path, logs: &Path) -> anyhow::Result<PathBuf> {
    let version = Command::new(server).args(["--no-defaults", "--version"]).stderr(Stdio::null()).output()?;
    let version: String = String::from_utf8_lossy(&version.stdout)
        .split_whitespace()
        .skip_while(|word| *word != "Ver")
        .nth(1)
        .unwrap_or("unknown")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let user = rustix::process::geteuid().as_raw();
    let template = templates.join(format!("mariadb-{version}-{user}"));
    if template.is_dir() {
        return Ok(template);
    }

    let making = templates.join(format!("making-{}-{}", std::process::id(), secret()?));
    std::fs::create_dir_all(&making)?;
    let mut command = Command::new(find("mariadb-install-db").context("mariadb-install-db is missing")?);
    command.arg("--no-defaults");
    command.arg(argument("--datadir=", &making));
    if rustix::process::geteuid().is_root() {
        command.arg("--user=root");
    }
    // A bare machine may have no name for itself, not even `localhost`; the accounts are replaced anyway.
    command.arg("--force");
    command.args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve", LOG_FILE_SIZE]);
    let output = command.stdin(Stdio::null()).output()?;
    std::fs::write(logs.join("mariadb-install-db.log"), [&output.stdout[..], &output.stderr[..]].concat())?;
    if !output.status.success() {
        let _ = std::fs::remove_dir_all(&making);
        bail!(
            "mariadb-install-db ended with {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    // Complete or absent, whoever else prepares one at the same time.
    if std::fs::rename(&making, &template).is_err() {
        let _ = std::fs::remove_dir_all(&making);
        if !template.is_dir() {
            bail!("cannot create {}", template.display());
        }
    }
    Ok(template)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn argument(name: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(name);
    argument.push(path);
    argument
}
