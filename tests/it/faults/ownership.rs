//! Whoever owns a session is stopped, killed, cut off or asked to leave; nobody else is harmed by it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use rustix::process::Signal;
use wafleet_imitation::{AckTimes, Options, Phone};
use wafleet_protocol::command::{Command, SessionMove};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{Outcome, SessionStatus};
use wafleet_protocol::id::CommandId;
use wafleet_protocol::lane::Lane;
use wafleet_tests::fleet::{PATIENCE, Target, Worker, failure};
use wafleet_tests::invariants::Story;
use wafleet_tests::processes::{Browser, Process};
use wafleet_tests::proxy::{BOTH_WAYS, Proxy};
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
    let story = Story::begin(&stage)?;
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
    let tally = story.end(vec![first]).await?;
    ensure!(tally.departures == 3, "{tally:?}");
    Ok(())
}

#[tokio::test]
async fn a_worker_stopped_for_less_than_its_lease_is_not_noticed() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let story = Story::begin(&stage)?;
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
    story.end(vec![first, second]).await?;
    Ok(())
}

#[tokio::test]
async fn a_killed_worker_leaves_no_browser_and_no_leash() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    let story = Story::begin(&stage)?;
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
    story.end(Vec::new()).await?;
    Ok(())
}

#[tokio::test]
async fn a_killed_leash_is_replaced_and_the_new_one_holds_the_old_browsers() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let story = Story::begin(&stage)?;
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
    story.end(vec![worker]).await?;
    Ok(())
}

#[tokio::test]
async fn a_page_whose_worker_is_stopped_does_not_send_even_without_a_leash() -> Result<()> {
    // The page asks WhatsApp about the number first, and the answer takes longer than the lease is proven.
    const ANSWER: Duration = Duration::from_secs(12);
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let story = Story::begin(&stage)?;
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
    story.end(vec![worker]).await?;
    Ok(())
}

/// Starts these sessions together and links each with a phone of its own.
async fn link_all(stage: &Stage, names: &[String]) -> Result<Vec<Target>> {
    let targets = names.iter().map(|name| Ok(Target::new(name)?)).collect::<Result<Vec<_>>>()?;
    let phones: Vec<Phone> = (0..names.len())
        .map(|n| stage.site.phone(format!("49151000000{n:02}").as_str(), &format!("Phone {n}")))
        .collect();
    try_join_all(targets.iter().zip(&phones).map(|(target, phone)| stage.link(target, phone))).await?;
    Ok(targets)
}

/// How many sessions each of these workers owns, by the database.
async fn owned(stage: &Stage, workers: &[&str]) -> Result<Vec<usize>> {
    let rows = stage.fleet.database().sessions().await?;
    let owns = |worker: &&str| rows.iter().filter(|row| row.owner.as_deref() == Some(*worker)).count();
    Ok(workers.iter().map(owns).collect())
}

#[tokio::test]
async fn eight_sessions_are_handed_over_when_their_worker_is_asked_to_leave() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    stage.site.phone(BERT, "Bert");
    let story = Story::begin(&stage)?;
    let mut first = stage.worker("w1").env("WAFLEET_QR_GENERATIONS_PER_HOUR", "20").spawn()?;
    first.wait_until_ready().await?;
    let names: Vec<String> = (1..=8).map(|n| format!("s{n}")).collect();
    let targets = link_all(&stage, &names).await?;
    // It stays away from the others' sessions until they are released.
    let mut second = stage.worker("w2").env("WAFLEET_MIN_STAY_SECS", "86400").spawn()?;
    second.wait_until_ready().await?;
    let mark = stage.host.events().len();
    for target in &targets {
        stage.host.send(target, &text(BERT, &format!("from {}", target.session))?).await?;
    }
    let asked = Instant::now();
    ensure!(first.terminate(PATIENCE).await?.success(), "it did not drain in order");
    eprintln!("eight sessions released in {:?}", asked.elapsed());
    for target in &targets {
        let (envelope, _) = stage.host.wait_for_status(mark, target, SessionStatus::Connected).await?;
        ensure!(envelope.worker_id.as_str() == "w2", "{envelope:?}");
    }
    eprintln!("eight sessions connected elsewhere {:?} after the signal", asked.elapsed());
    ensure!(owned(&stage, &["w1", "w2"]).await? == [0, 8]);
    let tally = story.end(vec![second]).await?;
    ensure!(tally.departures == 8, "{tally:?}");
    Ok(())
}

