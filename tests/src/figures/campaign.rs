//! A large campaign over real browsers, with urgent messages in between.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt};
use wafleet_protocol::command::{CampaignControl, CampaignPart, Command, MessageSend};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{CommandResult, Event, Outcome};
use wafleet_protocol::id::{CampaignId, CommandId, SessionId};
use wafleet_protocol::lane::Lane;

use super::instant_acks;
use crate::fleet::{HOST_KEY, Host, Order, Posted, Target, first_workspace};
use crate::stage::{Stage, text};

/// Commands published at once.
const PUBLISHED_AT_ONCE: usize = 64;
/// People that the campaign writes to.
const CONTACTS: usize = 1_000;
/// Pause between two urgent messages.
const URGENT_EVERY: Duration = Duration::from_millis(500);
/// Bound on the time from the cancellation to the last end.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What became of a campaign, and of the urgent messages that were sent meanwhile.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// Until the broker had all of it.
    pub published: Duration,
    /// Messages that left, from the first urgent message to the cancellation, and how long that was.
    pub sent: usize,
    /// See above.
    pub sending: Duration,
    /// Messages that every session has sent, most first.
    pub shares: Vec<usize>,
    /// From publishing an urgent message to its result, shortest first.
    pub urgent: Vec<Duration>,
    /// Messages that ended as cancelled, and how long it took until the last of them had been told.
    pub cancelled: usize,
    /// See above.
    pub cancelling: Duration,
    /// Messages without an end, or with one that is neither sent nor cancelled.
    pub lost: usize,
    /// Messages that left twice, or have two ends.
    pub doubled: usize,
}

/// What the host application has heard.
#[derive(Default)]
struct Heard {
    /// Results of the campaign's messages: the event's id and the result's outcome and code.
    ends: HashMap<CommandId, HashSet<(String, Outcome, Option<ErrorCode>)>>,
    sent: usize,
    urgent: HashMap<CommandId, Instant>,
}

