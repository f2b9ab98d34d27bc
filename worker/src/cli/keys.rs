//! `wafleet keys …`

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use wafleet_protocol::id::WorkspaceId;

use super::profile_keys;
use crate::config::Settings;

/// Bytes of a new secret: as many as SHA-256 yields.
const SECRET_BYTES: usize = 32;
/// Only the owner may read a key ring.
const PRIVATE: u32 = 0o600;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Keys {
    /// Make a new key ring with one key for each role: commands (signs what the host asks), events (signs what the fleet
    /// tells) and ops (signs what operators do).
    #[command(
        after_help = "The host application needs the secrets of its commands key (to sign) and of the events key (to verify).\n\
                            Workers need the whole file: WAFLEET_KEYRING_FILE=keyring.json"
    )]
    Generate {
        /// Where to write it; must not exist yet.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Workspaces the commands key may speak for (default: all).
        #[arg(long, value_delimiter = ',', value_name = "ID,…")]
        workspaces: Vec<WorkspaceId>,
    },
    /// Make a ring of profile keys, which seal the saved profiles of sessions.
    #[command(after_help = "A change of keys, with no saved profile unreadable at any moment:\n  \
                      1. wafleet keys profile-generate --keep profile-keys.json --out new.json   (the new key is the last)\n  \
                      2. give new.json to every worker; then move the new key to the front, and give it to them again\n  \
                      3. wafleet keys rotate\n  \
                      4. wafleet keys retire OLD-ID; then take the old key out")]
    ProfileGenerate {
        /// Where to write it; must not exist yet.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Take over the keys of this ring, and put the new one behind them.
        #[arg(long, value_name = "FILE")]
        keep: Option<PathBuf>,
        /// The new key's id (default: profile- and the date).
        #[arg(long)]
        id: Option<String>,
    },
    /// List the profile keys and how much each of them wraps. Fails when one is missing.
    List,
    /// Wrap the keys of all saved profiles with one profile key. May be ended at any moment and run again, beside workers.
    Rotate {
        /// The key to wrap with (default: the first of the ring).
        #[arg(long, value_name = "ID")]
        to: Option<String>,
        /// Rows a second at most.
        #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rate: u32,
    },
    /// Check that a profile key is needed by nothing in the database, so that it may leave the ring. Fails when it is.
    Retire {
        /// The key.
        id: String,
    },
}

pub(super) async fn run(keys: Keys, settings: &Settings) -> anyhow::Result<ExitCode> {
    match keys {
        Keys::Generate { out, workspaces } => generate(&out, &workspaces),
        Keys::ProfileGenerate { out, keep, id } => profile_keys::generate(&out, keep.as_ref(), id),
        Keys::List => profile_keys::list(settings).await,
        Keys::Rotate { to, rate } => profile_keys::rotate(settings, to, rate).await,
        Keys::Retire { id } => profile_keys::retire(settings, &id).await,
    }
}

fn generate(out: &Path, workspaces: &[WorkspaceId]) -> anyhow::Result<ExitCode> {
    let all = json!(["*"]);
    let scope = if workspaces.is_empty() { all.clone() } else { json!(workspaces) };
    let month = &time::OffsetDateTime::now_utc().date().to_string()[..7];
    let key = |role: &str, prefix: &str, scope: &serde_json::Value| {
        json!({
            "id": format!("{prefix}-{month}"),
            "role": role,
            "secret": STANDARD.encode(rand::random::<[u8; SECRET_BYTES]>()),
            "workspaces": scope,
            "not_after": null,
        })
    };
    let ring = json!({ "keys": [key("commands", "cmd", &scope), key("events", "evt", &all), key("ops", "ops", &all)] });
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(out);
    let file = file.as_mut().map_err(|error| anyhow::anyhow!("cannot make {}: {error}", out.display()))?;
    file.write_all(format!("{ring:#}\n").as_bytes()).with_context(|| format!("cannot write {}", out.display()))?;
    println!("wrote {} with 3 keys, readable by its owner only", out.display());
    Ok(ExitCode::SUCCESS)
}
