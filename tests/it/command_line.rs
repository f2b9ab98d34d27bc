//! The one binary as its users meet it: help, settings, keys, migrations, health, signals, and starting before the services.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use url::Url;
use wafleet_imitation::Options;
use wafleet_protocol::command::Command;
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{Envelope, Event};
use wafleet_protocol::signing::{Keyring, Role};
use wafleet_tests::fleet::{Fleet, PATIENCE, Target, failure};
use wafleet_tests::processes::Browser;
use wafleet_tests::proxy::Proxy;
use wafleet_tests::services::Addresses;
use wafleet_tests::stage::Stage;
use wafleet_tests::wait;

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn every_subcommand_explains_itself() -> Result<()> {
    let fleet = Fleet::without_tables(&Addresses::from_env()?).await?;
    let tool = fleet.worker("w1");
    let pages: [(&[&str], &[&str]); 20] = [
        (
            &["--help"],
            &["worker", "migrate", "config", "keys", "health", "session", "send", "events", "WAFLEET_AMQP_URL"],
        ),
        (&["worker", "--help"], &["SIGTERM"]),
        (&["migrate", "--help"], &["up", "down", "status"]),
        (&["migrate", "up", "--help"], &["schema"]),
        (&["migrate", "down", "--help"], &["--steps", "--all"]),
        (&["migrate", "status", "--help"], &["applied"]),
        (&["config", "--help"], &["check", "list"]),
        (&["config", "check", "--help"], &["secrets hidden"]),
        (&["config", "list", "--help"], &["defaults"]),
        (&["keys", "--help"], &["generate"]),
        (&["keys", "generate", "--help"], &["--out", "--workspaces", "WAFLEET_KEYRING_FILE"]),
        (&["health", "--help"], &["live", "ready", "startup"]),
        (&["session", "--help"], &["start", "status", "stop", "logout", "link-code", "move"]),
        (&["session", "start", "--help"], &["--workspace", "--show-qr", "--pairing-phone", "--wait", "--json", "--id"]),
        (&["session", "status", "--help"], &["--workspace", "--json"]),
        (&["session", "stop", "--help"], &["--workspace", "credentials"]),
        (&["session", "logout", "--help"], &["--workspace", "Unlink"]),
        (&["session", "link-code", "--help"], &["--workspace", "--phone"]),
        (&["send", "--help"], &["--workspace", "--to", "--text", "--reference", "--lane", "Example"]),
        (&["events", "--help"], &["--workspace", "--session", "--count"]),
    ];
    let mut failures = Vec::new();
    for (arguments, words) in pages {
        let output = tool.run(arguments).await?;
        let page = stdout(&output);
        let missing: Vec<_> = words.iter().filter(|word| !page.contains(**word)).collect();
        if !output.status.success() || !output.stderr.is_empty() || !missing.is_empty() {
            failures.push(format!("{arguments:?}: {}, lacks {missing:?}\n{page}{}", output.status, stderr(&output)));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));

    let version = tool.run(&["--version"]).await?;
    ensure!(version.status.success() && stdout(&version).starts_with("wafleet "), "{version:?}");
    for wrong in [&[][..], &["wrok"], &["session", "start", "../etc", "--workspace", "1"], &["health", "alive"]] {
        let output = tool.run(wrong).await?;
        ensure!(output.status.code() == Some(2), "{wrong:?}: {output:?}");
        ensure!(stdout(&output).is_empty() && !output.stderr.is_empty(), "{wrong:?}: {output:?}");
    }
    Ok(())
}

