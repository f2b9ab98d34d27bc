//! A session's past: told in batches, unread first, by whoever owns the session, while it sends and receives.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use wafleet_imitation::{Options, Phone};
use wafleet_protocol::command::{Command, SessionSync};
use wafleet_protocol::event::{Envelope, Event, Outcome, SyncProgress, SyncState};
use wafleet_protocol::id::CommandId;
use wafleet_tests::fleet::{PATIENCE, Target, Worker};
use wafleet_tests::stage::{Stage, text};
use wafleet_tests::wait;

const ANNA: &str = "4915112345678";
const BERT: &str = "4915187654321";
const CARLA: &str = "4915155555555";
/// Chats with somebody.
const CHATS: usize = 120;

/// A linked session that has got one message in each of [`CHATS`] chats, and a second one in the first of them.
async fn filled(target: &Target, pause_ms: u32) -> Result<(Stage, Worker, Phone)> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut worker = stage.worker("w1").env("WAFLEET_SYNC_PAUSE_MS", pause_ms.to_string()).spawn()?;
    worker.wait_until_ready().await?;
    stage.link(target, &anna).await?;
    for number in 0..CHATS {
        anna.receive_text(somebody(number).as_str(), "Somebody", &format!("message of {number}"));
    }
    anna.receive_text(somebody(0).as_str(), "Somebody", "a second message");
    let heard = async || {
        let is_message = |entry: &&Envelope| matches!(entry.event, Event::MessageReceived(_));
        let envelopes: Vec<Envelope> = stage.host.events().entries().into_iter().map(|entry| entry.envelope).collect();
        Ok((envelopes.iter().filter(is_message).count() > CHATS).then_some(()))
    };
    wait::until("all messages", 2 * PATIENCE, heard).await?;
    Ok((stage, worker, anna))
}

fn somebody(number: usize) -> String {
    format!("49160{number:07}")
}

/// What a sync has told.
#[derive(Default)]
struct Told {
    /// Chats in their order, each batch by itself: the id, and how much was unread.
    batches: Vec<Vec<(String, i64)>>,
    /// The texts of each chat, by its id.
    messages: BTreeMap<String, BTreeSet<String>>,
    groups: BTreeMap<String, usize>,
    progress: Vec<SyncProgress>,
    /// The workers that told it.
    workers: BTreeSet<String>,
}

fn told(stage: &Stage, sync: &str) -> Told {
    let mut told = Told::default();
    for envelope in stage.host.events().entries().into_iter().map(|entry| entry.envelope) {
        let worker = envelope.worker_id.to_string();
        match envelope.event {
            Event::SyncChats(part) if part.sync_id == sync => {
                let chats = part.chats.iter().map(|chat| (chat.chat_id.as_str().to_owned(), chat.unread)).collect();
                told.batches.push(chats);
            }
            Event::SyncMessages(part) if part.sync_id == sync => {
                let texts = part.messages.iter().filter_map(|past| past.message.text.as_ref());
                let chat = told.messages.entry(part.chat_id.as_str().to_owned()).or_default();
                chat.extend(texts.map(|text| text.as_str().to_owned()));
            }
            Event::SyncGroups(part) if part.sync_id == sync => {
                let size = |info: &wafleet_protocol::event::GroupInfo| info.participants.len();
                let groups = part.groups.iter().map(|info| (info.group.chat_id.as_str().to_owned(), size(info)));
                told.groups.extend(groups);
            }
            Event::SyncProgress(progress) if progress.sync_id == sync => told.progress.push(progress),
            _ => continue,
        }
        told.workers.insert(worker);
    }
    told
}

/// Waits for a word about how far a sync has come that `wanted` takes.
async fn progress(stage: &Stage, sync: &str, wanted: impl Fn(&SyncProgress) -> bool) -> Result<SyncProgress> {
    let find = |envelope: &Envelope| match &envelope.event {
        Event::SyncProgress(progress) if progress.sync_id == sync && wanted(progress) => Some(progress.clone()),
        _ => None,
    };
    stage.host.events().wait_from(0, "how far the sync has come", 4 * PATIENCE, find).await
}

async fn asked(stage: &Stage, target: &Target, wanted: SessionSync) -> Result<CommandId> {
    let id = stage.host.send(target, &Command::SessionSync(wanted)).await?;
    let result = stage.host.final_result(&id).await?;
    ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
    Ok(id)
}

