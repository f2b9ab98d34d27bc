//! Every setting of wafleet, its unit, its default and its limits, in one table. Read and checked once, at start.
//!
//! A setting `amqp_url` comes from, in this order: the environment variable `WAFLEET_AMQP_URL`; the file that
//! `WAFLEET_AMQP_URL_FILE` names (for secrets mounted as files); the key `amqp_url` of the TOML file that `--config` or
//! `WAFLEET_CONFIG` names; the default. All problems are reported at once, and a misspelt name is a problem.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;
use wafleet_browser::{Flavor, Sandbox};
use wafleet_profile::keys::Ring;
use wafleet_protocol::command::SessionLimits;
use wafleet_protocol::id::WorkerId;
use wafleet_protocol::signing::Keyring;

use crate::media::{Converter, Guard, Kept, Limits as MediaLimits};
use crate::pacing::Limits;

/// What one setting is called, what it falls back to, and what it is for.
#[derive(Debug)]
pub struct Setting {
    /// Lower-case name: the TOML key, and after `WAFLEET_` in upper case the environment variable.
    pub name: &'static str,
    /// The default, or `None` when the setting is required or optional without a default.
    pub default: Option<&'static str>,
    /// Whether its value must never be printed.
    pub secret: bool,
    /// One line for `wafleet config list`.
    pub help: &'static str,
}

const fn setting(name: &'static str, default: Option<&'static str>, secret: bool, help: &'static str) -> Setting {
    Setting { name, default, secret, help }
}

