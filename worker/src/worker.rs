//! A worker process from start to end.
//!
//! ```text
//! SIGTERM or SIGINT ─▶ drain: no claims, no control commands; sessions finish, close, release ─▶ publisher empties ─▶ 0
//! a second signal, or the drain's time is over ─▶ kill: browsers die, leases end with their TTL ─▶ 1
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::archivist;
use crate::broker::consumer::{self, Link};
use crate::broker::publisher;
use crate::campaign::{Progress, parking};
use crate::checked::Checked;
use crate::clock::Clock;
use crate::cloud::Cloud;
use crate::config::Config;
use crate::control;
use crate::counters::Counters;
use crate::database::Database;
use crate::health::Vitals;
use crate::lease::Leases;
use crate::leash::Leash;
use crate::logging::chain;
use crate::media;
use crate::objects::Objects;
use crate::snapshot;
use crate::supervisor::Supervisor;
use crate::world::World;

/// How often the counts go to the log.
const COUNTS_EVERY: Duration = Duration::from_secs(60);
/// Pause between two tries to reach the services at the start.
const REACH_PAUSE: Duration = Duration::from_secs(2);
/// How long the publisher may take to empty its queue after the last session has closed.
const FLUSH_LIMIT: Duration = Duration::from_secs(15);

/// How long a worker that was killed waits for services that may hang.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every session was closed and released.
    Drained,
    /// A second signal or the end of the drain's time cut it short.
    Killed,
}

/// Runs until a signal ends it.
///
/// # Errors
/// Nothing could be started: a directory cannot be made, or a URL is unusable. A service that is away is waited for.
pub async fn run(config: Config) -> anyhow::Result<Ending> {
    let config = Arc::new(config);
    let (drain, kill) = (CancellationToken::new(), CancellationToken::new());
    tokio::spawn(watch_signals(drain.clone(), kill.clone(), config.drain));

    let database = Database::new(&config.database_url)?;
    let leases = Leases::new(
        &config.redis,
        database.clone(),
        config.worker_id.as_str(),
        config.lease_ttl,
        config.claim_interval,
    )?;
    let objects = config.object_store.as_ref().map(Objects::new).transpose()?.map(Arc::new);
    let counters = Arc::new(Counters::default());
    let (publisher, publisher_task) = publisher::channel(&config, &counters);
    let (link_sender, connection) = watch::channel(None);
    let link = Link::new(connection, publisher.room());
    let cloud = Arc::new(Cloud::new(&config, leases.redis())?);
    let clock = Clock::new();
    let checked = Checked::new(leases.redis(), clock.clone());
    let leash = Leash::new(Arc::clone(&counters));
    let world = World {
        config: Arc::clone(&config),
        database,
        leases,
        leash,
        cloud,
        publisher,
        link,
        counters,
        clock,
        checked,
        deferrals: Arc::default(),
        progress: Arc::default(),
        process: format!("{}#{:016x}", config.worker_id, rand::random::<u64>()).into(),
        others: Arc::default(),
        objects,
        downloads: Arc::new(media::Downloads::new(&config.kept)),
    };
    let vitals = Arc::new(Vitals::new(world.clone())?);
    tracing::info!(worker_id = %config.worker_id, capacity = config.capacity, site = %config.browser.site, version = env!("CARGO_PKG_VERSION"), "worker starts");
    match &config.profile_keys {
        Some(ring) => tracing::info!(key_id = ring.sealing_id(), "profiles are saved, sealed with this key"),
        None => tracing::warn!(
            "no profile is saved, so no session can move to another disk: WAFLEET_PROFILE_KEYS_FILE is not set"
        ),
    }

    let link_stop = CancellationToken::new();
    let name = |part: &str| format!("wafleet {} {part}", config.worker_id);
    let publishing = tokio::spawn(publisher_task.run(config.amqp.clone(), name("publish"), kill.clone()));
    let consuming = tokio::spawn(consumer::run(config.amqp.clone(), name("consume"), link_sender, link_stop.clone()));
    let leases_stop = CancellationToken::new();
    let keeping = {
        let (leases, leash, stop) = (world.leases.clone(), world.leash.clone(), leases_stop.clone());
        tokio::spawn(async move { tokio::join!(leases.keep(&leash, stop.clone()), leash.keep(&leases, stop)) })
    };
    tokio::spawn(log_counts(world.clone(), drain.clone()));

    reach(&world, &vitals, &drain).await;
    world.clock.compare(&world).await;
    let comparing = {
        let (world, stop) = (world.clone(), leases_stop.clone());
        tokio::spawn(async move { world.clock.clone().keep(&world, stop).await })
    };
    if let Err(error) = snapshot::sweep_erased(&world.database, &config.profile_root).await {
        tracing::error!(error = %chain(&error), "directories of erased sessions may still be on this disk; the next start looks again");
    }
    if let Err(error) = snapshot::sweep_aside(&config.profile_root) {
        tracing::warn!(error = %chain(&error), "what was set aside long ago may still be on this disk; the next start looks again");
    }
    if let Err(error) = media::sweep(&config.media.dir) {
        tracing::warn!(error = %chain(&error), "files of messages that were cut short may still be on this disk; the next start looks again");
    }
    let controlling = tokio::spawn(control::serve(world.clone(), drain.clone()));
    let archiving = tokio::spawn(archivist::serve(world.clone(), drain.clone()));
    let progressing = tokio::spawn(Progress::tell(world.clone(), drain.clone()));
    let parking = tokio::spawn(parking::put_back(world.clone(), drain.clone()));
    let cleaning_stop = CancellationToken::new();
    let cleaning = tokio::spawn(snapshot::keep_objects_clean(world.clone(), cleaning_stop.clone()));
    Supervisor::new(world.clone(), Arc::clone(&vitals)).run(drain.clone(), kill.clone()).await;
    let settled = async {
        let _ = controlling.await;
        let _ = archiving.await;
        let _ = progressing.await;
        let _ = parking.await;
        cleaning_stop.cancel();
        let _ = cleaning.await;
        // The last events are confirmed before the connection closes.
        link_stop.cancel();
        let _ = consuming.await;
        leases_stop.cancel();
        let _ = keeping.await;
        let _ = comparing.await;
        world.database.close().await;
    };
    let cut_short = async {
        kill.cancelled().await;
        tokio::time::sleep(KILL_LIMIT).await;
    };
    tokio::select! {
        () = settled => {}
        () = cut_short => tracing::error!("a service does not answer; nothing more is waited for"),
    }
    vitals.ended();
    world.publisher.close();
    tokio::select! {
        _ = publishing => {}
        () = tokio::time::sleep(FLUSH_LIMIT) => {
            let left = world.publisher.standing();
            tracing::error!(
                events = left.waiting,
                keeping = left.keeping.as_str(),
                "the broker did not take the last events in time; those on the disk go out when the next worker starts here"
            );
        }
    }
    let ending = if kill.is_cancelled() { Ending::Killed } else { Ending::Drained };
    tracing::info!(?ending, "worker ended");
    Ok(ending)
}

