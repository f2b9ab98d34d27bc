//! JSON Schemas (draft 2020-12) of every message, made from the types.
//!
//! For editors, for code generators and for tests of publishers. The schema of a command describes what a worker accepts;
//! the schema of an event what the fleet writes, which consumers read with tolerance for fields they do not know. What a
//! schema cannot say (sizes in bytes, nesting, duplicate fields, reserved words) is said by the parsers.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::command::{
    self, Action, CampaignControl, CloudWebhook, MessageSend, OptOut, SessionLimits, SessionLinkCode, SessionMove,
    SessionPasskeyAnswer, SessionProvider, SessionSettings, SessionStart, SessionSync, StatusPost,
};
use crate::event::{
    self, CallReceived, CampaignProgress, ChatLabel, CommandResult, ContactMapping, GroupParticipants, GroupUpdate,
    LabelUpdate, Message, MessageAck, MessageEdited, MessageMedia, MessageReaction, MessageRevoked, MessageSent,
    MessageStalled, MessageWaiting, PollVote, PresenceUpdate, RuntimeIncompatible, SessionCode, SessionPasskey,
    SessionQr, SessionStatusChanged, SyncChats, SyncGroups, SyncMessages, SyncProgress,
};
use crate::id::{CommandId, EventId, SessionId, WorkerId, WorkspaceId};
use crate::metadata::Metadata;
use crate::timestamp::Timestamp;

/// One schema and where it is published.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The path of its file, for example `command/message.send.v1.json`.
    pub path: String,
    /// The schema.
    pub schema: Value,
}

/// The schemas of all commands and events.
pub fn documents() -> Vec<Document> {
    let mut documents = vec![
        command("session.start", accepted::<SessionStart>()),
        command("session.status", nothing()),
        command("session.stop", nothing()),
        command("session.logout", nothing()),
        command("session.link_code", accepted::<SessionLinkCode>()),
        command("session.move", accepted::<SessionMove>()),
        command("session.passkey_answer", accepted::<SessionPasskeyAnswer>()),
        command("session.provider", accepted::<SessionProvider>()),
        command("cloud.webhook", accepted::<CloudWebhook>()),
        command("session.limits", accepted::<SessionLimits>()),
        command("campaign.pause", accepted::<CampaignControl>()),
        command("campaign.resume", accepted::<CampaignControl>()),
        command("campaign.cancel", accepted::<CampaignControl>()),
        command("campaign.status", accepted::<CampaignControl>()),
        command("optout.add", accepted::<OptOut>()),
        command("optout.remove", accepted::<OptOut>()),
        command("message.send", accepted::<MessageSend>()),
        event("session.status", written::<SessionStatusChanged>()),
        event("session.qr", written::<SessionQr>()),
        event("session.code", written::<SessionCode>()),
        event("session.passkey", written::<SessionPasskey>()),
        event("message.received", written::<Message>()),
        event("message.sent", written::<MessageSent>()),
        event("message.ack", written::<MessageAck>()),
        event("command.result", written::<CommandResult>()),
        event("message.media", written::<MessageMedia>()),
        event("runtime.incompatible", written::<RuntimeIncompatible>()),
        event("message.edited", written::<MessageEdited>()),
        event("message.revoked", written::<MessageRevoked>()),
        event("message.reaction", written::<MessageReaction>()),
        event("message.waiting", written::<MessageWaiting>()),
        event("poll.vote", written::<PollVote>()),
        event("presence.update", written::<PresenceUpdate>()),
        event("call.received", written::<CallReceived>()),
        event("group.participants", written::<GroupParticipants>()),
        event("group.update", written::<GroupUpdate>()),
        event("campaign.progress", written::<CampaignProgress>()),
        event("contact.mapping", written::<ContactMapping>()),
        event("message.stalled", written::<MessageStalled>()),
    ];
    documents.push(command("session.sync", accepted::<SessionSync>()));
    documents.push(command("session.settings", accepted::<SessionSettings>()));
    documents.push(event("label.update", written::<LabelUpdate>()));
    documents.push(event("chat.label", written::<ChatLabel>()));
    documents.push(command("status.post", accepted::<StatusPost>()));
    documents.push(event("sync.progress", written::<SyncProgress>()));
    documents.push(event("sync.chats", written::<SyncChats>()));
    documents.push(event("sync.messages", written::<SyncMessages>()));
    documents.push(event("sync.groups", written::<SyncGroups>()));
    documents.extend(Action::documents());
    documents
}

