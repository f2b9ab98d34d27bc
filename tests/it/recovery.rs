//! What breaks under a linked session comes back by itself, without a new link, without a lost or doubled message.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use wafleet_imitation::{AckTimes, Departure, Options, PageOptions, Phone, SendFault};
use wafleet_protocol::event::{Cause, Envelope, Event, Outcome, SessionStatus};
use wafleet_protocol::lane::Lane;
use wafleet_tests::fleet::{HOST_KEY, Order, PATIENCE, Posted, Target, new_command_id, unix_now};
use wafleet_tests::processes::{Browser, Process};
use wafleet_tests::stage::{Stage, text};
use wafleet_tests::wait;

const ANNA: &str = "4915112345678";
const BERT: &str = "4915187654321";

/// Sends a text and waits until it has succeeded, whatever happens to the session meanwhile.
async fn send(stage: &Stage, target: &Target, words: &str) -> Result<()> {
    let result = stage.host.ask(target, &text(BERT, words)?).await?;
    ensure!(result.outcome == Outcome::Succeeded, "{words}: {result:?}");
    Ok(())
}

/// Every text that left, once each, in any order.
fn left(stage: &Stage, expected: &[&str]) -> Result<()> {
    let departures = stage.site.sent();
    let mut texts: Vec<&str> = departures.iter().map(|departure| departure.text.as_str()).collect();
    texts.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    ensure!(texts == expected, "{departures:#?}");
    ensure!(departures.iter().all(left_once), "sent twice: {departures:#?}");
    Ok(())
}

/// Whether it was sent on purpose once.
fn left_once(departure: &Departure) -> bool {
    departure.copies() == 1
}

/// How many codes were shown since `mark`.
fn codes(stage: &Stage, mark: usize) -> usize {
    let entries = stage.host.events().entries();
    entries.iter().skip(mark).filter(|entry| matches!(entry.envelope.event, Event::SessionQr(_))).count()
}

/// A message from outside arrives as an event.
async fn receive(stage: &Stage, phone: &Phone, words: &str) -> Result<Envelope> {
    let mark = stage.host.events().len();
    phone.receive_text(BERT, "Bert", words);
    let find = |envelope: &Envelope| match &envelope.event {
        Event::MessageReceived(message) if message.text.as_ref().is_some_and(|text| text.as_str() == words) => {
            Some(envelope.clone())
        }
        _ => None,
    };
    stage.host.events().wait_from(mark, "message.received", 2 * PATIENCE, find).await
}

#[tokio::test]
async fn a_dropped_socket_heals_unnoticed() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    send(&stage, &target, "before").await?;
    let mark = stage.host.events().len();
    for round in ["first", "second", "third"] {
        anna.drop_connection()?;
        send(&stage, &target, round).await?;
        receive(&stage, &anna, &format!("after the {round}")).await?;
    }
    let statuses = stage.host.statuses(mark, &target);
    ensure!(statuses.is_empty(), "nobody needs to know: {statuses:?}");
    left(&stage, &["before", "first", "second", "third"])?;
    stage.host.events().check_order()
}

#[tokio::test]
async fn a_lasting_outage_is_told_and_so_is_its_end() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let mark = stage.host.events().len();
    stage.site.faults(|faults| faults.refuse_connections = true);
    anna.drop_connection()?;
    let (_, away) = stage.host.wait_for_status(mark, &target, SessionStatus::Disconnected).await?;
    ensure!(away.cause == Cause::ConnectionLost && away.previous == Some(SessionStatus::Connected), "{away:?}");
    let id = stage.host.send(&target, &text(BERT, "sent during the outage")?).await?;
    stage.site.faults(|faults| faults.refuse_connections = false);
    let (_, back) = stage.host.wait_for_status(mark, &target, SessionStatus::Connected).await?;
    ensure!(back.cause == Cause::Ready, "{back:?}");
    ensure!(stage.host.final_result(&id).await?.outcome == Outcome::Succeeded);
    left(&stage, &["sent during the outage"])?;
    ensure!(codes(&stage, mark) == 0, "a linked session showed a code");
    stage.host.events().check_order()
}

