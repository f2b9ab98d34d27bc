//! What Meta would post to the host application.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::state::Inner;

pub(crate) fn status(state: &Inner, message_id: &str, status: &str, code: Option<i64>) -> Value {
    let accepted = state.accepted.iter().find(|accepted| accepted.id == message_id);
    let accepted = accepted.unwrap_or_else(|| panic!("no message {message_id} was accepted"));
    let mut item = json!({
        "id": accepted.id,
        "status": status,
        "timestamp": now(),
        "recipient_id": accepted.to,
        "biz_opaque_callback_data": accepted.mark(),
        "pricing": { "billable": true, "pricing_model": "PMP", "category": "service" },
    });
    if let Some(code) = code {
        item["errors"] = json!([{ "code": code, "title": "imitated", "message": "imitated" }]);
    }
    posted(&accepted.number, json!({ "statuses": [item] }))
}

pub(crate) fn message(state: &mut Inner, number: &str, from: &str, text: &str) -> (String, Value) {
    let id = state.new_id();
    let contact = json!({ "wa_id": from, "profile": { "name": "Somebody" } });
    let item = json!({ "from": from, "id": id, "timestamp": now(), "type": "text", "text": { "body": text } });
    let body = posted(number, json!({ "contacts": [contact], "messages": [item] }));
    (id, body)
}

fn posted(number: &str, mut value: Value) -> Value {
    value["messaging_product"] = "whatsapp".into();
    value["metadata"] = json!({ "display_phone_number": format!("1{number}"), "phone_number_id": number });
    let change = json!({ "field": "messages", "value": value });
    json!({ "object": "whatsapp_business_account", "entry": [{ "id": "102290129340398", "changes": [change] }] })
}

fn now() -> String {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().to_string()
}
