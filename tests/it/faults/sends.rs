//! What breaks around a send: the worker between any two steps, the lane, the copies of a command.
//!
//! A worker is killed at an exact step by stopping its line there: every worker here reaches the database and the broker
//! through doors, and a wire is laid across the bytes that the step begins or ends with. No word of it is in the worker.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use wafleet_imitation::{AckTimes, Options};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{CommandResult, Event, Outcome};
use wafleet_protocol::id::{CommandId, MessageId};
use wafleet_protocol::lane::Lane;
use wafleet_protocol::topology;
use wafleet_tests::fleet::{HOST_KEY, Order, PATIENCE, Posted, Target, Worker, new_command_id};
use wafleet_tests::invariants::Story;
use wafleet_tests::processes::{Browser, Frozen};
use wafleet_tests::proxy::{Hold, Proxy};
use wafleet_tests::stage::{Stage, text};
use wafleet_tests::wait;

const ANNA: &str = "4915112345678";
const BERT: &str = "4915187654321";
const CARLA: &str = "4915155555555";
const USUAL: AckTimes = AckTimes { server: Duration::from_millis(30), delivered: None, read: None };

/// A step of a send, and the side of it on which the worker dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The command's row is asked for, made, and its maker does not know.
    Remember(Hold),
    /// The row says that the send is about to be tried.
    Attempt(Hold),
    /// The message has left, and WhatsApp has not acknowledged it.
    Leave,
    /// The row says how it ended.
    Record(Hold),
    /// The event tells it; the answer is the broker's confirm.
    Tell(Hold),
    /// The delivery is acknowledged.
    Acknowledge,
}

/// What everybody can see at the moment of the kill.
struct Seen {
    /// The state of the command's row.
    row: Option<&'static str>,
    left: bool,
    told: bool,
}

impl Step {
    fn seen(self) -> Seen {
        let (row, left, told) = match self {
            Self::Remember(Hold::Request) => (None, false, false),
            Self::Remember(Hold::Answer) | Self::Attempt(Hold::Request) => (Some("accepted"), false, false),
            Self::Attempt(Hold::Answer) => (Some("attempting"), false, false),
            Self::Leave | Self::Record(Hold::Request) => (Some("attempting"), true, false),
            Self::Record(Hold::Answer) | Self::Tell(Hold::Request) => (Some("succeeded"), true, false),
            Self::Tell(Hold::Answer) | Self::Acknowledge => (Some("succeeded"), true, true),
        };
        Seen { row, left, told }
    }
}

/// The doors of all workers of a test.
struct Doors {
    database: Proxy,
    broker: Proxy,
}

impl Doors {
    async fn before(stage: &Stage) -> Result<Self> {
        let database = Proxy::opened(stage.fleet.database().url()).await?;
        let broker = Proxy::opened(stage.fleet.virtual_host().url()).await?;
        Ok(Self { database, broker })
    }

    async fn worker(&self, stage: &Stage, name: &str) -> Result<Worker> {
        // In the clear: a wire looks for words.
        let database = self.database.url(stage.fleet.database().url())? + "?ssl-mode=DISABLED";
        let broker = self.broker.url(stage.fleet.virtual_host().url())?;
        let worker = stage.worker(name).env("WAFLEET_DATABASE_URL", database).env("WAFLEET_AMQP_URL", broker);
        let mut worker = worker.spawn()?;
        worker.wait_until_ready().await?;
        Ok(worker)
    }
}

