//! A dead letter as the archive keeps it: as data, bounded, and provable again later.
//!
//! A worker that refuses a command says why in headers; a letter that the broker gave up by itself carries the broker's
//! history instead, and then nothing that its sender wrote into those headers is believed. Who really signed the command
//! is never taken from a header: [`DeadLetter::authenticate`] verifies the original signature again.

use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use wafleet_protocol::rejection::Rejection;
use wafleet_protocol::signing::{
    Audience, HeaderValue, Keyring, MAX_BODY_BYTES, RawProperties, SESSION_HEADER, Signed, Verified, WORKSPACE_HEADER,
};
use wafleet_protocol::topology;

use crate::letter::{self, printable};

/// Where RabbitMQ notes what it did with a message, the newest entry first.
const HISTORY_HEADER: &str = "x-death";
/// Entries of the broker's history that are kept: the newest say why it is here.
const MAX_HISTORY: usize = 16;
/// Nesting of the broker's history that is kept; it has three levels.
const MAX_DEPTH: usize = 4;
/// The reason of a letter that says none.
const UNKNOWN_REASON: &str = "unknown";

/// One dead letter. Everything in it is as claimed by whoever published it, except for `genuine`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DeadLetter {
    /// SHA-256 over all of it: the same delivery, delivered again, has the same.
    pub(crate) fingerprint: [u8; 32],
    /// When it died, in unix seconds.
    pub(crate) at: u64,
    pub(crate) reason: String,
    pub(crate) detail: Option<String>,
    /// The signature was verified when the letter was archived.
    pub(crate) genuine: bool,
    pub(crate) workspace: Option<u64>,
    pub(crate) session: Option<String>,
    pub(crate) command: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    /// `message_id`, `type`, `content_type`, `priority`.
    pub(crate) properties: Value,
    /// Its own headers.
    pub(crate) headers: Value,
    /// The broker's history.
    pub(crate) history: Option<Value>,
    /// `None` when it was longer than a message may be.
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) body_bytes: u64,
    pub(crate) body_sha256: [u8; 32],
    /// The worker that gave up.
    pub(crate) worker: Option<String>,
}

impl DeadLetter {
    /// Reads a delivery of the dead-letter queue. `now` in unix seconds.
    pub(crate) fn of(delivery: &Delivery, keyring: &Keyring, now: u64) -> Self {
        let properties = &delivery.properties;
        let text = |name: &str| letter::text_header(properties, name);
        let history = properties.headers().as_ref().and_then(history);
        // The broker's own word goes before the sender's: a command may carry any header it likes.
        let last = history.as_ref().and_then(|history| history.get(0)).cloned();
        let made_by_worker = last.is_none();
        let of_worker = |name: &str| text(name).filter(|_| made_by_worker);
        let of_broker = |name: &str| last.as_ref().and_then(|last| last[name].as_str()).map(str::to_owned);

        let gone = made_by_worker.then(|| text("x-wa-body-bytes").zip(text("x-wa-body-sha256"))).flatten();
        let (body, body_bytes, body_sha256) = match gone.and_then(|(bytes, hash)| measured(&bytes, &hash)) {
            Some((bytes, hash)) if delivery.data.is_empty() => (None, bytes, hash),
            _ => {
                let body = (delivery.data.len() <= MAX_BODY_BYTES).then(|| delivery.data.clone());
                (body, delivery.data.len() as u64, Sha256::digest(&delivery.data).into())
            }
        };
        let at = of_worker("x-wa-dead-at").and_then(|text| text.parse().ok());
        let at = at.or_else(|| last.as_ref().and_then(|last| last["time"].as_u64()));
        let reason = of_worker(topology::REASON_HEADER).or_else(|| of_broker("reason"));
        let kept_properties = json!({
            "message_id": properties.message_id().as_ref().map(|id| id.as_str()),
            "type": properties.kind().as_ref().map(|kind| kind.as_str()),
            "content_type": properties.content_type().as_ref().map(|kind| kind.as_str()),
            "priority": properties.priority(),
        });
        let headers = own_headers(properties.headers().as_ref());
        let exchange = of_worker("x-wa-exchange").or_else(|| of_broker("exchange")).unwrap_or_default();
        let claimed = |text: Option<String>| text.map(|text| printable(&text, 64)).filter(|text| !text.is_empty());
        let mut made = Self {
            fingerprint: [0; 32],
            at: at.filter(|at| *at <= now).unwrap_or(now),
            reason: reason.filter(|reason| is_word(reason)).unwrap_or_else(|| UNKNOWN_REASON.to_owned()),
            detail: of_worker(topology::DETAIL_HEADER).map(|detail| printable(&detail, 512)),
            genuine: false,
            workspace: text(WORKSPACE_HEADER).and_then(|text| text.parse().ok()),
            session: claimed(text(SESSION_HEADER)),
            command: claimed(properties.message_id().as_ref().map(ToString::to_string)),
            kind: claimed(properties.kind().as_ref().map(ToString::to_string)),
            exchange: printable(&exchange, 128),
            routing_key: printable(delivery.routing_key.as_str(), 255),
            properties: kept_properties,
            headers,
            history,
            body,
            body_bytes,
            body_sha256,
            worker: of_worker(topology::WORKER_HEADER).map(|worker| printable(&worker, 128)),
        };
        made.genuine = made.authenticate(keyring, now).is_ok();
        made.fingerprint = made.fingerprint();
        made
    }