/// The table of all settings.
pub const SETTINGS: &[Setting] = &[
    setting("amqp_url", None, true, "RabbitMQ: amqp://user:password@host:5672/vhost, or amqps:// for TLS"),
    setting("amqp_ca_file", None, false, "PEM file of the certificate authority for amqps:// (default: the system's)"),
    setting("redis_url", None, true, "Redis: redis://[:password@]host:6379/0, or rediss:// for TLS"),
    setting(
        "redis_ca_file",
        None,
        false,
        "PEM file of the certificate authority for rediss:// (default: the system's)",
    ),
    setting("redis_prefix", Some("wafleet"), false, "prefix of every Redis key"),
    setting(
        "database_url",
        None,
        true,
        "MySQL or MariaDB: mysql://user:password@host:3306/database[?ssl-mode=VERIFY_IDENTITY&ssl-ca=/path]",
    ),
    setting("keyring_file", None, false, "JSON file with the signing keys (see `wafleet keys generate --help`)"),
    setting("worker_id", None, false, "name of this worker (default: host name and a random boot id)"),
    setting(
        "profile_keys_file",
        None,
        false,
        "JSON file with the keys that seal saved profiles (`wafleet keys profile-generate`); not set: no profile is saved",
    ),
    setting(
        "safety_copy_secs",
        Some("3600"),
        false,
        "seconds between two saves of a connected session's profile, each a pause of some seconds; 0 to 604800, 0: only at the end",
    ),
    setting(
        "profile_quota_mb",
        Some("100"),
        false,
        "megabytes a session's directory may hold: above, its caches go, and the session is told to be degraded; 20 to 10000",
    ),
    setting(
        "object_store_url",
        None,
        false,
        "s3://bucket[/prefix] of an S3-compatible store for saved profiles; not set: they are saved as rows of the database",
    ),
    setting(
        "object_store_endpoint",
        None,
        false,
        "https://host[:port] of a store that is not Amazon's; http:// only on this machine",
    ),
    setting("object_store_region", Some("us-east-1"), false, "the bucket's region; most other stores take any"),
    setting(
        "object_store_ca_file",
        None,
        false,
        "PEM file of the certificate authority of the store (default: the system's)",
    ),
    setting("object_store_access_key_id", None, true, "access key of the store"),
    setting("object_store_secret_access_key", None, true, "secret of the access key"),
    setting(
        "media_dir",
        Some("/var/lib/wafleet/media"),
        false,
        "directory of files that are being sent or received, mode 0700",
    ),
    setting(
        "media_mb",
        Some("16"),
        false,
        "megabytes an image, a film, a sound or a sticker may have that is sent, 1 to 2000",
    ),
    setting("media_document_mb", Some("100"), false, "megabytes a document may have that is sent, 1 to 2000"),
    setting("media_secs", Some("50"), false, "seconds the file of one message may take to be fetched, 1 to 600"),
    setting(
        "media_ffmpeg",
        Some("/usr/bin/ffmpeg"),
        false,
        "the program that makes voice messages of other sounds; where it is not there, only Opus in Ogg is sent as one",
    ),
    setting("media_http", Some("off"), false, "on: files may be fetched by http://, too"),
    setting(
        "media_allowed_networks",
        None,
        false,
        "networks as address/prefix, separated by spaces, from which files may be fetched though they are not public",
    ),
    setting(
        "media_keep_days",
        Some("30"),
        false,
        "days the file of a received message stays in the object store, 1 to 3650",
    ),
    setting(
        "media_keep_mb",
        Some("100"),
        false,
        "megabytes of the largest file of a received message that is kept, 1 to 2000",
    ),
    setting("media_downloads", Some("4"), false, "files of received messages that are fetched at once, 1 to 64"),
    setting("media_downloads_mb", Some("128"), false, "megabytes of them in flight at once, 1 to 16000"),
    setting(
        "sync_after_linking",
        Some("on"),
        false,
        "on: a newly linked session tells its chats, messages and groups by itself, as after a session.sync without data",
    ),
    setting(
        "sync_pause_ms",
        Some("20"),
        false,
        "milliseconds between two questions of a sync to the page, at least; 0 to 60000",
    ),
    setting("profile_root", Some("/var/lib/wafleet/profiles"), false, "directory of the browser profiles, mode 0700"),
    setting(
        "event_spool_dir",
        Some("/var/lib/wafleet/events"),
        false,
        "directory of the events that wait for the broker, sealed with the profile keys; not used without them",
    ),
    setting(
        "event_spool_bytes",
        Some("268435456"),
        false,
        "bytes of events that may wait; from 80 % on no command is taken, 65536 to 68719476736",
    ),
    setting("runtime_dir", Some("/run/wafleet"), false, "directory of the heartbeat file that `wafleet health` reads"),
    setting("capacity", Some("50"), false, "sessions this worker owns at most, 1 to 500"),
    setting("lease_ttl_secs", Some("15"), false, "seconds a lease lives without renewal, 3 to 120"),
    setting(
        "claim_interval_ms",
        Some("2000"),
        false,
        "milliseconds between two looks at what could be claimed, 50 to 60000",
    ),
    setting(
        "min_stay_secs",
        Some("30"),
        false,
        "seconds a session stays on a worker before it may be handed over to even out the load, 0 to 86400",
    ),
    setting("drain_secs", Some("60"), false, "seconds SIGTERM gives the sessions to close, 1 to 600"),
    setting("chromium_path", None, false, "the Chromium binary (default: the flavor's Debian path)"),
    setting("chromium_flavor", Some("chromium"), false, "chromium or headless-shell"),
    setting("chromium_sandbox", Some("required"), false, "required, or off (needed as root; development only)"),
    setting("chromium_args", None, false, "further Chromium flags, separated by spaces"),
    setting("site_url", Some("https://web.whatsapp.com/"), false, "the page each session opens"),
    setting("page_bundle", None, false, "file that replaces the built-in page bundle, without a rebuild"),
    setting("page_call_timeout_secs", Some("60"), false, "seconds a call into the page may take, 5 to 300"),
    setting(
        "silence_secs",
        Some("90"),
        false,
        "seconds without a sign of WhatsApp's server before a session asks it for one, 5 to 3600",
    ),
    setting(
        "message_stalled_secs",
        Some("60"),
        false,
        "seconds without WhatsApp's acknowledgement after which an own message is told as message.stalled, 1 to 3600",
    ),
    setting("qr_generations_per_hour", Some("5"), false, "QR generations a workspace may use up in an hour, 1 to 100"),
    setting("control_per_minute", Some("100"), false, "session.* commands per signing key and minute, 1 to 100000"),
    setting("messages_per_minute", Some("20"), false, "messages a session sends in any minute; 1 to 10000000"),
    setting("messages_per_hour", Some("500"), false, "messages a session sends in any hour; 1 to 10000000"),
    setting("messages_per_day", Some("5000"), false, "messages a session sends in any 24 hours; 1 to 10000000"),
    setting(
        "urgent_reserve_percent",
        Some("25"),
        false,
        "what urgent messages may use above these three, in percent of them, 0 to 100",
    ),
    setting(
        "cold_contacts_per_day",
        Some("50"),
        false,
        "first messages of a session in any 24 hours to contacts it never exchanged one with; 0 to 10000000",
    ),
    setting(
        "number_checks_per_hour",
        Some("60"),
        false,
        "look-ups of a session in any hour of numbers that may not be on WhatsApp; 0 to 10000000",
    ),
    setting(
        "contact_messages_per_minute",
        Some("10"),
        false,
        "messages a session sends in any minute to one contact or group; 1 to 10000000",
    ),
    setting(
        "warm_up_days",
        Some("7"),
        false,
        "days in which the limits of a newly linked number grow from a tenth to the whole; 0 to 365",
    ),
    setting(
        "typing_chars_per_second",
        Some("15"),
        false,
        "characters a second that a contact sees being typed before a text, for half a second to six; urgent texts come at once, 0 to 1000, 0: all do",
    ),
    setting("dead_letter_days", Some("14"), false, "days a dead letter stays in the archive, 1 to 365"),
    setting(
        "cloud_url",
        Some("https://graph.facebook.com/"),
        false,
        "Meta's Graph API; plain http only on this machine",
    ),
    setting("cloud_version", Some("v24.0"), false, "version of the Graph API"),
    setting(
        "cloud_timeout_secs",
        Some("30"),
        false,
        "seconds a request to Meta may take, 1 to 120; then its end is unknown",
    ),
    setting(
        "cloud_pair_secs",
        Some("6"),
        false,
        "seconds between two messages of a Cloud API number to one recipient, in the long run, 0 to 3600; 0: no limit",
    ),
    setting(
        "cloud_pair_burst",
        Some("45"),
        false,
        "messages to one recipient that may go without that pause, 1 to 1000",
    ),
    setting(
        "cloud_breaker_failures",
        Some("5"),
        false,
        "failures in a row after which a provider is left alone, 1 to 1000",
    ),
    setting(
        "cloud_breaker_secs",
        Some("30"),
        false,
        "seconds a provider is left alone before it is tried again, 1 to 3600",
    ),
    setting("log", Some("info"), false, "log filter, e.g. info or wafleet=debug,info"),
    setting("log_format", Some("json"), false, "json (one object a line) or text"),
];

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

