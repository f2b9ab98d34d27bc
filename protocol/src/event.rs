//! What the fleet tells.
//!
//! Every event travels in one [`Envelope`]. Consumers deduplicate by its `id`, order by `(epoch, seq)` within a session,
//! and ignore fields and types they do not know: new ones are added without a new version. Whatever names or quotes a
//! person is [`Personal`](crate::personal::Personal), so `Debug` of an event is fit for a log.

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};
use serde_json::value::RawValue;

use crate::id::{CommandId, EventId, SessionId, WorkerId, WorkspaceId};
use crate::json::{self, Nul};
use crate::metadata::Metadata;
use crate::rejection::Rejection;
use crate::timestamp::Timestamp;
use crate::topology;

mod budget;
mod campaign;
mod change;
mod content;
mod label;
mod listing;
mod media;
mod message;
mod passkey;
mod result;
mod session;
mod sync;

pub use budget::{Budget, Used};
pub use campaign::{CampaignProgress, CampaignState, UnknownCampaignState};
pub use change::{
    CallReceived, ContactMapping, GroupChange, GroupParticipants, GroupSetting, GroupUpdate, MessageEdited,
    MessageReaction, MessageRevoked, MessageStalled, MessageWaiting, PollVote, PresenceState, PresenceUpdate,
};
pub use content::{Medium, Place, Question, Quoted, VisitingCard};
pub use label::{ChatLabel, Label, LabelUpdate, Labels};
pub use listing::{
    ChatPage, ChatSummary, ContactPage, ContactSummary, GroupInfo, GroupPage, GroupSummary, HistoryPage, Participant,
    PastMessage,
};
pub use media::{MediaFailure, MediaOutcome, MessageMedia};
pub use message::{Ack, AckName, Authoritative, Message, MessageAck, MessageSent, MessageSource, Sender};
pub use passkey::{PasskeyDescriptor, PasskeyRequest, SessionPasskey};
pub use result::{
    CommandError, CommandResult, ContactChecked, GroupCreated, GroupLink, Invitation, Outcome, ParticipantChanged,
    ParticipantsChanged, ResultData, RuntimeIncompatible, SentMessage,
};
pub use session::{
    Cause, Health, HealthParts, Restriction, SessionCode, SessionQr, SessionStatus, SessionStatusChanged,
};
pub use sync::{SyncChats, SyncGroups, SyncMessages, SyncProgress, SyncState};

/// The version of every event type so far.
pub const VERSION: u64 = 1;

/// One event with everything that says where, when and in answer to what.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// Deduplicate by this.
    pub id: EventId,
    /// The tenant.
    pub workspace_id: WorkspaceId,
    /// The session it is about; [any](SessionId::any) when it is about the workspace.
    pub session_id: SessionId,
    /// The worker that tells it.
    pub worker_id: WorkerId,
    /// The session's fence under which it is told; grows with every change of owner. 0: an answer of a worker that does not
    /// own the session, such as the result of `session.start`; it is not part of the session's numbered story.
    pub epoch: u64,
    /// Counts the events of one session and epoch from 1, without gaps; 0 in epoch 0.
    pub seq: u64,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The command it follows from, if any.
    pub correlation_id: Option<CommandId>,
    /// What the sender of that command wanted echoed.
    pub metadata: Option<Metadata>,
    /// What happened.
    pub event: Event,
}

