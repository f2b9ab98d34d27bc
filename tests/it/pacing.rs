//! The pace of a session: what it may send, what waits and is told, and who goes first.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wafleet_imitation::{Options, Restrict};
use wafleet_protocol::command::{Command, SessionLimits};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{Budget, Cause, CommandResult, Event, Outcome};
use wafleet_protocol::id::CommandId;
use wafleet_protocol::lane::Lane;
use wafleet_tests::fleet::{Host, Target, standing};
use wafleet_tests::stage::{Stage, text};

const ANNA: &str = "4915112345678";
const BERT: &str = "4915187654321";
const CARLA: &str = "4915155555555";
const DORA: &str = "4915166666666";

/// Waits until a command is told to be deferred.
async fn deferred(host: &Host, id: &CommandId) -> Result<CommandResult> {
    let find = |envelope: &wafleet_protocol::event::Envelope| match &envelope.event {
        Event::CommandResult(result) if result.command_id == *id && result.outcome == Outcome::Deferred => {
            Some(result.clone())
        }
        _ => None,
    };
    host.events().wait_for(&format!("{id} is deferred"), find).await
}

async fn budget(host: &Host, target: &Target) -> Result<Budget> {
    standing(&host.ask(target, &Command::SessionStatus).await?)?.budget.clone().context("it says no budget")
}

/// Sends a text and waits until it has left.
async fn send(host: &Host, target: &Target, to: &str, what: &str) -> Result<()> {
    let result = host.ask(target, &text(to, what)?).await?;
    ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
    Ok(())
}

fn code(result: &CommandResult) -> Option<ErrorCode> {
    result.error.as_ref().map(|error| error.code)
}

#[tokio::test]
async fn a_budget_outlives_the_worker_and_limits_change_while_the_session_runs() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    stage.site.nobody(CARLA);
    let worker = |name: &str| stage.worker(name).env("WAFLEET_MESSAGES_PER_HOUR", "3");
    let mut first = worker("w1").spawn()?;
    first.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;

    send(&stage.host, &target, BERT, "one").await?;
    send(&stage.host, &target, BERT, "two").await?;
    // Nobody got this one, so only the look-up of the number counts.
    let result = stage.host.ask(&target, &text(CARLA, "nobody")?).await?;
    ensure!(code(&result) == Some(ErrorCode::RecipientNotFound), "{result:?}");
    let spent = budget(&stage.host, &target).await?;
    ensure!((spent.hour.used, spent.hour.limit) == (2, 3), "{spent:?}");
    ensure!((spent.cold_day.used, spent.checks_hour.used) == (1, 2), "{spent:?}");

    first.kill()?;
    let mark = stage.host.events().len();
    let mut second = worker("w2").spawn()?;
    second.wait_until_ready().await?;
    stage.host.wait_for_status(mark, &target, wafleet_protocol::event::SessionStatus::Connected).await?;
    let kept = budget(&stage.host, &target).await?;
    ensure!((kept.hour.used, kept.cold_day.used, kept.checks_hour.used) == (2, 1, 2), "{kept:?}");

    send(&stage.host, &target, BERT, "three").await?;
    let waits = stage.host.send(&target, &text(BERT, "four")?).await?;
    let told = deferred(&stage.host, &waits).await?;
    ensure!(code(&told) == Some(ErrorCode::RateLimited) && told.until.is_some(), "{told:?}");
    // The reserve of the urgent lane is for those who cannot wait, and no larger than it is.
    let urgent = stage.host.send_on(Lane::Urgent, &target, &text(BERT, "a code")?).await?;
    ensure!(stage.host.final_result(&urgent).await?.outcome == Outcome::Succeeded);
    let over = stage.host.send_on(Lane::Urgent, &target, &text(BERT, "too many codes")?).await?;
    ensure!(code(&deferred(&stage.host, &over).await?) == Some(ErrorCode::RateLimited));
    ensure!(stage.site.sent().len() == 4, "{:?}", stage.site.sent());

    let own = SessionLimits { per_hour: Some(50), weight: Some(40), ..SessionLimits::default() };
    let result = stage.host.ask(&target, &Command::SessionLimits(own)).await?;
    let spent = standing(&result)?.budget.clone().context("it says no budget")?;
    ensure!((spent.hour.used, spent.hour.limit, spent.weight) == (4, 50, 40), "{spent:?}");
    let result = stage.host.ask(&target, &Command::SessionLimits(SessionLimits::default())).await?;
    ensure!(standing(&result)?.budget.as_ref().is_some_and(|budget| budget.hour.limit == 3), "{result:?}");
    stage.host.events().check_order()?;
    Ok(())
}

