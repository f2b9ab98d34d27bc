//! Builds the in-page adapter: installs what `page/package-lock.json` names, checks the types, and
//! bundles everything into one file that the crate includes.
//!
//! All of it happens in Cargo's output directory; the source tree stays as it is.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the bundle is made of, below `page/`.
const SOURCES: &[&str] = &[".npmrc", "build.js", "package.json", "package-lock.json", "src", "tsconfig.json"];

/// Packages are installed again only when one of these has changed.
const PACKAGES: &[&str] = &[".npmrc", "package.json", "package-lock.json"];

fn main() {
    if let Err(error) = build() {
        println!("cargo::error={error}");
    }
}

fn build() -> Result<(), String> {
    // Asked now, not when this script was compiled: a target directory may outlive the checkout it was made for.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").ok_or("Cargo sets CARGO_MANIFEST_DIR")?;
    let page = Path::new(&manifest).join("page");
    let out = std::env::var_os("OUT_DIR").ok_or("Cargo sets OUT_DIR")?;
    let work = Path::new(&out).join("page");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", page.join(source).display());
    }

    let installed = work.join("installed");
    let packages = PACKAGES
        .iter()
        .map(|name| fs::read_to_string(page.join(name)).map_err(|error| format!("cannot read page/{name}: {error}")))
        .collect::<Result<String, _>>()?;
    let is_installed = fs::read_to_string(&installed).is_ok_and(|before| before == packages);

    remove(&work.join("src"))?;
    for source in SOURCES {
        copy(&page.join(source), &work.join(source))?;
    }
    if !is_installed {
        remove(&installed)?;
        npm(&work, &["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"])?;
        fs::write(&installed, packages).map_err(|error| format!("cannot write {}: {error}", installed.display()))?;
    }
    npm(&work, &["run", "--silent", "build"])
}

fn npm(dir: &Path, arguments: &[&str]) -> Result<(), String> {
    let output =
        Command::new("npm").args(arguments).current_dir(dir).stdin(Stdio::null()).output().map_err(|error| {
            format!("cannot run npm ({error}); building the in-page adapter needs Node.js 18 or later with npm")
        })?;
    if output.status.success() {
        return Ok(());
    }
    // One line per message is all that Cargo shows of an error.
    for line in [output.stdout, output.stderr].concat().split(|&b| b == b'\n') {
        println!("cargo::error={}", String::from_utf8_lossy(line));
    }
    Err(format!("npm {} failed ({})", arguments.join(" "), output.status))
}

fn remove(path: &Path) -> Result<(), String> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot copy {}: {error}", from.display());
    if from.is_dir() {
        fs::create_dir_all(to).map_err(failed)?;
        for entry in fs::read_dir(from).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::copy(from, to).map(drop).map_err(failed)
}
