//! The host application as the fleet sees it: publishes signed commands the way a Laravel application does (persistent,
//! mandatory, confirmed) and consumes events from a queue of its own.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Confirmation, Connection, ConnectionProperties};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use wafleet_protocol::command::Command;
use wafleet_protocol::event::Envelope;
use wafleet_protocol::id::{CommandId, IdError, SessionId, WorkspaceId};
use wafleet_protocol::lane::Lane;
use wafleet_protocol::signing::{Audience, HeaderValue, Keyring, RawProperties, Signed};
use wafleet_protocol::topology::{self, Argument, ExchangeKind, Topology, Value};

use super::dead_letters::DeadLetters;
use super::journal::{Entry, Journal, State};
use super::letter::{Letter, Order, unix_now};
use super::{HOST_KEY, first_workspace};

/// Bound on every single thing asked of the broker.
const BROKER_LIMIT: Duration = Duration::from_secs(15);

/// Whom a command is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The session.
    pub session: SessionId,
}

impl Target {
    /// A session of workspace 1.
    ///
    /// # Errors
    /// When the text is no session id.
    pub fn new(session: &str) -> Result<Self, IdError> {
        Ok(Self { workspace: first_workspace(), session: session.parse()? })
    }
}

/// What the broker did with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// It is in a queue.
    Routed,
    /// No queue was bound for it; a host application learns of it because it publishes with `mandatory`.
    Returned,
}

/// A connection of the host application.
pub struct Host {
    connection: Connection,
    commands: Channel,
    keyring: Keyring,
    journal: Journal,
    // Collects events for as long as the host lives.
    _collector: AbortOnDropHandle<()>,
}

impl Host {
    /// Connects, declares the fleet's topology, and binds a queue for every event. A worker that starts later finds the
    /// topology as it would have declared it itself.
    pub(super) async fn connect(url: &str, keyring: Keyring) -> anyhow::Result<Self> {
        let properties = ConnectionProperties::default().with_connection_name("host application".into());
        let connection = timeout(BROKER_LIMIT, Connection::connect(url, properties)).await??;
        declare(&connection, &topology::fleet()).await?;

        let events = connection.create_channel().await?;
        const QUEUE: &str = "host.events";
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        events.queue_declare(QUEUE.into(), durable, FieldTable::default()).await?;
        let bind = QueueBindOptions::default();
        events.queue_bind(QUEUE.into(), topology::EVENTS.into(), "#".into(), bind, FieldTable::default()).await?;
        let consume = BasicConsumeOptions::default();
        let mut deliveries = events.basic_consume(QUEUE.into(), "host".into(), consume, FieldTable::default()).await?;

        let (journal, state) = Journal::new();
        let ring = keyring.clone();
        let collector = tokio::spawn(async move {
            let _channel = events; // closing it would end the consumer
            let trouble = loop {
                let delivery = match deliveries.next().await {
                    Some(Ok(delivery)) => delivery,
                    Some(Err(error)) => break format!("the event queue failed: {error}"),
                    None => break "the event queue ended".to_owned(),
                };
                if let Err(error) = record(&delivery, &ring, &state) {
                    break format!("{error:#}");
                }
                if let Err(error) = delivery.acker.ack(BasicAckOptions::default()).await {
                    break format!("acknowledging an event failed: {error}");
                }
            };
            state.send_modify(|state| state.trouble = Some(trouble));
        });

        let commands = connection.create_channel().await?;
        commands.confirm_select(ConfirmSelectOptions::default()).await?;
        let collector = AbortOnDropHandle::new(collector);
        Ok(Self { connection, commands, keyring, journal, _collector: collector })
    }

    /// The events so far, and those to come.
    pub fn events(&self) -> &Journal {
        &self.journal
    }

