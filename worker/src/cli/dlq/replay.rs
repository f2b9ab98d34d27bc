//! `wafleet dlq replay`, so that it can be killed at any moment.
//!
//! ```text
//! for each letter, oldest first:  its times are written ─▶ published ─▶ confirmed ─▶ marked as replayed
//! ```
//! A letter that was published and not marked is published again by the next run, with the same times and so as the same
//! message; the ledger knows its command and answers instead of executing twice.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::time::{MissedTickBehavior, interval};
use ulid::Ulid;
use wafleet_protocol::signing::{Keyring, MAX_LIFETIME_SECS, Role};

use super::choose::{Choice, Selected};
use super::reissue::{Refusal, Reissue};
use super::show::{self, name};
use super::{Acting, LOCK_PATIENCE, PAGE};
use crate::cli::client::Client;
use crate::config::{Config, Settings};
use crate::database::{ArchivedLetter, Audit, Database, Decision, LetterState};
use crate::world::{unix_ms, unix_secs};

/// How often progress is told where nobody can see a line change.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// What became of the letters so far.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    replayed: u64,
    refused: u64,
}

/// One run.
struct Run<'a> {
    database: &'a Database,
    keyring: &'a Keyring,
    decision: &'a Decision,
    json: bool,
    valid_for: Option<Duration>,
    id: String,
}

pub(super) async fn run(
    database: &Database,
    settings: &Settings,
    choice: &Choice,
    acting: &Acting,
    rate: u32,
    valid_for: Option<Duration>,
) -> anyhow::Result<ExitCode> {
    ensure!(
        valid_for.is_none_or(|life| life.as_secs() <= MAX_LIFETIME_SECS),
        "--valid-for: a command lives for 30 days at most"
    );
    let (_, keyring) = Config::for_client(settings)?;
    let now = unix_secs();
    let operator = keyring.keys().iter().find(|key| key.role() == Role::Ops && key.is_valid_at(now));
    let operator =
        operator.context("the key ring has no ops key that is valid (see `wafleet keys generate --help`)")?;
    let decision = acting.decision(Some(operator.id().as_str()))?;
    let selected = Selected::by(database, choice, LetterState::New, acting.all).await?;
    let meant = selected.count.min(acting.limit.unwrap_or(u64::MAX));
    let id = Ulid::from_parts(unix_ms(), rand::random()).to_string();
    let run = Run { database, keyring: &keyring, decision: &decision, json: acting.json, valid_for, id };
    if acting.dry_run {
        let tally = run.each(&selected, meant, None, rate).await?;
        let text = format!("{} letters would be replayed, {} refused", tally.replayed, tally.refused);
        show::told(acting.json, "would_replay", tally.replayed, &text);
        return Ok(code(tally));
    }

    // One replay at a time: two would mix the order of a session's commands.
    let Some(_lock) = database.lock_letters(LOCK_PATIENCE).await? else { bail!("another replay or drop is running") };
    let client = Client::connect(settings).await?;
    run.audit(&selected, "dead_letters.replay", serde_json::json!({ "meant": meant })).await?;
    let done = run.each(&selected, meant, Some(&client), rate).await;
    let (tally, trouble) = match done {
        Ok(tally) => (tally, None),
        Err(stopped) => (stopped.tally, Some(stopped.error)),
    };
    let counts =
        serde_json::json!({ "count": tally.replayed, "refused": tally.refused, "complete": trouble.is_none() });
    let told = run.audit(&selected, "dead_letters.replayed", counts).await;
    let text = format!("{} letters replayed, {} refused", tally.replayed, tally.refused);
    show::told(acting.json, "replayed", tally.replayed, &text);
    match trouble {
        Some(error) => Err(error.context("the replay stopped; run it again to go on")),
        None => told.map(|()| code(tally)),
    }
}

