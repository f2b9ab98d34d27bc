//! A delivery becomes an [`Order`], or it is refused: nobody acts on a command that has not come through here.
//!
//! ```text
//! delivery ─▶ signature, scope, shape ─▶ place ─▶ freshness ─▶ ledger ─▶ Order
//!                    └─ any of them says no ─▶ audit row, dead letter, result for the genuine ones, counter, ack
//!                                                                └─ finished before ─▶ the recorded result again, ack
//! ```

use std::sync::{Mutex, PoisonError};

use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use serde_json::json;
use wafleet_protocol::command::{Command, MessageSend, StatusPost};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{CommandError, CommandResult, Event, Outcome as EventOutcome};
use wafleet_protocol::id::{EventId, SessionId, WorkspaceId};
use wafleet_protocol::metadata::Metadata;
use wafleet_protocol::provider::Provider;
use wafleet_protocol::rejection::Rejection;
use wafleet_protocol::signing::{Audience, KEY_HEADER, Role, Verified};
use wafleet_protocol::topology;

use crate::campaign::campaign_of;
use crate::database::{Acceptance, Audit, CommandRecord, DatabaseError, Late, Signer};
use crate::events::{Correlation, EmitError, EventSink};
use crate::letter;
use crate::logging::chain;
use crate::world::World;

/// Executions of one command that may end with their worker, by its death or by a panic, before the command is taken for
/// the cause. A command that is in flight during so many accidents of other causes is not to be expected.
const POISON_CRASHES: u32 = 5;

/// Where a delivery was taken from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// The control queue: `session.*` of any session.
    Control,
    /// A lane of a session that we own.
    Lane(WorkspaceId, &'a SessionId),
    /// The queue of commands that no queue was bound for.
    Unrouted,
}

/// A genuine, fresh, well-formed command that is not finished yet, with its delivery still unacknowledged.
pub(crate) struct Order {
    pub(crate) command: Command,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) verified: Verified,
    pub(crate) record: CommandRecord,
    pub(crate) delivery: Delivery,
    /// A send with this command's message id was begun before.
    pub(crate) attempted: bool,
    /// It may go from any session of its workspace.
    pub(crate) any: bool,
    /// Its time is over, and it was begun before that: its end is to be found out, and nothing is to be done.
    pub(crate) late: bool,
    /// Who acts on it, as soon as that is decided.
    pub(crate) provider: Option<Provider>,
}

impl Order {
    /// How often it has been tried and put aside.
    pub(crate) fn attempts(&self) -> u32 {
        letter::text_header(&self.delivery.properties, topology::ATTEMPT_HEADER)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }

    pub(crate) fn correlation(&self) -> Correlation {
        Correlation { command: Some(self.verified.message_id.clone()), metadata: self.metadata.clone() }
    }
}

/// The command that an execution has begun, for whoever cleans up after it.
#[derive(Default)]
pub(crate) struct Begun(Mutex<Option<CommandRecord>>);

impl Begun {
    /// This command's execution begins.
    pub(crate) fn note(&self, order: &Order) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(order.record.clone());
    }

    /// It has no end yet and is let go: it merely waits.
    pub(crate) async fn put_back(&self, world: &World) {
        if let Some(record) = self.taken()
            && let Err(error) = world.database.put_back(&record, &world.process).await
        {
            tracing::debug!(error = %chain(&error), "that a command is put back is not recorded");
        }
    }

    /// It made its handler panic.
    pub(crate) async fn crashed(&self, world: &World) {
        let record = self.taken();
        let command_id = record.as_ref().map(|record| record.command_id.as_str());
        tracing::error!(command_id, "a command made its handler panic");
        world.counters.count("commands.crashed", "panic");
        if let Some(record) = record
            && let Err(error) = world.database.crashed(&record, &world.process).await
        {
            tracing::warn!(error = %chain(&error), "the panic over a command is not recorded");
        }
    }

    fn taken(&self) -> Option<CommandRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What became of a delivery.
pub(crate) enum Examined {
    /// It is to be executed.
    Run(Box<Order>),
    /// It was refused or answered, and acknowledged.
    Settled,
}

/// The delivery could not be judged or settled now. It stays unacknowledged: the caller puts it back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Emit(#[from] EmitError),
    #[error("the broker connection failed")]
    Amqp(#[from] lapin::Error),
    /// Another session is about to take it.
    #[error("another session was faster")]
    Contended,
}

impl From<crate::broker::publisher::PublishError> for IntakeError {
    fn from(error: crate::broker::publisher::PublishError) -> Self {
        Self::Emit(error.into())
    }
}

