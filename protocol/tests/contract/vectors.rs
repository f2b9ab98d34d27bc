//! The published test vectors for signing: every verification rule with a message that keeps it or breaks it.
//!
//! `vectors/check.py`, `check.mjs` and `check.php` hold the same vectors against implementations of their own.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use wafleet_protocol::rejection::Rejection;
use wafleet_protocol::signing::{
    Audience, CanonicalFields, HeaderValue, Keyring, MAX_BODY_BYTES, RawProperties, Signed, canonical_string,
};

use crate::check_file;

const FILE: &str = "vectors/signing.json";
const ISSUED_AT: u64 = 1_795_000_000;
const NOW: u64 = ISSUED_AT + 100;
const DAY: u64 = 86_400;

/// A message before it is signed, every field as text, as a sender could set it.
#[derive(Clone)]
struct Draft {
    /// Verify as this audience.
    verify_as: Audience,
    /// At this moment.
    now: u64,
    /// Sign with the secret of this key; the field `key` may name another one.
    secret_of: &'static str,
    key: String,
    audience: String,
    type_: String,
    message_id: String,
    workspace: String,
    session: String,
    issued_at: String,
    expires_at: String,
    content_type: String,
    body: Vec<u8>,
}

/// A message as it arrives. `None` is a header or property that is absent, a number a header of another AMQP type.
struct Message {
    properties: Map<String, Value>,
    headers: Map<String, Value>,
    body: Vec<u8>,
}

struct Case {
    name: &'static str,
    draft: Draft,
    canonical: String,
    message: Message,
    reason: Option<&'static str>,
}

fn keyring_json() -> Value {
    let secret = |byte: u8| STANDARD.encode([byte; 32]);
    json!({ "keys": [
        { "id": "cmd-2", "role": "commands", "secret": secret(0x0c), "workspaces": ["*"], "not_after": null },
        { "id": "cmd-1", "role": "commands", "secret": secret(0x0b), "workspaces": ["*"], "not_after": "2027-01-01T00:00:00Z" },
        { "id": "cmd-old", "role": "commands", "secret": secret(0x0a), "workspaces": ["*"], "not_after": "2026-11-18T11:06:39Z" },
        { "id": "cmd-tenant", "role": "commands", "secret": secret(0x0d), "workspaces": [7, 8], "not_after": null },
        { "id": "ops-1", "role": "ops", "secret": secret(0x0e), "workspaces": ["*"], "not_after": null },
        { "id": "evt-1", "role": "events", "secret": secret(0x0f), "workspaces": ["*"], "not_after": null },
    ] })
}

fn keyring() -> Keyring {
    Keyring::parse(&keyring_json().to_string()).expect("a valid ring")
}

fn command() -> Draft {
    let body = r#"{"type":"message.send","version":1,"data":{"to":"4915112345678","kind":"text","text":"Grüße 👋"}}"#;
    Draft {
        verify_as: Audience::Commands,
        now: NOW,
        secret_of: "cmd-1",
        key: "cmd-1".to_owned(),
        audience: "wa.commands".to_owned(),
        type_: "message.send".to_owned(),
        message_id: "01JD0000000000000000000001".to_owned(),
        workspace: "7".to_owned(),
        session: "support-01".to_owned(),
        issued_at: ISSUED_AT.to_string(),
        expires_at: (ISSUED_AT + DAY).to_string(),
        content_type: "application/json".to_owned(),
        body: body.as_bytes().to_vec(),
    }
}

fn event() -> Draft {
    Draft {
        verify_as: Audience::Events,
        secret_of: "evt-1",
        key: "evt-1".to_owned(),
        audience: "wa.events".to_owned(),
        type_: "session.status".to_owned(),
        expires_at: (ISSUED_AT + 30 * DAY).to_string(),
        body: br#"{"type":"session.status"}"#.to_vec(),
        ..command()
    }
}

impl Draft {
    /// The same with one change, made before signing.
    fn with(mut self, change: impl FnOnce(&mut Draft)) -> Draft {
        change(&mut self);
        self
    }

