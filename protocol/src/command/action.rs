//! What a session can be asked to do besides sending: change a message, show that somebody types, arrange chats, look
//! somebody up.
//!
//! Every one of these but those that [happen once](Action::happens_once) may be carried out twice and leaves things as
//! after the first time, so a worker that does not know whether it was carried out does it again.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::call::RejectCall;
use super::group::{ChangeParticipants, CreateGroup, GroupSettings, InviteLink, LeaveGroup, group};
use super::label::{LabelChat, ListLabels};
use super::picture::GroupPicture;
use super::pin::PinMessage;
use super::text::{Line, MessageText};
use crate::id::{ChatId, ChatKind, MessageKey};
use crate::json::Fields;
use crate::rejection::Rejection;
use crate::schema::{Document, command_document};
use crate::timestamp::Timestamp;

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident($data:ident) = $name:literal,)+) => {
        /// What a session can be asked to do besides sending.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        #[serde(untagged)]
        pub enum Action {
            $($(#[$doc])* $variant($data),)+
        }

        impl Action {
            /// All type names.
            pub const TYPE_NAMES: [&'static str; [$($name),+].len()] = [$($name),+];

            /// The type, as in the AMQP property and in the body.
            pub fn type_name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)+
                }
            }

            pub(super) fn from_fields(type_: &str, data: &mut Fields) -> Result<Self, Rejection> {
                Ok(match type_ {
                    $($name => Self::$variant($data::from_fields(data)?),)+
                    _ => return Err(Rejection::UnknownType),
                })
            }

            pub(crate) fn documents() -> Vec<Document> {
                vec![$(command_document::<$data>($name)),+]
            }
        }
    };
}

actions! {
    /// `message.react`: put one's reaction to a message, in the place of the one before, or take it back.
    React(React) = "message.react",
    /// `message.edit`: give a text of one's own another wording. WhatsApp allows it for some minutes.
    Edit(Edit) = "message.edit",
    /// `message.delete`: take a message back for everybody: one's own, or in a group that one administrates, anybody's.
    Delete(Delete) = "message.delete",
    /// `message.star`: mark a message for oneself.
    Star(Star) = "message.star",
    /// `chat.typing`: show that one types.
    Typing(Typing) = "chat.typing",
    /// `chat.recording`: show that one records a voice message.
    Recording(Recording) = "chat.recording",
    /// `chat.seen`: mark a chat as read, and tell those who wrote in it.
    Seen(Seen) = "chat.seen",
    /// `chat.archive`: put a chat out of sight.
    Archive(Archive) = "chat.archive",
    /// `chat.mute`: keep the phone quiet about a chat.
    Mute(Mute) = "chat.mute",
    /// `chat.pin`: keep a chat at the top.
    PinChat(PinChat) = "chat.pin",
    /// `presence.set`: show oneself as online, or not. Others' presence comes only while one is online.
    SetPresence(SetPresence) = "presence.set",
    /// `contact.check`: ask whether somebody is on WhatsApp, and by which ids.
    Check(Check) = "contact.check",
    /// `contact.block`: refuse what somebody sends.
    Block(Block) = "contact.block",
    /// `chat.list`: the chats that the session knows, a page at a time.
    ListChats(ListChats) = "chat.list",
    /// `chat.history`: the messages of one chat that the session has, a page at a time, from the newest back.
    History(History) = "chat.history",
    /// `contact.list`: the people of the phone's address book, a page at a time.
    ListContacts(ListContacts) = "contact.list",
    /// `group.list`: the groups that this account is in, a page at a time.
    ListGroups(ListGroups) = "group.list",
    /// `group.info`: what is known of one group, and who is in it.
    GroupInfo(AskGroup) = "group.info",
    /// `group.participants`: add people to a group that one administrates, remove them, or change who administrates it.
    ChangeParticipants(ChangeParticipants) = "group.participants",
    /// `group.settings`: name and describe a group, and say who may do what in it.
    GroupSettings(GroupSettings) = "group.settings",
    /// `group.leave`: leave a group.
    LeaveGroup(LeaveGroup) = "group.leave",
    /// `group.create`: make a group. At most once: a creation that was cut short ends as `unknown`.
    CreateGroup(CreateGroup) = "group.create",
    /// `group.invite`: the link by which people come into a group that one administrates.
    GroupInvite(InviteLink) = "group.invite",
    /// `message.pin`: keep a message at the top of its chat for a while, for everybody in it.
    PinMessage(PinMessage) = "message.pin",
    /// `call.reject`: end a call that rings, on all devices. Calls of groups cannot be ended so.
    RejectCall(RejectCall) = "call.reject",
    /// `label.list`: the labels of a WhatsApp Business account.
    ListLabels(ListLabels) = "label.list",
    /// `chat.label`: put a label on a chat, or take it off.
    LabelChat(LabelChat) = "chat.label",
    /// `group.picture`: give a group a picture, or take it away.
    GroupPicture(GroupPicture) = "group.picture",
}

