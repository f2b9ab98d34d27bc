//! A private RabbitMQ with the management API: one node, its own port mapper, its own cookie, nothing of the system's.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, ensure};

use super::Guard;
use super::certificates::Certificates;
use super::process::{Process, dial, find, free_ports, secret};

/// A running RabbitMQ node.
pub struct RabbitMq {
    home: PathBuf,
    log: PathBuf,
    guard: Arc<Guard>,
    ports: Ports,
    password: String,
    // Dropped after the node, which talks to it.
    node: Option<Process>,
    _port_mapper: Process,
}

#[derive(Clone, Copy)]
struct Ports {
    amqp: u16,
    tls: u16,
    management: u16,
    distribution: u16,
    mapper: u16,
}

impl RabbitMq {
    /// Starts a node with its data in `home` and its output in `logs`, and waits until it takes AMQP and HTTP connections.
    /// With certificates it takes TLS connections as well, on another port.
    ///
    /// # Errors
    /// When a program is missing, ends early or does not answer in time.
    pub fn start(
        home: &Path,
        logs: &Path,
        certificates: Option<&Certificates>,
        guard: &Arc<Guard>,
    ) -> anyhow::Result<Self> {
        let [amqp, tls, management, distribution, mapper] = free_ports()?;
        let ports = Ports { amqp, tls, management, distribution, mapper };
        let password = secret()?;
        configure(home, &ports, certificates, &password)?;

        // Erlang would start the port mapper as a daemon that survives the node. As our own child it has an id to end it by.
        let mut command = Command::new(find("epmd").context("epmd is missing")?);
        command.args(["-address", "127.0.0.1", "-port", &mapper.to_string()]);
        let mut port_mapper = Process::spawn("epmd", command, &logs.join("epmd.log"), guard)?;
        port_mapper.wait_until_ready(|| dial(mapper).map(|_| true))?;

        let mut rabbit = Self {
            home: home.to_owned(),
            log: logs.join("rabbitmq.log"),
            guard: Arc::clone(guard),
            ports,
            password,
            node: None,
            _port_mapper: port_mapper,
        };
        rabbit.start_node()?;
        Ok(rabbit)
    }