#[tokio::test]
async fn a_crashed_page_and_a_killed_browser_come_back_linked() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    send(&stage, &target, "before").await?;
    let mark = stage.host.events().len();

    let first = Browser::of(worker.pid(), &stage.session_dir(&target))?;
    first.renderer()?.signal(Signal::KILL)?;
    send(&stage, &target, "after the crash of the page").await?;
    receive(&stage, &anna, "do you hear me?").await?;
    ensure!(first.main.is_alive(), "the browser itself needs no restart");
    ensure!(worker.count("pages.broken.crashed")? == 1, "{:?}", worker.heartbeat()?);

    first.main.signal(Signal::KILL)?;
    send(&stage, &target, "after the kill of the browser").await?;
    receive(&stage, &anna, "and now?").await?;
    let second = Browser::of(worker.pid(), &stage.session_dir(&target))?;
    ensure!(second.main.id != first.main.id, "{second:?}");
    ensure!(first.group.iter().all(|process| !process.is_alive()), "part of the killed browser is left");

    left(&stage, &["before", "after the crash of the page", "after the kill of the browser"])?;
    ensure!(codes(&stage, mark) == 0, "a linked session showed a code:\n{}", stage.host.events().describe());
    ensure!(anna.devices().len() == 1, "linked a second time: {:?}", anna.devices());
    let epochs: Vec<_> =
        stage.host.events().entries().iter().map(|entry| entry.envelope.epoch).filter(|epoch| *epoch > 0).collect();
    ensure!(epochs.iter().all(|epoch| *epoch == 1), "the owner did not change: {epochs:?}");
    stage.host.events().check_order()
}

#[tokio::test]
async fn a_killed_workers_browser_ends_and_the_next_worker_takes_the_session_over() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut first = stage.worker("w1").spawn()?;
    first.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    send(&stage, &target, "by the first").await?;
    let browser = Browser::of(first.pid(), &stage.session_dir(&target))?;
    let mark = stage.host.events().len();

    let mut second = stage.worker("w2").spawn()?;
    second.wait_until_ready().await?;
    first.kill()?;
    let killed = std::time::Instant::now();
    let gone = async || Ok(browser.group.iter().all(|process| !process.is_alive()).then_some(()));
    wait::until("the browser of the killed worker is gone", Duration::from_secs(20), gone).await?;

    let (envelope, connected) = stage.host.wait_for_status(mark, &target, SessionStatus::Connected).await?;
    let took = killed.elapsed();
    ensure!((envelope.epoch, envelope.worker_id.as_str()) == (2, "w2"), "{envelope:?}");
    ensure!(connected.phone.as_ref().map(|phone| phone.as_str()) == Some(ANNA));
    // Not before the lease of the first has ended, 6 s after it was last renewed, which was at most 2 s before.
    ensure!(took > Duration::from_secs(3), "taken over after {took:?}");
    ensure!(codes(&stage, mark) == 0, "a linked session showed a code:\n{}", stage.host.events().describe());
    let row = stage.fleet.database().session("s1").await?.context("no row of the session")?;
    ensure!((row.owner.as_deref(), row.fence) == (Some("w2"), 2), "{row:?}");
    send(&stage, &target, "by the second").await?;
    receive(&stage, &anna, "who is there?").await?;
    left(&stage, &["by the first", "by the second"])?;
    stage.host.events().check_order()
}

#[tokio::test]
async fn a_message_whose_worker_was_killed_in_the_middle_leaves_once() -> Result<()> {
    // The cloud takes its time to acknowledge: the kill comes between the departure and the result.
    let acks = AckTimes { server: Duration::from_secs(30), delivered: None, read: None };
    let stage = Stage::set(Options { acks, ..Options::default() }).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut first = stage.worker("w1").spawn()?;
    first.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let id = stage.host.send(&target, &text(BERT, "in the middle")?).await?;
    let later = stage.host.send(&target, &text(BERT, "behind it")?).await?;
    stage.site.wait_for_departure(PATIENCE, |departure| departure.text == "in the middle").await?;
    first.kill()?;
    stage.site.faults(|faults| faults.acks.server = Duration::from_millis(30));

    let mut second = stage.worker("w2").spawn()?;
    second.wait_until_ready().await?;
    for id in [&id, &later] {
        let result = stage.host.final_result(id).await?;
        ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
    }
    let departures = stage.site.sent();
    let texts: Vec<_> = departures.iter().map(|departure| departure.text.as_str()).collect();
    ensure!(texts == ["in the middle", "behind it"], "{departures:#?}");
    ensure!(departures.iter().all(left_once), "sent twice: {departures:#?}");
    stage.host.events().check_order()
}