impl Action {
    /// How long it is worth doing: what shows a moment, or answers somebody who waits, is not worth it after five minutes;
    /// what changes something is as long as a message.
    pub(super) fn default_lifetime(&self) -> Duration {
        const FIVE_MINUTES: u64 = 5 * 60;
        const DAY: u64 = 24 * 60 * 60;
        Duration::from_secs(match self {
            Self::Typing(_)
            | Self::Recording(_)
            | Self::SetPresence(_)
            | Self::Check(_)
            | Self::ListChats(_)
            | Self::History(_)
            | Self::ListContacts(_)
            | Self::ListGroups(_)
            | Self::GroupInfo(_)
            | Self::ListLabels(_)
            | Self::GroupInvite(_)
            | Self::RejectCall(_) => FIVE_MINUTES,
            Self::React(_)
            | Self::Edit(_)
            | Self::Delete(_)
            | Self::Star(_)
            | Self::Seen(_)
            | Self::Archive(_)
            | Self::Mute(_)
            | Self::PinChat(_)
            | Self::LabelChat(_)
            | Self::Block(_)
            | Self::ChangeParticipants(_)
            | Self::GroupSettings(_)
            | Self::LeaveGroup(_)
            | Self::CreateGroup(_)
            | Self::PinMessage(_)
            | Self::GroupPicture(_) => DAY,
        })
    }

    /// Whether doing it again does it a second time, so that it is never done again once it was begun.
    pub fn happens_once(&self) -> bool {
        matches!(self, Self::CreateGroup(_))
    }
}

/// Data of `message.react`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct React {
    /// The key of the message, as `message.received` and `message.sent` tell it.
    pub message: MessageKey,
    /// The emoji; without it the reaction is taken back.
    pub emoji: Option<Line<32>>,
}

impl React {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self { message: data.parsed("message")?, emoji: data.optional_parsed("emoji")? })
    }
}

/// Data of `message.edit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Edit {
    /// The key of a text of one's own.
    pub message: MessageKey,
    /// What it shall say.
    pub text: MessageText,
}

impl Edit {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let message: MessageKey = data.parsed("message")?;
        if !message.is_own() {
            return Err(data.invalid("message", "must be a message of one's own: its key begins with true_"));
        }
        Ok(Self { message, text: data.parsed("text")? })
    }
}

/// Data of `message.delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Delete {
    /// The key of the message.
    pub message: MessageKey,
}

impl Delete {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self { message: data.parsed("message")? })
    }
}

/// Data of `message.star`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Star {
    /// The key of the message.
    pub message: MessageKey,
    /// Whether it is marked. The default is yes.
    #[schemars(with = "Option<bool>")]
    pub star: bool,
}

impl Star {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self { message: data.parsed("message")?, star: data.optional_flag("star")?.unwrap_or(true) })
    }
}