#[tokio::test]
async fn a_second_signal_cuts_the_drain_short_and_loses_nothing() -> Result<()> {
    let acks = AckTimes { server: Duration::from_secs(60), delivered: None, read: None };
    let stage = Stage::set(Options { acks, ..Options::default() }).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let story = Story::begin(&stage)?;
    let mut first = stage.worker("w1").spawn()?;
    first.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let mut second = stage.worker("w2").spawn()?;
    second.wait_until_ready().await?;
    let mark = stage.host.events().len();
    for words in ["in flight", "behind it"] {
        stage.host.send(&target, &text(BERT, words)?).await?;
    }
    stage.site.wait_for_departure(PATIENCE, |departure| departure.text == "in flight").await?;
    first.signal(Signal::TERM)?;
    let draining = async || Ok(first.heartbeat()?.filter(|heartbeat| heartbeat.state == "draining").map(drop));
    wait::until("the worker drains", PATIENCE, draining).await?;
    stage.site.faults(|faults| faults.acks.server = Duration::from_millis(30));
    first.signal(Signal::INT)?;
    let ended = first.wait(PATIENCE).await?;
    ensure!(ended.code() == Some(1), "{ended}");
    ensure!(!first.output()?.contains("panicked"), "it panicked");
    let (envelope, _) = stage.host.wait_for_status(mark, &target, SessionStatus::Connected).await?;
    ensure!((envelope.worker_id.as_str(), envelope.epoch) == ("w2", 2), "{envelope:?}");
    let tally = story.end(vec![second]).await?;
    ensure!(tally.departures == 2, "{tally:?}");
    Ok(())
}

#[tokio::test]
async fn a_drain_that_hangs_ends_in_time_and_the_session_goes_on_from_its_last_snapshot_elsewhere() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let story = Story::begin(&stage)?;
    let database = Proxy::opened(stage.fleet.database().url()).await?;
    let through = database.url(stage.fleet.database().url())?;
    let mut first = stage.worker("w1").env("WAFLEET_DATABASE_URL", through).env("WAFLEET_DRAIN_SECS", "4").spawn()?;
    first.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let mark = stage.host.events().len();
    database.pause(BOTH_WAYS);
    let ended = first.terminate(PATIENCE).await?;
    ensure!(ended.code() == Some(1), "{ended}");

    // On another disk: all there is of the profile is what was saved right after linking.
    let disk = stage.fleet.scratch().join("other-disk").display().to_string();
    let mut second = stage.worker("w2").env("WAFLEET_PROFILE_ROOT", disk).spawn()?;
    second.wait_until_ready().await?;
    let (envelope, _) = stage.host.wait_for_status(mark, &target, SessionStatus::Connected).await?;
    ensure!((envelope.worker_id.as_str(), envelope.epoch) == ("w2", 2), "{envelope:?}");
    ensure!(anna.devices().len() == 1, "linked again: {:?}", anna.devices());
    ensure!(stage.host.ask(&target, &text(BERT, "from the other disk")?).await?.outcome == Outcome::Succeeded);
    database.resume();
    story.end(vec![second]).await?;
    Ok(())
}

/// How often executions of a command took their worker down, and who executes it now.
async fn crashes(stage: &Stage, command: &CommandId) -> Result<(u32, Option<String>)> {
    let select = "SELECT crashes, begun_by FROM wafleet_commands WHERE command_id = ?";
    let row = sqlx::query_as(select).bind(command.to_string()).fetch_optional(stage.fleet.database().pool()).await?;
    Ok(row.unwrap_or_default())
}

