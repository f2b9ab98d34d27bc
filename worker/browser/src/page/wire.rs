//! What the adapter in the page sends and answers: `page/src/protocol.ts` is the other half.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::CallError;
use super::model::{
    Ack, Call, Capabilities, GroupChange, GroupUpdate, Message, PageEvent, Presence, Reaction, Status, Vote,
};

/// The version of the protocol that both halves speak.
pub(super) const VERSION: u64 = 3;

/// How far the adapter has come in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// WhatsApp's core modules are there.
    Probed,
    /// wa-js was started and is getting ready.
    Library,
}

/// An event of the adapter.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "handed on at once, never stored")]
pub(super) enum Incoming {
    /// For whoever owns the page.
    Event(PageEvent),
    /// For the driver.
    Phase(Phase),
}

#[derive(Deserialize)]
struct Batch {
    v: u64,
    seq: u64,
    events: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    Phase { phase: Phase },
    State { status: Status },
    Qr { code: String, first: bool },
    QrIdle,
    LinkCode { code: String, expires_at: Option<i64> },
    PasskeyAnswered,
    Passkey { id: String, request: Value, origin: String, expires_at: i64 },
    Ready { capabilities: Capabilities },
    Message { message: Message },
    Ack { ack: Ack },
    Edited { message: Message, at_ms: Option<i64> },
    Revoked { key: String, chat_id: String, from_me: bool },
    Reaction(Reaction),
    Vote(Vote),
    Waiting { message: Message },
    Presence { chat_id: String, participant: Option<String>, state: Presence },
    Group(GroupChange),
    GroupUpdate(GroupUpdate),
    Stalled { key: String, chat_id: String, at_ms: i64 },
    Label { id: String, name: String, color: Option<String>, deleted: bool },
    ChatLabel { chat_id: String, label_id: String, label: Option<String>, labelled: bool },
    Call(Call),
    Silent { for_ms: u64 },
    Fault { what: String },
}

impl From<Event> for Incoming {
    fn from(event: Event) -> Self {
        Incoming::Event(match event {
            Event::Phase { phase } => return Incoming::Phase(phase),
            Event::State { status } => PageEvent::State(status),
            Event::Qr { code, first } => PageEvent::Qr { code, first },
            Event::QrIdle => PageEvent::QrIdle,
            Event::LinkCode { code, expires_at } => PageEvent::LinkCode { code, expires_at },
            Event::PasskeyAnswered => PageEvent::PasskeyAnswered,
            Event::Passkey { id, request, origin, expires_at } => {
                PageEvent::Passkey { id, request, origin, expires_at }
            }
            Event::Ready { capabilities } => PageEvent::Ready(capabilities),
            Event::Message { message } => PageEvent::Message(message),
            Event::Ack { ack } => PageEvent::Ack(ack),
            Event::Edited { message, at_ms } => PageEvent::Edited { message, at_ms },
            Event::Revoked { key, chat_id, from_me } => PageEvent::Revoked { key, chat_id, from_me },
            Event::Reaction(reaction) => PageEvent::Reaction(reaction),
            Event::Vote(vote) => PageEvent::Vote(vote),
            Event::Waiting { message } => PageEvent::Waiting(message),
            Event::Presence { chat_id, participant, state } => PageEvent::Presence { chat_id, participant, state },
            Event::Group(change) => PageEvent::Group(change),
            Event::GroupUpdate(update) => PageEvent::GroupUpdate(update),
            Event::Stalled { key, chat_id, at_ms } => PageEvent::Stalled { key, chat_id, at_ms },
            Event::Label { id, name, color, deleted } => PageEvent::Label { id, name, color, deleted },
            Event::ChatLabel { chat_id, label_id, label, labelled } => {
                PageEvent::ChatLabel { chat_id, label_id, label, labelled }
            }
            Event::Call(call) => PageEvent::Call(call),
            Event::Silent { for_ms } => PageEvent::Silent { since: Duration::from_millis(for_ms) },
            Event::Fault { what } => PageEvent::Fault { what },
        })
    }
}

/// The batches of one document: numbered without a gap.
#[derive(Debug, Default)]
pub(super) struct Batches {
    seq: u64,
}

