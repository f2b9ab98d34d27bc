//! What breaks at profiles and snapshots.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use sqlx::Row;
use wafleet_protocol::command::{Command, SessionStart};
use wafleet_protocol::event::{Cause, Event, SessionStatus};
use wafleet_tests::fleet::{FIRST_PROFILE_KEY, PATIENCE, Target, profile_keys};
use wafleet_tests::invariants::Story;
use wafleet_tests::wait;

use super::Disk;
use crate::profile_keys::{SECOND_PROFILE_KEY, ring_of, run};
use crate::profiles::{DRAIN, Linked, counted};

const START: Command = Command::SessionStart(SessionStart { pairing_phone: None, calls: None });

/// Waits until it was told that an older profile took the place of a damaged one.
async fn told_damaged(linked: &Linked, mark: usize) -> Result<()> {
    let find = |event: &Event| match event {
        Event::SessionStatus(told) => (told.cause == Cause::ProfileDamaged).then_some(()),
        _ => None,
    };
    linked.stage.host.events().wait_from(mark, "profile_damaged", PATIENCE, |envelope| find(&envelope.event)).await
}

/// What lies in a session's directory and begins so.
fn entries(directory: &Path, beginning: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(beginning) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[tokio::test]
async fn a_full_disk_fails_new_sessions_with_their_cause_and_leaves_the_others_alone() -> Result<()> {
    let linked = Linked::set().await?;
    let story = Story::begin(&linked.stage)?;
    let Some(disk) = Disk::mount(linked.disk("a"), "size=512m,nr_inodes=4096")? else { return Ok(()) };
    let a = linked.link(linked.machine("a")).await?;
    linked.wait_for_generations(&["1:complete"]).await?;
    linked.send().await?;

    // Not one more file can be made; what is open can still be written.
    let filler = disk.path().join("filler");
    std::fs::create_dir(&filler)?;
    let full = (0..100_000).find_map(|number| std::fs::write(filler.join(number.to_string()), "").err());
    ensure!(full.is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull), "the disk is not full");
    let (mark, kiosk) = (linked.stage.host.events().len(), Target::new("kiosk")?);
    linked.stage.host.send(&kiosk, &START).await?;
    let (_, failed) = linked.stage.host.wait_for_status(mark, &kiosk, SessionStatus::Failed).await?;
    ensure!(failed.cause == Cause::StartFailed, "{failed:?}");
    ensure!(a.output()?.contains("No space left on device"), "the log does not say why");
    linked.send().await?;
    let of_shop = linked.stage.host.statuses(mark, &linked.target);
    ensure!(of_shop.is_empty(), "the other session noticed: {of_shop:?}");
    ensure!(linked.generations().await? == ["1:complete"], "what was saved is as it was");

    std::fs::remove_dir_all(&filler)?;
    let mark = linked.stage.host.events().len();
    linked.stage.host.send(&kiosk, &START).await?;
    linked.stage.wait_for_qr(mark, &kiosk, |_| true).await?;
    story.end(vec![a]).await?;
    drop(disk);
    linked.end().await;
    Ok(())
}

#[tokio::test]
async fn a_disk_that_is_full_while_a_profile_is_unpacked_leaves_nothing_behind_and_a_later_start_works() -> Result<()> {
    let linked = Linked::set().await?;
    let story = Story::begin(&linked.stage)?;
    let mut a = linked.link(linked.machine("a")).await?;
    linked.send().await?;
    ensure!(a.terminate(DRAIN).await?.success());
    let before = linked.generations().await?;

    let Some(disk) = Disk::mount(linked.disk("b"), "size=512m,nr_inodes=8")? else { return Ok(()) };
    let mark = linked.stage.host.events().len();
    let mut b = linked.worker("b").await?;
    let (_, failed) = linked.stage.host.wait_for_status(mark, &linked.target, SessionStatus::Failed).await?;
    ensure!(failed.cause == Cause::StartFailed, "{failed:?}");
    ensure!(b.output()?.contains("No space left on device"), "the log does not say why");
    ensure!(linked.codes(mark) == 0 && linked.generations().await? == before);
    ensure!(b.terminate(DRAIN).await?.success());
    let session = linked.disk("b").join("1/shop");
    ensure!(entries(&session, "restoring-")?.is_empty() && !session.join("profile").exists(), "half a profile is left");
    drop(disk);

    let mark = linked.stage.host.events().len();
    let c = linked.worker("c").await?;
    linked.stage.host.send(&linked.target, &START).await?;
    linked.status(mark, SessionStatus::Connected).await?;
    ensure!(linked.codes(mark) == 0);
    story.end(vec![c]).await?;
    linked.end().await;
    Ok(())
}