    fn times(self, issued_at: u64, expires_at: u64) -> Draft {
        self.with(|draft| (draft.issued_at, draft.expires_at) = (issued_at.to_string(), expires_at.to_string()))
    }

    /// The canonical string, also of fields that [`canonical_string`] refuses: a forger's tools do not refuse.
    fn canonical(&self) -> String {
        let printable = |text: &str| text.replace(char::is_control, "¤");
        let (message_id, session) = (printable(&self.message_id), printable(&self.session));
        let fields = CanonicalFields {
            key: &self.key,
            audience: &self.audience,
            type_: &self.type_,
            message_id: &message_id,
            workspace: &self.workspace,
            session: &session,
            issued_at: &self.issued_at,
            expires_at: &self.expires_at,
            content_type: &self.content_type,
        };
        let text = canonical_string(&fields, &self.body).expect("control characters were replaced");
        text.replacen(&message_id, &self.message_id, 1).replacen(&session, &self.session, 1)
    }

    fn message(&self) -> Message {
        let keyring = keyring();
        let signature = keyring.get(self.secret_of).expect("a key of the ring").signature(&self.canonical());
        let object = |fields: &[(&str, &str)]| {
            fields.iter().map(|(name, text)| ((*name).to_owned(), Value::from(*text))).collect::<Map<_, _>>()
        };
        Message {
            properties: object(&[
                ("message_id", &self.message_id),
                ("type", &self.type_),
                ("content_type", &self.content_type),
            ]),
            headers: object(&[
                ("x-wa-signature", &signature),
                ("x-wa-key", &self.key),
                ("x-wa-audience", &self.audience),
                ("x-wa-workspace", &self.workspace),
                ("x-wa-session", &self.session),
                ("x-wa-issued-at", &self.issued_at),
                ("x-wa-expires-at", &self.expires_at),
            ]),
            body: self.body.clone(),
        }
    }

    fn accepted(self, name: &'static str) -> Case {
        let (canonical, message) = (self.canonical(), self.message());
        Case { name, draft: self, canonical, message, reason: None }
    }

    fn refused(self, name: &'static str, reason: &'static str) -> Case {
        Case { reason: Some(reason), ..self.accepted(name) }
    }
}

impl Case {
    /// The same with one change, made after signing.
    fn altered(mut self, change: impl FnOnce(&mut Message)) -> Case {
        change(&mut self.message);
        self
    }
}

impl Message {
    fn set(&mut self, header: &str, value: impl Into<Value>) {
        self.headers.insert(header.to_owned(), value.into());
    }

    fn signature(&self) -> String {
        self.headers["x-wa-signature"].as_str().expect("signed").to_owned()
    }
}

fn accepted_cases() -> Vec<Case> {
    let not_after = 1_798_761_600; // 2027-01-01T00:00:00Z, the end of cmd-1
    vec![
        command().accepted("a command"),
        command()
            .with(|m| (m.secret_of, m.key) = ("cmd-2", "cmd-2".into()))
            .accepted("a command under the key that signs now"),
        command()
            .with(|m| (m.secret_of, m.key) = ("cmd-tenant", "cmd-tenant".into()))
            .accepted("a command under a key of its workspace"),
        command()
            .with(|m| (m.secret_of, m.key) = ("ops-1", "ops-1".into()))
            .accepted("a command replayed under an operator's key"),
        event().accepted("an event"),
        command().with(|m| m.body = Vec::new()).accepted("an empty body is signed like any other"),
        command().with(|m| m.body = vec![0xff, 0x00, 0xfe]).accepted("a body is bytes to the signature"),
        command().with(|m| m.body = vec![b' '; MAX_BODY_BYTES]).accepted("the longest body"),
        command().with(|m| m.session = "auto".into()).accepted("a command for any session of the workspace"),
        command().with(|m| m.message_id = "0".repeat(64)).accepted("the longest message id"),
        command().with(|m| m.workspace = "9007199254740991".into()).accepted("the greatest workspace id"),
        command().times(NOW + 300, NOW + 301).accepted("issued as far ahead as clocks may differ"),
        command().times(NOW - 1, NOW + 1).accepted("the last second of its life"),
        command().times(NOW, NOW + 30 * DAY).accepted("the longest life"),
        command()
            .times(not_after - 10, not_after + 10)
            .with(|m| m.now = not_after)
            .accepted("the last second of its key"),
    ]
}