/// Publishes so many messages for any of so many sessions, lets them go for a while with an urgent message now and then,
/// cancels the campaign, and waits until each of its messages has an end.
///
/// # Errors
/// When something does not happen.
pub async fn large(messages: usize, sessions: usize, going: Duration) -> anyhow::Result<Campaign> {
    let stage = Stage::set(instant_acks()).await?;
    let worker = stage.worker("campaign").env("WAFLEET_LOG", "warn").quiet();
    let mut worker = worker.env("WAFLEET_CAPACITY", sessions.max(1).to_string()).spawn()?;
    worker.wait_until_ready().await?;
    let mut targets = Vec::new();
    for number in 0..sessions {
        let target = Target::new(&format!("campaign-{number}"))?;
        stage.link(&target, &stage.site.phone(format!("4915200000{number:03}").as_str(), "Owner")).await?;
        targets.push(target);
    }
    for number in 0..CONTACTS {
        stage.site.phone(contact(number).as_str(), "Contact");
    }
    let (host, mark) = (&stage.host, stage.host.events().len());
    let (heard, campaign) = (Mutex::new(Heard::default()), "large".parse::<CampaignId>()?);
    let lock = || heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let urgent_ids = Mutex::new(HashMap::new());

    let listen = host.events().wait_from(mark, "an end of every message", PATIENCE, |envelope| {
        let Event::CommandResult(result) = &envelope.event else { return None };
        let mut heard = lock();
        if result.outcome != Outcome::Deferred && result.command_type == "message.send" {
            if result.command_id.as_str().starts_with("urgent-") {
                heard.urgent.entry(result.command_id.clone()).or_insert_with(Instant::now);
            } else {
                note(&mut heard, envelope.id.to_string(), result);
            }
        }
        (heard.ends.len() == messages).then_some(())
    });
    let drive = async {
        let began = Instant::now();
        publish(host, &campaign, messages).await?;
        let published = began.elapsed();
        let (before, began) = (lock().sent, Instant::now());
        let mut round = 0;
        while began.elapsed() < going {
            let target = &targets[round % targets.len()];
            let command = text(&contact(round % CONTACTS), &format!("urgent {round}"))?;
            let id: CommandId = format!("urgent-{round}").parse()?;
            urgent_ids.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(id.clone(), Instant::now());
            send_urgent(host, target, &id, &command).await?;
            round += 1;
            tokio::time::sleep(URGENT_EVERY).await;
        }
        let (sent, sending) = (lock().sent - before, began.elapsed());
        let cancel = Command::CampaignCancel(CampaignControl { campaign: campaign.clone() });
        let anywhere = Target { workspace: first_workspace(), session: SessionId::any() };
        let began = Instant::now();
        host.ask(&anywhere, &cancel).await?;
        anyhow::Ok((published, sent, sending, began))
    };
    let (driven, listened) = tokio::join!(drive, listen);
    let (published, sent, sending, cancelled_at) = driven?;
    listened?;
    let cancelling = cancelled_at.elapsed();

    let Heard { ends, urgent: results, .. } = heard.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut urgent = Vec::new();
    for (id, at) in urgent_ids.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        let end = results.get(&id).context("an urgent message has no result")?;
        urgent.push(end.saturating_duration_since(at));
    }
    urgent.sort();
    let departures = stage.site.sent();
    let mut left: HashMap<&str, usize> = HashMap::new();
    let mut shares: HashMap<String, usize> = HashMap::new();
    for departure in departures.iter().filter(|departure| departure.text.starts_with("offer ")) {
        *left.entry(departure.text.as_str()).or_default() += 1;
        *shares.entry(departure.from.to_string()).or_default() += 1;
    }
    let is = |ends: &HashSet<(String, Outcome, Option<ErrorCode>)>, outcome, code| {
        ends.iter().all(|(_, found, why)| (*found, *why) == (outcome, code))
    };
    let succeeded = ends.values().filter(|ends| is(ends, Outcome::Succeeded, None)).count();
    let cancelled = ends.values().filter(|ends| is(ends, Outcome::Failed, Some(ErrorCode::CampaignCancelled))).count();
    ensure!(succeeded == left.len(), "{succeeded} are said to have left, and {} have", left.len());
    let twice = departures.iter().filter(|departure| departure.copies() > 1).count();
    let doubled =
        twice + left.values().filter(|times| **times > 1).count() + ends.values().filter(|ends| ends.len() > 1).count();
    let mut shares: Vec<usize> = shares.into_values().collect();
    shares.sort_unstable_by(|a, b| b.cmp(a));
    let lost = messages - succeeded - cancelled;
    Ok(Campaign { published, sent, sending, shares, urgent, cancelled, cancelling, lost, doubled })
}

fn note(heard: &mut Heard, event: String, result: &CommandResult) {
    let code = result.error.as_ref().map(|error| error.code);
    let ends = heard.ends.entry(result.command_id.clone()).or_default();
    let first = ends.is_empty();
    ends.insert((event, result.outcome, code));
    if first && result.outcome == Outcome::Succeeded {
        heard.sent += 1;
    }
}

fn contact(number: usize) -> String {
    format!("49153000{number:05}")
}

async fn publish(host: &Host, campaign: &CampaignId, messages: usize) -> anyhow::Result<()> {
    let anywhere = &Target { workspace: first_workspace(), session: SessionId::any() };
    futures::stream::iter(0..messages)
        .map(|number| async move {
            let part = Some(CampaignPart { id: campaign.clone(), quiet_hours: None });
            let plain = MessageSend::text(contact(number % CONTACTS).parse()?, format!("offer {number}").try_into()?);
            let command = Command::MessageSend(MessageSend { campaign: part, ..plain });
            host.send_on(Lane::Campaign, anywhere, &command).await
        })
        .buffer_unordered(PUBLISHED_AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await
}

async fn send_urgent(host: &Host, target: &Target, id: &CommandId, command: &Command) -> anyhow::Result<()> {
    let letter = host.letter_by(HOST_KEY, target, id, command, &Order::now(command, Lane::Urgent))?;
    ensure!(host.post(&letter).await? == Posted::Routed, "an urgent message has no queue");
    Ok(())
}
