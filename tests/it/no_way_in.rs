//! Nothing listens, nobody else reads a profile, and nothing personal or secret is written where operators look.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use url::Url;
use wafleet_imitation::{AckTimes, Address, Options, SendFault};
use wafleet_protocol::command::{Command, SessionLinkCode, SessionStart};
use wafleet_protocol::event::{Envelope, Event, Outcome, SessionStatus};
use wafleet_protocol::signing::SIGNATURE_HEADER;
use wafleet_tests::fleet::{Draft, Fleet, HOST_KEY, PATIENCE, Target};
use wafleet_tests::processes::{Browser, Process, ways_in};
use wafleet_tests::stage::{START, Stage, text, text_with_reference};

#[tokio::test]
async fn neither_the_worker_nor_its_browser_listens() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone("4915112345678", "Anna");
    stage.site.phone("4915187654321", "Bert");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;

    // The test can see what listens: the far end does, in this very process.
    let own = Process::of(std::process::id()).context("this process is alive")?;
    ensure!(!ways_in(&[own])?.is_empty(), "the imitation listens, and is not seen");

    let nobody_listens = |moment: &str, least: usize| -> Result<()> {
        let tree = Process::tree(worker.pid())?;
        ensure!(tree.len() >= least, "{moment}: only {tree:#?}");
        let open = ways_in(&tree)?;
        ensure!(open.is_empty(), "{moment}: {open:#?}");
        Ok(())
    };
    nobody_listens("without a session", 1)?;
    let mark = stage.host.events().len();
    stage.host.send(&target, &START).await?;
    let (_, qr) = stage.wait_for_qr(mark, &target, |_| true).await?;
    nobody_listens("with a code on show", 4)?;
    anna.scan(qr.qr.as_str()).await?;
    stage.host.wait_for_status(mark, &target, SessionStatus::Connected).await?;
    nobody_listens("connected", 4)?;
    for n in 0..3 {
        let sent = stage.host.ask(&target, &text("4915187654321", &format!("message {n}"))?).await?;
        ensure!(sent.outcome == Outcome::Succeeded, "{sent:?}");
        nobody_listens("after a message", 4)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_profile_is_for_its_worker_only_and_the_browser_knows_no_secret() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone("4915112345678", "Anna");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;

    let session_dir = stage.session_dir(&target);
    let mut inside = 0;
    let workspace_dir = session_dir.parent().context("a session has a workspace")?;
    for dir in [
        &stage.fleet.profile_root(),
        workspace_dir,
        &session_dir,
        &session_dir.join("profile"),
        &session_dir.join("tmp"),
    ] {
        let mode = std::fs::metadata(dir)?.permissions().mode() & 0o777;
        ensure!(mode == 0o700, "{} has mode {mode:o}", dir.display());
        inside += std::fs::read_dir(dir)?.count();
    }
    ensure!(inside > 5, "a profile has more than {inside} entries");

    let secrets = secrets(&stage.fleet)?;
    let browser = Browser::of(worker.pid(), &session_dir)?;
    for process in &browser.group {
        let seen = environment(process)? + &process.command;
        let leaked = secrets.iter().filter(|secret| seen.contains(secret.as_str())).count();
        ensure!(leaked == 0, "{leaked} secrets are in the environment or the arguments of {}", process.id);
        ensure!(!seen.contains("WAFLEET_"), "the worker's settings are in the environment of {}", process.id);
    }
    Ok(())
}

/// The secrets of all keys, and the passwords of all services.
fn secrets(fleet: &Fleet) -> Result<Vec<String>> {
    let mut secrets = Vec::new();
    for file in [fleet.keyring_file(), fleet.profile_keys_file()] {
        let document: serde_json::Value = serde_json::from_slice(&std::fs::read(file)?)?;
        for key in document["keys"].as_array().context("a ring has keys")? {
            secrets.push(key["secret"].as_str().context("a key has a secret")?.to_owned());
        }
    }
    for url in [fleet.virtual_host().url(), fleet.redis_url(), fleet.database().url()] {
        secrets.extend(Url::parse(url)?.password().map(str::to_owned));
    }
    ensure!(secrets.len() >= 8 && secrets.iter().all(|secret| secret.len() >= 8), "{} secrets", secrets.len());
    Ok(secrets)
}

fn environment(process: &Process) -> Result<String> {
    let bytes = std::fs::read(format!("/proc/{}/environ", process.id));
    Ok(String::from_utf8_lossy(&bytes.with_context(|| format!("{process:?}"))?).into_owned())
}

