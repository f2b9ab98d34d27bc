//! The keys of saved profiles: changing them loses nothing wherever it is cut short, and destroying one erases.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use wafleet_protocol::command::{Command, SessionStart};
use wafleet_protocol::event::SessionStatus;
use wafleet_tests::fleet::{FIRST_PROFILE_KEY, Worker};
use wafleet_tests::wait;

use crate::profiles::{DRAIN, Linked, PATIENCE};

pub(crate) const SECOND_PROFILE_KEY: &str = "profile-2";

/// Runs a subcommand with a ring; returns whether it succeeded and what it wrote.
pub(crate) async fn run(linked: &Linked, ring: &Path, arguments: &[&str]) -> Result<(bool, String)> {
    let builder = linked.stage.fleet.worker("operator").env("WAFLEET_PROFILE_KEYS_FILE", ring.display().to_string());
    let mut command = tokio::process::Command::from(builder.wafleet(arguments)?);
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).stdin(Stdio::null()).output()).await??;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

/// A ring with some keys of another, in this order.
pub(crate) fn ring_of(linked: &Linked, from: &Path, ids: &[&str]) -> Result<PathBuf> {
    let ring: serde_json::Value = serde_json::from_slice(&std::fs::read(from)?)?;
    let key = |id: &&str| ring["keys"].as_array().and_then(|keys| keys.iter().find(|key| key["id"] == **id)).cloned();
    let keys: Vec<_> = ids.iter().filter_map(key).collect();
    ensure!(keys.len() == ids.len(), "{} lacks one of {ids:?}", from.display());
    let path = linked.stage.fleet.scratch().join(format!("ring-{}.json", ids.join("-")));
    std::fs::write(&path, serde_json::json!({ "keys": keys }).to_string())?;
    Ok(path)
}

/// Rows that a key wraps.
async fn wrapped_by(linked: &Linked, key: &str) -> Result<i64> {
    let count = "SELECT (SELECT COUNT(*) FROM wafleet_snapshots WHERE key_id = ?) + (SELECT COUNT(*) FROM wafleet_session_keys WHERE key_id = ?)";
    Ok(sqlx::query_scalar(count).bind(key).bind(key).fetch_one(linked.stage.fleet.database().pool()).await?)
}

/// Begins a rotation to the second key and kills it as soon as it has wrapped so many rows in all.
async fn rotate_and_kill(linked: &Linked, ring: &Path, rows: i64) -> Result<()> {
    let builder = linked.stage.fleet.worker("operator").env("WAFLEET_PROFILE_KEYS_FILE", ring.display().to_string());
    let command = builder.wafleet(&["keys", "rotate", "--to", SECOND_PROFILE_KEY, "--rate", "1"])?;
    let mut rotation = tokio::process::Command::from(command).kill_on_drop(true).stdout(Stdio::null()).spawn()?;
    let until = Instant::now() + PATIENCE;
    while wrapped_by(linked, SECOND_PROFILE_KEY).await? < rows {
        ensure!(Instant::now() < until, "the rotation does not get to {rows} rows");
        tokio::time::sleep(Duration::from_millis(10)).await; // between two questions
    }
    rotation.kill().await?;
    ensure!(wrapped_by(linked, SECOND_PROFILE_KEY).await? == rows, "it was not killed in between");
    Ok(())
}

/// Starts a worker on an empty disk and expects it to go on without a code.
async fn goes_on(linked: &Linked, name: &str, ring: &Path) -> Result<Worker> {
    let mark = linked.stage.host.events().len();
    let worker = linked.worker_with_keys(name, ring).await?;
    linked.status(mark, SessionStatus::Connected).await?;
    ensure!(linked.codes(mark) == 0, "{name} asked for a new link");
    Ok(worker)
}