#[tokio::test]
async fn a_message_that_expires_while_its_worker_is_dead_is_not_said_to_have_failed() -> Result<()> {
    let acks = AckTimes { server: Duration::from_secs(60), delivered: None, read: None };
    let stage = Stage::set(Options { acks, ..Options::default() }).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut first = stage.worker("w1").spawn()?;
    first.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let (id, command) = (new_command_id()?, text(BERT, "good for ten seconds")?);
    let order = Order { expires_at: unix_now() + 10, ..Order::now(&command, Lane::Normal) };
    let letter = stage.host.letter_by(HOST_KEY, &target, &id, &command, &order)?;
    ensure!(stage.host.post(&letter).await? == Posted::Routed);
    stage.site.wait_for_departure(PATIENCE, |_| true).await?;
    first.kill()?;
    let over = async || Ok((unix_now() > order.expires_at).then_some(()));
    wait::until("the command's time is over", PATIENCE, over).await?;

    let mut second = stage.worker("w2").spawn()?;
    second.wait_until_ready().await?;
    let result = stage.host.final_result(&id).await?;
    ensure!(matches!(result.outcome, Outcome::Succeeded | Outcome::Unknown), "it left: {result:?}");
    left(&stage, &["good for ten seconds"])?;
    stage.host.events().check_order()
}

#[tokio::test]
async fn a_send_whose_connection_is_cut_ends_in_one_message_or_none() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut worker = stage.worker("w1").env("WAFLEET_PAGE_CALL_TIMEOUT_SECS", "10").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    for (fault, words) in [
        (SendFault::CutAfter, "taken, then cut"),
        (SendFault::CutBefore, "cut, not taken"),
        (SendFault::Delay { millis: 3_000 }, "taken, told late"),
    ] {
        stage.site.faults(|faults| faults.next_sends(fault, 1));
        send(&stage, &target, words).await.with_context(|| format!("{fault:?}"))?;
    }
    left(&stage, &["taken, then cut", "cut, not taken", "taken, told late"])?;
    // The page repeats what was cut off as soon as it has a line again, and is waited for: no command had to come back.
    ensure!(worker.count("commands.retried.ack_timeout")? == 0, "{:?}", worker.heartbeat()?);

    // A refusal is final, and nothing left.
    stage.site.faults(|faults| faults.next_sends(SendFault::Refuse { code: 500 }, 1));
    let refused = stage.host.ask(&target, &text(BERT, "refused")?).await?;
    ensure!(refused.outcome == Outcome::Failed, "{refused:?}");
    ensure!(!stage.site.sent().iter().any(|departure| departure.text == "refused"), "it left all the same");
    stage.host.events().check_order()
}

