//! What breaks at the database.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wafleet_imitation::{AckTimes, Options};
use wafleet_protocol::event::{Event, Outcome, ResultData, SessionStatus};
use wafleet_tests::fleet::{PATIENCE, Target};
use wafleet_tests::invariants::Story;
use wafleet_tests::proxy::{BOTH_WAYS, Proxy};
use wafleet_tests::stage::{START, Stage, text};
use wafleet_tests::wait;

const ANNA: &str = "4915112345678";
const BERT: &str = "4915187654321";

#[tokio::test]
async fn running_sessions_go_on_while_the_database_is_away_and_commands_wait() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let story = Story::begin(&stage)?;
    let database = Proxy::opened(stage.fleet.database().url()).await?;
    let through = database.url(stage.fleet.database().url())?;
    let mut worker = stage.worker("w1").env("WAFLEET_DATABASE_URL", through).spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    ensure!(stage.host.ask(&target, &text(BERT, "before")?).await?.outcome == Outcome::Succeeded);
    let mark = stage.host.events().len();
    // Once it does not answer, and once it refuses connections.
    for (round, refuses) in [("silent", false), ("closed", true)] {
        if refuses {
            database.close()
        } else {
            database.pause(BOTH_WAYS)
        }
        let command = stage.host.send(&target, &text(BERT, round)?).await?;
        let started = stage.host.send(&Target::new(round)?, &START).await?;
        anna.receive_text(BERT, "Bert", round);
        let heard = |envelope: &wafleet_protocol::event::Envelope| match &envelope.event {
            Event::MessageReceived(message) => message.text.as_ref().filter(|text| text.as_str() == round).map(drop),
            _ => None,
        };
        stage.host.events().wait_from(mark, "the message that came meanwhile", PATIENCE, heard).await?;
        let said = stage.host.events().entries().into_iter().skip(mark).any(|entry| {
            matches!(&entry.envelope.event, Event::CommandResult(result) if result.command_id == command || result.command_id == started)
        });
        ensure!(!said && stage.site.sent().iter().all(|departure| departure.text != round), "done without a record");
        if refuses {
            database.open()
        } else {
            database.resume()
        }
        for id in [&command, &started] {
            ensure!(stage.host.final_result(id).await?.outcome == Outcome::Succeeded);
            let recorded = async || {
                let commands = stage.fleet.database().commands().await?;
                Ok(commands
                    .iter()
                    .any(|(done, _, state)| *done == id.to_string() && state == "succeeded")
                    .then_some(()))
            };
            wait::until("its end is recorded", PATIENCE, recorded).await?;
        }
    }
    ensure!(stage.host.statuses(mark, &target).is_empty(), "{:?}", stage.host.statuses(mark, &target));
    for round in ["silent", "closed"] {
        stage.host.ask(&Target::new(round)?, &wafleet_protocol::command::Command::SessionStop).await?;
    }
    story.end(vec![worker]).await?;
    Ok(())
}

#[tokio::test]
async fn an_own_message_that_comes_while_the_database_is_away_is_told_once_and_with_its_command() -> Result<()> {
    // The phone is slow to acknowledge, so that the ack falls into the outage.
    let acks = AckTimes { server: Duration::from_millis(30), delivered: None, read: None };
    let stage = Stage::set(Options { acks, ..Options::default() }).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    let bert = stage.site.phone(BERT, "Bert");
    let story = Story::begin(&stage)?;
    let database = Proxy::opened(stage.fleet.database().url()).await?;
    let through = database.url(stage.fleet.database().url())?;
    let mut first = stage.worker("w1").spawn()?;
    first.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let by_command = stage.host.ask(&target, &text(BERT, "by command")?).await?;
    let sent = by_command.data.as_ref().and_then(|data| match data {
        ResultData::Message(sent) => Some(sent.id.clone()),
        _ => None,
    });
    let sent = sent.context("a message was sent")?;

    // Another worker, which has to look up whose message it was.
    let mut second = stage.worker("w2").env("WAFLEET_DATABASE_URL", through).spawn()?;
    second.wait_until_ready().await?;
    ensure!(first.terminate(2 * PATIENCE).await?.success());
    let owns =
        async || Ok((second.heartbeat()?.is_some_and(|beat| beat.sessions.contains_key("connected"))).then_some(()));
    wait::until("the second worker has it", 2 * PATIENCE, owns).await?;
    anna.receive_text(BERT, "Bert", "all is read");
    let text_is = |words: &'static str| {
        move |envelope: &wafleet_protocol::event::Envelope| match &envelope.event {
            Event::MessageReceived(message) => message.text.as_ref().filter(|text| text.as_str() == words).map(drop),
            _ => None,
        }
    };
    stage.host.events().wait_from(0, "a message", PATIENCE, text_is("all is read")).await?;

    let mark = stage.host.events().len();
    database.pause(BOTH_WAYS);
    let typed = anna.send_text(BERT, "typed on the phone");
    bert.confirm_delivery(&sent)?;
    anna.receive_text(BERT, "Bert", "behind it");
    stage.host.events().wait_from(mark, "what came behind it", PATIENCE, text_is("behind it")).await?;
    let own = |envelope: &wafleet_protocol::event::Envelope| match &envelope.event {
        Event::MessageSent(told) if told.message.id == typed => Some(envelope.correlation_id.clone()),
        _ => None,
    };
    let ack = |envelope: &wafleet_protocol::event::Envelope| match &envelope.event {
        Event::MessageAck(told) if told.id == sent && told.ack.number() == 2 => Some(envelope.correlation_id.clone()),
        _ => None,
    };
    let told_now = stage.host.events().entries();
    ensure!(told_now.iter().all(|entry| own(&entry.envelope).is_none() && ack(&entry.envelope).is_none()));
    database.resume();
    let of_nobody = stage.host.events().wait_from(mark, "the message typed on the phone", PATIENCE, own).await?;
    ensure!(of_nobody.is_none(), "no command sent it: {of_nobody:?}");
    let of_command = stage.host.events().wait_from(mark, "the ack", PATIENCE, ack).await?;
    ensure!(of_command.as_ref() == Some(&by_command.command_id), "{of_command:?}");
    story.end(vec![second]).await?;
    Ok(())
}