fn refused_cases() -> Vec<Case> {
    let mut cases = vec![
        command().with(|m| m.body = vec![b' '; MAX_BODY_BYTES + 1]).refused("a body one byte too long", "too_large"),
        command().refused("no signature", "unsigned").altered(|m| drop(m.headers.remove("x-wa-signature"))),
        command().refused("no headers at all", "unsigned").altered(|m| m.headers.clear()),
        command().refused("an empty signature", "malformed_signature").altered(|m| m.set("x-wa-signature", "")),
        command().refused("a signature of another version", "malformed_signature").altered(|m| {
            m.set("x-wa-signature", m.signature().replace("WA1=", "WA2="));
        }),
        command().refused("a signature without its version", "malformed_signature").altered(|m| {
            m.set("x-wa-signature", m.signature().replace("WA1=", ""));
        }),
        command()
            .refused("a padded signature", "malformed_signature")
            .altered(|m| m.set("x-wa-signature", m.signature() + "=")),
        command().refused("a truncated signature", "malformed_signature").altered(|m| {
            m.set("x-wa-signature", &m.signature()[..m.signature().len() - 1]);
        }),
        command().refused("a signature in hexadecimal", "malformed_signature").altered(|m| {
            m.set("x-wa-signature", format!("WA1={}", "0b".repeat(32)));
        }),
        command().refused("a signature with stray bits at the end", "malformed_signature").altered(|m| {
            m.set("x-wa-signature", stray_bits(&m.signature()));
        }),
        command().refused("a signature as a number", "header_not_text").altered(|m| m.set("x-wa-signature", 1)),
        command().refused("a time as a number", "header_not_text").altered(|m| m.set("x-wa-issued-at", ISSUED_AT)),
        command()
            .refused("a header that is far too long", "header_too_long")
            .altered(|m| m.set("x-wa-session", "a".repeat(513))),
        command().refused("a signature that is far too long", "header_too_long").altered(|m| {
            m.set("x-wa-signature", "A".repeat(513));
        }),
        command()
            .with(|m| m.message_id = "a".repeat(513))
            .refused("a message id that is far too long", "header_too_long"),
        command().with(|m| m.key = "cmd-9".into()).refused("a key that is not in the ring", "unknown_key"),
        command().with(|m| m.key = "../cmd-1".into()).refused("a key with a hostile name", "unknown_key"),
        command().with(|m| m.secret_of = "cmd-2").refused("another key's secret", "bad_signature"),
        command()
            .refused("all zero", "bad_signature")
            .altered(|m| m.set("x-wa-signature", format!("WA1={}", "A".repeat(43)))),
        command().refused("another body", "bad_signature").altered(|m| m.body[10] ^= 1),
        command().refused("a byte more", "bad_signature").altered(|m| m.body.push(b'\n')),
        command().refused("re-encoded JSON", "bad_signature").altered(|m| {
            let value: Value = serde_json::from_slice(&m.body).expect("JSON");
            m.body = value.to_string().replace('/', "\\/").replace('ü', "\\u00fc").into_bytes();
        }),
        command().refused("another type", "bad_signature").altered(|m| {
            m.properties.insert("type".into(), "session.logout".into());
        }),
        command().refused("another message id", "bad_signature").altered(|m| {
            m.properties.insert("message_id".into(), "01JD0000000000000000000002".into());
        }),
        command().refused("another content type", "bad_signature").altered(|m| {
            m.properties.insert("content_type".into(), "text/plain".into());
        }),
        command().refused("another workspace", "bad_signature").altered(|m| m.set("x-wa-workspace", "8")),
        command().refused("another session", "bad_signature").altered(|m| m.set("x-wa-session", "support-02")),
        command().refused("another audience", "bad_signature").altered(|m| m.set("x-wa-audience", "wa.events")),
        command()
            .refused("a later birth", "bad_signature")
            .altered(|m| m.set("x-wa-issued-at", (ISSUED_AT + 1).to_string())),
        command().refused("a longer life", "bad_signature").altered(|m| {
            m.set("x-wa-expires-at", (ISSUED_AT + 2 * DAY).to_string());
        }),
        command()
            .refused("the same number in another spelling", "bad_signature")
            .altered(|m| m.set("x-wa-workspace", "07")),
        command().with(|m| m.session = "support-01\nx".into()).refused("a line break in a field", "malformed_header"),
        command().with(|m| m.message_id = "a\u{0}b".into()).refused("a NUL in a field", "malformed_header"),
        command()
            .with(|m| (m.secret_of, m.key) = ("cmd-old", "cmd-old".into()))
            .refused("a key past its end", "key_expired"),
        event().with(|m| m.verify_as = Audience::Commands).refused("an event sent as a command", "wrong_audience"),
        command().with(|m| m.verify_as = Audience::Events).refused("a command sent as an event", "wrong_audience"),
        command().with(|m| m.audience = "wa.control".into()).refused("an audience of its own", "wrong_audience"),
        command()
            .with(|m| (m.secret_of, m.key) = ("evt-1", "evt-1".into()))
            .refused("a command under the fleet's key", "wrong_role"),
        event()
            .with(|m| (m.secret_of, m.key) = ("cmd-1", "cmd-1".into()))
            .refused("an event under the application's key", "wrong_role"),
        event()
            .with(|m| (m.secret_of, m.key) = ("ops-1", "ops-1".into()))
            .refused("an event under an operator's key", "wrong_role"),
        command()
            .with(|m| (m.secret_of, m.key, m.workspace) = ("cmd-tenant", "cmd-tenant".into(), "9".into()))
            .refused("a workspace that the key does not cover", "foreign_scope"),
        command()
            .with(|m| m.content_type = "application/json; charset=utf-8".into())
            .refused("a content type with a parameter", "bad_content_type"),
        command().with(|m| m.content_type = String::new()).refused("an empty content type", "bad_content_type"),
        command().times(NOW + 301, NOW + DAY).refused("issued in the future", "issued_in_future"),
        command()
            .times(ISSUED_AT * 1000, (ISSUED_AT + DAY) * 1000)
            .refused("milliseconds for seconds", "issued_in_future"),
        command().times(NOW - DAY, NOW).refused("the first second after its life", "expired"),
        command().times(NOW, NOW).refused("no life at all", "expired"),
        command().times(NOW + 200, NOW + 100).refused("expires before it is issued", "expired"),
        command().times(NOW, NOW + 30 * DAY + 1).refused("a life too long", "lifetime_too_long"),
        event().with(|m| m.message_id = "not-a-ulid".into()).refused("an event whose id is not a ULID", "bad_id"),
    ];
    for header in ["x-wa-key", "x-wa-audience", "x-wa-workspace", "x-wa-session", "x-wa-issued-at", "x-wa-expires-at"] {
        cases.push(
            command().refused("a header is missing", "missing_header").altered(|m| drop(m.headers.remove(header))),
        );
    }
    for property in ["message_id", "type", "content_type"] {
        cases.push(
            command()
                .refused("a property is missing", "missing_header")
                .altered(|m| drop(m.properties.remove(property))),
        );
    }
    for id in
        ["", "Auto ", "..", "../../etc/passwd", "a/b", "%2e%2e", "a b", "a.b", "ѕupport-01", "support\u{200b}", "💬"]
    {
        cases.push(command().with(|m| m.session = id.into()).refused("a session id of another form", "bad_id"));
    }
    for id in ["", "..", "a/b", "01JD0000000000000000000001!", "०१"] {
        cases.push(command().with(|m| m.message_id = id.into()).refused("a message id of another form", "bad_id"));
    }
    for id in ["", "0", "-1", "+7", "07", " 7", "7.0", "0x7", "９", "9007199254740992", "18446744073709551616"] {
        cases.push(command().with(|m| m.workspace = id.into()).refused("a workspace id of another form", "bad_id"));
    }
    for time in
        ["", "-1", "+1795000000", "01795000000", "1795000000.5", "1e9", "2026-11-18T00:00:00Z", "99999999999999999999"]
    {
        cases.push(command().with(|m| m.issued_at = time.into()).refused("a time of another form", "malformed_header"));
    }
    cases
}