/// What happened. On the wire: `type`, and this enum's content as `data`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// `session.status`: the session's public status or health changed.
    SessionStatus(SessionStatusChanged),
    /// `session.qr`: a QR to show to the person who links.
    SessionQr(SessionQr),
    /// `session.code`: a code to be typed into the phone.
    SessionCode(SessionCode),
    /// `session.passkey`: WhatsApp asks for a passkey of the person who links.
    SessionPasskey(SessionPasskey),
    /// `message.received`: somebody wrote.
    MessageReceived(Message),
    /// `message.sent`: an own message left, from this session or from the phone itself.
    MessageSent(MessageSent),
    /// `message.ack`: an own message got further.
    MessageAck(MessageAck),
    /// `message.media`: the file of a received message is kept, or given up.
    MessageMedia(MessageMedia),
    /// `command.result`: what became of a command.
    CommandResult(CommandResult),
    /// `runtime.incompatible`: WhatsApp's page lacks something the fleet uses.
    RuntimeIncompatible(RuntimeIncompatible),
    /// `message.edited`: a message has another wording.
    MessageEdited(MessageEdited),
    /// `message.revoked`: a message was taken back for everybody.
    MessageRevoked(MessageRevoked),
    /// `message.reaction`: somebody reacted to a message.
    MessageReaction(MessageReaction),
    /// `message.waiting`: a message is there that cannot be read yet.
    MessageWaiting(MessageWaiting),
    /// `poll.vote`: somebody chose answers of a poll.
    PollVote(PollVote),
    /// `presence.update`: what somebody does at the moment.
    PresenceUpdate(PresenceUpdate),
    /// `call.received`: somebody calls.
    CallReceived(CallReceived),
    /// `group.participants`: who is in a group, or administrates it, changed.
    GroupParticipants(GroupParticipants),
    /// `group.update`: what a group is called, or who may do what in it, changed.
    GroupUpdate(GroupUpdate),
    /// `label.update`: there is another label, or it is called otherwise, or gone.
    LabelUpdate(LabelUpdate),
    /// `chat.label`: a chat has got a label, or lost it.
    ChatLabel(ChatLabel),
    /// `campaign.progress`: how a campaign goes, while it does.
    CampaignProgress(CampaignProgress),
    /// `sync.progress`: how far a sync has come.
    SyncProgress(SyncProgress),
    /// `sync.chats`: chats of a sync.
    SyncChats(SyncChats),
    /// `sync.messages`: messages of one chat of a sync.
    SyncMessages(SyncMessages),
    /// `sync.groups`: groups of a sync.
    SyncGroups(SyncGroups),
    /// `contact.mapping`: both ids of somebody are known.
    ContactMapping(ContactMapping),
    /// `message.stalled`: WhatsApp's server has not acknowledged an own message for long.
    MessageStalled(MessageStalled),
}

impl Event {
    /// All type names.
    pub const TYPE_NAMES: [&'static str; 28] = [
        "session.status",
        "session.qr",
        "session.code",
        "session.passkey",
        "message.received",
        "message.sent",
        "message.ack",
        "message.media",
        "command.result",
        "runtime.incompatible",
        "message.edited",
        "message.revoked",
        "message.reaction",
        "message.waiting",
        "poll.vote",
        "presence.update",
        "call.received",
        "group.participants",
        "group.update",
        "label.update",
        "chat.label",
        "campaign.progress",
        "sync.progress",
        "sync.chats",
        "sync.messages",
        "sync.groups",
        "contact.mapping",
        "message.stalled",
    ];