impl Batches {
    /// The events of a batch, in order. What cannot be understood becomes a fault, never an error;
    /// no fault carries any of the content.
    pub(super) fn parse(&mut self, payload: &str) -> Vec<Incoming> {
        let batch: Batch = match serde_json::from_str(payload) {
            Ok(batch) => batch,
            Err(error) => return vec![fault(format!("a batch of events is malformed ({:?})", error.classify()))],
        };
        if batch.v != VERSION {
            return vec![fault(format!("the adapter speaks version {}, not {VERSION}", batch.v))];
        }
        let mut events = Vec::with_capacity(batch.events.len());
        if batch.seq != self.seq + 1 {
            events.push(fault(format!("batch {} followed batch {}", batch.seq, self.seq)));
        }
        self.seq = batch.seq;
        events.extend(batch.events.into_iter().map(|event| {
            let kind: String = event["type"].as_str().unwrap_or("?").chars().take(32).collect();
            match serde_json::from_value::<Event>(event) {
                Ok(event) => event.into(),
                Err(_) => fault(format!("an event of type {kind} has an unknown shape")),
            }
        }));
        events
    }
}

fn fault(what: String) -> Incoming {
    Incoming::Event(PageEvent::Fault { what })
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Ok(Value),
    Err(Refusal),
}

#[derive(Deserialize)]
struct Refusal {
    name: String,
    #[serde(default)]
    code: Option<String>,
    message: String,
}

