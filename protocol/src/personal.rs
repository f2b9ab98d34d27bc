//! Text that belongs to a person and must not reach a log.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// A phone number, a name, a message's text, a QR string: whatever the wire carries and a log line must not.
///
/// `Debug` hides it and there is no `Display`, so an event can be put into a log line without a second thought. Who
/// needs the text asks for it by [`as_str`](Personal::as_str). Plain text on the wire.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Personal(String);

impl Personal {
    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text itself, moved out.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl From<String> for Personal {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Personal {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<crate::id::PhoneNumber> for Personal {
    fn from(phone: crate::id::PhoneNumber) -> Self {
        Self(phone.into())
    }
}

impl From<crate::id::ChatId> for Personal {
    fn from(chat: crate::id::ChatId) -> Self {
        Self(chat.into())
    }
}

impl JsonSchema for Personal {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Personal".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}