/// Something that must not be where operators look.
struct Canary {
    what: String,
    text: String,
}

/// What was planted, and where it was looked for.
#[derive(Default)]
struct Canaries(Vec<Canary>);

impl Canaries {
    fn plant(&mut self, what: &str, text: &str) -> String {
        self.0.push(Canary { what: what.to_owned(), text: text.to_owned() });
        text.to_owned()
    }

    /// Names what was found, without showing it.
    fn look(&self, place: &str, text: &str, failures: &mut Vec<String>) {
        for Canary { what, .. } in self.0.iter().filter(|canary| text.contains(&canary.text)) {
            failures.push(format!("{what} in {place}"));
        }
    }
}

#[tokio::test]
async fn nothing_personal_or_secret_is_written_where_operators_look() -> Result<()> {
    const ANNA: &str = "4915112340001";
    const BERT: &str = "4915112340002";
    const NOBODY: &str = "4915112340003";
    let mut canaries = Canaries::default();
    for (what, number) in [("the own number", ANNA), ("a contact's number", BERT), ("a number not on WhatsApp", NOBODY)]
    {
        canaries.plant(what, number);
    }
    let own_name = canaries.plant("the own name", "Annacanary");
    let name = canaries.plant("a contact's name", "Bertcanary");
    let subject = canaries.plant("a group's subject", "Clubcanary");
    let reference = canaries.plant("a reference", "reference-canary-7");
    let outgoing = canaries.plant("an outgoing text", "outgoing canary text");
    let incoming = canaries.plant("an incoming text", "incoming canary text");
    let in_group = canaries.plant("a text in a group", "group canary text");
    let typed = canaries.plant("a text typed on the phone", "typed canary text");

    let acks = AckTimes { read: Some(Duration::from_millis(300)), ..AckTimes::default() };
    let stage = Stage::set(Options { acks, ..Options::default() }).await?;
    stage.site.page_options(|page| page.qr_after_logout_ms = 500);
    let (anna, bert) = (stage.site.phone(ANNA, &own_name), stage.site.phone(BERT, &name));
    anna.save_contact(BERT, &name);
    stage.site.nobody(NOBODY);
    for secret in secrets(&stage.fleet)? {
        canaries.plant("a secret", &secret);
    }
    let dead = stage.host.dead_letters().await?;
    let mut worker = stage
        .worker("w1")
        .env("WAFLEET_LOG", "info")
        .env("WAFLEET_LOG_FORMAT", "json")
        .env("WAFLEET_PAGE_CALL_TIMEOUT_SECS", "10")
        .spawn()?;
    worker.wait_until_ready().await?;
    let (host, target) = (&stage.host, Target::new("s1")?);

    // Linked by a code, after the QR was on show.
    let start = Command::SessionStart(SessionStart { pairing_phone: Some(ANNA.parse()?), calls: None });
    host.send(&target, &start).await?;
    let (_, qr) = stage.wait_for_qr(0, &target, |_| true).await?;
    for part in qr.qr.as_str().split(',').filter(|part| part.len() > 8) {
        canaries.plant("part of a QR", part);
    }
    let code = |envelope: &Envelope| match &envelope.event {
        Event::SessionCode(code) => Some(code.code.as_str().to_owned()),
        _ => None,
    };
    let code = canaries.plant("a pairing code", &host.events().wait_for("a pairing code", code).await?);
    let refused = Command::SessionLinkCode(SessionLinkCode { phone: BERT.parse()? });
    anna.enter_code(&code).await?;
    let (_, connected) = host.wait_for_status(0, &target, SessionStatus::Connected).await?;
    canaries
        .plant("the own lid", connected.lid.as_ref().context("a lid")?.as_str().split('@').next().unwrap_or_default());
    host.ask(&target, &refused).await?;

    // Sent, refused, cut off, not found.
    let sent = host.ask(&target, &text_with_reference(BERT, &outgoing, &reference)?).await?;
    ensure!(sent.outcome == Outcome::Succeeded, "{sent:?}");
    stage.site.faults(|faults| faults.next_sends(SendFault::Refuse { code: 500 }, 1));
    host.ask(&target, &text_with_reference(BERT, &outgoing, &reference)?).await?;
    stage.site.faults(|faults| faults.next_sends(SendFault::CutAfter, 1));
    host.ask(&target, &text_with_reference(BERT, &outgoing, &reference)?).await?;
    host.ask(&target, &text_with_reference(NOBODY, &outgoing, &reference)?).await?;

    // Received: from a person, in a group, from the own phone.
    let received = async |words: &str| {
        let find = |envelope: &Envelope| match &envelope.event {
            Event::MessageReceived(message) if message.text.as_ref().is_some_and(|text| text.as_str() == words) => {
                Some(())
            }
            Event::MessageSent(sent) if sent.message.text.as_ref().is_some_and(|text| text.as_str() == words) => {
                Some(())
            }
            _ => None,
        };
        host.events().wait_from(0, "a message", 2 * PATIENCE, find).await
    };
    anna.receive_text(BERT, &name, &incoming);
    received(&incoming).await?;
    let group = bert.create_group(&subject, [ANNA]);
    bert.send_text(Address::Group(group), &in_group);
    received(&in_group).await?;
    anna.send_text(BERT, &typed);
    received(&typed).await?;

    // Refused commands that carry all of it.
    let template = Draft::new(&target, &text(BERT, &outgoing)?)?;
    let host_key = stage.fleet.keyring().get(HOST_KEY).context("the host application has a key")?;
    let good = template.sign(host_key);
    let mut unsigned = good.clone();
    unsigned.remove_header(SIGNATURE_HEADER);
    let mut forged = good.clone();
    forged.body.push(b' ');
    let wrong = Draft {
        type_: "session.start".to_owned(),
        body: format!(
            r#"{{"type":"session.start","version":1,"data":{{"pairing_phone":"+{ANNA} {own_name}","{subject}":1}}}}"#
        )
        .into_bytes(),
        routing_key: "control".to_owned(),
        ..template.clone()
    };
    let broken = Draft { body: format!("{{\"text\":\"{outgoing}").into_bytes(), ..template.clone() };
    let stray = Draft { routing_key: "nobody.normal".to_owned(), session: "nobody".to_owned(), ..template.clone() };
    for letter in [unsigned, forged, wrong.sign(host_key), broken.sign(host_key), stray.sign(host_key)] {
        let before = dead.len();
        host.post(&letter).await?;
        dead.wait_from(before, "of a refused command").await?;
    }

    // Trouble: a crashed page, a killed browser, a cut broker connection, an outage, a logout.
    let browser = Browser::of(worker.pid(), &stage.session_dir(&target))?;
    browser.renderer()?.signal(Signal::KILL)?;
    host.ask(&target, &text(BERT, &outgoing)?).await?;
    browser.main.signal(Signal::KILL)?;
    host.ask(&target, &text(BERT, &outgoing)?).await?;
    host.ask(&target, &Command::SessionLogout).await?;
    let browsers = chromium_log(&stage.session_dir(&target))?;
    let heartbeat = std::fs::read_to_string(worker.heartbeat_file())?;
    let ended = worker.terminate(Duration::from_secs(30)).await?;
    ensure!(ended.success(), "{ended}");

    let log = worker.output()?;
    ensure!(log.lines().count() > 20, "a run says more than this:\n{log}");
    for line in log.lines() {
        let object: serde_json::Value = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
        ensure!(object["level"].as_str().is_some_and(|level| ["INFO", "WARN", "ERROR"].contains(&level)), "{line}");
    }
    // The bodies are evidence and keep what they had: looking for it finds it.
    let mut found = Vec::new();
    let bodies: String = dead.all().iter().map(|letter| String::from_utf8_lossy(&letter.body).into_owned()).collect();
    canaries.look("bodies", &bodies, &mut found);
    ensure!(found.len() >= 4, "{found:?}");

    let mut failures = Vec::new();
    for line in log.lines() {
        canaries.look(&format!("the log: {}", line.chars().take(160).collect::<String>()), line, &mut failures);
    }
    canaries.look("what the browser wrote", &browsers, &mut failures);
    canaries.look("the heartbeat file", &heartbeat, &mut failures);
    for letter in dead.all() {
        canaries.look("the headers of a dead letter", &letter.outside(), &mut failures);
    }
    for row in stage.fleet.database().audit_after(0).await? {
        canaries.look("the audit trail", &format!("{row:?}"), &mut failures);
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// What the session's browsers wrote.
fn chromium_log(session_dir: &Path) -> Result<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(session_dir.join("chromium.log"))?).into_owned())
}
