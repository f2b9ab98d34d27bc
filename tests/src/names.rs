//! A resolver in bad hands, for one worker: names whose addresses change from one question to the next.
//!
//! A library of our own, preloaded into the worker, answers in the place of the system's resolver. No nameserver has to be
//! set for the whole machine, and the worker asks as it always does.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::fleet::WorkerBuilder;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/names/hostile.c");

/// The names, and what they are said to be.
pub struct HostileNames {
    library: PathBuf,
    file: PathBuf,
}

impl HostileNames {
    /// Each name with its answers, one after the other; the last stays. `+` joins the addresses of one answer.
    ///
    /// # Errors
    /// There is no C compiler, or the files cannot be written.
    pub fn new(directory: &Path, names: &[(&str, &[&str])]) -> anyhow::Result<Self> {
        let (library, file) = (directory.join("names.so"), directory.join("names"));
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(SOURCE).args(["-ldl", "-lpthread"]);
        let compiled = compiler.output().context("cc")?;
        ensure!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let lines: String = names.iter().map(|(name, answers)| format!("{name} {}\n", answers.join(" "))).collect();
        std::fs::write(&file, lines)?;
        Ok(Self { library, file })
    }

    /// The worker believes them.
    #[must_use]
    pub fn believed_by(&self, worker: WorkerBuilder) -> WorkerBuilder {
        worker
            .env("LD_PRELOAD", self.library.display().to_string())
            .env("HOSTILE_NAMES_FILE", self.file.display().to_string())
    }

    /// The names that were asked for, in order.
    ///
    /// # Errors
    /// The list cannot be read.
    pub fn asked(&self) -> anyhow::Result<Vec<String>> {
        let mut list = self.file.clone().into_os_string();
        list.push(".asked");
        match std::fs::read_to_string(&list) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}
