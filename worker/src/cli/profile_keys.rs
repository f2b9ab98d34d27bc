//! The ring of profile keys: making one, who needs which key, and moving everything from one key to another.
//!
//! A change of keys has four steps, and at none of them is a saved profile unreadable:
//! a new key at the end of the ring, on every worker; the new key first; `wafleet keys rotate`; `wafleet keys retire`, and
//! the old key out of the ring.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior};
use wafleet_profile::container::{Binding, Header, Keys};
use wafleet_profile::keys::{Ring, SessionKey};

use crate::cloud::tokens;
use crate::config::{Config, Settings};
use crate::database::{CloudNumber, Database, WrappedHeader, WrappedKey};

/// AES-256 and HMAC-SHA-256 are derived from as many bytes.
const SECRET_BYTES: usize = 32;
/// Only the owner may read a key ring.
const PRIVATE: u32 = 0o600;
/// Rows read at once.
const PAGE: u32 = 100;
/// How often the progress is told.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Makes a ring, or one with all the keys of another and a new one at its end.
pub(super) fn generate(out: &Path, keep: Option<&PathBuf>, id: Option<String>) -> anyhow::Result<ExitCode> {
    let mut keys: Vec<Value> = Vec::new();
    if let Some(old) = keep {
        let text = std::fs::read_to_string(old).with_context(|| format!("cannot read {}", old.display()))?;
        Ring::parse(&text)?;
        let ring: Value = serde_json::from_str(&text)?;
        keys.extend(ring["keys"].as_array().into_iter().flatten().cloned());
    }
    let id = id.unwrap_or_else(|| format!("profile-{}", time::OffsetDateTime::now_utc().date()));
    keys.push(json!({ "id": id, "secret": STANDARD.encode(rand::random::<[u8; SECRET_BYTES]>()) }));
    let text = format!("{:#}\n", json!({ "keys": keys }));
    Ring::parse(&text)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(out);
    let mut file = file.with_context(|| format!("cannot make {}", out.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", out.display()))?;
    println!("wrote {} with {} key(s), readable by its owner only; the new one is {id}", out.display(), keys.len());
    println!("without these keys no saved profile can be read: keep a copy away from the database's backups");
    Ok(ExitCode::SUCCESS)
}

/// Says which key wraps how much.
pub(super) async fn list(settings: &Settings) -> anyhow::Result<ExitCode> {
    let (database, ring) = open(settings)?;
    let mut used: BTreeMap<String, (u64, u64, u64)> = ring.ids().map(|id| (id.to_owned(), (0, 0, 0))).collect();
    for key in database.profile_key_use().await? {
        used.insert(key.key_id, (key.snapshots, key.session_keys, key.cloud_tokens));
    }
    println!("{:<32} {:>10} {:>14} {:>14}   standing", "key", "snapshots", "session keys", "cloud tokens");
    let mut missing = false;
    for (id, (snapshots, session_keys, tokens)) in used {
        let standing = if ring.sealing_id() == id {
            "seals"
        } else if ring.ids().any(|known| known == id) {
            "opens"
        } else {
            missing = true;
            "MISSING from the ring: what it wraps cannot be read"
        };
        println!("{id:<32} {snapshots:>10} {session_keys:>14} {tokens:>14}   {standing}");
    }
    Ok(if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Wraps everything with one key.
pub(super) async fn rotate(settings: &Settings, to: Option<String>, rate: u32) -> anyhow::Result<ExitCode> {
    let (database, ring) = open(settings)?;
    let to = to.unwrap_or_else(|| ring.sealing_id().to_owned());
    let ring = ring.sealing_with(&to).with_context(|| format!("the ring has no key {to}"))?;
    let total: u64 = database
        .profile_key_use()
        .await?
        .into_iter()
        .filter(|key| key.key_id != to)
        .map(|key| key.snapshots + key.session_keys + key.cloud_tokens)
        .sum();
    println!("{total} row(s) to wrap with {to}");
    let mut pace = tokio::time::interval(Duration::from_secs(1) / rate);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rotation = Rotation { database, ring, to, pace, total, done: 0, failed: 0, told: Instant::now() };
    rotation.session_keys().await?;
    rotation.snapshots().await?;
    rotation.cloud_tokens().await?;
    println!("{} row(s) wrapped with {}, {} failed", rotation.done, rotation.to, rotation.failed);
    Ok(if rotation.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says whether a key may leave the ring, and why not.
pub(super) async fn retire(settings: &Settings, id: &str) -> anyhow::Result<ExitCode> {
    let (database, ring) = open(settings)?;
    if ring.sealing_id() == id {
        bail!("{id} seals: put another key first in the ring, on every worker, and rotate");
    }
    let used = database.profile_key_use().await?.into_iter().find(|key| key.key_id == id);
    if let Some(used) = used {
        bail!(
            "{id} still wraps {} snapshot(s), {} session key(s) and {} Cloud API token(s): run `wafleet keys rotate`",
            used.snapshots,
            used.session_keys,
            used.cloud_tokens
        );
    }
    ensure!(ring.ids().any(|known| known == id), "the ring has no key {id}, and nothing needs it");
    println!("nothing in the database needs {id}: take it out of the ring of every worker");
    println!(
        "keep it, away from the workers, for as long as a backup of the database is kept that was made before now"
    );
    Ok(ExitCode::SUCCESS)
}

fn open(settings: &Settings) -> anyhow::Result<(Database, Ring)> {
    let (url, ring) = Config::for_profile_keys(settings)?;
    Ok((Database::new(&url)?, ring))
}

struct Rotation {
    database: Database,
    ring: Ring,
    to: String,
    pace: Interval,
    total: u64,
    done: u64,
    failed: u64,
    told: Instant,
}

impl Rotation {
    async fn session_keys(&mut self) -> anyhow::Result<()> {
        let mut after = String::new();
        loop {
            let page = self.database.session_keys_not_under(&self.to, &after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.session_id);
            for row in &page {
                self.pace.tick().await;
                match self.session_key(row) {
                    Ok(key) => {
                        let (workspace, session) = (row.workspace_id, row.session_id.as_str());
                        let wrapped = key.wrap(&self.ring, workspace, session, &mut rand::rng());
                        let changed = self.database.rewrap_session_key(row, &self.to, &wrapped).await?;
                        self.count(changed);
                    }
                    Err(error) => self.fail(&format!("the key of session {}", row.session_id), &error),
                }
            }
        }
    }

    async fn snapshots(&mut self) -> anyhow::Result<()> {
        let mut after = 0;
        loop {
            let page = self.database.snapshots_not_under(&self.to, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            for row in &page {
                self.pace.tick().await;
                match self.rewrap(row) {
                    Ok(header) => {
                        let changed = self.database.rewrap_snapshot(row, &self.to, &header.to_bytes()).await?;
                        self.count(changed);
                    }
                    Err(error) => {
                        let what = format!("generation {} of session {}", row.generation, row.session.session_id);
                        self.fail(&what, &error);
                    }
                }
            }
        }
    }

    async fn cloud_tokens(&mut self) -> anyhow::Result<()> {
        let mut after = String::new();
        loop {
            let page = self.database.cloud_tokens_not_under(&self.to, &after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.number_id);
            for row in &page {
                self.pace.tick().await;
                match self.reseal(row) {
                    Ok(token) => {
                        let changed = self.database.reseal_cloud_token(row, &self.to, &token).await?;
                        self.count(changed);
                    }
                    Err(error) => self.fail(&format!("the token of number {}", row.number_id), &error),
                }
            }
        }
    }

    fn reseal(&self, row: &CloudNumber) -> anyhow::Result<Vec<u8>> {
        let number = row.number_id.parse()?;
        let token = tokens::open(&self.ring, row.workspace_id, &number, &row.token)?;
        Ok(tokens::seal(&self.ring, row.workspace_id, &number, &token))
    }

    fn session_key(&self, row: &WrappedKey) -> anyhow::Result<SessionKey> {
        Ok(SessionKey::unwrap(&self.ring, row.workspace_id, &row.session_id, &row.wrapped)?)
    }

    fn rewrap(&self, row: &WrappedHeader) -> anyhow::Result<Header> {
        let key = self.session_key(&row.session)?;
        let binding = Binding {
            workspace: row.session.workspace_id,
            session: &row.session.session_id,
            generation: row.generation,
            fence: row.fence,
        };
        let keys = Keys { ring: &self.ring, session: &key };
        Ok(Header::parse(&row.header)?.rewrap(keys, &binding, &mut rand::rng())?)
    }

    /// A row that has changed meanwhile was deleted, or wrapped by another rotation: either is as good.
    fn count(&mut self, changed: bool) {
        self.done += u64::from(changed);
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            println!("{} of {}", self.done, self.total);
        }
    }

    fn fail(&mut self, what: &str, error: &anyhow::Error) {
        self.failed += 1;
        eprintln!("{what} stays as it is: {error:#}");
    }
}