#[tokio::test]
async fn a_session_tells_its_past_in_batches_and_what_is_unread_first() -> Result<()> {
    let target = Target::new("s1")?;
    let (stage, _worker, anna) = filled(&target, 0).await?;
    // A chat that holds an own message alone has nothing unread.
    let result = stage.host.ask(&target, &text(BERT, "read by me")?).await?;
    ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
    let group = anna.create_group("Anna, Bert and Carla", [BERT, CARLA]).to_string();
    anna.receive_text(BERT, "Bert", "hello");
    anna.send_text(BERT, "from the phone");
    let everything = SessionSync { chats: None, days: None, ..SessionSync::default() };
    // The group is in the page as soon as it is listed.
    let listed = async || {
        let list = wafleet_protocol::command::ListGroups { limit: 50, cursor: None };
        let list = Command::Action(wafleet_protocol::command::Action::ListGroups(list));
        let result = stage.host.ask(&target, &list).await?;
        let wafleet_protocol::event::ResultData::Groups(page) = result.data.context("groups")? else { return Ok(None) };
        Ok((!page.groups.is_empty()).then_some(()))
    };
    wait::until("the group", PATIENCE, listed).await?;

    let id = asked(&stage, &target, everything).await?;
    let done = progress(&stage, id.as_str(), |progress| progress.state == SyncState::Done).await?;
    let told = told(&stage, id.as_str());
    let sizes: Vec<usize> = told.batches.iter().map(Vec::len).collect();
    ensure!(sizes.iter().all(|size| *size <= 50) && sizes.len() >= 3, "{sizes:?}");
    let chats: Vec<&(String, i64)> = told.batches.iter().flatten().collect();
    let distinct: BTreeSet<&String> = chats.iter().map(|(chat, _)| chat).collect();
    ensure!(distinct.len() == chats.len() && chats.len() > CHATS, "{} of {}", distinct.len(), chats.len());
    let first_read = chats.iter().position(|(_, unread)| *unread == 0).context("a chat without anything unread")?;
    ensure!(first_read >= CHATS && chats[first_read..].iter().all(|(_, unread)| *unread == 0), "{chats:?}");
    // Every chat's messages, with own ones.
    let texts: BTreeSet<&str> = told.messages.values().flatten().map(String::as_str).collect();
    for number in 0..CHATS {
        ensure!(texts.contains(format!("message of {number}").as_str()), "{number} is missing");
    }
    ensure!(texts.contains("a second message") && texts.contains("read by me") && texts.contains("from the phone"));
    ensure!(told.groups.get(&group) == Some(&3), "{:?}", told.groups);
    ensure!(done.chats == done.chats_total && done.chats == chats.len() as u64, "{done:?}");
    ensure!(done.messages as usize == texts.len() && done.groups == 1, "{done:?} {}", texts.len());
    ensure!(told.progress.len() >= 2 + sizes.len(), "{:?}", told.progress);
    ensure!(told.progress.windows(2).all(|pair| pair[0].chats <= pair[1].chats), "{:?}", told.progress);

    // Bounds are kept: two chats, one message each, no groups.
    let little = SessionSync { chats: Some(2), days: Some(1), messages: 1, groups: false };
    let id = asked(&stage, &target, little).await?;
    let done = progress(&stage, id.as_str(), |progress| progress.state == SyncState::Done).await?;
    ensure!((done.chats, done.messages, done.groups) == (2, 2, 0), "{done:?}");
    stage.host.events().check_order()
}