/// Data of `chat.typing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Typing {
    /// The chat.
    pub chat: ChatId,
    /// Whether one types; others see it for some seconds. The default is yes.
    #[schemars(with = "Option<bool>")]
    pub typing: bool,
}

impl Typing {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self { chat: data.parsed("chat")?, typing: data.optional_flag("typing")?.unwrap_or(true) })
    }
}

/// Data of `chat.recording`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Recording {
    /// The chat.
    pub chat: ChatId,
    /// Whether one records; others see it for some seconds. The default is yes.
    #[schemars(with = "Option<bool>")]
    pub recording: bool,
}

impl Recording {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self { chat: data.parsed("chat")?, recording: data.optional_flag("recording")?.unwrap_or(true) })
    }
}

/// Data of `chat.seen`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Seen {
    /// The chat.
    pub chat: ChatId,
}

impl Seen {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self { chat: data.parsed("chat")? })
    }
}

/// Data of `chat.archive`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Archive {
    /// The chat.
    pub chat: ChatId,
    /// Whether it is out of sight. The default is yes.
    #[schemars(with = "Option<bool>")]
    pub archive: bool,
}

impl Archive {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self { chat: data.parsed("chat")?, archive: data.optional_flag("archive")?.unwrap_or(true) })
    }
}

/// Data of `chat.mute`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Mute {
    /// The chat.
    pub chat: ChatId,
    /// Whether the phone keeps quiet about it. The default is yes.
    #[schemars(with = "Option<bool>")]
    pub mute: bool,
    /// Until when; without it for ever.
    pub until: Option<Timestamp>,
}

impl Mute {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let chat = data.parsed("chat")?;
        let mute = data.optional_flag("mute")?.unwrap_or(true);
        let until = data.optional_text("until")?;
        let until = until.map(|text| text.parse().map_err(|_| data.invalid("until", "must be a moment in RFC 3339")));
        let until = until.transpose()?;
        if until.is_some() && !mute {
            return Err(data.invalid("until", "cannot stand where mute is false"));
        }
        Ok(Self { chat, mute, until })
    }
}

/// Data of `chat.pin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PinChat {
    /// The chat.
    pub chat: ChatId,
    /// Whether it stays at the top. The default is yes.
    #[schemars(with = "Option<bool>")]
    pub pin: bool,
}

impl PinChat {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self { chat: data.parsed("chat")?, pin: data.optional_flag("pin")?.unwrap_or(true) })
    }
}

/// Data of `presence.set`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SetPresence {
    /// Whether one is shown as online.
    pub available: bool,
}

impl SetPresence {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let available = data.optional_flag("available")?;
        Ok(Self { available: available.ok_or_else(|| data.invalid("available", "is missing"))? })
    }
}

/// Data of `contact.check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Check {
    /// A phone number, `…@c.us` or `…@lid`.
    pub contact: ChatId,
    /// How old in seconds the answer may be; with 0 WhatsApp is asked in any case. The default is a day. WhatsApp counts who
    /// asks often, and answers are kept for a day at most.
    #[schemars(with = "Option<u64>", range(min = 0, max = Check::MAX_AGE))]
    pub max_age: u64,
}

impl Check {
    /// A day: the most that `max_age` may be, and what it is unless the caller says otherwise.
    pub const MAX_AGE: u64 = 24 * 60 * 60;

    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let contact = person(data)?;
        let max_age = match data.take("max_age") {
            None => Self::MAX_AGE,
            Some(age) => age.as_u64().filter(|age| *age <= Self::MAX_AGE).ok_or_else(|| {
                data.invalid("max_age", &format!("must be a whole number from 0 to {}", Self::MAX_AGE))
            })?,
        };
        Ok(Self { contact, max_age })
    }
}

