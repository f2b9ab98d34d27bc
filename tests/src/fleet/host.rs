//! The host application as the fleet sees it: publishes signed commands the way a Laravel application does (persistent,
//! mandatory, confirmed) and consumes events from a queue of its own.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use wafleet_protocol::command::Command;
use wafleet_protocol::event::Envelope;
use wafleet_protocol::id::{CommandId, IdError, SessionId, WorkspaceId};
use wafleet_protocol::lane::Lane;
use wafleet_protocol::signing::{Audience, HeaderValue, Keyring, RawProperties, SESSION_HEADER, Signed};
use wafleet_protocol::topology::{self, Argument, ExchangeKind, Topology, Value};

use super::dead_letters::DeadLetters;
use super::journal::{Entry, Journal, State};
use super::letter::{Letter, Order, unix_now};
use super::{HOST_KEY, first_workspace};

/// Bound on every single thing asked of the broker.
const BROKER_LIMIT: Duration = Duration::from_secs(15);
/// How long a host application with a lasting line keeps a command for a broker that is away.
const OUTBOX_LIMIT: Duration = Duration::from_secs(300);
/// Pause before a lost line is dialled again.
const REDIAL_PAUSE: Duration = Duration::from_millis(200);
/// The host application's queue for events.
pub(crate) const EVENT_QUEUE: &str = "host.events";

/// What the host application does when its connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// It says so, and that is its end.
    Once,
    /// It dials again.
    Lasting,
}

/// A command that the broker has in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// When it was confirmed.
    pub at: Instant,
    /// The command's id, as it was sent.
    pub id: String,
    /// The command's type.
    pub type_: String,
    /// The session it is for.
    pub session: String,
}

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
    url: String,
    line: Line,
    commands: Mutex<Option<Outlet>>,
    keyring: Keyring,
    journal: Journal,
    posted: Mutex<Vec<Posting>>,
    // Collects events for as long as the host lives.
    _collector: AbortOnDropHandle<()>,
}

/// A channel with confirms, and the connection it needs if that is not the first one.
struct Outlet {
    channel: Channel,
    _connection: Option<Connection>,
}