#[tokio::test]
async fn a_rotation_that_is_killed_again_and_again_loses_nothing_and_ends() -> Result<()> {
    let (linked, mut a) = Linked::new().await?;
    ensure!(a.terminate(DRAIN).await?.success());
    let first = linked.stage.fleet.profile_keys_file();
    let both = linked.stage.fleet.scratch().join("both.json");
    let (out, keep) = (both.display().to_string(), first.display().to_string());
    let generate = ["keys", "profile-generate", "--keep", &keep, "--out", &out, "--id", SECOND_PROFILE_KEY];
    let (made, said) = run(&linked, &first, &generate).await?;
    ensure!(made, "{said}");
    let new_first = ring_of(&linked, &both, &[SECOND_PROFILE_KEY, FIRST_PROFILE_KEY])?;
    let new_only = ring_of(&linked, &both, &[SECOND_PROFILE_KEY])?;

    ensure!(wrapped_by(&linked, FIRST_PROFILE_KEY).await? == 3, "two generations and the session's own key");
    let (retired, said) = run(&linked, &both, &["keys", "retire", FIRST_PROFILE_KEY]).await?;
    ensure!(!retired && said.contains("profile-1 seals"), "{said}");
    let (listed, said) = run(&linked, &new_only, &["keys", "list"]).await?;
    ensure!(!listed && said.contains("MISSING"), "{said}");

    // Killed between the session's key and its snapshots, and between two snapshots: a worker can go on each time.
    rotate_and_kill(&linked, &both, 1).await?;
    let mut b = goes_on(&linked, "b", &both).await?;
    ensure!(b.terminate(DRAIN).await?.success());
    rotate_and_kill(&linked, &both, 2).await?;
    let (retired, said) = run(&linked, &new_first, &["keys", "retire", FIRST_PROFILE_KEY]).await?;
    ensure!(!retired && said.contains("still wraps 1 snapshot(s), 0 session key(s)"), "{said}");

    let (rotated, said) = run(&linked, &new_first, &["keys", "rotate"]).await?;
    ensure!(rotated && said.contains("1 row(s) wrapped with profile-2, 0 failed"), "{said}");
    let (rotated, said) = run(&linked, &new_first, &["keys", "rotate"]).await?;
    ensure!(rotated && said.contains("0 row(s) wrapped with profile-2, 0 failed"), "{said}");
    let (retired, said) = run(&linked, &new_first, &["keys", "retire", FIRST_PROFILE_KEY]).await?;
    ensure!(retired, "{said}");
    let (listed, said) = run(&linked, &new_only, &["keys", "list"]).await?;
    ensure!(listed && !said.contains(FIRST_PROFILE_KEY), "{said}");
    let c = goes_on(&linked, "c", &new_only).await?;
    drop(c);
    linked.end().await;
    Ok(())
}