    /// Verifies the original signature, with the keys as they were valid at `then`, in unix seconds.
    ///
    /// # Errors
    /// Why it is not to be believed. A letter whose body was not kept is [`Rejection::TooLarge`].
    pub(crate) fn authenticate(&self, keyring: &Keyring, then: u64) -> Result<Verified, Rejection> {
        let body = self.body.as_deref().ok_or(Rejection::TooLarge { max: MAX_BODY_BYTES })?;
        let own = self.headers.as_object().into_iter().flatten();
        let headers: Vec<(&str, HeaderValue<'_>)> = own
            .map(|(name, value)| (name.as_str(), value.as_str().map_or(HeaderValue::Other, HeaderValue::Text)))
            .collect();
        let raw = RawProperties {
            message_id: self.properties["message_id"].as_str(),
            type_: self.properties["type"].as_str(),
            content_type: self.properties["content_type"].as_str(),
            headers: &headers,
        };
        Signed::new(raw, body).authenticate(keyring, Audience::Commands, then)
    }

    /// One of its own headers, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.as_str()
    }

    fn fingerprint(&self) -> [u8; 32] {
        let history = self.history.as_ref().map(Value::to_string).unwrap_or_default();
        let mut hash = Sha256::new();
        for part in [&self.routing_key, &self.properties.to_string(), &self.headers.to_string(), &history] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.update(self.body_sha256);
        hash.finalize().into()
    }
}

/// Size and hash of a body that the worker did not pass on.
fn measured(bytes: &str, hash: &str) -> Option<(u64, [u8; 32])> {
    let bytes = bytes.parse().ok()?;
    let mut parsed = [0; 32];
    if hash.len() != 64 || !hash.is_ascii() {
        return None;
    }
    for (index, byte) in parsed.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hash[2 * index..2 * index + 2], 16).ok()?;
    }
    Some((bytes, parsed))
}

/// A stable word such as `bad_signature`: safe in a terminal, a filter and a label.
fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// The letter's own headers, as many and as long as a worker would carry along.
fn own_headers(table: Option<&FieldTable>) -> Value {
    Value::Object(letter::kept_headers(table).map(|(name, value)| (name.to_owned(), plain(value, 0))).collect())
}

/// The newest entries of the broker's history; `None` when there are none.
fn history(table: &FieldTable) -> Option<Value> {
    let AMQPValue::FieldArray(entries) = table.inner().get(HISTORY_HEADER)? else { return None };
    let entries: Vec<Value> = entries.as_slice().iter().take(MAX_HISTORY).map(|entry| plain(entry, 0)).collect();
    (!entries.is_empty()).then_some(Value::Array(entries))
}

