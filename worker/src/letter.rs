//! A delivery as a letter: who signed it, and, on its way to another queue, what is carried along and what is left
//! behind because it would do harm.

use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use sha2::{Digest, Sha256};
use ulid::Ulid;
use wafleet_protocol::rejection::Rejection;
use wafleet_protocol::signing::{
    AUDIENCE_HEADER, Audience, EXPIRES_AT_HEADER, HeaderValue, ISSUED_AT_HEADER, KEY_HEADER, Keyring, MAX_BODY_BYTES,
    RawProperties, SESSION_HEADER, SIGNATURE_HEADER, Signed, Verified, WORKSPACE_HEADER,
};
use wafleet_protocol::topology::{self, RetryTier};

use crate::broker::message::{Message, PERSISTENT};

/// Who replays a dead letter, as the replay says.
pub(crate) const REPLAYED_BY_HEADER: &str = "x-wa-replayed-by";
/// Which run of `wafleet dlq replay` a command comes from.
pub(crate) const REPLAY_ID_HEADER: &str = "x-wa-replay-id";
/// What the sender of a command that was put aside has been told: the code and the moment in unix seconds.
pub(crate) const DEFERRED_HEADER: &str = "x-wa-deferred";
/// The key that signed a command before an operator's key signed it again.
pub(crate) const ORIGINAL_KEY_HEADER: &str = "x-wa-original-key";

/// Without these a command that comes back is nobody's, or starts to be counted anew.
const NEEDED_HEADERS: [&str; 8] = [
    SIGNATURE_HEADER,
    KEY_HEADER,
    AUDIENCE_HEADER,
    WORKSPACE_HEADER,
    SESSION_HEADER,
    ISSUED_AT_HEADER,
    EXPIRES_AT_HEADER,
    topology::ATTEMPT_HEADER,
];

/// Own headers carried along at most. A table that outgrows one AMQP frame would break the publishing connection.
pub(crate) const MAX_HEADERS: usize = 48;
/// Bytes of a header's value carried along at most.
pub(crate) const MAX_HEADER_BYTES: usize = 1024;

/// Verifies who signed a delivery, for whom, and to whom; not whether it is still fresh.
///
/// # Errors
/// Why it is not to be believed.
pub(crate) fn authenticate(
    delivery: &Delivery,
    keyring: &Keyring,
    audience: Audience,
    now: u64,
) -> Result<Verified, Rejection> {
    let properties = &delivery.properties;
    let headers: Vec<(&str, HeaderValue<'_>)> = properties
        .headers()
        .iter()
        .flat_map(|table| table.inner())
        .map(|(name, value)| (name.as_str(), header_value(value)))
        .collect();
    let raw = RawProperties {
        message_id: properties.message_id().as_ref().map(|text| text.as_str()),
        type_: properties.kind().as_ref().map(|text| text.as_str()),
        content_type: properties.content_type().as_ref().map(|text| text.as_str()),
        headers: &headers,
    };
    Signed::new(raw, &delivery.data).authenticate(keyring, audience, now)
}

fn header_value(value: &AMQPValue) -> HeaderValue<'_> {
    text_of(value).map_or(HeaderValue::Other, HeaderValue::Text)
}

/// The text that a header holds, if it is one.
pub(crate) fn text_of(value: &AMQPValue) -> Option<&str> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str()),
        _ => None,
    }
}

/// The text of a header.
pub(crate) fn text_header(properties: &BasicProperties, name: &str) -> Option<String> {
    let table = properties.headers().as_ref()?;
    text_of(table.inner().get(name)?).map(str::to_owned)
}

