//! Linking with a passkey: WhatsApp asks after the code, the person's own device signs, the fleet only carries.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wafleet_imitation::{Options, Passkey, PasskeyGate, Phone};
use wafleet_protocol::command::{Command, SessionPasskeyAnswer};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{Cause, Envelope, Event, Outcome, SessionPasskey, SessionStatus};
use wafleet_tests::fleet::{PATIENCE, Target, failure};
use wafleet_tests::invariants::Story;
use wafleet_tests::stage::{START, Stage};

const ANNA: &str = "4915112345678";
const GATE: PasskeyGate = PasskeyGate::Asks(Duration::from_secs(600));

/// The next request for a passkey after the first `mark` events.
async fn asked(stage: &Stage, mark: usize) -> Result<SessionPasskey> {
    let find = |envelope: &Envelope| match &envelope.event {
        Event::SessionPasskey(passkey) => Some(passkey.clone()),
        _ => None,
    };
    stage.host.events().wait_from(mark, "a request for a passkey", 2 * PATIENCE, find).await
}

/// What the person's device answers.
fn signed(passkey: &Passkey, asked: &SessionPasskey, origin: &str) -> Result<Command> {
    answer(&asked.request_id, &passkey.sign(&serde_json::to_value(&asked.request)?, origin))
}

/// As the host application would write it.
fn answer(request_id: &str, assertion: &Value) -> Result<Command> {
    let body = json!({
        "type": "session.passkey_answer", "version": 1, "data": { "request_id": request_id, "assertion": assertion },
    });
    Ok(Command::parse("session.passkey_answer", &serde_json::to_vec(&body)?)?.0)
}

/// Scans the code that is on show; the phone waits for the rest on its own.
async fn scan(stage: &Stage, target: &Target, phone: &Phone, mark: usize) -> Result<tokio::task::JoinHandle<bool>> {
    let (_, qr) = stage.wait_for_qr(mark, target, |_| true).await?;
    let phone = phone.clone();
    Ok(tokio::spawn(async move { phone.scan(qr.qr.as_str()).await.is_ok() }))
}

#[tokio::test]
async fn a_session_is_linked_by_a_passkey_that_the_persons_own_device_signs() -> Result<()> {
    let stage = Stage::set(Options { passkey: GATE, ..Options::default() }).await?;
    let story = Story::begin(&stage)?;
    let (anna, target) = (stage.site.phone(ANNA, "Anna"), Target::new("s1")?);
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    stage.host.send(&target, &START).await?;
    let scanned = scan(&stage, &target, &anna, 0).await?;
    let asked = asked(&stage, 0).await?;
    let (_, waiting) = stage.host.wait_for_status(0, &target, SessionStatus::PasskeyRequired).await?;
    ensure!(waiting.cause == Cause::PasskeyRequired, "{waiting:?}");
    ensure!(asked.request.rp_id.as_deref() == Some("whatsapp.com"), "{asked:?}");
    ensure!(asked.request.user_verification.as_deref() == Some("required"), "{asked:?}");
    let allowed = asked.request.allow_credentials.as_ref().and_then(|allowed| allowed.first()).context("a passkey")?;
    let passkey = anna.passkey();
    ensure!(allowed.id == passkey.id(), "{asked:?}");
    ensure!(stage.site.url().starts_with(&asked.origin), "{asked:?}");

    // What cannot hold is refused with its reason before WhatsApp sees it, and the request stays open.
    let elsewhere = signed(&passkey, &asked, "https://evil.example")?;
    let unknown =
        signed(&passkey, &SessionPasskey { request_id: "another".to_owned(), ..asked.clone() }, &asked.origin)?;
    let mut other = asked.clone();
    other.request.challenge = "AAAA".to_owned();
    let replayed = signed(&passkey, &other, &asked.origin)?;
    for (wrong, code) in [(elsewhere, "wrong_origin"), (unknown, "no_such_request"), (replayed, "wrong_challenge")] {
        let result = stage.host.ask(&target, &wrong).await?;
        ensure!(failure(&result)? == ErrorCode::PasskeyRefused, "{code}: {result:?}");
        let told = result.error.as_ref().and_then(|error| error.provider_code.as_deref());
        ensure!(told == Some(code), "{result:?}");
    }

    let result = stage.host.ask(&target, &signed(&passkey, &asked, &asked.origin)?).await?;
    ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
    let (_, connected) = stage.host.wait_for_status(0, &target, SessionStatus::Connected).await?;
    ensure!(connected.phone.as_ref().map(|phone| phone.as_str()) == Some(ANNA), "{connected:?}");
    ensure!(scanned.await?, "the phone shows the device as linked");
    let path: Vec<_> = stage.host.statuses(0, &target).iter().map(|told| told.status).collect();
    use SessionStatus::{Authenticating, Connected, Initializing, PasskeyRequired, QrRequired};
    ensure!(path == [Initializing, QrRequired, PasskeyRequired, Authenticating, Connected], "{path:?}");
    story.end(vec![worker]).await?;
    Ok(())
}

#[tokio::test]
async fn a_passkey_that_whatsapp_does_not_take_or_that_is_declined_leads_to_the_next_code() -> Result<()> {
    let stage = Stage::set(Options { passkey: GATE, ..Options::default() }).await?;
    let story = Story::begin(&stage)?;
    let (anna, target) = (stage.site.phone(ANNA, "Anna"), Target::new("s1")?);
    let bert = stage.site.phone("4915187654321", "Bert");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    stage.host.send(&target, &START).await?;
    scan(&stage, &target, &anna, 0).await?;
    let first = asked(&stage, 0).await?;

    // Signed by another person's key: only WhatsApp can tell.
    let mark = stage.host.events().len();
    let mut forged = bert.passkey().sign(&serde_json::to_value(&first.request)?, &first.origin);
    for field in ["id", "rawId"] {
        forged[field] = anna.passkey().id().into();
    }
    ensure!(stage.host.ask(&target, &answer(&first.request_id, &forged)?).await?.outcome == Outcome::Succeeded);
    let refused = stage.host.wait_for_status(mark, &target, SessionStatus::QrRequired).await?.1;
    ensure!(refused.cause == Cause::PasskeyRefused, "{refused:?}");

    scan(&stage, &target, &anna, mark).await?;
    let second = asked(&stage, mark).await?;
    ensure!(second.request_id != first.request_id && second.request.challenge != first.request.challenge);
    let mark = stage.host.events().len();
    let declined =
        Command::SessionPasskeyAnswer(SessionPasskeyAnswer { request_id: second.request_id, assertion: None });
    ensure!(stage.host.ask(&target, &declined).await?.outcome == Outcome::Succeeded);
    stage.wait_for_qr(mark, &target, |_| true).await?;

    let scanned = scan(&stage, &target, &anna, mark).await?;
    let third = asked(&stage, mark).await?;
    let right = signed(&anna.passkey(), &third, &third.origin)?;
    ensure!(stage.host.ask(&target, &right).await?.outcome == Outcome::Succeeded);
    stage.host.wait_for_status(mark, &target, SessionStatus::Connected).await?;
    ensure!(scanned.await?);
    story.end(vec![worker]).await?;
    Ok(())
}
