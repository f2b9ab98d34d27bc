//! `wafleet dlq …`: what operators do with dead letters. They work on the archive in the database; the queue itself
//! belongs to the workers, which move every letter into the archive.

mod choose;
mod reissue;
mod replay;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use crate::config::{Config, Settings};
use crate::database::{Database, Decision, LetterState};
use choose::{Choice, Selected, parse_duration};

/// Letters read from the database at once.
const PAGE: u32 = 50;
/// How long another replay or drop is waited for. One that was killed lets go at once.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Subcommand)]
pub(super) enum Dlq {
    /// List dead letters, oldest first. Shows no message text.
    #[command(after_help = "Examples:\n  wafleet dlq list --reason unknown_session --since 2h\n  \
                            wafleet dlq list --state all --session shop --json | jq .reason")]
    List {
        #[command(flatten)]
        choice: Choice,
        /// Show at most so many.
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: u64,
        /// Go on after this letter.
        #[arg(long, default_value_t = 0, value_name = "LETTER")]
        after: u64,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Show everything about one letter.
    Show {
        /// The letter's number, from `wafleet dlq list`.
        letter: u64,
        /// Show the body too. It holds what people wrote to each other: mind who sees the screen.
        #[arg(long)]
        body: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Publish commands again: the same id and body, signed anew by the operator's key, with a new life.
    ///
    /// A command that did succeed is not executed again: its recorded result is told once more. An interrupted replay can
    /// be run again. Letters whose signature does not verify are never replayed.
    #[command(
        after_help = "Examples:\n  wafleet dlq replay --reason unknown_session --session shop --why 'session was not started' --dry-run\n  \
                            wafleet dlq replay --id 17 --id 18 --why 'ticket 4711'"
    )]
    Replay {
        #[command(flatten)]
        choice: Choice,
        #[command(flatten)]
        acting: Acting,
        /// Replay at most so many a second.
        #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rate: u32,
        /// How long the commands may live from now, e.g. 10m, 24h, 7d (default: as long as is usual for each).
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        valid_for: Option<Duration>,
    },
    /// Decide that letters will not be replayed. They stay in the archive until their time is over.
    #[command(
        after_help = "Example:\n  wafleet dlq drop --reason expired --until 2026-11-01T00:00:00Z --why 'too late to matter'"
    )]
    Drop {
        #[command(flatten)]
        choice: Choice,
        #[command(flatten)]
        acting: Acting,
    },
    /// Write letters, bodies included, as JSON lines.
    #[command(after_help = "Example:\n  wafleet dlq export --state all --since 30d --out letters.jsonl")]
    Export {
        #[command(flatten)]
        choice: Choice,
        /// Write at most so many.
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        /// A new file, readable by its owner only (default: standard output).
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// What replaying and dropping have in common.
#[derive(Debug, Args)]
pub(super) struct Acting {
    /// Why, for the audit trail.
    #[arg(long)]
    why: String,
    /// Who (default: $USER, else, for a replay, the id of the operator's key).
    #[arg(long)]
    by: Option<String>,
    /// Act on at most so many letters.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Act although nothing restricts which letters are meant.
    #[arg(long)]
    all: bool,
    /// Only tell what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Results as JSON lines.
    #[arg(long)]
    json: bool,
}

impl Acting {
    /// Who decides and why, fit for the audit trail.
    fn decision(&self, key: Option<&str>) -> anyhow::Result<Decision> {
        let user = std::env::var("USER").ok().filter(|user| !user.trim().is_empty());
        let by = self.by.clone().or(user).or_else(|| key.map(str::to_owned)).context("say who decides: --by NAME")?;
        for (name, text, most) in [("--why", &self.why, 512), ("--by", &by, 100)] {
            if text.trim().is_empty() || text.chars().count() > most || text.chars().any(char::is_control) {
                bail!("{name} must be one line of 1 to {most} characters");
            }
        }
        Ok(Decision { by, why: self.why.clone() })
    }
}

pub(super) async fn run(command: Dlq, settings: &Settings) -> anyhow::Result<ExitCode> {
    let database = Database::new(&Config::for_migration(settings)?)?;
    let code = match command {
        Dlq::List { choice, limit, after, json } => show::list(&database, &choice.filter()?, after, limit, json).await,
        Dlq::Show { letter, body, json } => show::one(&database, letter, body, json).await,
        Dlq::Export { choice, limit, out } => show::export(&database, &choice.filter()?, limit, out.as_deref()).await,
        Dlq::Replay { choice, acting, rate, valid_for } => {
            replay::run(&database, settings, &choice, &acting, rate, valid_for).await
        }
        Dlq::Drop { choice, acting } => drop_letters(&database, &choice, &acting).await,
    };
    database.close().await;
    code
}

async fn drop_letters(database: &Database, choice: &Choice, acting: &Acting) -> anyhow::Result<ExitCode> {
    let selected = Selected::by(database, choice, LetterState::New, acting.all).await?;
    let decision = acting.decision(None)?;
    let meant = selected.count.min(acting.limit.unwrap_or(u64::MAX));
    if acting.dry_run {
        show::told(acting.json, "would_drop", meant, &format!("{meant} letters would be dropped"));
        return Ok(ExitCode::SUCCESS);
    }
    let Some(_lock) = database.lock_letters(LOCK_PATIENCE).await? else {
        bail!("another replay or drop is running");
    };
    let limit = acting.limit.unwrap_or(u64::MAX);
    let dropped = database.drop_letters(&selected.filter, selected.last, limit, &decision).await?;
    show::told(acting.json, "dropped", dropped, &format!("{dropped} letters dropped"));
    Ok(ExitCode::SUCCESS)
}