    /// Starts the node again after [`kill`](Self::kill): same ports, same data. Does nothing while it runs.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn start_node(&mut self) -> anyhow::Result<()> {
        if self.node.is_some() {
            return Ok(());
        }
        let ports = self.ports;
        let mut node = Process::spawn("rabbitmq", self.command()?, &self.log, &self.guard)?;
        node.wait_until_ready(|| Ok(speaks_amqp(ports.amqp)? && speaks_http(ports.management)?))?;
        self.node = Some(node);
        Ok(())
    }

    /// Ends the node as a power cut would (SIGKILL).
    pub fn kill(&mut self) {
        self.node = None;
    }

    /// `amqp://…` without a virtual host, of an account that may do everything.
    pub fn url(&self) -> String {
        format!("amqp://wafleet:{}@127.0.0.1:{}", self.password, self.ports.amqp)
    }

    /// `amqps://…`: the same with TLS, if the node has certificates.
    pub fn tls_url(&self) -> String {
        format!("amqps://wafleet:{}@127.0.0.1:{}", self.password, self.ports.tls)
    }

    /// `http://…` of the management API, with the same account.
    pub fn management_url(&self) -> String {
        format!("http://wafleet:{}@127.0.0.1:{}", self.password, self.ports.management)
    }

    /// The process id of the node, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.node.as_ref().map(Process::id)
    }

    /// Runs `rabbitmqctl` against this node, for instance `["set_vm_memory_high_watermark", "0.00001"]`, and gives its
    /// output. It takes seconds, because it starts an Erlang machine of its own.
    ///
    /// # Errors
    /// When the node is not there or refuses.
    pub fn control(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let server = script().context("rabbitmq-server is missing")?;
        let mut command = Command::new(server.with_file_name("rabbitmqctl"));
        command.args(["--longnames", "--node", &self.node_name(), "--quiet"]).args(arguments);
        let output = command
            .current_dir(&self.home)
            .env("HOME", &self.home)
            .env("ERL_EPMD_PORT", self.ports.mapper.to_string())
            .env("RABBITMQ_CONF_ENV_FILE", self.home.join("none.conf"))
            .stdin(Stdio::null())
            .output()?;
        ensure!(
            output.status.success(),
            "rabbitmqctl {arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A long name with an address needs no name service, not even /etc/hosts.
    fn node_name(&self) -> String {
        format!("wafleet-{}@127.0.0.1", self.ports.amqp)
    }

    fn command(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(script().context("rabbitmq-server is missing")?);
        let home = &self.home;
        command
            .current_dir(home)
            .env("HOME", home) // the cookie is read from here
            .env("RABBITMQ_NODENAME", self.node_name())
            .env("RABBITMQ_USE_LONGNAME", "true")
            .env("RABBITMQ_NODE_PORT", self.ports.amqp.to_string())
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.to_string())
            .env("ERL_EPMD_PORT", self.ports.mapper.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_MNESIA_BASE", home.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", home.join("log"))
            .env("RABBITMQ_LOGS", "-") // to standard output, which is our log file
            .env("RABBITMQ_PID_FILE", home.join("pid"))
            .env("RABBITMQ_CONFIG_FILE", home.join("rabbitmq.conf"))
            .env("RABBITMQ_CONF_ENV_FILE", home.join("none.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", home.join("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("enabled_plugins"))
            .env("RABBITMQ_FEATURE_FLAGS_FILE", home.join("feature_flags"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", home.join("generated"))
            // Idle schedulers sleep instead of spinning: the browsers need the processor.
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
            )
            // Makes the script replace itself by the Erlang machine, so that our child is the node and not a shell around it.
            .env("RUNNING_UNDER_SYSTEMD", "1")
            .env_remove("NOTIFY_SOCKET");
        Ok(command)
    }
}

/// The server's own start script. Debian's wrapper in PATH insists on the account `rabbitmq` and the system's paths.
fn script() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/rabbitmq/lib")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("sbin/rabbitmq-server"))
        .filter(|script| script.is_file())
        .collect();
    versions.sort();
    versions.pop()
}

/// Whether everything a node needs is installed.
pub(super) fn is_installed() -> bool {
    script().is_some() && find("epmd").is_some()
}

fn configure(home: &Path, ports: &Ports, certificates: Option<&Certificates>, password: &str) -> anyhow::Result<()> {
    for directory in ["mnesia", "log", "generated"] {
        std::fs::create_dir_all(home.join(directory))?;
    }
    let cookie = home.join(".erlang.cookie");
    std::fs::write(&cookie, secret()?)?;
    std::fs::set_permissions(&cookie, std::fs::Permissions::from_mode(0o400))?;
    std::fs::write(home.join("enabled_plugins"), "[rabbitmq_management].\n")?;
    std::fs::write(home.join("advanced.config"), "[].\n")?;
    let tls = certificates.map(|files| {
        format!(
            "listeners.ssl.1 = 127.0.0.1:{}\n\
             ssl_options.cacertfile = {}\n\
             ssl_options.certfile = {}\n\
             ssl_options.keyfile = {}\n\
             ssl_options.verify = verify_none\n\
             ssl_options.fail_if_no_peer_cert = false\n",
            ports.tls,
            files.authority.display(),
            files.certificate.display(),
            files.key.display()
        )
    });
    std::fs::write(
        home.join("rabbitmq.conf"),
        format!(
            "listeners.tcp.1 = 127.0.0.1:{}\n\
             management.tcp.ip = 127.0.0.1\n\
             management.tcp.port = {}\n\
             default_user = wafleet\n\
             default_pass = {password}\n\
             disk_free_limit.absolute = 50MB\n\
             vm_memory_high_watermark.absolute = 2GB\n\
             collect_statistics_interval = 1000\n\
             log.console = true\n\
             log.console.level = info\n\
             {}",
            ports.amqp,
            ports.management,
            tls.unwrap_or_default()
        ),
    )?;
    Ok(())
}

/// Whether the broker answers the protocol header with `Connection.Start`, a method frame: its listeners open last in the boot.
fn speaks_amqp(port: u16) -> std::io::Result<bool> {
    let mut stream = dial(port)?;
    stream.write_all(b"AMQP\x00\x00\x09\x01")?;
    let mut frame_type = [0_u8; 1];
    stream.read_exact(&mut frame_type)?;
    Ok(frame_type == [1])
}

/// Whether the management API answers at all; it wants a password, so 401 is the right answer.
fn speaks_http(port: u16) -> std::io::Result<bool> {
    let mut stream = dial(port)?;
    stream.write_all(b"GET /api/overview HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut line = [0_u8; 12];
    stream.read_exact(&mut line)?;
    Ok(line.ends_with(b" 401"))
}
