//! Messages by the Cloud API: once, whatever breaks, and never a second time.

use anyhow::{Context, Result, ensure};
use wafleet_graph::Fault;
use wafleet_protocol::command::{Command, SessionProvider};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{AckName, Cause, Envelope, Event, MessageAck, Outcome, SessionStatus};
use wafleet_protocol::lane::Lane;
use wafleet_protocol::provider::{Provider, ProviderChoice};
use wafleet_tests::fleet::{HOST_KEY, Order, PATIENCE, Posted, failure, new_command_id};
use wafleet_tests::wait;

use super::*;

/// Every ack of a message so far.
fn acks(host: &Host, message_id: &str) -> Vec<MessageAck> {
    let told = |envelope: Envelope| match envelope.event {
        Event::MessageAck(ack) if ack.id == message_id => Some(ack),
        _ => None,
    };
    host.events().entries().into_iter().filter_map(|entry| told(entry.envelope)).collect()
}

#[tokio::test]
async fn a_session_without_a_browser_sends_hears_and_is_told_what_became_of_it() -> Result<()> {
    let scene = Scene::set().await?;
    let mut worker = scene.connected("w1").await?;
    let id = scene.host.send(&scene.shop, &text(ANNA, "hello")?).await?;
    let result = scene.host.final_result(&id).await?;
    let message = sent(&result, Provider::Cloud)?;
    ensure!(message.ack.name() == AckName::Pending, "accepted is not sent: {message:?}");
    let accepted = scene.graph.accepted();
    ensure!(accepted.len() == 1 && accepted[0].mark() == Some(id.as_str()), "{accepted:?}");
    ensure!(accepted[0].body["text"]["body"] == "hello" && accepted[0].id == message.id);
    let told = |envelope: &Envelope| match &envelope.event {
        Event::MessageSent(told) if told.message.id == message.id => Some(told.clone()),
        _ => None,
    };
    let told = scene.host.events().wait_for("message.sent", told).await?;
    ensure!(told.command_id.as_ref() == Some(&id) && told.message.provider == Some(Provider::Cloud), "{told:?}");

    // Meta repeats and reorders.
    for status in ["sent", "delivered", "sent", "delivered", "read"] {
        scene.webhook(scene.graph.status_webhook(&message.id, status)).await?;
    }
    let told = acks(&scene.host, &message.id);
    let names: Vec<_> = told.iter().map(|ack| ack.ack.name()).collect();
    ensure!(names == [AckName::Sent, AckName::Delivered, AckName::Read], "{names:?}");
    ensure!(told.iter().all(|ack| ack.command_id.as_ref() == Some(&id) && ack.provider == Some(Provider::Cloud)));

    let (heard, webhook) = scene.graph.message_webhook(NUMBER, ANNA, "hi yourself");
    scene.webhook(webhook).await?;
    let received = |envelope: &Envelope| match &envelope.event {
        Event::MessageReceived(message) if message.id == heard => Some(message.clone()),
        _ => None,
    };
    let received = scene.host.events().wait_for("message.received", received).await?;
    ensure!(received.text.as_ref().is_some_and(|text| text.as_str() == "hi yourself"), "{received:?}");
    ensure!(received.provider == Some(Provider::Cloud));

    // With a template, the template goes to whoever has not written, and the text to whoever has.
    for (to, kind) in [(BERT, "template"), (ANNA, "text")] {
        let command = routed(to, "your code", None, Some("login_code"))?;
        sent(&scene.host.ask(&scene.shop, &command).await?, Provider::Cloud)?;
        ensure!(scene.graph.accepted().last().is_some_and(|last| last.kind == kind && last.to == to));
    }

    // There is no browser to go by, and no phone to unlink from.
    let by_web = scene.host.ask(&scene.shop, &routed(ANNA, "x", Some(ProviderChoice::Web), None)?).await?;
    ensure!(failure(&by_web)? == ErrorCode::ProviderUnavailable);
    ensure!(failure(&scene.host.ask(&scene.shop, &Command::SessionLogout).await?)? == ErrorCode::ProviderUnavailable);
    let to_group = scene.host.ask(&scene.shop, &text("120363012345678901@g.us", "x")?).await?;
    ensure!(failure(&to_group)? == ErrorCode::ProviderUnavailable);

    ensure!(worker.terminate(PATIENCE).await?.success());
    scene.host.wait_for_status(0, &scene.shop, SessionStatus::Disconnected).await?;
    scene.host.events().check_order()?;
    Ok(())
}

