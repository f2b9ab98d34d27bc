//! A message on its way out: plain data until the publisher turns it into AMQP.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde::{Deserialize, Serialize};
use wafleet_protocol::id::{SessionId, WorkspaceId};
use wafleet_protocol::topology;

/// The delivery mode of messages that outlive the broker's restart (AMQP 0-9-1, basic class).
pub(crate) const PERSISTENT: u8 = 2;

/// What will be published.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The exchange.
    pub(crate) exchange: &'static str,
    /// The routing key.
    pub(crate) routing_key: String,
    /// Whether an unroutable message is an error for the publisher.
    pub(crate) mandatory: bool,
    /// Properties and headers.
    pub(crate) properties: BasicProperties,
    /// The body, untouched.
    pub(crate) body: Vec<u8>,
}

/// A header table of text values.
pub(crate) fn text_headers<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    table
}

/// Persistent JSON, with the properties every message of ours carries.
pub(crate) fn json_properties(message_id: &str, kind: &str) -> BasicProperties {
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(message_id.into())
        .with_type(kind.into())
        .with_app_id(concat!("wafleet/", env!("CARGO_PKG_VERSION")).into())
}

/// An event as it is published, and as it lies on the disk meanwhile: signed, with everything that the consumer gets.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct EventLetter {
    /// Whose story it belongs to.
    pub(crate) workspace: WorkspaceId,
    /// See `workspace`.
    pub(crate) session: SessionId,
    /// The routing key.
    pub(crate) routing_key: String,
    /// The event's id.
    pub(crate) id: String,
    /// Its type.
    pub(crate) kind: String,
    /// When it occurred, in unix seconds.
    pub(crate) at: u64,
    /// The command that it answers.
    pub(crate) correlation: Option<String>,
    /// The signed headers.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, which is JSON.
    pub(crate) body: String,
}

impl EventLetter {
    /// As it lies on the disk, before it is sealed.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always serialise")
    }

    /// The reverse of [`to_bytes`](Self::to_bytes); `None` when the bytes are something else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// As it is published. Mandatory: the alternate exchange takes what no consumer is bound for, so a return is a fault.
    pub(crate) fn to_message(&self) -> Message {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let properties =
            json_properties(&self.id, &self.kind).with_timestamp(self.at).with_headers(text_headers(headers));
        let properties = match &self.correlation {
            Some(command) => properties.with_correlation_id(command.as_str().into()),
            None => properties,
        };
        Message {
            exchange: topology::EVENTS,
            routing_key: self.routing_key.clone(),
            mandatory: true,
            properties,
            body: self.body.clone().into_bytes(),
        }
    }
}
