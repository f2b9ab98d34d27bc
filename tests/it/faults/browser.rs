//! What breaks in a browser.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use wafleet_imitation::{AckTimes, Options, Phone};
use wafleet_protocol::event::{Event, Outcome};
use wafleet_tests::fleet::{PATIENCE, Target, Worker};
use wafleet_tests::invariants::Story;
use wafleet_tests::processes::{Browser, Frozen};
use wafleet_tests::stage::{Stage, text};
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

/// A text goes out and another one comes in.
async fn lives(stage: &Stage, target: &Target, phone: &Phone, words: &str) -> Result<()> {
    let mark = stage.host.events().len();
    let result = stage.host.ask(target, &text(BERT, words)?).await?;
    ensure!(result.outcome == Outcome::Succeeded, "{words}: {result:?}");
    let answer = format!("{words}?");
    phone.receive_text(BERT, "Bert", &answer);
    let heard = |envelope: &wafleet_protocol::event::Envelope| match &envelope.event {
        Event::MessageReceived(message) => {
            message.text.as_ref().is_some_and(|text| text.as_str() == answer).then_some(())
        }
        _ => None,
    };
    stage.host.events().wait_from(mark, "the answer", 2 * PATIENCE, heard).await
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
    lives(&stage, &target, &anna, "after the hang").await?;
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
    lives(&stage, &target, &anna, "after the crash").await?;
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
    lives(&stage, &target, &anna, "after the kill").await?;
    stayed_linked(&stage, &anna, mark)?;
    let row = stage.fleet.database().session("s1").await?.context("no row of the session")?;
    ensure!(row.fence == 1, "the owner did not change: {row:?}");
    story.end(vec![worker]).await?;
    Ok(())
}
