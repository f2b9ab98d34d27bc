//! What a session can be asked to do besides sending: change a message, show that somebody types, arrange chats, look
//! somebody up.
//!
//! Every one of these may be carried out twice and leaves things as after the first time, so a worker that does not know
//! whether it was carried out does it again.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

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
}

impl Action {
    /// How long it is worth doing: what shows a moment, or answers somebody who waits, is not worth it after five minutes;
    /// what changes something is as long as a message.
    pub(super) fn default_lifetime(&self) -> Duration {
        const FIVE_MINUTES: u64 = 5 * 60;
        const DAY: u64 = 24 * 60 * 60;
        Duration::from_secs(match self {
            Self::Typing(_) | Self::Recording(_) | Self::SetPresence(_) | Self::Check(_) => FIVE_MINUTES,
            Self::React(_)
            | Self::Edit(_)
            | Self::Delete(_)
            | Self::Star(_)
            | Self::Seen(_)
            | Self::Archive(_)
            | Self::Mute(_)
            | Self::PinChat(_)
            | Self::Block(_) => DAY,
        })
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
}

impl Check {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self { contact: person(data)? })
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

/// The field `contact`: somebody, and no group.
fn person(data: &mut Fields) -> Result<ChatId, Rejection> {
    let contact: ChatId = data.parsed("contact")?;
    if contact.kind() == ChatKind::Group {
        return Err(data.invalid("contact", "must be a person and no group"));
    }
    Ok(contact)
}