/// Judges a delivery. `sink` tells the results: the owner's for a lane, none for the queues that any worker reads.
///
/// # Errors
/// [`IntakeError`]: the delivery is still unacknowledged.
pub(crate) async fn examine(
    world: &World,
    sink: Option<&EventSink>,
    place: Place<'_>,
    delivery: Delivery,
) -> Result<Examined, IntakeError> {
    let now = world.clock.unix_secs();
    let verified = match letter::authenticate(&delivery, &world.config.keyring, Audience::Commands, now) {
        Ok(verified) => verified,
        Err(rejection) => {
            refuse(world, sink, &delivery, None, &rejection).await?;
            return Ok(Examined::Settled);
        }
    };
    let parsed = place_of(&verified, place)
        .and_then(|()| Command::parse(&verified.type_, &delivery.data))
        .and_then(|(command, metadata)| belongs(&command, &verified, place).map(|()| (command, metadata)));
    let (command, metadata) = match parsed {
        Ok(parsed) => parsed,
        Err(rejection) => {
            refuse(world, sink, &delivery, Some(&verified), &rejection).await?;
            return Ok(Examined::Settled);
        }
    };
    let reference = match &command {
        Command::MessageSend(MessageSend { reference, .. }) | Command::StatusPost(StatusPost { reference, .. }) => {
            reference
        }
        _ => &None,
    };
    let mut record = CommandRecord {
        workspace_id: verified.workspace.get(),
        command_id: verified.message_id.to_string(),
        session_id: verified.session.to_string(),
        kind: command.type_name(),
        key_id: verified.key.to_string(),
        body_sha256: CommandRecord::fingerprint(verified.session.as_str(), command.type_name(), &delivery.data),
        reference: reference.as_ref().map(|reference| reference.as_str().to_owned()),
        campaign: campaign_of(&command).map(ToString::to_string),
        issued_at: i64::try_from(verified.issued_at).unwrap_or(i64::MAX),
        expires_at: i64::try_from(verified.expires_at).unwrap_or(i64::MAX),
    };
    if let Err(rejection) = verified.check_freshness(now) {
        let late = if rejection == Rejection::Expired { world.database.expire(&record).await? } else { Late::NotBegun };
        let result = match late {
            Late::NotBegun => {
                refuse(world, sink, &delivery, Some(&verified), &rejection).await?;
                return Ok(Examined::Settled);
            }
            Late::Begun { issued_at } => {
                record.issued_at = issued_at;
                None
            }
            Late::Done { result, issued_at } => {
                record.issued_at = issued_at;
                Some(result)
            }
        };
        let any = verified.session.is_any();
        let (attempted, late, provider) = (true, true, None);
        let order = Order { command, metadata, verified, record, delivery, attempted, any, late, provider };
        let Some(result) = result else { return Ok(Examined::Run(Box::new(order))) };
        answer_again(world, sink, order, result).await?;
        return Ok(Examined::Settled);
    }
    let signer = if verified.role == Role::Ops { Signer::Operator } else { Signer::Host };
    match world.database.accept(&record, signer, &world.process).await? {
        Acceptance::Open { attempted, crashes, .. } if crashes >= POISON_CRASHES => {
            let poison = Rejection::Poison { crashes };
            let outcome = if attempted { EventOutcome::Unknown } else { EventOutcome::Failed };
            refuse_as(world, sink, &delivery, Some(&verified), &poison, outcome).await?;
            world.database.put_back(&record, &world.process).await?;
            Ok(Examined::Settled)
        }
        Acceptance::Open { first, attempted, replayed, issued_at, .. } => {
            record.issued_at = issued_at;
            if first {
                world.counters.count("commands.accepted", record.kind);
            }
            // A new command under an operator's key is no replay unless it says so.
            if replayed && (!first || letter::text_header(&delivery.properties, letter::REPLAY_ID_HEADER).is_some()) {
                audit_replay(world, &record, &delivery).await?;
            }
            let any = verified.session.is_any();
            let (late, provider) = (false, None);
            let order = Order { command, metadata, verified, record, delivery, attempted, any, late, provider };
            Ok(Examined::Run(Box::new(order)))
        }
        Acceptance::Expired => {
            refuse(world, sink, &delivery, Some(&verified), &Rejection::Expired).await?;
            Ok(Examined::Settled)
        }
        Acceptance::BodyChanged => {
            refuse(world, sink, &delivery, Some(&verified), &Rejection::BodyChanged).await?;
            Ok(Examined::Settled)
        }
        Acceptance::Done { result, issued_at } => {
            record.issued_at = issued_at;
            let any = verified.session.is_any();
            let (attempted, late, provider) = (true, false, None);
            let order = Order { command, metadata, verified, record, delivery, attempted, any, late, provider };
            answer_again(world, sink, order, result).await?;
            Ok(Examined::Settled)
        }
    }
}

