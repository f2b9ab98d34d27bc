//! What can break, how it is drawn, how it happens and how it heals.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use rand::Rng;
use rand::rngs::StdRng;
use rustix::process::Signal;
use wafleet_imitation::{Phone, SendFault};

use super::{LEASE_TTL, Scene};
use crate::fleet::Target;
use crate::processes::{Frozen, Process};
use crate::proxy::{BOTH_WAYS, Way};
use crate::services::OwnServices;

/// How long a worker that is replaced may take to drain.
const DRAINS_WITHIN: Duration = Duration::from_secs(90);

/// One fault with its target and its length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    KillWorker { place: usize },
    ReplaceWorker { place: usize },
    StopWorker { place: usize, secs: f64 },
    KillBrowser { session: usize },
    KillRenderer { session: usize },
    StopRenderer { session: usize, secs: f64 },
    KillHelper { session: usize },
    DropSockets,
    SiteAway { secs: f64 },
    CutSends { fault: SendFault },
    RestartBroker { secs: f64 },
    CloseConnections,
    MemoryAlarm { secs: f64 },
    FlushRedis,
    StopRedis { secs: f64 },
    RestartRedis { secs: f64 },
    StopDatabase { secs: f64 },
    RestartDatabase { secs: f64 },
    ReadOnlyDatabase { secs: f64 },
    CutNetwork { place: usize },
    CutMiddle { place: usize, door: usize, bytes: u64 },
    SlowNetwork { place: usize, secs: f64 },
    PauseNetwork { place: usize, door: usize, one_way: bool, secs: f64 },
}

/// How many kinds there are.
const KINDS: u32 = 23;

impl Fault {
    /// The next fault of a seed.
    pub(super) fn draw(random: &mut StdRng, workers: usize, sessions: usize) -> Self {
        // Everything is drawn whether it is used or not, so that one kind's needs do not shift the next fault.
        let kind = random.random_range(0..KINDS);
        let (place, session, door) =
            (random.random_range(0..workers), random.random_range(0..sessions), random.random_range(0..3_usize));
        let ttl = LEASE_TTL.as_secs_f64();
        // As often shorter than what a lease is proven for as longer than its life.
        let around_the_ttl = if random.random_bool(0.5) {
            random.random_range(0.5..ttl / 3.0)
        } else {
            random.random_range(ttl..ttl * 2.0)
        };
        let (short, one_way) = (random.random_range(1.0..8.0), random.random_bool(0.5));
        let bytes = random.random_range(1..20_000);
        let fault = match random.random_range(0..3) {
            0 => SendFault::CutAfter,
            1 => SendFault::CutBefore,
            _ => SendFault::Delay { millis: 4_000 },
        };
        match kind {
            0 => Self::KillWorker { place },
            1 => Self::ReplaceWorker { place },
            2 => Self::StopWorker { place, secs: around_the_ttl },
            3 => Self::KillBrowser { session },
            4 => Self::KillRenderer { session },
            5 => Self::StopRenderer { session, secs: short },
            6 => Self::KillHelper { session },
            7 => Self::DropSockets,
            8 => Self::SiteAway { secs: short },
            9 => Self::CutSends { fault },
            10 => Self::RestartBroker { secs: short },
            11 => Self::CloseConnections,
            12 => Self::MemoryAlarm { secs: short },
            13 => Self::FlushRedis,
            14 => Self::StopRedis { secs: around_the_ttl },
            15 => Self::RestartRedis { secs: around_the_ttl },
            16 => Self::StopDatabase { secs: short },
            17 => Self::RestartDatabase { secs: short },
            18 => Self::ReadOnlyDatabase { secs: short },
            19 => Self::CutNetwork { place },
            20 => Self::CutMiddle { place, door, bytes },
            21 => Self::SlowNetwork { place, secs: short },
            _ => Self::PauseNetwork { place, door, one_way, secs: around_the_ttl },
        }
    }