#[tokio::test]
async fn a_drained_worker_hands_over_without_losing_a_command() -> Result<()> {
    const MESSAGES: usize = 12;
    let acks = AckTimes { server: Duration::from_millis(300), ..AckTimes::default() };
    let stage = Stage::set(Options { acks, ..Options::default() }).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut first = stage.worker("w1").spawn()?;
    first.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let mut second = stage.worker("w2").spawn()?;
    second.wait_until_ready().await?;
    let mark = stage.host.events().len();
    let mut ids = Vec::new();
    let words: Vec<String> = (0..MESSAGES).map(|n| format!("message {n}")).collect();
    for words in &words {
        ids.push(stage.host.send_on(Lane::High, &target, &text(BERT, words)?).await?);
    }
    stage.site.wait_for_departure(PATIENCE, |departure| departure.text == "message 2").await?;
    let ended = first.terminate(Duration::from_secs(30)).await?;
    ensure!(ended.success(), "{ended}");
    for id in &ids {
        let result = stage.host.final_result(id).await?;
        ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
    }
    let departures = stage.site.sent();
    ensure!(
        departures.iter().map(|departure| &departure.text).eq(&words),
        "lost, doubled or out of order: {departures:#?}"
    );
    ensure!(departures.iter().all(left_once), "sent twice: {departures:#?}");
    let path: Vec<_> = stage.host.statuses(mark, &target).iter().map(|told| (told.status, told.cause)).collect();
    use SessionStatus::{Connected, Disconnected, Initializing};
    let expected = [(Disconnected, Cause::Released), (Initializing, Cause::Claimed), (Connected, Cause::Ready)];
    ensure!(path == expected, "{path:?}");
    ensure!(codes(&stage, mark) == 0, "a linked session showed a code");
    let ended = second.terminate(Duration::from_secs(30)).await?;
    ensure!(ended.success(), "{ended}");
    ensure!(Process::naming(&stage.fleet.profile_root())?.is_empty(), "a browser is left");
    stage.host.events().check_order()
}

#[tokio::test]
async fn a_line_that_carries_nothing_is_noticed_though_the_page_does_not() -> Result<()> {
    // The page's own watch over its line is out of order: it looks once in ten minutes.
    let page = PageOptions { ping_ms: 600_000, dead_socket_ms: 600_000, ..PageOptions::default() };
    let stage = Stage::set(Options { page, ..Options::default() }).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut worker = stage.worker("w1").env("WAFLEET_SILENCE_SECS", "5").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    send(&stage, &target, "before").await?;
    let mark = stage.host.events().len();
    anna.set_silent(true)?;
    anna.receive_text(BERT, "Bert", "into the silence");
    let silent = async || Ok((worker.count("pages.broken.silent")? == 1).then_some(()));
    wait::until("the silence is noticed", 2 * PATIENCE, silent).await?;
    let told = |envelope: &Envelope| match &envelope.event {
        Event::MessageReceived(message) => {
            message.text.as_ref().is_some_and(|text| text.as_str() == "into the silence").then_some(())
        }
        _ => None,
    };
    stage.host.events().wait_from(mark, "what came during it", 2 * PATIENCE, told).await?;
    send(&stage, &target, "after").await?;
    left(&stage, &["before", "after"])?;
    ensure!(codes(&stage, mark) == 0, "a linked session showed a code");
    stage.host.events().check_order()
}

#[tokio::test]
async fn what_came_while_nobody_owned_the_session_is_told_whatever_its_time_and_number() -> Result<()> {
    const MANY: usize = 450;
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut first = stage.worker("w1").spawn()?;
    first.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    receive(&stage, &anna, "before").await?;
    let ended = first.terminate(Duration::from_secs(30)).await?;
    ensure!(ended.success(), "{ended}");
    ensure!(!first.output()?.contains("before the page was ready"), "a good end is complained of");

    // Three pages full within a second or two, and one that was on its way for two hours.
    let mut words: Vec<String> = (0..MANY).map(|n| format!("message {n:03}")).collect();
    words.iter().for_each(|words| drop(anna.receive_text(BERT, "Bert", words)));
    words.push("two hours late".to_owned());
    anna.receive_late_text("4915155555555", "Carla", "two hours late", Duration::from_secs(7200));
    let mark = stage.host.events().len();
    let mut second = stage.worker("w2").spawn()?;
    second.wait_until_ready().await?;
    let told = async || {
        let mut told = std::collections::BTreeMap::new();
        for entry in stage.host.events().entries().into_iter().skip(mark) {
            if let Event::MessageReceived(message) = entry.envelope.event {
                let text = message.text.map(|text| text.as_str().to_owned()).unwrap_or_default();
                *told.entry(text).or_insert(0) += 1;
            }
        }
        Ok(words.iter().all(|words| told.contains_key(words)).then_some(told))
    };
    let told = wait::until("every message is told", 3 * PATIENCE, told).await;
    let told = told.with_context(|| stage.host.events().describe())?;
    ensure!(words.iter().all(|words| told[words] == 1), "told twice under one owner: {told:?}");
    stage.host.events().check_order()
}

