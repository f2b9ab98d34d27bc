//! A command of which every signed part may be wrong while the signature is right: what somebody who holds a key, or a
//! host application with a fault, could send.

use lapin::types::AMQPValue;
use wafleet_protocol::command::{Command, CommandBody};
use wafleet_protocol::lane::Lane;
use wafleet_protocol::signing::{
    AUDIENCE_HEADER, Audience, CONTENT_TYPE, CanonicalFields, EXPIRES_AT_HEADER, ISSUED_AT_HEADER, KEY_HEADER,
    SESSION_HEADER, SIGNATURE_HEADER, SigningKey, WORKSPACE_HEADER, canonical_string,
};
use wafleet_protocol::topology;

use super::{Letter, Order, Target, new_command_id};

/// The signed parts of a command as text, the body as bytes, and where it goes.
#[derive(Debug, Clone)]
pub struct Draft {
    /// `x-wa-audience`.
    pub audience: String,
    /// The property `type`.
    pub type_: String,
    /// The property `message_id`.
    pub message_id: String,
    /// `x-wa-workspace`.
    pub workspace: String,
    /// `x-wa-session`.
    pub session: String,
    /// `x-wa-issued-at`.
    pub issued_at: String,
    /// `x-wa-expires-at`.
    pub expires_at: String,
    /// The property `content_type`.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
    /// The routing key, which is not signed.
    pub routing_key: String,
}

impl Draft {
    /// A command without a fault, issued now under a new id, on the normal lane.
    ///
    /// # Errors
    /// Never: the id has the form of one.
    pub fn new(target: &Target, command: &Command) -> anyhow::Result<Self> {
        let order = Order::now(command, Lane::Normal);
        Ok(Self {
            audience: Audience::Commands.to_string(),
            type_: command.type_name().to_owned(),
            message_id: new_command_id()?.to_string(),
            workspace: target.workspace.to_string(),
            session: target.session.to_string(),
            issued_at: order.issued_at.to_string(),
            expires_at: order.expires_at.to_string(),
            content_type: CONTENT_TYPE.to_owned(),
            body: CommandBody::new(command, None).to_bytes(),
            routing_key: command.routing_key(target.workspace, &target.session, Lane::Normal),
        })
    }

    /// Signs it as it is. Where a part holds a control character there is no canonical text; then the signature is one of
    /// something else.
    pub fn sign(&self, key: &SigningKey) -> Letter {
        let fields = CanonicalFields {
            key: key.id().as_str(),
            audience: &self.audience,
            type_: &self.type_,
            message_id: &self.message_id,
            workspace: &self.workspace,
            session: &self.session,
            issued_at: &self.issued_at,
            expires_at: &self.expires_at,
            content_type: &self.content_type,
        };
        let canonical = canonical_string(&fields, &self.body).unwrap_or_default();
        let headers = [
            (SIGNATURE_HEADER, key.signature(&canonical)),
            (KEY_HEADER, key.id().to_string()),
            (AUDIENCE_HEADER, self.audience.clone()),
            (WORKSPACE_HEADER, self.workspace.clone()),
            (SESSION_HEADER, self.session.clone()),
            (ISSUED_AT_HEADER, self.issued_at.clone()),
            (EXPIRES_AT_HEADER, self.expires_at.clone()),
        ];
        Letter {
            exchange: topology::COMMANDS.to_owned(),
            routing_key: self.routing_key.clone(),
            message_id: Some(self.message_id.clone()),
            type_: Some(self.type_.clone()),
            content_type: Some(self.content_type.clone()),
            priority: None,
            user_id: None,
            expiration: None,
            headers: headers.map(|(name, text)| (name.to_owned(), AMQPValue::LongString(text.into()))).into(),
            body: self.body.clone(),
        }
    }
}
