//! Labels: the marks by which a WhatsApp Business account sorts its chats.

use schemars::JsonSchema;
use serde::Serialize;

use super::text::Line;
use crate::id::ChatId;
use crate::json::Fields;
use crate::rejection::Rejection;

/// Data of `label.list`: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ListLabels {}

impl ListLabels {
    // As every action is read.
    #[allow(clippy::unnecessary_wraps)]
    pub(super) fn from_fields(_: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self {})
    }
}

/// Data of `chat.label`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LabelChat {
    /// The chat.
    pub chat: ChatId,
    /// The label's id, as `label.list` and `label.update` tell it.
    pub label: Line<64>,
    /// Whether the chat has the label. The default is yes.
    #[schemars(with = "Option<bool>")]
    pub labelled: bool,
}

impl LabelChat {
    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let (chat, label) = (data.parsed("chat")?, data.parsed("label")?);
        Ok(Self { chat, label, labelled: data.optional_flag("labelled")?.unwrap_or(true) })
    }
}