    /// Collects the dead letters from now on.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn dead_letters(&self) -> anyhow::Result<DeadLetters> {
        DeadLetters::collect(&self.connection).await
    }

    /// The broker connection, for what this type does not offer.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// A command as this application would send it now, on the normal lane, to be changed before it is posted.
    ///
    /// # Errors
    /// When the key ring has no key for the host application.
    pub fn letter(&self, target: &Target, command: &Command) -> anyhow::Result<Letter> {
        self.letter_by(HOST_KEY, target, &new_command_id()?, command, &Order::now(command, Lane::Normal))
    }

    /// A command with everything chosen by the caller.
    ///
    /// # Errors
    /// When the key ring has no such key.
    pub fn letter_by(
        &self,
        key: &str,
        target: &Target,
        id: &CommandId,
        command: &Command,
        order: &Order<'_>,
    ) -> anyhow::Result<Letter> {
        let key = self.keyring.get(key).with_context(|| format!("the key ring has no key {key}"))?;
        Ok(Letter::signed(key, target, id, command, order))
    }

    /// Publishes a letter as it is and waits until the broker has it.
    ///
    /// # Errors
    /// When the broker refuses it or does not confirm in time.
    pub async fn post(&self, letter: &Letter) -> anyhow::Result<Posted> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (exchange, key) = (letter.exchange.as_str().into(), letter.routing_key.as_str().into());
        let publish = async {
            self.commands.basic_publish(exchange, key, options, &letter.body, letter.properties()).await?.await
        };
        match timeout(BROKER_LIMIT, publish).await.context("no confirm")?? {
            Confirmation::Ack(None) => Ok(Posted::Routed),
            Confirmation::Ack(Some(_)) => Ok(Posted::Returned),
            other => bail!("the broker refused the command: {other:?}"),
        }
    }

    /// Sends a command on the normal lane and returns its id.
    ///
    /// # Errors
    /// As for [`post`](Self::post), or when no queue takes it.
    pub async fn send(&self, target: &Target, command: &Command) -> anyhow::Result<CommandId> {
        self.send_on(Lane::Normal, target, command).await
    }

    /// Sends a command on a lane and returns its id.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub async fn send_on(&self, lane: Lane, target: &Target, command: &Command) -> anyhow::Result<CommandId> {
        let id = new_command_id()?;
        let letter = self.letter_by(HOST_KEY, target, &id, command, &Order::now(command, lane))?;
        ensure!(self.post(&letter).await? == Posted::Routed, "no queue takes {}", letter.routing_key);
        Ok(id)
    }
}

/// A command id nobody has used.
///
/// # Errors
/// Never: the text has the form of one.
pub fn new_command_id() -> anyhow::Result<CommandId> {
    Ok(format!("test-{:032x}", rand::random::<u128>()).parse()?)
}

/// Verifies one delivery as a host application must, and writes it down.
fn record(delivery: &Delivery, keyring: &Keyring, state: &watch::Sender<State>) -> anyhow::Result<()> {
    let properties = &delivery.properties;
    let headers: Vec<(&str, HeaderValue<'_>)> = properties
        .headers()
        .iter()
        .flat_map(|table| table.inner())
        .map(|(name, value)| (name.as_str(), header_value(value)))
        .collect();
    let raw = RawProperties {
        message_id: properties.message_id().as_ref().map(|id| id.as_str()),
        type_: properties.kind().as_ref().map(|type_| type_.as_str()),
        content_type: properties.content_type().as_ref().map(|type_| type_.as_str()),
        headers: &headers,
    };
    let routing_key = delivery.routing_key.as_str();
    let verified = Signed::new(raw, &delivery.data)
        .verify(keyring, Audience::Events, unix_now())
        .with_context(|| format!("an event that does not verify, routing key {routing_key}"))?;
    let envelope = Envelope::parse(&verified.type_, &delivery.data)
        .with_context(|| format!("an event that does not parse, routing key {routing_key}"))?;
    ensure!(envelope.id.to_string() == verified.message_id.to_string(), "body and message_id differ: {envelope:?}");
    ensure!(envelope.workspace_id == verified.workspace, "body and header differ in the workspace: {envelope:?}");
    ensure!(envelope.session_id == verified.session, "body and header differ in the session: {envelope:?}");
    ensure!(envelope.routing_key() == routing_key, "routing key {routing_key} of another event: {envelope:?}");
    let entry = Entry { at: Instant::now(), routing_key: routing_key.to_owned(), envelope };
    state.send_modify(|state| state.entries.push(entry));
    Ok(())
}

fn header_value(value: &AMQPValue) -> HeaderValue<'_> {
    match value {
        AMQPValue::LongString(text) => {
            std::str::from_utf8(text.as_bytes()).map_or(HeaderValue::Other, HeaderValue::Text)
        }
        AMQPValue::ShortString(text) => HeaderValue::Text(text.as_str()),
        _ => HeaderValue::Other,
    }
}

async fn declare(connection: &Connection, topology: &Topology) -> anyhow::Result<()> {
    let channel = connection.create_channel().await?;
    for exchange in &topology.exchanges {
        let kind = match exchange.kind {
            ExchangeKind::Direct => lapin::ExchangeKind::Direct,
            ExchangeKind::Topic => lapin::ExchangeKind::Topic,
            ExchangeKind::Fanout => lapin::ExchangeKind::Fanout,
            ExchangeKind::Headers => lapin::ExchangeKind::Headers,
        };
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(exchange.name.into(), kind, durable, table(&exchange.arguments)).await?;
    }
    for queue in &topology.queues {
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.name.as_str().into(), durable, table(&queue.arguments)).await?;
    }
    for binding in &topology.bindings {
        let (queue, key) = (binding.queue.as_str().into(), binding.routing_key.as_str().into());
        let bind = QueueBindOptions::default();
        channel.queue_bind(queue, binding.exchange.into(), key, bind, table(&binding.arguments)).await?;
    }
    channel.close(200, "declared".into()).await?;
    Ok(())
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
