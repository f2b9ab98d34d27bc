//! Meta's webhooks, handed in by the host application as `cloud.webhook`: acks of own messages, the ends of sends that were
//! unknown, and what came in.
//!
//! Meta repeats and reorders; what was told is remembered in the ledger, so that the acks of a message only grow. Told first
//! and remembered after, with event ids that follow from the message: a crash in between tells the same again.

use std::time::Duration;

use serde_json::Value;
use wafleet_cloud::fault::{Reason, of_status};
use wafleet_cloud::webhook::{self, Incoming, Level, Status};
use wafleet_protocol::command::CloudWebhook;
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{
    Ack, AckName, Authoritative, CommandError, CommandResult, Event, Message, MessageAck, Outcome as EventOutcome,
    ResultData, Sender,
};
use wafleet_protocol::id::{CommandId, EventId, SessionId, WorkspaceId};
use wafleet_protocol::personal::Personal;
use wafleet_protocol::provider::Provider;
use wafleet_protocol::timestamp::Timestamp;

use super::limits::WINDOW;
use super::sending::sent;
use crate::database::{CloudCommand, FinalState};
use crate::events::{Correlation, EventSink};
use crate::intake::IntakeError;
use crate::logging::chain;
use crate::settle::Outcome;
use crate::world::World;

/// Takes a webhook in.
///
/// # Errors
/// [`IntakeError`]: not all of it is told; the command comes again.
pub(crate) async fn take(
    world: &World,
    sink: &EventSink,
    workspace: WorkspaceId,
    session: &SessionId,
    command: &CloudWebhook,
) -> Result<Outcome, IntakeError> {
    let Some(told) = webhook::read(&command.body) else {
        let why = "this is no webhook of a WhatsApp Business account";
        return Ok(Outcome::Failed(CommandError::new(ErrorCode::Rejected, why)));
    };
    for status in &told.statuses {
        heard_of(world, sink, workspace, status).await?;
    }
    if told.messages.is_empty() {
        return Ok(Outcome::Succeeded(None));
    }
    let binding = world.database.cloud_binding(workspace.get(), session.as_str()).await?;
    let Some(binding) = binding else {
        let why = "the session has no Cloud API number, so nothing can have come in there";
        return Ok(Outcome::Failed(CommandError::new(ErrorCode::ProviderUnavailable, why)));
    };
    for message in told.messages.iter().filter(|message| message.number == binding.number.number_id) {
        received(world, sink, session, message).await?;
    }
    Ok(Outcome::Succeeded(None))
}

async fn heard_of(world: &World, sink: &EventSink, workspace: WorkspaceId, status: &Status) -> Result<(), IntakeError> {
    let (id, mark) = (status.message_id.as_str(), status.mark.as_deref());
    // What another system sent by this number is none of ours.
    let Some(command) = world.database.cloud_command(workspace.get(), mark, id).await? else { return Ok(()) };
    let ack: Ack = match status.level {
        Level::Failed => AckName::Failed,
        Level::Sent => AckName::Sent,
        Level::Delivered => AckName::Delivered,
        Level::Read => AckName::Read,
        Level::Played => AckName::Played,
    }
    .into();
    if !is_news(command.ack, ack.number()) {
        return Ok(());
    }
    let (Ok(session), Ok(command_id)) =
        (command.session_id.parse::<SessionId>(), command.command_id.parse::<CommandId>())
    else {
        return Ok(()); // such a row was never written
    };
    let recipient = status.recipient.as_deref().unwrap_or_default();
    let event = MessageAck {
        key: id.into(),
        id: id.to_owned(),
        chat_id: format!("{recipient}@c.us").into(),
        ack,
        reference: command.reference.clone().and_then(|reference| reference.try_into().ok()),
        command_id: Some(command_id.clone()),
        provider: Some(Provider::Cloud),
    };
    let event_id = EventId::derive(0, &["message.ack", session.as_str(), id, &ack.number().to_string()]);
    let correlation = Correlation { command: Some(command_id), metadata: None };
    // A number may serve several sessions, and the webhook was addressed to one of them.
    let bystander;
    let sink = if sink.tells_of(workspace, &session) {
        sink
    } else {
        bystander = EventSink::of_bystander(world.clone(), workspace, session);
        &bystander
    };
    sink.emit(event_id, Event::MessageAck(event), correlation)?.wait().await?;
    world.database.cloud_ack_told(workspace.get(), &command, id, ack.number()).await?;
    if command.unknown {
        settle(world, workspace, &command, status, ack).await?;
    }
    Ok(())
}

