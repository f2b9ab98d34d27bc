//! Meta's webhooks, as far as a sender needs them: what became of messages, and what came in.
//!
//! Read leniently: Meta adds fields, and repeats and reorders webhooks. Whoever received it has checked its signature
//! (`X-Hub-Signature-256`) with the secret of the app, which this crate never sees.

use serde_json::Value;

/// What a webhook tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Webhook {
    /// How far messages got.
    pub statuses: Vec<Status>,
    /// What came in.
    pub messages: Vec<Incoming>,
}

/// How far a message got.
#[derive(Clone, PartialEq, Eq)]
pub struct Status {
    /// Meta's id of the number it was sent from.
    pub number: String,
    /// Meta's id of the message.
    pub message_id: String,
    /// How far.
    pub level: Level,
    /// When, in Unix seconds.
    pub at: u64,
    /// Whom it was sent to, in digits.
    pub recipient: Option<String>,
    /// The sender's mark.
    pub mark: Option<String>,
    /// Meta's code, when it failed.
    pub code: Option<i64>,
}

/// How far a message got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It will not arrive.
    Failed,
    /// On its way from Meta's server.
    Sent,
    /// On the recipient's device.
    Delivered,
    /// Read.
    Read,
    /// Listened to.
    Played,
}

/// A message that came in.
#[derive(Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Meta's id of the number it was sent to.
    pub number: String,
    /// Meta's id of the message.
    pub message_id: String,
    /// Who wrote it, in digits.
    pub from: String,
    /// The name they gave themselves.
    pub name: Option<String>,
    /// When, in Unix seconds.
    pub at: u64,
    /// What it is, in Meta's words.
    pub kind: String,
    /// The text, the caption, or the title of the button that was chosen.
    pub text: Option<String>,
    /// The message it answers.
    pub context: Option<String>,
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Status").field("level", &self.level).field("code", &self.code).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Incoming {
    /// Whether a medium hangs on it.
    #[must_use]
    pub fn has_media(&self) -> bool {
        matches!(self.kind.as_str(), "image" | "video" | "audio" | "voice" | "document" | "sticker")
    }
}

/// Reads a webhook's whole body. `None`: it is none of a WhatsApp account.
#[must_use]
pub fn read(body: &Value) -> Option<Webhook> {
    if body["object"] != "whatsapp_business_account" {
        return None;
    }
    let mut webhook = Webhook::default();
    let changes = items(&body["entry"]).flat_map(|entry| items(&entry["changes"]));
    for value in changes.filter(|change| change["field"] == "messages").map(|change| &change["value"]) {
        let Some(number) = text(&value["metadata"]["phone_number_id"]) else { continue };
        webhook.statuses.extend(items(&value["statuses"]).filter_map(|item| status(&number, item)));
        let name = |from: &str| {
            let contact = items(&value["contacts"]).find(|contact| contact["wa_id"] == from)?;
            text(&contact["profile"]["name"])
        };
        webhook.messages.extend(items(&value["messages"]).filter_map(|item| incoming(&number, item, name)));
    }
    Some(webhook)
}

fn status(number: &str, item: &Value) -> Option<Status> {
    let level = match item["status"].as_str()? {
        "failed" => Level::Failed,
        "sent" => Level::Sent,
        "delivered" => Level::Delivered,
        "read" => Level::Read,
        "played" => Level::Played,
        _ => return None, // `deleted`, `warning`, and what may come
    };
    Some(Status {
        number: number.to_owned(),
        message_id: text(&item["id"])?,
        level,
        at: seconds(&item["timestamp"])?,
        recipient: text(&item["recipient_id"]),
        mark: text(&item["biz_opaque_callback_data"]),
        code: items(&item["errors"]).find_map(|error| error["code"].as_i64()),
    })
}

