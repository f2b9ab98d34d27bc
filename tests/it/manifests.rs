//! The Kubernetes manifests say what the worker understands, and open no way in.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use wafleet_tests::fleet::Fleet;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s")
}

fn read(name: &str) -> Result<String> {
    std::fs::read_to_string(directory().join(name)).with_context(|| format!("reading k8s/{name}"))
}

/// The number after `key` in a manifest or a settings file.
fn number(text: &str, key: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(key)).with_context(|| format!("no {key}"))?;
    Ok(line.trim().parse()?)
}

/// What the harness sets for every worker and the manifests set themselves or leave out.
const DEFAULTS: [&str; 11] = [
    "AMQP_URL",
    "REDIS_URL",
    "REDIS_PREFIX",
    "DATABASE_URL",
    "KEYRING_FILE",
    "PROFILE_KEYS_FILE",
    "PROFILE_ROOT",
    "RUNTIME_DIR",
    "WORKER_ID",
    "LOG",
    "LOG_FORMAT",
];

#[tokio::test]
async fn the_worker_understands_every_setting_of_the_manifests() -> Result<()> {
    let fleet = Fleet::start().await?;
    let manifest = read("worker.yaml")?;
    let secrets = fleet.scratch().join("secrets");
    std::fs::create_dir_all(&secrets)?;
    std::fs::write(secrets.join("amqp_url"), fleet.virtual_host().url())?;
    std::fs::write(secrets.join("redis_url"), fleet.redis_url())?;
    std::fs::write(secrets.join("database_url"), fleet.database().url())?;
    std::fs::copy(fleet.keyring_file(), secrets.join("keyring.json"))?;
    std::fs::copy(fleet.profile_keys_file(), secrets.join("profile-keys.json"))?;

    // Only what the manifest sets, with its mount points moved to where they are here. The sandbox stays as this machine
    // can have it: there is none for root, which no pod of ours runs as.
    let mut worker = fleet.worker("manifest");
    for name in DEFAULTS {
        worker = worker.without(&format!("WAFLEET_{name}"));
    }
    let mut names = 0;
    let mut lines = manifest.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("- name: WAFLEET_") else { continue };
        let value = lines.next().and_then(|line| line.strip_prefix("value: ")).context("a value after the name")?;
        let moved = value
            .replace("/run/secrets/wafleet", &secrets.display().to_string())
            .replace("/etc/wafleet", &directory().display().to_string());
        worker = worker.env(&format!("WAFLEET_{name}"), moved);
        names += 1;
    }
    ensure!(names >= 5, "only {names} settings found: this test reads the manifest wrongly");

    let output = worker.wafleet(&["config", "check"])?.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let password = fleet.database().url().split([':', '@']).nth(2).context("a password")?.to_owned();
    ensure!(!said.contains(&password), "a secret was printed");
    Ok(())
}

#[test]
fn a_drain_fits_into_the_grace_period() -> Result<()> {
    let drain = number(&read("wafleet.toml")?, "drain_secs =")?;
    let grace = number(&read("worker.yaml")?, "terminationGracePeriodSeconds:")?;
    // The lease, and the telling of the last events, come on top.
    ensure!(grace >= drain + 30, "{drain} s of drain in {grace} s");
    Ok(())
}

#[test]
fn no_manifest_opens_a_way_in() -> Result<()> {
    let mut read_files = 0;
    for entry in std::fs::read_dir(directory())? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        read_files += 1;
        let text = std::fs::read_to_string(&path)?;
        for word in [
            "containerPort",
            "hostPort",
            "hostNetwork",
            "hostPath",
            "hostPID",
            "privileged",
            "kind: Service\n",
            "kind: Ingress",
        ] {
            ensure!(!text.contains(word), "{} contains {word}", path.display());
        }
    }
    ensure!(read_files >= 5);
    ensure!(read("network-policy.yaml")?.contains("ingress: []"));
    Ok(())
}
