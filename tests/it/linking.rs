//! Linking a session with a phone: by QR, by pairing code, and the end of it when nobody does.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use wafleet_imitation::{Options, QrTimes};
use wafleet_protocol::command::{Command, SessionLinkCode, SessionStart};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{Cause, Envelope, Event, Outcome, ResultData, SessionQr, SessionStatus};
use wafleet_tests::fleet::{PATIENCE, Target, failure, standing};
use wafleet_tests::processes::Process;
use wafleet_tests::stage::{START, Stage};
use wafleet_tests::wait;

const ANNA: &str = "4915112345678";

/// All codes of a session so far, each with its envelope.
fn codes(stage: &Stage, target: &Target) -> Vec<(Envelope, SessionQr)> {
    let entries = stage.host.events().entries().into_iter().map(|entry| entry.envelope);
    let of_session = entries.filter(|envelope| envelope.session_id == target.session);
    of_session
        .filter_map(|envelope| match &envelope.event {
            Event::SessionQr(qr) => Some((envelope.clone(), qr.clone())),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_session_is_linked_by_the_code_that_is_on_show() -> Result<()> {
    // The first code is gone before anybody scans it.
    let qr = QrTimes { first: Duration::from_secs(2), next: Duration::from_secs(30), count: 6 };
    let stage = Stage::set(Options { qr, ..Options::default() }).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.host.send(&target, &START).await?;

    let (first_told, first) = stage.wait_for_qr(0, &target, |_| true).await?;
    let (second_told, second) = stage.wait_for_qr(0, &target, |qr| qr.attempt == 2).await?;
    ensure!((first.generation, first.attempt, first.max) == (1, 1, 6), "{first:?}");
    ensure!((second.generation, second.attempt, second.max) == (1, 2, 6), "{second:?}");
    ensure!(first.qr != second.qr && stage.site.current_qr().as_deref() == Some(second.qr.as_str()));
    // WhatsApp Web shows the first code of a series for 60 s and each other for 20 s.
    for (envelope, qr, life_ms) in [(&first_told, &first, 60_000_u64), (&second_told, &second, 20_000)] {
        let left = qr.expires_at.unix_ms().saturating_sub(envelope.occurred_at.unix_ms());
        ensure!(left.abs_diff(life_ms) < 1_000, "a code of {life_ms} ms is said to live for {left} ms");
    }
    let shown: Option<String> = wait::until("the host's row has the code on show", PATIENCE, async || {
        let row = sqlx::query_scalar("SELECT qr_code FROM whatsapp_sessions WHERE session_id = 's1'");
        let code: Option<String> = row.fetch_one(stage.fleet.database().pool()).await?;
        Ok((code.as_deref() == Some(second.qr.as_str())).then_some(code))
    })
    .await?;
    ensure!(shown.is_some());

    ensure!(anna.scan(first.qr.as_str()).await.is_err(), "the first code is over");
    anna.scan(second.qr.as_str()).await?;
    let (_, connected) = stage.host.wait_for_status(0, &target, SessionStatus::Connected).await?;
    ensure!(connected.phone.as_ref().map(|phone| phone.as_str()) == Some(ANNA), "the own number is missing");
    ensure!(connected.lid.is_some() && connected.previous == Some(SessionStatus::Authenticating), "{connected:?}");
    ensure!((connected.cause, connected.attempt, connected.health.score) == (Cause::Ready, 0, 100), "{connected:?}");
    let path: Vec<_> = stage.host.statuses(0, &target).iter().map(|told| told.status).collect();
    use SessionStatus::{Authenticating, Connected, Initializing, QrRequired};
    ensure!(path == [Initializing, QrRequired, Authenticating, Connected], "{path:?}");

    let written = async || {
        let row = sqlx::query_as(
            "SELECT status, phone_number, qr_code, last_connected_at IS NOT NULL FROM whatsapp_sessions WHERE session_id = 's1'",
        );
        let row: (String, Option<String>, Option<String>, bool) = row.fetch_one(stage.fleet.database().pool()).await?;
        Ok((row == ("connected".to_owned(), Some(ANNA.to_owned()), None, true)).then_some(()))
    };
    wait::until("the host's row says connected, with the number and without a code", PATIENCE, written).await?;
    let told = stage.host.ask(&target, &Command::SessionStatus).await?;
    ensure!(standing(&told)?.status == Connected, "{told:?}");
    stage.host.events().check_order()
}

#[tokio::test]
async fn codes_that_nobody_scans_end_the_session_and_say_why() -> Result<()> {
    const GENERATIONS: u32 = 2;
    let qr = QrTimes { first: Duration::from_millis(400), next: Duration::from_millis(200), count: 6 };
    let stage = Stage::set(Options { qr, ..Options::default() }).await?;
    stage.site.page_options(|page| page.qr_refresh_ms = 100);
    let mut worker = stage.worker("w1").env("WAFLEET_QR_GENERATIONS_PER_HOUR", GENERATIONS.to_string()).spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.host.send(&target, &START).await?;

    let (_, failed) = stage.host.wait_for_status(0, &target, SessionStatus::Failed).await?;
    ensure!(failed.cause == Cause::LinkAttemptsExhausted, "{failed:?}");
    let shown = codes(&stage, &target);
    let places: Vec<_> = shown.iter().map(|(_, qr)| (qr.generation, qr.attempt)).collect();
    let expected: Vec<_> =
        (1..=GENERATIONS).flat_map(|generation| (1..=6).map(move |attempt| (generation, attempt))).collect();
    ensure!(places == expected, "{places:?}");
    let distinct: BTreeSet<_> = shown.iter().map(|(_, qr)| qr.qr.as_str()).collect();
    ensure!(distinct.len() == shown.len(), "a code was shown twice");

    let over = async || {
        let row = stage.fleet.database().session("s1").await?.context("no row of the session")?;
        Ok((row.owner.is_none() && row.desired == "stopped" && row.status == "failed").then_some(row))
    };
    let row = wait::until("the session is released and not wanted any more", PATIENCE, over).await?;
    ensure!((row.cause.as_deref(), row.fence) == (Some("link_attempts_exhausted"), 1), "{row:?}");
    ensure!(Process::naming(&stage.fleet.profile_root())?.is_empty(), "its browser is still there");
    stage.host.events().check_order()
}

#[tokio::test]
async fn a_session_is_linked_by_a_code_typed_into_the_phone() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;

    // Asked for with the start.
    let target = Target::new("by-start")?;
    let start = Command::SessionStart(SessionStart { pairing_phone: Some(ANNA.parse()?), calls: None });
    stage.host.send(&target, &start).await?;
    let told = |envelope: &Envelope| match &envelope.event {
        Event::SessionCode(code) => Some((envelope.clone(), code.clone())),
        _ => None,
    };
    let (envelope, code) = stage.host.events().wait_from(0, "a pairing code", 2 * PATIENCE, told).await?;
    ensure!(code.phone.as_str() == ANNA && envelope.session_id == target.session);
    ensure!(code.code.as_str().len() == 8, "a code has eight characters");
    ensure!(code.expires_at.unix_ms() > envelope.occurred_at.unix_ms() + 60_000, "{:?}", code.expires_at);
    anna.enter_code(code.code.as_str()).await?;
    let (_, connected) = stage.host.wait_for_status(0, &target, SessionStatus::Connected).await?;
    ensure!(connected.phone.as_ref().map(|phone| phone.as_str()) == Some(ANNA));
    let link = Command::SessionLinkCode(SessionLinkCode { phone: ANNA.parse()? });
    let again = stage.host.ask(&target, &link).await?;
    ensure!(failure(&again)? == ErrorCode::AlreadyLinked, "{again:?}");
    stage.host.ask(&target, &Command::SessionStop).await?;

    // Asked for while the QR is on show.
    const BERT: &str = "4915187654321";
    let (bert, target) = (stage.site.phone(BERT, "Bert"), Target::new("by-command")?);
    stage.host.send(&target, &START).await?;
    stage.wait_for_qr(0, &target, |_| true).await?;
    let link = Command::SessionLinkCode(SessionLinkCode { phone: BERT.parse()? });
    let result = stage.host.ask(&target, &link).await?;
    let (Outcome::Succeeded, Some(ResultData::Code(code))) = (result.outcome, &result.data) else {
        bail!("{result:?}")
    };
    ensure!(code.phone.as_str() == BERT);
    let told = |envelope: &Envelope| match &envelope.event {
        Event::SessionCode(told) if envelope.session_id == target.session => Some(told.code == code.code),
        _ => None,
    };
    ensure!(stage.host.events().wait_for("the code as an event", told).await?, "another code than in the result");
    bert.enter_code(code.code.as_str()).await?;
    let (_, connected) = stage.host.wait_for_status(0, &target, SessionStatus::Connected).await?;
    ensure!(connected.phone.as_ref().map(|phone| phone.as_str()) == Some(BERT));
    stage.host.events().check_order()
}

#[tokio::test]
async fn the_link_outlives_a_stop_and_ends_with_a_logout_or_on_the_phone() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    stage.site.page_options(|page| page.qr_after_logout_ms = 2_000);
    let anna = stage.site.phone(ANNA, "Anna");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let released = async || {
        let row = stage.fleet.database().session("s1").await?;
        Ok(row.filter(|row| row.owner.is_none() && row.desired == "stopped"))
    };

    // Stopped: the browser goes, the device stays linked.
    let mark = stage.host.events().len();
    standing(&stage.host.ask(&target, &Command::SessionStop).await?)?;
    let (_, stopped) = stage.host.wait_for_status(mark, &target, SessionStatus::Stopped).await?;
    ensure!(stopped.cause == Cause::Command, "{stopped:?}");
    let row = wait::until("the session is released", PATIENCE, released).await?;
    ensure!((row.status.as_str(), row.phone.as_deref()) == ("stopped", Some(ANNA)), "{row:?}");
    ensure!(Process::naming(&stage.fleet.profile_root())?.is_empty(), "its browser is still there");
    ensure!(anna.devices().len() == 1 && !anna.is_online(), "{:?}", anna.devices());

    // Started again: connected, and nobody had to scan.
    let mark = stage.host.events().len();
    standing(&stage.host.ask(&target, &START).await?)?;
    let (envelope, connected) = stage.host.wait_for_status(mark, &target, SessionStatus::Connected).await?;
    ensure!(connected.phone.as_ref().map(|phone| phone.as_str()) == Some(ANNA));
    ensure!(envelope.epoch == 2, "epoch {}", envelope.epoch);
    ensure!(codes(&stage, &target).len() == 1, "a linked session showed a code:\n{}", stage.host.events().describe());

    // Unlinked on the phone.
    let mark = stage.host.events().len();
    anna.unlink();
    let (_, unlinked) = stage.host.wait_for_status(mark, &target, SessionStatus::LoggedOut).await?;
    ensure!(unlinked.cause == Cause::Unlinked, "{unlinked:?}");
    let row = wait::until("the session is released", PATIENCE, released).await?;
    ensure!(row.status == "logged_out", "{row:?}");
    ensure!(Process::naming(&stage.fleet.profile_root())?.is_empty(), "its browser is still there");

    // Linked anew, and logged out by command.
    stage.link(&target, &anna).await?;
    let mark = stage.host.events().len();
    let result = stage.host.ask(&target, &Command::SessionLogout).await?;
    ensure!(standing(&result)?.status == SessionStatus::LoggedOut, "{result:?}");
    let (_, told) = stage.host.wait_for_status(mark, &target, SessionStatus::LoggedOut).await?;
    ensure!(told.cause == Cause::Command, "{told:?}");
    ensure!(anna.devices().is_empty(), "the phone still has a device: {:?}", anna.devices());
    wait::until("the session is released", PATIENCE, released).await?;
    let again = stage.host.ask(&target, &Command::SessionLogout).await?;
    ensure!(standing(&again)?.status == SessionStatus::LoggedOut, "{again:?}");
    stage.host.events().check_order()
}