/// Text from outside, fit for a log line: no control characters, at most `limit` characters.
pub(crate) fn printable(text: &str, limit: usize) -> String {
    text.chars().take(limit).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The properties of a delivery that is published again, with further headers.
///
/// Carried: message id, type, content type, priority and our own text headers. Left behind: `user_id`, which the broker
/// refuses from anybody else; `expiration`, which would let it vanish; `CC` and `BCC`, which route by themselves; the
/// broker's own history; and anything too large.
pub(crate) fn carried(delivery: &Delivery, more: impl IntoIterator<Item = (&'static str, String)>) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in kept_headers(delivery.properties.headers().as_ref()) {
        headers.insert(name.into(), value.clone());
    }
    for (name, value) in more {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    let from = &delivery.properties;
    let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(headers);
    if let Some(id) = from.message_id() {
        properties = properties.with_message_id(id.clone());
    }
    if let Some(kind) = from.kind() {
        properties = properties.with_type(kind.clone());
    }
    if let Some(content_type) = from.content_type() {
        properties = properties.with_content_type(content_type.clone());
    }
    if let Some(priority) = from.priority() {
        properties = properties.with_priority(*priority);
    }
    properties
}

/// The same command again, to this routing key, with further headers.
pub(crate) fn again(
    delivery: &Delivery,
    routing_key: String,
    more: impl IntoIterator<Item = (&'static str, String)>,
) -> Message {
    Message {
        exchange: topology::COMMANDS,
        routing_key,
        mandatory: true,
        properties: carried(delivery, more),
        body: delivery.data.clone(),
    }
}

/// The headers that stay with a letter: our own, as many and as long as is allowed, and what the signature needs before
/// everything else, so that no flood of other names pushes it out.
pub(crate) fn kept_headers(table: Option<&FieldTable>) -> impl Iterator<Item = (&str, &AMQPValue)> {
    let own = table.into_iter().flat_map(FieldTable::inner).map(|(name, value)| (name.as_str(), value));
    let mut own: Vec<_> = own.filter(|(name, value)| is_ours(name) && is_small_text(value)).collect();
    own.sort_by_key(|(name, _)| !NEEDED_HEADERS.contains(name)); // stable: the rest stays in order
    own.into_iter().take(MAX_HEADERS)
}

fn is_ours(name: &str) -> bool {
    (name.starts_with("x-wa-") && name.len() <= 64) || name == "traceparent"
}

fn is_small_text(value: &AMQPValue) -> bool {
    match value {
        AMQPValue::LongString(text) => text.as_bytes().len() <= MAX_HEADER_BYTES,
        AMQPValue::ShortString(_) => true,
        _ => false,
    }
}

/// A dead letter: body and signature as evidence, the reason for programs, the detail for people. Of a body over the limit
/// only its size and hash are kept.
pub(crate) fn dead(delivery: &Delivery, reason: &str, detail: &str, worker: &str, now_ms: u64) -> Message {
    let mut more = vec![
        (topology::REASON_HEADER, reason.to_owned()),
        (topology::DETAIL_HEADER, printable(detail, 256)),
        (topology::WORKER_HEADER, worker.to_owned()),
        // Two refusals are two letters, however much alike; the same one published again is the same letter.
        ("x-wa-letter-id", Ulid::from_parts(now_ms, rand::random()).to_string()),
        ("x-wa-dead-at", (now_ms / 1000).to_string()),
        ("x-wa-exchange", printable(delivery.exchange.as_str(), 128)),
        ("x-wa-routing-key", printable(delivery.routing_key.as_str(), 255)),
    ];
    let too_large = delivery.data.len() > MAX_BODY_BYTES;
    if too_large {
        let hash: String = Sha256::digest(&delivery.data).iter().map(|byte| format!("{byte:02x}")).collect();
        more.extend([("x-wa-body-bytes", delivery.data.len().to_string()), ("x-wa-body-sha256", hash)]);
    }
    Message {
        exchange: topology::DEAD,
        routing_key: delivery.routing_key.as_str().to_owned(),
        mandatory: true,
        properties: carried(delivery, more),
        body: if too_large { Vec::new() } else { delivery.data.clone() },
    }
}

/// The same command, to come back to the same routing key after the tier's delay.
pub(crate) fn retry(delivery: &Delivery, tier: RetryTier, attempt: u32, deferred: Option<String>) -> Message {
    let more =
        [(topology::RETRY_TIER_HEADER, tier.as_str().to_owned()), (topology::ATTEMPT_HEADER, attempt.to_string())];
    let more = more.into_iter().chain(deferred.map(|told| (DEFERRED_HEADER, told)));
    Message {
        exchange: topology::RETRY,
        routing_key: delivery.routing_key.as_str().to_owned(),
        mandatory: true,
        properties: carried(delivery, more),
        body: delivery.data.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_headers_does_not_push_the_signature_out() {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut table = FieldTable::default();
        for number in 0..200 {
            table.insert(format!("x-wa-a{number:03}").into(), text("junk"));
        }
        for name in NEEDED_HEADERS {
            table.insert(name.into(), text("needed"));
        }
        table.insert("x-death".into(), text("the broker's"));
        table.insert("x-wa-long".into(), text(&"x".repeat(MAX_HEADER_BYTES + 1)));
        let kept: Vec<&str> = kept_headers(Some(&table)).map(|(name, _)| name).collect();
        assert_eq!(kept.len(), MAX_HEADERS);
        assert!(NEEDED_HEADERS.iter().all(|name| kept.contains(name)), "{kept:?}");
        assert!(!kept.contains(&"x-death") && !kept.contains(&"x-wa-long"), "{kept:?}");
        assert_eq!(kept_headers(None).count(), 0);
    }
}
