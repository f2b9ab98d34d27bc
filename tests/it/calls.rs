//! Calls that a session rejects by itself.

use anyhow::{Result, bail, ensure};
use serde_json::json;
use wafleet_imitation::Options;
use wafleet_protocol::command::{Action, Calls, Command, SessionSettings, SessionStart, SetPresence};
use wafleet_protocol::event::{CallReceived, Envelope, Event, Outcome, ResultData, SessionStatus};
use wafleet_tests::fleet::{PATIENCE, Target};
use wafleet_tests::stage::{START, Stage};

use crate::actions::{ANNA, BERT, done};

/// The event of this call, and who told it.
async fn call(stage: &Stage, id: &str) -> Result<(CallReceived, String)> {
    let find = |envelope: &Envelope| match &envelope.event {
        Event::CallReceived(call) if call.id == id => Some((call.clone(), envelope.worker_id.to_string())),
        _ => None,
    };
    stage.host.events().wait_from(0, &format!("the call {id}"), 2 * PATIENCE, find).await
}

/// The page listens: it does what is asked of it. A call that comes before is lost with it.
async fn listens(stage: &Stage, target: &Target) -> Result<()> {
    done(&stage.host, target, Action::SetPresence(SetPresence { available: true })).await?;
    Ok(())
}

/// The calls that WhatsApp was asked to end, in their order.
fn rejected(stage: &Stage) -> Vec<String> {
    let settings = stage.site.settings().into_iter().filter(|setting| setting.setting == "reject_call");
    settings.map(|setting| setting.of).collect()
}

/// What becomes of calls, as the result of a command says.
async fn answered(stage: &Stage, target: &Target, command: Command) -> Result<Option<Calls>> {
    let result = stage.host.ask(target, &command).await?;
    ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
    let Some(ResultData::Session(session)) = result.data else { bail!("no session in {result:?}") };
    Ok(session.calls)
}

#[tokio::test]
async fn calls_are_rejected_without_a_command_whoever_owns_the_session() -> Result<()> {
    let target = Target::new("s1")?;
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut first = stage.worker("w1").spawn()?;
    first.wait_until_ready().await?;
    stage.link(&target, &anna).await?;

    // Nobody has said anything: it rings.
    listens(&stage, &target).await?;
    anna.ring(BERT, "C1", false);
    ensure!(!call(&stage, "C1").await?.0.rejected && rejected(&stage).is_empty(), "{:?}", rejected(&stage));
    let settings = |calls| Command::SessionSettings(SessionSettings { calls });
    ensure!(answered(&stage, &target, settings(Calls::Reject)).await? == Some(Calls::Reject));
    anna.ring(BERT, "C2", true);
    let (told, worker) = call(&stage, "C2").await?;
    ensure!(told.rejected && told.video && worker == "w1", "{told:?} by {worker}");
    ensure!(rejected(&stage) == ["C2"], "{:?}", rejected(&stage));
    let of_it = stage.site.settings().into_iter().filter(|setting| setting.setting == "reject_call");
    ensure!(of_it.into_iter().all(|setting| setting.value == json!(true)));

    // Its owner is killed: the next one knows.
    let mark = stage.host.events().len();
    let mut second = stage.worker("w2").spawn()?;
    second.wait_until_ready().await?;
    first.kill()?;
    let (envelope, _) = stage.host.wait_for_status(mark, &target, SessionStatus::Connected).await?;
    ensure!(envelope.worker_id.as_str() == "w2", "{envelope:?}");
    listens(&stage, &target).await?;
    anna.ring(BERT, "C3", false);
    let (told, worker) = call(&stage, "C3").await?;
    ensure!(told.rejected && worker == "w2", "{told:?} by {worker}");

    // Stopped and started without a word about it, it stays; with one, it changes.
    ensure!(answered(&stage, &target, Command::SessionStop).await? == Some(Calls::Reject));
    stage.host.wait_for_status(mark, &target, SessionStatus::Stopped).await?;
    let mark = stage.host.events().len();
    ensure!(answered(&stage, &target, START).await? == Some(Calls::Reject));
    stage.host.wait_for_status(mark, &target, SessionStatus::Connected).await?;
    listens(&stage, &target).await?;
    anna.ring(BERT, "C4", false);
    ensure!(call(&stage, "C4").await?.0.rejected);
    let ring = Command::SessionStart(SessionStart { calls: Some(Calls::Ring), ..SessionStart::default() });
    ensure!(answered(&stage, &target, ring).await? == Some(Calls::Ring));
    anna.ring(BERT, "C5", false);
    ensure!(!call(&stage, "C5").await?.0.rejected);
    ensure!(answered(&stage, &target, Command::SessionStatus).await? == Some(Calls::Ring));
    ensure!(rejected(&stage) == ["C2", "C3", "C4"], "{:?}", rejected(&stage));
    stage.host.events().check_order()
}