/// A command is only good for the session that was signed.
fn place_of(verified: &Verified, place: Place<'_>) -> Result<(), Rejection> {
    match place {
        Place::Lane(_, session) if !verified.session.is_any() && verified.session != *session => {
            Err(Rejection::Misrouted)
        }
        Place::Lane(workspace, _) if verified.workspace != workspace => Err(Rejection::ForeignScope),
        _ => Ok(()),
    }
}

fn belongs(command: &Command, verified: &Verified, place: Place<'_>) -> Result<(), Rejection> {
    let any = verified.session.is_any();
    // Only a message may go from any session, and only what is about the workspace names none.
    if any != (command.is_about_the_workspace() || (any && matches!(command, Command::MessageSend(_)))) {
        return Err(Rejection::Misrouted);
    }
    match (place, command) {
        (Place::Control | Place::Unrouted, command) if command.is_control() => Ok(()),
        // The control queue forwards these to the owner's urgent lane.
        (
            Place::Lane(..),
            Command::SessionLogout
            | Command::SessionLinkCode(_)
            | Command::SessionMove(_)
            | Command::SessionPasskeyAnswer(_)
            | Command::SessionSync(_)
            | Command::CloudWebhook(_)
            | Command::MessageSend(_)
            | Command::StatusPost(_)
            | Command::Action(_),
        ) => Ok(()),
        (
            Place::Unrouted,
            Command::MessageSend(_) | Command::StatusPost(_) | Command::CloudWebhook(_) | Command::Action(_),
        ) => Ok(()),
        _ => Err(Rejection::Misrouted),
    }
}

/// Refuses a delivery for good, as one that did nothing.
pub(crate) async fn refuse(
    world: &World,
    sink: Option<&EventSink>,
    delivery: &Delivery,
    verified: Option<&Verified>,
    rejection: &Rejection,
) -> Result<(), IntakeError> {
    refuse_as(world, sink, delivery, verified, rejection, EventOutcome::Failed).await
}

/// Refuses a delivery for good: audit row, dead letter, a result if it is known whom to tell, a count, and the ack.
async fn refuse_as(
    world: &World,
    sink: Option<&EventSink>,
    delivery: &Delivery,
    verified: Option<&Verified>,
    rejection: &Rejection,
    outcome: EventOutcome,
) -> Result<(), IntakeError> {
    if let Some(sink) = sink {
        sink.prove()?; // the next owner refuses it
    }
    let reason = rejection.reason();
    let id = delivery.properties.message_id().as_ref().map(|id| letter::printable(id.as_str(), 64));
    let session = verified.map(|verified| verified.session.as_str());
    world.counters.count("commands.rejected", reason);
    tracing::warn!(
        reason,
        command_id = id.as_deref(),
        session_id = session,
        queue_key = %letter::printable(delivery.routing_key.as_str(), 96),
        "command refused"
    );
    world
        .database
        .audit(&Audit {
            workspace_id: verified.map(|verified| verified.workspace.get()),
            session_id: session,
            command_id: id.as_deref(),
            actor: signer(delivery, verified, rejection),
            action: "command.rejected",
            reason,
            detail: json!({ "detail": rejection.to_string(), "routing_key": letter::printable(delivery.routing_key.as_str(), 255), "bytes": delivery.data.len() }),
        })
        .await?;
    world
        .publisher
        .publish(letter::dead(
            delivery,
            reason,
            &rejection.to_string(),
            world.config.worker_id.as_str(),
            world.clock.unix_ms(),
        ))
        .await?;
    if let Some(verified) = verified {
        let code = match rejection {
            Rejection::Expired => ErrorCode::Expired,
            Rejection::BodyChanged => ErrorCode::BodyChanged,
            Rejection::UnknownSession => ErrorCode::UnknownSession,
            // It may have gone out before its worker went down.
            Rejection::Poison { .. } if outcome == EventOutcome::Unknown => ErrorCode::Interrupted,
            _ => ErrorCode::Rejected,
        };
        let result = CommandResult {
            command_id: verified.message_id.clone(),
            command_type: letter::printable(&verified.type_, 64),
            outcome,
            until: None,
            error: Some(CommandError::new(code, format!("{reason}: {rejection}"))),
            provider: None,
            data: None,
        };
        // Another id than the command's own result: a forged copy must not pass for the answer to the original.
        let parts = ["command.rejected", verified.session.as_str(), verified.message_id.as_str(), reason];
        let id = EventId::derive(verified.issued_at.saturating_mul(1000), &parts);
        let correlation = Correlation { command: Some(verified.message_id.clone()), metadata: None };
        let bystander;
        let sink = match sink {
            Some(sink) if sink.tells_of(verified.workspace, &verified.session) => sink,
            // A stray: its sender hears of it, and not whoever owns the lane it strayed into.
            _ => {
                bystander = EventSink::of_bystander(world.clone(), verified.workspace, verified.session.clone());
                &bystander
            }
        };
        sink.emit(id, Event::CommandResult(result), correlation)?.wait().await?;
    }
    acknowledge(delivery).await
}

