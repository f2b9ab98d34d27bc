//! What breaks at the broker.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lapin::Channel;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use wafleet_imitation::{AckTimes, Options, Phone};
use wafleet_protocol::command::Command;
use wafleet_protocol::event::{Event, Outcome, SessionStatus};
use wafleet_protocol::lane::Lane;
use wafleet_protocol::topology;
use wafleet_tests::fleet::{PATIENCE, Target, Worker};
use wafleet_tests::invariants::Story;
use wafleet_tests::proxy::{Proxy, Way};
use wafleet_tests::stage::{Stage, text};
use wafleet_tests::wait;

use super::Disk;

const ANNA: &str = "4915112345678";
const BERT: &str = "4915187654321";
/// The host application's queue for events.
const EVENT_QUEUE: &str = "host.events";
/// The smallest spool there is: some fifty events fill it.
const SMALL_SPOOL: &str = "65536";

/// Messages from outside, named so that none is part of another's name.
fn receive(phone: &Phone, what: &str, count: usize) -> Vec<String> {
    let words: Vec<String> = (0..count).map(|n| format!("{what} {n:03}.")).collect();
    words.iter().for_each(|words| drop(phone.receive_text(BERT, "Bert", words)));
    words
}

/// Waits until every one of these messages was told, and checks that each has one event, whatever came twice.
async fn told_once(stage: &Stage, words: &[String]) -> Result<()> {
    let told = async || {
        let mut events: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in stage.host.events().entries() {
            if let Event::MessageReceived(message) = entry.envelope.event {
                let text = message.text.map(|text| text.as_str().to_owned()).unwrap_or_default();
                let ids = events.entry(text).or_default();
                let id = entry.envelope.id.to_string();
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
        }
        Ok(words.iter().all(|words| events.contains_key(words)).then_some(events))
    };
    let told = wait::until("every message is told", 2 * PATIENCE, told).await;
    let told = told.with_context(|| stage.host.events().describe())?;
    for words in words {
        ensure!(told[words].len() == 1, "{words} has {} events", told[words].len());
    }
    Ok(())
}

/// Waits until the worker says so of the events that wait.
async fn wait_for_room(worker: &Worker, wanted: &[&str]) -> Result<()> {
    let room = async || {
        let room = worker.heartbeat()?.map(|heartbeat| heartbeat.events.room).unwrap_or_default();
        Ok(wanted.contains(&room.as_str()).then_some(()))
    };
    wait::until(&format!("room: {wanted:?}"), 2 * PATIENCE, room).await
}

/// Waits until at least so many messages wait for the broker.
async fn wait_for_waiting(worker: &Worker, least: usize) -> Result<()> {
    let waiting = async || {
        let waiting = worker.heartbeat()?.map_or(0, |heartbeat| heartbeat.events.waiting);
        Ok((waiting >= least).then_some(()))
    };
    wait::until(&format!("{least} events wait"), PATIENCE, waiting).await
}

/// Waits until every event of a session so far is confirmed. The result of a command comes after them and is here when
/// this goes on, so the worker has only its own last confirm to wait for, and says so in a later heartbeat.
async fn all_confirmed(stage: &Stage, worker: &Worker, target: &Target) -> Result<()> {
    stage.host.ask(target, &Command::SessionStatus).await?;
    let beat = || worker.heartbeat()?.context("a heartbeat");
    for _ in 0..2 {
        let before = beat()?.boottime_ms;
        let later = async || Ok(Some(beat()?).filter(|beat| beat.boottime_ms > before && beat.events.waiting == 0));
        wait::until("everything is confirmed", PATIENCE, later).await?;
    }
    Ok(())
}

/// Every file below a directory.
fn files(path: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.path().is_dir() { found.extend(files(&entry.path())?) } else { found.push(entry.path()) }
    }
    Ok(found)
}

/// What the workers of this stage keep for the broker.
fn spooled(stage: &Stage) -> Result<Vec<std::path::PathBuf>> {
    files(&stage.fleet.scratch().join("events"))
}

/// A queue that takes one event and refuses the rest.
async fn narrow_queue(channel: &Channel, name: &str) -> Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(1));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    channel.queue_declare(name.into(), QueueDeclareOptions::default(), arguments).await?;
    let bind = QueueBindOptions::default();
    channel.queue_bind(name.into(), topology::EVENTS.into(), "#".into(), bind, FieldTable::default()).await?;
    Ok(())
}

