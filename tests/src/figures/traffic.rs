//! How fast messages and files leave through real browsers.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt};
use wafleet_protocol::command::{Command, Content, Media, MessageSend};
use wafleet_protocol::event::Outcome;
use wafleet_protocol::id::CommandId;

use super::instant_acks;
use super::memory::{reset_peak, resident};
use super::results::results;
use crate::file_server::{Answer, FileServer};
use crate::fleet::{Target, Worker};
use crate::stage::{Stage, text};

const BERT: &str = "4915187654321";
/// Commands published at once.
const PUBLISHED_AT_ONCE: usize = 64;

/// Links so many sessions on one worker, each in a Chromium of its own, and lets each send so many texts.
///
/// Answers with the time from the first command published to the last result. Budgets are lifted, and the far end
/// acknowledges at once.
///
/// # Errors
/// When something does not happen.
pub async fn texts(sessions: usize, each: usize) -> anyhow::Result<Duration> {
    let stage = stage().await?;
    let worker = stage.worker("traffic").env("WAFLEET_CAPACITY", sessions.max(1).to_string());
    let _worker = start(worker).await?;
    let mut targets = Vec::new();
    for number in 0..sessions {
        let target = Target::new(&format!("traffic-{number}"))?;
        stage.link(&target, &stage.site.phone(format!("4915200000{number:03}").as_str(), "Owner")).await?;
        targets.push(target);
    }
    let (host, targets) = (&stage.host, &targets);
    let mark = host.events().len();
    let count = sessions * each;
    let began = Instant::now();
    let publish = futures::stream::iter(0..count)
        .map(|n| async move { host.send(&targets[n % targets.len()], &text(BERT, &format!("text {n}"))?).await })
        .buffer_unordered(PUBLISHED_AT_ONCE)
        .try_collect::<Vec<CommandId>>();
    let (published, finished) = tokio::join!(publish, results(host, mark, count));
    published?;
    let last = finished?.into_values().max().context("something was sent")?;
    ensure!(stage.site.sent().len() == count, "{} left, not {count}", stage.site.sent().len());
    Ok(last.saturating_duration_since(began))
}

/// Documents on their way out.
#[derive(Debug, Clone)]
pub struct Documents {
    /// Command published to result, shortest first.
    pub times: Vec<Duration>,
    /// Resident in the worker before, and at most, in KiB.
    pub before_kib: u64,
    /// See above.
    pub peak_kib: u64,
}

/// Sends a document of so many megabytes, some times, fetched from a web server beside the worker.
///
/// # Errors
/// When something does not happen.
pub async fn documents(megabytes: usize, times: usize) -> anyhow::Result<Documents> {
    let stage = stage().await?;
    let files = FileServer::start(Ipv4Addr::LOCALHOST).await?;
    let worker = stage.worker("traffic").env("WAFLEET_MEDIA_HTTP", "on");
    let worker = start(worker.env("WAFLEET_MEDIA_ALLOWED_NETWORKS", "127.0.0.1/32")).await?;
    let target = Target::new("traffic")?;
    stage.link(&target, &stage.site.phone("4915112345678", "Anna")).await?;
    let mut file = b"%PDF-1.7\n".to_vec();
    file.resize(megabytes * 1_000_000, b'.');
    let url = files.set("/document.pdf", Answer::File("application/pdf", file.into()));
    let media = Media {
        mime: Some("application/pdf".parse()?),
        filename: Some("document.pdf".to_owned().try_into()?),
        ..Media::at(url.parse()?)
    };
    let before_kib = reset_peak(&worker)?;
    let mut taken = Vec::new();
    for _ in 0..times {
        let command = Command::MessageSend(MessageSend::new(BERT.parse()?, Content::Document(media.clone())));
        let began = Instant::now();
        let result = stage.host.ask(&target, &command).await?;
        ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
        taken.push(began.elapsed());
    }
    taken.sort();
    Ok(Documents { times: taken, before_kib, peak_kib: resident(&worker, "VmHWM:")? })
}

async fn stage() -> anyhow::Result<Stage> {
    let stage = Stage::set(instant_acks()).await?;
    stage.site.phone(BERT, "Bert");
    Ok(stage)
}

async fn start(worker: crate::fleet::WorkerBuilder) -> anyhow::Result<Worker> {
    let worker = worker.env("WAFLEET_LOG", "warn").env("WAFLEET_QR_GENERATIONS_PER_HOUR", "100");
    let mut worker = worker.quiet().spawn()?;
    worker.wait_until_ready().await?;
    Ok(worker)
}
