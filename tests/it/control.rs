//! The queues any worker reads: starting, stopping and asking about sessions, the rate limit, and commands that no queue
//! was bound for.
//!
//! No browser is needed here: in its place stands a program that ends at once, which also shows what becomes of a session
//! whose browser cannot start.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use wafleet_protocol::command::{Command, SessionLinkCode};
use wafleet_protocol::error::{ErrorClass, ErrorCode};
use wafleet_protocol::event::{Cause, Event, Outcome, SessionStatus};
use wafleet_protocol::id::{CommandId, WorkspaceId};
use wafleet_protocol::lane::Lane;
use wafleet_protocol::topology;
use wafleet_tests::fleet::{
    Fleet, HOST_KEY, Order, PATIENCE, Posted, SCOPED_KEY, Target, failure, new_command_id, standing, unix_now,
};
use wafleet_tests::stage::{START, text};
use wafleet_tests::wait;

#[tokio::test]
async fn starting_a_session_makes_its_rows_and_queues_and_starting_it_again_changes_nothing() -> Result<()> {
    let fleet = Fleet::start().await?;
    let host = fleet.host().await?;
    let mut worker = fleet.worker("w1").without_browser().spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;

    let started = host.ask(&target, &START).await?;
    ensure!(standing(&started)?.status == SessionStatus::Initializing, "{started:?}");
    let queues = fleet.virtual_host().queues().await?;
    for lane in Lane::ALL {
        let queue = topology::lane_queue(&target.session, lane);
        ensure!(queues.contains(&queue), "no queue {queue} when the result is out: {queues:?}");
    }
    let row = fleet.database().session("s1").await?.context("no row of the session")?;
    ensure!((row.workspace_id, row.desired.as_str()) == (1, "running"), "{row:?}");
    let told = fleet.database().host_sessions().await?;
    ensure!(told.len() == 1 && told[0].0 == "s1" && told[0].1 == 1, "the host application's row: {told:?}");
    let claimed = async || Ok(fleet.database().session("s1").await?.filter(|row| row.owner.is_some()));
    let claimed = wait::until("the session is claimed", PATIENCE, claimed).await?;
    ensure!((claimed.owner.as_deref(), claimed.fence) == (Some("w1"), 1), "{claimed:?}");

    let again = host.ask(&target, &START).await?;
    standing(&again)?;
    let row = fleet.database().session("s1").await?.context("no row of the session")?;
    ensure!((row.workspace_id, row.desired.as_str(), row.fence) == (1, "running", 1), "{row:?}");
    ensure!(fleet.database().sessions().await?.len() == 1 && fleet.database().host_sessions().await?.len() == 1);
    Ok(())
}

#[tokio::test]
async fn a_session_whose_browser_cannot_start_fails_after_few_attempts_and_can_be_started_again() -> Result<()> {
    let fleet = Fleet::start().await?;
    let host = fleet.host().await?;
    let mut worker = fleet.worker("w1").without_browser().spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    host.ask(&target, &START).await?;

    let failed = |envelope: &wafleet_protocol::event::Envelope| match &envelope.event {
        Event::SessionStatus(told) if told.status == SessionStatus::Failed => Some(told.clone()),
        _ => None,
    };
    let end = host.events().wait_for("the status failed", failed).await?;
    ensure!(end.cause == Cause::StartFailed && end.health.score == 0, "{end:?}");
    let ladder: Vec<_> = host.statuses(0, &target).iter().map(|told| (told.status, told.attempt)).collect();
    let starting = SessionStatus::Initializing;
    let expected = [(starting, 0), (starting, 1), (starting, 2), (starting, 3), (SessionStatus::Failed, 4)];
    ensure!(ladder == expected, "{ladder:?}");

    let given_up = async || {
        let row = fleet.database().session("s1").await?.context("no row of the session")?;
        Ok((row.owner.is_none() && row.desired == "stopped" && row.status == "failed").then_some(row))
    };
    let row = wait::until("the session is released and not wanted any more", PATIENCE, given_up).await?;
    ensure!((row.cause.as_deref(), row.fence) == (Some("start_failed"), 1), "claimed again by itself: {row:?}");
    ensure!(fleet.database().host_sessions().await? == [("s1".to_owned(), 1, "failed".to_owned())]);
    let told = host.ask(&target, &Command::SessionStatus).await?;
    ensure!(
        standing(&told)?.status == SessionStatus::Failed && standing(&told)?.cause == Cause::StartFailed,
        "{told:?}"
    );

    // A new start is a new try, under a new epoch. The worker leaves a session that failed here to others for half a minute.
    let mark = host.events().len();
    host.ask(&target, &START).await?;
    let tried = |envelope: &wafleet_protocol::event::Envelope| match &envelope.event {
        Event::SessionStatus(told) if told.cause == Cause::Claimed => Some(envelope.epoch),
        _ => None,
    };
    let epoch = host.events().wait_from(mark, "a new try", PATIENCE, tried).await?;
    ensure!(epoch == 2, "epoch {epoch}");
    host.events().check_order()
}