#[tokio::test]
async fn a_corrupted_profile_is_set_aside_and_the_last_saved_one_goes_on_without_a_code() -> Result<()> {
    let linked = Linked::set().await?;
    let story = Story::begin(&linked.stage)?;
    let mut a = linked.link(linked.machine("a")).await?;
    linked.send().await?;
    ensure!(a.terminate(DRAIN).await?.success());
    linked.wait_for_generations(&["1:complete", "2:complete"]).await?;

    // Every byte of what the page keeps is flipped, and it is the newest profile there is.
    let session = linked.disk("a").join("1/shop");
    let mut waiting = vec![session.join("profile/Default/IndexedDB"), session.join("profile/Default/Local Storage")];
    let mut flipped = 0;
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let bytes: Vec<u8> = std::fs::read(&path)?.into_iter().map(|byte| !byte).collect();
                flipped += bytes.len();
                std::fs::write(path, bytes)?;
            }
        }
    }
    ensure!(flipped > 10_000, "only {flipped} bytes");

    let mark = linked.stage.host.events().len();
    let again = linked.start(linked.machine("a")).await?;
    told_damaged(&linked, mark).await?;
    linked.status(mark, SessionStatus::Connected).await?;
    ensure!(linked.codes(mark) == 0, "the link was not lost, so nobody is asked for a new one");
    ensure!(linked.anna.devices().len() == 1, "linked a second time");
    let aside = entries(&session, "damaged-")?;
    ensure!(aside.len() == 1 && aside[0].join("Default/IndexedDB").is_dir(), "it is not kept: {aside:?}");
    linked.send().await?;
    story.end(vec![again]).await?;
    linked.end().await;
    Ok(())
}

#[tokio::test]
async fn a_worker_killed_while_it_saves_leaves_the_generation_before() -> Result<()> {
    let linked = Linked::set().await?;
    let story = Story::begin(&linked.stage)?;
    let mut a = linked.link(linked.machine("a")).await?;
    linked.wait_for_generations(&["1:complete"]).await?;
    // A lock on the end of the table holds every new chunk up.
    let mut lock = linked.stage.fleet.database().pool().begin().await?;
    sqlx::query("SELECT 1 FROM wafleet_snapshot_chunks WHERE snapshot_id > 0 FOR UPDATE").fetch_all(&mut *lock).await?;
    a.signal(Signal::TERM)?;
    linked.wait_for_generations(&["1:complete", "2:writing"]).await?;
    a.kill()?;
    lock.rollback().await?;

    let mark = linked.stage.host.events().len();
    let mut b = linked.worker("b").await?;
    ensure!(linked.status(mark, SessionStatus::Connected).await? == 2);
    ensure!(linked.codes(mark) == 0);
    ensure!(linked.generations().await? == ["1:complete", "2:writing"], "{:?}", linked.generations().await?);
    ensure!(b.terminate(DRAIN).await?.success());
    ensure!(linked.generations().await? == ["1:complete", "2:complete"], "{:?}", linked.generations().await?);
    let row = sqlx::query("SELECT fence, chunks, bytes FROM wafleet_snapshots WHERE generation = 2");
    let row = row.fetch_one(linked.stage.fleet.database().pool()).await?;
    ensure!(row.try_get::<u64, _>("fence")? == 2 && row.try_get::<u64, _>("chunks")? > 0);
    story.end(vec![b]).await?;
    linked.end().await;
    Ok(())
}

/// What selects the chunks of the newest saved profile.
const NEWEST: &str = "snapshot_id = (SELECT MAX(id) FROM wafleet_snapshots)";