fn incoming(number: &str, item: &Value, name: impl Fn(&str) -> Option<String>) -> Option<Incoming> {
    let from = text(&item["from"])?;
    let kind = text(&item["type"])?;
    let content = &item[kind.as_str()];
    let chosen = &content[content["type"].as_str().unwrap_or("button_reply")]["title"];
    let text_of = [&content["body"], &content["caption"], &content["text"], &content["emoji"], chosen];
    Some(Incoming {
        number: number.to_owned(),
        message_id: text(&item["id"])?,
        at: seconds(&item["timestamp"])?,
        name: name(&from),
        from,
        text: text_of.into_iter().find_map(text),
        context: text(&item["context"]["id"]),
        kind,
    })
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Meta writes seconds as a text; some of its relays write a number.
fn seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(value: Value) -> Value {
        json!({
            "object": "whatsapp_business_account",
            "entry": [{ "id": "1", "changes": [{ "field": "messages", "value": value }] }],
        })
    }

    #[test]
    fn statuses_are_read_with_their_mark_and_their_code() {
        let told = read(&body(json!({
            "messaging_product": "whatsapp",
            "metadata": { "display_phone_number": "1555", "phone_number_id": "106" },
            "statuses": [
                { "id": "wamid.A", "status": "sent", "timestamp": "1750857384", "recipient_id": "49151",
                  "biz_opaque_callback_data": "cmd-1", "pricing": { "billable": true } },
                { "id": "wamid.A", "status": "failed", "timestamp": "1750857385", "recipient_id": "49151",
                  "errors": [{ "code": 131047, "title": "Re-engagement message" }] },
                { "id": "wamid.A", "status": "warning", "timestamp": "1750857385" },
            ],
        })))
        .expect("a webhook");
        let levels: Vec<_> =
            told.statuses.iter().map(|status| (status.level, status.mark.as_deref(), status.code)).collect();
        assert_eq!(levels, [(Level::Sent, Some("cmd-1"), None), (Level::Failed, None, Some(131_047))]);
        assert_eq!((told.statuses[0].at, told.statuses[0].number.as_str()), (1_750_857_384, "106"));
        assert!(!format!("{told:?}").contains("49151"));
    }

    #[test]
    fn incoming_messages_are_read_whatever_their_kind() {
        let message = |kind: &str, content: Value| json!({ "from": "49151", "id": "wamid.B", "timestamp": "1750857384", "type": kind, kind: content });
        let cases = [
            (message("text", json!({ "body": "hi" })), Some("hi"), false),
            (message("image", json!({ "id": "9", "caption": "look" })), Some("look"), true),
            (message("audio", json!({ "id": "9", "voice": true })), None, true),
            (message("button", json!({ "payload": "p", "text": "Yes" })), Some("Yes"), false),
            (message("reaction", json!({ "message_id": "wamid.A", "emoji": "👍" })), Some("👍"), false),
            (
                message("interactive", json!({ "type": "list_reply", "list_reply": { "id": "r", "title": "Red" } })),
                Some("Red"),
                false,
            ),
        ];
        for (item, text, media) in cases {
            let told = read(&body(json!({
                "metadata": { "phone_number_id": "106" },
                "contacts": [{ "wa_id": "49151", "profile": { "name": "Anna" } }],
                "messages": [item.clone()],
            })))
            .expect("a webhook");
            let message = told.messages.first().unwrap_or_else(|| panic!("{item}"));
            assert_eq!((message.text.as_deref(), message.has_media()), (text, media), "{item}");
            assert_eq!(message.name.as_deref(), Some("Anna"));
        }
    }

    #[test]
    fn what_is_no_webhook_of_whatsapp_is_none_and_nothing_panics() {
        for value in [json!(null), json!([]), json!({ "object": "page" }), json!("x")] {
            assert_eq!(read(&value), None);
        }
        let odd =
            [json!({}), json!({ "entry": 1 }), json!({ "entry": [{ "changes": [null, { "field": "messages" }] }] })];
        for value in odd {
            let mut value = value;
            value["object"] = "whatsapp_business_account".into();
            assert_eq!(read(&value), Some(Webhook::default()));
        }
    }
}