#[tokio::test]
async fn what_may_have_gone_out_is_never_sent_again_and_settled_by_what_meta_tells() -> Result<()> {
    let scene = Scene::set().await?;
    let _worker = scene.connected("w1").await?;
    let faults = [
        (Fault::Hang { accepted: true }, true),
        (Fault::CutAfter, true),
        (Fault::Gateway { status: 502, accepted: true }, true),
        (Fault::Refuse { status: 500, code: 131_000 }, false),
    ];
    for (index, (fault, leaves)) in faults.into_iter().enumerate() {
        let (left, requests) = (scene.graph.accepted().len(), scene.graph.requests());
        scene.graph.next(fault);
        let command = text(ANNA, &format!("number {index}"))?;
        let id = new_command_id()?;
        let letter = scene.host.letter_by(HOST_KEY, &scene.shop, &id, &command, &Order::now(&command, Lane::Normal))?;
        ensure!(scene.host.post(&letter).await? == Posted::Routed);
        let result = scene.host.final_result(&id).await?;
        ensure!(
            result.outcome == Outcome::Unknown && result.provider == Some(Provider::Cloud),
            "{fault:?}: {result:?}"
        );
        // The very same command again is answered with the record, and Meta is not asked.
        let mark = scene.host.events().len();
        ensure!(scene.host.post(&letter).await? == Posted::Routed);
        let Event::CommandResult(again) = scene.host.final_envelope(mark, &id).await?.event else { bail!("no result") };
        ensure!(again == result, "{again:?}");
        ensure!(scene.graph.requests() == requests + 1, "{fault:?}");
        ensure!(scene.graph.accepted().len() == left + usize::from(leaves), "{fault:?}");
        if !leaves {
            continue;
        }
        let message = scene.graph.accepted().pop().context("accepted")?;
        let (webhook, outcome) = if index == 0 {
            (scene.graph.failed_webhook(&message.id, 131_047), Outcome::Failed)
        } else {
            (scene.graph.status_webhook(&message.id, "sent"), Outcome::Succeeded)
        };
        scene.webhook(webhook).await?;
        let mark = scene.host.events().len();
        ensure!(scene.host.post(&letter).await? == Posted::Routed);
        let Event::CommandResult(settled) = scene.host.final_envelope(mark, &id).await?.event else {
            bail!("no result")
        };
        ensure!(settled.outcome == outcome, "{fault:?}: {settled:?}");
        if outcome == Outcome::Failed {
            ensure!(refusal(&settled)? == (ErrorCode::WindowClosed, Some("131047")));
        }
        ensure!(scene.graph.requests() == requests + 1, "{fault:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_killed_between_acceptance_and_record_leads_to_unknown_and_not_to_a_second_send() -> Result<()> {
    let scene = Scene::set().await?;
    let mut worker = scene.connected("w1").await?;
    scene.graph.always(Some(Fault::Hang { accepted: true }));
    let id = scene.host.send(&scene.shop, &text(ANNA, "once")?).await?;
    let accepted = async || Ok((!scene.graph.accepted().is_empty()).then_some(()));
    wait::until("Meta has it", PATIENCE, accepted).await?;
    worker.kill()?;
    scene.graph.always(None);
    let mut heir = scene.worker("w2").spawn()?;
    heir.wait_until_ready().await?;
    let result = scene.host.final_result(&id).await?;
    let error = result.error.as_ref().context("an error")?;
    ensure!(result.outcome == Outcome::Unknown && error.code == ErrorCode::Interrupted, "{result:?}");
    // The heir sends: it is not that nothing goes any more.
    sent(&scene.host.ask(&scene.shop, &text(BERT, "after")?).await?, Provider::Cloud)?;
    let to: Vec<_> = scene.graph.accepted().into_iter().map(|accepted| accepted.to).collect();
    ensure!(to == [ANNA, BERT], "{to:?}");
    Ok(())
}

#[tokio::test]
async fn metas_refusals_are_told_with_its_codes_and_limits_are_waited_for() -> Result<()> {
    let scene = Scene::set().await?;
    let _worker = scene.connected("w1").await?;
    let cases = [
        (400, 131_047, ErrorCode::WindowClosed),
        (400, 131_026, ErrorCode::MessageRefused),
        (400, 131_049, ErrorCode::MessageRefused),
        (400, 132_000, ErrorCode::TemplateRefused),
    ];
    for (status, code, wanted) in cases {
        scene.graph.next(Fault::Refuse { status, code });
        let result = scene.host.ask(&scene.shop, &text(ANNA, "refused")?).await?;
        ensure!(refusal(&result)? == (wanted, Some(code.to_string().as_str())), "{result:?}");
    }
    let unapproved = routed(ANNA, "x", None, Some("never_approved"))?;
    ensure!(refusal(&scene.host.ask(&scene.shop, &unapproved).await?)? == (ErrorCode::TemplateRefused, Some("132001")));

    for code in [130_429, 131_056] {
        scene.graph.next(Fault::Refuse { status: 400, code });
        let id = scene.host.send(&scene.shop, &text(BERT, "later")?).await?;
        let put_off = deferred(&scene.host, &id).await?;
        let error = put_off.error.as_ref().context("an error")?;
        ensure!(error.code == ErrorCode::RateLimited && error.provider_code == Some(code.to_string()), "{put_off:?}");
        sent(&scene.host.final_result(&id).await?, Provider::Cloud)?;
    }
    ensure!(scene.graph.accepted().len() == 2);
    Ok(())
}

#[tokio::test]
async fn an_outage_leaves_the_messages_waiting_and_the_session_tells_it() -> Result<()> {
    let mut scene = Scene::set().await?;
    let _worker = scene.connected("w1").await?;
    let mark = scene.host.events().len();
    scene.graph.go_away();
    let mut ids = Vec::new();
    for index in 0..8 {
        ids.push(scene.host.send(&scene.shop, &text(ANNA, &format!("waits {index}"))?).await?);
    }
    let (_, told) = scene.host.wait_for_status(mark, &scene.shop, SessionStatus::Disconnected).await?;
    ensure!(told.cause == Cause::ConnectionLost, "{told:?}");
    scene.graph.come_back().await?;
    scene.host.wait_for_status(mark, &scene.shop, SessionStatus::Connected).await?;
    for id in &ids {
        sent(&scene.host.final_result(id).await?, Provider::Cloud)?;
    }
    ensure!(scene.graph.accepted().len() == ids.len(), "each once");
    let choose = Command::SessionProvider(SessionProvider { provider: ProviderChoice::Auto });
    let chosen = scene.host.ask(&scene.shop, &choose).await?;
    ensure!(chosen.outcome == Outcome::Succeeded, "{chosen:?}");
    Ok(())
}
