//! Every setting of wafleet, its unit, its default and its limits, in one table. Read and checked once, at start.
//!
//! A setting `amqp_url` comes from, in this order: the environment variable `WAFLEET_AMQP_URL`; the file that
//! `WAFLEET_AMQP_URL_FILE` names (for secrets mounted as files); the key `amqp_url` of the TOML file that `--config` or
//! `WAFLEET_CONFIG` names; the default. All problems are reported at once, and a misspelt name is a problem.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;
use wafleet_browser::{Flavor, Sandbox};
use wafleet_profile::keys::Ring;
use wafleet_protocol::id::WorkerId;
use wafleet_protocol::signing::Keyring;

use crate::media::{Kept, Limits as MediaLimits};
use crate::pacing::Limits;

mod check;
mod settings;
mod table;

use check::Check;
pub use settings::Settings;
pub use table::{SETTINGS, Setting};

/// Everything that is wrong with the configuration, one line each.
#[derive(Debug, thiserror::Error)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} problem(s):", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

/// How to reach RabbitMQ.
#[derive(Clone)]
pub struct Amqp {
    /// `amqp://` or `amqps://`, password included: never printed.
    pub url: String,
    /// PEM text of an own certificate authority.
    pub ca_pem: Option<String>,
}

/// How to reach Redis, and the prefix of every key.
#[derive(Clone)]
pub struct Redis {
    /// `redis://` or `rediss://`, password included: never printed.
    pub url: String,
    /// PEM text of an own certificate authority.
    pub ca_pem: Option<Vec<u8>>,
    /// Prefix of every key, without the colon.
    pub prefix: String,
}

/// What the browser side needs to know.
#[derive(Clone)]
pub struct Browser {
    /// The Chromium ELF binary.
    pub executable: PathBuf,
    /// Which build of Chromium it is.
    pub flavor: Flavor,
    /// Whether Chromium's sandbox must be on.
    pub sandbox: Sandbox,
    /// Further flags.
    pub extra_args: Vec<String>,
    /// The page to open.
    pub site: Url,
    /// The text evaluated in the page.
    pub bundle: std::sync::Arc<str>,
    /// Upper bound of one call into the page.
    pub call_timeout: Duration,
    /// Without a sign of WhatsApp's server for so long it is asked for one.
    pub quiet: Duration,
    /// Without WhatsApp's acknowledgement for so long a message counts as stalled.
    pub stalled: Duration,
}

/// Where saved profiles go instead of into the database.
#[derive(Clone)]
pub struct ObjectStore {
    /// The bucket, which must exist.
    pub bucket: String,
    /// Beginning of every key, without a slash at the end; may be empty.
    pub prefix: String,
    /// A store that is not Amazon's.
    pub endpoint: Option<Url>,
    /// The bucket's region.
    pub region: String,
    /// PEM text of an own certificate authority.
    pub ca_pem: Option<Vec<u8>>,
    /// Never printed.
    pub access_key_id: String,
    /// Never printed.
    pub secret_access_key: String,
}

/// How Meta's Cloud API is used.
#[derive(Clone)]
pub struct Cloud {
    /// The Graph API.
    pub url: Url,
    /// Its version.
    pub version: String,
    /// Upper bound of one request.
    pub limit: Duration,
    /// Pause between two messages to one recipient.
    pub pair_pause: Duration,
    /// Messages to one recipient without that pause.
    pub pair_burst: u32,
    /// Failures in a row after which a provider is left alone.
    pub breaker_failures: u32,
    /// For how long.
    pub breaker_pause: Duration,
}