/// Kills one owner after the other, each at its step of a send of its own. Every message leaves once, and the host hears
/// of every one that it succeeded.
async fn killed_at(steps: &[Step]) -> Result<()> {
    let stage = Stage::set(Options { acks: USUAL, ..Options::default() }).await?;
    let story = Story::begin(&stage)?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let doors = Doors::before(&stage).await?;
    let target = Target::new("s1")?;
    let mut owner = doors.worker(&stage, "w0").await?;
    stage.link(&target, &anna).await?;
    for (number, step) in steps.iter().enumerate() {
        stage.fleet.virtual_host().wait_until_empty(&topology::lane_queue(&target.session, Lane::Normal)).await?;
        let mut next = doors.worker(&stage, &format!("w{}", number + 1)).await?;
        let id = new_command_id()?;
        cut_off(&stage, &doors, &target, &id, *step).await.with_context(|| format!("{step:?}"))?;
        owner.kill()?;
        stage.site.faults(|faults| faults.acks = USUAL);
        let result = stage.host.final_result(&id).await.with_context(|| format!("{step:?}"))?;
        ensure!(result.outcome == Outcome::Succeeded, "{step:?}: {result:?}");
        // An event that the killed worker had spooled is told by its neighbour at once: that is no takeover yet.
        let epoch = u64::try_from(number)? + 2;
        let taken = async || {
            let row = stage.fleet.database().session(target.session.as_str()).await?;
            Ok(row.filter(|row| row.fence == epoch && row.owner.as_deref() == Some(next.name())).map(drop))
        };
        wait::until("the next worker owns the session", PATIENCE, taken).await?;
        std::mem::swap(&mut owner, &mut next);
    }
    let tally = story.end(vec![owner]).await?;
    ensure!(tally.departures == steps.len() && tally.ownerships == steps.len() + 1, "{tally:?}");
    Ok(())
}

