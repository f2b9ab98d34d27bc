//! Measures what the documentation states, against the bare cost of the same thing in the same Chromium.
//!
//! Runs inside `wafleet-services run`, alone on the machine; prints one line per figure. Nothing here passes or fails.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use tokio::sync::mpsc;
use url::Url;
use wafleet_browser::{Chromium, Draft, Flavor, LaunchOptions, Page, PageEvent, PageOptions, Sandbox};
use wafleet_imitation::{Imitation, Number};
use wafleet_protocol::command::{Command, MessageSend, SessionStart};
use wafleet_protocol::event::{Event, SessionStatus};
use wafleet_tests::figures::handover::{End, hand_over};
use wafleet_tests::figures::{campaign, footprint, instant_acks, load, past, profile, traffic};
use wafleet_tests::fleet::{Fleet, Host, Target, Worker};

/// Measures hand-overs, profiles, load, traffic, QR time, send time and memory.
#[derive(Parser)]
#[command(name = "wafleet-bench")]
struct Arguments {
    /// How many times QR is measured
    #[arg(long, default_value_t = 5)]
    starts: usize,
    /// How many messages are sent
    #[arg(long, default_value_t = 50)]
    sends: usize,
    /// How many times a session is taken over, after each kind of end
    #[arg(long, default_value_t = 3)]
    takeovers: usize,
    /// Sessions that a drained worker hands over at once
    #[arg(long, default_value_t = 20)]
    handover: usize,
    /// Numbers of sessions without a browser to measure ownership and commands at
    #[arg(long, value_delimiter = ',', default_value = "1,100,1000")]
    load: Vec<usize>,
    /// Commands published at once at each of them
    #[arg(long, default_value_t = 5000)]
    burst: usize,
    /// Sizes of profiles to save and restore, in MB; in the object store that WAFLEET_OBJECT_STORE_… describe, if they are set
    #[arg(long, value_delimiter = ',', default_value = "10,100")]
    profiles: Vec<usize>,
    /// Sessions that send texts through browsers of their own, all at once
    #[arg(long, default_value_t = 20)]
    senders: usize,
    /// Texts that each of them sends
    #[arg(long, default_value_t = 100)]
    texts: usize,
    /// Documents of 16 MB that are sent
    #[arg(long, default_value_t = 5)]
    documents: usize,
    /// Chats of 50 messages each that a sync tells
    #[arg(long, default_value_t = 500)]
    chats: usize,
    /// Messages of one campaign, for any of five sessions in browsers; 0: none
    #[arg(long, default_value_t = 100_000)]
    campaign: usize,
    /// Seconds for which it goes out, with an urgent message now and then, before it is cancelled
    #[arg(long, default_value_t = 180)]
    campaign_secs: u64,
    /// Measure only the campaign
    #[arg(long)]
    campaign_only: bool,
    /// Measure only hand-overs, profiles, load, and what a session costs the services
    #[arg(long)]
    ownership_only: bool,
    /// Numbers of sessions to measure memory at
    #[arg(long, value_delimiter = ',', default_value = "1,5,20")]
    sessions: Vec<usize>,
}

/// How often the bare page is asked whether its code is there.
const POLL: Duration = Duration::from_millis(2);
/// Bound on everything that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a session rests before its memory is read.
const SETTLE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    println!("build: {}", if cfg!(debug_assertions) { "harness debug" } else { "harness release" });
    match measure(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.campaign_only {
        return large_campaign(arguments).await;
    }
    ownership(arguments).await?;
    if arguments.ownership_only {
        return Ok(());
    }
    traffic(arguments).await?;
    large_campaign(arguments).await?;
    qr(arguments.starts).await?;
    send(arguments.sends).await?;
    for sessions in &arguments.sessions {
        memory(*sessions).await?;
    }
    Ok(())
}