#[tokio::test]
async fn a_command_that_takes_its_worker_down_again_and_again_becomes_a_dead_letter_and_the_next_one_leaves()
-> Result<()> {
    // Never acknowledged: each execution is under way when its worker is killed.
    let acks = AckTimes { server: Duration::from_secs(600), delivered: None, read: None };
    let stage = Stage::set(Options { acks, ..Options::default() }).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let story = Story::begin(&stage)?;
    let mut worker = stage.worker("w0").env("WAFLEET_LEASE_TTL_SECS", "3").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let poison = stage.host.send(&target, &text(BERT, "poison")?).await?;
    for round in 1..=5_u32 {
        let name = worker.name().to_owned();
        let executes = async || {
            let (crashes, by) = crashes(&stage, &poison).await?;
            Ok((crashes == round - 1 && by.is_some_and(|by| by.starts_with(&format!("{name}#")))).then_some(()))
        };
        wait::until(&format!("{name} executes the command"), 2 * PATIENCE, executes).await?;
        if round == 1 {
            stage.site.wait_for_departure(PATIENCE, |departure| departure.text == "poison").await?;
        }
        worker.kill()?;
        worker = stage.worker(&format!("w{round}")).env("WAFLEET_LEASE_TTL_SECS", "3").spawn()?;
    }
    let refused = stage.host.final_result(&poison).await?;
    ensure!(refused.outcome == Outcome::Unknown, "it had left: {refused:?}");
    let archived = async || Ok(stage.fleet.database().dead_commands().await?.contains(poison.as_str()).then_some(()));
    wait::until("the poison is in the archive", PATIENCE, archived).await?;
    let counted = async || Ok((worker.count("commands.rejected.poison")? == 1).then_some(()));
    wait::until("the poison is counted", PATIENCE, counted).await?;

    stage.site.faults(|faults| faults.acks.server = Duration::from_millis(30));
    ensure!(stage.host.ask(&target, &text(BERT, "the next one")?).await?.outcome == Outcome::Succeeded);
    story.end(vec![worker]).await?;
    Ok(())
}

#[tokio::test]
async fn a_command_that_merely_waits_through_outages_and_handovers_is_no_poison() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let story = Story::begin(&stage)?;
    let mut worker = stage.worker("w0").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    stage.site.faults(|faults| faults.refuse_connections = true);
    anna.drop_connection()?;
    // On the urgent lane it is looked at again and again, on a paced one it stays at the head.
    let urgent = stage.host.send_on(Lane::Urgent, &target, &text(BERT, "urgent")?).await?;
    let normal = stage.host.send(&target, &text(BERT, "normal")?).await?;
    let seen = async || {
        let commands = stage.fleet.database().commands().await?;
        Ok(commands.iter().any(|(command, ..)| *command == urgent.to_string()).then_some(()))
    };
    wait::until("the urgent one was looked at", PATIENCE, seen).await?;
    for round in 1..=2 {
        ensure!(worker.terminate(PATIENCE).await?.success());
        let mark = stage.host.events().len();
        worker = stage.worker(&format!("w{round}")).spawn()?;
        stage.host.wait_for_status(mark, &target, SessionStatus::Initializing).await?;
    }
    stage.site.faults(|faults| faults.refuse_connections = false);
    for id in [&urgent, &normal] {
        ensure!(stage.host.final_result(id).await?.outcome == Outcome::Succeeded);
        ensure!(crashes(&stage, id).await? == (0, None), "{:?}", crashes(&stage, id).await?);
    }
    story.end(vec![worker]).await?;
    Ok(())
}

