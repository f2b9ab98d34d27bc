//! The topology of the protocol crate, declared on a broker or, where this user may not declare, verified.

use std::fmt;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ErrorKind};
use wafleet_protocol::topology::{Argument, Binding, Exchange, ExchangeKind, Queue, Topology, Value};

use super::BrokerError;

/// AMQP reply code: the user may not configure this object.
const ACCESS_REFUSED: u16 = 403;

/// Makes everything in `topology` exist. Idempotent.
///
/// # Errors
/// Something exists with other arguments, or does not exist and may not be declared; the error names it.
pub(crate) async fn ensure(connection: &Connection, topology: &Topology) -> Result<(), BrokerError> {
    let exchanges = topology.exchanges.iter().map(Object::Exchange);
    let objects: Vec<Object<'_>> = exchanges
        .chain(topology.queues.iter().map(Object::Queue))
        .chain(topology.bindings.iter().map(Object::Binding))
        .collect();
    let mut channel = connection.create_channel().await?;
    for object in objects {
        let mut result = object.declare(&channel, false).await;
        if result.as_ref().is_err_and(|error| reply_code(error) == Some(ACCESS_REFUSED)) {
            // A refusal closes the channel, so a new one takes its place.
            channel = connection.create_channel().await?;
            result = object.declare(&channel, true).await;
        }
        result.map_err(|error| match reply_code(&error) {
            Some(_) => BrokerError::Topology { what: format!("{object}: {error}") },
            None => error.into(),
        })?;
    }
    channel.close(200, "declared".into()).await?;
    Ok(())
}

/// One thing to declare.
enum Object<'a> {
    Exchange(&'a Exchange),
    Queue(&'a Queue),
    Binding(&'a Binding),
}

impl Object<'_> {
    /// Declares it; `passive` only asks whether it exists.
    async fn declare(&self, channel: &Channel, passive: bool) -> lapin::Result<()> {
        match self {
            Self::Exchange(exchange) => {
                let options = ExchangeDeclareOptions { passive, durable: true, ..ExchangeDeclareOptions::default() };
                let (name, kind) = (exchange.name.into(), kind(exchange.kind));
                channel.exchange_declare(name, kind, options, table(&exchange.arguments)).await
            }
            Self::Queue(queue) => {
                let options = QueueDeclareOptions { passive, durable: true, ..QueueDeclareOptions::default() };
                channel.queue_declare(queue.name.as_str().into(), options, table(&queue.arguments)).await.map(drop)
            }
            // AMQP has no question for a binding; an unroutable publish will tell.
            Self::Binding(_) if passive => Ok(()),
            Self::Binding(binding) => {
                let (queue, exchange) = (binding.queue.as_str().into(), binding.exchange.into());
                let (key, arguments) = (binding.routing_key.as_str().into(), table(&binding.arguments));
                channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), arguments).await
            }
        }
    }
}

impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(exchange) => write!(f, "exchange {}", exchange.name),
            Self::Queue(queue) => write!(f, "queue {}", queue.name),
            Self::Binding(binding) => write!(f, "binding of {} to {}", binding.queue, binding.exchange),
        }
    }
}

fn reply_code(error: &lapin::Error) -> Option<u16> {
    if let ErrorKind::ProtocolError(error) = error.kind() { Some(error.get_id()) } else { None }
}

fn kind(kind: ExchangeKind) -> lapin::ExchangeKind {
    match kind {
        ExchangeKind::Direct => lapin::ExchangeKind::Direct,
        ExchangeKind::Fanout => lapin::ExchangeKind::Fanout,
        ExchangeKind::Topic => lapin::ExchangeKind::Topic,
        ExchangeKind::Headers => lapin::ExchangeKind::Headers,
    }
}

fn table(arguments: &[Argument]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value {
            Value::Text(text) => AMQPValue::LongString((*text).into()),
            Value::Integer(number) => AMQPValue::LongLongInt(*number),
            Value::Bool(flag) => AMQPValue::Boolean(*flag),
        };
        table.insert((*name).into(), value);
    }
    table
}