/// Waits until the database, Redis and the broker have each answered once.
async fn reach(world: &World, vitals: &Vitals, drain: &CancellationToken) {
    let mut link = world.link.clone();
    loop {
        // Waiting is no reason to be restarted: the worker is alive, and says so.
        vitals.tick(drain.is_cancelled(), 0, &HashMap::new());
        let database = world.database.check().await.map_err(|error| chain(&error));
        let redis = world.leases.check().await.map_err(|error| chain(&error));
        let broker =
            tokio::time::timeout(REACH_PAUSE, link.connected()).await.map(drop).map_err(|_| "no connection yet");
        if let (Ok(()), Ok(()), Ok(())) = (&database, &redis, &broker) {
            vitals.started();
            tracing::info!("the database, redis and the broker have answered");
            return;
        }
        tracing::warn!(database = ?database.err(), redis = ?redis.err(), broker = ?broker.err(), "waiting for the services (run `wafleet migrate up` if tables are missing)");
        tokio::select! { () = drain.cancelled() => return, () = tokio::time::sleep(REACH_PAUSE) => {} }
    }
}

async fn watch_signals(drain: CancellationToken, kill: CancellationToken, limit: Duration) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be handled; the default actions apply");
        return;
    };
    let mut next = async || tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
    let name = next().await;
    tracing::info!(signal = name, limit_secs = limit.as_secs(), "draining; a second signal kills");
    drain.cancel();
    tokio::select! {
        name = next() => tracing::warn!(signal = name, "second signal: killing"),
        () = tokio::time::sleep(limit) => tracing::error!("the drain took too long: killing"),
    }
    kill.cancel();
}

async fn log_counts(world: World, stop: CancellationToken) {
    loop {
        tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(COUNTS_EVERY) => {} }
        let counts = serde_json::to_string(&world.counters.snapshot()).unwrap_or_default();
        tracing::info!(counts, "counts since the start");
    }
}