/// The same 32 bytes to a careless decoder: the last character's two lowest bits carry nothing.
fn stray_bits(signature: &str) -> String {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(&signature[signature.len() - 1..]).expect("base64url");
    format!("{}{}", &signature[..signature.len() - 1], &alphabet[last + 1..last + 2])
}

fn verify(message: &Message, audience: Audience, now: u64) -> Result<(), Rejection> {
    let text = |name: &str| message.properties.get(name).and_then(Value::as_str);
    let headers: Vec<_> = message
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().map_or(HeaderValue::Other, HeaderValue::Text)))
        .collect();
    let properties = RawProperties {
        message_id: text("message_id"),
        type_: text("type"),
        content_type: text("content_type"),
        headers: &headers,
    };
    Signed::new(properties, &message.body).verify(&keyring(), audience, now).map(drop)
}

/// A body as text where it is text, as a repeated byte where it is long, else in base64.
fn body_json(body: &[u8]) -> Value {
    match std::str::from_utf8(body) {
        Ok(text) if text.len() > 4096 => json!({ "repeat": &text[..1], "times": text.len() }),
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "base64": STANDARD.encode(body) }),
    }
}

impl Case {
    fn to_json(&self) -> Value {
        let mut json = json!({
            "name": self.name,
            "verify_as": self.draft.verify_as.as_str(),
            "now": self.draft.now,
            "properties": self.message.properties,
            "headers": self.message.headers,
            "body": body_json(&self.message.body),
        });
        match self.reason {
            Some(reason) => json["reason"] = reason.into(),
            None => {
                let lines: Vec<_> = self.canonical.lines().collect();
                json["body_sha256"] = lines[lines.len() - 1].into();
                json["canonical"] = self.canonical.as_str().into();
            }
        }
        json
    }
}

