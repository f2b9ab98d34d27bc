//! Bad input, row by row: each is refused with its own reason, recorded, counted, put on the dead-letter queue, and nothing
//! of it is executed.
//!
//! All rows go to one worker that keeps a session waiting for its phone. What nearly all of them ask for is to stop this
//! session, so that anything which slips through shows.

mod rows;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use wafleet_imitation::{Imitation, Options};
use wafleet_protocol::command::{Command, SessionStart};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{CommandResult, Envelope, Event, Outcome, ResultData, SessionStatus};
use wafleet_protocol::id::CommandId;
use wafleet_protocol::signing::{KEY_HEADER, SESSION_HEADER, SIGNATURE_HEADER, WORKSPACE_HEADER};
use wafleet_protocol::topology;
use wafleet_tests::fleet::{Database, DeadLetters, Fleet, Host, Letter, PATIENCE, Posted, SessionRow, Target, Worker};
use wafleet_tests::wait;

use rows::{Row, Table, Told, header_text};

/// The session that runs throughout.
const HELD: &str = "held";

#[tokio::test]
async fn bad_input_is_refused_for_its_own_reason_and_nothing_of_it_is_executed() -> Result<()> {
    let site = Imitation::start(Options::default()).await?;
    let fleet = Fleet::start().await?;
    let host = fleet.host().await?;
    let mut worker = fleet
        .worker("w1")
        .env("WAFLEET_SITE_URL", site.url())
        .env("WAFLEET_CONTROL_PER_MINUTE", "10000")
        .env("WAFLEET_CLAIM_INTERVAL_MS", "50")
        .spawn()?;
    worker.wait_until_ready().await?;
    let dead = host.dead_letters().await?;

    // One good command first: it is replayed and abused below.
    let start = Command::SessionStart(SessionStart::default());
    let first = host.letter(&Target::new(HELD)?, &start)?;
    ensure!(host.post(&first).await? == Posted::Routed);
    let first_id: CommandId = first.message_id.as_deref().context("a letter has an id")?.parse()?;
    let first_result = result_of(&host, 0, &first_id).await?;
    ensure!(first_result.outcome() == Some(Outcome::Succeeded), "{first_result:?}");
    let waiting_for_its_phone = |envelope: &Envelope| match &envelope.event {
        Event::SessionStatus(told) if told.status == SessionStatus::QrRequired => Some(()),
        _ => None,
    };
    host.events().wait_for("the status qr_required", waiting_for_its_phone).await?;

    let bench = Bench { fleet: &fleet, host: &host, dead: &dead, worker: &worker, mark: host.events().len() };
    let before = Standing::of(fleet.database()).await?;
    let rows = Table::new(fleet.keyring(), &Target::new(HELD)?, &first)?.rows()?;
    let mut failures = Vec::new();
    for row in &rows {
        if let Err(error) = bench.try_row(row).await {
            failures.push(format!("{}: {error:#}", row.name));
        }
    }
    for (what, result) in [
        ("the same command again", bench.try_replay(&first, &first_id, &first_result).await),
        ("a session named as a device of another system", bench.try_odd_name().await),
        ("nothing was executed", bench.check_standing(&before, &site).await),
        ("the counters", bench.check_counts(&rows).await),
        ("the totals", bench.check_totals(&rows).await),
        ("the queues", bench.check_queues().await),
        ("a good command afterwards", bench.try_good_command().await),
    ] {
        if let Err(error) = result {
            failures.push(format!("{what}: {error:#}"));
        }
    }
    ensure!(failures.is_empty(), "{} of {} rows fail:\n{}", failures.len(), rows.len(), failures.join("\n"));
    Ok(())
}

/// What every row is tried on.
struct Bench<'a> {
    fleet: &'a Fleet,
    host: &'a Host,
    dead: &'a DeadLetters,
    worker: &'a Worker,
    /// Events before the first row.
    mark: usize,
}

/// What must not change.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    sessions: Vec<SessionRow>,
    host_sessions: Vec<(String, u64, String)>,
    commands: Vec<(String, String, String)>,
}

impl Standing {
    async fn of(database: &Database) -> Result<Self> {
        Ok(Self {
            sessions: database.sessions().await?,
            host_sessions: database.host_sessions().await?,
            commands: database.commands().await?,
        })
    }
}

/// The result of a command with the envelope it came in.
#[derive(Debug)]
struct Answer {
    envelope: Envelope,
}

impl Answer {
    fn result(&self) -> Option<&CommandResult> {
        match &self.envelope.event {
            Event::CommandResult(result) => Some(result),
            _ => None,
        }
    }

    fn outcome(&self) -> Option<Outcome> {
        self.result().map(|result| result.outcome)
    }
}

async fn result_of(host: &Host, mark: usize, id: &CommandId) -> Result<Answer> {
    let find = |envelope: &Envelope| match &envelope.event {
        Event::CommandResult(result) if result.command_id == *id => Some(Answer { envelope: envelope.clone() }),
        _ => None,
    };
    host.events().wait_from(mark, &format!("result of {id}"), PATIENCE, find).await
}

