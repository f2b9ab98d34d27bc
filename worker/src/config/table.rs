//! The table of all settings.

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
