//! What breaks in a browser.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use wafleet_imitation::{AckTimes, Options, Phone};
use wafleet_protocol::event::{Cause, Event, Outcome, SessionStatus};
use wafleet_tests::fleet::{PATIENCE, Target, Worker};
use wafleet_tests::invariants::Story;
use wafleet_tests::processes::{Browser, Frozen, Process};
use wafleet_tests::stage::{START, Stage, text};
use wafleet_tests::wait;

const ANNA: &str = "4915112345678";
const BERT: &str = "4915187654321";
/// A page that stands still is recycled within this time.
const RECYCLED_WITHIN: Duration = Duration::from_secs(60);

/// A worker with one linked session.
async fn linked(stage: &Stage) -> Result<(Worker, Target, Phone)> {
    let (anna, target) = (stage.site.phone(ANNA, "Anna"), Target::new("s1")?);
    stage.site.phone(BERT, "Bert");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    stage.link(&target, &anna).await?;
    Ok((worker, target, anna))
}

/// The session was never offered a new link.
fn stayed_linked(stage: &Stage, phone: &Phone, mark: usize) -> Result<()> {
    let entries = stage.host.events().entries();
    let codes = entries.iter().skip(mark).filter(|entry| matches!(entry.envelope.event, Event::SessionQr(_))).count();
    ensure!(codes == 0, "a linked session showed a code:\n{}", stage.host.events().describe());
    ensure!(phone.devices().len() == 1, "linked a second time: {:?}", phone.devices());
    Ok(())
}

#[tokio::test]
async fn a_renderer_that_stands_still_is_recycled() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let story = Story::begin(&stage)?;
    let (worker, target, anna) = linked(&stage).await?;
    let mark = stage.host.events().len();
    let first = Browser::of(worker.pid(), &stage.session_dir(&target))?;
    let renderer = first.renderer()?.clone();
    // Stopped and not looping: nothing that the browser sends it is answered, and nothing can be dropped in it.
    let frozen = Frozen::new(renderer.id)?;
    anna.receive_text(BERT, "Bert", "nobody hears this");
    let hung = async || Ok((worker.count("pages.broken.hung")? == 1).then_some(()));
    wait::until("it is noticed", RECYCLED_WITHIN, hung).await?;
    let recycled = async || Ok((!renderer.is_alive()).then_some(()));
    wait::until("the renderer is replaced", RECYCLED_WITHIN, recycled).await?;
    drop(frozen);
    stage.lives(&target, &anna, BERT, "after the hang").await?;
    let missed = |envelope: &wafleet_protocol::event::Envelope| match &envelope.event {
        Event::MessageReceived(message) => {
            message.text.as_ref().is_some_and(|text| text.as_str() == "nobody hears this").then_some(())
        }
        _ => None,
    };
    stage.host.events().wait_from(mark, "what came meanwhile", PATIENCE, missed).await?;
    stayed_linked(&stage, &anna, mark)?;
    story.end(vec![worker]).await?;
    Ok(())
}

#[tokio::test]
async fn a_renderer_that_crashes_during_a_send_doubles_and_loses_nothing() -> Result<()> {
    // The cloud takes its time to acknowledge: the crash comes between the departure and the result.
    let acks = AckTimes { server: Duration::from_secs(120), delivered: None, read: None };
    let stage = Stage::set(Options { acks, ..Options::default() }).await?;
    let story = Story::begin(&stage)?;
    let (worker, target, anna) = linked(&stage).await?;
    let mark = stage.host.events().len();
    let id = stage.host.send(&target, &text(BERT, "in the middle")?).await?;
    stage.site.wait_for_departure(PATIENCE, |departure| departure.text == "in the middle").await?;
    stage.site.faults(|faults| faults.acks.server = Duration::from_millis(30));
    let browser = Browser::of(worker.pid(), &stage.session_dir(&target))?;
    browser.renderer()?.signal(Signal::KILL)?;
    ensure!(stage.host.final_result(&id).await?.outcome == Outcome::Succeeded);
    stage.lives(&target, &anna, BERT, "after the crash").await?;
    ensure!(browser.main.is_alive(), "the browser itself needs no restart");
    ensure!(worker.count("pages.broken.crashed")? == 1, "{:?}", worker.heartbeat()?);
    stayed_linked(&stage, &anna, mark)?;
    story.end(vec![worker]).await?;
    Ok(())
}