#[tokio::test]
async fn events_of_a_long_outage_wait_on_the_disk_up_to_its_bound() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let story = Story::begin(&stage)?;
    let (anna, target) = (stage.site.phone(ANNA, "Anna"), Target::new("s1")?);
    stage.site.phone(BERT, "Bert");
    let door = Proxy::opened(stage.fleet.virtual_host().url()).await?;
    let worker = stage.worker("w1").env("WAFLEET_AMQP_URL", door.url(stage.fleet.virtual_host().url())?);
    let mut worker = worker.env("WAFLEET_EVENT_SPOOL_BYTES", SMALL_SPOOL).spawn()?;
    worker.wait_until_ready().await?;
    stage.link(&target, &anna).await?;
    let mark = stage.host.events().len();

    door.close();
    let mut words = receive(&anna, "on the disk", 20);
    wait_for_waiting(&worker, 20).await?;
    ensure!(worker.heartbeat()?.context("a heartbeat")?.events.keeping == "disk");
    for file in spooled(&stage)? {
        let bytes = std::fs::read(&file)?;
        for secret in [&b"on the disk"[..], BERT.as_bytes(), b"message.received"] {
            ensure!(!bytes.windows(secret.len()).any(|part| part == secret), "readable in {}", file.display());
        }
    }
    // Further messages reach the bound: commands would not be taken, and then the page is not listened to any more.
    words.extend(receive(&anna, "beyond the bound", 80));
    wait_for_room(&worker, &["full"]).await?;
    let id = stage.host.send(&target, &text(BERT, "sent during the outage")?).await?;

    door.open();
    told_once(&stage, &words).await?;
    ensure!(stage.host.final_result(&id).await?.outcome == Outcome::Succeeded);
    wait_for_room(&worker, &["free"]).await?;
    ensure!(worker.count("events.room.full")? > 0, "{:?}", worker.heartbeat()?);
    let statuses = stage.host.statuses(mark, &target);
    // The last one may come twice: its confirm may have been cut off.
    ensure!(statuses.iter().all(|told| told.status == SessionStatus::Connected), "it stayed up: {statuses:?}");
    story.end(vec![worker]).await?;
    ensure!(spooled(&stage)?.is_empty(), "left on the disk: {:?}", spooled(&stage)?);
    Ok(())
}

#[tokio::test]
async fn events_wait_in_memory_while_the_disk_is_full_and_none_is_lost() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let story = Story::begin(&stage)?;
    let (anna, target) = (stage.site.phone(ANNA, "Anna"), Target::new("s1")?);
    stage.site.phone(BERT, "Bert");
    let Some(disk) = Disk::mount(stage.fleet.scratch().join("events"), "size=2m")? else { return Ok(()) };
    let door = Proxy::opened(stage.fleet.virtual_host().url()).await?;
    let worker = stage.worker("w1").env("WAFLEET_AMQP_URL", door.url(stage.fleet.virtual_host().url())?);
    let mut worker = worker.spawn()?;
    worker.wait_until_ready().await?;
    stage.link(&target, &anna).await?;
    let keeping = async |wanted: &str| {
        let keeping = async || Ok(worker.heartbeat()?.is_some_and(|beat| beat.events.keeping == wanted).then_some(()));
        wait::until(&format!("events are kept: {wanted}"), PATIENCE, keeping).await
    };

    door.close();
    let mut words = receive(&anna, "before the disk was full", 5);
    wait_for_waiting(&worker, 5).await?;
    keeping("disk").await?;
    let filler = disk.path().join("filler");
    let full = std::fs::write(&filler, vec![0; 4 << 20]).err();
    ensure!(full.is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull), "the disk is not full");
    // The last page of the file that the spool has open may still have room for some.
    words.extend(receive(&anna, "while the disk was full", 40));
    wait_for_waiting(&worker, 45).await?;
    keeping("trouble").await?;
    ensure!(worker.output()?.contains("the disk takes no events: they wait in memory"), "nobody is told");
    let id = stage.host.send(&target, &text(BERT, "sent meanwhile")?).await?;

    // There is room again: what waited in memory alone is on the disk before the broker is back.
    std::fs::remove_file(&filler)?;
    keeping("disk").await?;
    words.extend(receive(&anna, "after it", 5));
    wait_for_waiting(&worker, 50).await?;
    ensure!(!spooled(&stage)?.is_empty());
    door.open();
    told_once(&stage, &words).await?;
    ensure!(stage.host.final_result(&id).await?.outcome == Outcome::Succeeded);
    story.end(vec![worker]).await?;
    ensure!(spooled(&stage)?.is_empty(), "left on the disk: {:?}", spooled(&stage)?);
    Ok(())
}