impl Host {
    /// Connects, declares the fleet's topology, and binds a queue for every event. A worker that starts later finds the
    /// topology as it would have declared it itself.
    pub(super) async fn connect(url: &str, keyring: Keyring, line: Line) -> anyhow::Result<Self> {
        let connection = dial(url).await?;
        declare(&connection, &topology::fleet()).await?;
        let mut deliveries = consume(&connection).await?;

        let (journal, state) = Journal::new();
        let (ring, again) = (keyring.clone(), url.to_owned());
        let collector = tokio::spawn(async move {
            let mut own = None; // keeps a connection of the collector's own open
            loop {
                let end = collect(&mut deliveries, &ring, &state).await;
                let trouble = match end {
                    End::Line(_) if line == Line::Lasting => {
                        (own, deliveries) = reconnect(&again).await;
                        continue;
                    }
                    End::Line(trouble) | End::Event(trouble) => trouble,
                };
                drop(own);
                state.send_modify(|state| state.trouble = Some(trouble));
                return;
            }
        });

        let channel = confirmed_channel(&connection).await?;
        let commands = Mutex::new(Some(Outlet { channel, _connection: None }));
        let _collector = AbortOnDropHandle::new(collector);
        let posted = Mutex::default();
        Ok(Self { connection, url: url.to_owned(), line, commands, keyring, journal, posted, _collector })
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

    /// Every command that the broker has taken from this application, in order; one that was sent twice is there twice.
    pub fn posted(&self) -> Vec<Posting> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first broker connection, for what this type does not offer.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Declares exchanges, queues and bindings.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn declare(&self, topology: &Topology) -> anyhow::Result<()> {
        declare(&self.connection, topology).await
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

    /// Publishes a letter as it is and waits until the broker has it. On a lasting line it is published again until the
    /// broker has confirmed it, so it may be there twice.
    ///
    /// # Errors
    /// When the broker refuses it or does not confirm in time.
    pub async fn post(&self, letter: &Letter) -> anyhow::Result<Posted> {
        let started = Instant::now();
        let posted = loop {
            match self.publish(letter).await {
                Ok(posted) => break posted,
                Err(error) if self.line == Line::Once || started.elapsed() > OUTBOX_LIMIT => return Err(error),
                Err(_) => {
                    self.outlet().take();
                    tokio::time::sleep(REDIAL_PAUSE).await;
                }
            }
        };
        if let (Posted::Routed, Some(id), Some(type_)) = (posted, &letter.message_id, &letter.type_) {
            let session = letter.header(SESSION_HEADER).unwrap_or_default();
            let posting = Posting { at: Instant::now(), id: id.clone(), type_: type_.clone(), session };
            self.posted.lock().unwrap_or_else(PoisonError::into_inner).push(posting);
        }
        Ok(posted)
    }

    async fn publish(&self, letter: &Letter) -> anyhow::Result<Posted> {
        let open = self.outlet().as_ref().map(|outlet| outlet.channel.clone());
        let channel = match open {
            Some(channel) => channel,
            None => {
                let connection = dial(&self.url).await?;
                let channel = timeout(BROKER_LIMIT, confirmed_channel(&connection)).await??;
                *self.outlet() = Some(Outlet { channel: channel.clone(), _connection: Some(connection) });
                channel
            }
        };
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (exchange, key) = (letter.exchange.as_str().into(), letter.routing_key.as_str().into());
        let publish =
            async { channel.basic_publish(exchange, key, options, &letter.body, letter.properties()).await?.await };
        match timeout(BROKER_LIMIT, publish).await.context("no confirm")?? {
            Confirmation::Ack(None) => Ok(Posted::Routed),
            Confirmation::Ack(Some(_)) => Ok(Posted::Returned),
            other => bail!("the broker refused the command: {other:?}"),
        }
    }

    fn outlet(&self) -> MutexGuard<'_, Option<Outlet>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
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

async fn dial(url: &str) -> anyhow::Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name("host application".into());
    Ok(timeout(BROKER_LIMIT, Connection::connect(url, properties)).await??)
}

async fn confirmed_channel(connection: &Connection) -> anyhow::Result<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// The events, from a durable queue that is bound to all of them, and the channel they come by.
async fn consume(connection: &Connection) -> anyhow::Result<(Channel, Consumer)> {
    let events = connection.create_channel().await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    events.queue_declare(EVENT_QUEUE.into(), durable, FieldTable::default()).await?;
    let bind = QueueBindOptions::default();
    events.queue_bind(EVENT_QUEUE.into(), topology::EVENTS.into(), "#".into(), bind, FieldTable::default()).await?;
    let consume = BasicConsumeOptions::default();
    let consumer = events.basic_consume(EVENT_QUEUE.into(), "host".into(), consume, FieldTable::default()).await?;
    Ok((events, consumer))
}

async fn reconnect(url: &str) -> (Option<Connection>, (Channel, Consumer)) {
    loop {
        let attempt = async {
            let connection = dial(url).await?;
            let deliveries = timeout(BROKER_LIMIT, consume(&connection)).await??;
            anyhow::Ok((Some(connection), deliveries))
        };
        match attempt.await {
            Ok(connected) => return connected,
            Err(_) => tokio::time::sleep(REDIAL_PAUSE).await, // before the next try
        }
    }
}

/// Why no more events are collected.
enum End {
    /// The connection is lost.
    Line(String),
    /// Something arrived that is no event of ours.
    Event(String),
}

async fn collect((_, deliveries): &mut (Channel, Consumer), ring: &Keyring, state: &watch::Sender<State>) -> End {
    loop {
        let delivery = match deliveries.next().await {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return End::Line(format!("the event queue failed: {error}")),
            None => return End::Line("the event queue ended".to_owned()),
        };
        if let Err(error) = record(&delivery, ring, state) {
            return End::Event(format!("{error:#}"));
        }
        if let Err(error) = delivery.acker.ack(BasicAckOptions::default()).await {
            return End::Line(format!("acknowledging an event failed: {error}"));
        }
    }
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
