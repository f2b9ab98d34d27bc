//! Events about what becomes of messages, and what people do besides writing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::message::{Message, Sender};
use crate::command::Reference;
use crate::id::CommandId;
use crate::personal::Personal;
use crate::timestamp::Timestamp;

/// Data of `message.edited`: a message has another wording, somebody else's or one's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MessageEdited {
    /// The message as it is now, under the key that it always had.
    #[serde(flatten)]
    pub message: Message,
    /// When it was changed, by the clock of whoever changed it, if that is known.
    pub edited_at: Option<Timestamp>,
}

/// Data of `message.revoked`: a message was taken back for everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageRevoked {
    /// WhatsApp's key of the message that is gone.
    pub key: Personal,
    /// WhatsApp's id of it.
    pub id: String,
    /// The chat.
    pub chat_id: Personal,
    /// Whether it was an own message.
    pub from_me: bool,
}

/// Data of `message.reaction`: somebody reacted to a message, or took the reaction back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageReaction {
    /// WhatsApp's key of the message that is reacted to.
    pub key: Personal,
    /// WhatsApp's id of it.
    pub id: String,
    /// The chat.
    pub chat_id: Personal,
    /// Who reacted.
    pub sender: Sender,
    /// Whether it was this account.
    pub from_me: bool,
    /// The emoji; `null`: the reaction was taken back.
    pub emoji: Option<Personal>,
    /// When, by the clock of whoever reacted.
    pub timestamp: Timestamp,
}

/// Data of `poll.vote`: somebody chose answers of a poll. What counts is the latest of each voter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PollVote {
    /// WhatsApp's key of the poll.
    pub key: Personal,
    /// WhatsApp's id of it.
    pub id: String,
    /// The chat.
    pub chat_id: Personal,
    /// Who voted.
    pub sender: Sender,
    /// Whether it was this account.
    pub from_me: bool,
    /// All answers that are chosen now; none: the vote was taken back.
    pub options: Vec<Personal>,
    /// When, by the clock of whoever voted.
    pub timestamp: Timestamp,
}

/// Data of `message.waiting`: a message is there that cannot be read yet. WhatsApp asks its sender to send it anew; if that
/// comes, `message.received` follows with the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageWaiting {
    /// WhatsApp's key of the message.
    pub key: Personal,
    /// WhatsApp's id of it.
    pub id: String,
    /// The chat.
    pub chat_id: Personal,
    /// Who wrote it.
    pub sender: Sender,
    /// When it was sent, by WhatsApp's clock; whole seconds.
    pub timestamp: Timestamp,
}

/// Data of `presence.update`: what somebody does at the moment. It comes for people whose chat is open on this account, as
/// far as they let it be seen, and is neither kept nor repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PresenceUpdate {
    /// The chat; in a group, see `participant`.
    pub chat_id: Personal,
    /// In a group: who.
    pub participant: Option<Personal>,
    /// What they do.
    pub state: PresenceState,
}

/// What somebody does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PresenceState {
    /// Online.
    Available,
    /// Not online, or not to be seen.
    Unavailable,
    /// Typing.
    Typing,
    /// Recording a voice message.
    Recording,
}

/// Data of `call.received`: somebody calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallReceived {
    /// WhatsApp's id of the call.
    pub id: String,
    /// Who calls.
    pub sender: Sender,
    /// Whether it is a video call.
    pub video: bool,
    /// Whether it is a call to a group.
    pub group: bool,
    /// When it began, by WhatsApp's clock; whole seconds.
    pub timestamp: Timestamp,
    /// Whether the session has rejected it by itself, because its settings say so.
    #[serde(default)]
    pub rejected: bool,
}

/// Data of `contact.mapping`: both ids of somebody are known. The same pair has the same event id, whenever it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContactMapping {
    /// The phone number in E.164 digits.
    pub phone: Personal,
    /// The `…@lid` identity.
    pub lid: Personal,
}

/// Data of `message.stalled`: WhatsApp's server has not acknowledged an own message for longer than it should take. It still
/// may: then `message.ack` follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageStalled {
    /// WhatsApp's key of the message.
    pub key: Personal,
    /// WhatsApp's id of it.
    pub id: String,
    /// The chat.
    pub chat_id: Personal,
    /// When it was written; whole seconds.
    pub timestamp: Timestamp,
    /// The caller's own name for the message, when a command sent it.
    pub reference: Option<Reference>,
    /// The command that sent it, when one did.
    pub command_id: Option<CommandId>,
}

/// Data of `group.participants`: who is in a group, or administrates it, changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupParticipants {
    /// The group.
    pub chat_id: Personal,
    /// What happened to them.
    pub change: GroupChange,
    /// Who did it, if that is known.
    pub author: Option<Sender>,
    /// To whom.
    pub participants: Vec<Sender>,
}

/// Data of `group.update`: what a group is called, or who may do what in it, changed. By whom, WhatsApp's page does not tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupUpdate {
    /// The group.
    pub chat_id: Personal,
    /// What changed. What follows is how all of it is now.
    pub changed: Vec<GroupSetting>,
    /// Its name.
    pub subject: Option<Personal>,
    /// Its description.
    pub description: Option<Personal>,
    /// Whether only administrators may write.
    pub announce: bool,
    /// Whether only administrators may change its name, picture and description.
    pub restrict: bool,
    /// After how many seconds new messages disappear; 0: never.
    #[serde(default)]
    pub ephemeral: u64,
}

/// Something that is set for a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupSetting {
    /// Its name.
    Subject,
    /// Its description.
    Description,
    /// Who may write.
    Announce,
    /// Who may change what it is called.
    Restrict,
    /// When messages disappear.
    Ephemeral,
}

/// What happened to people in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupChange {
    /// They were added.
    Add,
    /// They came by an invitation.
    Join,
    /// They were removed.
    Remove,
    /// They left.
    Leave,
    /// They became administrators.
    Promote,
    /// They are administrators no more.
    Demote,
}
