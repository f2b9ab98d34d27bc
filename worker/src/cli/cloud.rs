//! `wafleet cloud …`: numbers at Meta's Cloud API, and the sessions that use them.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use wafleet_cloud::client::Graph;
use wafleet_cloud::token::{MetaId, Token};
use wafleet_profile::keys::Ring;
use wafleet_protocol::id::{SessionId, WorkspaceId};

use crate::cloud::tokens;
use crate::config::{Cloud, Config, Settings};
use crate::database::{Audit, CloudNumber, Database, Role};

/// Messages a second that Meta allows a number.
const PER_SECOND: u32 = 80;
/// The same for a number that is used in the WhatsApp Business app as well.
const PER_SECOND_COEXISTING: u32 = 20;
/// Longest token file that is read.
const TOKEN_FILE_MAX: u64 = 16 * 1024;

#[derive(Debug, clap::Subcommand)]
pub(super) enum CloudCommand {
    /// Add a number, or set another token for it. The token is read from a file or from standard input, never from an argument.
    #[command(
        after_help = "Example:\n  wafleet cloud add 106540352242922 --workspace 7 < token\n  wafleet cloud bind shop --number 106540352242922 --as session"
    )]
    Add {
        /// Meta's id of the number (phone_number_id), not its digits.
        number: MetaId,
        /// The workspace it belongs to.
        #[arg(long)]
        workspace: WorkspaceId,
        /// File with the access token (default: standard input).
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// The number is used in the WhatsApp Business app as well: 20 messages a second instead of 80.
        #[arg(long)]
        coexistence: bool,
        /// Messages a second that Meta allows, if it is another figure.
        #[arg(long, value_name = "MESSAGES", conflicts_with = "coexistence", value_parser = clap::value_parser!(u32).range(1..=1000))]
        per_second: Option<u32>,
    },
    /// List the numbers, their keys, and the sessions that use them. Shows no token.
    List,
    /// Ask Meta for a number: whether its token is good.
    Test {
        /// Meta's id of the number.
        number: MetaId,
    },
    /// Forget a number and its token. No session may use it.
    Remove {
        /// Meta's id of the number.
        number: MetaId,
    },
    /// Let a session use a number of its workspace.
    #[command(
        after_help = "As `session`, the session is the number and has no browser: start it as ever. As `failover`, the number helps out,\n\
                            only with a template or within 24 hours after the recipient has written to that number. A session that runs\n\
                            keeps its browser until it is started again."
    )]
    Bind {
        /// The session.
        session: SessionId,
        /// Meta's id of the number.
        #[arg(long)]
        number: MetaId,
        /// session or failover.
        #[arg(long = "as", value_parser = ["session", "failover"])]
        role: String,
        /// With failover: seconds the browser must have been away.
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=86_400))]
        after: Option<u32>,
        /// With failover: also when the browser definitely refused the message.
        #[arg(long)]
        on_refusal: bool,
    },
    /// Take a session its number away.
    Unbind {
        /// The session.
        session: SessionId,
    },
}

