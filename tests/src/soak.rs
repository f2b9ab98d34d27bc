//! A long run of a fleet under one fault after the other, chosen by a seed.
//!
//! Three workers keep twelve sessions, texts go out and come in all the time, and something breaks, heals, and the next
//! thing breaks. In the end the invariants of [`crate::invariants`] hold, every message that came in was told under one
//! event id, and no worker has grown. The same seed draws the same faults in the same order on the same targets; what
//! they meet is up to the machine.

mod faults;
mod growth;
mod report;
mod traffic;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;
use wafleet_imitation::{AckTimes, Options, Phone};

use crate::fleet::{PATIENCE, Target, Worker};
use crate::invariants::Story;
use crate::proxy::Proxy;
use crate::services::OwnServices;
use crate::stage::Stage;
use faults::Fault;
use growth::Growth;
pub use report::Report;

/// The life of a lease: stops and pauses are drawn shorter and longer than this.
const LEASE_TTL: Duration = Duration::from_secs(9);
/// Between the end of a fault and the next one.
const REST_SECS: std::ops::Range<f64> = 2.0..10.0;
/// How long everything may take to come to its end after the last fault.
const ENDS_WITHIN: Duration = Duration::from_secs(300);
/// The number that everybody writes to and that writes to everybody.
const FRIEND: &str = "4915187654321";

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Draws the faults.
    pub seed: u64,
    /// How long faults come, not counting the start and the end.
    pub lasts: Duration,
    /// Sessions.
    pub sessions: usize,
    /// Workers.
    pub workers: usize,
}

/// Runs a plan, with the servers and the workers' logs in `directory`.
///
/// # Errors
/// When the start fails or a service cannot be brought back: then nothing can be said. Broken rules are in the report.
pub async fn run(plan: &Plan, directory: &Path) -> anyhow::Result<Report> {
    let began = Instant::now();
    let mut servers = OwnServices::all(directory).await?;
    let acks = AckTimes { server: Duration::from_millis(50), ..AckTimes::default() };
    let stage = Stage::set_on(Options { acks, ..Options::default() }, servers.addresses()).await?;
    let story = Story::begin(&stage)?.ending_within(ENDS_WITHIN);
    let growth = Growth::new();
    let mut scene = Scene::start(&stage, plan, &growth).await?;
    let phones = scene.link(plan.sessions).await?;
    eprintln!("soak: {} sessions linked after {:?}", plan.sessions, began.elapsed());

    let stop = CancellationToken::new();
    let traffic = traffic::Traffic::default();
    let mut random = StdRng::seed_from_u64(plan.seed);
    let faulting = async {
        let until = Instant::now() + plan.lasts;
        let mut done = Vec::new();
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_secs_f64(random.random_range(REST_SECS))).await; // in health
            let fault = Fault::draw(&mut random, plan.workers, plan.sessions);
            eprintln!("soak: +{:>4} s {fault}", began.elapsed().as_secs());
            let started = Instant::now();
            fault.happen(&mut scene, &mut servers, &phones).await.with_context(|| fault.to_string())?;
            done.push((fault, started.elapsed()));
        }
        stop.cancel();
        anyhow::Ok(done)
    };
    let (done, ()) = tokio::join!(faulting, traffic.flow(&stage, &phones, plan.seed, &stop));
    let done = done?;
    stage.site.faults(|faults| faults.clear());
    eprintln!("soak: +{:>4} s no more faults; waiting for every end", began.elapsed().as_secs());

    let untold = traffic.untold(&stage, ENDS_WITHIN).await;
    let sent = stage.host.posted();
    // The doors stay open until the workers have drained.
    let (workers, _doors): (Vec<Worker>, Vec<Doors>) =
        scene.places.into_iter().map(|place| (place.worker, place.doors)).unzip();
    let settled = story.verdict(workers).await?;
    let mut broken = settled.broken;
    broken.extend(untold);
    growth.write(&directory.join("memory.csv"))?;
    let growth = growth.judge(plan.lasts);
    broken.extend(growth.broken());
    Ok(Report::new(plan, began.elapsed(), settled.tally, broken, &done, &growth, &sent, traffic.received(), &stage))
}

/// The workers, each behind doors of its own, and what they are started with.
struct Scene<'a> {
    stage: &'a Stage,
    places: Vec<Place>,
    growth: &'a Growth,
}

/// Where one worker at a time runs.
struct Place {
    worker: Worker,
    /// How many workers this place has seen.
    generation: usize,
    doors: Doors,
}

/// The network of one place.
struct Doors {
    broker: Proxy,
    redis: Proxy,
    database: Proxy,
}

impl Doors {
    fn all(&self) -> [&Proxy; 3] {
        [&self.broker, &self.redis, &self.database]
    }
}

impl<'a> Scene<'a> {
    async fn start(stage: &'a Stage, plan: &Plan, growth: &'a Growth) -> anyhow::Result<Self> {
        let mut scene = Self { stage, places: Vec::new(), growth };
        for number in 0..plan.workers {
            let doors = Doors {
                broker: Proxy::opened(stage.fleet.virtual_host().url()).await?,
                redis: Proxy::opened(stage.fleet.redis_url()).await?,
                database: Proxy::opened(stage.fleet.database().url()).await?,
            };
            let mut worker = scene.spawn(number, 0, &doors)?;
            worker.wait_until_ready().await?;
            scene.places.push(Place { worker, generation: 0, doors });
        }
        Ok(scene)
    }

    fn spawn(&self, place: usize, generation: usize, doors: &Doors) -> anyhow::Result<Worker> {
        let fleet = &self.stage.fleet;
        let worker = self
            .stage
            .worker(&format!("w{place}-{generation}"))
            .env("WAFLEET_AMQP_URL", doors.broker.url(fleet.virtual_host().url())?)
            .env("WAFLEET_REDIS_URL", doors.redis.url(fleet.redis_url())?)
            .env("WAFLEET_DATABASE_URL", doors.database.url(fleet.database().url())?)
            .env("WAFLEET_LEASE_TTL_SECS", LEASE_TTL.as_secs().to_string())
            .env("WAFLEET_CLAIM_INTERVAL_MS", "500")
            .env("WAFLEET_PAGE_CALL_TIMEOUT_SECS", "20")
            .env("WAFLEET_QR_GENERATIONS_PER_HOUR", "100")
            .quiet()
            .spawn()?;
        self.growth.watch(worker.name(), worker.pid());
        Ok(worker)
    }

    /// Puts a new worker in the place of the one that is there, which goes on for whoever gets it.
    fn replace(&mut self, place: usize) -> anyhow::Result<Worker> {
        let generation = self.places[place].generation + 1;
        let next = self.spawn(place, generation, &self.places[place].doors)?;
        let at = &mut self.places[place];
        at.generation = generation;
        Ok(std::mem::replace(&mut at.worker, next))
    }

    /// Links so many sessions, each with a phone of its own.
    async fn link(&self, sessions: usize) -> anyhow::Result<Vec<(Target, Phone)>> {
        self.stage.site.phone(FRIEND, "Friend");
        let mut phones = Vec::new();
        for number in 0..sessions {
            let target = Target::new(&format!("s{number}"))?;
            let phone = self.stage.site.phone(format!("4915200000{number:03}").as_str(), "Owner");
            self.stage.link(&target, &phone).await.with_context(|| format!("linking {}", target.session))?;
            phone.wait_until_online(PATIENCE).await?;
            phones.push((target, phone));
        }
        Ok(phones)
    }
}