#[test]
fn every_vector_is_judged_as_recorded() {
    for case in accepted_cases() {
        let verdict = verify(&case.message, case.draft.verify_as, case.draft.now);
        assert_eq!(verdict, Ok(()), "{}", case.name);
    }
    for case in refused_cases() {
        let verdict = verify(&case.message, case.draft.verify_as, case.draft.now);
        let reason = verdict.map_err(|refusal| refusal.reason()).err();
        assert_eq!(reason, case.reason, "{}: {}", case.name, case.to_json());
    }
}

#[test]
fn every_reason_that_a_signature_can_give_has_a_vector() {
    let recorded: BTreeSet<_> = refused_cases().into_iter().filter_map(|case| case.reason).collect();
    let expected = BTreeSet::from([
        "too_large",
        "missing_header",
        "header_not_text",
        "header_too_long",
        "malformed_header",
        "unsigned",
        "malformed_signature",
        "unknown_key",
        "key_expired",
        "wrong_role",
        "foreign_scope",
        "bad_signature",
        "wrong_audience",
        "bad_content_type",
        "bad_id",
        "issued_in_future",
        "expired",
        "lifetime_too_long",
    ]);
    assert_eq!(recorded, expected);
}

#[test]
fn vectors_are_as_published() {
    let document = json!({
        "about": "Test vectors for the signature of wafleet messages, version WA1. A header that is not a string here has another AMQP type. The secrets are known to everybody: never use them.",
        "keyring": keyring_json(),
        "accepted": accepted_cases().iter().map(Case::to_json).collect::<Vec<_>>(),
        "refused": refused_cases().iter().map(Case::to_json).collect::<Vec<_>>(),
    });
    check_file(FILE, &(serde_json::to_string_pretty(&document).expect("JSON") + "\n"));
}