impl Bench<'_> {
    async fn last_audit_id(&self) -> Result<u64> {
        Ok(self.fleet.database().audit_after(0).await?.last().map_or(0, |row| row.id))
    }

    /// Posts one letter and looks at everything that has to follow.
    async fn try_row(&self, row: &Row) -> Result<()> {
        let Row { letter, reason, .. } = row;
        let (dead_before, audit_before) = (self.dead.len(), self.last_audit_id().await?);
        let mark = self.host.events().len();
        self.host.post(letter).await?;

        let found = self.dead.wait_from(dead_before, "of this row").await?;
        let expected = Some(*reason);
        ensure!(
            found.header(topology::REASON_HEADER) == expected,
            "refused as {:?}",
            found.header(topology::REASON_HEADER)
        );
        ensure!(found.header(topology::WORKER_HEADER) == Some(self.worker.name()), "{:?}", found.headers);
        ensure!(found.header(topology::DETAIL_HEADER).is_some_and(|detail| !detail.is_empty()), "{:?}", found.headers);
        ensure!(found.routing_key == letter.routing_key, "routing key {}", found.routing_key);
        ensure!(found.header("x-wa-routing-key") == Some(letter.routing_key.as_str()), "{:?}", found.headers);
        let id = found.properties.message_id().as_ref().map(ToString::to_string);
        ensure!(id == letter.message_id, "message id {id:?}");
        let type_ = found.properties.kind().as_ref().map(ToString::to_string);
        ensure!(type_ == letter.type_, "type {type_:?}");
        if *reason == "too_large" {
            let hash: String = Sha256::digest(&letter.body).iter().map(|byte| format!("{byte:02x}")).collect();
            ensure!(found.body.is_empty(), "{} bytes of a body that is too long", found.body.len());
            ensure!(
                found.header("x-wa-body-bytes") == Some(letter.body.len().to_string().as_str()),
                "{:?}",
                found.headers
            );
            ensure!(found.header("x-wa-body-sha256") == Some(hash.as_str()), "{:?}", found.headers);
        } else {
            ensure!(found.body == letter.body, "the body differs");
        }
        if let Ok(signature) = header_text(letter, SIGNATURE_HEADER) {
            ensure!(
                found.header(SIGNATURE_HEADER) == Some(signature.as_str()),
                "the signature is not kept as evidence"
            );
        }
        ensure!(found.properties.user_id().is_none(), "user_id {:?}", found.properties.user_id());
        ensure!(found.properties.expiration().is_none(), "expiration {:?}", found.properties.expiration());
        let names = found.header_names();
        ensure!(!names.iter().any(|name| name == "CC" || name == "BCC" || name == "x-death"), "{names:?}");
        ensure!(names.len() <= 64, "{} headers", names.len());

        let audit = self.fleet.database().audit_after(audit_before).await?;
        let [refusal] = audit.as_slice() else { bail!("audit rows: {audit:?}") };
        ensure!(refusal.action == "command.rejected" && refusal.reason.as_deref() == expected, "{refusal:?}");
        let shown: Option<String> = letter
            .message_id
            .as_ref()
            .map(|id| id.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect());
        ensure!(refusal.command_id == shown, "{refusal:?}");
        match row.told {
            Told::Nobody => {
                // Where the signature matched and the key was not good for this, its holder is named.
                let key_is_at_fault = ["key_expired", "wrong_audience", "wrong_role", "foreign_scope"].contains(reason);
                let holder = header_text(letter, KEY_HEADER).map(|key| format!("key:{key}"));
                let actor = if key_is_at_fault { holder? } else { "unauthenticated".to_owned() };
                ensure!(refusal.actor == actor, "{refusal:?}");
                ensure!(refusal.workspace_id.is_none() && refusal.session_id.is_none(), "{refusal:?}");
            }
            Told::Sender(code) => {
                ensure!(refusal.actor == format!("key:{}", header_text(letter, KEY_HEADER)?), "{refusal:?}");
                let (workspace, session) =
                    (header_text(letter, WORKSPACE_HEADER)?, header_text(letter, SESSION_HEADER)?);
                ensure!(refusal.workspace_id.map(|id| id.to_string()).as_ref() == Some(&workspace), "{refusal:?}");
                ensure!(refusal.session_id.as_ref() == Some(&session), "{refusal:?}");
                let id = letter.message_id.as_deref().context("an id")?.parse()?;
                let answer = result_of(self.host, mark, &id).await?;
                let result = answer.result().context("a result")?;
                ensure!(result.outcome == Outcome::Failed, "{result:?}");
                let error = result.error.as_ref().context("a failure has an error")?;
                ensure!(error.code == code && error.message.contains(reason), "{error:?}");
                let place = (answer.envelope.workspace_id.to_string(), answer.envelope.session_id.to_string());
                ensure!(place == (workspace, session), "the result was told to {place:?}");
            }
        }
        Ok(())
    }

    /// The very same message a second time: answered as before, executed once.
    async fn try_replay(&self, letter: &Letter, id: &CommandId, first: &Answer) -> Result<()> {
        let (mark, audit_before, dead_before) =
            (self.host.events().len(), self.last_audit_id().await?, self.dead.len());
        ensure!(self.host.post(letter).await? == Posted::Routed);
        let again = result_of(self.host, mark, id).await?;
        ensure!(again.envelope.id == first.envelope.id, "another event id: {again:?}");
        ensure!(again.result() == first.result(), "another result: {again:?}");
        let audit = self.fleet.database().audit_after(audit_before).await?;
        let actions: Vec<_> = audit.iter().map(|row| (row.action.as_str(), row.command_id.as_deref())).collect();
        ensure!(actions == [("command.duplicate", Some(id.as_str()))], "{audit:?}");
        let counted = async || Ok((self.worker.count("commands.duplicate.session.start")? == 1).then_some(()));
        wait::until("the duplicate is counted", Duration::from_secs(20), counted).await?;
        ensure!(self.dead.len() == dead_before, "a duplicate is no dead letter");
        Ok(())
    }

    /// A name that means a device elsewhere has the form of a session id and is treated as one.
    async fn try_odd_name(&self) -> Result<()> {
        let (mark, dead_before) = (self.host.events().len(), self.dead.len());
        let id = self.host.send(&Target::new("CON")?, &Command::SessionStatus).await?;
        let answer = result_of(self.host, mark, &id).await?;
        let code = answer.result().and_then(|result| result.error.as_ref()).map(|error| error.code);
        ensure!(code == Some(ErrorCode::UnknownSession), "{answer:?}");
        ensure!(self.dead.len() == dead_before, "an answered command is no dead letter");
        Ok(())
    }

    async fn check_standing(&self, before: &Standing, site: &Imitation) -> Result<()> {
        let mut after = Standing::of(self.fleet.database()).await?;
        // Commands for sessions that do not exist yet are remembered, not executed: they can be replayed once they do.
        after.commands.retain(|(_, _, state)| state != "accepted" && state != "failed");
        ensure!(*before == after, "before: {before:?}\nafter: {after:?}");
        ensure!(site.sent().is_empty() && site.refused().is_empty(), "a message left");
        let starts = self.fleet.database().audit_after(0).await?;
        let acted: Vec<_> = starts.iter().filter(|row| row.action.starts_with("session.")).collect();
        ensure!(acted.len() == 1, "one session was started and nothing else: {acted:?}");
        Ok(())
    }

    /// The heartbeat file counts each reason as often as it occurred.
    async fn check_counts(&self, rows: &[Row]) -> Result<()> {
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        for row in rows {
            *expected.entry(format!("commands.rejected.{}", row.reason)).or_default() += 1;
        }
        let mut last = BTreeMap::new();
        let counted = async || {
            last = self.worker.heartbeat()?.map(|heartbeat| heartbeat.counters).unwrap_or_default();
            last.retain(|name, _| name.starts_with("commands.rejected."));
            Ok((last == expected).then_some(()))
        };
        let counted = wait::until("every refusal is counted", Duration::from_secs(20), counted).await;
        counted.with_context(|| format!("expected {expected:?}\ncounted {last:?}"))
    }

    /// As many dead letters as bad rows, and as many results as genuine ones.
    async fn check_totals(&self, rows: &[Row]) -> Result<()> {
        ensure!(self.dead.len() == rows.len(), "{} dead letters of {} rows", self.dead.len(), rows.len());
        let results: Vec<Envelope> =
            self.host.events().entries().into_iter().skip(self.mark).map(|entry| entry.envelope).collect();
        let failed = results
            .iter()
            .filter(
                |envelope| matches!(&envelope.event, Event::CommandResult(result) if result.outcome == Outcome::Failed),
            )
            .count();
        let genuine = rows.iter().filter(|row| row.told != Told::Nobody).count();
        // One more: the session with the odd name.
        ensure!(
            failed == genuine + 1,
            "{failed} failed results for {genuine} genuine rows:\n{}",
            self.host.events().describe()
        );
        let succeeded = results.iter().filter(|envelope| matches!(&envelope.event, Event::CommandResult(result) if result.outcome == Outcome::Succeeded)).count();
        ensure!(succeeded == 1, "the replay alone is answered as succeeded:\n{}", self.host.events().describe());
        self.host.events().check_order()
    }

    async fn check_queues(&self) -> Result<()> {
        let queues = self.fleet.virtual_host().queues().await?;
        for queue in queues.iter().filter(|queue| *queue != topology::DEAD) {
            self.fleet.virtual_host().wait_until_empty(queue).await?;
        }
        Ok(())
    }

    async fn try_good_command(&self) -> Result<()> {
        let health = self.worker.run(&["health", "live"]).await?;
        ensure!(health.status.success(), "{}", String::from_utf8_lossy(&health.stderr));
        let mark = self.host.events().len();
        let id = self.host.send(&Target::new(HELD)?, &Command::SessionStatus).await?;
        let answer = result_of(self.host, mark, &id).await?;
        let Some(CommandResult { outcome: Outcome::Succeeded, data: Some(ResultData::Session(told)), .. }) =
            answer.result()
        else {
            bail!("{answer:?}")
        };
        ensure!(told.status == SessionStatus::QrRequired, "{told:?}");
        Ok(())
    }
}