/// The settings of one worker process, checked.
#[derive(Clone)]
pub struct Config {
    /// RabbitMQ.
    pub amqp: Amqp,
    /// Redis.
    pub redis: Redis,
    /// `mysql://…`, password included: never printed.
    pub database_url: String,
    /// The keys that sign and verify.
    pub keyring: std::sync::Arc<Keyring>,
    /// This process.
    pub worker_id: WorkerId,
    /// Root of the profiles: `<root>/<workspace>/<session>/`.
    pub profile_root: PathBuf,
    /// The keys that seal saved profiles; without them none is saved.
    pub profile_keys: Option<std::sync::Arc<Ring>>,
    /// How often the profile of a connected session is saved; `None`: only when its browser is closed anyway.
    pub safety_copy: Option<Duration>,
    /// Where events wait for the broker.
    pub spool_dir: PathBuf,
    /// How many bytes of them.
    pub spool_bytes: u64,
    /// Bytes a session's directory may hold.
    pub profile_quota: u64,
    /// Where saved profiles go instead of into the database.
    pub object_store: Option<ObjectStore>,
    /// What files may be fetched.
    pub media: MediaLimits,
    /// What is kept of received files.
    pub kept: Kept,
    /// Whether a newly linked session tells its past by itself.
    pub sync_after_linking: bool,
    /// Pause between two questions of a sync, at least.
    pub sync_pause: Duration,
    /// Where the heartbeat file goes.
    pub runtime_dir: PathBuf,
    /// Sessions owned at most.
    pub capacity: usize,
    /// Life of a lease without renewal.
    pub lease_ttl: Duration,
    /// Pause between two claim ticks.
    pub claim_interval: Duration,
    /// How long a session stays before it may be handed over to even out the load.
    pub min_stay: Duration,
    /// Time that a drain may take.
    pub drain: Duration,
    /// The browser side.
    pub browser: Browser,
    /// QR generations per workspace and hour.
    pub qr_generations_per_hour: u32,
    /// `session.*` commands per key and minute.
    pub control_per_minute: u32,
    /// What a session may send, unless it has limits of its own.
    pub(crate) limits: Limits,
    /// How long a dead letter stays in the archive.
    pub dead_letter_retention: Duration,
    /// Meta's Cloud API.
    pub cloud: Cloud,
}

/// What an erasure reaches.
pub struct Erasing {
    /// `mysql://…`, password included: never printed.
    pub database_url: String,
    /// Where the leases are.
    pub redis: Redis,
    /// Root of the profiles on this machine.
    pub profile_root: PathBuf,
    /// Where saved profiles may lie.
    pub object_store: Option<ObjectStore>,
}

impl Config {
    /// Checks everything a worker needs. `worker_id` falls back to `<host>/<random>`, new at each start, because a restarted
    /// worker must not inherit its predecessor's leases by name.
    ///
    /// # Errors
    /// All problems at once.
    pub fn for_worker(settings: &Settings) -> Result<Self, ConfigErrors> {
        let mut check = Check { settings, problems: settings.problems.clone() };
        let amqp = check.amqp();
        let redis = check.redis();
        let database_url = check.url("database_url", &["mysql", "mariadb"]);
        let keyring = check.keyring();
        let worker_id = check.worker_id();
        let browser = check.browser();
        let profile_keys = check.profile_keys();
        let profile_root = PathBuf::from(check.text("profile_root"));
        let profile_quota = check.number("profile_quota_mb", 20..=10_000) * 1_000_000;
        let object_store = check.object_store();
        let media = check.media();
        let kept = check.kept();
        let sync_after_linking = check.switch("sync_after_linking");
        let sync_pause = Duration::from_millis(check.number("sync_pause_ms", 0..=60_000));
        let safety_copy = check.number("safety_copy_secs", 0..=604_800);
        let spool_dir = PathBuf::from(check.text("event_spool_dir"));
        let spool_bytes = check.number("event_spool_bytes", 65_536..=68_719_476_736);
        let runtime_dir = PathBuf::from(check.text("runtime_dir"));
        let capacity = check.number("capacity", 1..=500) as usize;
        let lease_ttl = Duration::from_secs(check.number("lease_ttl_secs", 3..=120));
        let claim_interval = Duration::from_millis(check.number("claim_interval_ms", 50..=60_000));
        let min_stay = Duration::from_secs(check.number("min_stay_secs", 0..=86_400));
        let drain = Duration::from_secs(check.number("drain_secs", 1..=600));
        let qr_generations_per_hour = check.number("qr_generations_per_hour", 1..=100) as u32;
        let control_per_minute = check.number("control_per_minute", 1..=100_000) as u32;
        let limits = check.limits();
        let dead_letter_retention = Duration::from_secs(check.number("dead_letter_days", 1..=365) * 24 * 3600);
        let cloud = check.cloud();
        match (amqp, redis, database_url, keyring, worker_id, browser, cloud, check.problems.is_empty()) {
            (
                Some(amqp),
                Some(redis),
                Some(database_url),
                Some(keyring),
                Some(worker_id),
                Some(browser),
                Some(cloud),
                true,
            ) => Ok(Self {
                amqp,
                redis,
                database_url,
                keyring: keyring.into(),
                worker_id,
                profile_root,
                profile_keys: profile_keys.map(Into::into),
                profile_quota,
                object_store,
                media,
                kept,
                sync_after_linking,
                sync_pause,
                safety_copy: (safety_copy > 0).then(|| Duration::from_secs(safety_copy)),
                spool_dir,
                spool_bytes,
                runtime_dir,
                capacity,
                lease_ttl,
                claim_interval,
                min_stay,
                drain,
                browser,
                qr_generations_per_hour,
                control_per_minute,
                limits,
                dead_letter_retention,
                cloud,
            }),
            _ => Err(ConfigErrors(check.problems)),
        }
    }

