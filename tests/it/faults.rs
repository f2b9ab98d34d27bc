//! The faults of `tests/FAULTS.md`, each broken on real services, each checked against the invariants of
//! [`wafleet_tests::invariants`].
//!
//! A test that stops or reconfigures a server takes one of its own and lives in a module `own_services`: those take turns.

mod broker;
mod browser;
mod clock;
mod database;
mod media;
mod ownership;
mod profiles;
mod sends;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// A small disk of its own, in memory. Mounting needs root and `CAP_SYS_ADMIN`.
struct Disk(PathBuf);

impl Disk {
    /// `None` where this user may not mount: then the test proves nothing, and says so.
    fn mount(path: PathBuf, options: &str) -> Result<Option<Self>> {
        std::fs::create_dir_all(&path)?;
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "wafleet-test"])
            .arg(&path)
            .output()?;
        let said = String::from_utf8_lossy(&mounted.stderr).into_owned();
        if ["must be superuser", "permission denied", "not permitted"].iter().any(|refusal| said.contains(refusal)) {
            eprintln!("NOT TESTED: a full disk needs a small disk, and this user may not mount one: {said}");
            return Ok(None);
        }
        ensure!(mounted.status.success(), "{said}");
        Ok(Some(Self(path)))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, because a browser that was killed may need a moment to let go of it.
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The rows of the table: number, test, result.
fn rows(table: &str) -> Result<Vec<(u32, String, String)>> {
    let mut rows = Vec::new();
    for line in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [number, _fault, _holds, test, result] = cells[..] else { anyhow::bail!("not five cells: {line}") };
        rows.push((number.parse().with_context(|| line.to_owned())?, test.to_owned(), result.to_owned()));
    }
    Ok(rows)
}

/// Every test in the modules of faults, as `area::name`.
fn tests() -> Result<BTreeSet<String>> {
    let areas = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/faults");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(areas)? {
        let path = entry?.path();
        let area = path.file_stem().and_then(|stem| stem.to_str()).context("a module has a name")?.to_owned();
        let source = std::fs::read_to_string(&path)?;
        let mut lines = source.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if !line.starts_with("#[tokio::test") && line != "#[test]" {
                continue;
            }
            let name = lines.by_ref().find_map(|line| line.split_once("fn ")).context("an attribute without a test")?.1;
            let name = name.split(['(', '<']).next().unwrap_or_default();
            found.insert(format!("{area}::{name}"));
        }
    }
    Ok(found)
}

/// The names in backquotes.
fn named(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn the_table_of_faults_and_the_tests_name_each_other() -> Result<()> {
    let table = include_str!("../FAULTS.md");
    let (rows, tests) = (rows(table)?, tests()?);
    let numbers: Vec<u32> = rows.iter().map(|(number, ..)| *number).collect();
    ensure!(numbers == (1..=46).collect::<Vec<_>>(), "one row for each fault, in order: {numbers:?}");
    let mut in_table = BTreeSet::new();
    for (number, test, result) in &rows {
        let names: Vec<&str> = named(test).collect();
        ensure!(!result.is_empty(), "row {number} has no result");
        if names.is_empty() {
            ensure!(result.starts_with("not proven: "), "row {number} has no test, so it says why: {result}");
        }
        for name in names {
            // What is no test of these areas is one of another module.
            let here = tests.contains(name);
            ensure!(here || crate::features::exists(name)?, "row {number} names {name}, and there is no such test");
            if here {
                in_table.insert(name.to_owned());
            }
        }
    }
    let left_out: Vec<_> = tests.difference(&in_table).collect();
    ensure!(left_out.is_empty(), "no row names {left_out:?}");
    Ok(())
}