    /// The type, as in the AMQP property, the routing key and the body.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::SessionStatus(_) => "session.status",
            Self::SessionQr(_) => "session.qr",
            Self::SessionCode(_) => "session.code",
            Self::SessionPasskey(_) => "session.passkey",
            Self::MessageReceived(_) => "message.received",
            Self::MessageSent(_) => "message.sent",
            Self::MessageAck(_) => "message.ack",
            Self::MessageMedia(_) => "message.media",
            Self::CommandResult(_) => "command.result",
            Self::RuntimeIncompatible(_) => "runtime.incompatible",
            Self::MessageEdited(_) => "message.edited",
            Self::MessageRevoked(_) => "message.revoked",
            Self::MessageReaction(_) => "message.reaction",
            Self::MessageWaiting(_) => "message.waiting",
            Self::PollVote(_) => "poll.vote",
            Self::PresenceUpdate(_) => "presence.update",
            Self::CallReceived(_) => "call.received",
            Self::GroupParticipants(_) => "group.participants",
            Self::GroupUpdate(_) => "group.update",
            Self::LabelUpdate(_) => "label.update",
            Self::ChatLabel(_) => "chat.label",
            Self::CampaignProgress(_) => "campaign.progress",
            Self::SyncProgress(_) => "sync.progress",
            Self::SyncChats(_) => "sync.chats",
            Self::SyncMessages(_) => "sync.messages",
            Self::SyncGroups(_) => "sync.groups",
            Self::ContactMapping(_) => "contact.mapping",
            Self::MessageStalled(_) => "message.stalled",
        }
    }

    /// The routing key on the exchange [`wa.events`](topology::EVENTS).
    pub fn routing_key(&self, workspace: WorkspaceId, session: &SessionId) -> String {
        topology::event_key(workspace, session, self.type_name())
    }

    fn from_data(type_: &str, data: &str) -> Result<Self, Rejection> {
        fn read<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, Rejection> {
            serde_json::from_str(data).map_err(|_| json::invalid("data", "does not have the form of its type"))
        }
        Ok(match type_ {
            "session.status" => Self::SessionStatus(read(data)?),
            "session.qr" => Self::SessionQr(read(data)?),
            "session.code" => Self::SessionCode(read(data)?),
            "session.passkey" => Self::SessionPasskey(read(data)?),
            "message.received" => Self::MessageReceived(read(data)?),
            "message.sent" => Self::MessageSent(read(data)?),
            "message.ack" => Self::MessageAck(read(data)?),
            "message.media" => Self::MessageMedia(read(data)?),
            "command.result" => Self::CommandResult(read(data)?),
            "runtime.incompatible" => Self::RuntimeIncompatible(read(data)?),
            "message.edited" => Self::MessageEdited(read(data)?),
            "message.revoked" => Self::MessageRevoked(read(data)?),
            "message.reaction" => Self::MessageReaction(read(data)?),
            "message.waiting" => Self::MessageWaiting(read(data)?),
            "poll.vote" => Self::PollVote(read(data)?),
            "presence.update" => Self::PresenceUpdate(read(data)?),
            "call.received" => Self::CallReceived(read(data)?),
            "group.participants" => Self::GroupParticipants(read(data)?),
            "group.update" => Self::GroupUpdate(read(data)?),
            "label.update" => Self::LabelUpdate(read(data)?),
            "chat.label" => Self::ChatLabel(read(data)?),
            "campaign.progress" => Self::CampaignProgress(read(data)?),
            "sync.progress" => Self::SyncProgress(read(data)?),
            "sync.chats" => Self::SyncChats(read(data)?),
            "sync.messages" => Self::SyncMessages(read(data)?),
            "sync.groups" => Self::SyncGroups(read(data)?),
            "contact.mapping" => Self::ContactMapping(read(data)?),
            "message.stalled" => Self::MessageStalled(read(data)?),
            _ => return Err(Rejection::UnknownType),
        })
    }
}

