//! The main job of wafleet from end to end, told as a story: a signed command in, a session linked by QR, a text sent with
//! its acks, a message received, events out. Everything is real but the far end.
//!
//! Runs inside `wafleet-services run`; exits with 0 only if all of it happened.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use wafleet::story::{happening, qr_picture};
use wafleet_imitation::{AckTimes, Imitation, Number, Options, Phone};
use wafleet_protocol::command::{Command, MessageSend, SessionStart};
use wafleet_protocol::event::{AckName, Event, Outcome, SessionStatus};
use wafleet_tests::fleet::{Fleet, Host, Journal, Target, Worker};

/// How long the linked person's phone looks at the code before it is scanned.
const SCAN_LIMIT: Duration = Duration::from_secs(10);
/// How long a drain may take.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let told = Story { began: Instant::now() };
    match runtime.block_on(demo(&told)) {
        Ok(()) => {
            told.says("all of it happened; no browser process is left");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("\nthe demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints what we do and what the fleet answers, with the time since the start.
struct Story {
    began: Instant,
}

impl Story {
    fn line(&self, at: Instant, mark: &str, text: &str) {
        println!("{:7.2} s  {mark} {text}", at.saturating_duration_since(self.began).as_secs_f64());
    }

    /// Something we do.
    fn says(&self, text: &str) {
        self.line(Instant::now(), "●", text);
    }

    /// The events that came since the last call, in their order.
    fn events(&self, journal: &Journal, shown: &mut usize) {
        for entry in journal.entries().into_iter().skip(*shown) {
            *shown += 1;
            let kind = entry.envelope.event.type_name();
            self.line(
                entry.at,
                "←",
                &format!("{kind:<18} seq {:<3} {}", entry.envelope.seq, happening(&entry.envelope.event)),
            );
        }
    }
}

async fn demo(told: &Story) -> anyhow::Result<()> {
    println!(
        "\nwafleet: the main job, on real RabbitMQ, Redis, MariaDB and Chromium; WhatsApp is imitated on loopback\n"
    );
    let acks = AckTimes {
        server: Duration::from_millis(150),
        delivered: Some(Duration::from_millis(600)),
        read: Some(Duration::from_millis(1200)),
    };
    let site = Imitation::start(Options { acks, ..Options::default() }).await?;
    let (anna, ben): (Number, Number) = ("4915112345678".parse()?, "4915187654321".parse()?);
    let phone = site.phone(&anna, "Anna");
    site.phone(&ben, "Ben");
    told.says("an imitation of WhatsApp Web is up, with two phones: Anna's, to be linked, and Ben's");

    let fleet = Fleet::start().await?;
    let host = fleet.host().await?;
    told.says("a virtual host, a migrated database and signing keys are made; the host application listens for events");
    let mut worker = fleet.worker("demo-worker").env("WAFLEET_SITE_URL", site.url()).quiet().spawn()?;
    worker.wait_until_ready().await?;
    told.says("a worker is up: it has no listening socket, commands reach it through RabbitMQ only");

    let result = main_job(told, &site, &phone, &ben, &host, &mut worker).await;
    if result.is_err() {
        eprintln!("--- what the worker wrote ---\n{}", worker.output().unwrap_or_default());
    }
    result?;
    site.stop().await;
    let left = processes_mentioning(&fleet.scratch().display().to_string())?;
    ensure!(left.is_empty(), "processes are left: {left:?}");
    Ok(())
}

/// Pids of processes whose command line names a path: every browser names its profile.
fn processes_mentioning(path: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let command_line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&command_line).contains(path) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

async fn main_job(
    told: &Story,
    site: &Imitation,
    phone: &Phone,
    ben: &Number,
    host: &Host,
    worker: &mut Worker,
) -> anyhow::Result<()> {
    let target = Target::new("demo")?;
    let (journal, mut shown) = (host.events(), 0);

    told.says("the host publishes a signed session.start");
    host.send(&target, &Command::SessionStart(SessionStart::default())).await?;
    let code = journal
        .wait_for("session.qr", |envelope| match &envelope.event {
            Event::SessionQr(qr) => Some(qr.qr.as_str().to_owned()),
            _ => None,
        })
        .await?;
    told.events(journal, &mut shown);
    println!("{}", qr_picture(&code).context("the code does not fit into a QR")?);

    told.says("Anna scans it with her phone");
    tokio::time::timeout(SCAN_LIMIT, phone.scan(&code)).await??;
    journal
        .wait_for("the status connected", |envelope| match &envelope.event {
            Event::SessionStatus(told) if told.status == SessionStatus::Connected => Some(()),
            _ => None,
        })
        .await?;
    told.events(journal, &mut shown);

    told.says("the host publishes a signed message.send to Ben");
    let text = "Hello Ben, this left through wafleet.";
    let send = Command::MessageSend(MessageSend {
        reference: Some("order-7".to_owned().try_into()?),
        ..MessageSend::text(ben.to_string().parse()?, text.try_into()?)
    });
    let id = host.send(&target, &send).await?;
    journal
        .wait_for("the result of message.send", |envelope| match &envelope.event {
            Event::CommandResult(result) if result.command_id == id => Some(result.outcome),
            _ => None,
        })
        .await
        .and_then(|outcome| {
            ensure!(outcome == Outcome::Succeeded, "message.send {}", outcome.as_str());
            Ok(())
        })?;
    for level in [AckName::Sent, AckName::Delivered, AckName::Read] {
        journal
            .wait_for(&format!("the ack {level:?}"), |envelope| match &envelope.event {
                Event::MessageAck(ack) if ack.ack.name() == level => Some(()),
                _ => None,
            })
            .await?;
    }
    told.events(journal, &mut shown);

    told.says("Ben answers");
    phone.receive_text(ben, "Ben", "Hello Anna, it has arrived.");
    journal
        .wait_for("message.received", |envelope| match &envelope.event {
            Event::MessageReceived(message) => message.text.as_ref().map(|_| ()),
            _ => None,
        })
        .await?;
    told.events(journal, &mut shown);

    let departures = site.sent();
    ensure!(departures.len() == 1 && departures[0].copies() == 1, "not exactly one message left: {departures:?}");
    told.says(&format!("WhatsApp's record has exactly one message from this session: \"{}\"", departures[0].text));

    told.says("SIGTERM: the worker closes the browser with all its state, releases the session and ends");
    let status = worker.terminate(DRAIN_LIMIT).await?;
    ensure!(status.success(), "the worker ended with {status}");
    told.events(journal, &mut shown);
    journal.check_order()?;
    Ok(())
}