mod own_services {
    use super::*;

    use wafleet_tests::services::{OwnServices, Server};

    #[tokio::test]
    async fn a_read_only_database_and_a_lost_lock_only_delay_a_command() -> Result<()> {
        let mut own = OwnServices::start(&[Server::MariaDb]).await?;
        let stage = Stage::set_on(Options::default(), own.addresses()).await?;
        let anna = stage.site.phone(ANNA, "Anna");
        stage.site.phone(BERT, "Bert");
        let story = Story::begin(&stage)?;
        let mut worker = stage.worker("w1").spawn()?;
        worker.wait_until_ready().await?;
        let target = Target::new("s1")?;
        stage.link(&target, &anna).await?;

        own.mariadb()?.set_read_only(true).await?;
        let refused = stage.host.send(&target, &text(BERT, "to a read-only database")?).await?;
        let waits = async || Ok(worker.output()?.contains("a command waits in its queue").then_some(()));
        wait::until("the command waits", PATIENCE, waits).await?;
        ensure!(stage.site.sent().is_empty(), "it left without a record");
        own.mariadb()?.set_read_only(false).await?;
        ensure!(stage.host.final_result(&refused).await?.outcome == Outcome::Succeeded);

        // Somebody holds the row until the worker has given up waiting for it once.
        let pool = stage.fleet.database().pool();
        sqlx::query("SET GLOBAL innodb_lock_wait_timeout = 1").execute(pool).await?;
        let mut other = pool.begin().await?;
        sqlx::query("SELECT 1 FROM wafleet_sessions FOR UPDATE").execute(&mut *other).await?;
        let mut second = stage.worker("w2").spawn()?;
        second.wait_until_ready().await?;
        let blocked = Target::new("s2")?;
        let started = stage.host.send(&blocked, &START).await?;
        let lost = async || {
            let lost = "a statement lost against another transaction";
            Ok((worker.output()?.contains(lost) || second.output()?.contains(lost)).then_some(()))
        };
        wait::until("a statement was tried again", PATIENCE, lost).await?;
        other.rollback().await?;
        ensure!(stage.host.final_result(&started).await?.outcome == Outcome::Succeeded);
        let row = stage.fleet.database().session("s2").await?.context("a row")?;
        ensure!(row.desired == "running", "{row:?}");
        ensure!(stage.host.ask(&target, &text(BERT, "after the lock")?).await?.outcome == Outcome::Succeeded);
        stage.host.ask(&blocked, &wafleet_protocol::command::Command::SessionStop).await?;
        story.end(vec![worker, second]).await?;
        Ok(())
    }

    #[tokio::test]
    async fn a_write_that_loses_a_deadlock_against_the_host_application_is_made_again() -> Result<()> {
        let own = OwnServices::start(&[Server::MariaDb]).await?;
        let stage = Stage::set_on(Options::default(), own.addresses()).await?;
        let anna = stage.site.phone(ANNA, "Anna");
        stage.site.phone(BERT, "Bert");
        let story = Story::begin(&stage)?;
        let mut worker = stage.worker("w1").spawn()?;
        worker.wait_until_ready().await?;
        let target = Target::new("s1")?;
        stage.link(&target, &anna).await?;
        let pool = stage.fleet.database().pool();
        let deadlocks = async || -> Result<u64> {
            let value =
                "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'Innodb_deadlocks'";
            Ok(sqlx::query_scalar::<_, String>(value).fetch_one(pool).await?.parse()?)
        };
        let before = deadlocks().await?;

        // The host application holds its own row and has written much: InnoDB gives up the transaction that has written less.
        sqlx::query("CREATE TABLE host_notes (note INT PRIMARY KEY)").execute(pool).await?;
        let mut of_the_host = pool.begin().await?;
        for note in 0..50 {
            sqlx::query("INSERT INTO host_notes VALUES (?)").bind(note).execute(&mut *of_the_host).await?;
        }
        let own_row = "SELECT 1 FROM whatsapp_sessions WHERE session_id = 's1' FOR UPDATE";
        sqlx::query(own_row).execute(&mut *of_the_host).await?;
        let mark = stage.host.events().len();
        stage.host.ask(&target, &wafleet_protocol::command::Command::SessionStop).await?;
        let waits = async || {
            let waiting = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'";
            Ok((sqlx::query_scalar::<_, i64>(waiting).fetch_one(pool).await? > 0).then_some(()))
        };
        wait::until("the worker waits for the host's row", PATIENCE, waits).await?;
        // The worker's statement has read this one, and waits for the other.
        let ours = "UPDATE wafleet_sessions SET updated_at = '2020-01-01' WHERE session_id = 's1'";
        sqlx::query(ours).execute(&mut *of_the_host).await?;
        ensure!(deadlocks().await? > before, "there was no deadlock");
        of_the_host.commit().await?;

        stage.host.wait_for_status(mark, &target, SessionStatus::Stopped).await?;
        let written = async || {
            let rows = stage.fleet.database().host_sessions().await?;
            Ok(rows.iter().any(|(id, _, status)| id == "s1" && status == "stopped").then_some(()))
        };
        wait::until("the host's table says stopped", PATIENCE, written).await?;
        story.end(vec![worker]).await?;
        Ok(())
    }
}
