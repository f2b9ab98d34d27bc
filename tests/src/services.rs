//! Private RabbitMQ, Redis and MariaDB for one test run: on free loopback ports, with their data below the target
//! directory, ended with the run however it ends.
//!
//! A run starts them once (`wafleet-services run -- …`) and its tests find them through the environment; what keeps
//! tests apart is in [`crate::fleet`]. A test that stops or reconfigures a server starts one of its own: [`OwnServices`].

mod certificates;
mod guard;
mod mariadb;
mod own;
mod process;
mod rabbitmq;
mod redis;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};

pub use certificates::Certificates;
pub use guard::Guard;
pub use mariadb::MariaDb;
pub use own::{OwnServices, Server};
pub use rabbitmq::RabbitMq;
pub use redis::Redis;

/// How many runs keep their logs. Older ones go when a new one starts.
const KEPT_RUNS: usize = 10;

/// Where the services of a run are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// `amqp://user:password@127.0.0.1:port`, without a virtual host.
    pub amqp: String,
    /// `http://user:password@127.0.0.1:port` of RabbitMQ's management API.
    pub management: String,
    /// `redis://:password@127.0.0.1:port`.
    pub redis: String,
    /// `mysql://user:password@127.0.0.1:port`, without a database; the account may create some. The server takes TLS, too.
    pub database: String,
    /// `amqps://user:password@127.0.0.1:port`: the same broker with TLS.
    pub amqps: String,
    /// `rediss://:password@127.0.0.1:port`: the same Redis with TLS.
    pub rediss: String,
    /// The certificate authority of all three, in PEM.
    pub authority: PathBuf,
    /// The directory of the run: `data/` goes with it, `logs/` stays.
    pub directory: PathBuf,
}

impl Addresses {
    /// Finds the services of the run this process belongs to.
    ///
    /// # Errors
    /// Names the variables that are missing and how to get them.
    pub fn from_env() -> anyhow::Result<Self> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let found = Self::NAMES.map(|name| lookup(name).filter(|value| !value.is_empty()));
        let missing: Vec<&str> =
            Self::NAMES.into_iter().zip(&found).filter_map(|(name, value)| value.is_none().then_some(name)).collect();
        let [
            Some(amqp),
            Some(management),
            Some(redis),
            Some(database),
            Some(amqps),
            Some(rediss),
            Some(authority),
            Some(directory),
        ] = found
        else {
            bail!(
                "no test services ({} not set): run the tests by `make test`, or one of them by\n  \
                 cargo services run -- cargo nextest run NAME",
                missing.join(", ")
            )
        };
        let (authority, directory) = (authority.into(), directory.into());
        Ok(Self { amqp, management, redis, database, amqps, rediss, authority, directory })
    }

    /// The environment by which a child process finds the same services.
    pub fn env(&self) -> [(&'static str, String); 8] {
        let values = [
            self.amqp.clone(),
            self.management.clone(),
            self.redis.clone(),
            self.database.clone(),
            self.amqps.clone(),
            self.rediss.clone(),
            self.authority.display().to_string(),
            self.directory.display().to_string(),
        ];
        let mut values = values.into_iter();
        Self::NAMES.map(|name| (name, values.next().unwrap_or_default()))
    }

    /// In the order of the fields.
    const NAMES: [&'static str; 8] = [
        "WAFLEET_TEST_AMQP_URL",
        "WAFLEET_TEST_MANAGEMENT_URL",
        "WAFLEET_TEST_REDIS_URL",
        "WAFLEET_TEST_DATABASE_URL",
        "WAFLEET_TEST_AMQPS_URL",
        "WAFLEET_TEST_REDISS_URL",
        "WAFLEET_TEST_CA_FILE",
        "WAFLEET_TEST_DIR",
    ];
}

/// The services of one run. Dropping them ends them and removes their data; the logs stay.
pub struct Services {
    rabbitmq: RabbitMq,
    redis: Redis,
    mariadb: MariaDb,
    authority: PathBuf,
    directory: PathBuf,
    // Last: it waits until the others are gone.
    guard: Arc<Guard>,
}