#[tokio::test]
async fn settings_are_checked_all_at_once_and_secrets_stay_hidden() -> Result<()> {
    let fleet = Fleet::without_tables(&Addresses::from_env()?).await?;
    let secrets: Vec<String> = [fleet.virtual_host().url(), fleet.redis_url(), fleet.database().url()]
        .into_iter()
        .filter_map(|url| Some(Url::parse(url).ok()?.password()?.to_owned()))
        .collect();
    ensure!(secrets.len() >= 2, "the services of this run have passwords");

    let good = fleet.worker("w1").env("WAFLEET_CAPACITY", "7").run(&["config", "check"]).await?;
    let page = stdout(&good);
    ensure!(good.status.success() && page.trim_end().ends_with("ok"), "{good:?}");
    for line in ["WAFLEET_CAPACITY", "(hidden)", "redis_prefix", "lease_ttl_secs"] {
        ensure!(page.contains(line), "{line} is missing in\n{page}");
    }
    ensure!(page.matches("(hidden)").count() >= 3, "{page}");
    ensure!(!secrets.iter().any(|secret| page.contains(secret.as_str())), "a secret is shown");

    let bad = fleet
        .worker("w1")
        .env("WAFLEET_AMQP_URL", "http://user:hunter2@127.0.0.1/")
        .env("WAFLEET_DATABASE_URL", "not a url with hunter2")
        .env("WAFLEET_CAPACITY", "0")
        .env("WAFLEET_LEASE_TTL_SECS", "soon")
        .env("WAFLEET_CHROMIUM_PATH", "/nowhere/chromium")
        .env("WAFLEET_CHROMIUM_FLAVOR", "firefox")
        .env("WAFLEET_SITE_URL", "web.whatsapp.com")
        .env("WAFLEET_KEYRING_FILE", "/nowhere/keyring.json")
        .env("WAFLEET_CAPACTY", "7")
        .without("WAFLEET_REDIS_URL");
    for arguments in [&["config", "check"][..], &["worker"]] {
        let output = bad.run(arguments).await?;
        let text = stderr(&output);
        ensure!(output.status.code() == Some(1), "{arguments:?}: {}", output.status);
        for problem in [
            "amqp_url",
            "database_url",
            "WAFLEET_REDIS_URL is not set",
            "capacity must be",
            "lease_ttl_secs must be",
            "/nowhere/chromium",
            "chromium_flavor",
            "site_url",
            "/nowhere/keyring.json",
            "WAFLEET_CAPACTY (did you mean capacity?)",
        ] {
            ensure!(text.contains(problem), "{arguments:?} does not name {problem}:\n{text}");
        }
        ensure!(!text.contains("hunter2") && !stdout(&output).contains("hunter2"), "{arguments:?} shows a secret");
    }
    let list = fleet.worker("w1").run(&["config", "list"]).await?;
    ensure!(list.status.success() && stdout(&list).contains("WAFLEET_SITE_URL"), "{list:?}");
    Ok(())
}

#[tokio::test]
async fn new_keys_are_for_their_owner_only_and_fit() -> Result<()> {
    let fleet = Fleet::without_tables(&Addresses::from_env()?).await?;
    let path = fleet.scratch().join("new-keys.json");
    let name = path.to_str().context("a path of a test is text")?;
    let made = fleet.worker("w1").run(&["keys", "generate", "--out", name, "--workspaces", "3,4"]).await?;
    ensure!(made.status.success(), "{made:?}");
    let mode = std::fs::metadata(&path)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "mode {mode:o}");
    let text = std::fs::read_to_string(&path)?;
    let ring = Keyring::parse(&text)?;
    let now = wafleet_tests::fleet::unix_now();
    for (workspace, role, there) in [
        (3, Role::Commands, true),
        (4, Role::Commands, true),
        (5, Role::Commands, false),
        (5, Role::Events, true),
        (5, Role::Ops, true),
    ] {
        let found = ring.signer(role, wafleet_protocol::id::WorkspaceId::new(workspace)?, now).is_some();
        ensure!(found == there, "a key of the role {role} for workspace {workspace}: {found}");
    }
    let document: serde_json::Value = serde_json::from_str(&text)?;
    for key in document["keys"].as_array().context("keys")? {
        let secret = key["secret"].as_str().context("a secret")?;
        ensure!(!stdout(&made).contains(secret) && !stderr(&made).contains(secret), "a secret is shown");
    }

    let again = fleet.worker("w1").run(&["keys", "generate", "--out", name]).await?;
    ensure!(again.status.code() == Some(1) && stderr(&again).contains(name), "{again:?}");
    ensure!(std::fs::read_to_string(&path)? == text, "the keys were overwritten");
    let check = fleet.worker("w1").env("WAFLEET_KEYRING_FILE", name).run(&["config", "check"]).await?;
    ensure!(check.status.success(), "{check:?}");
    Ok(())
}

