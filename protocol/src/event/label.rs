//! Labels of a WhatsApp Business account.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::personal::Personal;

/// What `label.list` yields: all labels, by their ids. WhatsApp allows a few dozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Labels {
    /// The labels.
    pub labels: Vec<Label>,
}

/// One label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Label {
    /// WhatsApp's id of it. It stays when the label is renamed.
    pub id: String,
    /// What it is called.
    pub name: Personal,
    /// Its color: `#` and six hexadecimal digits.
    pub color: Option<String>,
}

/// Data of `label.update`: there is another label, or it is called otherwise, or gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LabelUpdate {
    /// The label, as it is now or was last.
    #[serde(flatten)]
    pub label: Label,
    /// Whether it is gone, and with it from all chats.
    pub deleted: bool,
}

/// Data of `chat.label`: a chat has got a label, or lost it, on whatever device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatLabel {
    /// The chat.
    pub chat_id: Personal,
    /// The label's id.
    pub label_id: String,
    /// What the label is called, where that is known.
    pub label: Option<Personal>,
    /// Whether the chat has it now.
    pub labelled: bool,
}