/// Whether an ack says more than the one told before. A message may fail after it was sent, and not after it has arrived.
fn is_news(told: Option<i8>, ack: i8) -> bool {
    match told {
        None => true,
        Some(-1) => false,
        Some(told) if ack == -1 => told <= 1,
        Some(told) => ack > told,
    }
}

/// The end of a send that was told to be unknown is known now: whoever sends or replays it again is answered with that. Its
/// result event stands.
async fn settle(
    world: &World,
    workspace: WorkspaceId,
    command: &CloudCommand,
    status: &Status,
    ack: Ack,
) -> Result<(), IntakeError> {
    let state = if status.level == Level::Failed { FinalState::Failed } else { FinalState::Succeeded };
    let recipient = status.recipient.as_deref().unwrap_or_default();
    let settle = |result: Value| {
        let result: CommandResult = serde_json::from_value(result).ok()?;
        let settled = match (state, status.code) {
            (FinalState::Failed, code) => {
                let (reason, what) = of_status(code.unwrap_or(0));
                let error = CommandError::new(error_code(reason), what);
                let error = match code {
                    Some(code) => error.with_provider_code(code.to_string()),
                    None => error,
                };
                CommandResult { outcome: EventOutcome::Failed, error: Some(error), data: None, ..result }
            }
            _ => {
                let data = Some(ResultData::Message(sent(&status.message_id, recipient, ack)));
                CommandResult { outcome: EventOutcome::Succeeded, error: None, data, ..result }
            }
        };
        serde_json::to_value(settled).ok()
    };
    let (command_id, id) = (command.command_id.as_str(), status.message_id.as_str());
    if world.database.settle_cloud(workspace.get(), command_id, id, state, settle).await? {
        let word = if state == FinalState::Failed { "failed" } else { "succeeded" };
        world.counters.count("commands.settled_late", word);
        tracing::info!(command_id, outcome = word, "the end of a send that was unknown is known now");
    }
    Ok(())
}

fn error_code(reason: Reason) -> ErrorCode {
    match reason {
        Reason::Refused => ErrorCode::MessageRefused,
        Reason::WindowClosed => ErrorCode::WindowClosed,
        Reason::TemplateRefused => ErrorCode::TemplateRefused,
    }
}

async fn received(world: &World, sink: &EventSink, session: &SessionId, message: &Incoming) -> Result<(), IntakeError> {
    let age = Duration::from_secs(world.clock.unix_secs().saturating_sub(message.at));
    let left = WINDOW.saturating_sub(age);
    if let Err(error) = world.cloud.limits.heard(&message.number, &message.from, &message.message_id, left).await {
        // Without it a template is needed, which is the safe side.
        tracing::warn!(error = %chain(&error), "that free messages may go to somebody is not remembered");
    }
    let address = Personal::from(format!("{}@c.us", message.from));
    let told = Message {
        key: message.message_id.as_str().into(),
        id: message.message_id.clone(),
        chat_id: address.clone(),
        sender: Sender {
            id: address,
            phone: Some(message.from.as_str().into()),
            lid: None,
            authoritative: Authoritative::Phone,
        },
        kind: if message.kind == "text" { "chat".to_owned() } else { message.kind.clone() },
        text: message.text.as_deref().map(Personal::from),
        timestamp: Timestamp::from_unix_secs(message.at),
        has_media: message.has_media(),
        quoted_id: message.context.clone(),
        notify_name: message.name.as_deref().map(Personal::from),
        location: None,
        contacts: Vec::new(),
        poll: None,
        media: None,
        mentions: Vec::new(),
        forwarded: None,
        quoted: None,
        provider: Some(Provider::Cloud),
    };
    let parts = ["message.received", session.as_str(), message.message_id.as_str()];
    let id = EventId::derive(message.at.saturating_mul(1000), &parts);
    sink.emit(id, Event::MessageReceived(told), Correlation::default())?.wait().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_only_grow_and_a_failure_ends_them() {
        let cases = [
            (None, 1, true),
            (None, 3, true),
            (None, -1, true),
            (Some(1), 1, false),
            (Some(2), 1, false),
            (Some(1), 2, true),
            (Some(1), -1, true),
            (Some(2), -1, false),
            (Some(-1), 3, false),
            (Some(-1), -1, false),
        ];
        for (told, ack, news) in cases {
            assert_eq!(is_news(told, ack), news, "{ack} after {told:?}");
        }
    }
}