/// The default TTL of a lease.
const LEASE_TTL: Duration = Duration::from_secs(15);
/// WhatsApp's limit for a picture or a video.
const DOCUMENT_MB: usize = 16;
/// Messages of each chat that a sync tells: its default.
const MESSAGES_OF_A_CHAT: usize = 50;
/// Sessions that share the campaign.
const CAMPAIGN_SESSIONS: usize = 5;
/// Sessions whose queues are declared to measure one.
const IDLE_SESSIONS: usize = 100;

/// How long a session has no owner, and what an idle one costs the broker and Redis.
async fn ownership(arguments: &Arguments) -> anyhow::Result<()> {
    for (end, what) in [(End::Terminated, "SIGTERM"), (End::Killed, "SIGKILL")] {
        let mut gaps = Vec::new();
        for _ in 0..arguments.takeovers {
            gaps.extend(hand_over(1, LEASE_TTL, end).await?.gaps);
        }
        if !gaps.is_empty() {
            report(
                &format!("takeover after {what}: last event of the old owner → connected (lease {LEASE_TTL:?})"),
                gaps,
            );
        }
    }
    if arguments.handover > 0 {
        let handed = hand_over(arguments.handover, LEASE_TTL, End::Terminated).await?;
        println!(
            "hand-over of {} sessions: SIGTERM → the last one connected {:.1} s",
            arguments.handover,
            handed.whole.as_secs_f64()
        );
        report("  of each session: last event of the old owner → connected", handed.gaps);
    }
    for megabytes in &arguments.profiles {
        let (saved, restored) = profile::there_and_back(*megabytes).await?;
        let place = if profile::in_object_store() { "the object store" } else { "the database" };
        for (what, passage) in [("saved in", saved), ("restored from", restored)] {
            println!(
                "a profile of {megabytes} MB {what} {place}: {:.2} s, {:.0} MB/s; worker resident {:.0} MB before, {:.0} MB at most",
                passage.took.as_secs_f64(),
                *megabytes as f64 / passage.took.as_secs_f64().max(0.001),
                passage.before_kib as f64 / 1024.0,
                passage.peak_kib as f64 / 1024.0,
            );
        }
    }
    for sessions in &arguments.load {
        load(*sessions, arguments.burst).await?;
    }
    let cost = footprint::of_a_session(IDLE_SESSIONS).await?;
    println!(
        "an idle session: {:.0} kB in the broker (its four lanes), {} bytes in Redis (its lease)",
        cost.broker as f64 / 1024.0,
        cost.redis
    );
    Ok(())
}

/// How fast messages and files leave through real browsers.
async fn traffic(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.senders > 0 {
        let took = traffic::texts(arguments.senders, arguments.texts).await?;
        println!(
            "{} sessions in browsers, {} texts each: {:.0} a minute",
            arguments.senders,
            arguments.texts,
            (arguments.senders * arguments.texts) as f64 * 60.0 / took.as_secs_f64()
        );
    }
    if arguments.chats > 0 {
        let sync = past::of_chats(arguments.chats, MESSAGES_OF_A_CHAT).await?;
        println!(
            "a sync of {} chats and {} messages: {:.1} s",
            sync.told.chats,
            sync.told.messages,
            sync.took.as_secs_f64()
        );
        report("  a text: published → result, before it", sync.before);
        report("  a text: published → result, while it went on", sync.meanwhile);
    }
    if arguments.documents > 0 {
        let sent = traffic::documents(DOCUMENT_MB, arguments.documents).await?;
        println!(
            "worker resident {:.0} MB before the documents, {:.0} MB at most",
            sent.before_kib as f64 / 1024.0,
            sent.peak_kib as f64 / 1024.0
        );
        report(&format!("a document of {DOCUMENT_MB} MB by url: message.send published → result"), sent.times);
    }
    Ok(())
}