#[tokio::test]
async fn only_contacts_that_were_never_met_wait_for_the_cold_budget_and_for_a_restriction() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    for (number, name) in [(BERT, "Bert"), (CARLA, "Carla"), (DORA, "Dora")] {
        stage.site.phone(number, name);
    }
    let mut worker = stage.worker("w1").env("WAFLEET_COLD_CONTACTS_PER_DAY", "1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;

    send(&stage.host, &target, BERT, "hello").await?;
    let cold = stage.host.send(&target, &text(CARLA, "hello")?).await?;
    let told = deferred(&stage.host, &cold).await?;
    ensure!(code(&told) == Some(ErrorCode::RateLimited), "{told:?}");
    send(&stage.host, &target, BERT, "again").await?;

    // Who writes first is no stranger any more.
    let mark = stage.host.events().len();
    anna.receive_text(DORA, "Dora", "good morning");
    let wrote = |envelope: &wafleet_protocol::event::Envelope| {
        matches!(envelope.event, Event::MessageReceived(_)).then_some(())
    };
    stage.host.events().wait_from(mark, "Dora's message", Duration::from_secs(30), wrote).await?;
    let met = "SELECT COUNT(*) FROM wafleet_contacts";
    let database = stage.fleet.database();
    wafleet_tests::wait::until("Dora is noted", Duration::from_secs(20), async || {
        let noted: i64 = sqlx::query_scalar(met).fetch_one(database.pool()).await?;
        Ok((noted >= 3).then_some(())) // Bert by number and by his other name, and Dora
    })
    .await?;
    send(&stage.host, &target, DORA, "good morning, Dora").await?;

    let mark = stage.host.events().len();
    stage
        .host
        .ask(&target, &Command::SessionLimits(SessionLimits { cold_per_day: Some(10), ..SessionLimits::default() }))
        .await?;
    let until = wafleet_tests::fleet::unix_now() + 3600;
    anna.restrict(Restrict { until, everybody: false, notice: true });
    let restricted = |envelope: &wafleet_protocol::event::Envelope| match &envelope.event {
        Event::SessionStatus(told) if told.cause == Cause::Restricted => Some(told.health.restricted.is_some()),
        _ => None,
    };
    let told = stage.host.events().wait_from(mark, "the restriction", Duration::from_secs(30), restricted).await?;
    ensure!(told, "the health says nothing of it");
    let stranger = "4915177777777";
    stage.site.phone(stranger, "Emil");
    let cold = stage.host.send(&target, &text(stranger, "hello")?).await?;
    let told = deferred(&stage.host, &cold).await?;
    ensure!(code(&told) == Some(ErrorCode::AccountRestricted), "{told:?}");
    send(&stage.host, &target, DORA, "and you").await?;
    ensure!(stage.site.refused().is_empty(), "WhatsApp was asked in vain: {:?}", stage.site.refused());

    let mark = stage.host.events().len();
    anna.lift_restriction();
    let lifted = |envelope: &wafleet_protocol::event::Envelope| match &envelope.event {
        Event::SessionStatus(told) if told.cause == Cause::Restricted => Some(told.health.restricted.is_none()),
        _ => None,
    };
    ensure!(stage.host.events().wait_from(mark, "its end", Duration::from_secs(30), lifted).await?);
    send(&stage.host, &target, stranger, "hello again").await?;
    Ok(())
}