#[tokio::test]
async fn migrations_go_up_and_down_by_command() -> Result<()> {
    let fleet = Fleet::without_tables(&Addresses::from_env()?).await?;
    let tool = fleet.worker("w1");
    let tables = async || -> Result<Vec<String>> {
        let select = "SELECT CONVERT(TABLE_NAME USING utf8mb4) FROM information_schema.TABLES
                      WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME <> '_sqlx_migrations' ORDER BY TABLE_NAME";
        Ok(sqlx::query_scalar(select).fetch_all(fleet.database().pool()).await?)
    };
    let states = async || -> Result<Vec<String>> {
        let output = tool.run(&["migrate", "status"]).await?;
        ensure!(output.status.success(), "{output:?}");
        Ok(stdout(&output).lines().map(|line| line.split_whitespace().next().unwrap_or("").to_owned()).collect())
    };
    let fresh = states().await?;
    ensure!(fresh.len() >= 4 && fresh.iter().all(|state| state == "pending"), "{fresh:?}");
    ensure!(tables().await?.is_empty());

    let up = tool.run(&["migrate", "up"]).await?;
    ensure!(up.status.success() && stdout(&up).contains("up to date"), "{up:?}");
    ensure!(states().await?.iter().all(|state| state == "applied"));
    let made = tables().await?;
    for table in ["wafleet_audit", "wafleet_commands", "wafleet_sessions", "whatsapp_sessions"] {
        ensure!(made.iter().any(|found| found == table), "no table {table}: {made:?}");
    }
    let again = tool.run(&["migrate", "up"]).await?;
    ensure!(again.status.success() && stdout(&again).contains("0 applied now"), "{again:?}");

    let down = tool.run(&["migrate", "down"]).await?;
    ensure!(down.status.success() && stdout(&down).contains("1 taken back"), "{down:?}");
    let after = states().await?;
    ensure!(
        after.iter().filter(|state| *state == "pending").count() == 1
            && after.last().is_some_and(|last| last == "pending"),
        "{after:?}"
    );
    let down = tool.run(&["migrate", "down", "--all"]).await?;
    ensure!(down.status.success(), "{down:?}");
    ensure!(tables().await?.is_empty(), "left: {:?}", tables().await?);
    let up = tool.run(&["migrate", "up"]).await?;
    ensure!(up.status.success() && tables().await? == made, "{up:?}");

    let nowhere = tool
        .env("WAFLEET_DATABASE_URL", "mysql://nobody:hunter2@127.0.0.1:1/nothing")
        .run(&["migrate", "status"])
        .await?;
    ensure!(nowhere.status.code() == Some(1) && stderr(&nowhere).contains("cannot connect"), "{nowhere:?}");
    ensure!(!stderr(&nowhere).contains("hunter2"), "a secret is shown");
    Ok(())
}

#[tokio::test]
async fn health_is_told_before_during_and_after_a_worker() -> Result<()> {
    const PROBES: [&str; 3] = ["live", "ready", "startup"];
    let fleet = Fleet::start().await?;
    for probe in PROBES {
        let output = fleet.worker("w1").run(&["health", probe]).await?;
        ensure!(output.status.code() == Some(1) && stderr(&output).contains("no heartbeat"), "{probe}: {output:?}");
    }
    let mut worker = fleet.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    for probe in PROBES {
        let output = worker.run(&["health", probe]).await?;
        ensure!(output.status.success() && stdout(&output).contains("worker w1"), "{probe}: {output:?}");
    }

    // With no session to close, a drain takes no time.
    let asked = Instant::now();
    let ended = worker.terminate(Duration::from_secs(20)).await?;
    ensure!(ended.code() == Some(0), "{ended}");
    ensure!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    ensure!(worker.heartbeat()?.is_none(), "the heartbeat file is left");
    for probe in PROBES {
        let output = worker.run(&["health", probe]).await?;
        ensure!(output.status.code() == Some(1), "{probe}: {output:?}");
    }

    let mut worker = fleet.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    worker.kill()?;
    for probe in PROBES {
        let output = worker.run(&["health", probe]).await?;
        ensure!(output.status.code() == Some(1) && stderr(&output).contains("is gone"), "{probe}: {output:?}");
    }
    Ok(())
}

