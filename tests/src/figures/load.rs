//! What ownership and commands cost when no browser takes the time: sessions at an imitation of the Graph API in this process.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt};
use redis::aio::MultiplexedConnection;
use tokio::io::AsyncWriteExt;
use wafleet_graph::Graph;
use wafleet_protocol::command::{Command, MessageSend, Route, SessionStart, Template};
use wafleet_protocol::event::{Event, SessionStatus};
use wafleet_protocol::id::CommandId;

use super::results::results;
use crate::fleet::{Fleet, Host, Target, Worker};

const NUMBER: &str = "106540352242922";
const TOKEN: &str = "EAAtokenOfTheBenchmark0123456789";
/// Bound on everything that is waited for.
const PATIENCE: Duration = Duration::from_secs(600);
/// Commands published at once.
const PUBLISHED_AT_ONCE: usize = 64;
/// The most sessions that one worker may own, by its configuration.
const CAPACITY: usize = 500;
/// How long workers are watched while nothing happens: three renewals and more.
const REST: Duration = Duration::from_secs(20);
/// `USER_HZ`, in which `/proc` counts CPU time: 100 on the architectures that Chromium runs on (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;
/// The part of the highest rate at which the latency is measured, and for how long.
const MODERATE: f64 = 0.5;
const MODERATE_FOR: Duration = Duration::from_secs(15);

/// What so many sessions cost their workers and Redis, and how fast commands go through them.
#[derive(Debug, Clone)]
pub struct Load {
    /// Workers that share the sessions.
    pub workers: usize,
    /// From the first `session.start` published to the last `connected`.
    pub claimed: Duration,
    /// Time that Redis spends in scripts (renewals of leases, the roster), for each second of rest.
    pub idle_redis: Duration,
    /// CPU time of all workers together, for each second of rest, in milliseconds.
    pub idle_cpu_ms: f64,
    /// Commands for each second, while more of them wait.
    pub rate: f64,
    /// From publishing to the result, at half that rate, shortest first.
    pub latencies: Vec<Duration>,
}

