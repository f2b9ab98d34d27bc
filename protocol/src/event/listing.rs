//! What a session knows: chats, messages, people and groups, a page at a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::message::Message;
use crate::personal::Personal;
use crate::timestamp::Timestamp;

/// What `chat.list` yields: chats, the one with the newest message first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatPage {
    /// The chats.
    pub chats: Vec<ChatSummary>,
    /// Where the next page goes on; `null`: this is the last one.
    pub cursor: Option<Personal>,
}

/// One chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatSummary {
    /// The chat: `…@c.us`, `…@lid` or `…@g.us`.
    pub chat_id: Personal,
    /// Its name, if it has one: of the group, or of the person in the address book, or the one they gave themselves.
    pub name: Option<Personal>,
    /// The other's phone number in E.164 digits, when it is known.
    pub phone: Option<Personal>,
    /// The other's `…@lid` identity, when it is known.
    pub lid: Option<Personal>,
    /// Messages that were not read; −1: the chat was marked as unread by hand.
    pub unread: i64,
    /// When something was written last.
    pub timestamp: Option<Timestamp>,
    /// Whether it is out of sight.
    pub archived: bool,
    /// Whether it stays at the top.
    pub pinned: bool,
    /// Whether the phone keeps quiet about it.
    pub muted: bool,
    /// The ids of its labels, which WhatsApp Business has.
    #[serde(default)]
    pub labels: Vec<String>,
}

/// What `chat.history` yields: messages of one chat, the oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryPage {
    /// The messages.
    pub messages: Vec<PastMessage>,
    /// Where the next page, of older messages, goes on; `null`: the page has none.
    pub cursor: Option<Personal>,
}

/// One message that was told before, or came before this session was linked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PastMessage {
    /// The message.
    #[serde(flatten)]
    pub message: Message,
    /// Whether it is an own message.
    pub from_me: bool,
}

/// What `contact.list` yields: the people of the phone's address book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContactPage {
    /// The people.
    pub contacts: Vec<ContactSummary>,
    /// Where the next page goes on; `null`: this is the last one.
    pub cursor: Option<Personal>,
}

/// Somebody in the address book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContactSummary {
    /// The identity WhatsApp uses: `…@lid`, or `…@c.us` where there is none.
    pub id: Personal,
    /// The phone number in E.164 digits, when it is known.
    pub phone: Option<Personal>,
    /// The `…@lid` identity, when it is known.
    pub lid: Option<Personal>,
    /// The name in the address book.
    pub name: Option<Personal>,
    /// The name they gave themselves.
    pub notify_name: Option<Personal>,
}

/// What `group.list` yields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupPage {
    /// The groups.
    pub groups: Vec<GroupSummary>,
    /// Where the next page goes on; `null`: this is the last one.
    pub cursor: Option<Personal>,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupSummary {
    /// The group: `…@g.us`.
    pub chat_id: Personal,
    /// Its name.
    pub subject: Option<Personal>,
    /// Who created it, if that is known.
    pub owner: Option<Personal>,
    /// How many are in it.
    pub size: u32,
    /// Whether only administrators may write.
    pub announce: bool,
    /// Whether only administrators may change its name and picture.
    pub restrict: bool,
    /// Whether this account is an administrator.
    pub admin: bool,
}

/// What `group.info` yields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupInfo {
    /// The group.
    pub group: GroupSummary,
    /// Its description.
    pub description: Option<Personal>,
    /// After how many seconds new messages disappear; 0: never.
    #[serde(default)]
    pub ephemeral: u64,
    /// Who is in it; WhatsApp allows 1,024 at most.
    pub participants: Vec<Participant>,
}

/// Somebody in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Participant {
    /// The identity that the group uses.
    pub id: Personal,
    /// The phone number in E.164 digits, when it is known.
    pub phone: Option<Personal>,
    /// The `…@lid` identity, when it is known.
    pub lid: Option<Personal>,
    /// Whether they are an administrator.
    pub admin: bool,
}