/// Sends a text and returns at the very step, with what is to be seen then.
async fn cut_off(stage: &Stage, doors: &Doors, target: &Target, id: &CommandId, step: Step) -> Result<()> {
    let message = MessageId::for_command(id, &target.session);
    // `basic.ack`, a method of 13 bytes: what carries it is the only acknowledgement while there is one command.
    const ACK: [u8; 8] = [0, 0, 0, 13, 0, 60, 0, 80];
    let told = format!("{}.session.{}.command.result", target.workspace, target.session);
    let wire = match step {
        Step::Remember(hold) => Some(doors.database.trip_at(id.as_str(), hold)),
        Step::Attempt(hold) => Some(doors.database.trip_at(message.as_str(), hold)),
        Step::Record(hold) => Some(doors.database.trip_at(r#""outcome":"succeeded""#, hold)),
        Step::Tell(hold) => Some(doors.broker.trip_at(told, hold)),
        Step::Acknowledge => Some(doors.broker.trip_at(ACK, Hold::Request)),
        Step::Leave => {
            stage.site.faults(|faults| faults.acks.server = Duration::from_secs(120));
            None
        }
    };
    let command = text(BERT, &format!("{step:?}"))?;
    let letter = stage.host.letter_by(HOST_KEY, target, id, &command, &Order::now(&command, Lane::Normal))?;
    ensure!(stage.host.post(&letter).await? == Posted::Routed);
    match wire {
        Some(wire) => wire.tripped(PATIENCE).await?,
        None => drop(stage.site.wait_for_departure(PATIENCE, |departure| departure.id == message.as_str()).await?),
    }
    let seen = step.seen();
    let row = async || {
        let rows = stage.fleet.database().commands().await?;
        let state = rows.into_iter().find(|(command, ..)| command == id.as_str()).map(|(_, _, state)| state);
        Ok((state.as_deref() == seen.row).then_some(()))
    };
    wait::until(&format!("the row says {:?}", seen.row), PATIENCE, row).await?;
    if seen.told {
        stage.host.final_result(id).await?;
    } else {
        ensure!(answers(stage, id).is_empty(), "told before its time");
    }
    let left = stage.site.sent().iter().any(|departure| departure.id == message.as_str());
    ensure!(left == seen.left, "it has left: {left}");
    Ok(())
}

/// Every result of a command, with the event's id.
fn answers(stage: &Stage, id: &CommandId) -> Vec<(String, CommandResult)> {
    let of = |entry: wafleet_tests::fleet::Entry| match entry.envelope.event {
        Event::CommandResult(result) if result.command_id == *id => Some((entry.envelope.id.to_string(), result)),
        _ => None,
    };
    stage.host.events().entries().into_iter().filter_map(of).collect()
}

/// Waits until a worker has counted so many; its heartbeat is a moment behind.
async fn counted(worker: &Worker, name: &str, count: u64) -> Result<()> {
    let ask = async || Ok((worker.count(name)? == count).then_some(()));
    wait::until(&format!("{name} is {count}"), PATIENCE, ask).await
}

#[tokio::test]
async fn a_worker_killed_before_the_message_leaves_is_followed_by_one_that_sends_it_once() -> Result<()> {
    killed_at(&[Step::Remember(Hold::Request), Step::Remember(Hold::Answer)]).await
}

#[tokio::test]
async fn a_worker_killed_around_the_record_of_its_attempt_is_followed_by_one_that_sends_it_once() -> Result<()> {
    killed_at(&[Step::Attempt(Hold::Request), Step::Attempt(Hold::Answer)]).await
}

#[tokio::test]
async fn a_worker_killed_after_the_message_left_is_followed_by_one_that_finds_it() -> Result<()> {
    killed_at(&[Step::Leave, Step::Record(Hold::Request)]).await
}

#[tokio::test]
async fn a_worker_killed_between_record_and_event_is_followed_by_one_that_tells_it() -> Result<()> {
    killed_at(&[Step::Record(Hold::Answer), Step::Tell(Hold::Request)]).await
}

#[tokio::test]
async fn a_worker_killed_between_event_and_acknowledgement_is_followed_by_one_that_repeats_it() -> Result<()> {
    killed_at(&[Step::Tell(Hold::Answer), Step::Acknowledge]).await
}

#[tokio::test]
async fn ten_copies_of_two_commands_in_any_order_and_lane_have_two_effects() -> Result<()> {
    const COPIES: usize = 10;
    let stage = Stage::set(Options { acks: USUAL, ..Options::default() }).await?;
    let story = Story::begin(&stage)?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;

    let ids = [new_command_id()?, new_command_id()?];
    let lanes = [Lane::Campaign, Lane::Urgent, Lane::Normal, Lane::High];
    let mut copies = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        let command = text(BERT, &format!("text {number}"))?;
        for copy in 0..COPIES {
            // The lane is no part of what is signed: whoever captures a command may post it to another one.
            let order = Order::now(&command, lanes[copy % lanes.len()]);
            copies.push(stage.host.letter_by(HOST_KEY, &target, id, &command, &order)?);
        }
    }
    // The second command's copies first, and those of both mixed.
    copies.sort_by_key(|letter| std::cmp::Reverse((letter.body.clone(), letter.routing_key.clone())));
    copies.rotate_left(COPIES / 2);
    for letter in &copies {
        ensure!(stage.host.post(letter).await? == Posted::Routed);
    }
    let all_told = async || Ok(ids.iter().all(|id| answers(&stage, id).len() == COPIES).then_some(()));
    wait::until("every copy is answered", 2 * PATIENCE, all_told).await?;
    for id in &ids {
        let answers = answers(&stage, id);
        let Some((first, rest)) = answers.split_first() else { bail!("no answer") };
        ensure!(first.1.outcome == Outcome::Succeeded && rest.iter().all(|other| other == first), "{answers:#?}");
        let audits = stage.fleet.database().audit_after(0).await?;
        let duplicates = audits.iter().filter(|row| row.action == "command.duplicate");
        let duplicates = duplicates.filter(|row| row.command_id.as_deref() == Some(id.as_str())).count();
        ensure!(duplicates == COPIES - 1, "{duplicates} duplicates in the audit trail");
    }
    counted(&worker, "commands.duplicate.message.send", 2 * (COPIES as u64 - 1)).await?;
    ensure!(stage.site.sent().len() == 2, "{:#?}", stage.site.sent());
    story.end(vec![worker]).await?;
    Ok(())
}

#[tokio::test]
async fn the_same_id_with_another_body_is_refused_and_the_first_one_stands() -> Result<()> {
    let stage = Stage::set(Options { acks: USUAL, ..Options::default() }).await?;
    let story = Story::begin(&stage)?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let letters = stage.host.dead_letters().await?;
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;

    let id = new_command_id()?;
    let post = async |words: &str| -> Result<()> {
        let command = text(BERT, words)?;
        let letter = stage.host.letter_by(HOST_KEY, &target, &id, &command, &Order::now(&command, Lane::Normal))?;
        ensure!(stage.host.post(&letter).await? == Posted::Routed);
        Ok(())
    };
    post("pay 10").await?;
    let first = stage.host.final_envelope(0, &id).await?;
    // While the first is known, and at once behind each other.
    for (round, words) in ["pay 1000", "pay 2000"].into_iter().enumerate() {
        let mark = stage.host.events().len();
        post(words).await?;
        let dead = letters.wait_from(round, "for another body").await?;
        ensure!(dead.header(topology::REASON_HEADER) == Some("body_changed"), "{:?}", dead.headers);
        let refused = stage.host.final_envelope(mark, &id).await?;
        let Event::CommandResult(result) = &refused.event else { bail!("{refused:?}") };
        let code = result.error.as_ref().map(|error| error.code);
        ensure!(result.outcome == Outcome::Failed && code == Some(ErrorCode::BodyChanged), "{result:?}");
        ensure!(refused.id != first.id, "the refusal of a copy passes for the answer to the original");
    }
    // The first one again, signed anew: answered as before.
    let mark = stage.host.events().len();
    post("pay 10").await?;
    let again = stage.host.final_envelope(mark, &id).await?;
    ensure!((&again.id, &again.event) == (&first.id, &first.event), "{again:?}");

    let audits = stage.fleet.database().audit_after(0).await?;
    let told = audits.iter().filter(|row| row.reason.as_deref() == Some("body_changed"));
    let told: Vec<_> = told.map(|row| (row.action.as_str(), row.command_id.as_deref())).collect();
    ensure!(told == [("command.rejected", Some(id.as_str())); 2], "{audits:#?}");
    counted(&worker, "commands.rejected.body_changed", 2).await?;
    let left: Vec<_> = stage.site.sent().into_iter().map(|departure| departure.text).collect();
    ensure!(left == ["pay 10"], "{left:?}");
    story.end(vec![worker]).await?;
    Ok(())
}

#[tokio::test]
async fn a_session_whose_page_stands_still_holds_up_no_other() -> Result<()> {
    const MESSAGES: usize = 10;
    let stage = Stage::set(Options::default()).await?;
    let story = Story::begin(&stage)?;
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let (stuck, well) = (Target::new("stuck")?, Target::new("well")?);
    stage.site.phone(BERT, "Bert");
    stage.link(&stuck, &stage.site.phone(ANNA, "Anna")).await?;
    stage.link(&well, &stage.site.phone(CARLA, "Carla")).await?;
    let browser = Browser::of(worker.pid(), &stage.session_dir(&stuck))?;
    let frozen = Frozen::new(browser.renderer()?.id)?;
    let held = stage.host.send(&stuck, &text(BERT, "stuck")?).await?;
    for n in 0..MESSAGES {
        let result = stage.host.ask(&well, &text(BERT, &format!("well {n}"))?).await?;
        ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
    }
    ensure!(!stage.site.sent().iter().any(|departure| departure.text == "stuck"), "it was not stuck at all");
    drop(frozen);
    ensure!(stage.host.final_result(&held).await?.outcome == Outcome::Succeeded);
    story.end(vec![worker]).await?;
    Ok(())
}
