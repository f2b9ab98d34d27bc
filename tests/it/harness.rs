//! The harness keeps its own promises: nothing outlives a run, and no test sees another's.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wafleet_tests::fleet::{Fleet, Letter};
use wafleet_tests::services::{Addresses, OwnServices, Server};
use wafleet_tests::wait;

/// Waits until `gone` holds, for things that end by themselves.
async fn eventually(what: &str, mut gone: impl FnMut() -> bool) -> Result<()> {
    let started = Instant::now();
    while !gone() {
        ensure!(started.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Whether a process runs; one that ended and was not waited for does not.
fn runs(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z')))
}

#[tokio::test]
async fn services_end_with_a_run_that_is_killed() -> Result<()> {
    let directory = Addresses::from_env()?.directory.join(format!("data/killed-run-{}", std::process::id()));
    let mut run = Command::new(env!("CARGO_BIN_EXE_wafleet-services"))
        .arg("--dir")
        .arg(&directory)
        .args(["run", "--", "sh", "-c", "echo $WAFLEET_TEST_DIR; echo $$; exec sleep 600"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut lines = BufReader::new(run.stdout.take().context("piped")?).lines();
    let data = lines.next().context("the directory of the run")?? + "/data";
    let command = lines.next().context("the id of the command")??;
    // Every process whose command line names the run's data: the servers and the guard, not the port mapper.
    let own: Vec<String> = std::fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&data))
        })
        .collect();
    ensure!(own.len() >= 3, "expected the servers and the guard, found {own:?}");

    run.kill()?;
    run.wait()?;

    for pid in own.iter().chain([&command]) {
        eventually(&format!("process {pid} outlives its run"), || !runs(pid)).await?;
    }
    eventually("the data outlives its run", || !std::path::Path::new(&data).exists()).await
}

#[tokio::test]
async fn the_exit_code_of_the_command_is_passed_on() -> Result<()> {
    let directory = Addresses::from_env()?.directory.join(format!("data/exit-code-{}", std::process::id()));
    let status = Command::new(env!("CARGO_BIN_EXE_wafleet-services"))
        .arg("--dir")
        .arg(&directory)
        .args(["run", "--", "sh", "-c", "exit 7"])
        .status()?;
    ensure!(status.code() == Some(7), "{status}");
    Ok(())
}

#[tokio::test]
async fn servers_of_a_tests_own_can_be_killed_and_come_back_as_they_were() -> Result<()> {
    use wafleet_protocol::command::{Command, SessionStart};
    use wafleet_tests::fleet::{Host, Posted, Target};

    let mut own = OwnServices::start(&[Server::RabbitMq, Server::Redis, Server::MariaDb]).await?;
    let fleet = Fleet::on(own.addresses()).await?;
    let host = fleet.lasting_host().await?;
    let start = Command::SessionStart(SessionStart::default());
    let post = async |host: &Host| host.post(&host.letter(&Target::new("s1")?, &start)?).await;
    ensure!(post(&host).await? == Posted::Routed);
    let control = wafleet_protocol::topology::CONTROL;
    ensure!(fleet.database().sessions().await?.is_empty());
    ensure!(fleet.leases().await?.is_empty());

    let ids = (own.rabbitmq()?.id(), own.redis()?.id(), own.mariadb()?.id());
    own.rabbitmq()?.kill();
    own.redis()?.kill();
    own.mariadb()?.kill();
    ensure!(
        own.rabbitmq()?.id().is_none() && fleet.leases().await.is_err() && fleet.database().sessions().await.is_err()
    );
    own.rabbitmq()?.start_node()?;
    own.redis()?.start_again()?;
    own.mariadb()?.start_again()?;
    let again = (own.rabbitmq()?.id(), own.redis()?.id(), own.mariadb()?.id());
    ensure!(again.0.is_some() && again.0 != ids.0 && again.1 != ids.1 && again.2 != ids.2, "{ids:?} {again:?}");

    // What was confirmed and committed is there, and the host application goes on by itself.
    ensure!(fleet.database().sessions().await?.is_empty(), "the tables are there");
    ensure!(fleet.leases().await?.is_empty());
    ensure!(post(&host).await? == Posted::Routed);
    let both = async || {
        let fill = fleet.virtual_host().fill().await?;
        Ok(fill.contains(&(control.to_owned(), 2)).then_some(()))
    };
    wait::until("both commands are in the queue", Duration::from_secs(20), both).await?;

    // A read-only database takes no writes but the operator's.
    own.mariadb()?.set_read_only(true).await?;
    let write = "INSERT INTO wafleet_audit (actor, action) VALUES ('x', 'y')";
    let refused = fleet.database().execute(write).await.err().context("it was written")?;
    ensure!(format!("{refused:#}").contains("read-only"), "{refused:#}");
    own.mariadb()?.set_read_only(false).await?;
    fleet.database().execute(write).await?;

    // A broker's control program reaches this node and no other.
    let status = own.rabbitmq()?.control(&["list_vhosts"])?;
    ensure!(status.contains(fleet.name()), "{status}");
    Ok(())
}

#[tokio::test]
async fn two_fleets_share_nothing_and_leave_nothing() -> Result<()> {
    let (one, other) = (Fleet::start().await?, Fleet::start().await?);
    ensure!(one.virtual_host().url() != other.virtual_host().url());
    ensure!(one.database().url() != other.database().url());
    ensure!(one.redis_prefix() != other.redis_prefix());

    let client = redis::Client::open(one.redis_url())?;
    let mut redis = client.get_multiplexed_async_connection().await?;
    for fleet in [&one, &other] {
        let key = format!("{}:lease", fleet.redis_prefix());
        redis::cmd("SET").arg(&key).arg("x").exec_async(&mut redis).await?;
    }
    let (database, name, files) = (one.database().url().to_owned(), one.name().to_owned(), one.scratch().to_owned());
    drop(one);

    let left: Vec<String> = redis::cmd("KEYS").arg(format!("{name}*")).query_async(&mut redis).await?;
    ensure!(left.is_empty(), "{left:?}");
    let kept: i64 = redis::cmd("EXISTS").arg(format!("{}:lease", other.redis_prefix())).query_async(&mut redis).await?;
    ensure!(kept == 1, "the other fleet lost its key");
    ensure!(!files.exists());
    let error = <sqlx::MySqlConnection as sqlx::Connection>::connect(&database).await.err().context("still there")?;
    ensure!(error.to_string().contains("Unknown database"), "{error}");
    other.host().await?;
    Ok(())
}

#[tokio::test]
async fn a_command_reaches_its_queue_exactly_as_it_was_signed() -> Result<()> {
    use futures::StreamExt;
    use lapin::options::BasicConsumeOptions;
    use wafleet_protocol::command::{Command, SessionStart};
    use wafleet_protocol::signing::{Audience, HeaderValue, RawProperties, Signed};
    use wafleet_protocol::topology;
    use wafleet_tests::fleet::{Posted, Target, unix_now};

    let fleet = Fleet::start().await?;
    let host = fleet.host().await?;
    let letter = host.letter(&Target::new("s1")?, &Command::SessionStart(SessionStart::default()))?;
    ensure!(host.post(&letter).await? == Posted::Routed);

    let channel = host.connection().create_channel().await?;
    let consume = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut queue = channel.basic_consume(topology::CONTROL.into(), "".into(), consume, Default::default()).await?;
    let delivery = queue.next().await.context("the queue ended")??;
    ensure!(delivery.data == letter.body);
    let text: Vec<(String, String)> = delivery
        .properties
        .headers()
        .iter()
        .flat_map(|table| table.inner())
        .filter_map(|(name, value)| {
            Some((name.to_string(), String::from_utf8_lossy(value.as_long_string()?.as_bytes()).into_owned()))
        })
        .collect();
    let headers: Vec<_> = text.iter().map(|(name, value)| (name.as_str(), HeaderValue::Text(value))).collect();
    let raw = RawProperties {
        message_id: delivery.properties.message_id().as_ref().map(|id| id.as_str()),
        type_: delivery.properties.kind().as_ref().map(|type_| type_.as_str()),
        content_type: delivery.properties.content_type().as_ref().map(|type_| type_.as_str()),
        headers: &headers,
    };
    let verified = Signed::new(raw, &delivery.data).verify(fleet.keyring(), Audience::Commands, unix_now())?;
    ensure!(Some(verified.message_id.to_string()) == letter.message_id);

    let mut nowhere = Letter { exchange: topology::EVENTS.to_owned(), ..letter };
    nowhere.routing_key = "nobody".to_owned();
    ensure!(host.post(&nowhere).await? == Posted::Routed, "the host's own queue takes every event");
    let error = host.events().wait_for("event", |_| Some(())).await.expect_err("a command is no event");
    ensure!(error.to_string().contains("does not verify"), "{error}");
    Ok(())
}

#[tokio::test]
async fn connections_can_be_cut() -> Result<()> {
    let fleet = Fleet::start().await?;
    let host = fleet.host().await?;
    ensure!(fleet.virtual_host().close_connections(1).await? == 1);
    let error = host.events().wait_for("event", |_| Some(())).await.expect_err("the connection is gone");
    ensure!(error.to_string().contains("the event queue"), "{error}");
    Ok(())
}