#[tokio::test]
async fn commands_for_a_session_nobody_started_fail_as_unknown() -> Result<()> {
    let fleet = Fleet::start().await?;
    let host = fleet.host().await?;
    let mut worker = fleet.worker("w1").without_browser().spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("never-started")?;
    let link = Command::SessionLinkCode(SessionLinkCode { phone: "4915112345678".parse()? });
    for command in [Command::SessionStatus, Command::SessionStop, Command::SessionLogout, link] {
        let result = host.ask(&target, &command).await?;
        ensure!(failure(&result)? == ErrorCode::UnknownSession, "{result:?}");
    }
    ensure!(fleet.database().sessions().await?.is_empty(), "asking made a session");

    // A message finds no queue: it is kept as a dead letter, for the day the session exists.
    let dead = host.dead_letters().await?;
    let message = text("4915112345678", "for later")?;
    let letter = host.letter(&target, &message)?;
    ensure!(host.post(&letter).await? == Posted::Routed, "the broker returned it");
    let found = dead.wait_from(0, "of the message").await?;
    ensure!(found.header(topology::REASON_HEADER) == Some("unknown_session"), "{found:?}");
    ensure!(found.body == letter.body && found.routing_key == "never-started.normal", "{found:?}");
    let id = letter.message_id.as_deref().context("an id")?.parse()?;
    let result = host.final_result(&id).await?;
    ensure!(failure(&result)? == ErrorCode::UnknownSession, "{result:?}");
    let queues = fleet.virtual_host().queues().await?;
    ensure!(!queues.iter().any(|queue| queue.contains("never-started")), "{queues:?}");
    Ok(())
}

#[tokio::test]
async fn stopping_a_session_is_remembered_and_stopping_it_again_changes_nothing() -> Result<()> {
    let fleet = Fleet::start().await?;
    let host = fleet.host().await?;
    let mut worker = fleet.worker("w1").without_browser().spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    host.ask(&target, &START).await?;
    let claimed = async || Ok(fleet.database().session("s1").await?.filter(|row| row.owner.is_some()));
    wait::until("the session is claimed", PATIENCE, claimed).await?;

    standing(&host.ask(&target, &Command::SessionStop).await?)?;
    let stopped = |envelope: &wafleet_protocol::event::Envelope| match &envelope.event {
        Event::SessionStatus(told) if told.status == SessionStatus::Stopped => Some(told.cause),
        _ => None,
    };
    ensure!(host.events().wait_for("the status stopped", stopped).await? == Cause::Command);
    let released = async || Ok(fleet.database().session("s1").await?.filter(|row| row.owner.is_none()));
    let row = wait::until("the session is released", PATIENCE, released).await?;
    ensure!((row.desired.as_str(), row.status.as_str(), row.fence) == ("stopped", "stopped", 1), "{row:?}");

    let again = host.ask(&target, &Command::SessionStop).await?;
    ensure!(standing(&again)?.status == SessionStatus::Stopped, "{again:?}");
    let link = Command::SessionLinkCode(SessionLinkCode { phone: "4915112345678".parse()? });
    let link = host.ask(&target, &link).await?;
    ensure!(failure(&link)? == ErrorCode::SessionStopped, "{link:?}");
    let after = fleet.database().session("s1").await?;
    ensure!(after.as_ref() == Some(&row), "{after:?}");
    let told: Vec<_> =
        host.statuses(0, &target).iter().filter(|told| told.status == SessionStatus::Stopped).cloned().collect();
    ensure!(told.len() == 1, "told twice: {told:?}");
    Ok(())
}

