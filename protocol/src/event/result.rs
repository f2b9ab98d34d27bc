//! What became of a command, and what the page lacks.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::campaign::CampaignProgress;
use super::label::Labels;
use super::listing::{ChatPage, ContactPage, GroupInfo, GroupPage, HistoryPage};
use super::message::Ack;
use super::session::{SessionCode, SessionStatusChanged};
use crate::error::{ErrorClass, ErrorCode};
use crate::id::CommandId;
use crate::personal::Personal;
use crate::provider::Provider;
use crate::timestamp::Timestamp;

/// Data of `command.result`. Exactly one of a command is final: `succeeded`, `failed`, or `unknown` that was never resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CommandResult {
    /// The command.
    pub command_id: CommandId,
    /// Its type.
    pub command_type: String,
    /// What became of it.
    pub outcome: Outcome,
    /// With `deferred`: not before this moment, if that is known.
    pub until: Option<Timestamp>,
    /// Why, unless it succeeded.
    pub error: Option<CommandError>,
    /// Who acted on a message, if anybody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// What it yielded, if it yields anything.
    pub data: Option<ResultData>,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Done.
    Succeeded,
    /// Not done, and it will not be.
    Failed,
    /// Not done yet; the fleet goes on by itself.
    Deferred,
    /// It may have been done. A later result of the same command says more, if the fleet learns it.
    Unknown,
}

impl Outcome {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Deferred => "deferred",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a command did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandError {
    /// What becomes of the command.
    pub class: ErrorClass,
    /// What went wrong, as a stable word.
    pub code: ErrorCode,
    /// What went wrong, for people. Holds nothing of the command's content.
    pub message: String,
    /// The provider's own code, verbatim.
    pub provider_code: Option<String>,
}

impl CommandError {
    /// An error of this code, in its class.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { class: code.class(), code, message: message.into(), provider_code: None }
    }

    /// The same with the provider's own code.
    pub fn with_provider_code(self, provider_code: impl Into<String>) -> Self {
        Self { provider_code: Some(provider_code.into()), ..self }
    }
}

/// What a command yielded; which one it is follows from the command's type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ResultData {
    /// Of `session.start`, `session.status`, `session.stop`, `session.logout`, `session.limits`: how the session stands.
    Session(SessionStatusChanged),
    /// Of `session.link_code`: the code to be typed into the phone.
    Code(SessionCode),
    /// Of `message.send`: the message.
    Message(SentMessage),
    /// Of `contact.check`: what is known of somebody.
    Contact(ContactChecked),
    /// Of `chat.list`: chats.
    Chats(ChatPage),
    /// Of `chat.history`: messages.
    History(HistoryPage),
    /// Of `contact.list`: people.
    Contacts(ContactPage),
    /// Of `group.list`: groups.
    Groups(GroupPage),
    /// Of `group.info`: one group.
    Group(GroupInfo),
    /// Of `group.create`: the group. Stands before what is told of participants alone, which would fit it, too.
    GroupCreated(GroupCreated),
    /// Of `group.invite`: the link.
    GroupLink(GroupLink),
    /// Of `group.participants`: what became of whom.
    Participants(ParticipantsChanged),
    /// Of `label.list`: the labels.
    Labels(Labels),
    /// Of `campaign.pause`, `campaign.resume`, `campaign.cancel`, `campaign.status`: how the campaign goes.
    Campaign(CampaignProgress),
}

/// What `group.participants` yields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParticipantsChanged {
    /// All that were named, in the order of the command.
    pub participants: Vec<ParticipantChanged>,
}

/// What `group.create` yields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupCreated {
    /// The group: `…@g.us`.
    pub chat_id: Personal,
    /// All that were named, in the order of the command, and whether they are in it.
    pub participants: Vec<ParticipantChanged>,
}

/// What `group.invite` yields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupLink {
    /// The link: whoever has it can come into the group.
    pub invite_link: Personal,
}

/// What became of one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParticipantChanged {
    /// Who: `…@lid`, or `…@c.us` where there is none.
    pub id: Personal,
    /// Whether they are now as was asked.
    pub done: bool,
    /// WhatsApp's code: 200 done, 403 does not let themselves be added, 404 not on WhatsApp or not in the group, ….
    pub code: u16,
    /// With 403: what they can come by themselves with, if WhatsApp gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation: Option<Invitation>,
}

/// An invitation into a group for one person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Invitation {
    /// WhatsApp's code of it.
    pub code: Personal,
    /// Until when it can be used, if that is known.
    pub expires_at: Option<Timestamp>,
}

/// What `contact.check` yields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContactChecked {
    /// Whether they are on WhatsApp.
    pub on_whatsapp: bool,
    /// The phone number in E.164 digits, when it is known.
    pub phone: Option<Personal>,
    /// The `…@lid` identity, when it is known. A chat of two is kept under it where there is one.
    pub lid: Option<Personal>,
    /// Whether it is a business, when WhatsApp says so.
    pub business: Option<bool>,
    /// How many seconds ago WhatsApp said so; 0: just now.
    #[serde(default)]
    pub age: u64,
}

/// What `message.send` yields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SentMessage {
    /// WhatsApp's key of the message.
    pub key: Personal,
    /// WhatsApp's id of the message.
    pub id: String,
    /// The chat it went to. Can differ from the one in the command: WhatsApp moves chats to `…@lid`.
    pub chat_id: Personal,
    /// When it was sent, by WhatsApp's clock; whole seconds.
    pub timestamp: Timestamp,
    /// How far it had got.
    #[serde(flatten)]
    pub ack: Ack,
}

/// Data of `runtime.incompatible`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuntimeIncompatible {
    /// The capabilities that are missing.
    pub missing: Vec<String>,
    /// Every capability the self-test looked at, and whether it is there.
    pub capabilities: BTreeMap<String, bool>,
    /// The version of WhatsApp's page, if it says one.
    pub page_version: Option<String>,
}
