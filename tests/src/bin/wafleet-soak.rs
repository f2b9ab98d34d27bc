//! A long run of a fleet under one fault after the other, chosen by a seed; exits with 0 only if every rule held.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use wafleet_tests::soak::{self, Plan};

/// Three workers, twelve sessions, one fault after the other; afterwards every rule must hold.
#[derive(Parser)]
#[command(name = "wafleet-soak", version)]
struct Arguments {
    /// How long faults come
    #[arg(long, default_value_t = 1800)]
    seconds: u64,
    /// Which faults come; drawn and printed if it is not given
    #[arg(long)]
    seed: Option<u64>,
    /// Sessions
    #[arg(long, default_value_t = 12)]
    sessions: usize,
    /// Workers
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// Where the report and the logs go [default: soak/ in the target directory]
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let plan = Plan {
        seed,
        lasts: Duration::from_secs(arguments.seconds),
        sessions: arguments.sessions.max(1),
        workers: arguments.workers.max(1),
    };
    eprintln!("soak: seed {seed}; again by: make soak SECONDS={} SEED={seed}", arguments.seconds);
    let directory = arguments.dir.unwrap_or_else(default_directory).join(format!("{seed}-{}", std::process::id()));
    match soak::run(&plan, &directory).await {
        Ok(report) => {
            println!("{report}");
            let file = directory.join("report.txt");
            if let Err(error) = std::fs::write(&file, format!("{report}\n")) {
                eprintln!("soak: writing {}: {error}", file.display());
            }
            eprintln!("soak: report and logs in {}", directory.display());
            if report.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("soak: seed {seed} came to no end: {error:#}; logs in {}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn default_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")), PathBuf::from)
        .join("soak")
}