#[tokio::test]
async fn sessions_are_driven_and_watched_from_a_terminal() -> Result<()> {
    let fleet = Fleet::start().await?;
    let host = fleet.host().await?;
    let mut worker = fleet.worker("w1").without_browser().spawn()?;
    worker.wait_until_ready().await?;

    let unknown = worker.run(&["session", "status", "s1", "--workspace", "1", "--json"]).await?;
    ensure!(unknown.status.code() == Some(1), "{unknown:?}");
    let events = |output: &Output| -> Result<Vec<Envelope>> {
        let lines = stdout(output);
        lines
            .lines()
            .map(|line| {
                let type_ =
                    serde_json::from_str::<serde_json::Value>(line)?["type"].as_str().context("a type")?.to_owned();
                Ok(Envelope::parse(&type_, line.as_bytes())?)
            })
            .collect()
    };
    let told = events(&unknown)?;
    let Some(Event::CommandResult(result)) = told.last().map(|envelope| &envelope.event) else {
        anyhow::bail!("no result: {unknown:?}")
    };
    ensure!(failure(result)? == ErrorCode::UnknownSession, "{result:?}");

    let started = worker.run(&["session", "start", "s1", "--workspace", "1"]).await?;
    ensure!(started.status.success() && stdout(&started).contains("session.start succeeded"), "{started:?}");
    let status = worker.run(&["session", "status", "s1", "--workspace", "1", "--json", "--id", "asked-once"]).await?;
    ensure!(status.status.success(), "{status:?}");
    let results = events(&status)?;
    let answered = results.iter().any(|envelope| {
        matches!(&envelope.event, Event::CommandResult(result) if result.command_id.as_str() == "asked-once")
    });
    ensure!(answered, "{status:?}");
    let stopped = worker.run(&["session", "stop", "s1", "--workspace", "1"]).await?;
    ensure!(stopped.status.success(), "{stopped:?}");
    let refused = worker.run(&["session", "link-code", "s1", "--workspace", "1", "--phone", "4915112345678"]).await?;
    ensure!(refused.status.code() == Some(1) && stdout(&refused).contains("session_stopped"), "{refused:?}");
    let lost = worker.run(&["send", "s2", "--workspace", "1", "--to", "4915112345678", "--text", "hello"]).await?;
    ensure!(lost.status.code() == Some(1) && stdout(&lost).contains("unknown_session"), "{lost:?}");
    ensure!(!stderr(&lost).contains("4915112345678"), "{lost:?}");

    // Watching: the next events as JSON lines.
    let mut watch = tokio::process::Command::from(worker.wafleet(&["events", "--workspace", "1", "--count", "1"])?);
    let watch = watch.kill_on_drop(true).stdout(std::process::Stdio::piped()).spawn()?;
    let bound = async || {
        // Its queue has a name that the broker chose.
        let queues = fleet.virtual_host().queues().await?;
        Ok(queues.iter().any(|queue| queue.starts_with("amq.gen")).then_some(()))
    };
    wait::until("the watcher listens", PATIENCE, bound).await?;
    // The queue is there a moment before its binding, so the first answer may pass it by.
    let target = Target::new("s1")?;
    let asking = async {
        loop {
            host.ask(&target, &Command::SessionStatus).await?;
        }
    };
    let watched = tokio::select! {
        watched = tokio::time::timeout(PATIENCE, watch.wait_with_output()) => watched??,
        error = asking => return error,
    };
    ensure!(watched.status.success() && events(&watched)?.len() == 1, "{watched:?}");

    // Nobody answers: the wait has an end, and says what is going on.
    ensure!(worker.terminate(Duration::from_secs(20)).await?.success());
    let alone = worker.run(&["session", "status", "s1", "--workspace", "1", "--wait", "1"]).await?;
    ensure!(alone.status.code() == Some(1) && stderr(&alone).contains("no end after 1 s"), "{alone:?}");
    Ok(())
}

