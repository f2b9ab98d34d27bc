//! Dead letters from end to end: archived in order, found again, replayed at most once, dropped, exported.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicNackOptions};
use serde_json::Value;
use wafleet_imitation::{Imitation, Number, Options, Phone};
use wafleet_protocol::command::{Command, MessageSend, SessionStart};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{CommandResult, Event, Outcome, SessionStatus};
use wafleet_protocol::id::CommandId;
use wafleet_protocol::lane::Lane;
use wafleet_protocol::topology;
use wafleet_tests::fleet::{
    Fleet, HOST_KEY, Host, OPERATOR_KEY, Order, Posted, Target, Worker, new_command_id, unix_now,
};
use wafleet_tests::wait;

/// How long something may take that takes milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A fleet with one worker and its host application.
struct Bench {
    // Before the fleet, so that it ends before its services do.
    worker: Worker,
    host: Host,
    fleet: Fleet,
}

impl Bench {
    async fn start(site: &str) -> Result<Self> {
        let fleet = Fleet::start().await?;
        let host = fleet.host().await?;
        let worker = fleet.worker("w1").env("WAFLEET_SITE_URL", site).env("WAFLEET_CONTROL_PER_MINUTE", "10000");
        let mut worker = worker.env("WAFLEET_CLAIM_INTERVAL_MS", "50").spawn()?;
        worker.wait_until_ready().await?;
        Ok(Self { worker, host, fleet })
    }

    /// Posts a command whose life is over.
    async fn post_expired(&self, target: &Target, id: &CommandId, command: &Command) -> Result<()> {
        let now = unix_now();
        let order = Order { lane: Lane::Normal, issued_at: now - 600, expires_at: now - 300, metadata: None };
        let letter = self.host.letter_by(HOST_KEY, target, id, command, &order)?;
        ensure!(self.host.post(&letter).await? == Posted::Routed);
        Ok(())
    }

    /// Makes the fleet know a session that nobody runs: commands about it are answered without a browser.
    async fn know(&self, session: &str) -> Result<()> {
        let insert = format!("INSERT INTO wafleet_sessions (session_id, workspace_id) VALUES ('{session}', 1)");
        self.fleet.database().execute(&insert).await
    }

    /// Waits until so many letters are in the archive, and takes care that it is not one more.
    async fn archived(&self, expected: i64) -> Result<()> {
        let pool = self.fleet.database().pool();
        let all = async || {
            let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM wafleet_dead_letters").fetch_one(pool).await?;
            ensure!(count <= expected, "{count} letters where {expected} are due");
            Ok((count == expected).then_some(()))
        };
        wait::until(&format!("{expected} letters are archived"), PATIENCE, all).await
    }

    async fn in_state(&self, state: &str) -> Result<i64> {
        let select = "SELECT COUNT(*) FROM wafleet_dead_letters WHERE state = ?";
        Ok(sqlx::query_scalar(select).bind(state).fetch_one(self.fleet.database().pool()).await?)
    }

    /// `wafleet dlq …`, whatever comes of it.
    async fn dlq(&self, arguments: &[&str]) -> Result<Output> {
        self.worker.run(&[&["dlq"], arguments].concat()).await
    }

