//! Sealed profiles in an S3-compatible store instead of in the database.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wafleet_protocol::command::Command;
use wafleet_protocol::event::{Cause, Event, SessionStatus};
use wafleet_tests::object_store::ObjectStore;
use wafleet_tests::proxy::{BOTH_WAYS, Hold, Proxy};

use crate::profiles::{DRAIN, Linked, PATIENCE, SECRET, counted, stands_in};

/// Waits until the store holds so many finished objects and no unfinished upload.
async fn holds(store: &ObjectStore, objects: usize) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let (found, uploads) = (store.objects()?, store.uploads());
        if found.len() == objects && uploads == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < until, "{found:?} and {uploads} upload(s), not {objects} object(s)");
        tokio::time::sleep(Duration::from_millis(20)).await; // between two questions
    }
}

async fn rows(linked: &Linked, table: &'static str) -> Result<i64> {
    let count = match table {
        "chunks" => "SELECT COUNT(*) FROM wafleet_snapshot_chunks",
        _ => "SELECT COUNT(*) FROM wafleet_snapshot_objects",
    };
    Ok(sqlx::query_scalar(count).fetch_one(linked.stage.fleet.database().pool()).await?)
}

#[tokio::test]
async fn a_profile_in_an_object_store_moves_gives_way_when_damaged_and_is_erased() -> Result<()> {
    let linked = Linked::set().await?;
    let root = linked.stage.fleet.scratch().join("store");
    let store = ObjectStore::start(&root).await?;
    let mut a = linked.link(store.used_by(linked.machine("a"))).await?;
    linked.wait_for_generations(&["1:complete"]).await?;
    holds(&store, 1).await?;
    ensure!(rows(&linked, "chunks").await? == 0, "chunks in the database too");
    linked.send().await?;
    ensure!(a.terminate(DRAIN).await?.success());
    holds(&store, 2).await?;
    ensure!(!stands_in(&root, SECRET)?, "the store can read it");

    // Elsewhere, from the second; and the first goes when there is a third.
    let mark = linked.stage.host.events().len();
    let mut b = linked.start(store.used_by(linked.machine("b"))).await?;
    linked.status(mark, SessionStatus::Connected).await?;
    ensure!(linked.codes(mark) == 0 && b.count("snapshots.restored")? == 1);
    ensure!(b.terminate(DRAIN).await?.success());
    linked.wait_for_generations(&["2:complete", "3:complete"]).await?;
    holds(&store, 2).await?;

    // A bit of the newest is flipped.
    let newest = store.objects()?.pop().context("two objects")?;
    let mut bytes = std::fs::read(&newest)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes)?;
    let mark = linked.stage.host.events().len();
    let mut d = linked.start(store.used_by(linked.machine("d"))).await?;
    linked.status(mark, SessionStatus::Connected).await?;
    ensure!(linked.codes(mark) == 0);
    ensure!(d.count("snapshots.damaged")? == 1 && d.output()?.contains("a saved profile is damaged"), "nobody noticed");
    linked.stage.host.send(&linked.target, &Command::SessionStop).await?;
    linked.status(mark, SessionStatus::Stopped).await?;
    ensure!(d.terminate(DRAIN).await?.success());

    let operator = store.used_by(linked.machine("d"));
    let erased =
        operator.run(&["session", "erase", "shop", "--workspace", "1", "--why", "a test", "--by", "t"]).await?;
    ensure!(erased.status.success(), "{}", String::from_utf8_lossy(&erased.stderr));
    holds(&store, 0).await?;
    ensure!(rows(&linked, "objects").await? == 0, "notes of objects are left");
    linked.end().await;
    Ok(())
}

#[tokio::test]
async fn an_object_store_that_refuses_or_stops_in_the_middle_costs_no_session_anything() -> Result<()> {
    let linked = Linked::set().await?;
    let store = ObjectStore::start(&linked.stage.fleet.scratch().join("store")).await?;
    let wrong = store.used_by(linked.machine("a")).env("WAFLEET_OBJECT_STORE_SECRET_ACCESS_KEY", "not-the-secret");
    let mut a = linked.link(wrong).await?;
    counted(&a, "snapshots.save_failed").await?;
    ensure!(linked.generations().await?.is_empty());
    ensure!(a.output()?.contains("the profile is not saved") && !a.output()?.contains("not-the-secret"));
    linked.send().await?;
    ensure!(a.terminate(DRAIN).await?.success());
    holds(&store, 0).await?;

    // The network stops in the middle of an upload, and the worker is killed there.
    let proxy = Proxy::opened(store.endpoint()).await?;
    let through = |name: &str| {
        let worker =
            store.used_by(linked.machine(name)).env("WAFLEET_PROFILE_ROOT", linked.disk("a").display().to_string());
        Ok::<_, anyhow::Error>(worker.env("WAFLEET_OBJECT_STORE_ENDPOINT", proxy.url(store.endpoint())?))
    };
    let mark = linked.stage.host.events().len();
    let mut b = linked.start(through("b")?).await?;
    linked.status(mark, SessionStatus::Connected).await?;
    let held = proxy.trip_at("partNumber=1", Hold::Request);
    b.signal(rustix::process::Signal::TERM)?;
    held.tripped(PATIENCE).await?;
    ensure!(linked.generations().await? == ["1:writing"] && store.uploads() == 1 && store.objects()?.is_empty());
    b.kill()?;

    // What it left is swept by the next save, from the disk that has the newest profile.
    let mark = linked.stage.host.events().len();
    let mut c = linked.start(through("c")?).await?;
    linked.status(mark, SessionStatus::Connected).await?;
    ensure!(linked.codes(mark) == 0, "the disk has it");
    ensure!(c.terminate(DRAIN).await?.success());
    linked.wait_for_generations(&["1:complete"]).await?;

    // A machine that has never seen the profile waits for the store, says so, and goes on when it is back.
    proxy.pause(BOTH_WAYS);
    let mark = linked.stage.host.events().len();
    let elsewhere =
        store.used_by(linked.machine("d")).env("WAFLEET_OBJECT_STORE_ENDPOINT", proxy.url(store.endpoint())?);
    let d = linked.start(elsewhere).await?;
    let waits = |event: &Event| matches!(event, Event::SessionStatus(told) if told.cause == Cause::StartFailed);
    let journal = linked.stage.host.events();
    journal.wait_from(mark, "start_failed", PATIENCE, |envelope| waits(&envelope.event).then_some(())).await?;
    ensure!(d.output()?.contains("the object store failed"), "the log does not name the store");
    proxy.resume();
    linked.status(mark, SessionStatus::Connected).await?;
    ensure!(linked.codes(mark) == 0 && d.count("snapshots.restored")? == 1);
    holds(&store, 1).await?;
    drop(d);
    linked.end().await;
    Ok(())
}