#[tokio::test]
async fn a_worker_killed_with_events_on_the_disk_tells_them_when_it_starts_again() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let story = Story::begin(&stage)?;
    let (anna, target) = (stage.site.phone(ANNA, "Anna"), Target::new("s1")?);
    stage.site.phone(BERT, "Bert");
    let door = Proxy::opened(stage.fleet.virtual_host().url()).await?;
    let worker =
        async || stage.worker("w1").env("WAFLEET_AMQP_URL", door.url(stage.fleet.virtual_host().url())?).spawn();
    let mut first = worker().await?;
    first.wait_until_ready().await?;
    stage.link(&target, &anna).await?;

    // The broker takes this one, and its confirm is lost on its way.
    wait_for_room(&first, &["free"]).await?;
    all_confirmed(&stage, &first, &target).await?;
    door.pause([Way::FromService]);
    let mut words = receive(&anna, "without a confirm", 1);
    let arrived = |envelope: &wafleet_protocol::event::Envelope| {
        matches!(&envelope.event, Event::MessageReceived(_)).then(|| envelope.id.clone())
    };
    let unconfirmed = stage.host.events().wait_for("the message without a confirm", arrived).await?;
    // And these it does not get.
    door.close();
    words.extend(receive(&anna, "while it was away", 10));
    wait_for_waiting(&first, 11).await?;
    first.kill()?;
    ensure!(!spooled(&stage)?.is_empty());

    door.open();
    door.resume();
    let mut second = worker().await?;
    second.wait_until_ready().await?;
    told_once(&stage, &words).await?;
    let places = |entries: Vec<wafleet_tests::fleet::Entry>| -> Vec<(u64, u64)> {
        let same = entries.into_iter().filter(|entry| entry.envelope.id == unconfirmed);
        same.map(|entry| (entry.envelope.epoch, entry.envelope.seq)).collect()
    };
    let copies = places(stage.host.events().entries());
    ensure!(copies.len() >= 2 && copies[0] == copies[1], "told again, at its own place in the story: {copies:?}");
    ensure!(second.count("events.adopted.killed_worker")? >= 11, "{:?}", second.heartbeat()?);
    words.extend(receive(&anna, "after it", 1));
    told_once(&stage, &words).await?;
    story.end(vec![second]).await?;
    ensure!(spooled(&stage)?.is_empty(), "left on the disk: {:?}", spooled(&stage)?);
    Ok(())
}

#[tokio::test]
async fn a_queue_that_refuses_holds_up_events_and_then_commands_until_it_is_gone() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let story = Story::begin(&stage)?;
    let (anna, target) = (stage.site.phone(ANNA, "Anna"), Target::new("s1")?);
    stage.site.phone(BERT, "Bert");
    let mut worker = stage.worker("w1").env("WAFLEET_EVENT_SPOOL_BYTES", SMALL_SPOOL).spawn()?;
    worker.wait_until_ready().await?;
    stage.link(&target, &anna).await?;
    let channel = stage.host.connection().create_channel().await?;
    narrow_queue(&channel, "narrow").await?;

    let words = receive(&anna, "refused", 80);
    wait_for_room(&worker, &["no_commands", "full"]).await?;
    let refused = async || Ok((worker.count("publish.refused.wa.events")? > 0).then_some(()));
    wait::until("refusals are counted", PATIENCE, refused).await?;
    // The broker is well, and the lanes have no reader: a command waits in its queue.
    let lane = topology::lane_queue(&target.session, Lane::Normal);
    let unread = async || {
        let queue = stage.fleet.virtual_host().queue(&lane).await?.context("the lane's queue")?;
        Ok((queue["consumers"] == 0).then_some(()))
    };
    wait::until("nobody reads the lane", PATIENCE, unread).await?;
    let id = stage.host.send(&target, &text(BERT, "waits")?).await?;
    let waits = async || Ok(stage.fleet.virtual_host().fill().await?.contains(&(lane.clone(), 1)).then_some(()));
    wait::until("the command waits", PATIENCE, waits).await?;
    ensure!(stage.site.sent().is_empty(), "it was taken all the same");

    channel.queue_delete("narrow".into(), QueueDeleteOptions::default()).await?;
    told_once(&stage, &words).await?;
    ensure!(stage.host.final_result(&id).await?.outcome == Outcome::Succeeded);
    story.end(vec![worker]).await?;
    Ok(())
}

