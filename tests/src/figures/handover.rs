//! How long a session is without an owner: after SIGTERM, after SIGKILL, and when a worker hands many over at once.

use std::time::{Duration, Instant};

use anyhow::Context;
use wafleet_protocol::event::{Event, SessionStatus};
use wafleet_protocol::id::SessionId;

use super::instant_acks;
use crate::fleet::{Target, Worker};
use crate::stage::Stage;
use crate::wait;

/// Bound on everything that is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// How the old owner ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It drains.
    Terminated,
    /// It is killed.
    Killed,
}

/// What one hand-over of so many sessions took.
#[derive(Debug, Clone)]
pub struct HandOver {
    /// For each session, from the last event of the old owner to `connected` of the new one, shortest first.
    pub gaps: Vec<Duration>,
    /// From the signal to the last `connected`.
    pub whole: Duration,
}

/// Links sessions on one worker, starts a second one that takes none of them, and ends the first.
///
/// # Errors
/// When something does not happen.
pub async fn hand_over(sessions: usize, ttl: Duration, end: End) -> anyhow::Result<HandOver> {
    let stage = Stage::set(instant_acks()).await?;
    let mut first = worker(&stage, "first", sessions, ttl).await?;
    let mut targets = Vec::new();
    for number in 0..sessions {
        let target = Target::new(&format!("handed-{number}"))?;
        let phone = stage.site.phone(format!("4915200000{number:03}").as_str(), "Owner");
        stage.link(&target, &phone).await?;
        targets.push(target.session);
    }
    let mark = stage.host.events().len();
    let _second = worker(&stage, "second", sessions, ttl).await?;
    let began = Instant::now();
    match end {
        End::Terminated => drop(first.terminate(PATIENCE).await?),
        End::Killed => first.kill()?,
    }
    let all = async || Ok(targets.iter().all(|session| connected(&stage, mark, session).is_some()).then_some(()));
    wait::until("every session is connected again", PATIENCE, all).await?;
    let mut gaps = Vec::new();
    let mut last = began;
    for session in &targets {
        let back = connected(&stage, mark, session).context("it was there a moment ago")?;
        let entries = stage.host.events().entries();
        let of_the_old = entries.iter().filter(|entry| {
            entry.envelope.session_id == *session && entry.envelope.worker_id.as_str() == "first" && entry.at <= back
        });
        let left = of_the_old.map(|entry| entry.at).max().context("the old owner told something")?;
        // A killed owner's last event may be old: what counts is the moment it ended.
        let from = if end == End::Killed { left.max(began) } else { left };
        gaps.push(back.saturating_duration_since(from));
        last = last.max(back);
    }
    gaps.sort();
    Ok(HandOver { gaps, whole: last.saturating_duration_since(began) })
}

/// When the second worker said that it has connected a session.
fn connected(stage: &Stage, mark: usize, session: &SessionId) -> Option<Instant> {
    stage.host.events().entries().into_iter().skip(mark).find_map(|entry| match &entry.envelope.event {
        Event::SessionStatus(told)
            if told.status == SessionStatus::Connected
                && entry.envelope.session_id == *session
                && entry.envelope.worker_id.as_str() == "second" =>
        {
            Some(entry.at)
        }
        _ => None,
    })
}

async fn worker(stage: &Stage, name: &str, capacity: usize, ttl: Duration) -> anyhow::Result<Worker> {
    let worker = stage.fleet.worker(name).env("WAFLEET_SITE_URL", stage.site.url()).env("WAFLEET_LOG", "warn").quiet();
    let worker = worker.env("WAFLEET_LEASE_TTL_SECS", ttl.as_secs().to_string());
    let worker = worker.env("WAFLEET_CAPACITY", capacity.max(1).to_string());
    let mut worker = worker.env("WAFLEET_QR_GENERATIONS_PER_HOUR", "100").spawn()?;
    worker.wait_until_ready().await?;
    Ok(worker)
}
