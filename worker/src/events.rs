//! Events out: numbered, signed and handed to the publisher in order.

use lapin::BasicProperties;
use tokio::sync::Mutex;
use wafleet_protocol::event::{Envelope, Event};
use wafleet_protocol::id::{CommandId, EventId, SessionId, WorkspaceId};
use wafleet_protocol::metadata::Metadata;
use wafleet_protocol::signing::{Claims, Role, sign};
use wafleet_protocol::timestamp::Timestamp;
use wafleet_protocol::topology;

use crate::broker::message::{Message, json_properties, text_headers};
use crate::broker::publisher::{Confirm, PublishError};
use crate::lease::{Fenced, Lease};
use crate::world::{World, unix_ms, unix_secs};

/// Why an event was not published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EmitError {
    /// The session is not ours any more, so its story is not ours to tell.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The worker is stopping.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// No key of the role `events` is valid for the workspace.
    #[error("no events key of the key ring is valid for workspace {0}")]
    NoKey(WorkspaceId),
}

/// What an event answers to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Correlation {
    /// The command.
    pub(crate) command: Option<CommandId>,
    /// The caller's own data, echoed.
    pub(crate) metadata: Option<Metadata>,
}

/// The story of one session under one fence. The numbering has no gaps, because number and place in the queue are given
/// under one lock.
pub(crate) struct EventSink {
    world: World,
    workspace: WorkspaceId,
    session: SessionId,
    /// `None` for answers that any worker may give about a session that it does not own: they carry epoch and seq 0.
    lease: Option<Lease>,
    seq: Mutex<u64>,
}

impl EventSink {
    /// The owner's story.
    pub(crate) fn of_owner(world: World, workspace: WorkspaceId, session: SessionId, lease: Lease) -> Self {
        Self { world, workspace, session, lease: Some(lease), seq: Mutex::new(0) }
    }

    /// A bystander's answers.
    pub(crate) fn of_bystander(world: World, workspace: WorkspaceId, session: SessionId) -> Self {
        Self { world, workspace, session, lease: None, seq: Mutex::new(0) }
    }

    /// Whether this is the story of that session.
    pub(crate) fn tells_of(&self, workspace: WorkspaceId, session: &SessionId) -> bool {
        self.workspace == workspace && self.session == *session
    }

    /// Asked before anything is published on behalf of the owner that is no event. A bystander may always.
    ///
    /// # Errors
    /// [`EmitError::Fenced`]: the session is not ours any more.
    pub(crate) fn prove(&self) -> Result<(), EmitError> {
        Ok(self.lease.as_ref().map_or(Ok(()), Lease::prove)?)
    }

    /// An id for something that happens once and now.
    pub(crate) fn fresh_id() -> EventId {
        EventId::random(unix_ms(), rand::random())
    }

    /// Numbers, signs and queues an event. Waits only while the publisher's queue is full.
    ///
    /// # Errors
    /// [`EmitError`]; nothing was published then.
    pub(crate) async fn emit(&self, id: EventId, event: Event, correlation: Correlation) -> Result<Confirm, EmitError> {
        let now = unix_secs();
        let signer = self.world.config.keyring.signer(Role::Events, self.workspace, now);
        let signer = signer.ok_or(EmitError::NoKey(self.workspace))?;
        let mut seq = self.seq.lock().await;
        let (epoch, number) = match &self.lease {
            None => (0, 0),
            Some(lease) => {
                lease.prove()?;
                (lease.fence(), *seq + 1)
            }
        };
        let envelope = Envelope {
            id,
            workspace_id: self.workspace,
            session_id: self.session.clone(),
            worker_id: self.world.config.worker_id.clone(),
            epoch,
            seq: number,
            occurred_at: Timestamp::from_unix_ms(unix_ms()),
            correlation_id: correlation.command,
            metadata: correlation.metadata,
            event,
        };
        let kind = envelope.event.type_name();
        let body = envelope.to_bytes();
        let headers = sign(signer, &Claims::event(&envelope, now), &body);
        let message = Message {
            exchange: topology::EVENTS,
            routing_key: envelope.routing_key(),
            mandatory: true, // the alternate exchange takes what no consumer is bound for, so a return is a fault
            properties: properties(&envelope, kind, headers.to_pairs()),
            body,
        };
        let confirm = self.world.publisher.enqueue(message).await?;
        *seq = number;
        self.world.counters.count("events.published", kind);
        Ok(confirm)
    }
}

fn properties(
    envelope: &Envelope,
    kind: &'static str,
    signed: impl IntoIterator<Item = (&'static str, String)>,
) -> BasicProperties {
    let properties = json_properties(envelope.id.as_str(), kind)
        .with_timestamp(envelope.occurred_at.unix_secs())
        .with_headers(text_headers(signed));
    match &envelope.correlation_id {
        Some(command) => properties.with_correlation_id(command.as_str().into()),
        None => properties,
    }
}