#[tokio::test]
async fn another_workspace_learns_and_changes_nothing() -> Result<()> {
    let fleet = Fleet::start().await?;
    let host = fleet.host().await?;
    let mut worker = fleet.worker("w1").without_browser().spawn()?;
    worker.wait_until_ready().await?;
    let dead = host.dead_letters().await?;
    let owner = Target::new("s1")?;
    standing(&host.ask(&owner, &START).await?)?;
    host.ask(&owner, &Command::SessionStop).await?;
    let released = async || {
        let row = fleet.database().session("s1").await?;
        Ok(row.filter(|row| row.owner.is_none() && row.status == "stopped"))
    };
    let row = wait::until("the session is released", PATIENCE, released).await?;

    let stranger = Target { workspace: WorkspaceId::new(2)?, ..owner.clone() };
    let link = Command::SessionLinkCode(SessionLinkCode { phone: "4915112345678".parse()? });
    let commands = [START, Command::SessionStatus, Command::SessionStop, Command::SessionLogout, link];
    for (n, command) in commands.iter().enumerate() {
        let result = host.ask(&stranger, command).await?;
        ensure!(failure(&result)? == ErrorCode::Rejected && result.data.is_none(), "{result:?}");
        let error = result.error.context("a failure has an error")?;
        ensure!(error.message.starts_with("foreign_scope"), "{error:?}");
        let found = dead.wait_from(n, "of this command");
        ensure!(found.await?.header(topology::REASON_HEADER) == Some("foreign_scope"));
    }
    let after = fleet.database().session("s1").await?;
    ensure!(after.as_ref() == Some(&row), "{after:?}");
    let entries = host.events().entries();
    let mut told = entries.iter().filter(|entry| entry.envelope.workspace_id.get() == 2);
    ensure!(
        told.all(
            |entry| matches!(&entry.envelope.event, Event::CommandResult(result) if result.outcome == Outcome::Failed)
        ),
        "the stranger learnt something:\n{}",
        host.events().describe()
    );
    Ok(())
}