/// A letter that was chosen and refused is no success.
fn code(tally: Tally) -> ExitCode {
    if tally.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A run that could not go on.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
struct Stopped {
    tally: Tally,
    error: anyhow::Error,
}

impl Run<'_> {
    /// Goes through the letters in their order. Without a client nothing is published and nothing written.
    async fn each(
        &self,
        selected: &Selected,
        meant: u64,
        client: Option<&Client>,
        rate: u32,
    ) -> Result<Tally, Stopped> {
        let mut tally = Tally::default();
        let mut pace = interval(Duration::from_secs(1) / rate);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut progress = Progress::of(meant, client.is_some());
        let (mut after, mut left) = (0, meant);
        while left > 0 {
            let limit = PAGE.min(u32::try_from(left).unwrap_or(PAGE));
            let page = self.database.letters(&selected.filter, after, selected.last, limit).await;
            let page = page.map_err(|error| Stopped { tally, error: error.into() })?;
            let Some(last) = page.last() else { break };
            after = last.id;
            left -= page.len() as u64;
            for archived in &page {
                let done = match Reissue::of(archived, self.keyring, unix_secs()) {
                    Err(refusal) => Ok(Err(refusal)),
                    Ok(_) if client.is_none() => Ok(Ok(())),
                    Ok(reissue) => {
                        pace.tick().await;
                        self.one(archived, &reissue, client).await
                    }
                };
                match done.map_err(|error| Stopped {
                    tally,
                    error: error.context(format!("letter {} ({})", archived.id, name(archived))),
                })? {
                    Ok(()) => tally.replayed += 1,
                    Err(refusal) => {
                        tally.refused += 1;
                        progress.interrupt();
                        show::refused(self.json, archived, &refusal);
                    }
                }
                progress.step(tally);
            }
        }
        progress.interrupt();
        Ok(tally)
    }

    async fn one(
        &self,
        archived: &ArchivedLetter,
        reissue: &Reissue<'_>,
        client: Option<&Client>,
    ) -> anyhow::Result<Result<(), Refusal>> {
        let now = unix_secs();
        let times = reissue.times(archived.prepared.as_ref(), &self.id, self.valid_for, now);
        let properties = match reissue.signed(self.keyring, &times, self.decision, now) {
            Ok(properties) => properties,
            Err(refusal) => return Ok(Err(refusal)),
        };
        ensure!(self.database.prepare_replay(archived.id, &times).await?, "somebody else has decided about it");
        if let Some(client) = client {
            client.deliver(reissue.routing_key(), reissue.body(), properties).await?;
            self.database.mark_replayed(archived.id, self.decision).await?;
        }
        Ok(Ok(()))
    }

    async fn audit(&self, selected: &Selected, action: &str, mut detail: serde_json::Value) -> anyhow::Result<()> {
        detail["why"] = self.decision.why.clone().into();
        detail["replay_id"] = self.id.clone().into();
        detail["filter"] = serde_json::to_value(&selected.filter)?;
        self.database
            .audit(&Audit {
                workspace_id: selected.filter.workspace,
                session_id: selected.filter.session.as_deref(),
                command_id: selected.filter.command.as_deref(),
                actor: format!("operator:{}", self.decision.by),
                action,
                reason: "operator",
                detail,
            })
            .await?;
        Ok(())
    }
}

/// How far a run is, on standard error: one changing line in a terminal, a line now and then elsewhere.
struct Progress {
    meant: u64,
    shown: bool,
    terminal: bool,
    told: Instant,
    open: bool,
}

impl Progress {
    fn of(meant: u64, shown: bool) -> Self {
        Self { meant, shown, terminal: std::io::stderr().is_terminal(), told: Instant::now(), open: false }
    }

    fn step(&mut self, tally: Tally) {
        let every = if self.terminal { Duration::from_millis(100) } else { TOLD_EVERY };
        if !self.shown || self.told.elapsed() < every {
            return;
        }
        self.told = Instant::now();
        let text = format!("{} of {} replayed, {} refused", tally.replayed, self.meant, tally.refused);
        if self.terminal {
            eprint!("\r{text}");
            self.open = true;
        } else {
            eprintln!("{text}");
        }
    }

    /// Ends a changing line, so that something else can be said.
    fn interrupt(&mut self) {
        if std::mem::take(&mut self.open) {
            eprintln!();
        }
    }
}
