//! What is allowed into the build: packages from crates.io and npm with a checksum, under licences that suit
//! Apache-2.0, and own code without `unsafe`. Needs no network and no services.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Licences whose terms a work under Apache-2.0 can meet by keeping their notices.
const LICENCES: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that must not be there at all, and why.
const UNWANTED: [(&str, &str); 3] = [
    ("openssl-sys", "TLS is rustls, so that a worker needs no system library"),
    ("native-tls", "TLS is rustls, so that a worker needs no system library"),
    ("ureq", "HTTP is reqwest, one client for all"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = root().join(path);
    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// The packages that are built for Linux, from `cargo metadata`.
fn packages() -> Result<Vec<Value>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    metadata["packages"].as_array().cloned().context("packages")
}

#[test]
fn every_crate_comes_from_crates_io_with_a_checksum_or_is_our_own() -> Result<()> {
    let lock: toml::Table = toml::from_str(&read("Cargo.lock")?)?;
    let packages = lock["package"].as_array().context("packages")?;
    let mut own = BTreeSet::new();
    for package in packages {
        let name = package["name"].as_str().context("a name")?;
        match package.get("source").and_then(toml::Value::as_str) {
            None => {
                own.insert(name);
            }
            Some(CRATES_IO) => ensure!(package.get("checksum").is_some(), "{name} has no checksum"),
            Some(source) => bail!("{name} comes from {source}"),
        }
        if let Some((_, why)) = UNWANTED.iter().find(|(unwanted, _)| *unwanted == name) {
            bail!("{name} is in the lock file: {why}");
        }
    }
    let expected = BTreeSet::from([
        "wafleet",
        "wafleet-browser",
        "wafleet-cloud",
        "wafleet-graph",
        "wafleet-imitation",
        "wafleet-profile",
        "wafleet-protocol",
        "wafleet-tests",
    ]);
    ensure!(own == expected, "{own:?}");
    Ok(())
}

#[test]
fn every_npm_package_has_a_strong_checksum_and_the_public_registry_as_its_source() -> Result<()> {
    let lock: Value = serde_json::from_str(&read("worker/browser/page/package-lock.json")?)?;
    let packages = lock["packages"].as_object().context("packages")?;
    ensure!(packages.len() > 1);
    for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
        let integrity = package["integrity"].as_str().unwrap_or_default();
        ensure!(integrity.starts_with("sha512-"), "{name} has the checksum {integrity:?}");
        if let Some(resolved) = package["resolved"].as_str() {
            ensure!(resolved.starts_with("https://registry.npmjs.org/"), "{name} comes from {resolved}");
        }
        let licence = package["license"].as_str().unwrap_or_default();
        ensure!(is_allowed(licence), "{name} is under {licence}");
    }
    let manifest: Value = serde_json::from_str(&read("worker/browser/page/package.json")?)?;
    for kind in ["dependencies", "devDependencies"] {
        for (name, version) in manifest[kind].as_object().context("dependencies")? {
            let exact = version.as_str().is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()));
            ensure!(exact, "{name} is not pinned to one version: {version}");
        }
    }
    Ok(())
}

#[test]
fn every_crate_is_under_a_licence_that_suits_ours() -> Result<()> {
    let refused: BTreeMap<String, String> = packages()?
        .iter()
        .filter_map(|package| {
            let licence = package["license"].as_str().unwrap_or_default();
            (!is_allowed(licence)).then(|| (package["name"].to_string(), licence.to_owned()))
        })
        .collect();
    ensure!(refused.is_empty(), "{refused:#?}");
    Ok(())
}

#[test]
fn own_crates_forbid_unsafe_code_and_are_never_published() -> Result<()> {
    let workspace: toml::Table = toml::from_str(&read("Cargo.toml")?)?;
    let unsafe_code = &workspace["workspace"]["lints"]["rust"]["unsafe_code"];
    ensure!(unsafe_code.as_str() == Some("forbid"), "{unsafe_code}");
    for member in workspace["workspace"]["members"].as_array().context("members")? {
        let member = member.as_str().context("a path")?;
        let manifest: toml::Table = toml::from_str(&read(Path::new(member).join("Cargo.toml"))?)?;
        let inherits = |section: &str, key: &str| {
            let section = manifest.get(section).and_then(toml::Value::as_table);
            section.and_then(|section| section.get(key)).is_some_and(|value| {
                value.as_bool() == Some(true) || value.get("workspace").and_then(toml::Value::as_bool) == Some(true)
            })
        };
        ensure!(inherits("lints", "workspace"), "{member} does not inherit the lints");
        ensure!(inherits("package", "publish"), "{member} could be published");
        ensure!(inherits("package", "license"), "{member} does not inherit the licence");
    }
    Ok(())
}

/// Evaluates an SPDX expression: `OR` needs one allowed side, `AND` needs both, and `/` is an old spelling of `OR`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let allowed = either(&words, &mut at);
    allowed && at == words.len()
}

fn either(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = both(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        allowed |= both(words, at);
    }
    allowed
}

fn both(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        allowed &= one(words, at);
    }
    allowed
}

fn one(words: &[&str], at: &mut usize) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let allowed = either(words, at);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return allowed && closed;
    }
    let mut licence = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        licence = format!("{licence} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    LICENCES.contains(&licence.as_str())
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    let table = [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT/Apache-2.0", true),
        ("MIT OR GPL-3.0-only", true),
        ("MIT AND GPL-3.0-only", false),
        ("GPL-3.0-only OR MIT AND ISC", true),
        ("(GPL-3.0-only OR MIT) AND GPL-2.0-only", false),
        ("ISC AND (Apache-2.0 OR GPL-2.0-only)", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("GPL-2.0-only WITH LLVM-exception", false),
        ("(MIT", false),
        ("MIT MIT", false),
        ("", false),
    ];
    for (expression, expected) in table {
        assert_eq!(is_allowed(expression), expected, "{expression}");
    }
}