    /// The JSON lines of a `wafleet dlq …` that succeeds.
    async fn lines(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let output = self.dlq(arguments).await?;
        ensure!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// What a `wafleet dlq …` that fails says.
    async fn refused(&self, arguments: &[&str]) -> Result<String> {
        let output = self.dlq(arguments).await?;
        ensure!(!output.status.success(), "{arguments:?} succeeds: {}", said(&output));
        Ok(said(&output))
    }

    /// The successful result of a command.
    async fn succeeded(&self, mark: usize, id: &CommandId) -> Result<CommandResult> {
        let what = format!("success of {id}");
        let find = |event: &Event| match event {
            Event::CommandResult(result) if result.command_id == *id && result.outcome == Outcome::Succeeded => {
                Some(result.clone())
            }
            _ => None,
        };
        self.host.events().wait_from(mark, &what, PATIENCE, |envelope| find(&envelope.event)).await
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// One field of every letter, in order.
fn fields(letters: &[Value], name: &str) -> Vec<String> {
    letters.iter().map(|letter| letter[name].as_str().map_or_else(|| letter[name].to_string(), str::to_owned)).collect()
}

fn message(to: &Number, text: &str) -> Result<Command> {
    Ok(Command::MessageSend(MessageSend::text(to.to_string().parse()?, text.try_into()?)))
}

/// No page is opened in these tests: no session is started.
const NO_SITE: &str = "http://127.0.0.1:9/";

async fn link(host: &Host, target: &Target, phone: &Phone) -> Result<()> {
    host.send(target, &Command::SessionStart(SessionStart::default())).await?;
    let code = host.events().wait_for("session.qr", |envelope| match &envelope.event {
        Event::SessionQr(qr) => Some(qr.qr.as_str().to_owned()),
        _ => None,
    });
    phone.scan(&code.await?).await?;
    let connected =
        |event: &Event| matches!(event, Event::SessionStatus(told) if told.status == SessionStatus::Connected);
    host.events().wait_for("connected", |envelope| connected(&envelope.event).then_some(())).await
}

#[tokio::test]
async fn messages_that_came_too_early_are_replayed_in_order_and_leave_once() -> Result<()> {
    let site = Imitation::start(Options::default()).await?;
    let (anna, ben): (Number, Number) = ("4915112345678".parse()?, "4915187654321".parse()?);
    let phone = site.phone(&anna, "Anna");
    site.phone(&ben, "Ben");
    let bench = Bench::start(&site.url()).await?;
    let target = Target::new("shop")?;

    // Five messages before the session exists; the last one comes twice more: expired, and signed anew by the host.
    let texts: Vec<String> = (1..=5).map(|number| format!("message {number}")).collect();
    let mut ids = Vec::new();
    for text in &texts {
        ids.push(bench.host.send(&target, &message(&ben, text)?).await?);
    }
    bench.archived(5).await?;
    let (last, again) = (&ids[4], message(&ben, &texts[4])?);
    bench.post_expired(&target, last, &again).await?;
    bench.archived(6).await?;
    let fresh = bench.host.letter_by(HOST_KEY, &target, last, &again, &Order::now(&again, Lane::Normal))?;
    ensure!(bench.host.post(&fresh).await? == Posted::Routed);
    bench.archived(7).await?;
    let letters = bench.lines(&["list", "--json"]).await?;
    let expected = [["unknown_session"; 5].as_slice(), &["expired"; 2]].concat();
    ensure!(fields(&letters, "reason") == expected, "an expired command stays refused for the host: {letters:?}");
    let in_order: Vec<String> = ids.iter().chain([last, last]).map(ToString::to_string).collect();
    ensure!(fields(&letters, "command") == in_order, "{letters:?}");
    ensure!(letters.iter().all(|letter| letter["genuine"] == true && letter["workspace"] == 1), "{letters:?}");

    link(&bench.host, &target, &phone).await?;
    let why = ["--why", "the session was not started", "--by", "anna"];
    let dry = bench.lines(&[&["replay", "--session", "shop", "--dry-run", "--json"], why.as_slice()].concat()).await?;
    ensure!(dry[0]["would_replay"] == 7 && bench.in_state("new").await? == 7, "{dry:?}");
    ensure!(site.sent().is_empty(), "a dry run sends nothing");

    let mark = bench.host.events().len();
    let done = bench.lines(&[&["replay", "--session", "shop", "--json"], why.as_slice()].concat()).await?;
    ensure!(done[0]["replayed"] == 7 && bench.in_state("replayed").await? == 7, "{done:?}");
    for id in &ids {
        bench.succeeded(mark, id).await?;
    }
    let lane = topology::lane_queue(&target.session, Lane::Normal);
    bench.fleet.virtual_host().wait_until_empty(&lane).await?;
    let departures = site.sent();
    ensure!(departures.iter().map(|departure| departure.text.as_str()).eq(texts.iter()), "{departures:?}");
    ensure!(departures.iter().all(|departure| departure.copies() == 1), "{departures:?}");

    let audit = bench.fleet.database().audit_after(0).await?;
    let row = |action: &str, id: Option<&CommandId>| {
        let found = audit
            .iter()
            .find(|row| row.action == action && id.is_none_or(|id| row.command_id.as_deref() == Some(id.as_str())));
        found.with_context(|| format!("no audit row {action}"))
    };
    let (begun, ended) = (row("dead_letters.replay", None)?, row("dead_letters.replayed", None)?);
    ensure!(begun.actor == "operator:anna" && begun.session_id.as_deref() == Some("shop"), "{begun:?}");
    let detail: Value = serde_json::from_str(ended.detail.as_deref().context("detail")?)?;
    ensure!(detail["count"] == 7 && detail["why"] == "the session was not started", "{detail}");
    for id in &ids {
        let executed = row("command.replayed", Some(id))?;
        ensure!(executed.actor == format!("key:{OPERATOR_KEY}"), "{executed:?}");
        let detail: Value = serde_json::from_str(executed.detail.as_deref().context("detail")?)?;
        ensure!(detail["replayed_by"] == "anna" && detail["original_key"] == HOST_KEY, "{detail}");
    }

    // A copy of a command that has long succeeded, too late: its recorded result again, no dead letter, and Ben gets nothing.
    let recorded = bench.succeeded(mark, &ids[0]).await?;
    let mark = bench.host.events().len();
    bench.post_expired(&target, &ids[0], &message(&ben, &texts[0])?).await?;
    ensure!(bench.succeeded(mark, &ids[0]).await? == recorded);
    bench.fleet.virtual_host().wait_until_empty(&lane).await?;
    bench.archived(7).await?;
    ensure!(site.sent().len() == texts.len(), "{:?}", site.sent());
    Ok(())
}

#[tokio::test]
async fn a_replay_that_is_killed_and_run_again_executes_every_command_once() -> Result<()> {
    const LETTERS: usize = 200;
    let bench = Bench::start(NO_SITE).await?;
    let target = Target::new("shop")?;
    bench.know("shop").await?;
    let mut ids = BTreeSet::new();
    for _ in 0..LETTERS {
        let id = new_command_id()?;
        bench.post_expired(&target, &id, &Command::SessionStatus).await?;
        ids.insert(id);
    }
    bench.archived(i64::try_from(LETTERS)?).await?;

    let arguments =
        ["dlq", "replay", "--reason", "expired", "--why", "the clock was wrong", "--by", "anna", "--rate", "100"];
    let mut first = bench.worker.wafleet(&arguments)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let half = async || Ok((bench.in_state("replayed").await? >= 60).then_some(()));
    let reached = wait::until("60 letters are replayed", PATIENCE, half).await;
    first.kill()?; // SIGKILL
    first.wait()?;
    reached?;
    let replayed = bench.in_state("replayed").await?;
    ensure!(replayed < i64::try_from(LETTERS)?, "it was killed too late to prove anything");

    let output = bench.worker.run(&arguments).await?;
    ensure!(output.status.success(), "{}", said(&output));
    ensure!(bench.in_state("replayed").await? == i64::try_from(LETTERS)?);
    for id in &ids {
        bench.succeeded(0, id).await?;
    }
    bench.fleet.virtual_host().wait_until_empty(topology::CONTROL).await?;
    // A letter that was in flight at the kill is published twice; its command keeps one result under one event id.
    let mut results: BTreeMap<CommandId, BTreeSet<String>> = BTreeMap::new();
    let mut copies = 0;
    for entry in bench.host.events().entries() {
        if let Event::CommandResult(result) = &entry.envelope.event
            && result.outcome == Outcome::Succeeded
        {
            copies += 1;
            results.entry(result.command_id.clone()).or_default().insert(entry.envelope.id.to_string());
        }
    }
    ensure!(results.len() == LETTERS && results.values().all(|ids| ids.len() == 1), "{results:?}");
    ensure!(copies <= LETTERS + 1, "{copies} results of {LETTERS} commands: more than one letter was in flight");
    let commands = bench.fleet.database().commands().await?;
    ensure!(commands.len() == LETTERS && commands.iter().all(|(_, _, state)| state == "succeeded"), "{commands:?}");
    // Each replay executed a command of its own: one row of the audit trail for each, whichever run it came from.
    let audit = bench.fleet.database().audit_after(0).await?;
    let executed = audit.iter().filter(|row| row.action == "command.replayed").count();
    ensure!(executed == LETTERS, "{executed} rows of {LETTERS}");
    Ok(())
}

#[tokio::test]
async fn what_nobody_signed_is_never_replayed() -> Result<()> {
    let bench = Bench::start(NO_SITE).await?;
    let target = Target::new("shop")?;
    let mut forged = bench.host.letter(&target, &Command::SessionStatus)?;
    forged.set_header_text("x-wa-genuine", "1");
    forged.body.push(b' ');
    ensure!(bench.host.post(&forged).await? == Posted::Routed);
    bench.archived(1).await?;
    let letters = bench.lines(&["list", "--json"]).await?;
    ensure!(letters[0]["reason"] == "bad_signature" && letters[0]["genuine"] == false, "{letters:?}");
    let number = letters[0]["letter"].to_string();
    let replay = ["replay", "--id", number.as_str(), "--why", "please"];
    let refusal = bench.refused(&replay).await?;
    ensure!(refusal.contains("not genuine") && refusal.contains("never signed"), "{refusal}");
    // Whoever can write to the table gains nothing: the signature is verified again.
    bench.fleet.database().execute("UPDATE wafleet_dead_letters SET genuine = 1, reason = 'expired'").await?;
    let refusal = bench.refused(&replay).await?;
    ensure!(refusal.contains("the signature does not match"), "{refusal}");
    ensure!(bench.in_state("new").await? == 1 && bench.fleet.database().commands().await?.is_empty());

    for (arguments, expected) in [
        (["replay", "--why", "x"].as_slice(), "--all"),
        (&["drop", "--why", "x"], "--all"),
        (&["drop", "--all", "--by", "anna", "--why", " "], "--why must be"),
        (&["drop", "--all", "--why", "x", "--state", "dropped"], "only letters in the state new"),
        (&["replay", "--id", "999", "--why", "x"], "there is no letter 999"),
        (&["show", "999"], "there is no letter 999"),
        (&["replay", "--all", "--why", "x", "--valid-for", "31d"], "30 days"),
        (&["list", "--since", "yesterday"], "--since"),
    ] {
        let refusal = bench.refused(arguments).await?;
        ensure!(refusal.contains(expected), "{arguments:?}: {refusal}");
    }
    Ok(())
}

#[tokio::test]
async fn letters_are_found_by_what_they_are_and_dropped_and_exported() -> Result<()> {
    let bench = Bench::start(NO_SITE).await?;
    let (shop, desk) = (Target::new("shop")?, Target::new("desk")?);
    let ben: Number = "4915187654321".parse()?;
    let secret = "a text nobody else should read";
    let first = new_command_id()?;
    bench.post_expired(&shop, &first, &Command::SessionStatus).await?;
    bench.archived(1).await?;
    bench.post_expired(&desk, &new_command_id()?, &Command::SessionStop).await?;
    bench.archived(2).await?;
    bench.host.send(&desk, &message(&ben, secret)?).await?;
    bench.archived(3).await?;
    let mut forged = bench.host.letter(&shop, &Command::SessionStop)?;
    forged.body.push(b' ');
    bench.host.post(&forged).await?;
    bench.archived(4).await?;
    bench.fleet.database().execute("UPDATE wafleet_dead_letters SET at = at - INTERVAL 2 DAY WHERE id = 1").await?;

    let id = first.to_string();
    let cases: [(&[&str], &[&str]); 14] = [
        (&[], &["1", "2", "3", "4"]),
        (&["--session", "desk"], &["2", "3"]),
        (&["--workspace", "1", "--session", "shop"], &["1", "4"]),
        (&["--workspace", "2"], &[]),
        (&["--reason", "expired"], &["1", "2"]),
        (&["--reason", "bad_signature", "--reason", "unknown_session"], &["3", "4"]),
        (&["--type", "session.stop"], &["2", "4"]),
        (&["--command", &id], &["1"]),
        (&["--since", "1d"], &["2", "3", "4"]),
        (&["--until", "1d"], &["1"]),
        (&["--id", "4", "--id", "2"], &["2", "4"]),
        (&["--limit", "2", "--after", "1"], &["2", "3"]),
        (&["--session", "desk", "--type", "session.stop", "--reason", "expired"], &["2"]),
        (&["--state", "dropped"], &[]),
    ];
    for (filter, expected) in cases {
        let letters = bench.lines(&[&["list", "--json"], filter].concat()).await?;
        ensure!(fields(&letters, "letter") == expected, "{filter:?}: {letters:?}");
    }

    for hidden in [&["list"][..], &["list", "--json"], &["show", "3"], &["show", "3", "--json"]] {
        let output = bench.dlq(hidden).await?;
        ensure!(output.status.success() && !said(&output).contains(secret), "{hidden:?}: {}", said(&output));
    }
    let shown = bench.dlq(&["show", "3", "--body"]).await?;
    ensure!(said(&shown).contains(secret) && said(&shown).contains("unknown_session"), "{}", said(&shown));

    let file = bench.fleet.scratch().join("letters.jsonl");
    let path = file.to_str().context("a path in UTF-8")?;
    let output = bench.dlq(&["export", "--out", path]).await?;
    ensure!(output.status.success(), "{}", said(&output));
    ensure!(std::fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600);
    let exported = std::fs::read_to_string(&file)?;
    ensure!(exported.lines().count() == 4 && exported.contains(secret));
    let refusal = bench.refused(&["export", "--out", path]).await?;
    ensure!(refusal.contains("cannot make"), "no file is overwritten: {refusal}");

    let drop = ["drop", "--session", "desk", "--why", "too late", "--by", "anna", "--json"];
    let dry = bench.lines(&[drop.as_slice(), &["--dry-run"]].concat()).await?;
    ensure!(dry[0]["would_drop"] == 2 && bench.in_state("dropped").await? == 0, "{dry:?}");
    let done = bench.lines(&drop).await?;
    ensure!(done[0]["dropped"] == 2 && bench.in_state("dropped").await? == 2, "{done:?}");
    let audit = bench.fleet.database().audit_after(0).await?;
    let row = audit.iter().find(|row| row.action == "dead_letters.dropped").context("no audit row")?;
    let detail: Value = serde_json::from_str(row.detail.as_deref().context("detail")?)?;
    ensure!(row.actor == "operator:anna" && detail["count"] == 2 && detail["why"] == "too late", "{row:?}");
    let refusal = bench.refused(&["replay", "--id", "3", "--why", "after all"]).await?;
    ensure!(refusal.contains("letter 3 is dropped already"), "{refusal}");
    Ok(())
}

#[tokio::test]
async fn letters_wait_in_their_queue_while_the_archive_is_away() -> Result<()> {
    const LETTERS: usize = 40;
    let bench = Bench::start(NO_SITE).await?;
    let target = Target::new("shop")?;
    let database = bench.fleet.database();
    database.execute("RENAME TABLE wafleet_dead_letters TO wafleet_dead_letters_away").await?;
    let mut ids = Vec::new();
    for _ in 0..LETTERS {
        let id = new_command_id()?;
        bench.post_expired(&target, &id, &Command::SessionStatus).await?;
        ids.push(id.to_string());
    }
    // They all died, and the broker has every one of them.
    let held = async || {
        let queue = bench.fleet.virtual_host().queue(topology::DEAD).await?.context("no queue")?;
        Ok((queue["messages"] == LETTERS).then_some(()))
    };
    wait::until("all letters are in the queue", PATIENCE, held).await?;
    let warned = async || Ok(bench.worker.output()?.contains("dead letters wait in their queue").then_some(()));
    wait::until("the worker says that they wait", PATIENCE, warned).await?;

    database.execute("RENAME TABLE wafleet_dead_letters_away TO wafleet_dead_letters").await?;
    bench.archived(i64::try_from(LETTERS)?).await?;
    bench.fleet.virtual_host().wait_until_empty(topology::DEAD).await?;
    bench.archived(i64::try_from(LETTERS)?).await?;
    let letters = bench.lines(&["list", "--json"]).await?;
    ensure!(fields(&letters, "command").iter().collect::<BTreeSet<_>>() == ids.iter().collect());
    Ok(())
}

#[tokio::test]
async fn what_the_broker_gave_up_is_archived_with_its_history_and_can_be_replayed() -> Result<()> {
    let fleet = Fleet::start().await?;
    let host = fleet.host().await?;
    let target = Target::new("shop")?;
    // A consumer that keeps dying with a command in its hands, until the broker has had enough. The sender's word about
    // the reason is not believed.
    let mut letter = host.letter(&target, &Command::SessionStatus)?;
    letter.set_header_text(topology::REASON_HEADER, "unsigned");
    ensure!(host.post(&letter).await? == Posted::Routed);
    let channel = host.connection().create_channel().await?;
    let consume = BasicConsumeOptions::default();
    let mut queue = channel.basic_consume(topology::CONTROL.into(), "".into(), consume, Default::default()).await?;
    for _ in 0..=topology::DELIVERY_LIMIT {
        let delivery = queue.next().await.context("the queue ended")??;
        delivery.acker.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await?;
    }
    channel.close(200, "done".into()).await?;

    let mut worker = fleet.worker("w1").env("WAFLEET_SITE_URL", NO_SITE).spawn()?;
    worker.wait_until_ready().await?;
    let bench = Bench { worker, host, fleet };
    bench.know("shop").await?;
    bench.archived(1).await?;
    let shown = bench.lines(&["show", "1", "--json"]).await?;
    ensure!(shown[0]["reason"] == "delivery_limit" && shown[0]["genuine"] == true, "{shown:?}");
    ensure!(shown[0]["history"][0]["queue"] == topology::CONTROL && shown[0]["worker"].is_null(), "{shown:?}");
    ensure!(
        shown[0]["exchange"] == topology::COMMANDS && shown[0]["routing_key"] == topology::CONTROL_KEY,
        "{shown:?}"
    );

    bench.lines(&["replay", "--id", "1", "--why", "the consumer is mended", "--json"]).await?;
    let id: CommandId = letter.message_id.as_deref().context("an id")?.parse()?;
    bench.succeeded(0, &id).await?;
    Ok(())
}

#[tokio::test]
async fn a_replayed_command_that_dies_again_is_a_new_letter_with_the_first_signature_as_evidence() -> Result<()> {
    let bench = Bench::start(NO_SITE).await?;
    let target = Target::new("nowhere")?;
    let ben: Number = "4915187654321".parse()?;
    let id = bench.host.send(&target, &message(&ben, "x")?).await?;
    bench.archived(1).await?;
    for round in 1..=2 {
        let mark = bench.host.events().len();
        let done = bench.lines(&["replay", "--command", id.as_str(), "--why", "again", "--json"]).await?;
        ensure!(done[0]["replayed"] == 1, "one letter of the command is new each time: {done:?}");
        bench.archived(1 + round).await?;
        let refused = |event: &Event| matches!(event, Event::CommandResult(result) if result.error.as_ref().is_some_and(|error| error.code == ErrorCode::UnknownSession));
        let told =
            bench.host.events().wait_from(mark, "refusal", PATIENCE, |envelope| refused(&envelope.event).then_some(()));
        told.await?;
    }
    let letters = bench.lines(&["export", "--state", "all"]).await?;
    let first = &letters[0]["headers"]["x-wa-signature"];
    for letter in &letters[1..] {
        ensure!(letter["genuine"] == true && letter["headers"]["x-wa-key"] == OPERATOR_KEY, "{letter}");
        ensure!(letter["headers"]["x-wa-original-signature"] == *first, "{letter}");
        ensure!(letter["headers"]["x-wa-original-key"] == HOST_KEY && letter["body"] == letters[0]["body"], "{letter}");
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_archivist_loses_nothing_and_archives_nothing_twice() -> Result<()> {
    const LETTERS: usize = 300;
    let mut bench = Bench::start(NO_SITE).await?;
    let target = Target::new("shop")?;
    let mut second = bench.fleet.worker("w2").env("WAFLEET_SITE_URL", NO_SITE).spawn()?;
    second.wait_until_ready().await?;
    let mut ids = Vec::new();
    for number in 0..LETTERS {
        let mut letter = bench.host.letter(&target, &Command::SessionStatus)?;
        topology::DEAD.clone_into(&mut letter.exchange);
        letter.set_header_text(topology::REASON_HEADER, "unknown_session");
        ensure!(bench.host.post(&letter).await? == Posted::Routed);
        ids.push(letter.message_id.context("an id")?);
        if number == LETTERS / 3 {
            bench.worker.kill()?; // whoever of the two archives; the other one takes over or goes on
        }
        if number == LETTERS / 3 * 2 {
            let third = bench.fleet.worker("w3").env("WAFLEET_SITE_URL", NO_SITE).spawn()?;
            second.kill()?;
            bench.worker = third;
        }
    }
    bench.archived(i64::try_from(LETTERS)?).await?;
    bench.fleet.virtual_host().wait_until_empty(topology::DEAD).await?;
    bench.archived(i64::try_from(LETTERS)?).await?;
    let letters = bench.lines(&["list", "--json", "--limit", "1000"]).await?;
    ensure!(fields(&letters, "command") == ids, "in the order of the queue");
    Ok(())
}

#[tokio::test]
async fn letters_whose_time_is_over_are_deleted_and_the_others_stay() -> Result<()> {
    let mut bench = Bench::start(NO_SITE).await?;
    let target = Target::new("shop")?;
    for letters in 1..=2 {
        bench.post_expired(&target, &new_command_id()?, &Command::SessionStatus).await?;
        bench.archived(letters).await?;
    }
    let database = bench.fleet.database();
    let days: i64 = sqlx::query_scalar("SELECT DATEDIFF(purge_after, archived_at) FROM wafleet_dead_letters LIMIT 1")
        .fetch_one(database.pool())
        .await?;
    ensure!(days == 14, "{days}");
    database.execute("UPDATE wafleet_dead_letters SET purge_after = UTC_TIMESTAMP(3) WHERE id = 1").await?;
    bench.worker.kill()?;
    bench.worker = bench.fleet.worker("w2").env("WAFLEET_SITE_URL", NO_SITE).spawn()?;
    let gone = async || {
        let letters = bench.lines(&["list", "--json"]).await?;
        Ok((fields(&letters, "letter") == ["2"]).then_some(()))
    };
    wait::until("letter 1 is deleted", PATIENCE, gone).await
}