/// How a campaign of any size goes out, and what an urgent message notices of it.
async fn large_campaign(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.campaign == 0 {
        return Ok(());
    }
    let going = Duration::from_secs(arguments.campaign_secs);
    let told = campaign::large(arguments.campaign, CAMPAIGN_SESSIONS, going).await?;
    println!(
        "a campaign of {} messages over {CAMPAIGN_SESSIONS} sessions in browsers: published in {:.0} s; {} left in {:.0} s, {:.0} a minute ({:?} by session)",
        arguments.campaign,
        told.published.as_secs_f64(),
        told.sent,
        told.sending.as_secs_f64(),
        told.sent as f64 * 60.0 / told.sending.as_secs_f64(),
        told.shares,
    );
    println!(
        "  cancelled: the other {} told so in {:.0} s, {:.0} a second; lost {}, doubled {}",
        told.cancelled,
        told.cancelling.as_secs_f64(),
        told.cancelled as f64 / told.cancelling.as_secs_f64(),
        told.lost,
        told.doubled,
    );
    let p99 = told.urgent.get(told.urgent.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default();
    println!("  urgent messages meanwhile: p99 {:.0} ms", p99.as_secs_f64() * 1000.0);
    report("  urgent: message.send published → result", told.urgent);
    Ok(())
}

/// What ownership costs, and how fast commands go, where no browser takes the time.
async fn load(sessions: usize, burst: usize) -> anyhow::Result<()> {
    // One session sends one message after the other: a burst of the same size would only take longer.
    let burst = burst.min(sessions.saturating_mul(200));
    let load = load::of_sessions(sessions, burst).await?;
    println!(
        "{sessions} sessions without a browser on {} workers: claimed in {:.2} s ({:.1} ms each); at rest {:.2} ms of CPU and {:.0} µs of Redis a second",
        load.workers,
        load.claimed.as_secs_f64(),
        load.claimed.as_secs_f64() * 1000.0 / sessions.max(1) as f64,
        load.idle_cpu_ms,
        load.idle_redis.as_secs_f64() * 1e6,
    );
    let ms = |part: f64| {
        let place = ((load.latencies.len().saturating_sub(1)) as f64 * part).round() as usize;
        load.latencies.get(place).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    };
    println!(
        "  {:.0} commands a second at once ({burst} of them); at half that rate, published → result: p50 {:.0} ms, p99 {:.0} ms",
        load.rate,
        ms(0.5),
        ms(0.99)
    );
    Ok(())
}

fn launch(session_dir: &Path) -> LaunchOptions {
    let root = rustix::process::geteuid().is_root();
    LaunchOptions {
        executable: Flavor::Chromium.debian_executable().to_owned(),
        flavor: Flavor::Chromium,
        sandbox: if root { Sandbox::Off } else { Sandbox::Required },
        session_dir: session_dir.to_owned(),
        extra_args: Vec::new(),
    }
}

/// `session.start` published → `session.qr` at the host, against process start → code drawn in a bare Chromium.
async fn qr(starts: usize) -> anyhow::Result<()> {
    let site = Imitation::start(instant_acks()).await?;
    let fleet = Fleet::start().await?;
    let (mut bare, mut whole) = (Vec::new(), Vec::new());
    for start in 0..starts {
        let directory = fleet.scratch().join(format!("bare-{start}"));
        std::fs::create_dir_all(&directory)?;
        bare.push(bare_qr(&launch(&directory), &site).await?);
    }
    let host = fleet.host().await?;
    let worker = worker(&fleet, &site).await?;
    for start in 0..starts {
        let target = Target::new(&format!("qr-{start}"))?;
        let began = Instant::now();
        host.send(&target, &Command::SessionStart(SessionStart::default())).await?;
        let session = target.session.clone();
        let entry = host.events().entries().len();
        host.events()
            .wait_from(entry.saturating_sub(4), "session.qr", PATIENCE, |envelope| match &envelope.event {
                Event::SessionQr(_) if envelope.session_id == session => Some(()),
                _ => None,
            })
            .await?;
        whole.push(began.elapsed());
        host.send(&target, &Command::SessionStop).await?;
        let session = target.session.clone();
        host.events()
            .wait_from(entry, "the status stopped", PATIENCE, |envelope| match &envelope.event {
                Event::SessionStatus(told)
                    if told.status == SessionStatus::Stopped && envelope.session_id == session =>
                {
                    Some(())
                }
                _ => None,
            })
            .await?;
    }
    report("QR, bare Chromium: process start → code on the page", bare);
    report("QR, whole path: session.start published → session.qr received", whole);
    drop(worker);
    Ok(())
}

async fn bare_qr(options: &LaunchOptions, site: &Imitation) -> anyhow::Result<Duration> {
    use chromiumoxide_cdp::cdp::browser_protocol::target::{AttachToTargetParams, CreateTargetParams};
    use chromiumoxide_cdp::cdp::js_protocol::runtime::EvaluateParams;
    let began = Instant::now();
    let chromium = Chromium::launch(options).await?;
    let limit = Duration::from_secs(20);
    let target = chromium.cdp().call(None, CreateTargetParams::new(site.url()), limit).await?;
    let attach = AttachToTargetParams::builder()
        .target_id(target.target_id)
        .flatten(true)
        .build()
        .map_err(anyhow::Error::msg)?;
    let session = chromium.cdp().call(None, attach, limit).await?;
    let drawn = "(() => { const c = document.querySelector('canvas'); return !!c && !c.hidden && c.width > 0; })()";
    loop {
        let answer = chromium.cdp().call(Some(session.session_id.inner()), EvaluateParams::new(drawn), limit).await?;
        if answer.result.value == Some(serde_json::Value::Bool(true)) {
            break;
        }
        if began.elapsed() > PATIENCE {
            bail!("the bare page showed no code");
        }
        tokio::time::sleep(POLL).await;
    }
    let took = began.elapsed();
    chromium.close().await;
    Ok(took)
}

/// `message.send` published → ack 1 at the host, against the page's own call in a browser of ours.
async fn send(sends: usize) -> anyhow::Result<()> {
    let site = Imitation::start(instant_acks()).await?;
    let (anna, ben): (Number, Number) = ("4915112345678".parse()?, "4915187654321".parse()?);
    site.phone(&ben, "Ben");
    let fleet = Fleet::start().await?;

    let directory = fleet.scratch().join("bare");
    std::fs::create_dir_all(&directory)?;
    let chromium = Chromium::launch(&launch(&directory)).await?;
    let (page, mut events) = Page::open(&chromium, PageOptions::new(Url::parse(&site.url())?)).await?;
    let code =
        wait_page(&mut events, |event| if let PageEvent::Qr { code, .. } = event { Some(code) } else { None }).await?;
    site.phone(&anna, "Anna").scan(&code).await?;
    wait_page(&mut events, |event| match event {
        PageEvent::State(status) if status.is_online() => Some(()),
        _ => None,
    })
    .await?;
    let drain = tokio::spawn(async move { while events.recv().await.is_some() {} });
    let mut bare = Vec::new();
    for n in 0..=sends {
        let message = Draft::text(ben.to_string(), format!("3EB0{n:018X}"), format!("bare {n}"));
        let began = Instant::now();
        page.send(&message).await?;
        bare.push(began.elapsed());
    }
    chromium.close().await;
    drain.abort();
    bare.remove(0); // the first one loads the in-page library

    let host = fleet.host().await?;
    let worker = worker(&fleet, &site).await?;
    let carl: Number = "4915111111111".parse()?;
    link(&host, &site, "send", &carl).await?;
    let target = Target::new("send")?;
    let mut whole = Vec::new();
    for n in 0..=sends {
        let command =
            Command::MessageSend(MessageSend::text(ben.to_string().parse()?, format!("whole {n}").try_into()?));
        let mark = host.events().len();
        let began = Instant::now();
        let id = host.send(&target, &command).await?;
        host.events()
            .wait_from(mark, "ack 1", PATIENCE, |envelope| match &envelope.event {
                Event::MessageAck(ack) if ack.command_id.as_ref() == Some(&id) && ack.ack.number() >= 1 => Some(()),
                _ => None,
            })
            .await?;
        whole.push(began.elapsed());
    }
    whole.remove(0);
    report("send, the page's own call with ack 1", bare);
    report("send, whole path: message.send published → ack 1 received", whole);
    drop(worker);
    Ok(())
}

async fn wait_page<T>(
    events: &mut mpsc::Receiver<PageEvent>,
    mut find: impl FnMut(PageEvent) -> Option<T>,
) -> anyhow::Result<T> {
    tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = find(events.recv().await.context("the browser is gone")?) {
                return Ok(found);
            }
        }
    })
    .await?
}

