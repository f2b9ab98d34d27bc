//! A campaign by a number at Meta.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use wafleet_protocol::command::{CampaignControl, CampaignPart, Command, MessageSend, OptOut};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::id::{CommandId, SessionId};
use wafleet_protocol::lane::Lane;
use wafleet_protocol::provider::Provider;
use wafleet_tests::fleet::{failure, first_workspace};
use wafleet_tests::wait;

use super::*;

fn anywhere() -> Target {
    Target { workspace: first_workspace(), session: SessionId::any() }
}

/// Publishes a message of the campaign to each of these, with the template that Meta asks for.
async fn publish(scene: &Scene, contacts: impl Iterator<Item = String>) -> Result<BTreeSet<CommandId>> {
    let mut ids = BTreeSet::new();
    for contact in contacts {
        let Command::MessageSend(message) = routed(&contact, "offer", None, Some("login_code"))? else {
            bail!("no message")
        };
        let campaign = Some(CampaignPart { id: "spring".parse()?, quiet_hours: None });
        let command = Command::MessageSend(MessageSend { campaign, ..message });
        ids.insert(scene.host.send_on(Lane::Campaign, &anywhere(), &command).await?);
    }
    Ok(ids)
}

async fn turn(scene: &Scene, make: fn(CampaignControl) -> Command) -> Result<()> {
    let result = scene.host.ask(&anywhere(), &make(CampaignControl { campaign: "spring".parse()? })).await?;
    ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
    Ok(())
}

#[tokio::test]
async fn a_campaign_goes_by_a_number_at_meta_waits_while_it_is_paused_and_spares_who_opted_out() -> Result<()> {
    const EACH: usize = 25;
    let scene = Scene::set().await?;
    let contacts = |from: usize| (from..from + EACH).map(|number| format!("49152000{number:05}"));
    let _worker = scene.connected("w1").await?;

    let out = Command::OptOutAdd(OptOut { phones: vec![ANNA.parse()?] });
    ensure!(scene.host.ask(&anywhere(), &out).await?.outcome == Outcome::Succeeded);
    for id in publish(&scene, [ANNA.to_owned()].into_iter()).await? {
        let refused = scene.host.final_result(&id).await?;
        ensure!(failure(&refused)? == ErrorCode::OptedOut, "{refused:?}");
    }
    let first = publish(&scene, contacts(0)).await?;
    for id in &first {
        sent(&scene.host.final_result(id).await?, Provider::Cloud)?;
    }

    turn(&scene, Command::CampaignPause).await?;
    let second = publish(&scene, contacts(EACH)).await?;
    let parked = async || {
        let count = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM wafleet_parked");
        let count = count.fetch_one(scene.fleet.database().pool()).await?;
        Ok((usize::try_from(count)? == EACH).then_some(()))
    };
    wait::until("the second part is parked", Duration::from_secs(60), parked).await?;
    ensure!(scene.graph.accepted().len() == EACH, "a paused message went out");
    turn(&scene, Command::CampaignResume).await?;
    for id in &second {
        sent(&scene.host.final_result(id).await?, Provider::Cloud)?;
    }
    let accepted = scene.graph.accepted();
    let marks: BTreeSet<&str> = accepted.iter().filter_map(|message| message.mark()).collect();
    let expected: BTreeSet<&str> = first.iter().chain(&second).map(CommandId::as_str).collect();
    ensure!(accepted.len() == 2 * EACH && marks == expected, "each once: {} accepted", accepted.len());
    ensure!(accepted.iter().all(|message| message.kind == "template" && message.number == NUMBER));

    turn(&scene, Command::CampaignCancel).await?;
    for id in publish(&scene, contacts(2 * EACH).take(3)).await? {
        let refused = scene.host.final_result(&id).await?;
        ensure!(failure(&refused)? == ErrorCode::CampaignCancelled, "{refused:?}");
    }
    ensure!(scene.graph.accepted().len() == 2 * EACH, "a cancelled message went out");
    Ok(())
}
