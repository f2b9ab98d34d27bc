//! Campaigns: whether a message of one may go now, and the commands about them.
//!
//! ```text
//! any session of the workspace takes it ─▶ opted out, cancelled ─▶ failed
//!                                      ├─▶ paused, quiet hours  ─▶ deferred, and parked until it may go
//!                                      └─▶ may go ─▶ the session that knows the contact, or the one that took it
//! ```

pub(crate) mod parking;
mod progress;
mod quiet;

use wafleet_protocol::command::{CampaignPart, Command, MessageSend, OptOut};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{CampaignState, CommandError, ResultData};
use wafleet_protocol::id::{CampaignId, ChatId, WorkspaceId};
use wafleet_protocol::timestamp::Timestamp;

use crate::database::{Audit, ContactKey};
use crate::events::EventSink;
use crate::intake::{IntakeError, Order};
use crate::settle::{Outcome, settle};
use crate::world::World;

pub(crate) use progress::Progress;

/// Whether a message of a campaign may go now; `None`: it may.
///
/// # Errors
/// The database is away.
pub(crate) async fn screen(world: &World, order: &Order, bulk: bool) -> Result<Option<Outcome>, IntakeError> {
    let Command::MessageSend(MessageSend { to, campaign, .. }) = &order.command else { return Ok(None) };
    if order.attempted || !(bulk || campaign.is_some()) {
        return Ok(None); // it may have gone out already, or people wait for it
    }
    let (workspace, id) = (order.verified.workspace, campaign.as_ref().map(|part| &part.id));
    let (out, state) = world.database.screening(workspace, &ContactKey::new(workspace, to.as_str()), id).await?;
    if out {
        let message = "the contact wants no campaigns of this workspace";
        return Ok(Some(Outcome::Failed(CommandError::new(ErrorCode::OptedOut, message))));
    }
    let Some(CampaignPart { quiet_hours, .. }) = campaign else { return Ok(None) };
    match state {
        CampaignState::Running => {}
        CampaignState::Paused => {
            let error = CommandError::new(ErrorCode::CampaignPaused, "the campaign is paused");
            // Nobody knows when it goes on; at the end of its own life it is over.
            let until = Timestamp::from_unix_secs(order.verified.expires_at);
            return Ok(Some(Outcome::Deferred(error, until)));
        }
        CampaignState::Cancelled => {
            let error = CommandError::new(ErrorCode::CampaignCancelled, "the campaign was cancelled");
            return Ok(Some(Outcome::Failed(error)));
        }
    }
    let Some(hours) = quiet_hours else { return Ok(None) };
    let phone = to.phone();
    match quiet::quiet_until(hours, phone.as_ref().map(|phone| phone.as_str()), world.clock.unix_secs()) {
        Ok(None) => Ok(None),
        Ok(Some(until)) => {
            let error = CommandError::new(ErrorCode::QuietHours, "it is a quiet hour where the recipient is");
            Ok(Some(Outcome::Deferred(error, Timestamp::from_unix_secs(until))))
        }
        Err(error) => Ok(Some(Outcome::Failed(CommandError::new(ErrorCode::UnknownZone, error.to_string())))),
    }
}

/// Carries out a command about a workspace and not about one of its sessions.
///
/// # Errors
/// [`IntakeError`]: the delivery is still unacknowledged.
pub(crate) async fn carry_out(world: &World, sink: &EventSink, order: &Order) -> Result<(), IntakeError> {
    let workspace = order.verified.workspace;
    let outcome = match &order.command {
        Command::CampaignPause(wanted) => turn(world, order, &wanted.campaign, CampaignState::Paused).await?,
        Command::CampaignResume(wanted) => turn(world, order, &wanted.campaign, CampaignState::Running).await?,
        Command::CampaignCancel(wanted) => turn(world, order, &wanted.campaign, CampaignState::Cancelled).await?,
        Command::CampaignStatus(wanted) => match world.database.progress(workspace, &wanted.campaign).await? {
            Some(progress) => Outcome::Succeeded(Some(ResultData::Campaign(progress))),
            None => {
                let message = "the fleet has seen no message of this campaign, and no command about it";
                Outcome::Failed(CommandError::new(ErrorCode::UnknownCampaign, message))
            }
        },
        Command::OptOutAdd(wanted) => opt_out(world, order, wanted, true).await?,
        Command::OptOutRemove(wanted) => opt_out(world, order, wanted, false).await?,
        _ => unreachable!("the intake lets nothing else be about a whole workspace"),
    };
    settle(world, sink, 0, order, outcome).await
}

async fn turn(
    world: &World,
    order: &Order,
    campaign: &CampaignId,
    state: CampaignState,
) -> Result<Outcome, IntakeError> {
    let workspace = order.verified.workspace;
    if !world.database.set_campaign(workspace, campaign, state).await? {
        let message = "the campaign was cancelled, which is for good";
        return Ok(Outcome::Failed(CommandError::new(ErrorCode::CampaignCancelled, message)));
    }
    let action = format!("campaign.{}", state.as_str());
    audit(world, order, &action, serde_json::json!({ "campaign": campaign.as_str() })).await?;
    world.progress.touch(workspace, campaign.clone());
    Ok(Outcome::Succeeded(world.database.progress(workspace, campaign).await?.map(ResultData::Campaign)))
}

async fn opt_out(world: &World, order: &Order, wanted: &OptOut, out: bool) -> Result<Outcome, IntakeError> {
    let workspace = order.verified.workspace;
    let keys: Vec<ContactKey> =
        wanted.phones.iter().map(|phone| ContactKey::new(workspace, ChatId::from(phone.clone()).as_str())).collect();
    world.database.opt_out(workspace, &keys, out).await?;
    let action = if out { "optout.added" } else { "optout.removed" };
    audit(world, order, action, serde_json::json!({ "phones": keys.len() })).await?;
    Ok(Outcome::Succeeded(None))
}

async fn audit(world: &World, order: &Order, action: &str, detail: serde_json::Value) -> Result<(), IntakeError> {
    world
        .database
        .audit(&Audit {
            workspace_id: Some(order.record.workspace_id),
            session_id: None,
            command_id: Some(&order.record.command_id),
            actor: format!("key:{}", order.record.key_id),
            action,
            reason: "command",
            detail,
        })
        .await?;
    Ok(())
}

/// The campaign that a command belongs to.
pub(crate) fn campaign_of(command: &Command) -> Option<&CampaignId> {
    match command {
        Command::MessageSend(message) => message.campaign.as_ref().map(|part| &part.id),
        _ => None,
    }
}

/// Notes that the progress of a command's campaign has changed.
pub(crate) fn touch(world: &World, workspace: WorkspaceId, command: &Command) {
    if let Some(campaign) = campaign_of(command) {
        world.progress.touch(workspace, campaign.clone());
    }
}
