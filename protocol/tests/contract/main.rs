//! The contract with other programs: files in this repository that must not change by accident.
//!
//! `UPDATE_GOLDEN=1 cargo test -p wafleet-protocol` writes them anew; the change then shows in the diff.

use std::fs;
use std::path::{Path, PathBuf};

mod bodies;
mod golden;
mod properties;
mod samples;
mod schemas;
mod vectors;

/// A path below this crate.
fn crate_path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// Compares a file with what it should hold, or writes it when asked to.
fn check_file(relative: &str, expected: &str) {
    let path = crate_path(relative);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("create the directory");
        fs::write(&path, expected).expect("write the file");
    }
    let found = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{relative}: {error}"));
    assert!(found == expected, "{relative} has drifted; review, then run with UPDATE_GOLDEN=1. Expected:\n{expected}");
}

/// The names of the files in a directory, sorted.
fn file_names(relative: &str) -> Vec<String> {
    let entries = fs::read_dir(crate_path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"));
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("read the directory").file_name();
    let mut names: Vec<_> = entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
