//! What a host application takes over of a session's past.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::json::Fields;
use crate::rejection::Rejection;

/// Data of `session.sync`. A field that is absent has its default; `chats` and `days` alone know `null`, which is *all*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SessionSync {
    /// The most chats. The default is 500; `null`: all of them.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub chats: Option<u64>,
    /// Only chats in which something was written within so many days. The default is 30; `null`: however long ago.
    #[schemars(range(min = 1, max = 36_500))]
    pub days: Option<u64>,
    /// The most messages of each chat, the newest ones. The default is 50; 0: none.
    #[schemars(with = "Option<u64>", range(min = 0, max = 10_000))]
    pub messages: u64,
    /// Whether the groups come with those who are in them. The default is yes.
    #[schemars(with = "Option<bool>")]
    pub groups: bool,
}

impl Default for SessionSync {
    fn default() -> Self {
        Self { chats: Some(500), days: Some(30), messages: 50, groups: true }
    }
}

impl SessionSync {
    /// The most chats that can be asked for by number.
    pub const MAX_CHATS: u64 = 1_000_000;
    /// The most days: about a hundred years.
    pub const MAX_DAYS: u64 = 36_500;
    /// The most messages of one chat.
    pub const MAX_MESSAGES: u64 = 10_000;

    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let usual = Self::default();
        let messages = data.take("messages").map(|value| bounded(data, "messages", &value, 0, Self::MAX_MESSAGES));
        Ok(Self {
            chats: all_or(data, "chats", usual.chats, Self::MAX_CHATS)?,
            days: all_or(data, "days", usual.days, Self::MAX_DAYS)?,
            messages: messages.transpose()?.unwrap_or(usual.messages),
            groups: data.optional_flag("groups")?.unwrap_or(usual.groups),
        })
    }
}

/// A number from 1 on; `None` for `null`, which is all.
fn all_or(data: &mut Fields, name: &str, usual: Option<u64>, max: u64) -> Result<Option<u64>, Rejection> {
    match data.take_or_null(name) {
        None => Ok(usual),
        Some(Value::Null) => Ok(None),
        Some(value) => bounded(data, name, &value, 1, max).map(Some),
    }
}

fn bounded(data: &Fields, name: &str, value: &Value, min: u64, max: u64) -> Result<u64, Rejection> {
    let number = value.as_u64().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| data.invalid(name, &format!("must be a whole number from {min} to {max}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_is_all_and_nothing_is_the_default() {
        let cases = [
            (json!({}), Some(SessionSync::default())),
            (json!([]), Some(SessionSync::default())),
            (json!({"chats": null}), Some(SessionSync { chats: None, ..SessionSync::default() })),
            (
                json!({"days": null, "messages": 0}),
                Some(SessionSync { days: None, messages: 0, ..SessionSync::default() }),
            ),
            (json!({"messages": null, "groups": null}), Some(SessionSync::default())),
            (
                json!({"chats": 1, "groups": false}),
                Some(SessionSync { chats: Some(1), groups: false, ..SessionSync::default() }),
            ),
            (json!({"chats": 0}), None),
            (json!({"days": 0}), None),
            (json!({"days": "all"}), None),
            (json!({"messages": 10_001}), None),
        ];
        for (data, expected) in cases {
            let mut fields = Fields::new("data", data.clone()).expect("an object");
            assert_eq!(SessionSync::from_fields(&mut fields).ok(), expected, "{data}");
        }
    }
}