/// The answer to a call as its type, or why there is none.
pub(super) fn answer<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, CallError> {
    let malformed = |what: &str| CallError::Page { name: "MalformedAnswer".into(), code: None, message: what.into() };
    match serde_json::from_value(value) {
        Ok(Answer::Ok(value)) => {
            serde_json::from_value(value).map_err(|_| malformed("the answer has an unknown shape"))
        }
        Ok(Answer::Err(Refusal { name, code, message })) => Err(match code.as_deref() {
            Some("timeout") => CallError::Timeout,
            Some("not_ready") => CallError::NotReady,
            _ => CallError::Page { name, code, message },
        }),
        Err(_) => Err(malformed("neither ok nor err")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(events: Value) -> Vec<Incoming> {
        Batches::default().parse(&json!({ "v": VERSION, "seq": 1, "events": events }).to_string())
    }

    fn faults(events: &[Incoming]) -> usize {
        events.iter().filter(|event| matches!(event, Incoming::Event(PageEvent::Fault { .. }))).count()
    }

    #[test]
    fn every_kind_of_event_is_understood() {
        let message = json!({
            "key": "false_1@lid_A", "id": "A", "chat_id": "1@lid", "from_me": false, "sender_id": "1@lid",
            "sender_phone": "49@c.us", "sender_lid": "1@lid", "kind": "chat", "text": "hello", "timestamp": 7,
            "ack": 1, "has_media": false, "quoted_id": null, "notify_name": "Anna", "source": null
        });
        let status = json!({
            "stream_mode": "MAIN", "stream_info": "NORMAL", "socket_state": "CONNECTED", "registered": true,
            "logged_in": true, "me": { "id": "49@c.us", "lid": "1@lid", "name": "Me", "platform": "android" },
            "version": "2.3000.1"
        });
        let said = json!([
            { "type": "phase", "phase": "probed" },
            { "type": "state", "status": status },
            { "type": "qr", "code": "a,b,c,d", "first": true },
            { "type": "qr_idle" },
            { "type": "link_code", "code": "ABCD1234", "expires_at": 9 },
            { "type": "link_code", "code": "ABCD1234", "expires_at": null },
            { "type": "passkey", "id": "1", "request": { "challenge": "AAAA" }, "origin": "https://x", "expires_at": 9 },
            { "type": "ready", "capabilities": { "tried": 2, "missing": ["x"], "version": null, "library": "4.6.0" } },
            { "type": "message", "message": message },
            { "type": "ack", "ack": { "keys": ["true_1@lid_A"], "chat_id": "1@lid", "sender_id": null, "ack": -1 } },
            { "type": "edited", "message": message, "at_ms": null },
            { "type": "revoked", "key": "false_1@lid_A", "chat_id": "1@lid", "from_me": false },
            { "type": "reaction", "key": "true_1@lid_A", "chat_id": "1@lid", "sender": { "id": "1@lid", "phone": null, "lid": "1@lid" }, "from_me": false, "emoji": null, "at_ms": 7 },
            { "type": "vote", "key": "true_1@lid_A", "chat_id": "1@lid", "sender": { "id": "1@lid", "phone": null, "lid": "1@lid" }, "from_me": false, "options": [], "at_ms": 7 },
            { "type": "waiting", "message": message },
            { "type": "presence", "chat_id": "1@lid", "participant": null, "state": "typing" },
            { "type": "call", "id": "C", "sender": { "id": "1@lid", "phone": null, "lid": "1@lid" }, "video": true, "group": false, "at_ms": 7 },
            { "type": "group", "chat_id": "1@g.us", "change": "add", "author": null, "participants": [] },
            { "type": "group_update", "chat_id": "1@g.us", "changed": ["subject"], "subject": "s", "description": null, "announce": true, "restrict": false, "ephemeral": 0 },
            { "type": "stalled", "key": "true_1@lid_A", "chat_id": "1@lid", "at_ms": 7 },
            { "type": "label", "id": "7", "name": "New", "color": "#ff9485", "deleted": false },
            { "type": "chat_label", "chat_id": "1@lid", "label_id": "7", "label": null, "labelled": true },
            { "type": "passkey_answered" },
            { "type": "silent", "for_ms": 90500 },
            { "type": "fault", "what": "something" },
        ]);
        let count = said.as_array().map_or(0, Vec::len);
        let events = parse(said);
        assert_eq!(events.len(), count, "one event for each");
        assert_eq!(faults(&events), 1);
        assert_eq!(events[0], Incoming::Phase(Phase::Probed));
        assert!(matches!(&events[1], Incoming::Event(PageEvent::State(status)) if status.is_online()));
        assert!(matches!(&events[8], Incoming::Event(PageEvent::Message(m)) if m.text.as_deref() == Some("hello")));
        assert!(matches!(&events[9], Incoming::Event(PageEvent::Ack(ack)) if ack.ack == -1));
    }

    #[test]
    fn what_is_malformed_becomes_one_fault_and_the_rest_is_kept() {
        for (payload, count, faulty) in [
            ("", 1, 1),
            ("not json", 1, 1),
            ("[]", 1, 1),
            ("{}", 1, 1),
            (r#"{"v":9,"seq":1,"events":[]}"#, 1, 1),
            (r#"{"v":3,"seq":1,"events":{}}"#, 1, 1),
            (r#"{"v":3,"seq":1,"events":[]}"#, 0, 0),
            (r#"{"v":3,"seq":1,"events":[null,7,{},{"type":"later"}]}"#, 4, 4),
            (r#"{"v":3,"seq":1,"events":[{"type":"message"},{"type":"qr_idle"}]}"#, 2, 1),
            (r#"{"v":3,"seq":1,"events":[{"type":"ack","ack":{"keys":[],"chat_id":"c","ack":1000}}]}"#, 1, 1),
            (r#"{"v":3,"seq":1,"events":[{"type":"qr","code":"c","first":"yes"}]}"#, 1, 1),
            (r#"{"v":3,"seq":1,"events":[{"type":"qr_idle","more":"later versions may say more"}]}"#, 1, 0),
        ] {
            let events = Batches::default().parse(payload);
            assert_eq!((events.len(), faults(&events)), (count, faulty), "{payload}");
        }
    }

    #[test]
    fn a_lost_batch_shows() {
        let mut batches = Batches::default();
        for (seq, faulty) in [(1, 0), (2, 0), (4, 1), (5, 0), (5, 1), (1, 1)] {
            let events = batches.parse(&json!({ "v": VERSION, "seq": seq, "events": [] }).to_string());
            assert_eq!(faults(&events), faulty, "{seq}");
        }
    }

    #[test]
    fn no_fault_carries_content() {
        let events = parse(json!([{ "type": "message", "message": { "text": "secret", "from_me": "secret" } }]));
        assert!(!format!("{events:?}").contains("secret"));
        let events = Batches::default().parse(r#"{"v":3,"seq":1,"events":"secret"}"#);
        assert!(!format!("{events:?}").contains("secret"));
    }

    #[test]
    fn an_answer_is_a_value_or_a_reason() {
        let page = |name: &str, code: Option<&str>| {
            Err(CallError::Page { name: name.into(), code: code.map(Into::into), message: "m".into() })
        };
        for (value, expected) in [
            (json!({ "ok": 7 }), Ok(7)),
            (json!({ "err": { "name": "E", "code": "c", "message": "m" } }), page("E", Some("c"))),
            (json!({ "err": { "name": "E", "message": "m" } }), page("E", None)),
            (json!({ "err": { "name": "Timeout", "code": "timeout", "message": "m" } }), Err(CallError::Timeout)),
            (json!({ "err": { "name": "N", "code": "not_ready", "message": "m" } }), Err(CallError::NotReady)),
        ] {
            assert_eq!(answer::<u32>(value.clone()), expected, "{value}");
        }
        for value in [json!(null), json!({}), json!({ "ok": "seven" }), json!({ "err": "no" })] {
            let refused = answer::<u32>(value.clone());
            assert!(matches!(refused, Err(CallError::Page { name, .. }) if name == "MalformedAnswer"), "{value}");
        }
        assert_eq!(answer::<()>(json!({ "ok": null })), Ok(()));
    }
}