#[tokio::test]
async fn commands_over_a_keys_rate_are_deferred_and_none_is_lost() -> Result<()> {
    const LIMIT: usize = 3;
    let fleet = Fleet::start().await?;
    let host = fleet.host().await?;
    let mut worker =
        fleet.worker("w1").without_browser().env("WAFLEET_CONTROL_PER_MINUTE", LIMIT.to_string()).spawn()?;
    worker.wait_until_ready().await?;
    let dead = host.dead_letters().await?;
    let target = Target::new("s1")?;

    let mut ids = Vec::new();
    for _ in 0..LIMIT + 2 {
        let mut letter = host.letter(&target, &Command::SessionStatus)?;
        // What must not travel along: it would let the command vanish while it waits, or its publication fail.
        letter.expiration = Some("3600000".to_owned());
        letter.user_id = Some("wafleet".to_owned());
        ensure!(host.post(&letter).await? == Posted::Routed);
        ids.push(letter.message_id.context("an id")?.parse::<CommandId>()?);
    }
    let deferred = async || {
        let results = host.events().entries().into_iter().filter_map(|entry| match entry.envelope.event {
            Event::CommandResult(result) if result.outcome == Outcome::Deferred => {
                Some((result, entry.envelope.occurred_at))
            }
            _ => None,
        });
        let results: Vec<_> = results.collect();
        Ok((results.len() >= 2).then_some(results))
    };
    let deferred = wait::until("two commands are deferred", PATIENCE, deferred).await?;
    for (result, told_at) in &deferred {
        let error = result.error.as_ref().context("why")?;
        ensure!((error.class, error.code) == (ErrorClass::Deferred, ErrorCode::RateLimited), "{result:?}");
        let wait_ms = result.until.context("until when")?.unix_ms().saturating_sub(told_at.unix_ms());
        ensure!((1_000..=61_000).contains(&wait_ms), "deferred by {wait_ms} ms");
    }
    let answered = ids.iter().filter(|id| !deferred.iter().any(|(result, _)| result.command_id == **id)).count();
    ensure!(answered == LIMIT, "{answered} of {} were let through", ids.len());

    // Another key has a rate of its own.
    let id = new_command_id()?;
    let order = Order::now(&Command::SessionStatus, Lane::Normal);
    let other = host.letter_by(SCOPED_KEY, &target, &id, &Command::SessionStatus, &order)?;
    ensure!(host.post(&other).await? == Posted::Routed);
    host.final_result(&id).await?;

    // A new minute begins: whoever waits is let through, each exactly once.
    let mut redis = redis::Client::open(fleet.redis_url())?.get_multiplexed_async_connection().await?;
    let budget = format!("{}:budget:control:{HOST_KEY}", fleet.redis_prefix());
    let gone: u32 = redis::cmd("DEL").arg(&budget).query_async(&mut redis).await?;
    ensure!(gone == 1, "there is no budget {budget}");
    for id in &ids {
        let result = host.final_result(id).await?;
        ensure!(failure(&result)? == ErrorCode::UnknownSession, "{result:?}");
    }
    let finals = host.events().entries().into_iter().filter(|entry| {
        matches!(&entry.envelope.event, Event::CommandResult(result) if ids.contains(&result.command_id) && result.outcome != Outcome::Deferred)
    });
    ensure!(finals.count() == ids.len(), "answered more than once:\n{}", host.events().describe());
    ensure!(dead.is_empty(), "{:?}", dead.all());
    for queue in fleet.virtual_host().queues().await? {
        fleet.virtual_host().wait_until_empty(&queue).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_command_that_comes_again_after_its_time_is_answered_as_before() -> Result<()> {
    const LIFE_SECS: u64 = 3;
    let fleet = Fleet::start().await?;
    let host = fleet.host().await?;
    let mut worker = fleet.worker("w1").without_browser().spawn()?;
    worker.wait_until_ready().await?;
    let dead = host.dead_letters().await?;
    let (target, id) = (Target::new("s1")?, new_command_id()?);
    let order = Order { expires_at: unix_now() + LIFE_SECS, ..Order::now(&START, Lane::Normal) };
    let letter = host.letter_by(HOST_KEY, &target, &id, &START, &order)?;
    ensure!(host.post(&letter).await? == Posted::Routed);
    let first = host.final_envelope(0, &id).await?;
    host.ask(&target, &Command::SessionStop).await?;

    let over = async || Ok((unix_now() > order.expires_at).then_some(()));
    wait::until("the command's time is over", PATIENCE, over).await?;
    let mark = host.events().len();
    ensure!(host.post(&letter).await? == Posted::Routed);
    let again = host.final_envelope(mark, &id).await?;
    ensure!(again.id == first.id && again.event == first.event, "{again:?}");
    ensure!(dead.is_empty(), "{:?}", dead.all());
    let row = fleet.database().session("s1").await?.context("no row of the session")?;
    ensure!(row.desired == "stopped", "it was executed a second time: {row:?}");

    // One that was never seen in time is dead.
    let late = host.letter_by(HOST_KEY, &target, &new_command_id()?, &START, &order)?;
    ensure!(host.post(&late).await? == Posted::Routed);
    let found = dead.wait_from(0, "of the late command").await?;
    ensure!(found.header(topology::REASON_HEADER) == Some("expired"), "{found:?}");
    Ok(())
}

#[tokio::test]
async fn a_message_for_a_session_without_queues_gets_them() -> Result<()> {
    let fleet = Fleet::start().await?;
    let host = fleet.host().await?;
    let mut worker = fleet.worker("w1").without_browser().spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    host.ask(&target, &START).await?;
    host.ask(&target, &Command::SessionStop).await?;
    let released = async || {
        let row = fleet.database().session("s1").await?;
        Ok(row.filter(|row| row.owner.is_none() && row.status == "stopped"))
    };
    wait::until("the session is released", PATIENCE, released).await?;
    let channel = host.connection().create_channel().await?;
    for lane in Lane::ALL {
        let queue = topology::lane_queue(&target.session, lane);
        channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    }

    let letter = host.letter(&target, &text("4915112345678", "kept until the session runs")?)?;
    ensure!(host.post(&letter).await? == Posted::Routed, "the broker returned it");
    let queue = topology::lane_queue(&target.session, Lane::Normal);
    let provisioned = async || Ok(fleet.virtual_host().queues().await?.contains(&queue).then_some(()));
    wait::until("the session has its queue", PATIENCE, provisioned).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default()).await?;
    let next = tokio::time::timeout(PATIENCE, consumer.next()).await.context("the message is not in its lane")?;
    let found = next.context("the consumer ended")??;
    ensure!(found.data == letter.body && found.routing_key.as_str() == letter.routing_key, "{found:?}");
    let headers = found.properties.headers().as_ref().context("no headers")?;
    for (name, value) in &letter.headers {
        ensure!(headers.inner().get(name.as_str()) == Some(value), "header {name} differs: {headers:?}");
    }
    channel.close(200, "looked".into()).await?; // puts it back
    for lane in Lane::ALL {
        let queue = topology::lane_queue(&target.session, lane);
        ensure!(fleet.virtual_host().queues().await?.contains(&queue), "no queue {queue}");
    }
    fleet.virtual_host().wait_until_empty(topology::UNROUTED).await?;
    wait::until("the message waits for the session", Duration::from_secs(20), async || {
        let found = fleet.virtual_host().queue(&queue).await?;
        Ok(found.filter(|found| found["messages_ready"] == 1).map(drop))
    })
    .await
}
