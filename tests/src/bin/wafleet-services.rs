//! Private RabbitMQ, Redis and MariaDB around a command, or until Ctrl-C.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::time::Instant;

use anyhow::Context;
use clap::{Parser, Subcommand};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use wafleet_tests::services::Services;

/// Starts private RabbitMQ, Redis and MariaDB on free loopback ports and stops them again.
///
/// Nothing of the system's own servers is touched. Data lives below --dir and goes with the run, the logs of the last
/// ten runs stay.
#[derive(Parser)]
#[command(name = "wafleet-services", version)]
struct Arguments {
    /// Where data, logs and prepared files go [default: services/ in the target directory]
    #[arg(long, global = true, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run a command with the services up; its exit code is passed on
    Run {
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Keep the services up until Ctrl-C and print their addresses as `export` lines
    Up,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN).init();
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("wafleet-services: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // From here on a signal is an event and not the end: what was started has to be stopped.
    let mut stop = Stop::listen()?;
    let root = arguments.dir.unwrap_or_else(default_root);
    let started = Instant::now();
    let starting = tokio::task::spawn_blocking(move || Services::start(&root));
    let services = tokio::select! {
        services = starting => services??,
        // Returning waits for nothing: the guard ends what is half started when this process is gone.
        _ = stop.asked() => std::process::exit(130),
    };
    let addresses = services.addresses();
    eprintln!(
        "services up in {:.1} s, logs in {}",
        started.elapsed().as_secs_f32(),
        addresses.directory.join("logs").display()
    );
    match arguments.action {
        Action::Run { command } => {
            let (program, rest) = command.split_first().context("no command")?;
            let mut child = tokio::process::Command::new(program)
                .args(rest)
                .envs(addresses.env())
                .spawn()
                .with_context(|| format!("starting {program}"))?;
            let id = child.id().context("a child that was not waited for has an id")?;
            services.guard().ask(id);
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status?,
                    asked = stop.asked() => match asked {
                        Asked::ByTerminal => {} // the command was told as well: let it finish
                        Asked::Alone => {
                            if let Some(pid) = Pid::from_raw(id.cast_signed()) {
                                // It may just have ended; then `wait` tells.
                                let _ = kill_process(pid, Signal::TERM);
                            }
                        }
                    }
                }
            };
            services.guard().forget(id);
            Ok(exit_code(status))
        }
        Action::Up => {
            for (name, value) in addresses.env() {
                println!("export {name}='{value}'");
            }
            stop.asked().await;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The signals that ask for an end.
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

enum Asked {
    /// Ctrl-C, which the terminal sends to the whole foreground group.
    ByTerminal,
    /// A signal to this process alone.
    Alone,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn asked(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::ByTerminal,
            _ = self.terminate.recv() => Asked::Alone,
            _ = self.hangup.recv() => Asked::Alone,
        }
    }
}

/// A shell's way of telling a signal: 128 and its number.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn default_root() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")), PathBuf::from)
        .join("services")
}