pub(super) async fn run(command: CloudCommand, settings: &Settings) -> anyhow::Result<ExitCode> {
    let (url, ring, cloud) = Config::for_cloud(settings)?;
    let database = Database::new(&url)?;
    match command {
        CloudCommand::Add { number, workspace, token_file, coexistence, per_second } => {
            let token = read_token(token_file.as_ref())?;
            let usual = if coexistence { PER_SECOND_COEXISTING } else { PER_SECOND };
            let row = CloudNumber {
                number_id: number.to_string(),
                workspace_id: workspace.get(),
                per_second: per_second.unwrap_or(usual),
                key_id: ring.sealing_id().to_owned(),
                token: tokens::seal(&ring, workspace.get(), &number, &token),
            };
            ensure!(database.put_cloud_number(&row).await?, "number {number} belongs to another workspace");
            audit(&database, Some(workspace.get()), None, "cloud.token_set", &number).await?;
            println!("number {number} of workspace {workspace}: token sealed with {}", row.key_id);
        }
        CloudCommand::List => list(&database, &ring).await?,
        CloudCommand::Test { number } => return test(&database, &ring, &cloud, &number).await,
        CloudCommand::Remove { number } => {
            let known = database.cloud_number(number.as_str()).await?.context("there is no such number")?;
            ensure!(database.remove_cloud_number(number.as_str()).await?, "a session uses number {number}: unbind it");
            audit(&database, Some(known.workspace_id), None, "cloud.removed", &number).await?;
            println!(
                "number {number} and its token are forgotten; the token stays valid with Meta until it is revoked there"
            );
        }
        CloudCommand::Bind { session, number, role, after, on_refusal } => {
            let role = if role == "session" { Role::Session } else { Role::Failover };
            if role == Role::Session && (after.is_some() || on_refusal) {
                bail!("--after and --on-refusal go with --as failover");
            }
            if role == Role::Failover && after.is_none() && !on_refusal {
                bail!("say when the number helps out: --after SECONDS, --on-refusal, or both");
            }
            let bound = database.bind_cloud(session.as_str(), number.as_str(), role, after, on_refusal).await?;
            ensure!(bound, "the session's workspace has no number {number}: wafleet cloud add");
            let workspace = database.cloud_number(number.as_str()).await?.map(|number| number.workspace_id);
            audit(&database, workspace, Some(session.as_str()), "cloud.bound", &number).await?;
            println!("session {session} uses number {number} as {}", role.as_str());
        }
        CloudCommand::Unbind { session } => {
            ensure!(database.unbind_cloud(session.as_str()).await?, "session {session} uses no number");
            println!("session {session} uses no number any more");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(database: &Database, ring: &Ring) -> anyhow::Result<()> {
    println!("{:<20} {:>10} {:>6}  {:<20} {:<24} sessions", "number", "workspace", "rate", "token set", "sealed with");
    for used in database.cloud_numbers().await? {
        let number = &used.number;
        let missing = if ring.ids().any(|id| id == number.key_id) { "" } else { " (MISSING)" };
        let sessions: Vec<_> = used.sessions.iter().map(|(session, role)| format!("{session} ({role})")).collect();
        println!(
            "{:<20} {:>10} {:>4}/s  {:<20} {:<24} {}",
            number.number_id,
            number.workspace_id,
            number.per_second,
            used.token_set_at,
            format!("{}{missing}", number.key_id),
            sessions.join(", ")
        );
    }
    Ok(())
}

async fn test(database: &Database, ring: &Ring, cloud: &Cloud, id: &MetaId) -> anyhow::Result<ExitCode> {
    let number = database.cloud_number(id.as_str()).await?.context("there is no such number: wafleet cloud add")?;
    let token = tokens::open(ring, number.workspace_id, id, &number.token)?;
    let graph = Graph::new(&cloud.url, &cloud.version, cloud.limit)?;
    match graph.account(&token, id).await {
        Ok(account) => {
            let shown = |text: Option<String>| text.unwrap_or_else(|| "?".to_owned());
            println!(
                "Meta knows {id}: {}, {}, quality {}",
                shown(account.display_phone_number),
                shown(account.verified_name),
                shown(account.quality_rating)
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(fault) => {
            let code = fault.code.map(|code| format!(" (code {code})")).unwrap_or_default();
            eprintln!("{}{code}", fault.what);
            Ok(ExitCode::FAILURE)
        }
    }
}

fn read_token(file: Option<&PathBuf>) -> anyhow::Result<Token> {
    let mut text = String::new();
    match file {
        Some(path) => {
            let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            file.take(TOKEN_FILE_MAX).read_to_string(&mut text).context("the token file is no text")?;
        }
        None => {
            if std::io::stdin().is_terminal() {
                eprintln!("paste the token, then Ctrl-D:");
            }
            std::io::stdin().take(TOKEN_FILE_MAX).read_to_string(&mut text).context("standard input is no text")?;
        }
    }
    Ok(Token::new(&text)?)
}

async fn audit(
    database: &Database,
    workspace_id: Option<u64>,
    session_id: Option<&str>,
    action: &str,
    number: &MetaId,
) -> anyhow::Result<()> {
    let by = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "unknown".to_owned());
    let audit = Audit {
        workspace_id,
        session_id,
        actor: format!("operator:{by}"),
        action,
        reason: "operator",
        detail: serde_json::json!({ "number_id": number.as_str() }),
        ..Audit::default()
    };
    Ok(database.audit(&audit).await?)
}
