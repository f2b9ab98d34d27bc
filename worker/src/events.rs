//! Events out: numbered, signed and handed to the publisher in order.

use std::sync::{Mutex, PoisonError};

use wafleet_protocol::event::{Envelope, Event};
use wafleet_protocol::id::{CommandId, EventId, SessionId, WorkspaceId};
use wafleet_protocol::metadata::Metadata;
use wafleet_protocol::signing::{Claims, Role, sign};
use wafleet_protocol::timestamp::Timestamp;

use crate::broker::message::EventLetter;
use crate::broker::publisher::{Confirm, PublishError};
use crate::lease::{Fenced, Lease};
use crate::world::World;

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
    pub(crate) fn fresh_id(&self) -> EventId {
        EventId::random(self.world.clock.unix_ms(), rand::random())
    }

    /// Numbers, signs and hands over an event: it will go out, whatever happens to the broker or to this process. Never
    /// waits; whoever can wait looks at [`Publisher::room`](crate::broker::publisher::Publisher::room) first.
    ///
    /// # Errors
    /// [`EmitError`]; nothing was published then.
    pub(crate) fn emit(&self, id: EventId, event: Event, correlation: Correlation) -> Result<Confirm, EmitError> {
        let now = self.world.clock.unix_secs();
        let signer = self.world.config.keyring.signer(Role::Events, self.workspace, now);
        let signer = signer.ok_or(EmitError::NoKey(self.workspace))?;
        let mut seq = self.seq.lock().unwrap_or_else(PoisonError::into_inner);
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
            occurred_at: Timestamp::from_unix_ms(self.world.clock.unix_ms()),
            correlation_id: correlation.command,
            metadata: correlation.metadata,
            event,
        };
        let kind = envelope.event.type_name();
        let body = envelope.to_bytes();
        let headers = sign(signer, &Claims::event(&envelope, now), &body);
        let letter = EventLetter {
            routing_key: envelope.routing_key(),
            id: envelope.id.to_string(),
            kind: kind.to_owned(),
            at: envelope.occurred_at.unix_secs(),
            correlation: envelope.correlation_id.as_ref().map(ToString::to_string),
            headers: headers.to_pairs().map(|(name, value)| (name.to_owned(), value)).to_vec(),
            body: String::from_utf8(body).expect("JSON is UTF-8"),
            workspace: envelope.workspace_id,
            session: envelope.session_id,
        };
        let confirm = self.world.publisher.tell(letter);
        *seq = number;
        self.world.counters.count("events.published", kind);
        Ok(confirm)
    }
}