    /// What a command-line client needs: the broker and the keys.
    ///
    /// # Errors
    /// All problems at once.
    pub fn for_client(settings: &Settings) -> Result<(Amqp, Keyring), ConfigErrors> {
        let mut check = Check { settings, problems: settings.problems.clone() };
        match (check.amqp(), check.keyring(), check.problems.is_empty()) {
            (Some(amqp), Some(keyring), true) => Ok((amqp, keyring)),
            _ => Err(ConfigErrors(check.problems)),
        }
    }

    /// The database URL and the ring of profile keys, for `wafleet keys`.
    ///
    /// # Errors
    /// All problems at once.
    pub fn for_profile_keys(settings: &Settings) -> Result<(String, Ring), ConfigErrors> {
        let mut check = Check { settings, problems: settings.problems.clone() };
        let (url, _) = (check.url("database_url", &["mysql", "mariadb"]), check.required("profile_keys_file"));
        match (url, check.profile_keys(), check.problems.is_empty()) {
            (Some(url), Some(ring), true) => Ok((url, ring)),
            _ => Err(ConfigErrors(check.problems)),
        }
    }

    /// What `wafleet cloud` needs: the database, the ring that seals tokens, and Meta.
    ///
    /// # Errors
    /// All problems at once.
    pub fn for_cloud(settings: &Settings) -> Result<(String, Ring, Cloud), ConfigErrors> {
        let (url, ring) = Self::for_profile_keys(settings)?;
        let mut check = Check { settings, problems: Vec::new() };
        let cloud = check.cloud();
        cloud.filter(|_| check.problems.is_empty()).map(|cloud| (url, ring, cloud)).ok_or(ConfigErrors(check.problems))
    }

    /// What `wafleet session erase` needs.
    ///
    /// # Errors
    /// All problems at once.
    pub fn for_erasure(settings: &Settings) -> Result<Erasing, ConfigErrors> {
        let mut check = Check { settings, problems: settings.problems.clone() };
        let profile_root = PathBuf::from(check.text("profile_root"));
        let (redis, object_store) = (check.redis(), check.object_store());
        match (check.url("database_url", &["mysql", "mariadb"]), redis, check.problems.is_empty()) {
            (Some(database_url), Some(redis), true) => Ok(Erasing { database_url, redis, profile_root, object_store }),
            _ => Err(ConfigErrors(check.problems)),
        }
    }