#[tokio::test]
async fn a_joining_worker_gets_its_share_of_idle_sessions_and_nothing_comes_back() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    stage.site.phone(BERT, "Bert");
    let story = Story::begin(&stage)?;
    let worker = |name: &str| stage.worker(name).env("WAFLEET_MIN_STAY_SECS", "0");
    let mut first = worker("w1").env("WAFLEET_QR_GENERATIONS_PER_HOUR", "20").spawn()?;
    first.wait_until_ready().await?;
    let names: Vec<String> = (1..=4).map(|n| format!("s{n}")).collect();
    let targets = link_all(&stage, &names).await?;
    // The last one used stays longest.
    for target in &targets {
        ensure!(stage.host.ask(target, &text(BERT, "before")?).await?.outcome == Outcome::Succeeded);
    }
    let mark = stage.host.events().len();
    let mut second = worker("w2").spawn()?;
    second.wait_until_ready().await?;
    let even = async || Ok((owned(&stage, &["w1", "w2"]).await? == [2, 2]).then_some(()));
    wait::until("the spread is even", 2 * PATIENCE, even).await?;
    for target in &targets[..2] {
        let (envelope, _) = stage.host.wait_for_status(mark, target, SessionStatus::Connected).await?;
        ensure!((envelope.worker_id.as_str(), envelope.epoch) == ("w2", 2), "{envelope:?}");
        let moving = stage.host.statuses(mark, target);
        ensure!(
            moving.iter().filter(|told| told.status != SessionStatus::Connected).all(|told| told.health.moving),
            "{moving:#?}"
        );
    }
    for target in &targets {
        ensure!(stage.host.ask(target, &text(BERT, "after")?).await?.outcome == Outcome::Succeeded);
    }
    let fences: Vec<u64> = stage.fleet.database().sessions().await?.iter().map(|row| row.fence).collect();
    ensure!(fences == [2, 2, 1, 1], "the longest idle ones go, once each: {fences:?}");
    story.end(vec![first, second]).await?;
    Ok(())
}

#[tokio::test]
async fn a_session_is_moved_by_command_to_a_named_worker_and_refuses_clearly_where_it_cannot() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let story = Story::begin(&stage)?;
    // The balance would bring it back from the small worker after a while.
    let worker = |name: &str| stage.worker(name).env("WAFLEET_MIN_STAY_SECS", "86400");
    let mut first = worker("w1").spawn()?;
    first.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let move_to = |to: Option<&str>| -> Result<Command> {
        Ok(Command::SessionMove(SessionMove { to: to.map(str::parse).transpose()? }))
    };
    let alone = stage.host.ask(&target, &move_to(None)?).await?;
    ensure!(failure(&alone)? == ErrorCode::UnknownWorker, "{alone:?}");
    for (to, code) in [("w1", ErrorCode::AlreadyThere), ("w9", ErrorCode::UnknownWorker)] {
        let refused = stage.host.ask(&target, &move_to(Some(to))?).await?;
        ensure!(failure(&refused)? == code, "{refused:?}");
    }
    let mut second = worker("w2").env("WAFLEET_CAPACITY", "1").spawn()?;
    second.wait_until_ready().await?;
    let mark = stage.host.events().len();
    stage.host.send(&target, &text(BERT, "on the way")?).await?;
    let output = second.run(&["session", "move", "s1", "--workspace", "1", "--to", "w2"]).await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let told: Vec<_> =
        stage.host.statuses(mark, &target).iter().map(|told| (told.status, told.health.moving)).collect();
    use SessionStatus::{Connected, Disconnected, Initializing};
    ensure!(told == [(Disconnected, true), (Initializing, true), (Connected, false)], "{told:?}\n{said}");
    let row = stage.fleet.database().session("s1").await?.context("a row")?;
    ensure!((row.owner.as_deref(), row.fence) == (Some("w2"), 2), "{row:?}");

    // Another session does not fit on the small worker, and a stopped one is nowhere.
    let other = Target::new("s2")?;
    let bert = stage.site.phone(BERT, "Bert");
    stage.link(&other, &bert).await?;
    let full = stage.host.ask(&other, &move_to(Some("w2"))?).await?;
    ensure!(failure(&full)? == ErrorCode::WorkerFull, "{full:?}");
    stage.host.ask(&other, &Command::SessionStop).await?;
    let stopped = stage.host.ask(&other, &move_to(None)?).await?;
    ensure!(failure(&stopped)? == ErrorCode::SessionStopped, "{stopped:?}");
    let unknown = stage.host.ask(&Target::new("s3")?, &move_to(None)?).await?;
    ensure!(failure(&unknown)? == ErrorCode::UnknownSession, "{unknown:?}");
    story.end(vec![first, second]).await?;
    Ok(())
}

