//! From text to what a setting means, with everything that can be wrong about it.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;
use wafleet_browser::{Flavor, Sandbox};
use wafleet_profile::keys::Ring;
use wafleet_protocol::command::SessionLimits;
use wafleet_protocol::id::WorkerId;
use wafleet_protocol::signing::Keyring;

use super::{Amqp, Browser, Cloud, ObjectStore, Redis, SETTINGS, Settings};
use crate::media::{Converter, Guard, Kept, Limits as MediaLimits};
use crate::pacing::Limits;

/// What the values are made into, and what is wrong with them.
pub(super) struct Check<'a> {
    pub(super) settings: &'a Settings,
    pub(super) problems: Vec<String>,
}

impl Check<'_> {
    pub(super) fn text(&mut self, name: &'static str) -> String {
        self.settings.get(name).unwrap_or_default().to_owned()
    }

    pub(super) fn required(&mut self, name: &'static str) -> Option<String> {
        let value = self.settings.get(name).map(str::to_owned);
        if value.is_none() {
            let help = SETTINGS.iter().find(|setting| setting.name == name).map_or("", |setting| setting.help);
            self.problems.push(format!("WAFLEET_{} is not set ({help})", name.to_ascii_uppercase()));
        }
        value
    }

    pub(super) fn number(&mut self, name: &'static str, range: std::ops::RangeInclusive<u64>) -> u64 {
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

    pub(super) fn url(&mut self, name: &'static str, schemes: &[&str]) -> Option<String> {
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

    pub(super) fn file(&mut self, name: &'static str) -> Option<Vec<u8>> {
        let path = self.settings.get(name)?.to_owned();
        std::fs::read(&path).map_err(|error| self.problems.push(format!("{name}: cannot read {path}: {error}"))).ok()
    }

    pub(super) fn amqp(&mut self) -> Option<Amqp> {
        let ca_pem = self.file("amqp_ca_file").map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Some(Amqp { url: self.url("amqp_url", &["amqp", "amqps"])?, ca_pem })
    }

    pub(super) fn redis(&mut self) -> Option<Redis> {
        let ca_pem = self.file("redis_ca_file");
        let prefix = self.text("redis_prefix");
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            self.problems.push(format!("redis_prefix must be letters, digits, '.', '_' or '-', not {prefix:?}"));
        }
        Some(Redis { url: self.url("redis_url", &["redis", "rediss"])?, ca_pem, prefix })
    }

    pub(super) fn keyring(&mut self) -> Option<Keyring> {
        let path = self.required("keyring_file")?;
        let text = std::fs::read_to_string(&path)
            .map_err(|error| self.problems.push(format!("keyring_file: cannot read {path}: {error}")))
            .ok()?;
        Keyring::parse(&text).map_err(|error| self.problems.push(format!("keyring_file {path}: {error}"))).ok()
    }

    pub(super) fn profile_keys(&mut self) -> Option<Ring> {
        let path = self.settings.get("profile_keys_file")?.to_owned();
        let text = std::fs::read_to_string(&path)
            .map_err(|error| self.problems.push(format!("profile_keys_file: cannot read {path}: {error}")))
            .ok()?;
        Ring::parse(&text).map_err(|error| self.problems.push(format!("profile_keys_file {path}: {error}"))).ok()
    }

    pub(super) fn media(&mut self) -> MediaLimits {
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

    pub(super) fn switch(&mut self, name: &'static str) -> bool {
        let text = self.text(name);
        if !["on", "off"].contains(&text.as_str()) {
            self.problems.push(format!("{name} must be on or off, not {text:?}"));
        }
        text == "on"
    }

    pub(super) fn kept(&mut self) -> Kept {
        Kept {
            largest: self.number("media_keep_mb", 1..=2_000) * 1_000_000,
            at_once: self.number("media_downloads", 1..=64) as usize,
            in_flight: self.number("media_downloads_mb", 1..=16_000) * 1_000_000,
            keep: Duration::from_secs(self.number("media_keep_days", 1..=3_650) * 24 * 3600),
        }
    }

    pub(super) fn object_store(&mut self) -> Option<ObjectStore> {
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

    pub(super) fn worker_id(&mut self) -> Option<WorkerId> {
        let name = self.settings.get("worker_id").map_or_else(default_worker_id, str::to_owned);
        name.parse().map_err(|error| self.problems.push(format!("worker_id: {error}"))).ok()
    }

    pub(super) fn limits(&mut self) -> Limits {
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

    pub(super) fn cloud(&mut self) -> Option<Cloud> {
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

    pub(super) fn browser(&mut self) -> Option<Browser> {
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