    /// The database URL alone, for `wafleet migrate`.
    ///
    /// # Errors
    /// All problems at once.
    pub fn for_migration(settings: &Settings) -> Result<String, ConfigErrors> {
        let mut check = Check { settings, problems: settings.problems.clone() };
        check
            .url("database_url", &["mysql", "mariadb"])
            .filter(|_| check.problems.is_empty())
            .ok_or(ConfigErrors(check.problems))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings::read(None, pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
            .expect("no file is read")
    }

    #[test]
    fn all_problems_are_reported_at_once_and_no_secret_is_shown() {
        let settings = settings(&[
            ("WAFLEET_AMQP_URL", "http://user:hunter2@host/"),
            ("WAFLEET_CAPACITY", "0"),
            ("WAFLEET_CAPACTY", "7"),
            ("WAFLEET_REDIS_PREFIX", "a b"),
            ("WAFLEET_CHROMIUM_FLAVOR", "firefox"),
        ]);
        let text = Config::for_worker(&settings).err().expect("five problems").to_string();
        for part in [
            "amqp_url must start with",
            "capacity must be",
            "did you mean capacity",
            "redis_prefix",
            "chromium_flavor",
            "WAFLEET_DATABASE_URL is not set",
            "WAFLEET_KEYRING_FILE is not set",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_secret_can_come_from_a_file_but_not_from_two_places() {
        let path = std::env::temp_dir().join(format!("wafleet-config-test-{}", std::process::id()));
        std::fs::write(&path, "mysql://u:p@127.0.0.1/db\n").expect("temporary file");
        let path_text = path.display().to_string();
        let one = settings(&[("WAFLEET_DATABASE_URL_FILE", &path_text)]);
        assert_eq!(Config::for_migration(&one).expect("one source"), "mysql://u:p@127.0.0.1/db");
        let two = settings(&[("WAFLEET_DATABASE_URL_FILE", &path_text), ("WAFLEET_DATABASE_URL", "mysql://x/y")]);
        assert!(Config::for_migration(&two).expect_err("two sources").to_string().contains("both set"));
        std::fs::remove_file(path).expect("temporary file");
    }

    #[test]
    fn an_object_store_is_named_whole_or_not_at_all() {
        let stored = |pairs: &[(&str, &str)]| {
            let settings = settings(pairs);
            let mut check = Check { settings: &settings, problems: Vec::new() };
            let store = check.object_store();
            (store.map(|store| (store.bucket, store.prefix)), check.problems.join("\n"))
        };
        let (url, keys) = (
            "WAFLEET_OBJECT_STORE_URL",
            [("WAFLEET_OBJECT_STORE_ACCESS_KEY_ID", "id"), ("WAFLEET_OBJECT_STORE_SECRET_ACCESS_KEY", "hunter2")],
        );
        let named = |bucket: &str, prefix: &str| (Some((bucket.to_owned(), prefix.to_owned())), String::new());
        assert_eq!(stored(&keys), (None, String::new()));
        assert_eq!(stored(&[(url, "s3://b"), keys[0], keys[1]]), named("b", ""));
        assert_eq!(stored(&[(url, "s3://b/a/c/"), keys[0], keys[1]]), named("b", "a/c"));
        let endpoint = |address| ("WAFLEET_OBJECT_STORE_ENDPOINT", address);
        assert_eq!(stored(&[(url, "s3://b"), endpoint("http://127.0.0.1:9000"), keys[0], keys[1]]), named("b", ""));
        for (pairs, problem) in [
            (vec![(url, "https://b"), keys[0], keys[1]], "object_store_url must be"),
            (vec![(url, "s3://b"), keys[0]], "WAFLEET_OBJECT_STORE_SECRET_ACCESS_KEY is not set"),
            (
                vec![(url, "s3://b"), endpoint("http://store.example"), keys[0], keys[1]],
                "object_store_endpoint must be",
            ),
        ] {
            let (_, problems) = stored(&pairs);
            assert!(problems.contains(problem) && !problems.contains("hunter2"), "{problems}");
        }
    }
}
