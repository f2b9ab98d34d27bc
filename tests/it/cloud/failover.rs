//! A session with a browser whose number at Meta helps out, and when it must not.

use std::time::Duration;

use anyhow::{Result, ensure};
use wafleet_imitation::{AckTimes, Options, SendFault};
use wafleet_protocol::command::{Command, SessionProvider};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{Outcome, SessionStatus};
use wafleet_protocol::provider::{Provider, ProviderChoice};
use wafleet_tests::fleet::{PATIENCE, failure};
use wafleet_tests::stage::Stage;
use wafleet_tests::wait;

use super::*;

const OWN: &str = "4915155555555";
const USUAL: AckTimes = AckTimes { server: Duration::from_millis(30), delivered: None, read: None };

#[tokio::test]
async fn a_session_fails_over_by_policy_and_never_with_what_may_have_gone_out() -> Result<()> {
    let stage = Stage::set(Options { acks: USUAL, ..Options::default() }).await?;
    let graph = Graph::start().await?;
    graph.number(NUMBER, TOKEN);
    graph.template("login_code", "en_US");
    let own = stage.site.phone(OWN, "Own");
    stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let worker = talking_to(stage.worker("w1"), &graph).env("WAFLEET_PAGE_CALL_TIMEOUT_SECS", "5");
    add(&worker, TOKEN)?;
    cloud(&worker, &["bind", "s1", "--number", NUMBER, "--as", "failover", "--after", "1", "--on-refusal"])?;
    let mut worker = worker.spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &own).await?;
    let ask = async |command: Command| stage.host.ask(&target, &command).await;

    // All is well: the browser sends, even with a template, and Meta where the command says so.
    let with_template = |to: &str, text: &str| routed(to, text, None, Some("login_code"));
    sent(&ask(with_template(ANNA, "by the browser")?).await?, Provider::Web)?;
    sent(&ask(routed(ANNA, "by Meta", Some(ProviderChoice::Cloud), Some("login_code"))?).await?, Provider::Cloud)?;
    ensure!((own.sent().len(), graph.accepted().len()) == (1, 1));

    // The browser refused it for good: the number tries, with a template only.
    stage.site.faults(|faults| faults.next_sends(SendFault::Refuse { code: 463 }, 1));
    let helped = ask(with_template(ANNA, "refused by WhatsApp")?).await?;
    sent(&helped, Provider::Cloud)?;
    stage.site.faults(|faults| faults.next_sends(SendFault::Refuse { code: 463 }, 1));
    let alone = ask(text(ANNA, "refused without a template")?).await?;
    ensure!(failure(&alone)? == ErrorCode::MessageRefused && alone.provider == Some(Provider::Web), "{alone:?}");
    ensure!(graph.accepted().len() == 2);

    // It left, and the line broke before WhatsApp said so: nobody but the browser may go on with it.
    stage.site.faults(|faults| {
        faults.next_sends(SendFault::CutAfter, 1);
        faults.refuse_connections = true;
    });
    let mark = stage.host.events().len();
    let open = stage.host.send(&target, &with_template(BERT, "may have left")?).await?;
    let left = async || Ok(own.sent().iter().any(|departure| departure.text == "may have left").then_some(()));
    wait::until("it has left", PATIENCE, left).await?;
    stage.host.wait_for_status(mark, &target, SessionStatus::Disconnected).await?;

    // The browser is away for long: what has a template goes by the number, and so does what answers somebody.
    let away = ask(with_template(ANNA, "while the browser is away")?).await?;
    sent(&away, Provider::Cloud)?;
    ensure!(graph.accepted().iter().all(|accepted| accepted.to == ANNA), "nothing to Bert: {:?}", graph.accepted());
    let (_, webhook) = graph.message_webhook(NUMBER, ANNA, "hello?");
    ensure!(ask(Command::CloudWebhook(CloudWebhook { body: webhook })).await?.outcome == Outcome::Succeeded);
    sent(&ask(text(ANNA, "an answer within 24 hours")?).await?, Provider::Cloud)?;
    ensure!(graph.accepted().last().is_some_and(|last| last.kind == "text"));

    // An operator says: by the browser and nothing else. It waits for it.
    let choose = |provider| Command::SessionProvider(SessionProvider { provider });
    ask(choose(ProviderChoice::Web)).await?;
    let waits = stage.host.send(&target, &with_template(ANNA, "waits for the browser")?).await?;
    stage.site.faults(|faults| faults.refuse_connections = false);
    stage.host.wait_for_status(mark, &target, SessionStatus::Connected).await?;
    sent(&stage.host.final_result(&waits).await?, Provider::Web)?;

    // What may have gone out has ended by the browser, and never went by Meta.
    let ended = stage.host.final_result(&open).await?;
    ensure!(ended.provider == Some(Provider::Web) && ended.outcome != Outcome::Failed, "{ended:?}");
    ensure!(graph.accepted().iter().all(|accepted| accepted.to == ANNA), "{:?}", graph.accepted());

    ask(choose(ProviderChoice::Cloud)).await?;
    sent(&ask(text(ANNA, "by the operator's choice")?).await?, Provider::Cloud)?;
    ask(choose(ProviderChoice::Auto)).await?;
    sent(&ask(text(ANNA, "as ever")?).await?, Provider::Web)?;
    ensure!(worker.terminate(2 * PATIENCE).await?.success());
    Ok(())
}