#[tokio::test]
async fn a_killed_utility_process_of_the_browser_costs_no_session() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let story = Story::begin(&stage)?;
    let (worker, target, anna) = linked(&stage).await?;
    let mark = stage.host.events().len();
    let browser = Browser::of(worker.pid(), &stage.session_dir(&target))?;
    // Graphics and network run in the browser's own process here; what is left are services such as the storage's.
    let kinds = ["--type=utility", "--type=gpu-process"];
    let services: Vec<_> =
        browser.group.iter().filter(|process| kinds.iter().any(|kind| process.command.contains(kind))).collect();
    ensure!(!services.is_empty(), "no such process among {:#?}", browser.group);
    for service in &services {
        service.signal(Signal::KILL)?;
    }
    let gone = async || Ok(services.iter().all(|service| !service.is_alive()).then_some(()));
    wait::until("they are gone", PATIENCE, gone).await?;
    stage.lives(&target, &anna, BERT, "after the kill").await?;
    stayed_linked(&stage, &anna, mark)?;
    let row = stage.fleet.database().session("s1").await?.context("no row of the session")?;
    ensure!(row.fence == 1, "the owner did not change: {row:?}");
    story.end(vec![worker]).await?;
    Ok(())
}

/// How much the kernel would like to kill a process when memory runs out.
fn badness(process: &Process) -> Result<u32> {
    let score = std::fs::read_to_string(format!("/proc/{}/oom_score", process.id))?;
    score.trim().parse().context("a score")
}

#[tokio::test]
async fn a_browser_killed_for_want_of_memory_comes_back_linked_and_loses_no_message() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let story = Story::begin(&stage)?;
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let mark = stage.host.events().len();

    // Killed as the kernel does it, which takes the process with the highest score; then the one that is left to take.
    let browser = Browser::of(worker.pid(), &stage.session_dir(&target))?;
    let mut scored = Vec::new();
    for process in &browser.group {
        scored.push((badness(process)?, process));
    }
    let (_, worst) = scored.into_iter().max_by_key(|(score, _)| *score).context("a browser has processes")?;
    worst.signal(Signal::KILL)?;
    ensure!(stage.host.ask(&target, &text(BERT, "after the first kill")?).await?.outcome == Outcome::Succeeded);
    let browser = Browser::of(worker.pid(), &stage.session_dir(&target))?;
    browser.main.signal(Signal::KILL)?;
    ensure!(stage.host.ask(&target, &text(BERT, "after the second")?).await?.outcome == Outcome::Succeeded);

    let broken = worker.count("pages.broken.crashed")? + worker.count("pages.broken.browser_exited")?;
    ensure!(broken == 2, "each is counted with its reason: {:?}", worker.heartbeat()?);
    let codes = |event: &Event| matches!(event, Event::SessionQr(_));
    let entries = stage.host.events().entries();
    ensure!(!entries.iter().skip(mark).any(|entry| codes(&entry.envelope.event)), "a code");
    ensure!(anna.devices().len() == 1, "linked a second time");
    story.end(vec![worker]).await?;
    Ok(())
}

#[tokio::test]
async fn a_chromium_that_cannot_start_is_told_once_and_not_tried_for_every_command() -> Result<()> {
    const COMMANDS: usize = 6;
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let story = Story::begin(&stage)?;
    let mut worker = stage.worker("w1").without_browser().spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    let mark = stage.host.events().len();
    ensure!(stage.host.ask(&target, &START).await?.outcome == Outcome::Succeeded);
    let mut sends = Vec::new();
    for number in 0..COMMANDS {
        sends.push(stage.host.send(&target, &text(BERT, &format!("number {number}"))?).await?);
    }
    let (_, failed) = stage.host.wait_for_status(mark, &target, SessionStatus::Failed).await?;
    ensure!(failed.cause == Cause::StartFailed, "{failed:?}");
    let told = stage.host.statuses(mark, &target);
    let failures = told.iter().filter(|told| told.status == SessionStatus::Failed).count();
    ensure!(failures == 1, "{told:?}");
    let tries = worker.output()?.matches("the browser did not start").count();
    ensure!((1..=5).contains(&tries), "{tries} starts for {COMMANDS} commands");
    ensure!(worker.terminate(Duration::from_secs(30)).await?.success());

    // Where it can start the commands are still there, and nobody has to send them again.
    let mut second = stage.worker("w2").spawn()?;
    second.wait_until_ready().await?;
    stage.link(&target, &anna).await?;
    for id in &sends {
        let result = stage.host.final_result(id).await?;
        ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
    }
    story.end(vec![second]).await?;
    Ok(())
}