#[tokio::test]
async fn a_sync_goes_on_after_a_kill_and_holds_up_no_message() -> Result<()> {
    let target = Target::new("s1")?;
    let (stage, mut first, anna) = filled(&target, 200).await?;
    let mut second = stage.worker("w2").env("WAFLEET_SYNC_PAUSE_MS", "20").spawn()?;
    second.wait_until_ready().await?;
    let wanted = SessionSync { groups: false, ..SessionSync::default() };
    let id = asked(&stage, &target, wanted).await?;
    progress(&stage, id.as_str(), |progress| progress.chats >= 50).await?;
    let mark = stage.host.events().len();

    // Messages go and come meanwhile.
    stage.lives(&target, &anna, BERT, "in the middle of it").await?;
    let so_far = told(&stage, id.as_str());
    ensure!(so_far.progress.iter().all(|progress| progress.state == SyncState::Running), "it was over before");
    let before = so_far.messages.len();
    ensure!(before < CHATS, "it was over before: {before}");

    first.kill()?;
    let find = |envelope: &Envelope| match &envelope.event {
        Event::SyncProgress(progress) if progress.sync_id == id.as_str() && envelope.worker_id.as_str() == "w2" => {
            Some(progress.clone())
        }
        _ => None,
    };
    let next = stage.host.events().wait_from(mark, "the next owner's word", 4 * PATIENCE, find).await?;
    ensure!(next.chats >= 50, "it began anew: {next:?}");
    let done = progress(&stage, id.as_str(), |progress| progress.state == SyncState::Done).await?;
    let told = told(&stage, id.as_str());
    let texts: BTreeSet<&str> = told.messages.values().flatten().map(String::as_str).collect();
    for number in 0..CHATS {
        ensure!(texts.contains(format!("message of {number}").as_str()), "{number} is missing");
    }
    let chats: BTreeSet<&String> = told.batches.iter().flatten().map(|(chat, _)| chat).collect();
    ensure!(chats.len() > CHATS && done.chats as usize == chats.len(), "{} {done:?}", chats.len());
    ensure!(told.workers.len() == 2, "{:?}", told.workers);
    stage.host.events().check_order()
}

#[tokio::test]
async fn linking_begins_a_sync_once_and_another_one_takes_its_place() -> Result<()> {
    let target = Target::new("s1")?;
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let on = |name| stage.worker(name).env("WAFLEET_SYNC_AFTER_LINKING", "on").env("WAFLEET_SYNC_PAUSE_MS", "1000");
    let mut worker = on("w1").spawn()?;
    worker.wait_until_ready().await?;
    stage.link(&target, &anna).await?;
    let of_linking = |envelope: &Envelope| match &envelope.event {
        Event::SyncProgress(progress) if progress.state == SyncState::Done && envelope.correlation_id.is_none() => {
            Some(progress.sync_id.clone())
        }
        _ => None,
    };
    let first = stage.host.events().wait_from(0, "the sync after linking", 2 * PATIENCE, of_linking).await?;

    for number in 0..20 {
        anna.receive_text(somebody(number).as_str(), "Somebody", "hello");
    }
    let last = anna.receive_text(BERT, "Bert", "hello");
    let heard =
        |envelope: &Envelope| matches!(&envelope.event, Event::MessageReceived(m) if m.id == last).then_some(());
    stage.host.events().wait_from(0, "the messages", PATIENCE, heard).await?;
    let replaced = asked(&stage, &target, SessionSync::default()).await?;
    progress(&stage, replaced.as_str(), |progress| progress.state == SyncState::Running).await?;
    let taking = asked(&stage, &target, SessionSync { messages: 0, groups: false, ..SessionSync::default() }).await?;
    progress(&stage, replaced.as_str(), |progress| progress.state == SyncState::Superseded).await?;
    let done = progress(&stage, taking.as_str(), |progress| progress.state == SyncState::Done).await?;
    ensure!(done.chats == 21 && done.messages == 0, "{done:?}");

    // A session that is back is not newly linked.
    worker.kill()?;
    let mut next = on("w2").spawn()?;
    next.wait_until_ready().await?;
    let mark = stage.host.events().len();
    let connected = |envelope: &Envelope| match &envelope.event {
        Event::SessionStatus(status) if envelope.worker_id.as_str() == "w2" => {
            (status.status == wafleet_protocol::event::SessionStatus::Connected).then_some(())
        }
        _ => None,
    };
    stage.host.events().wait_from(0, "the session at its next owner", 2 * PATIENCE, connected).await?;
    stage.lives(&target, &anna, BERT, "after the takeover").await?;
    let id = asked(&stage, &target, SessionSync { chats: Some(1), ..SessionSync::default() }).await?;
    progress(&stage, id.as_str(), |progress| progress.state == SyncState::Done).await?;
    let others = stage.host.events().entries().into_iter().skip(mark).map(|entry| entry.envelope);
    let strangers = others.filter(|envelope| match &envelope.event {
        Event::SyncProgress(progress) => {
            // The end of the one before the kill may be told once more.
            ![id.as_str(), first.as_str(), taking.as_str()].contains(&progress.sync_id.as_str())
        }
        _ => false,
    });
    ensure!(strangers.count() == 0, "a session that was linked before began a sync by itself");
    let done = told(&stage, replaced.as_str());
    ensure!(done.progress.iter().all(|progress| progress.state != SyncState::Done), "{:?}", done.progress);
    Ok(())
}