#[tokio::test]
async fn redis_away_for_longer_than_the_lease_ends_the_browsers_in_time_and_they_come_back_after() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let story = Story::begin(&stage)?;
    let redis = Proxy::opened(stage.fleet.redis_url()).await?;
    let through = redis.url(stage.fleet.redis_url())?;
    let mut first = stage.worker("w1").env("WAFLEET_REDIS_URL", &through).spawn()?;
    first.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let mut second = stage.worker("w2").env("WAFLEET_REDIS_URL", &through).spawn()?;
    second.wait_until_ready().await?;
    let browser = Browser::of(first.pid(), &stage.session_dir(&target))?;
    let (mark, fence) =
        (stage.host.events().len(), stage.fleet.database().session("s1").await?.context("a row")?.fence);
    redis.pause(BOTH_WAYS);
    gone("the browser of a session whose lease cannot be proven", &browser.group).await?;
    let row = stage.fleet.database().session("s1").await?.context("a row")?;
    ensure!(row.fence == fence, "claimed without Redis: {row:?}");
    // The lease itself ends in Redis, which nobody can reach.
    let ended = async || Ok(stage.fleet.leases().await?.is_empty().then_some(()));
    wait::until("the lease has ended", PATIENCE, ended).await?;
    let waiting = stage.host.send(&target, &text(BERT, "while Redis was away")?).await?;
    redis.resume();
    let (envelope, _) = stage.host.wait_for_status(mark, &target, SessionStatus::Connected).await?;
    ensure!(envelope.epoch == fence + 1, "{envelope:?}");
    ensure!(stage.host.final_result(&waiting).await?.outcome == Outcome::Succeeded);
    story.end(vec![first, second]).await?;
    Ok(())
}

mod own_services {
    use super::*;

    use wafleet_tests::services::{OwnServices, Server};

    async fn redis(url: &str) -> Result<redis::aio::MultiplexedConnection> {
        Ok(redis::Client::open(url)?.get_multiplexed_async_connection().await?)
    }

    #[tokio::test]
    async fn a_flushed_redis_loses_no_session_and_nobody_gets_a_second_browser() -> Result<()> {
        const MESSAGES: usize = 30;
        let own = OwnServices::start(&[Server::Redis]).await?;
        let stage = Stage::set_on(Options::default(), own.addresses()).await?;
        let anna = stage.site.phone(ANNA, "Anna");
        stage.site.phone(BERT, "Bert");
        let story = Story::begin(&stage)?;
        let mut first = stage.worker("w1").spawn()?;
        first.wait_until_ready().await?;
        let target = Target::new("s1")?;
        stage.link(&target, &anna).await?;
        let mut second = stage.worker("w2").spawn()?;
        second.wait_until_ready().await?;
        let mut connection = redis(stage.fleet.redis_url()).await?;
        for n in 0..MESSAGES {
            stage.host.send(&target, &text(BERT, &format!("message {n}"))?).await?;
            if n % 10 == 5 {
                redis::cmd("FLUSHALL").exec_async(&mut connection).await?;
                let taken = async || Ok((stage.fleet.leases().await?.len() == 1).then_some(()));
                wait::until("somebody holds a lease again", PATIENCE, taken).await?;
            }
        }
        let row = stage.fleet.database().session("s1").await?.context("a row")?;
        ensure!((row.owner.as_deref(), row.fence) == (Some("w1"), 1), "its owner was there all the time: {row:?}");
        let tally = story.end(vec![first, second]).await?;
        ensure!(tally.departures == MESSAGES, "{tally:?}");
        Ok(())
    }