/// Changes the newest saved profile in each of these ways, one after the other, and looks whether the one before it is used.
async fn gives_way(tampering: &[(&str, &[String])]) -> Result<()> {
    let linked = Linked::set().await?;
    let story = Story::begin(&linked.stage)?;
    let mut a = linked.link(linked.machine("a")).await?;
    // Enough for several chunks.
    let mut noise = vec![0; 1_000_000];
    rand::fill(&mut noise[..]);
    std::fs::write(linked.disk("a").join("1/shop/profile/Default/IndexedDB/ballast"), &noise)?;
    ensure!(a.terminate(DRAIN).await?.success());
    linked.wait_for_generations(&["1:complete", "2:complete"]).await?;
    let database = linked.stage.fleet.database();
    database.execute("CREATE TABLE whole AS SELECT * FROM wafleet_snapshot_chunks").await?;

    for (number, (what, statements)) in tampering.iter().enumerate() {
        for statement in *statements {
            database.execute(statement).await.context(what.to_string())?;
        }
        let mark = linked.stage.host.events().len();
        let mut worker = linked.worker(&format!("machine-{number}")).await?;
        told_damaged(&linked, mark).await.context(what.to_string())?;
        linked.status(mark, SessionStatus::Connected).await.context(what.to_string())?;
        ensure!(linked.codes(mark) == 0, "{what}: a code");
        counted(&worker, "snapshots.damaged").await.context(what.to_string())?;
        worker.kill()?; // saves nothing
        database.execute("DELETE FROM wafleet_snapshot_chunks").await?;
        database.execute("INSERT INTO wafleet_snapshot_chunks SELECT * FROM whole").await?;
    }
    let mark = linked.stage.host.events().len();
    let last = linked.worker("last").await?;
    linked.status(mark, SessionStatus::Connected).await?;
    // That status may still be one that a killed worker left in the spool, so what counts is what lies on this disk.
    let ballast = linked.disk("last").join("1/shop/profile/Default/IndexedDB/ballast");
    let newest = async || Ok(std::fs::read(&ballast).is_ok_and(|bytes| bytes == noise).then_some(()));
    wait::until("put together again, it is the newest", PATIENCE, newest).await?;
    story.end(vec![last]).await?;
    linked.end().await;
    Ok(())
}

/// Replaces the data of one chunk of the newest saved profile.
fn set(chunk: u32, data: &str) -> String {
    format!("UPDATE wafleet_snapshot_chunks SET data = {data} WHERE seq = {chunk} AND {NEWEST}")
}

#[tokio::test]
async fn a_saved_profile_whose_chunks_were_changed_gives_way_to_the_one_before_it() -> Result<()> {
    let flipped = "INSERT(data, 1000, 1, CHAR(ORD(SUBSTR(data, 1000, 1)) ^ 1))";
    let older = "(SELECT data FROM whole WHERE seq = 0 ORDER BY snapshot_id LIMIT 1)";
    gives_way(&[
        ("a byte is changed", &[set(0, flipped)]),
        ("one is cut", &[set(1, "LEFT(data, 1000)")]),
        ("something is appended to one", &[set(1, "CONCAT(data, 'x')")]),
        ("one is from the snapshot before", &[set(0, older)]),
    ])
    .await
}

#[tokio::test]
async fn a_saved_profile_whose_chunks_were_moved_gives_way_to_the_one_before_it() -> Result<()> {
    let moved =
        |from: u32, to: u32| format!("UPDATE wafleet_snapshot_chunks SET seq = {to} WHERE seq = {from} AND {NEWEST}");
    let twice = format!(
        "INSERT INTO wafleet_snapshot_chunks SELECT snapshot_id, seq + 100, data FROM whole WHERE seq = 1 AND {NEWEST}"
    );
    gives_way(&[
        ("two are swapped", &[moved(0, 99), moved(1, 0), moved(99, 1)]),
        ("one is missing", &[format!("DELETE FROM wafleet_snapshot_chunks WHERE seq = 1 AND {NEWEST}")]),
        ("one is there twice", &[twice]),
    ])
    .await
}

#[tokio::test]
async fn a_key_is_rotated_under_running_workers_and_a_worker_without_it_deletes_nothing() -> Result<()> {
    let linked = Linked::set().await?;
    let story = Story::begin(&linked.stage)?;
    let first = linked.stage.fleet.profile_keys_file();
    let both = linked.stage.fleet.scratch().join("both.json");
    let (out, keep) = (both.display().to_string(), first.display().to_string());
    let generate = ["keys", "profile-generate", "--keep", &keep, "--out", &out, "--id", SECOND_PROFILE_KEY];
    let (made, said) = run(&linked, &first, &generate).await?;
    ensure!(made, "{said}");
    let keys = |path: &Path| path.display().to_string();
    let mut a = linked.link(linked.machine("a").env("WAFLEET_PROFILE_KEYS_FILE", keys(&both))).await?;
    linked.wait_for_generations(&["1:complete"]).await?;
    let (rotated, said) = run(&linked, &both, &["keys", "rotate", "--to", SECOND_PROFILE_KEY]).await?;
    ensure!(rotated && said.contains("2 row(s) wrapped with profile-2, 0 failed"), "{said}");
    linked.send().await?;
    ensure!(a.terminate(DRAIN).await?.success()); // seals with the first key, because that is the first of its ring
    let before = linked.generations().await?;

    // Its data key is wrapped with a key that this worker does not have.
    let second_only = ring_of(&linked, &both, &[SECOND_PROFILE_KEY])?;
    let mark = linked.stage.host.events().len();
    let mut b = linked.worker_with_keys("b", &second_only).await?;
    linked.status(mark, SessionStatus::Failed).await?;
    ensure!(b.output()?.contains("the profile key ring has no key profile-1"), "the log does not say why");
    ensure!(linked.codes(mark) == 0 && linked.generations().await? == before, "something was deleted");
    ensure!(b.terminate(DRAIN).await?.success());

    let mark = linked.stage.host.events().len();
    let second_first = ring_of(&linked, &both, &[SECOND_PROFILE_KEY, FIRST_PROFILE_KEY])?;
    let c = linked.worker_with_keys("c", &second_first).await?;
    linked.stage.host.send(&linked.target, &START).await?;
    linked.status(mark, SessionStatus::Connected).await?;
    ensure!(linked.codes(mark) == 0);
    story.end(vec![c]).await?;
    let newest: String = sqlx::query_scalar("SELECT key_id FROM wafleet_snapshots ORDER BY id DESC LIMIT 1")
        .fetch_one(linked.stage.fleet.database().pool())
        .await?;
    ensure!(newest == SECOND_PROFILE_KEY, "sealed with {newest}");
    linked.end().await;
    Ok(())
}

