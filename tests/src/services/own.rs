//! Servers of a test's own, for one that stops, pauses or reconfigures them. The others are those of the run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;

use super::{Addresses, Certificates, Guard, MariaDb, RabbitMq, Redis};

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The broker.
    RabbitMq,
    /// Leases and budgets.
    Redis,
    /// The database.
    MariaDb,
}

/// The servers asked for, each private to the test. Dropping it ends them and removes their data; declare it before
/// whatever uses them.
pub struct OwnServices {
    rabbitmq: Option<RabbitMq>,
    redis: Option<Redis>,
    mariadb: Option<MariaDb>,
    addresses: Addresses,
    data: PathBuf,
}

impl OwnServices {
    /// Starts the servers named. The rest of the addresses are the run's.
    ///
    /// # Errors
    /// When this process belongs to no run, or a server does not come up.
    pub async fn start(servers: &[Server]) -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("own-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (servers, run) = (servers.to_owned(), Addresses::from_env()?);
        tokio::task::spawn_blocking(move || Self::start_now(&servers, run, &name)).await?
    }

    /// Starts all three, for a program that belongs to no run, with their data and logs in `directory`; the logs stay.
    ///
    /// # Errors
    /// When a program is missing or a server does not come up.
    pub async fn all(directory: &Path) -> anyhow::Result<Self> {
        super::check_installed()?;
        std::fs::create_dir_all(directory)?;
        let directory = directory.canonicalize()?;
        let none = String::new;
        let addresses = Addresses {
            amqp: none(),
            management: none(),
            redis: none(),
            database: none(),
            amqps: none(),
            rediss: none(),
            authority: PathBuf::new(),
            directory,
        };
        let servers = [Server::RabbitMq, Server::Redis, Server::MariaDb];
        tokio::task::spawn_blocking(move || Self::start_now(&servers, addresses, "servers")).await?
    }

    fn start_now(servers: &[Server], mut addresses: Addresses, name: &str) -> anyhow::Result<Self> {
        let (data, logs) = (addresses.directory.join("data").join(name), addresses.directory.join("logs").join(name));
        std::fs::create_dir_all(&data)?;
        std::fs::create_dir_all(&logs)?;
        let guard = Arc::new(Guard::start(Some(&data))?);
        let certificates = Certificates::make(&data.join("tls"))?;
        if servers.len() == 3 {
            addresses.authority = certificates.authority.clone();
        }
        let mut own = Self { rabbitmq: None, redis: None, mariadb: None, addresses: addresses.clone(), data };
        if servers.contains(&Server::RabbitMq) {
            let rabbitmq = RabbitMq::start(&own.data.join("rabbitmq"), &logs, Some(&certificates), &guard)?;
            (addresses.amqp, addresses.amqps) = (rabbitmq.url(), rabbitmq.tls_url());
            addresses.management = rabbitmq.management_url();
            own.rabbitmq = Some(rabbitmq);
        }
        if servers.contains(&Server::Redis) {
            let redis = Redis::start(&own.data.join("redis"), &logs, &certificates, &guard)?;
            (addresses.redis, addresses.rediss) = (redis.url(), redis.tls_url());
            own.redis = Some(redis);
        }
        if servers.contains(&Server::MariaDb) {
            let templates = addresses.directory.parent().context("a run has a root")?.join("templates");
            let mariadb = MariaDb::start(&own.data.join("mariadb"), &logs, &templates, &certificates, &guard)?;
            addresses.database = mariadb.url();
            own.mariadb = Some(mariadb);
        }
        own.addresses = addresses;
        Ok(own)
    }

    /// Where the servers are: for [`Stage::set_on`](crate::stage::Stage::set_on).
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The broker.
    ///
    /// # Errors
    /// When it was not asked for.
    pub fn rabbitmq(&mut self) -> anyhow::Result<&mut RabbitMq> {
        self.rabbitmq.as_mut().context("no broker of its own was asked for")
    }

    /// Redis.
    ///
    /// # Errors
    /// When it was not asked for.
    pub fn redis(&mut self) -> anyhow::Result<&mut Redis> {
        self.redis.as_mut().context("no Redis of its own was asked for")
    }

    /// The database server.
    ///
    /// # Errors
    /// When it was not asked for.
    pub fn mariadb(&mut self) -> anyhow::Result<&mut MariaDb> {
        self.mariadb.as_mut().context("no database server of its own was asked for")
    }

    /// Does something to the broker that takes a while, such as a start, beside everything else that goes on.
    ///
    /// # Errors
    /// When it was not asked for, or what the deed says.
    pub async fn with_rabbitmq<T: Send + 'static>(
        &mut self,
        deed: impl FnOnce(&mut RabbitMq) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        aside(&mut self.rabbitmq, deed).await
    }

    /// Does something to Redis that takes a while.
    ///
    /// # Errors
    /// As for [`with_rabbitmq`](Self::with_rabbitmq).
    pub async fn with_redis<T: Send + 'static>(
        &mut self,
        deed: impl FnOnce(&mut Redis) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        aside(&mut self.redis, deed).await
    }

    /// Does something to the database server that takes a while.
    ///
    /// # Errors
    /// As for [`with_rabbitmq`](Self::with_rabbitmq).
    pub async fn with_mariadb<T: Send + 'static>(
        &mut self,
        deed: impl FnOnce(&mut MariaDb) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        aside(&mut self.mariadb, deed).await
    }
}

/// Runs a deed that blocks on a thread of its own.
async fn aside<S: Send + 'static, T: Send + 'static>(
    slot: &mut Option<S>,
    deed: impl FnOnce(&mut S) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let mut server = slot.take().context("no such server of its own was asked for")?;
    let (server, done) = tokio::task::spawn_blocking(move || {
        let done = deed(&mut server);
        (server, done)
    })
    .await?;
    *slot = Some(server);
    done
}

impl Drop for OwnServices {
    fn drop(&mut self) {
        // The guard removes the directory after the last server is gone; this only shortens the wait.
        (self.rabbitmq, self.redis, self.mariadb) = (None, None, None);
        let _ = std::fs::remove_dir_all(&self.data);
    }
}