    #[tokio::test]
    async fn a_failover_that_forgets_the_last_claim_leaves_its_owner_alone() -> Result<()> {
        let mut own = OwnServices::start(&[Server::Redis]).await?;
        let stage = Stage::set_on(Options::default(), own.addresses()).await?;
        let anna = stage.site.phone(ANNA, "Anna");
        stage.site.phone(BERT, "Bert");
        let story = Story::begin(&stage)?;
        let worker = |name: &str| stage.worker(name).env("WAFLEET_LEASE_TTL_SECS", "30");
        let mut linked = worker("w0").spawn()?;
        linked.wait_until_ready().await?;
        let target = Target::new("s1")?;
        stage.link(&target, &anna).await?;
        let (mut first, mut second) = (worker("w1").spawn()?, worker("w2").spawn()?);
        first.wait_until_ready().await?;
        second.wait_until_ready().await?;
        let era = format!("{}:era", stage.fleet.redis_prefix());
        ensure!(linked.terminate(PATIENCE).await?.success());
        let claimed = async || Ok(stage.fleet.database().session("s1").await?.filter(|row| row.fence == 2));
        let row = wait::until("the session is claimed", PATIENCE, claimed).await?;

        // The new master is at the old address, and knows all but this claim: not even that it is new.
        own.redis()?.kill();
        own.redis()?.start_again()?;
        let mut connection = redis(stage.fleet.redis_url()).await?;
        redis::cmd("SET").arg(&era).arg(1).exec_async(&mut connection).await?;
        let taken = async || Ok(stage.fleet.leases().await?.into_iter().next());
        let (_, owner) = wait::until("somebody has the lease again", PATIENCE, taken).await?;
        ensure!(row.owner.as_deref() == Some(owner.as_str()), "{owner} took what {row:?} says");
        ensure!(stage.host.ask(&target, &text(BERT, "by the same owner")?).await?.outcome == Outcome::Succeeded);
        let now = stage.fleet.database().session("s1").await?.context("a row")?;
        ensure!((&now.owner, now.fence) == (&row.owner, 2), "{now:?}");
        story.end(vec![first, second]).await?;
        Ok(())
    }

    #[tokio::test]
    async fn an_owner_that_cannot_reach_the_new_redis_ends_before_another_one_begins() -> Result<()> {
        let mut own = OwnServices::start(&[Server::Redis]).await?;
        let stage = Stage::set_on(Options::default(), own.addresses()).await?;
        let anna = stage.site.phone(ANNA, "Anna");
        stage.site.phone(BERT, "Bert");
        let story = Story::begin(&stage)?;
        let door = Proxy::opened(stage.fleet.redis_url()).await?;
        let mut first = stage.worker("w1").env("WAFLEET_REDIS_URL", door.url(stage.fleet.redis_url())?).spawn()?;
        first.wait_until_ready().await?;
        let target = Target::new("s1")?;
        stage.link(&target, &anna).await?;
        let mark = stage.host.events().len();
        // An empty one takes the place of the old, and the owner still dials the old address.
        door.pause(BOTH_WAYS);
        own.redis()?.kill();
        own.redis()?.start_again()?;
        let mut second = stage.worker("w2").spawn()?;
        second.wait_until_ready().await?;
        let (envelope, _) = stage.host.wait_for_status(mark, &target, SessionStatus::Connected).await?;
        ensure!((envelope.worker_id.as_str(), envelope.epoch) == ("w2", 2), "{envelope:?}");
        door.resume();
        owns(&first, 0).await?;
        ensure!(stage.host.ask(&target, &text(BERT, "by the newer fence")?).await?.outcome == Outcome::Succeeded);
        let row = stage.fleet.database().session("s1").await?.context("a row")?;
        ensure!((row.owner.as_deref(), row.fence) == (Some("w2"), 2), "{row:?}");
        story.end(vec![first, second]).await?;
        Ok(())
    }
}