/// Who is to be named in the audit trail: whoever holds the key, if the signature matched.
fn signer(delivery: &Delivery, verified: Option<&Verified>, rejection: &Rejection) -> String {
    match verified {
        Some(verified) => format!("key:{}", verified.key),
        None => letter::text_header(&delivery.properties, KEY_HEADER)
            .filter(|_| rejection.is_about_the_key())
            .map_or_else(|| "unauthenticated".to_owned(), |key| format!("key:{}", letter::printable(&key, 64))),
    }
}

/// Records that an operator's copy of a command is about to be executed. Who and which replay are as the copy says: the
/// operator's key vouches for the command, the row that `wafleet dlq replay` wrote for the rest.
async fn audit_replay(world: &World, record: &CommandRecord, delivery: &Delivery) -> Result<(), IntakeError> {
    let text = |name: &str| letter::text_header(&delivery.properties, name).map(|text| letter::printable(&text, 128));
    world.counters.count("commands.replayed", record.kind);
    world
        .database
        .audit(&Audit {
            workspace_id: Some(record.workspace_id),
            session_id: Some(&record.session_id),
            command_id: Some(&record.command_id),
            actor: format!("key:{}", record.key_id),
            action: "command.replayed",
            reason: "operator",
            detail: json!({
                "replayed_by": text(letter::REPLAYED_BY_HEADER),
                "replay_id": text(letter::REPLAY_ID_HEADER),
                "original_key": text(letter::ORIGINAL_KEY_HEADER),
            }),
        })
        .await?;
    Ok(())
}

/// Answers a duplicate with what was recorded.
async fn answer_again(
    world: &World,
    sink: Option<&EventSink>,
    order: Order,
    result: serde_json::Value,
) -> Result<(), IntakeError> {
    world.counters.count("commands.duplicate", order.record.kind);
    tracing::info!(
        command_id = order.record.command_id,
        session_id = order.record.session_id,
        "duplicate answered with the recorded result"
    );
    world
        .database
        .audit(&Audit {
            workspace_id: Some(order.record.workspace_id),
            session_id: Some(&order.record.session_id),
            command_id: Some(&order.record.command_id),
            actor: format!("key:{}", order.record.key_id),
            action: "command.duplicate",
            reason: "replayed",
            detail: json!({
                "redelivered": order.delivery.redelivered,
                "replayed_by": letter::text_header(&order.delivery.properties, letter::REPLAYED_BY_HEADER),
                "replay_id": letter::text_header(&order.delivery.properties, letter::REPLAY_ID_HEADER),
            }),
        })
        .await?;
    if let Ok(result) = serde_json::from_value::<CommandResult>(result) {
        let bystander;
        let sink = match sink {
            Some(sink) => sink,
            None => {
                bystander =
                    EventSink::of_bystander(world.clone(), order.verified.workspace, order.verified.session.clone());
                &bystander
            }
        };
        let id = result_id(&order);
        sink.emit(id, Event::CommandResult(result), order.correlation())?.wait().await?;
    }
    acknowledge(&order.delivery).await
}

/// The id of a command's final result: the same after any crash and for any copy, so that a consumer can deduplicate.
pub(crate) fn result_id(order: &Order) -> EventId {
    let verified = &order.verified;
    let workspace = verified.workspace.to_string();
    // Whichever session a message went from, it is the same command.
    let session = if order.any { SessionId::RESERVED } else { verified.session.as_str() };
    let parts = ["command.result", &workspace, session, verified.message_id.as_str()];
    let issued_at = u64::try_from(order.record.issued_at).unwrap_or(0);
    EventId::derive(issued_at.saturating_mul(1000), &parts)
}

/// The last step of everything that is done with a delivery.
pub(crate) async fn acknowledge(delivery: &Delivery) -> Result<(), IntakeError> {
    if !delivery.acker.ack(BasicAckOptions::default()).await? {
        tracing::debug!("an acknowledgement came too late; the broker delivers again and the ledger answers");
    }
    Ok(())
}

/// Publishes a delivery again under another routing key, body and signature untouched, and acknowledges it.
pub(crate) async fn forward(world: &World, delivery: &Delivery, routing_key: String) -> Result<(), IntakeError> {
    world.publisher.publish(letter::again(delivery, routing_key, [])).await?;
    acknowledge(delivery).await
}