/// The raw values, before any check, with where each came from.
pub struct Settings {
    values: BTreeMap<&'static str, (String, String)>,
    problems: Vec<String>,
}

impl Settings {
    /// Collects the raw values from the environment and, if there is one, the TOML file.
    ///
    /// # Errors
    /// The file does not exist, or is not TOML. Everything else is reported by the `Config::for_…` functions.
    pub fn read(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let mut problems = Vec::new();
        let mut values = BTreeMap::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| ConfigErrors(vec![format!("cannot read {}: {error}", path.display())]))?;
            let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
                ConfigErrors(vec![format!("{} is not TOML: {}", path.display(), error.message())])
            })?;
            for (key, value) in table {
                match (known(&key), value) {
                    (None, _) => {
                        problems.push(format!("{}: there is no setting {key:?}{}", path.display(), suggestion(&key)))
                    }
                    (Some(name), toml::Value::String(text)) => {
                        drop(values.insert(name, (text, path.display().to_string())))
                    }
                    (Some(name), toml::Value::Integer(number)) => {
                        drop(values.insert(name, (number.to_string(), path.display().to_string())))
                    }
                    (Some(name), _) => {
                        problems.push(format!("{}: {name} must be a string or a whole number", path.display()))
                    }
                }
            }
        }
        // Sorted, so that of `X` and `X_FILE` the direct value comes first and the clash is seen.
        let environment: BTreeMap<String, String> =
            environment.filter(|(name, _)| name.starts_with("WAFLEET_")).collect();
        for (variable, value) in &environment {
            let key = variable["WAFLEET_".len()..].to_ascii_lowercase();
            if key == "config" || key.starts_with("test_") || value.is_empty() {
                continue; // `config` names the file itself; `WAFLEET_TEST_…` belongs to the test harness
            }
            if let Some(name) = known(&key) {
                values.insert(name, (value.clone(), variable.clone()));
            } else if let Some(name) = key.strip_suffix("_file").and_then(known) {
                if environment.get(variable.trim_end_matches("_FILE")).is_some_and(|direct| !direct.is_empty()) {
                    problems
                        .push(format!("{variable} and {} are both set: set one", variable.trim_end_matches("_FILE")));
                }
                match std::fs::read_to_string(value) {
                    Ok(text) => drop(values.insert(name, (text.trim_end().to_owned(), format!("{variable}={value}")))),
                    Err(error) => problems.push(format!("{variable}: cannot read {value}: {error}")),
                }
            } else {
                problems.push(format!("there is no setting {variable}{}", suggestion(&key)));
            }
        }
        Ok(Self { values, problems })
    }

    /// The raw value of a setting, or its default.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let setting = SETTINGS.iter().find(|setting| setting.name == name)?;
        self.values.get(setting.name).map(|(value, _)| value.as_str()).or(setting.default)
    }

    /// Each setting with its value (secrets hidden) and where it came from, for `wafleet config check`.
    pub fn describe(&self) -> impl Iterator<Item = (&'static str, String, String)> + '_ {
        SETTINGS.iter().map(|setting| match self.values.get(setting.name) {
            Some(_) if setting.secret => (setting.name, "(hidden)".to_owned(), self.values[setting.name].1.clone()),
            Some((value, source)) => (setting.name, value.clone(), source.clone()),
            None => (setting.name, setting.default.unwrap_or("(not set)").to_owned(), "default".to_owned()),
        })
    }
}

