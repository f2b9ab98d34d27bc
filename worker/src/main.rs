//! The one binary: a worker, and the tools around it.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match wafleet::cli::run(wafleet::cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