/// The schema of a command with this data.
pub(crate) fn command_document<T: JsonSchema>(type_: &str) -> Document {
    command(type_, accepted::<T>())
}

fn command(type_: &str, data: Schema) -> Document {
    let (data, definitions) = split_definitions(data);
    let mut schema = json!({
        "$schema": DRAFT,
        "$id": format!("urn:wafleet:command:{type_}:{}", command::VERSION),
        "title": type_,
        "description": "The body of a command. An empty array stands for an empty object.",
        "type": "object",
        "properties": {
            "type": { "const": type_ },
            "version": { "const": command::VERSION },
            "metadata": or_empty_array(&["null"], accepted::<Metadata>()),
            "data": if has_required(&data) { data } else { or_empty_array(&[], data) },
        },
        "required": ["type", "version", "data"],
        "additionalProperties": false,
    });
    put_definitions(&mut schema, definitions);
    Document { path: format!("command/{type_}.v{}.json", command::VERSION), schema }
}

fn event(type_: &str, data: Schema) -> Document {
    let (data, definitions) = split_definitions(data);
    let mut schema = json!({
        "$schema": DRAFT,
        "$id": format!("urn:wafleet:event:{type_}:{}", event::VERSION),
        "title": type_,
        "description": "The body of an event. Ignore fields that are not listed.",
        "type": "object",
        "properties": {
            "id": written::<EventId>(),
            "type": { "const": type_ },
            "version": { "const": event::VERSION },
            "workspace_id": written::<WorkspaceId>(),
            "session_id": written::<SessionId>(),
            "worker_id": written::<WorkerId>(),
            "epoch": { "type": "integer", "minimum": 0 },
            "seq": { "type": "integer", "minimum": 1 },
            "occurred_at": written::<Timestamp>(),
            "correlation_id": written::<Option<CommandId>>(),
            "metadata": written::<Option<Metadata>>(),
            "data": data,
        },
        "required": [
            "id", "type", "version", "workspace_id", "session_id", "worker_id", "epoch", "seq", "occurred_at",
            "correlation_id", "metadata", "data",
        ],
    });
    put_definitions(&mut schema, definitions);
    Document { path: format!("event/{type_}.v{}.json", event::VERSION), schema }
}

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What a parser accepts for `T`.
fn accepted<T: JsonSchema>() -> Schema {
    without_titles(SchemaSettings::draft2020_12().for_deserialize().into_generator().into_root_schema_for::<T>())
}

/// What we write for `T`.
fn written<T: JsonSchema>() -> Schema {
    without_titles(SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>())
}

/// The data of a command that takes none.
fn nothing() -> Schema {
    schemars::json_schema!({ "type": "object", "additionalProperties": false })
}

/// Parts of a larger schema name neither a draft nor a Rust type.
fn without_titles(mut schema: Schema) -> Schema {
    schema.remove("$schema");
    schema.remove("title");
    schema
}

fn has_required(data: &Value) -> bool {
    data.get("required").is_some()
}

/// PHP writes an empty map as an empty array.
fn or_empty_array(besides: &[&str], schema: impl Into<Value>) -> Value {
    let mut schema = schema.into();
    let mut types = vec!["object", "array"];
    types.extend(besides);
    schema["type"] = json!(types);
    schema["maxItems"] = json!(0);
    schema
}

/// Definitions are referred to from the root, so they have to move there.
fn split_definitions(schema: Schema) -> (Value, Option<Value>) {
    let mut schema = Value::from(schema);
    let definitions = schema.as_object_mut().and_then(|object| object.remove("$defs"));
    (schema, definitions)
}

fn put_definitions(schema: &mut Value, definitions: Option<Value>) {
    if let Some(definitions) = definitions {
        schema["$defs"] = definitions;
    }
}
