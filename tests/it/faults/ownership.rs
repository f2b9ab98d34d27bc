//! Whoever owns a session is stopped, killed, cut off or asked to leave; nobody else is harmed by it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use wafleet_imitation::{AckTimes, Options};
use wafleet_protocol::event::{Outcome, SessionStatus};
use wafleet_tests::fleet::{PATIENCE, Target, Worker};
use wafleet_tests::processes::{Browser, Process};
use wafleet_tests::stage::{Stage, text};
use wafleet_tests::wait;

const ANNA: &str = "4915112345678";
const BERT: &str = "4915187654321";

/// The leash of a worker.
fn leash(worker: &Worker) -> Result<Process> {
    let mut children = Process::all()?.into_iter().filter(|process| process.parent == worker.pid());
    children.find(|process| process.command == "wafleet leash").context("the worker has no leash")
}

/// Waits until none of these processes is alive.
async fn gone(what: &str, processes: &[Process]) -> Result<()> {
    let ask = async || Ok(processes.iter().all(|process| !process.is_alive()).then_some(()));
    wait::until(what, PATIENCE, ask).await
}

/// Waits until a worker that was stopped has turned its loop again and owns so many sessions.
async fn owns(worker: &Worker, leases: usize) -> Result<()> {
    let since = worker.heartbeat()?.map_or(0, |heartbeat| heartbeat.boottime_ms);
    let ask = async || {
        let heartbeat = worker.heartbeat()?;
        Ok(heartbeat.filter(|now| now.boottime_ms > since && now.leases == leases).map(drop))
    };
    wait::until(&format!("worker {} owns {leases}", worker.name()), 2 * PATIENCE, ask).await
}

#[tokio::test]
async fn a_worker_stopped_for_longer_than_its_lease_loses_its_browser_first_and_changes_nothing_when_it_goes_on()
-> Result<()> {
    // The cloud takes its time to acknowledge: the worker is stopped between the departure and the result.
    let acks = AckTimes { server: Duration::from_secs(60), delivered: None, read: None };
    let stage = Stage::set(Options { acks, ..Options::default() }).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut first = stage.worker("w1").spawn()?;
    first.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let mut second = stage.worker("w2").spawn()?;
    second.wait_until_ready().await?;
    let browser = Browser::of(first.pid(), &stage.session_dir(&target))?;
    let flying = stage.host.send(&target, &text(BERT, "in flight")?).await?;
    stage.site.wait_for_departure(PATIENCE, |departure| departure.text == "in flight").await?;

    let mark = stage.host.events().len();
    first.signal(Signal::STOP)?;
    stage.site.faults(|faults| faults.acks.server = Duration::from_millis(30));
    let waiting = stage.host.send(&target, &text(BERT, "while it was stopped")?).await?;
    gone("the browser of the stopped worker is gone", &browser.group).await?;
    let row = stage.fleet.database().session("s1").await?.context("a row")?;
    ensure!((row.owner.as_deref(), row.fence) == (Some("w1"), 1), "claimed before the browser was gone: {row:?}");

    let (envelope, _) = stage.host.wait_for_status(mark, &target, SessionStatus::Connected).await?;
    ensure!((envelope.epoch, envelope.worker_id.as_str()) == (2, "w2"), "{envelope:?}");
    for id in [&flying, &waiting] {
        let result = stage.host.final_result(id).await?;
        ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
    }
    let before = stage.fleet.database().session("s1").await?;
    let mark = stage.host.events().len();
    first.signal(Signal::CONT)?;
    owns(&first, 0).await?;
    let said = stage.host.events().entries().into_iter().skip(mark).filter(|entry| entry.envelope.epoch == 1);
    ensure!(said.count() == 0, "the late owner spoke:\n{}", stage.host.events().describe());
    ensure!(stage.fleet.database().session("s1").await? == before, "the late owner wrote");
    ensure!(Browser::of(first.pid(), &stage.session_dir(&target)).is_err(), "the late owner has a browser");

    // It goes on as a healthy worker.
    let mark = stage.host.events().len();
    ensure!(second.terminate(PATIENCE).await?.success());
    let (envelope, _) = stage.host.wait_for_status(mark, &target, SessionStatus::Connected).await?;
    ensure!((envelope.epoch, envelope.worker_id.as_str()) == (3, "w1"), "{envelope:?}");
    let result = stage.host.ask(&target, &text(BERT, "by the one that was stopped")?).await?;
    ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
    let departures = stage.site.sent();
    ensure!(departures.len() == 3 && departures.iter().all(|departure| departure.copies() <= 1), "{departures:#?}");
    ensure!(first.terminate(PATIENCE).await?.success());
    stage.host.events().check_order()
}