/// Starts so many sessions, lets them rest, sends `burst` messages at once, and then as many as half the rate allows.
///
/// # Errors
/// When something does not happen.
pub async fn of_sessions(sessions: usize, burst: usize) -> anyhow::Result<Load> {
    let graph = Graph::start().await?;
    graph.number(NUMBER, TOKEN);
    graph.template("login_code", "en_US");
    let fleet = Fleet::start().await?;
    let host = fleet.host().await?;
    bind(&fleet, &graph, sessions).await?;
    let count = sessions.div_ceil(CAPACITY);
    let mut workers = Vec::new();
    for place in 0..count {
        let worker = fleet.worker(&format!("load-{place}")).without_browser().quiet();
        let worker = worker.env("WAFLEET_CLOUD_URL", graph.url()).env("WAFLEET_LOG", "warn");
        // Ownership is measured, and not how many sessions a key may start in a minute.
        let worker = worker.env("WAFLEET_CONTROL_PER_MINUTE", "100000");
        let mut worker = worker.env("WAFLEET_CAPACITY", CAPACITY.to_string()).spawn()?;
        worker.wait_until_ready().await?;
        workers.push(worker);
    }
    let targets: Vec<Target> = (0..sessions).map(|n| Target::new(&name(n))).collect::<Result<_, _>>()?;

    let began = Instant::now();
    let (host_ref, start) = (&host, &Command::SessionStart(SessionStart::default()));
    futures::stream::iter(&targets)
        .map(|target| host_ref.send(target, start))
        .buffer_unordered(PUBLISHED_AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    connected(&host, sessions).await?;
    let claimed = began.elapsed();

    let client = redis::Client::open(fleet.redis_url())?;
    let mut redis = client.get_multiplexed_async_connection().await?;
    tokio::time::sleep(Duration::from_secs(2)).await; // what the start left behind ends
    let (cpu, scripts) = (cpu_ms(&workers)?, script_time(&mut redis).await?);
    tokio::time::sleep(REST).await;
    let idle_cpu_ms = (cpu_ms(&workers)? - cpu) / REST.as_secs_f64();
    let idle_redis = script_time(&mut redis).await?.saturating_sub(scripts).div_f64(REST.as_secs_f64());

    let rate = rate(&host, &targets, burst).await?;
    let latencies = latencies(&host, &targets, rate * MODERATE).await?;
    Ok(Load { workers: count, claimed, idle_redis, idle_cpu_ms, rate, latencies })
}

fn name(n: usize) -> String {
    format!("load-{n}")
}

/// Binds every session to one number that Meta lets send as fast as it can.
async fn bind(fleet: &Fleet, graph: &Graph, sessions: usize) -> anyhow::Result<()> {
    let operator = fleet.worker("operator").without_browser().env("WAFLEET_CLOUD_URL", graph.url());
    let mut add = tokio::process::Command::from(operator.wafleet(&["cloud", "add", NUMBER, "--workspace", "1"])?);
    let mut child = add.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    child.stdin.take().context("piped")?.write_all(TOKEN.as_bytes()).await?;
    ensure!(child.wait().await?.success(), "the number could not be added");
    fleet.database().execute("UPDATE wafleet_cloud_numbers SET per_second = 100000").await?;
    let rows: Vec<String> = (0..sessions).map(|n| format!("('{}', 1, '{NUMBER}', 'session')", name(n))).collect();
    let insert = "INSERT INTO wafleet_cloud_bindings (session_id, workspace_id, number_id, role) VALUES ";
    fleet.database().execute(&format!("{insert}{}", rows.join(","))).await
}

async fn connected(host: &Host, sessions: usize) -> anyhow::Result<()> {
    let mut missing = sessions;
    host.events()
        .wait_from(0, "every session connected", PATIENCE, |envelope| {
            if matches!(&envelope.event, Event::SessionStatus(told) if told.status == SessionStatus::Connected) {
                missing = missing.saturating_sub(1);
            }
            (missing == 0).then_some(())
        })
        .await
}

/// A message to a recipient of its own, so that no pair waits for itself.
fn message(n: usize) -> anyhow::Result<Command> {
    let template = Template { name: "login_code".to_owned(), language: "en_US".to_owned(), components: Vec::new() };
    let route = Route { provider: None, template: Some(template) };
    let text = MessageSend::text(format!("4917{n:08}").parse()?, "load".to_owned().try_into()?);
    Ok(Command::MessageSend(MessageSend { route, ..text }))
}

/// Publishes messages over all sessions as fast as the broker takes them: the results for each second.
async fn rate(host: &Host, targets: &[Target], burst: usize) -> anyhow::Result<f64> {
    let mark = host.events().len();
    let began = Instant::now();
    let publish = futures::stream::iter(0..burst)
        .map(|n| async move { host.send(&targets[n % targets.len()], &message(n)?).await })
        .buffer_unordered(PUBLISHED_AT_ONCE)
        .try_collect::<Vec<CommandId>>();
    let (published, finished) = tokio::join!(publish, results(host, mark, burst));
    let (ids, finished) = (published?, finished?);
    ensure!(ids.iter().all(|id| finished.contains_key(id)), "a result belongs to no command of this run");
    let last = finished.values().max().context("there was a burst")?;
    Ok(burst as f64 / last.saturating_duration_since(began).as_secs_f64())
}

/// Publishes at a steady rate, whatever the results do, and measures each from its publishing.
async fn latencies(host: &Host, targets: &[Target], rate: f64) -> anyhow::Result<Vec<Duration>> {
    let mark = host.events().len();
    let count = ((rate * MODERATE_FOR.as_secs_f64()) as usize).max(1);
    let began = Instant::now();
    let publish = futures::stream::iter(0..count)
        .map(|n| async move {
            let at = began + Duration::from_secs_f64(n as f64 / rate);
            tokio::time::sleep_until(at.into()).await;
            // Numbers that the burst did not write to.
            let id = host.send(&targets[n % targets.len()], &message(10_000_000 + n)?).await?;
            anyhow::Ok((id, at))
        })
        .buffered(PUBLISHED_AT_ONCE)
        .try_collect::<Vec<(CommandId, Instant)>>();
    let (published, finished) = tokio::join!(publish, results(host, mark, count));
    let finished = finished?;
    let mut latencies = Vec::new();
    for (id, at) in published? {
        let end = finished.get(&id).context("a command has no result")?;
        latencies.push(end.saturating_duration_since(at));
    }
    latencies.sort();
    Ok(latencies)
}

/// What Redis has spent on scripts so far: in a fleet at rest, on renewals of leases and on the roster.
async fn script_time(redis: &mut MultiplexedConnection) -> anyhow::Result<Duration> {
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(redis).await?;
    let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:")).unwrap_or_default();
    let micros = line.split(',').find_map(|part| part.strip_prefix("usec=")?.parse().ok()).unwrap_or(0);
    Ok(Duration::from_micros(micros))
}

/// CPU time of these processes so far, user and system, in milliseconds.
fn cpu_ms(workers: &[Worker]) -> anyhow::Result<f64> {
    let mut ticks = 0_u64;
    for worker in workers {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", worker.pid()))?;
        // The name in parentheses may hold anything; utime and stime are fields 14 and 15 of the whole line.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        for field in [11, 12] {
            ticks += fields.get(field).context("utime and stime")?.parse::<u64>()?;
        }
    }
    Ok(ticks as f64 * 1000.0 / TICKS_PER_SECOND)
}
