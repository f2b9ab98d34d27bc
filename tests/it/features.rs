//! The table of features keeps its word: every yes names a test, and every test that is named exists.

use std::path::Path;

use anyhow::{Context, Result, ensure};

const TABLE: &str = include_str!("../../protocol/FEATURES.md");

/// The paths in backticks that name a test: `module::…::name`.
fn named(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2).filter(|code| code.contains("::"))
}

/// Whether there is a test of this path below `it/`.
pub(crate) fn exists(path: &str) -> Result<bool> {
    let (module, name) = path.rsplit_once("::").context("a path of a test")?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("it").join(module.replace("::", "/")).with_extension("rs");
    let Ok(source) = std::fs::read_to_string(&file) else { return Ok(false) };
    let signature = format!("fn {name}(");
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_test = |at: usize| {
        lines[..at].iter().rev().take_while(|line| line.starts_with("#[")).any(|line| line.contains("test"))
    };
    Ok(lines.iter().enumerate().any(|(at, line)| line.contains(&signature) && is_test(at)))
}

#[test]
fn every_feature_has_a_test_that_exists_or_a_reason() -> Result<()> {
    let rows: Vec<Vec<&str>> = TABLE
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| what "))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    ensure!(rows.len() > 50, "{} rows", rows.len());
    for row in &rows {
        let [what, web, cloud, how, test] = row[..] else { anyhow::bail!("not five cells: {row:?}") };
        ensure!([web, cloud].iter().all(|word| ["yes", "no"].contains(word)), "{what}: {web}, {cloud}");
        let tests: Vec<&str> = named(test).collect();
        ensure!(web == "no" && cloud == "no" || !tests.is_empty() && how != "–", "{what} is a yes without a test");
        for path in tests {
            ensure!(exists(path)?, "{what}: there is no test {path}");
        }
        let mut words = test.split('`').step_by(2).flat_map(str::split_whitespace).filter(|word| word.len() > 2);
        ensure!(web == "yes" && cloud == "yes" || words.next().is_some(), "{what} is a no without a reason");
    }
    Ok(())
}

#[test]
fn a_test_that_is_not_there_is_missed() -> Result<()> {
    ensure!(exists("features::a_test_that_is_not_there_is_missed")?);
    for path in ["features::exists", "features::no_such_test", "no_such_module::no_such_test"] {
        ensure!(!exists(path)?, "{path}");
    }
    Ok(())
}