#[tokio::test]
async fn a_worker_stopped_for_less_than_its_lease_is_not_noticed() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    // Proven for 20 s after each renewal, which comes every 10 s.
    let mut first = stage.worker("w1").env("WAFLEET_LEASE_TTL_SECS", "30").spawn()?;
    first.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let mut second = stage.worker("w2").env("WAFLEET_LEASE_TTL_SECS", "30").spawn()?;
    second.wait_until_ready().await?;
    let browser = Browser::of(first.pid(), &stage.session_dir(&target))?;
    let (mark, row) = (stage.host.events().len(), stage.fleet.database().session("s1").await?);

    first.signal(Signal::STOP)?;
    let id = stage.host.send(&target, &text(BERT, "it will be a little late")?).await?;
    let stopped = Instant::now();
    let a_while = async || Ok((stopped.elapsed() > Duration::from_secs(4)).then_some(()));
    wait::until("it was stopped for a while", PATIENCE, a_while).await?;
    first.signal(Signal::CONT)?;

    ensure!(stage.host.final_result(&id).await?.outcome == Outcome::Succeeded);
    ensure!(browser.main.is_alive(), "the browser was ended");
    ensure!(stage.host.statuses(mark, &target).is_empty(), "{:?}", stage.host.statuses(mark, &target));
    ensure!(stage.fleet.database().session("s1").await? == row);
    ensure!(first.count("leash.killed")? == 0);
    stage.host.events().check_order()
}

#[tokio::test]
async fn a_killed_worker_leaves_no_browser_and_no_leash() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let mut all = Browser::of(worker.pid(), &stage.session_dir(&target))?.group;
    let helper = all.iter().find(|process| process.command.contains("--type=")).context("a helper")?.clone();
    all.push(leash(&worker)?);

    // A helper that is stopped never learns that its browser has ended: only SIGKILL ends it.
    helper.signal(Signal::STOP)?;
    worker.kill()?;
    gone("everything that the killed worker had started is gone", &all).await?;
    ensure!(Process::naming(&stage.fleet.profile_root())?.is_empty(), "a browser is left");
    Ok(())
}

#[tokio::test]
async fn a_killed_leash_is_replaced_and_the_new_one_holds_the_old_browsers() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let browser = Browser::of(worker.pid(), &stage.session_dir(&target))?;
    let mark = stage.host.events().len();
    // Once killed, and once stopped, which nobody tells the worker: it does not answer.
    for (round, signal) in [(1, Signal::KILL), (2, Signal::STOP)] {
        let old = leash(&worker)?;
        old.signal(signal)?;
        gone("the old leash is gone", std::slice::from_ref(&old)).await?;
        let replaced = async || Ok((worker.count("leash.replaced")? == round && leash(&worker).is_ok()).then_some(()));
        wait::until("another leash is there", PATIENCE, replaced).await?;
    }
    ensure!(stage.host.ask(&target, &text(BERT, "with another leash")?).await?.outcome == Outcome::Succeeded);
    ensure!(browser.main.is_alive() && stage.host.statuses(mark, &target).is_empty(), "it was noticed");

    worker.signal(Signal::STOP)?;
    gone("the browser of the stopped worker is gone", &browser.group).await?;
    worker.signal(Signal::CONT)?;
    // Nobody has claimed meanwhile: the same owner goes on, with another browser.
    ensure!(stage.host.ask(&target, &text(BERT, "after the stop")?).await?.outcome == Outcome::Succeeded);
    ensure!(worker.count("leash.killed")? == 1, "{:?}", worker.heartbeat()?);
    ensure!(worker.terminate(PATIENCE).await?.success());
    stage.host.events().check_order()
}

#[tokio::test]
async fn a_page_whose_worker_is_stopped_does_not_send_even_without_a_leash() -> Result<()> {
    // The page asks WhatsApp about the number first, and the answer takes longer than the lease is proven.
    const ANSWER: Duration = Duration::from_secs(12);
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let mark = stage.host.events().len();
    let browser = Browser::of(worker.pid(), &stage.session_dir(&target))?;
    let leash = leash(&worker)?;

    stage.site.faults(|faults| faults.answer_after = ANSWER);
    let id = stage.host.send(&target, &text(BERT, "not by a page that nobody owns")?).await?;
    let begun = async || {
        let commands = stage.fleet.database().commands().await?;
        Ok(commands.iter().any(|(command, _, state)| *command == id.to_string() && state == "attempting").then_some(()))
    };
    wait::until("the send is begun", PATIENCE, begun).await?;
    let asked = Instant::now();
    worker.signal(Signal::STOP)?;
    leash.signal(Signal::KILL)?;
    let answered = async || Ok((asked.elapsed() > ANSWER + Duration::from_secs(4)).then_some(()));
    wait::until("the page has had its answer for a while", PATIENCE, answered).await?;
    ensure!(browser.main.is_alive(), "without a leash nobody ends the browser");
    ensure!(stage.site.sent().is_empty(), "the page sent without an owner: {:#?}", stage.site.sent());

    stage.site.faults(|faults| faults.answer_after = Duration::ZERO);
    worker.signal(Signal::CONT)?;
    let (envelope, _) = stage.host.wait_for_status(mark, &target, SessionStatus::Connected).await?;
    ensure!(envelope.epoch == 2, "{envelope:?}");
    ensure!(stage.host.final_result(&id).await?.outcome == Outcome::Succeeded);
    ensure!(stage.site.sent().len() == 1 && stage.site.sent()[0].copies() == 1, "{:#?}", stage.site.sent());
    ensure!(worker.terminate(PATIENCE).await?.success());
    stage.host.events().check_order()
}
