//! Becomes another program with some more environment. A worker takes no script for its browser and gives it an
//! environment of its own, so a browser under a wrong clock is started by a copy of this.
//!
//! Beside the copy, with the extension `plan`, lies a file: the program in its first line, then `NAME=value`, one a line.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let error = match become_other() {
        Ok(never) => match never {},
        Err(error) => error,
    };
    eprintln!("wafleet-clocked: {error:#}");
    ExitCode::FAILURE
}

fn become_other() -> anyhow::Result<std::convert::Infallible> {
    let plan = std::fs::read_to_string(std::env::current_exe()?.with_extension("plan"))?;
    let mut lines = plan.lines();
    let mut other = Command::new(lines.next().unwrap_or_default());
    other.args(std::env::args_os().skip(1)).envs(lines.filter_map(|line| line.split_once('=')));
    Err(other.exec().into())
}