/// Data of `contact.block`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Block {
    /// A phone number, `…@c.us` or `…@lid`.
    pub contact: ChatId,
    /// Whether what they send is refused. The default is yes.
    #[schemars(with = "Option<bool>")]
    pub block: bool,
}

impl Block {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self { contact: person(data)?, block: data.optional_flag("block")?.unwrap_or(true) })
    }
}

/// The most entries of one page.
const MAX_PAGE: u64 = 100;

/// The entries of one page unless the caller says otherwise.
const USUAL_PAGE: u64 = 50;

/// The fields `limit` and `cursor` of everything that is asked for a page at a time.
fn paging(data: &mut Fields) -> Result<(u64, Option<Line<256>>), Rejection> {
    let limit = match data.take("limit") {
        None => USUAL_PAGE,
        Some(limit) => limit
            .as_u64()
            .filter(|limit| (1..=MAX_PAGE).contains(limit))
            .ok_or_else(|| data.invalid("limit", &format!("must be a whole number from 1 to {MAX_PAGE}")))?,
    };
    Ok((limit, data.optional_parsed("cursor")?))
}

/// Data of `chat.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ListChats {
    /// The most chats of this page. The default is 50. Less may come, so that the answer stays below some 256 KiB.
    #[schemars(with = "Option<u64>", range(min = 1, max = 100))]
    pub limit: u64,
    /// The `cursor` of the page before; without it the first page.
    pub cursor: Option<Line<256>>,
    /// Only chats with something unread. The default is no.
    #[schemars(with = "Option<bool>")]
    pub unread: bool,
    /// Only chats that are archived, or that are not; without it both.
    pub archived: Option<bool>,
}

impl ListChats {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let (limit, cursor) = paging(data)?;
        let unread = data.optional_flag("unread")?.unwrap_or(false);
        Ok(Self { limit, cursor, unread, archived: data.optional_flag("archived")? })
    }
}

/// Data of `chat.history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct History {
    /// The chat.
    pub chat: ChatId,
    /// The most messages of this page. The default is 50. Less may come, so that the answer stays below some 256 KiB.
    #[schemars(with = "Option<u64>", range(min = 1, max = 100))]
    pub limit: u64,
    /// The `cursor` of the page before; without it the newest messages.
    pub cursor: Option<Line<256>>,
}

impl History {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let (limit, cursor) = paging(data)?;
        if cursor.as_ref().is_some_and(|cursor| MessageKey::try_from(cursor.as_str()).is_err()) {
            return Err(data.invalid("cursor", "must be the cursor of the page before"));
        }
        Ok(Self { chat: data.parsed("chat")?, limit, cursor })
    }
}

/// Data of `contact.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ListContacts {
    /// The most people of this page. The default is 50.
    #[schemars(with = "Option<u64>", range(min = 1, max = 100))]
    pub limit: u64,
    /// The `cursor` of the page before; without it the first page.
    pub cursor: Option<Line<256>>,
}

impl ListContacts {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let (limit, cursor) = paging(data)?;
        Ok(Self { limit, cursor })
    }
}

/// Data of `group.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ListGroups {
    /// The most groups of this page. The default is 50.
    #[schemars(with = "Option<u64>", range(min = 1, max = 100))]
    pub limit: u64,
    /// The `cursor` of the page before; without it the first page.
    pub cursor: Option<Line<256>>,
}

impl ListGroups {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let (limit, cursor) = paging(data)?;
        Ok(Self { limit, cursor })
    }
}

/// Data of `group.info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AskGroup {
    /// The group: `…@g.us`.
    pub group: ChatId,
}

impl AskGroup {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self { group: group(data)? })
    }
}

/// The field `contact`: somebody, and no group.
fn person(data: &mut Fields) -> Result<ChatId, Rejection> {
    let contact: ChatId = data.parsed("contact")?;
    if contact.kind() == ChatKind::Group {
        return Err(data.invalid("contact", "must be a person and no group"));
    }
    Ok(contact)
}