/// An AMQP value as JSON. Text is bounded, what has no counterpart or lies too deep is null.
fn plain(value: &AMQPValue, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    match value {
        AMQPValue::LongString(text) => {
            String::from_utf8_lossy(text.as_bytes()).chars().take(letter::MAX_HEADER_BYTES).collect::<String>().into()
        }
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::Boolean(flag) => (*flag).into(),
        AMQPValue::ShortShortInt(number) => (*number).into(),
        AMQPValue::ShortShortUInt(number) => (*number).into(),
        AMQPValue::ShortInt(number) => (*number).into(),
        AMQPValue::ShortUInt(number) => (*number).into(),
        AMQPValue::LongInt(number) => (*number).into(),
        AMQPValue::LongUInt(number) => (*number).into(),
        AMQPValue::LongLongInt(number) => (*number).into(),
        AMQPValue::Timestamp(secs) => (*secs).into(),
        AMQPValue::FieldArray(items) => {
            items.as_slice().iter().take(MAX_HISTORY).map(|item| plain(item, depth + 1)).collect()
        }
        AMQPValue::FieldTable(table) => {
            let entries = table.inner().iter().take(letter::MAX_HEADERS);
            Value::Object(
                entries.map(|(name, value)| (name.to_string(), plain(value, depth + 1))).collect::<Map<_, _>>(),
            )
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use lapin::BasicProperties;
    use lapin::types::FieldArray;
    use wafleet_protocol::command::{Command, CommandBody};
    use wafleet_protocol::id::WorkspaceId;
    use wafleet_protocol::signing::{Claims, Role, sign};

    use super::*;
    use crate::broker::message::text_headers;

    /// Keys of a host application and of an operator.
    pub(crate) fn keyring() -> Keyring {
        let secret = |byte: u8| STANDARD.encode([byte; 32]);
        let key =
            |id: &str, role: &str, byte| json!({"id": id, "role": role, "secret": secret(byte), "workspaces": ["*"]});
        let ring = json!({"keys": [key("host", "commands", 1), key("operator", "ops", 2)]});
        Keyring::parse(&ring.to_string()).expect("two keys")
    }

    /// A genuine command with the headers a worker adds, on its way from the dead-letter queue.
    pub(crate) fn delivery(command: &Command, routing_key: &str, more: &[(&str, &str)]) -> Delivery {
        let keyring = keyring();
        let workspace = WorkspaceId::new(7).expect("a workspace");
        let session = "s1".parse().expect("a session");
        let claims = Claims::command(command, &"c1".parse().expect("an id"), workspace, &session, 1_000, 2_000);
        let body = CommandBody::new(command, None).to_bytes();
        let key = keyring.signer(Role::Commands, workspace, 1_000).expect("a key");
        let signed = sign(key, &claims, &body).to_pairs();
        let headers = signed.iter().map(|(name, text)| (*name, text.clone()));
        let headers = text_headers(headers.chain(more.iter().map(|(name, text)| (*name, (*text).to_owned()))));
        let properties = BasicProperties::default()
            .with_message_id("c1".into())
            .with_type(command.type_name().into())
            .with_content_type("application/json".into())
            .with_headers(headers);
        let mut delivery = Delivery::mock(1, topology::DEAD.into(), routing_key.into(), false, body);
        delivery.properties = properties;
        delivery
    }

    const REFUSED: &[(&str, &str)] = &[
        ("x-wa-reason", "unknown_session"),
        ("x-wa-detail", "why\n"),
        ("x-wa-worker", "w1"),
        ("x-wa-dead-at", "1500"),
    ];

    #[test]
    fn a_letter_of_a_worker_says_why_and_proves_who() {
        let read = DeadLetter::of(&delivery(&Command::SessionStatus, "control", REFUSED), &keyring(), 1_600);
        assert_eq!((read.reason.as_str(), read.at, read.genuine), ("unknown_session", 1_500, true));
        assert_eq!(read.detail.as_deref(), Some("why\u{fffd}"), "no control character reaches a terminal");
        assert_eq!(
            (read.workspace, read.session.as_deref(), read.command.as_deref()),
            (Some(7), Some("s1"), Some("c1"))
        );
        assert_eq!((read.kind.as_deref(), read.worker.as_deref()), (Some("session.status"), Some("w1")));
        assert_eq!(read.body_bytes, read.body.as_ref().map_or(0, Vec::len) as u64);
    }

    #[test]
    fn only_the_signature_makes_a_letter_genuine() {
        let mut altered = delivery(&Command::SessionStatus, "control", REFUSED);
        altered.data.push(b' ');
        let mut claims =
            delivery(&Command::SessionStatus, "control", &[("x-wa-signature", "WA1=x"), ("x-wa-genuine", "1")]);
        claims.data = b"{}".to_vec();
        let mut unsigned = delivery(&Command::SessionStatus, "control", REFUSED);
        unsigned.properties = BasicProperties::default();
        for forged in [altered, claims, unsigned] {
            assert!(!DeadLetter::of(&forged, &keyring(), 1_600).genuine);
        }
    }

    #[test]
    fn the_brokers_word_goes_before_the_senders() {
        let mut given_up =
            delivery(&Command::SessionStatus, "control", &[("x-wa-reason", "bad_signature"), ("x-wa-worker", "w9")]);
        let mut death = FieldTable::default();
        death.insert("reason".into(), AMQPValue::LongString("delivery_limit".into()));
        death.insert("exchange".into(), AMQPValue::LongString("wa.commands".into()));
        death.insert("time".into(), AMQPValue::Timestamp(1_400));
        let mut headers = given_up.properties.headers().clone().expect("headers");
        headers
            .insert(HISTORY_HEADER.into(), AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::FieldTable(death)])));
        given_up.properties = given_up.properties.with_headers(headers);
        let read = DeadLetter::of(&given_up, &keyring(), 1_600);
        assert_eq!((read.reason.as_str(), read.at, read.exchange.as_str()), ("delivery_limit", 1_400, "wa.commands"));
        assert_eq!((read.worker, read.genuine), (None, true));
        assert_eq!(read.history.expect("kept")[0]["reason"], "delivery_limit");
    }

    #[test]
    fn the_same_letter_has_the_same_fingerprint_however_often_it_is_delivered() {
        let first = delivery(&Command::SessionStatus, "control", REFUSED);
        let mut again = delivery(&Command::SessionStatus, "control", REFUSED);
        again.redelivered = true;
        let mut headers = again.properties.headers().clone().expect("headers");
        headers.insert("x-delivery-count".into(), AMQPValue::LongLongInt(1));
        again.properties = again.properties.with_headers(headers);
        let fingerprint = |delivery: &Delivery, now| DeadLetter::of(delivery, &keyring(), now).fingerprint;
        assert_eq!(fingerprint(&first, 1_600), fingerprint(&again, 1_900));
        let other = delivery(
            &Command::SessionStatus,
            "control",
            &[("x-wa-reason", "unknown_session"), ("x-wa-letter-id", "2")],
        );
        assert_ne!(fingerprint(&first, 1_600), fingerprint(&other, 1_600));
    }

    #[test]
    fn hostile_letters_are_bounded_and_never_panic() {
        let long = "\u{1b}[2J".repeat(2_000);
        let mut hostile = delivery(
            &Command::SessionStatus,
            &long[..255],
            &[
                ("x-wa-reason", "rm -rf"),
                ("x-wa-dead-at", "99999999999"),
                ("x-wa-body-bytes", "7"),
                ("x-wa-body-sha256", "zz"),
            ],
        );
        hostile.properties = hostile.properties.with_message_id(long[..255].into());
        let read = DeadLetter::of(&hostile, &keyring(), 1_600);
        assert_eq!((read.reason.as_str(), read.at, read.genuine), ("unknown", 1_600, false));
        assert!(read.routing_key.chars().chain(read.command.iter().flat_map(|id| id.chars())).all(|c| !c.is_control()));
        hostile.data = vec![b'x'; MAX_BODY_BYTES + 1];
        let read = DeadLetter::of(&hostile, &keyring(), 1_600);
        assert_eq!((read.body, read.body_bytes), (None, MAX_BODY_BYTES as u64 + 1));
    }

    #[test]
    fn of_a_body_that_was_left_behind_size_and_hash_stay() {
        let hash = "ab".repeat(32);
        let mut bodiless = delivery(
            &Command::SessionStatus,
            "control",
            &[("x-wa-body-bytes", "2097152"), ("x-wa-body-sha256", &hash)],
        );
        bodiless.data.clear();
        let read = DeadLetter::of(&bodiless, &keyring(), 1_600);
        assert_eq!((read.body, read.body_bytes, read.body_sha256), (None, 2_097_152, [0xab; 32]));
    }
}