#[tokio::test]
async fn an_event_that_cannot_be_routed_is_kept_counted_and_mended() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let story = Story::begin(&stage)?;
    let (anna, target) = (stage.site.phone(ANNA, "Anna"), Target::new("s1")?);
    stage.site.phone(BERT, "Bert");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    stage.link(&target, &anna).await?;
    let channel = stage.host.connection().create_channel().await?;
    for (queue, exchange, key) in
        [(EVENT_QUEUE, topology::EVENTS, "#"), (topology::EVENTS_UNCONSUMED, topology::EVENTS_UNCONSUMED, "")]
    {
        channel.queue_unbind(queue.into(), exchange.into(), key.into(), FieldTable::default()).await?;
    }

    let words = receive(&anna, "nowhere to go", 3);
    let events = words.len() + 1; // with that of both ids of who wrote
    let counted = async || Ok((worker.count("publish.unroutable.wa.events")? > 0).then_some(()));
    wait::until("the return is counted", PATIENCE, counted).await?;
    ensure!(worker.output()?.contains("no queue is bound for an event"), "nobody is told");
    // The worker puts its own binding back, and the events without a consumer are where they belong.
    let kept = async || {
        let fill = stage.fleet.virtual_host().fill().await?;
        let kept = fill.iter().find(|(queue, _)| queue == topology::EVENTS_UNCONSUMED).map(|(_, count)| *count);
        Ok((kept == Some(events.try_into()?)).then_some(()))
    };
    wait::until("the events are kept by the fleet", PATIENCE, kept).await?;
    // An operator binds the consumer again, and brings it what it missed.
    let bind = QueueBindOptions::default();
    channel.queue_bind(EVENT_QUEUE.into(), topology::EVENTS.into(), "#".into(), bind, FieldTable::default()).await?;
    for _ in 0..events {
        let get = async || channel.basic_get(topology::EVENTS_UNCONSUMED.into(), BasicGetOptions::default()).await;
        let kept = wait::until("a kept event", PATIENCE, async || Ok(get().await?)).await?;
        let (options, delivery) = (BasicPublishOptions::default(), &kept.delivery);
        let properties = delivery.properties.clone();
        let (exchange, key) = (topology::EVENTS.into(), delivery.routing_key.clone());
        channel.basic_publish(exchange, key, options, &delivery.data, properties).await?.await?;
        delivery.acker.ack(BasicAckOptions::default()).await?;
    }
    told_once(&stage, &words).await?;
    ensure!(stage.host.ask(&target, &text(BERT, "as before")?).await?.outcome == Outcome::Succeeded);
    story.end(vec![worker]).await?;
    Ok(())
}

