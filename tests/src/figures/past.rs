//! How long a sync of a session's past takes, and what people who write meanwhile feel of it.

use std::time::{Duration, Instant};

use anyhow::ensure;
use wafleet_protocol::command::{Command, SessionSync};
use wafleet_protocol::event::{Envelope, Event, Outcome, SyncProgress, SyncState};

use super::instant_acks;
use crate::fleet::Target;
use crate::stage::{Stage, text};

const ANNA: &str = "4915112345678";
const BERT: &str = "4915187654321";
/// Bound on the whole of it.
const PATIENCE: Duration = Duration::from_secs(900);
/// Pause between two texts that are sent meanwhile.
const TEXT_EVERY: Duration = Duration::from_millis(500);

/// A sync, and texts that were sent meanwhile.
#[derive(Debug, Clone)]
pub struct Sync {
    /// Result of `session.sync` to its last event.
    pub took: Duration,
    /// What was told.
    pub told: SyncProgress,
    /// Command published to result of texts sent before it, shortest first.
    pub before: Vec<Duration>,
    /// The same while it went on.
    pub meanwhile: Vec<Duration>,
}

/// Links a phone that has so many chats with so many messages each, and lets the session tell all of them at its usual pace.
///
/// # Errors
/// When something does not happen.
pub async fn of_chats(chats: usize, messages: usize) -> anyhow::Result<Sync> {
    let stage = Stage::set(instant_acks()).await?;
    stage.site.phone(BERT, "Bert");
    let anna = stage.site.phone(ANNA, "Anna");
    for number in 0..chats {
        anna.remember(format!("49160{number:07}").as_str(), "Somebody", messages);
    }
    let worker = stage.worker("past").env("WAFLEET_LOG", "warn").env("WAFLEET_SYNC_AFTER_LINKING", "off").quiet();
    let mut worker = worker.spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("past")?;
    stage.link(&target, &anna).await?;
    let host = &stage.host;

    let mut before = Vec::new();
    for _ in 0..20 {
        before.push(one_text(&stage, &target).await?);
    }
    let wanted = SessionSync { chats: None, days: None, messages: messages.try_into()?, groups: true };
    let id = host.send(&target, &Command::SessionSync(wanted)).await?;
    let result = host.final_result(&id).await?;
    ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
    let began = Instant::now();
    let done = |envelope: &Envelope| match &envelope.event {
        Event::SyncProgress(progress) if progress.sync_id == id.as_str() && progress.state == SyncState::Done => {
            Some(progress.clone())
        }
        _ => None,
    };
    let sync = host.events().wait_from(0, "the end of the sync", PATIENCE, done);
    let mut meanwhile = Vec::new();
    let texts = async {
        loop {
            meanwhile.push(one_text(&stage, &target).await?);
            tokio::time::sleep(TEXT_EVERY).await;
        }
    };
    let told = tokio::select! {
        told = sync => told?,
        failed = texts => { let failed: anyhow::Result<()> = failed; failed?; unreachable!("it goes on for ever") }
    };
    let took = began.elapsed();
    let expected = u64::try_from(chats * messages)?;
    ensure!(told.messages >= expected, "{} messages of {expected} were told", told.messages);
    before.sort();
    meanwhile.sort();
    Ok(Sync { took, told, before, meanwhile })
}

async fn one_text(stage: &Stage, target: &Target) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let result = stage.host.ask(target, &text(BERT, "meanwhile")?).await?;
    ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
    Ok(began.elapsed())
}