/// Memory of the worker and of its browsers with so many connected sessions.
async fn memory(sessions: usize) -> anyhow::Result<()> {
    let site = Imitation::start(instant_acks()).await?;
    let fleet = Fleet::start().await?;
    let host = fleet.host().await?;
    let worker = worker(&fleet, &site).await?;
    for n in 0..sessions {
        link(&host, &site, &format!("memory-{n}"), &format!("4915200000{n:03}").parse()?).await?;
    }
    tokio::time::sleep(SETTLE).await; // caches and the collector come to rest
    let tree = descendants(worker.pid())?;
    let own = anonymous_kib(worker.pid())?;
    let mut browsers = 0;
    for pid in tree {
        browsers += anonymous_kib(pid).unwrap_or(0);
    }
    let count = u64::try_from(sessions)?.max(1);
    println!(
        "memory at {sessions:>2} sessions (anonymous + shared, not reclaimable): worker {:.1} MB, Chromium {:.0} MB, {:.0} MB per session",
        own as f64 / 1024.0,
        browsers as f64 / 1024.0,
        (browsers / count) as f64 / 1024.0,
    );
    Ok(())
}

async fn worker(fleet: &Fleet, site: &Imitation) -> anyhow::Result<Worker> {
    let builder = fleet.worker("bench").env("WAFLEET_SITE_URL", site.url()).env("WAFLEET_LOG", "warn").quiet();
    let mut worker = builder.env("WAFLEET_QR_GENERATIONS_PER_HOUR", "100").spawn()?;
    worker.wait_until_ready().await?;
    Ok(worker)
}

