//! What the command line has in common with a host application: it publishes signed commands and reads signed events.

use std::time::Duration;

use anyhow::{Context, bail};
use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, Consumer};
use ulid::Ulid;
use wafleet_protocol::command::{Command, CommandBody};
use wafleet_protocol::event::Envelope;
use wafleet_protocol::id::{CommandId, SessionId, WorkspaceId};
use wafleet_protocol::lane::Lane;
use wafleet_protocol::signing::{Audience, Claims, Keyring, Role, sign};
use wafleet_protocol::topology;

use crate::broker::message::{json_properties, text_headers};
use crate::broker::publisher::CONFIRM_LIMIT;
use crate::config::{Config, Settings};
use crate::letter;
use crate::world::{unix_ms, unix_secs};

/// A connection of a command-line client.
pub(super) struct Client {
    _connection: Connection,
    channel: Channel,
    keyring: Keyring,
}

/// Events of one workspace or session, verified.
pub(super) struct Events<'a> {
    consumer: Consumer,
    keyring: &'a Keyring,
}

impl Client {
    /// Connects with the settings of the environment.
    pub(super) async fn connect(settings: &Settings) -> anyhow::Result<Self> {
        let (amqp, keyring) = Config::for_client(settings)?;
        let connection = crate::broker::connect(&amqp, "wafleet client").await.context("cannot connect to RabbitMQ")?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { _connection: connection, channel, keyring })
    }

    /// Reads events from now on, from a queue of its own that goes with the connection.
    pub(super) async fn events(
        &self,
        workspace: Option<WorkspaceId>,
        session: Option<&SessionId>,
    ) -> anyhow::Result<Events<'_>> {
        let part = |text: Option<String>| text.unwrap_or_else(|| "*".to_owned());
        let workspace = part(workspace.map(|workspace| workspace.to_string()));
        let session = part(session.map(ToString::to_string));
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let queue = self.channel.queue_declare("".into(), options, FieldTable::default()).await?;
        let pattern = format!("workspace.{workspace}.session.{session}.#");
        self.channel
            .queue_bind(
                queue.name().clone(),
                topology::EVENTS.into(),
                pattern.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .context("cannot bind to the events exchange (has a worker been started on this broker?)")?;
        let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..BasicConsumeOptions::default() };
        let consumer =
            self.channel.basic_consume(queue.name().clone(), "".into(), options, FieldTable::default()).await?;
        Ok(Events { consumer, keyring: &self.keyring })
    }

    /// Signs and publishes a command, and returns its id once the broker has it in a queue.
    pub(super) async fn publish(
        &self,
        workspace: WorkspaceId,
        session: &SessionId,
        command: &Command,
        lane: Lane,
        id: Option<&str>,
    ) -> anyhow::Result<CommandId> {
        let id: CommandId = match id {
            Some(id) => id.parse().context("--id")?,
            None => Ulid::from_parts(unix_ms(), rand::random()).to_string().parse().expect("a ULID is a command id"),
        };
        let now = unix_secs();
        let signer = self.keyring.signer(Role::Commands, workspace, now);
        let signer =
            signer.with_context(|| format!("no commands key of the key ring is valid for workspace {workspace}"))?;
        let body = CommandBody::new(command, None).to_bytes();
        let expires_at = now + command.default_lifetime(lane).as_secs();
        let headers = sign(signer, &Claims::command(command, &id, workspace, session, now, expires_at), &body);
        let properties = json_properties(id.as_str(), command.type_name())
            .with_priority(lane.amqp_priority())
            .with_headers(text_headers(headers.to_pairs()));
        self.deliver(&command.routing_key(workspace, session, lane), &body, properties).await?;
        Ok(id)
    }

    /// Publishes a signed command and returns once the broker has it in a queue.
    pub(super) async fn deliver(
        &self,
        routing_key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) -> anyhow::Result<()> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (exchange, key) = (topology::COMMANDS.into(), routing_key.into());
        let confirm = async { self.channel.basic_publish(exchange, key, options, body, properties).await?.await };
        let confirm = tokio::time::timeout(CONFIRM_LIMIT, confirm).await.context("the broker does not confirm")?;
        match confirm.context("the broker did not take the command")? {
            Confirmation::Ack(None) => Ok(()),
            _ => bail!("the command could not be routed: has a worker been started on this broker?"),
        }
    }
}

impl Events<'_> {
    /// The next event, or `None` after `limit`. Events with a bad signature are reported on standard error and left out.
    pub(super) async fn next(&mut self, limit: Option<Duration>) -> anyhow::Result<Option<Envelope>> {
        let deadline = limit.map(|limit| tokio::time::Instant::now() + limit);
        loop {
            let next = self.consumer.next();
            let delivery = match deadline {
                None => next.await,
                Some(deadline) => match tokio::time::timeout_at(deadline, next).await {
                    Err(_) => return Ok(None),
                    Ok(delivery) => delivery,
                },
            };
            let delivery = delivery.context("the broker ended the subscription")??;
            match self.verify(&delivery) {
                Ok(envelope) => return Ok(Some(envelope)),
                Err(rejection) => eprintln!("an event was left out: {rejection}"),
            }
        }
    }

    fn verify(&self, delivery: &Delivery) -> Result<Envelope, wafleet_protocol::rejection::Rejection> {
        let verified = letter::authenticate(delivery, self.keyring, Audience::Events, unix_secs())?;
        Envelope::parse(&verified.type_, &delivery.data)
    }
}