#[tokio::test]
async fn an_urgent_message_overtakes_thousands_of_a_campaign() -> Result<()> {
    const BACKLOG: usize = 3000;
    const AT_ONCE: usize = 100;
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    stage.site.phone(CARLA, "Carla");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;

    let bulk = text(BERT, "an offer")?;
    for _ in 0..BACKLOG / AT_ONCE {
        futures::future::try_join_all((0..AT_ONCE).map(|_| stage.host.send_on(Lane::Campaign, &target, &bulk))).await?;
    }
    stage.site.wait_for_departure(Duration::from_secs(60), |departure| departure.text == "an offer").await?;
    for number in 0..5 {
        let what = format!("code {number}");
        let mark = stage.site.sent().len();
        let urgent = stage.host.send_on(Lane::Urgent, &target, &text(CARLA, &what)?).await?;
        ensure!(stage.host.final_result(&urgent).await?.outcome == Outcome::Succeeded);
        let sent = stage.site.sent();
        ensure!(sent.len() < BACKLOG, "the backlog is gone before its time");
        let before = sent.iter().skip(mark).take_while(|departure| departure.text != what).count();
        // The one in flight, and what left while the broker was still taking the urgent one.
        ensure!(before <= 3, "{before} of the campaign went first");
    }
    Ok(())
}

#[tokio::test]
async fn a_contact_sees_that_somebody_types_before_a_text_and_an_urgent_one_overtakes_it() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    for (number, name) in [(BERT, "Bert"), (CARLA, "Carla")] {
        stage.site.phone(number, name);
    }
    let mut worker = stage.worker("w1").env("WAFLEET_TYPING_CHARS_PER_SECOND", "10").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let states = || -> Vec<String> { stage.site.chatstates().into_iter().map(|shown| shown.state).collect() };

    // There is no chat yet in which it could be shown.
    send(&stage.host, &target, BERT, "hello").await?;
    send(&stage.host, &target, CARLA, "hello").await?;
    ensure!(states().is_empty(), "{:?}", stage.site.chatstates());
    send(&stage.host, &target, BERT, "how are you?").await?;
    let (shown, sent) = (stage.site.chatstates(), stage.site.sent());
    let text_at = sent.iter().find(|departure| departure.text == "how are you?").context("it left")?.at_ms;
    ensure!(shown.len() == 1 && shown[0].state == "composing" && shown[0].at_ms <= text_at, "{shown:?} {sent:?}");

    let urgent = stage.host.send_on(Lane::Urgent, &target, &text(BERT, "a code")?).await?;
    ensure!(stage.host.final_result(&urgent).await?.outcome == Outcome::Succeeded);
    ensure!(states() == ["composing"], "urgent texts come at once: {:?}", states());

    // Six seconds of typing, in the middle of which something more urgent comes.
    let slow = stage.host.send_on(Lane::Campaign, &target, &text(CARLA, &"long ".repeat(100))?).await?;
    let types = async || Ok((states().len() > 1).then_some(()));
    wafleet_tests::wait::until("the campaign's message is typed", Duration::from_secs(30), types).await?;
    let urgent = stage.host.send_on(Lane::Urgent, &target, &text(BERT, "another code")?).await?;
    for id in [&urgent, &slow] {
        let result = stage.host.final_result(id).await?;
        ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
    }
    let left: Vec<String> = stage.site.sent().into_iter().map(|departure| departure.text).collect();
    ensure!(left.len() == 6 && left[4] == "another code" && left[5].starts_with("long "), "{left:?}");
    ensure!(states() == ["composing", "composing", "paused", "composing"], "{:?}", states());
    ensure!(stage.site.sent().iter().all(|departure| departure.copies() == 1));

    // A session of its own mind.
    let own = SessionLimits { typing_chars_per_second: Some(0), ..SessionLimits::default() };
    stage.host.ask(&target, &Command::SessionLimits(own)).await?;
    send(&stage.host, &target, BERT, "at once").await?;
    ensure!(states().len() == 4, "{:?}", states());
    stage.host.events().check_order()?;
    Ok(())
}
