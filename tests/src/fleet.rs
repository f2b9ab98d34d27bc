//! What one test has for itself on the shared services: a virtual host, a Redis prefix, a database, directories, keys,
//! and the workers it starts. Everything goes when the [`Fleet`] is dropped.

mod asking;
mod database;
mod dead_letters;
mod draft;
mod host;
mod journal;
mod letter;
mod queues;
mod records;
mod virtual_host;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wafleet_protocol::id::WorkspaceId;
use wafleet_protocol::signing::Keyring;

pub use asking::{failure, standing};
pub use database::Database;
pub use dead_letters::{DeadLetter, DeadLetters};
pub use draft::Draft;
use host::Line;
pub use host::{Host, Posted, Posting, Target, new_command_id};
pub use journal::{Entry, Journal, PATIENCE};
pub use letter::{Letter, Order, unix_now};
pub use records::{AuditRow, SessionRow};
pub use virtual_host::VirtualHost;
pub use worker::{Worker, WorkerBuilder, built};

use crate::processes;
use crate::services::{Addresses, Guard};

/// See [`processes::clear`].
const BROWSERS_END_WITHIN: Duration = Duration::from_secs(5);

/// The host application's key, for every workspace.
pub const HOST_KEY: &str = "host-1";
/// The host application's key that may speak for workspace 1 only.
pub const SCOPED_KEY: &str = "host-scoped";
/// The host application's key whose life has ended.
pub const RETIRED_KEY: &str = "host-retired";
/// The fleet's own key.
pub const FLEET_KEY: &str = "fleet-1";
/// An operator's key.
pub const OPERATOR_KEY: &str = "operator-1";

/// The key that seals the profiles of a fleet's workers.
pub const FIRST_PROFILE_KEY: &str = "profile-1";

/// One test's share of the services.
pub struct Fleet {
    name: String,
    virtual_host: VirtualHost,
    database: Database,
    redis: Redis,
    keyring: Keyring,
    data: PathBuf,
    logs: PathBuf,
    guard: Arc<Guard>,
}

/// The prefix of one test in the shared Redis.
struct Redis {
    url: String,
    prefix: String,
}

impl Fleet {
    /// Makes everything a fleet needs, migrated database included, on the services of this run.
    ///
    /// # Errors
    /// When this process does not belong to a run, or a service refuses.
    pub async fn start() -> anyhow::Result<Self> {
        Self::on(&Addresses::from_env()?).await
    }

    /// As [`start`](Self::start), on the servers at these addresses.
    ///
    /// # Errors
    /// When a service refuses.
    pub async fn on(addresses: &Addresses) -> anyhow::Result<Self> {
        let fleet = Self::without_tables(addresses).await?;
        fleet.database.migrate().await?;
        Ok(fleet)
    }

    /// As [`start`](Self::start), but with an empty database.
    ///
    /// # Errors
    /// When a service refuses.
    pub async fn without_tables(addresses: &Addresses) -> anyhow::Result<Self> {
        let name = unique_name();
        let data = addresses.directory.join("data/fleets").join(&name);
        let logs = addresses.directory.join("logs").join(&name);
        for directory in [&data, &logs] {
            std::fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
        }
        let virtual_host = VirtualHost::create(addresses, &name).await?;
        let database = Database::create(&addresses.database).await?;
        let (keyring, json) = keyring()?;
        std::fs::write(data.join(KEYRING_FILE), json)?;
        std::fs::write(data.join(PROFILE_KEYS_FILE), profile_keys(&[FIRST_PROFILE_KEY]))?;
        let redis = Redis { url: addresses.redis.clone(), prefix: name.clone() };
        let guard = Arc::new(Guard::start(None)?);
        Ok(Self { name, virtual_host, database, redis, keyring, data, logs, guard })
    }

    /// A name no other test of the run has; also the virtual host's and the prefix of the Redis keys.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The virtual host.
    pub fn virtual_host(&self) -> &VirtualHost {
        &self.virtual_host
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// `redis://…`, shared with other tests: use keys below [`redis_prefix`](Self::redis_prefix).
    pub fn redis_url(&self) -> &str {
        &self.redis.url
    }

    /// The prefix of this test's keys.
    pub fn redis_prefix(&self) -> &str {
        &self.redis.prefix
    }

    /// The leases that are held, by key, with their owners.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn leases(&self) -> anyhow::Result<Vec<(String, String)>> {
        let client = redis::Client::open(self.redis.url.as_str())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let pattern = format!("{}:lease:*", self.redis.prefix);
        let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await?;
        let mut leases = Vec::new();
        for key in keys {
            let owner: Option<String> = redis::cmd("GET").arg(&key).query_async(&mut connection).await?;
            leases.extend(owner.map(|owner| (key, owner)));
        }
        Ok(leases)
    }