#[tokio::test]
async fn a_second_sigterm_ends_a_drain_that_hangs_and_leaves_no_browser() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone("4915112345678", "Anna");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let browser = Browser::of(worker.pid(), &stage.session_dir(&target))?;
    // A browser that does nothing any more makes the drain wait for it.
    for process in &browser.group {
        process.signal(Signal::STOP)?;
    }
    worker.signal(Signal::TERM)?;
    let draining = async || Ok(worker.heartbeat()?.filter(|heartbeat| heartbeat.state == "draining"));
    wait::until("the heartbeat says draining", Duration::from_secs(20), draining).await?;
    let ready = worker.run(&["health", "ready"]).await?;
    ensure!(ready.status.code() == Some(1) && stderr(&ready).contains("draining"), "{ready:?}");
    worker.signal(Signal::TERM)?;
    let ended = worker.wait(Duration::from_secs(5)).await?;
    ensure!(ended.code() == Some(1), "{ended}");
    ensure!(worker.output()?.contains("second signal: killing"), "the log does not say why");
    let gone = async || Ok(browser.group.iter().all(|process| !process.is_alive()).then_some(()));
    wait::until("the browser is gone, though it was stopped", Duration::from_secs(5), gone).await
}

#[tokio::test]
async fn a_worker_waits_for_services_that_are_away_and_says_so() -> Result<()> {
    let fleet = Fleet::without_tables(&Addresses::from_env()?).await?;
    let urls = [fleet.virtual_host().url(), fleet.redis_url(), fleet.database().url()];
    let [broker, redis, database] =
        [Proxy::closed(urls[0]).await?, Proxy::closed(urls[1]).await?, Proxy::closed(urls[2]).await?];
    let mut worker = fleet
        .worker("w1")
        .env("WAFLEET_AMQP_URL", broker.url(urls[0])?)
        .env("WAFLEET_REDIS_URL", redis.url(urls[1])?)
        .env("WAFLEET_DATABASE_URL", database.url(urls[2])?)
        .spawn()?;
    let says = async |words: &str| {
        let said = async || Ok(worker.output()?.lines().find(|line| line.contains(words)).map(str::to_owned));
        wait::until(&format!("the log says {words:?}"), PATIENCE, said).await
    };
    let line = says("waiting for the services").await?;
    for service in ["database", "redis", "broker"] {
        ensure!(line.contains(service), "{service} is not named: {line}");
    }
    let live = worker.run(&["health", "live"]).await?;
    ensure!(live.status.success(), "waiting is no reason to be restarted: {live:?}");
    for (probe, why) in [("startup", "not reached"), ("ready", "no broker connection")] {
        let output = worker.run(&["health", probe]).await?;
        ensure!(output.status.code() == Some(1) && stderr(&output).contains(why), "{probe}: {output:?}");
    }

    // One after the other; the last thing missing is the schema, and the log says how to make it.
    broker.open();
    redis.open();
    database.open();
    let line = says("wafleet migrate up").await?;
    ensure!(line.contains("waiting"), "{line}");
    let startup = worker.run(&["health", "startup"]).await?;
    ensure!(startup.status.code() == Some(1), "{startup:?}");
    let migrated = worker.run(&["migrate", "up"]).await?;
    ensure!(migrated.status.success(), "{migrated:?}");
    worker.wait_until_ready().await?;

    // And a worker that still waits can be ended.
    database.close();
    let ended = worker.terminate(Duration::from_secs(20)).await?;
    ensure!(ended.success(), "{ended}");
    let mut worker = fleet.worker("w2").env("WAFLEET_REDIS_URL", "redis://127.0.0.1:1/").spawn()?;
    let waits = async || Ok(worker.output()?.contains("waiting for the services").then_some(()));
    wait::until("the second worker waits", PATIENCE, waits).await?;
    let ended = worker.terminate(Duration::from_secs(20)).await?;
    ensure!(ended.success(), "{ended}");
    Ok(())
}

#[tokio::test]
async fn a_worker_goes_on_when_the_broker_has_cut_its_connections() -> Result<()> {
    let fleet = Fleet::start().await?;
    let mut worker = fleet.worker("w1").without_browser().spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    for round in 1..=3 {
        // The worker has two: one publishes, one consumes.
        ensure!(fleet.virtual_host().close_connections(2).await? == 2, "round {round}");
        // The host application connects anew; what came meanwhile is in its queue.
        let host = fleet.host().await?;
        let result = host.ask(&target, &Command::SessionStatus).await?;
        ensure!(failure(&result)? == ErrorCode::UnknownSession, "round {round}: {result:?}");
    }
    ensure!(worker.output()?.contains("dialling again"), "the log does not say it");
    worker.wait_until_ready().await?;
    ensure!(worker.terminate(Duration::from_secs(20)).await?.success());
    Ok(())
}
