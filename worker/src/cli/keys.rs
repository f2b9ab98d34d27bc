//! `wafleet keys …`

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use wafleet_protocol::id::WorkspaceId;

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
}

pub(super) fn run(keys: &Keys) -> anyhow::Result<ExitCode> {
    let Keys::Generate { out, workspaces } = keys;
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