#[tokio::test]
async fn a_wrong_key_fails_the_session_and_deletes_nothing() -> Result<()> {
    let linked = Linked::set().await?;
    let story = Story::begin(&linked.stage)?;
    let mut a = linked.link(linked.machine("a")).await?;
    ensure!(a.terminate(DRAIN).await?.success());
    let before = linked.generations().await?;
    let wrong = linked.stage.fleet.scratch().join("wrong-keys.json");
    std::fs::write(&wrong, profile_keys(&[FIRST_PROFILE_KEY]))?;

    let mark = linked.stage.host.events().len();
    let mut b = linked.worker_with_keys("b", &wrong).await?;
    linked.status(mark, SessionStatus::Failed).await?;
    ensure!(linked.codes(mark) == 0, "a session that cannot be opened must not ask for a new link");
    ensure!(b.output()?.contains("does not open with profile key profile-1"), "the log does not say why");
    ensure!(b.terminate(DRAIN).await?.success());
    ensure!(linked.generations().await? == before);

    let mark = linked.stage.host.events().len();
    let c = linked.worker("c").await?;
    linked.stage.host.send(&linked.target, &START).await?;
    linked.status(mark, SessionStatus::Connected).await?;
    ensure!(linked.codes(mark) == 0);
    story.end(vec![c]).await?;
    linked.end().await;
    Ok(())
}

#[tokio::test]
async fn a_worker_stopped_on_its_way_to_a_browser_starts_none_when_it_goes_on_without_its_lease() -> Result<()> {
    let linked = Linked::set().await?;
    let story = Story::begin(&linked.stage)?;
    let mut first = linked.link(linked.machine("first")).await?;
    ensure!(first.terminate(DRAIN).await?.success());

    // Something uses the profile: the worker waits some seconds for its end before it kills it and starts a browser.
    let late = linked.machine("late");
    let profile = linked.disk("late").join(linked.target.workspace.to_string()).join(linked.target.session.as_str());
    let argument = format!("--user-data-dir={}", profile.join("profile").display());
    let mut user = std::process::Command::new("/bin/sh");
    user.args(["-c", "read nothing", "pretender"]).arg(argument).stdin(std::process::Stdio::piped());
    let mut user = user.spawn()?;
    let late = late.spawn()?;
    let restored = async || Ok(late.output()?.contains("profile restored").then_some(()));
    wait::until("it has restored the profile", PATIENCE, restored).await?;
    let mark = linked.stage.host.events().len();
    let stopped = late.freeze()?;
    ensure!(!late.output()?.contains("chromium is up"), "it was stopped too late");
    let next = linked.worker("next").await?;
    linked.status(mark, SessionStatus::Connected).await?;

    stopped.thaw();
    let ended = async || Ok(late.output()?.contains("session ended on this worker").then_some(()));
    wait::until("the late owner has given the session up", PATIENCE, ended).await?;
    ensure!(!late.output()?.contains("chromium is up"), "it started a browser");
    ensure!(
        user.try_wait()?.is_none(),
        "it killed what used the profile, which might have been the new owner's browser"
    );
    user.kill()?;
    user.wait()?;
    ensure!(linked.codes(mark) == 0);
    linked.send().await?;
    story.end(vec![late, next]).await?;
    linked.end().await;
    Ok(())
}