    /// Its kind, for the report.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::KillWorker { .. } => "worker killed (SIGKILL) and replaced",
            Self::ReplaceWorker { .. } => "worker replaced (SIGTERM)",
            Self::StopWorker { .. } => "worker stopped (SIGSTOP)",
            Self::KillBrowser { .. } => "browser killed",
            Self::KillRenderer { .. } => "renderer killed",
            Self::StopRenderer { .. } => "renderer hung",
            Self::KillHelper { .. } => "utility process killed",
            Self::DropSockets => "sockets of all pages dropped",
            Self::SiteAway { .. } => "WhatsApp away",
            Self::CutSends { .. } => "sends cut or answered late",
            Self::RestartBroker { .. } => "broker killed and started",
            Self::CloseConnections => "broker closes all connections",
            Self::MemoryAlarm { .. } => "broker's memory alarm",
            Self::FlushRedis => "Redis flushed",
            Self::StopRedis { .. } => "Redis stopped (SIGSTOP)",
            Self::RestartRedis { .. } => "Redis killed and started empty",
            Self::StopDatabase { .. } => "database stopped (SIGSTOP)",
            Self::RestartDatabase { .. } => "database killed and started",
            Self::ReadOnlyDatabase { .. } => "database read-only",
            Self::CutNetwork { .. } => "all connections of a worker cut",
            Self::CutMiddle { .. } => "a connection cut within a message",
            Self::SlowNetwork { .. } => "slow network of a worker",
            Self::PauseNetwork { .. } => "network of a worker held",
        }
    }

    /// Lets it happen, and heals it.
    pub(super) async fn happen(
        self,
        scene: &mut Scene<'_>,
        servers: &mut OwnServices,
        phones: &[(Target, Phone)],
    ) -> anyhow::Result<()> {
        let stage = scene.stage;
        match self {
            Self::KillWorker { place } => scene.replace(place)?.kill()?,
            Self::ReplaceWorker { place } => {
                let mut old = scene.replace(place)?;
                let status = old.terminate(DRAINS_WITHIN).await?;
                anyhow::ensure!(status.success(), "worker {} drained with {status}", old.name());
            }
            Self::StopWorker { place, secs } => {
                let frozen = scene.places[place].worker.freeze()?;
                lasting(secs).await;
                frozen.thaw();
            }
            Self::KillBrowser { session } => signal(scene, &phones[session].0, Part::Main, Signal::KILL)?,
            Self::KillRenderer { session } => signal(scene, &phones[session].0, Part::Renderer, Signal::KILL)?,
            Self::KillHelper { session } => signal(scene, &phones[session].0, Part::Utility, Signal::KILL)?,
            Self::StopRenderer { session, secs } => {
                if let Some(renderer) = find(scene, &phones[session].0, Part::Renderer)? {
                    let frozen = Frozen::new(renderer.id);
                    lasting(secs).await;
                    drop(frozen);
                }
            }
            Self::DropSockets => drop_sockets(phones),
            Self::SiteAway { secs } => {
                stage.site.faults(|faults| faults.refuse_connections = true);
                drop_sockets(phones);
                lasting(secs).await;
                stage.site.faults(|faults| faults.refuse_connections = false);
            }
            Self::CutSends { fault } => stage.site.faults(|faults| faults.next_sends(fault, phones.len() / 2)),
            Self::RestartBroker { secs } => {
                servers.rabbitmq()?.kill();
                lasting(secs).await;
                servers.with_rabbitmq(|broker| broker.start_node()).await?;
            }
            Self::CloseConnections => {
                stage.fleet.virtual_host().close_connections(1).await?;
            }
            Self::MemoryAlarm { secs } => {
                const LIMIT: &str = "set_vm_memory_high_watermark";
                servers.with_rabbitmq(|broker| broker.control(&[LIMIT, "0.000001"])).await?;
                lasting(secs).await;
                servers.with_rabbitmq(|broker| broker.control(&[LIMIT, "absolute", "2GB"])).await?;
            }
            Self::FlushRedis => {
                let client = redis::Client::open(stage.fleet.redis_url())?;
                let mut connection = client.get_multiplexed_async_connection().await?;
                redis::cmd("FLUSHALL").exec_async(&mut connection).await?;
            }
            Self::StopRedis { secs } => {
                let frozen = Frozen::new(servers.redis()?.id().context("Redis runs")?)?;
                lasting(secs).await;
                frozen.thaw();
            }
            Self::RestartRedis { secs } => {
                servers.redis()?.kill();
                lasting(secs).await;
                servers.with_redis(|redis| redis.start_again()).await?;
            }
            Self::StopDatabase { secs } => {
                let frozen = Frozen::new(servers.mariadb()?.id().context("the database runs")?)?;
                lasting(secs).await;
                frozen.thaw();
            }
            Self::RestartDatabase { secs } => {
                servers.mariadb()?.kill();
                lasting(secs).await;
                servers.with_mariadb(|mariadb| mariadb.start_again()).await?;
            }
            Self::ReadOnlyDatabase { secs } => {
                servers.mariadb()?.set_read_only(true).await?;
                lasting(secs).await;
                servers.mariadb()?.set_read_only(false).await?;
            }
            Self::CutNetwork { place } => scene.places[place].doors.all().into_iter().for_each(|door| door.cut()),
            Self::CutMiddle { place, door, bytes } => {
                let way = if bytes % 2 == 0 { Way::ToService } else { Way::FromService };
                scene.places[place].doors.all()[door].cut_after(way, bytes);
            }
            Self::SlowNetwork { place, secs } => {
                let doors = scene.places[place].doors.all();
                doors.iter().for_each(|door| door.slow(BOTH_WAYS, Duration::from_millis(150)));
                lasting(secs).await;
                doors.iter().for_each(|door| door.resume());
            }
            Self::PauseNetwork { place, door, one_way, secs } => {
                let door = scene.places[place].doors.all()[door];
                let ways: &[Way] = if one_way { &[Way::FromService] } else { &BOTH_WAYS };
                door.pause(ways.iter().copied());
                lasting(secs).await;
                door.resume();
            }
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self:?}", self.kind())
    }
}

