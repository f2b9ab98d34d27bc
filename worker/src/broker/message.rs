//! A message on its way out: plain data until the publisher turns it into AMQP.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

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
    const PERSISTENT: u8 = 2;
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(message_id.into())
        .with_type(kind.into())
        .with_app_id(concat!("wafleet/", env!("CARGO_PKG_VERSION")).into())
}
