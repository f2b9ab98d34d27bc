//! One command as it is put on the wire. Every part may be changed before it is sent, for tests of bad input.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use wafleet_protocol::command::{Command, CommandBody};
use wafleet_protocol::id::CommandId;
use wafleet_protocol::lane::Lane;
use wafleet_protocol::metadata::Metadata;
use wafleet_protocol::signing::{CONTENT_TYPE, Claims, SigningKey, sign};
use wafleet_protocol::topology;

use super::Target;

/// A message for the broker, exactly as it will be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// The exchange.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// The property `message_id`.
    pub message_id: Option<String>,
    /// The property `type`.
    pub type_: Option<String>,
    /// The property `content_type`.
    pub content_type: Option<String>,
    /// The property `priority`.
    pub priority: Option<u8>,
    /// The property `user_id`; the broker closes the channel of whoever names another account than his own.
    pub user_id: Option<String>,
    /// The property `expiration`: milliseconds after which the broker drops the message.
    pub expiration: Option<String>,
    /// The headers. A name may occur once only in an AMQP table as this client writes it.
    pub headers: Vec<(String, AMQPValue)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Letter {
    /// A signed command, as a well-behaved host application sends it; times in unix seconds.
    pub fn signed(key: &SigningKey, target: &Target, id: &CommandId, command: &Command, order: &Order<'_>) -> Self {
        let body = CommandBody::new(command, order.metadata).to_bytes();
        let claims = Claims::command(command, id, target.workspace, &target.session, order.issued_at, order.expires_at);
        let headers = sign(key, &claims, &body)
            .to_pairs()
            .map(|(name, text)| (name.to_owned(), AMQPValue::LongString(text.into())));
        Self {
            exchange: topology::COMMANDS.to_owned(),
            routing_key: command.routing_key(target.workspace, &target.session, order.lane),
            message_id: Some(id.to_string()),
            type_: Some(command.type_name().to_owned()),
            content_type: Some(CONTENT_TYPE.to_owned()),
            priority: Some(order.lane.amqp_priority()),
            user_id: None,
            expiration: None,
            headers: headers.into(),
            body,
        }
    }

    /// Puts `value` in the place of the header `name`, or adds it.
    pub fn set_header(&mut self, name: &str, value: AMQPValue) {
        match self.headers.iter_mut().find(|(found, _)| found == name) {
            Some((_, old)) => *old = value,
            None => self.headers.push((name.to_owned(), value)),
        }
    }

    /// Puts text in the place of the header `name`, or adds it.
    pub fn set_header_text(&mut self, name: &str, text: &str) {
        self.set_header(name, AMQPValue::LongString(text.into()));
    }

    /// The header `name`, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(found, _)| found == name).and_then(|(_, value)| match value {
            AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
            _ => None,
        })
    }

    /// Takes the header `name` out.
    pub fn remove_header(&mut self, name: &str) {
        self.headers.retain(|(found, _)| found != name);
    }

    pub(super) fn properties(&self) -> BasicProperties {
        const PERSISTENT: u8 = 2;
        let mut table = FieldTable::default();
        for (name, value) in &self.headers {
            table.insert(name.as_str().into(), value.clone());
        }
        let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(table);
        if let Some(id) = &self.message_id {
            properties = properties.with_message_id(id.as_str().into());
        }
        if let Some(type_) = &self.type_ {
            properties = properties.with_type(type_.as_str().into());
        }
        if let Some(content_type) = &self.content_type {
            properties = properties.with_content_type(content_type.as_str().into());
        }
        if let Some(priority) = self.priority {
            properties = properties.with_priority(priority);
        }
        if let Some(user_id) = &self.user_id {
            properties = properties.with_user_id(user_id.as_str().into());
        }
        if let Some(expiration) = &self.expiration {
            properties = properties.with_expiration(expiration.as_str().into());
        }
        properties
    }
}

/// How a command is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The lane, for messages.
    pub lane: Lane,
    /// When it is said to have been issued, in unix seconds.
    pub issued_at: u64,
    /// When its life ends, in unix seconds.
    pub expires_at: u64,
    /// What the events it causes shall echo.
    pub metadata: Option<&'a Metadata>,
}

impl Order<'_> {
    /// Issued now, with the lifetime that is usual for the command.
    pub fn now(command: &Command, lane: Lane) -> Self {
        let issued_at = unix_now();
        Self { lane, issued_at, expires_at: issued_at + command.default_lifetime(lane).as_secs(), metadata: None }
    }
}

/// The wall clock, in unix seconds.
pub fn unix_now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("this machine's clock is past 1970")
        .as_secs()
}