    /// The keys of the host application, the fleet and an operator: [`HOST_KEY`] and the others.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The key ring as the file a worker reads.
    pub fn keyring_file(&self) -> PathBuf {
        self.data.join(KEYRING_FILE)
    }

    /// The ring of profile keys as the file a worker reads; it has [`FIRST_PROFILE_KEY`].
    pub fn profile_keys_file(&self) -> PathBuf {
        self.data.join(PROFILE_KEYS_FILE)
    }

    /// The root of the browser profiles, shared by all workers of this fleet.
    pub fn profile_root(&self) -> PathBuf {
        self.data.join("profiles")
    }

    /// A directory for whatever the test needs; goes with the fleet.
    pub fn scratch(&self) -> &Path {
        &self.data
    }

    /// Everything the workers and their browsers have written so far, for a test that looks for what must not be there.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn output(&self) -> anyhow::Result<String> {
        let mut all = String::new();
        for entry in std::fs::read_dir(&self.logs)? {
            all.push_str(&String::from_utf8_lossy(&std::fs::read(entry?.path())?));
        }
        Ok(all)
    }

    /// The host application: publishes commands, and records every event from now on.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn host(&self) -> anyhow::Result<Host> {
        Host::connect(self.virtual_host.url(), self.keyring.clone(), Line::Once).await
    }

    /// As [`host`](Self::host), but it dials again whenever its connection is lost, and publishes again what was not
    /// confirmed, as an application with an outbox does.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn lasting_host(&self) -> anyhow::Result<Host> {
        Host::connect(self.virtual_host.url(), self.keyring.clone(), Line::Lasting).await
    }

    /// A worker of this fleet, to be adjusted and started.
    pub fn worker(&self, name: &str) -> WorkerBuilder {
        WorkerBuilder::new(self, name)
    }

    pub(crate) fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    pub(crate) fn logs(&self) -> &Path {
        &self.logs
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // The database and the virtual host remove themselves.
        self.redis.clear();
        // A browser whose worker was killed ends by itself in about a second.
        processes::clear(&self.data, BROWSERS_END_WITHIN);
        if let Err(error) = std::fs::remove_dir_all(&self.data) {
            eprintln!("removing {}: {error}", self.data.display());
        }
    }
}

impl Redis {
    /// Deletes what the test left behind; on failure it stays, under a prefix nobody uses again.
    fn clear(&self) {
        let delete = || -> redis::RedisResult<()> {
            let client = redis::Client::open(self.url.as_str())?;
            let mut connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
            let keys: Vec<String> = redis::cmd("KEYS").arg(format!("{}*", self.prefix)).query(&mut connection)?;
            if !keys.is_empty() {
                redis::cmd("DEL").arg(keys).exec(&mut connection)?;
            }
            Ok(())
        };
        if let Err(error) = delete() {
            eprintln!("removing the Redis keys of {}: {error}", self.prefix);
        }
    }
}

const KEYRING_FILE: &str = "keyring.json";
const PROFILE_KEYS_FILE: &str = "profile-keys.json";

/// A ring of fresh profile keys with these ids, as the JSON text of its file.
pub fn profile_keys(ids: &[&str]) -> String {
    let key = |id: &&str| serde_json::json!({"id": id, "secret": STANDARD.encode(rand::random::<[u8; 32]>())});
    serde_json::json!({"keys": ids.iter().map(key).collect::<Vec<_>>()}).to_string()
}

/// The test's own name, made unique within the run and fit for a host name, a path and a key.
fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let test: String = std::thread::current()
        .name()
        .unwrap_or("test")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(60)
        .collect();
    format!("{test}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Fresh keys for one test, and the same as the JSON file workers read.
fn keyring() -> anyhow::Result<(Keyring, String)> {
    let key = |id: &str, role: &str, workspaces: serde_json::Value, not_after: Option<&str>| {
        let secret = STANDARD.encode(rand::random::<[u8; 32]>());
        serde_json::json!({"id": id, "role": role, "secret": secret, "workspaces": workspaces, "not_after": not_after})
    };
    let all = || serde_json::json!(["*"]);
    let json = serde_json::json!({"keys": [
        key(HOST_KEY, "commands", all(), None),
        key(SCOPED_KEY, "commands", serde_json::json!([1]), None),
        key(RETIRED_KEY, "commands", all(), Some("2020-01-01T00:00:00Z")),
        key(FLEET_KEY, "events", all(), None),
        key(OPERATOR_KEY, "ops", all(), None),
    ]})
    .to_string();
    Ok((Keyring::parse(&json)?, json))
}

/// The workspace most tests use; [`SCOPED_KEY`] may speak for it.
///
/// # Panics
/// Never: 1 is a workspace id.
pub fn first_workspace() -> WorkspaceId {
    WorkspaceId::new(1).expect("1 is a workspace id")
}