/// The envelope as it is read; `data` waits until the type is known.
#[derive(Deserialize)]
struct RawEnvelope<'a> {
    id: EventId,
    #[serde(rename = "type")]
    type_: String,
    version: u64,
    workspace_id: WorkspaceId,
    #[serde(deserialize_with = "SessionId::deserialize_or_any")]
    session_id: SessionId,
    worker_id: WorkerId,
    epoch: u64,
    seq: u64,
    occurred_at: Timestamp,
    correlation_id: Option<CommandId>,
    metadata: Option<Metadata>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Envelope {
    /// Parses a body whose signature was verified; `type_` is the AMQP type, which is the signed one.
    pub fn parse(type_: &str, body: &[u8]) -> Result<Self, Rejection> {
        json::parse(body, Nul::Accepted)?;
        let raw: RawEnvelope<'_> =
            serde_json::from_slice(body).map_err(|_| json::invalid("", "does not have the form of an event"))?;
        if raw.type_ != type_ {
            return Err(Rejection::TypeMismatch);
        }
        if !Event::TYPE_NAMES.contains(&type_) {
            return Err(Rejection::UnknownType);
        }
        if raw.version != VERSION {
            return Err(Rejection::UnknownVersion { version: raw.version });
        }
        Ok(Self {
            id: raw.id,
            workspace_id: raw.workspace_id,
            session_id: raw.session_id,
            worker_id: raw.worker_id,
            epoch: raw.epoch,
            seq: raw.seq,
            occurred_at: raw.occurred_at,
            correlation_id: raw.correlation_id,
            metadata: raw.metadata,
            event: Event::from_data(type_, raw.data.get())?,
        })
    }

    /// The bytes to sign and to publish.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, numbers and plain structs always serialise")
    }

    /// The routing key on the exchange [`wa.events`](topology::EVENTS).
    pub fn routing_key(&self) -> String {
        self.event.routing_key(self.workspace_id, &self.session_id)
    }
}

impl Serialize for Envelope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_struct("Envelope", 12)?;
        body.serialize_field("id", &self.id)?;
        body.serialize_field("type", self.event.type_name())?;
        body.serialize_field("version", &VERSION)?;
        body.serialize_field("workspace_id", &self.workspace_id)?;
        body.serialize_field("session_id", &self.session_id)?;
        body.serialize_field("worker_id", &self.worker_id)?;
        body.serialize_field("epoch", &self.epoch)?;
        body.serialize_field("seq", &self.seq)?;
        body.serialize_field("occurred_at", &self.occurred_at)?;
        body.serialize_field("correlation_id", &self.correlation_id)?;
        body.serialize_field("metadata", &self.metadata)?;
        body.serialize_field("data", &self.event)?;
        body.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(type_: &str, data: &str) -> String {
        format!(
            r#"{{"id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","type":"{type_}","version":1,"workspace_id":7,"session_id":"s1",
            "worker_id":"w1","epoch":1,"seq":1,"occurred_at":"2026-11-18T11:06:40.120Z","correlation_id":null,
            "metadata":null,"data":{data}}}"#
        )
    }

    const QR: &str =
        r#"{"qr":"2@a\u0000","expires_at":"2026-11-18T11:07:40Z","generation":1,"attempt":2,"max":6,"new":[]}"#;

    #[test]
    fn fields_of_later_versions_and_odd_characters_do_not_stop_a_consumer() {
        let envelope = Envelope::parse("session.qr", body("session.qr", QR).as_bytes()).expect("accepted");
        let Event::SessionQr(qr) = &envelope.event else { panic!("a QR") };
        assert_eq!((qr.qr.as_str(), qr.attempt), ("2@a\0", 2));
        assert_eq!(envelope.routing_key(), "workspace.7.session.s1.session.qr");
    }

    #[test]
    fn what_is_not_an_event_is_refused() {
        let cases = [
            ("session.qr", body("session.code", QR), "type_mismatch"),
            ("session.sun", body("session.sun", QR), "unknown_type"),
            ("session.qr", body("session.qr", QR).replace("\"version\":1", "\"version\":2"), "unknown_version"),
            ("session.qr", body("session.qr", "{}"), "invalid_field"),
            ("session.qr", body("session.qr", QR).replace("\"seq\":1,", ""), "invalid_field"),
            ("session.qr", body("session.qr", QR).replace("\"seq\":1,", "\"seq\":1,\"seq\":2,"), "duplicate_field"),
            ("session.qr", body("session.qr", QR).replace("s1", "../s1"), "invalid_field"),
            ("session.qr", "[".repeat(100), "too_deep"),
            ("session.qr", String::new(), "not_json"),
        ];
        for (type_, body, reason) in cases {
            let refusal = Envelope::parse(type_, body.as_bytes()).expect_err(reason);
            assert_eq!(refusal.reason(), reason, "{body}");
        }
    }
}
