//! A session's past, a batch at a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::listing::{ChatSummary, GroupInfo, PastMessage};
use crate::personal::Personal;
use crate::timestamp::Timestamp;

/// Data of `sync.progress`: told when a sync begins, after every batch of chats, and when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SyncProgress {
    /// Which sync: the id of the command that asked for it, or of its own where linking did.
    pub sync_id: String,
    /// Whether it goes on.
    pub state: SyncState,
    /// Chats whose messages have been told.
    pub chats: u64,
    /// All the chats it takes, as far as it is known; it grows with chats that appear meanwhile.
    pub chats_total: u64,
    /// Messages told. Those of a chat that was interrupted by a change of owner are told again, and count once.
    pub messages: u64,
    /// Groups told.
    pub groups: u64,
    /// When it began.
    pub started_at: Timestamp,
}

/// Whether a sync goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncState {
    /// It goes on, under the next owner too.
    Running,
    /// Everything was told.
    Done,
    /// Another `session.sync` has taken its place.
    Superseded,
}

/// Data of `sync.chats`: up to 50 chats, those with something unread first, then the one with the newest message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SyncChats {
    /// Which sync.
    pub sync_id: String,
    /// The chats, as they are now. A chat may be told again after a change of owner.
    pub chats: Vec<ChatSummary>,
}

/// Data of `sync.messages`: messages of one chat, the oldest first. The newest of a chat come in its first event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SyncMessages {
    /// Which sync.
    pub sync_id: String,
    /// The chat.
    pub chat_id: Personal,
    /// The messages, without their files. Deduplicate by their keys: some were told when they came in.
    pub messages: Vec<PastMessage>,
}

/// Data of `sync.groups`: some of the groups this account is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SyncGroups {
    /// Which sync.
    pub sync_id: String,
    /// The groups, with those who are in them.
    pub groups: Vec<GroupInfo>,
}