/// Starts a session and scans its code.
async fn link(host: &Host, site: &Imitation, session: &str, number: &Number) -> anyhow::Result<()> {
    let target = Target::new(session)?;
    let mark = host.events().len();
    host.send(&target, &Command::SessionStart(SessionStart::default())).await?;
    let code = host
        .events()
        .wait_from(mark, "session.qr", PATIENCE, |envelope| match &envelope.event {
            Event::SessionQr(qr) if envelope.session_id == target.session => Some(qr.qr.as_str().to_owned()),
            _ => None,
        })
        .await?;
    site.phone(number, session).scan(&code).await?;
    host.events()
        .wait_from(mark, "the status connected", PATIENCE, |envelope| match &envelope.event {
            Event::SessionStatus(told)
                if told.status == SessionStatus::Connected && envelope.session_id == target.session =>
            {
                Some(())
            }
            _ => None,
        })
        .await
}

/// All processes below one, itself left out.
fn descendants(root: u32) -> anyhow::Result<HashSet<u32>> {
    let mut parents: HashMap<u32, u32> = HashMap::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name in parentheses may hold anything; the parent is the second field behind it.
        if let Some(parent) = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok()) {
            parents.insert(pid, parent);
        }
    }
    let below = |pid: &u32| {
        let mut at = *pid;
        while let Some(parent) = parents.get(&at) {
            if *parent == root {
                return true;
            }
            at = *parent;
        }
        false
    };
    Ok(parents.keys().copied().filter(below).collect())
}

/// `Pss_Anon` and `Pss_Shmem` of a process: what no other process shares and the kernel cannot drop.
fn anonymous_kib(pid: u32) -> anyhow::Result<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let field = |name: &str| {
        let line = rollup.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    Ok(field("Pss_Anon:").unwrap_or(0) + field("Pss_Shmem:").unwrap_or(0))
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let ms = |time: &Duration| time.as_secs_f64() * 1000.0;
    let at = |part: f64| ms(&times[((times.len() - 1) as f64 * part).round() as usize]);
    println!("{what}: p50 {:.0} ms, p90 {:.0} ms, best {:.0} ms ({} runs)", at(0.5), at(0.9), at(0.0), times.len());
}