#[tokio::test]
async fn an_erased_session_is_gone_from_the_database_and_from_every_disk() -> Result<()> {
    let (linked, mut a) = Linked::new().await?;
    let erase = ["session", "erase", "shop", "--workspace", "1", "--why", "request 4711", "--by", "anna"];
    let refused = a.run(&erase).await?;
    ensure!(
        !refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("a worker holds session shop")
    );
    ensure!(linked.generations().await? == ["1:complete"]);

    linked.stage.host.send(&linked.target, &Command::SessionStop).await?;
    linked.wait_for_generations(&["1:complete", "2:complete"]).await?;
    let directory = linked.stage.fleet.scratch().join("a/1/shop");
    ensure!(directory.join("profile/Default/IndexedDB").is_dir());
    // The owner gives the session back last of all.
    let until = Instant::now() + PATIENCE;
    while linked.stage.fleet.database().session("shop").await?.is_some_and(|row| row.owner.is_some()) {
        ensure!(Instant::now() < until, "the session is not released");
        tokio::time::sleep(Duration::from_millis(20)).await; // between two questions
    }
    no_leases(&linked).await?;
    let erased = a.run(&erase).await?;
    ensure!(erased.status.success(), "{}", String::from_utf8_lossy(&erased.stderr));
    ensure!(!directory.exists(), "the directory of the machine it was run on");
    ensure!(a.terminate(DRAIN).await?.success());

    let pool = linked.stage.fleet.database().pool();
    let left = "SELECT (SELECT COUNT(*) FROM wafleet_snapshots) + (SELECT COUNT(*) FROM wafleet_snapshot_chunks) + (SELECT COUNT(*) FROM wafleet_session_keys)";
    ensure!(sqlx::query_scalar::<_, i64>(left).fetch_one(pool).await? == 0);
    let row = linked.stage.fleet.database().session("shop").await?;
    ensure!(
        row.is_some_and(|row| row.phone.is_none() && row.fence == 2),
        "whose phone it was is forgotten, its fence is not"
    );
    let ledger = "SELECT CONCAT_WS(' ', erased_by, why, snapshots, fence) FROM wafleet_erasures";
    let ledger: Vec<String> = sqlx::query_scalar(ledger).fetch_all(pool).await?;
    ensure!(ledger == ["anna request 4711 2 1"], "{ledger:?}");
    let audit = linked.stage.fleet.database().audit_after(0).await?;
    ensure!(audit.iter().any(|row| row.action == "session.erased" && row.actor == "operator:anna"));

    // A machine that was away has an old directory of it, and one of somebody else.
    for (session, file) in [("shop", "fence"), ("other", "fence"), ("shop", "profile/Default/IndexedDB/x")] {
        let path = linked.stage.fleet.scratch().join("b/1").join(session).join(file);
        std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
        std::fs::write(path, "1")?;
    }
    let mark = linked.stage.host.events().len();
    let b = linked.worker("b").await?;
    let until = Instant::now() + PATIENCE;
    while linked.stage.fleet.scratch().join("b/1/shop").exists() {
        ensure!(Instant::now() < until, "the old directory is still there");
        tokio::time::sleep(Duration::from_millis(20)).await; // between two questions
    }
    ensure!(linked.stage.fleet.scratch().join("b/1/other/fence").exists());
    linked.stage.host.send(&linked.target, &Command::SessionStart(SessionStart::default())).await?;
    let code = linked.code(mark).await?;
    linked.anna.scan(&code).await?;
    linked.status(mark, SessionStatus::Connected).await?;
    linked.wait_for_generations(&["1:complete"]).await?;
    drop(b);
    linked.end().await;
    Ok(())
}

/// Waits until no session of the fleet has a lease.
async fn no_leases(linked: &Linked) -> Result<()> {
    let none = async || Ok(linked.stage.fleet.leases().await?.is_empty().then_some(()));
    wait::until("no lease", PATIENCE, none).await
}

#[tokio::test]
async fn a_session_whose_worker_was_killed_can_be_erased_once_its_lease_has_ended() -> Result<()> {
    let (linked, mut a) = Linked::new().await?;
    a.kill()?;
    let erase = ["session", "erase", "shop", "--workspace", "1", "--why", "request 4712", "--by", "anna"];
    let held = a.run(&erase).await?;
    let said = String::from_utf8_lossy(&held.stderr).into_owned();
    ensure!(!held.status.success() && said.contains("a worker holds session shop"), "{said}");
    no_leases(&linked).await?;
    let wanted = a.run(&erase).await?;
    let said = String::from_utf8_lossy(&wanted.stderr).into_owned();
    ensure!(!wanted.status.success() && said.contains("is to be running"), "{said}");

    // The host takes it back while there is no worker that could be told.
    let stop = "UPDATE wafleet_sessions SET desired = 'stopped'";
    linked.stage.fleet.database().execute(stop).await?;
    let row = linked.stage.fleet.database().session("shop").await?;
    ensure!(row.is_some_and(|row| row.owner.is_some()), "a dead worker does not take its name back");
    let erased = a.run(&erase).await?;
    ensure!(erased.status.success(), "{}", String::from_utf8_lossy(&erased.stderr));
    ensure!(linked.generations().await?.is_empty() && !linked.disk("a").join("1/shop").exists());
    let row = linked.stage.fleet.database().session("shop").await?;
    ensure!(row.is_some_and(|row| row.owner.is_none() && row.phone.is_none()));
    drop(a);
    linked.end().await;
    Ok(())
}
