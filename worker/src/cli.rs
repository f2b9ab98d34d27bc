//! The command line. Each subcommand returns what to say or an error; `main` turns that into an exit code.

mod campaign;
mod client;
mod cloud;
mod dlq;
mod keys;
mod limits;
mod migrate;
mod profile_keys;
mod session;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use wafleet_protocol::id::{SessionId, WorkspaceId};
use wafleet_protocol::lane::Lane;

use crate::config::{Config, SETTINGS, Settings};
use crate::health::{self, Probe};
use crate::worker::{self, Ending};

/// WhatsApp Web sessions for Laravel, driven by signed commands over RabbitMQ.
///
/// Settings come from the environment (WAFLEET_AMQP_URL, …), from files named there (WAFLEET_AMQP_URL_FILE, …), or from a
/// TOML file. `wafleet config list` explains each of them, `wafleet config check` finds every problem at once.
#[derive(Debug, Parser)]
#[command(name = "wafleet", version, max_term_width = 110)]
pub struct Cli {
    /// TOML file with settings; the environment wins over it.
    #[arg(long, global = true, env = "WAFLEET_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a worker until SIGTERM: claim sessions, drive their browsers, publish their events.
    Worker,
    /// What a worker starts beside itself: ends the worker's browsers when the worker is stopped or dead.
    #[command(hide = true)]
    Leash,
    /// Change the database schema.
    #[command(subcommand)]
    Migrate(migrate::Migrate),
    /// Look at the settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make signing keys; make, list, rotate and retire the keys that seal saved profiles.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Ask the worker on this machine how it is, by its heartbeat file. Exit code 0 is well, 1 is not.
    Health {
        /// What to ask.
        probe: Probe,
    },
    /// Start, look at, stop, unlink or link a session, as the host application would: by a signed command.
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Send a text message and wait for its result.
    #[command(
        after_help = "Example:\n  wafleet send shop --workspace 1 --to 4915112345678 --text 'Hello' --reference order-7"
    )]
    Send {
        #[command(flatten)]
        target: Target,
        /// Phone number in digits with country code, or a chat id (…@c.us, …@lid, …@g.us).
        #[arg(long)]
        to: String,
        /// The text.
        #[arg(long)]
        text: String,
        /// Your own name for the message, echoed in its events.
        #[arg(long)]
        reference: Option<String>,
        /// The lane to send on: urgent, high, normal or campaign.
        #[arg(long, default_value = "normal")]
        lane: Lane,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Numbers at Meta's Cloud API: tokens, and the sessions that use them.
    #[command(subcommand)]
    Cloud(cloud::CloudCommand),
    /// Look at a campaign, pause it, let it go on, or cancel it.
    #[command(subcommand)]
    Campaign(campaign::CampaignCommand),
    /// Note who wants no campaigns of a workspace, or wants them again.
    #[command(subcommand, name = "optout")]
    OptOut(campaign::OptOutCommand),
    /// List, show, replay, drop and export dead letters: commands that were refused or given up.
    #[command(subcommand)]
    Dlq(dlq::Dlq),
    /// Print events as they come, one JSON object a line, until Ctrl-C. Shows chats: mind who sees the screen.
    Events {
        /// Only this workspace.
        #[arg(long)]
        workspace: Option<WorkspaceId>,
        /// Only this session.
        #[arg(long)]
        session: Option<SessionId>,
        /// Stop after so many events.
        #[arg(long)]
        count: Option<u64>,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check the settings of a worker and print them, secrets hidden.
    Check,
    /// List all settings with defaults and meaning.
    List,
}

/// Which session a command is for.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// The session id: letters, digits, `_` and `-`, at most 64.
    session: SessionId,
    /// The workspace id of the host application.
    #[arg(long)]
    workspace: WorkspaceId,
}

/// How to publish a command and how long to wait for what follows.
#[derive(Debug, Clone, Args)]
pub(crate) struct Waiting {
    /// Command id; the same id is never executed twice (default: a new one).
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Seconds to wait for the result.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    wait: u64,
    /// Print events as JSON lines instead of sentences.
    #[arg(long)]
    json: bool,
}

/// Runs what the command line asks for.
///
/// # Errors
/// What went wrong, for the person at the terminal.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Command::Leash = cli.command {
        crate::leash::run()?;
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings::read(cli.config.as_deref(), std::env::vars())?;
    match cli.command {
        Command::Worker => {
            crate::logging::start(settings.get("log").unwrap_or("info"), settings.get("log_format").unwrap_or("json"))
                .map_err(anyhow::Error::msg)?;
            let config = Config::for_worker(&settings)?;
            raise_open_files();
            let ending = runtime(true)?.block_on(worker::run(config))?;
            Ok(if ending == Ending::Drained { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Leash => unreachable!("it needs no settings and was run above"),
        Command::Migrate(migrate) => runtime(false)?.block_on(migrate::run(migrate, &settings)),
        Command::Config(ConfigCommand::Check) => {
            Config::for_worker(&settings)?;
            for (name, value, source) in settings.describe() {
                println!("{name:<26} {value}   ({source})");
            }
            println!("ok");
            Ok(ExitCode::SUCCESS)
        }
        Command::Config(ConfigCommand::List) => {
            for setting in SETTINGS {
                println!("WAFLEET_{}", setting.name.to_ascii_uppercase());
                println!(
                    "    {}{}",
                    setting.help,
                    setting.default.map(|value| format!(" [default: {value}]")).unwrap_or_default()
                );
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Keys(keys) => runtime(false)?.block_on(keys::run(keys, &settings)),
        Command::Health { probe } => {
            match health::judge(settings.get("runtime_dir").unwrap_or_default().as_ref(), probe) {
                Ok(well) => {
                    println!("{well}");
                    Ok(ExitCode::SUCCESS)
                }
                Err(ill) => {
                    eprintln!("{ill}");
                    Ok(ExitCode::FAILURE)
                }
            }
        }
        Command::Session(command) => runtime(false)?.block_on(session::run(command, &settings)),
        Command::Send { target, to, text, reference, lane, waiting } => {
            runtime(false)?.block_on(session::send(&settings, &target, &to, &text, reference, lane, &waiting))
        }
        Command::Cloud(command) => runtime(false)?.block_on(cloud::run(command, &settings)),
        Command::Campaign(command) => runtime(false)?.block_on(campaign::run(command, &settings)),
        Command::OptOut(command) => runtime(false)?.block_on(campaign::opt_out(command, &settings)),
        Command::Dlq(command) => runtime(false)?.block_on(dlq::run(command, &settings)),
        Command::Events { workspace, session, count } => {
            runtime(false)?.block_on(session::events(&settings, workspace, session.as_ref(), count))
        }
    }
}

/// A worker gets a thread per core; a client needs one.
fn runtime(worker: bool) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = if worker {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    builder.enable_all().build()
}

/// A session needs about 240 descriptors in Chromium and a handful here; the usual soft limit of 1024 is too low for many.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const WANTED: u64 = 65_536;
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    if limit.current.is_some_and(|current| current < WANTED.min(most)) {
        let raised = Rlimit { current: Some(WANTED.min(most)), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
    }
}