fn known(key: &str) -> Option<&'static str> {
    SETTINGS.iter().map(|setting| setting.name).find(|name| *name == key)
}

/// " (did you mean …?)" for a name that is two or fewer edits away.
fn suggestion(key: &str) -> String {
    let nearest = SETTINGS.iter().map(|setting| (edits(key, setting.name), setting.name)).min();
    nearest
        .filter(|(distance, _)| *distance <= 2)
        .map(|(_, name)| format!(" (did you mean {name}?)"))
        .unwrap_or_default()
}

fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

struct Check<'a> {
    settings: &'a Settings,
    problems: Vec<String>,
}

impl Check<'_> {
    fn text(&mut self, name: &'static str) -> String {
        self.settings.get(name).unwrap_or_default().to_owned()
    }

    fn required(&mut self, name: &'static str) -> Option<String> {
        let value = self.settings.get(name).map(str::to_owned);
        if value.is_none() {
            let help = SETTINGS.iter().find(|setting| setting.name == name).map_or("", |setting| setting.help);
            self.problems.push(format!("WAFLEET_{} is not set ({help})", name.to_ascii_uppercase()));
        }
        value
    }

    fn number(&mut self, name: &'static str, range: std::ops::RangeInclusive<u64>) -> u64 {
        let value = self.text(name);
        value.parse().ok().filter(|number| range.contains(number)).unwrap_or_else(|| {
            self.problems.push(format!(
                "{name} must be a whole number from {} to {}, not {value:?}",
                range.start(),
                range.end()
            ));
            *range.start()
        })
    }

    fn url(&mut self, name: &'static str, schemes: &[&str]) -> Option<String> {
        let value = self.required(name)?;
        // The value may hold a password, so an error never shows it.
        match Url::parse(&value) {
            Ok(url) if schemes.contains(&url.scheme()) && url.has_host() => Some(value),
            Ok(url) => {
                self.problems.push(format!(
                    "{name} must start with {}://host, it starts with {}://",
                    schemes.join(":// or "),
                    url.scheme()
                ));
                None
            }
            Err(error) => {
                self.problems.push(format!("{name} is not a URL: {error}"));
                None
            }
        }
    }

    fn file(&mut self, name: &'static str) -> Option<Vec<u8>> {
        let path = self.settings.get(name)?.to_owned();
        std::fs::read(&path).map_err(|error| self.problems.push(format!("{name}: cannot read {path}: {error}"))).ok()
    }

    fn amqp(&mut self) -> Option<Amqp> {
        let ca_pem = self.file("amqp_ca_file").map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Some(Amqp { url: self.url("amqp_url", &["amqp", "amqps"])?, ca_pem })
    }

    fn redis(&mut self) -> Option<Redis> {
        let ca_pem = self.file("redis_ca_file");
        let prefix = self.text("redis_prefix");
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            self.problems.push(format!("redis_prefix must be letters, digits, '.', '_' or '-', not {prefix:?}"));
        }
        Some(Redis { url: self.url("redis_url", &["redis", "rediss"])?, ca_pem, prefix })
    }

    fn keyring(&mut self) -> Option<Keyring> {
        let path = self.required("keyring_file")?;
        let text = std::fs::read_to_string(&path)
            .map_err(|error| self.problems.push(format!("keyring_file: cannot read {path}: {error}")))
            .ok()?;
        Keyring::parse(&text).map_err(|error| self.problems.push(format!("keyring_file {path}: {error}"))).ok()
    }

    fn profile_keys(&mut self) -> Option<Ring> {
        let path = self.settings.get("profile_keys_file")?.to_owned();
        let text = std::fs::read_to_string(&path)
            .map_err(|error| self.problems.push(format!("profile_keys_file: cannot read {path}: {error}")))
            .ok()?;
        Ring::parse(&text).map_err(|error| self.problems.push(format!("profile_keys_file {path}: {error}"))).ok()
    }

    fn media(&mut self) -> MediaLimits {
        let mut allowed = Vec::new();
        for text in self.settings.get("media_allowed_networks").unwrap_or_default().split_whitespace() {
            match text.parse() {
                Ok(network) => allowed.push(network),
                Err(error) => self.problems.push(format!("media_allowed_networks: {text:?} is {error}")),
            }
        }
        let http = self.switch("media_http");
        MediaLimits {
            dir: PathBuf::from(self.text("media_dir")),
            bytes: self.number("media_mb", 1..=2_000) * 1_000_000,
            document_bytes: self.number("media_document_mb", 1..=2_000) * 1_000_000,
            time: Duration::from_secs(self.number("media_secs", 1..=600)),
            guard: Guard { allowed, http },
            converter: Converter::new(PathBuf::from(self.text("media_ffmpeg"))),
        }
    }

    fn switch(&mut self, name: &'static str) -> bool {
        let text = self.text(name);
        if !["on", "off"].contains(&text.as_str()) {
            self.problems.push(format!("{name} must be on or off, not {text:?}"));
        }
        text == "on"
    }

    fn kept(&mut self) -> Kept {
        Kept {
            largest: self.number("media_keep_mb", 1..=2_000) * 1_000_000,
            at_once: self.number("media_downloads", 1..=64) as usize,
            in_flight: self.number("media_downloads_mb", 1..=16_000) * 1_000_000,
            keep: Duration::from_secs(self.number("media_keep_days", 1..=3_650) * 24 * 3600),
        }
    }

    fn object_store(&mut self) -> Option<ObjectStore> {
        let url = self.settings.get("object_store_url")?.to_owned();
        let parsed = Url::parse(&url).ok().filter(|url| url.scheme() == "s3");
        let bucket = parsed.as_ref().and_then(Url::host_str).map(str::to_owned);
        if bucket.is_none() {
            self.problems.push(format!("object_store_url must be s3://bucket or s3://bucket/prefix, not {url:?}"));
        }
        let prefix = parsed.map(|url| url.path().trim_matches('/').to_owned()).unwrap_or_default();
        let endpoint = self.settings.get("object_store_endpoint").map(str::to_owned).and_then(|endpoint| {
            let url = Url::parse(&endpoint).ok().filter(Url::has_host);
            let local =
                |url: &Url| url.host_str().is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host));
            match url {
                Some(url) if url.scheme() == "https" || url.scheme() == "http" && local(&url) => Some(url),
                _ => {
                    self.problems.push(format!(
                        "object_store_endpoint must be https://host, or http:// on this machine, not {endpoint:?}"
                    ));
                    None
                }
            }
        });
        let (region, ca_pem) = (self.text("object_store_region"), self.file("object_store_ca_file"));
        let access_key_id = self.required("object_store_access_key_id");
        let secret_access_key = self.required("object_store_secret_access_key");
        Some(ObjectStore {
            bucket: bucket?,
            prefix,
            endpoint,
            region,
            ca_pem,
            access_key_id: access_key_id?,
            secret_access_key: secret_access_key?,
        })
    }

    fn worker_id(&mut self) -> Option<WorkerId> {
        let name = self.settings.get("worker_id").map_or_else(default_worker_id, str::to_owned);
        name.parse().map_err(|error| self.problems.push(format!("worker_id: {error}"))).ok()
    }

    fn limits(&mut self) -> Limits {
        let most = u64::from(SessionLimits::MOST);
        Limits {
            per_minute: self.number("messages_per_minute", 1..=most) as u32,
            per_hour: self.number("messages_per_hour", 1..=most) as u32,
            per_day: self.number("messages_per_day", 1..=most) as u32,
            urgent_reserve_percent: self.number("urgent_reserve_percent", 0..=100) as u32,
            cold_per_day: self.number("cold_contacts_per_day", 0..=most) as u32,
            checks_per_hour: self.number("number_checks_per_hour", 0..=most) as u32,
            contact_per_minute: self.number("contact_messages_per_minute", 1..=most) as u32,
            warm_up_days: self.number("warm_up_days", 0..=365) as u32,
            weight: 100,
            typing_chars_per_second: self
                .number("typing_chars_per_second", 0..=u64::from(SessionLimits::FASTEST_TYPING))
                as u32,
        }
    }

    fn cloud(&mut self) -> Option<Cloud> {
        let url = self.url("cloud_url", &["http", "https"])?.parse::<Url>().ok()?;
        let here = match url.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            _ => false,
        };
        if url.scheme() == "http" && !here {
            self.problems.push("cloud_url must start with https://: a token would travel in the clear".to_owned());
        }
        let version = self.text("cloud_version");
        if !version.starts_with('v') || !version[1..].bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            self.problems.push(format!("cloud_version must be like v24.0, not {version:?}"));
        }
        Some(Cloud {
            url,
            version,
            limit: Duration::from_secs(self.number("cloud_timeout_secs", 1..=120)),
            pair_pause: Duration::from_secs(self.number("cloud_pair_secs", 0..=3600)),
            pair_burst: self.number("cloud_pair_burst", 1..=1000) as u32,
            breaker_failures: self.number("cloud_breaker_failures", 1..=1000) as u32,
            breaker_pause: Duration::from_secs(self.number("cloud_breaker_secs", 1..=3600)),
        })
    }

    fn browser(&mut self) -> Option<Browser> {
        let flavor = match self.text("chromium_flavor").as_str() {
            "chromium" => Flavor::Chromium,
            "headless-shell" => Flavor::HeadlessShell,
            other => {
                self.problems.push(format!("chromium_flavor must be chromium or headless-shell, not {other:?}"));
                Flavor::Chromium
            }
        };
        let sandbox = match self.text("chromium_sandbox").as_str() {
            "required" => Sandbox::Required,
            "off" => Sandbox::Off,
            other => {
                self.problems.push(format!("chromium_sandbox must be required or off, not {other:?}"));
                Sandbox::Required
            }
        };
        if matches!(sandbox, Sandbox::Required) && rustix::process::geteuid().is_root() {
            self.problems.push("chromium_sandbox is required, but Chromium has no sandbox for root: run as another user, or set WAFLEET_CHROMIUM_SANDBOX=off for development".to_owned());
        }
        let executable =
            self.settings.get("chromium_path").map_or_else(|| flavor.debian_executable().to_owned(), PathBuf::from);
        if !executable.is_file() {
            self.problems.push(format!(
                "chromium_path: there is no file {} (Debian: apt-get install chromium)",
                executable.display()
            ));
        }
        let site = self.text("site_url");
        let site = Url::parse(&site)
            .map_err(|error| self.problems.push(format!("site_url {site:?} is not a URL: {error}")))
            .ok();
        let bundle = match self.file("page_bundle") {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
            None => wafleet_browser::built_in_bundle().into(),
        };
        let call_timeout = Duration::from_secs(self.number("page_call_timeout_secs", 5..=300));
        let quiet = Duration::from_secs(self.number("silence_secs", 5..=3600));
        let stalled = Duration::from_secs(self.number("message_stalled_secs", 1..=3600));
        let extra_args = self.text("chromium_args").split_whitespace().map(str::to_owned).collect();
        Some(Browser { executable, flavor, sandbox, extra_args, site: site?, bundle, call_timeout, quiet, stalled })
    }
}

/// `<host>/<8 random hex digits>`.
fn default_worker_id() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String =
        host.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(64).collect();
    format!("{}/{:08x}", if host.is_empty() { "worker" } else { &host }, rand::random::<u32>())
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

    #[test]
    fn the_environment_wins_over_the_file() {
        let path = std::env::temp_dir().join(format!("wafleet-config-test-{}.toml", std::process::id()));
        std::fs::write(&path, "capacity = 3\nlog = \"debug\"\nnonsense = 1\n").expect("temporary file");
        let settings =
            Settings::read(Some(&path), [("WAFLEET_CAPACITY".to_owned(), "4".to_owned())].into_iter()).expect("TOML");
        assert_eq!((settings.get("capacity"), settings.get("log")), (Some("4"), Some("debug")));
        assert!(settings.problems.iter().any(|problem| problem.contains("nonsense")));
        std::fs::remove_file(path).expect("temporary file");
    }
}
