//! A wrong wall clock for one worker and its browsers: a library of our own, preloaded into both.
//!
//! Both, because they share a machine: a page compares the deadline that its worker names with its own clock. Clocks that
//! nobody sets (CLOCK_MONOTONIC, CLOCK_BOOTTIME) stay true, as they do on a machine whose clock is set. Debian's
//! libfaketime does the same, and makes Chromium spin in every wait: measured a minute to its first code, against 2 s.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::fleet::{WorkerBuilder, built};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/clocks/wall_clock.c");
const CHROMIUM: &str = "/usr/lib/chromium/chromium";

/// A clock that can be set while somebody lives by it.
pub struct WallClock {
    setting: PathBuf,
    browser: PathBuf,
    environment: [(&'static str, String); 2],
}

impl WallClock {
    /// A clock that is right so far. Its files lie in `directory`.
    ///
    /// # Errors
    /// There is no C compiler, or the files cannot be written.
    pub fn new(directory: &Path, name: &str) -> anyhow::Result<Self> {
        let (library, setting) = (directory.join(format!("{name}.clock.so")), directory.join(format!("{name}.clock")));
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).args([&library]).arg(SOURCE).output();
        let compiled = compiled.context("cc")?;
        ensure!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let environment =
            [("LD_PRELOAD", library.display().to_string()), ("WALL_CLOCK_FILE", setting.display().to_string())];
        // A worker gives its browser an environment of its own, so the browser brings the clock itself.
        let browser = directory.join(format!("{name}.chromium"));
        fs::copy(built("wafleet-clocked")?, &browser)?;
        let mut plan = std::env::var("WAFLEET_CHROMIUM_PATH").unwrap_or_else(|_| CHROMIUM.to_owned());
        for (name, value) in &environment {
            plan.push_str(&format!("\n{name}={value}"));
        }
        fs::write(browser.with_extension("plan"), plan)?;
        let clock = Self { setting, browser, environment };
        clock.set_ahead(0)?;
        Ok(clock)
    }

    /// Lets the clock be so many seconds ahead of the true time, or behind it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_ahead(&self, seconds: i64) -> anyhow::Result<()> {
        // In place: whoever lives by it has the file mapped.
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&self.setting)?;
        std::os::unix::fs::FileExt::write_all_at(&file, &seconds.to_ne_bytes(), 0).context("setting a clock")
    }

    /// The worker and its browsers live by this clock.
    #[must_use]
    pub fn under(&self, mut worker: WorkerBuilder) -> WorkerBuilder {
        for (name, value) in &self.environment {
            worker = worker.env(name, value);
        }
        worker.env("WAFLEET_CHROMIUM_PATH", self.browser.display().to_string())
    }
}