#[tokio::test]
async fn a_message_that_leaves_after_its_end_was_called_unknown_is_told_and_recorded() -> Result<()> {
    let acks = AckTimes { server: Duration::from_secs(25), delivered: None, read: None };
    let stage = Stage::set(Options { acks, ..Options::default() }).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut worker = stage.worker("w1").env("WAFLEET_PAGE_CALL_TIMEOUT_SECS", "5").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let (id, command) = (new_command_id()?, text(BERT, "acknowledged late")?);
    let order = Order { expires_at: unix_now() + 8, ..Order::now(&command, Lane::Normal) };
    let letter = stage.host.letter_by(HOST_KEY, &target, &id, &command, &order)?;
    ensure!(stage.host.post(&letter).await? == Posted::Routed);
    let result = stage.host.final_result(&id).await?;
    ensure!(result.outcome == Outcome::Unknown, "{result:?}");

    let acknowledged = |envelope: &Envelope| match &envelope.event {
        Event::MessageAck(ack) if ack.command_id.as_ref() == Some(&id) => {
            Some((envelope.correlation_id.clone(), ack.ack.number()))
        }
        _ => None,
    };
    let (correlation, ack) = stage.host.events().wait_for("the ack of the command's message", acknowledged).await?;
    ensure!(correlation.as_ref() == Some(&id) && ack == 1, "{correlation:?} {ack}");
    let recorded = async || {
        let commands = stage.fleet.database().commands().await?;
        Ok(commands.iter().any(|(command, _, state)| *command == id.to_string() && state == "succeeded").then_some(()))
    };
    wait::until("the ledger knows how it ended", PATIENCE, recorded).await?;
    // The result event stands: there is one, and whoever sends the command again is answered with what became of it.
    let mark = stage.host.events().len();
    let again = Order { expires_at: unix_now() + 600, ..Order::now(&command, Lane::Normal) };
    stage.host.post(&stage.host.letter_by(HOST_KEY, &target, &id, &command, &again)?).await?;
    let answer = stage.host.final_envelope(mark, &id).await?;
    let Event::CommandResult(answer) = answer.event else { anyhow::bail!("no result: {answer:?}") };
    ensure!(answer.outcome == Outcome::Succeeded && answer.error.is_none(), "{answer:?}");
    left(&stage, &["acknowledged late"])
}

#[tokio::test]
async fn a_command_of_unknown_end_is_looked_up_by_the_next_owner_and_settled() -> Result<()> {
    let acks = AckTimes { server: Duration::from_secs(600), delivered: None, read: None };
    let stage = Stage::set(Options { acks, ..Options::default() }).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let worker = async |name: &str| {
        let mut worker = stage.worker(name).env("WAFLEET_PAGE_CALL_TIMEOUT_SECS", "5").spawn()?;
        worker.wait_until_ready().await?;
        anyhow::Ok(worker)
    };
    let mut first = worker("w1").await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let (id, command) = (new_command_id()?, text(BERT, "its end is not known")?);
    let order = Order { expires_at: unix_now() + 8, ..Order::now(&command, Lane::Normal) };
    stage.host.post(&stage.host.letter_by(HOST_KEY, &target, &id, &command, &order)?).await?;
    let result = stage.host.final_result(&id).await?;
    ensure!(result.outcome == Outcome::Unknown, "{result:?}");

    // It was accepted all the same, and says so to the next browser that asks: nobody heard the ack.
    first.kill()?;
    stage.site.faults(|faults| faults.acks.server = Duration::ZERO);
    let second = worker("w2").await?;
    let recorded = async || {
        let commands = stage.fleet.database().commands().await?;
        Ok(commands.iter().any(|(command, _, state)| *command == id.to_string() && state == "succeeded").then_some(()))
    };
    wait::until("the next owner records how it ended", 2 * PATIENCE, recorded).await?;
    let counted = async || Ok((second.count("commands.settled_late.succeeded")? == 1).then_some(()));
    wait::until("the next owner has settled it", PATIENCE, counted).await?;
    left(&stage, &["its end is not known"])
}