/// The length of a fault is part of it.
async fn lasting(secs: f64) {
    tokio::time::sleep(Duration::from_secs_f64(secs)).await;
}

/// Cuts the line of every page that has one.
fn drop_sockets(phones: &[(Target, Phone)]) {
    for (_, phone) in phones {
        let _ = phone.drop_connection(); // a page that is just being started has none
    }
}

/// A process of a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Main,
    Renderer,
    Utility,
}

/// A process of the browser that a session has now, if it has one.
fn find(scene: &Scene<'_>, target: &Target, part: Part) -> anyhow::Result<Option<Process>> {
    let profile = scene.stage.session_dir(target).join("profile");
    let mut processes = Process::naming(&profile)?.into_iter();
    Ok(processes.find(|process| match part {
        Part::Main => process.id == process.group && !process.command.contains("--type="),
        Part::Renderer => process.command.contains("--type=renderer"),
        Part::Utility => process.command.contains("--type=utility"),
    }))
}

fn signal(scene: &Scene<'_>, target: &Target, part: Part, signal: Signal) -> anyhow::Result<()> {
    if let Some(process) = find(scene, target, part)? {
        let _ = process.signal(signal); // it may just have ended by itself
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_seed_draws_the_same_faults_again_and_all_kinds_in_time() {
        let draw = |seed: u64| {
            let mut random = StdRng::seed_from_u64(seed);
            (0..400).map(|_| Fault::draw(&mut random, 3, 12)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let kinds: BTreeSet<_> = draw(7).iter().map(Fault::kind).collect();
        assert_eq!(kinds.len(), KINDS as usize, "{kinds:?}");
    }
}