/// Tests that stop or reconfigure a broker of their own.
mod own_services {
    use tokio::task::block_in_place;
    use wafleet_tests::services::{OwnServices, Server};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_broker_that_restarts_loses_no_event_and_doubles_no_send() -> Result<()> {
        let mut own = OwnServices::start(&[Server::RabbitMq]).await?;
        let stage = Stage::set_on(Options::default(), own.addresses()).await?;
        let story = Story::begin(&stage)?;
        let (anna, target) = (stage.site.phone(ANNA, "Anna"), Target::new("s1")?);
        stage.site.phone(BERT, "Bert");
        let mut worker = stage.worker("w1").spawn()?;
        worker.wait_until_ready().await?;
        stage.link(&target, &anna).await?;
        let mut words = receive(&anna, "before", 5);
        let id = stage.host.send(&target, &text(BERT, "sent before the restart")?).await?;

        block_in_place(|| own.rabbitmq().map(|broker| broker.kill()))?;
        words.extend(receive(&anna, "while it is down", 10));
        wait_for_waiting(&worker, 10).await?;
        block_in_place(|| own.rabbitmq()?.start_node())?;
        told_once(&stage, &words).await?;
        ensure!(stage.host.final_result(&id).await?.outcome == Outcome::Succeeded);
        ensure!(stage.host.ask(&target, &text(BERT, "sent after it")?).await?.outcome == Outcome::Succeeded);
        story.end(vec![worker]).await?;
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_memory_alarm_blocks_events_and_costs_no_connection() -> Result<()> {
        let mut own = OwnServices::start(&[Server::RabbitMq]).await?;
        let stage = Stage::set_on(Options::default(), own.addresses()).await?;
        let story = Story::begin(&stage)?;
        let (anna, target) = (stage.site.phone(ANNA, "Anna"), Target::new("s1")?);
        stage.site.phone(BERT, "Bert");
        let mut worker = stage.worker("w1").spawn()?;
        worker.wait_until_ready().await?;
        stage.link(&target, &anna).await?;
        let lane = topology::lane_queue(&target.session, Lane::Normal);
        let id = stage.host.send(&target, &text(BERT, "before the alarm")?).await?;
        ensure!(stage.host.final_result(&id).await?.outcome == Outcome::Succeeded);

        block_in_place(|| own.rabbitmq()?.control(&["set_vm_memory_high_watermark", "absolute", "1"]))?;
        let mut words = receive(&anna, "during the alarm", 5);
        let blocked = async || Ok(worker.output()?.contains("the broker blocks publishers").then_some(()));
        wait::until("the worker knows that it is blocked", PATIENCE, blocked).await?;
        words.extend(receive(&anna, "still during it", 5));
        wait_for_waiting(&worker, 5).await?;
        // The other connection goes on: its readers are there, and what they acknowledged is gone from its queue.
        let read = async || {
            let queue = stage.fleet.virtual_host().queue(&lane).await?.context("the lane's queue")?;
            Ok((queue["consumers"] == 1 && queue["messages"] == 0).then_some(()))
        };
        wait::until("the lane is read, and empty", PATIENCE, read).await?;

        block_in_place(|| own.rabbitmq()?.control(&["set_vm_memory_high_watermark", "absolute", "2GB"]))?;
        told_once(&stage, &words).await?;
        ensure!(!worker.output()?.contains("the broker connection is down"), "a connection was lost");
        ensure!(stage.host.ask(&target, &text(BERT, "after the alarm")?).await?.outcome == Outcome::Succeeded);
        story.end(vec![worker]).await?;
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_channel_closed_by_the_consumer_timeout_brings_the_command_back_and_sends_nothing_twice() -> Result<()> {
        let mut own = OwnServices::start(&[Server::RabbitMq]).await?;
        // Read when a channel is opened, so before there is any: unacknowledged for 2 s is too long, looked at each second.
        let impatient = "application:set_env(rabbit, consumer_timeout, 2000), application:set_env(rabbit, channel_tick_interval, 1000).";
        block_in_place(|| own.rabbitmq()?.control(&["eval", impatient]))?;
        let acks = AckTimes { server: Duration::from_secs(12), delivered: None, read: None };
        let stage = Stage::set_on(Options { acks, ..Options::default() }, own.addresses()).await?;
        let story = Story::begin(&stage)?;
        let (anna, target) = (stage.site.phone(ANNA, "Anna"), Target::new("s1")?);
        stage.site.phone(BERT, "Bert");
        let mut worker = stage.worker("w1").spawn()?;
        worker.wait_until_ready().await?;
        stage.link(&target, &anna).await?;

        let lane = topology::lane_queue(&target.session, Lane::Normal);
        let id = stage.host.send(&target, &text(BERT, "held for too long")?).await?;
        let came_back = async || {
            let queue = stage.fleet.virtual_host().queue(&lane).await?.context("the lane's queue")?;
            Ok((queue["message_stats"]["redeliver"].as_u64() >= Some(1)).then_some(()))
        };
        wait::until("the delivery came back", PATIENCE, came_back).await?;
        let result = stage.host.final_result(&id).await?;
        ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
        let tally = story.end(vec![worker]).await?;
        ensure!(tally.departures == 1 && tally.ownerships == 1, "{tally:?}");
        Ok(())
    }
}