impl Services {
    /// Starts the three servers at the same time, below `root`, and returns when each has answered.
    ///
    /// # Errors
    /// When programs are missing (all of them are named), or one server does not come up; the others are ended then.
    pub fn start(root: &Path) -> anyhow::Result<Self> {
        check_installed()?;
        std::fs::create_dir_all(root).with_context(|| format!("creating {}", root.display()))?;
        let root = root.canonicalize()?;
        remove_old_runs(&root);

        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let directory = root.join(format!("run-{now}-{}", std::process::id()));
        let data = directory.join("data");
        let logs = directory.join("logs");
        for path in [&data, &logs] {
            std::fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))?;
        }

        let guard = Arc::new(Guard::start(Some(&data))?);
        let certificates = Certificates::make(&data.join("tls"))?;
        let (rabbitmq, redis, mariadb) = std::thread::scope(|scope| {
            let rabbitmq = scope.spawn(|| RabbitMq::start(&data.join("rabbitmq"), &logs, Some(&certificates), &guard));
            let redis = scope.spawn(|| Redis::start(&data.join("redis"), &logs, &certificates, &guard));
            let mariadb = MariaDb::start(&data.join("mariadb"), &logs, &root.join("templates"), &certificates, &guard);
            let broke = "starting a service does not panic";
            (rabbitmq.join().expect(broke), redis.join().expect(broke), mariadb)
        });
        Ok(Self {
            rabbitmq: rabbitmq?,
            redis: redis?,
            mariadb: mariadb?,
            authority: certificates.authority,
            directory,
            guard,
        })
    }

    /// The URLs of the services.
    pub fn addresses(&self) -> Addresses {
        Addresses {
            amqp: self.rabbitmq.url(),
            management: self.rabbitmq.management_url(),
            redis: self.redis.url(),
            database: self.mariadb.url(),
            amqps: self.rabbitmq.tls_url(),
            rediss: self.redis.tls_url(),
            authority: self.authority.clone(),
            directory: self.directory.clone(),
        }
    }

    /// The guard that ends the services when this process is gone; more can be given to it.
    pub fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }
}

/// Names every missing Debian package at once.
fn check_installed() -> anyhow::Result<()> {
    let missing: Vec<&str> = [
        ("rabbitmq-server", rabbitmq::is_installed()),
        ("redis-server", process::find("redis-server").is_some()),
        ("mariadb-server", process::find("mariadbd").is_some() && process::find("mariadb-install-db").is_some()),
    ]
    .into_iter()
    .filter_map(|(package, there)| (!there).then_some(package))
    .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "missing Debian packages: {0}. Run `make setup`, or: apt-get install --no-install-recommends {0}",
        missing.join(" ")
    )
}

/// Removes the logs of all but the newest finished runs. A run that still has its data is not finished.
fn remove_old_runs(root: &Path) {
    let Ok(entries) = std::fs::read_dir(root) else {
        return;
    };
    let mut finished: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("run-"))
        .map(|entry| entry.path())
        .filter(|run| !run.join("data").exists())
        .collect();
    finished.sort(); // the names begin with the time
    for run in finished.iter().rev().skip(KEPT_RUNS) {
        // Another run may be doing the same.
        let _ = std::fs::remove_dir_all(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_environment() {
        let addresses = Addresses {
            amqp: "amqp://u:p@127.0.0.1:1".into(),
            management: "http://u:p@127.0.0.1:2".into(),
            redis: "redis://:p@127.0.0.1:3".into(),
            database: "mysql://u:p@127.0.0.1:4".into(),
            amqps: "amqps://u:p@127.0.0.1:5".into(),
            rediss: "rediss://:p@127.0.0.1:6".into(),
            authority: "/some/ca.pem".into(),
            directory: "/some/where".into(),
        };
        let env = addresses.env();
        let found = Addresses::from_lookup(|name| env.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone()))
            .expect("all are set");
        assert_eq!(found, addresses);
    }

    #[test]
    fn missing_addresses_are_all_named() {
        let error = Addresses::from_lookup(|name| (name == "WAFLEET_TEST_REDIS_URL").then(|| "redis://".to_owned()))
            .expect_err("most are missing");
        let text = error.to_string();
        assert!(
            text.contains("(WAFLEET_TEST_AMQP_URL, WAFLEET_TEST_MANAGEMENT_URL, WAFLEET_TEST_DATABASE_URL, "),
            "{text}"
        );
    }
}
