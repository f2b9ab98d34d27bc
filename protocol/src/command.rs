//! What a worker is asked to do.
//!
//! A command is a JSON body `{"type", "version", "metadata"?, "data"}` under a [signature](crate::signing). Everything
//! that says *who* and *when* (workspace, session, command id, times) is in the signed headers, so the body says only *what*.
//!
//! Unknown fields are refused: a misspelt optional field would otherwise be ignored in silence, and the command would
//! do something else than its sender meant. `null` and an absent field are the same, but where a field says otherwise. An empty array is taken
//! for an empty object, because PHP writes `{}` as `[]`.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Serialize, Serializer, ser::SerializeStruct};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::id::{ChatId, MessageKey, PhoneNumber, SessionId, WorkerId, WorkspaceId};
use crate::json::{self, Fields, Nul};
use crate::lane::Lane;
use crate::metadata::Metadata;
use crate::rejection::Rejection;
use crate::topology;

mod action;
mod call;
mod campaign;
mod cloud;
mod content;
mod group;
mod interactive;
mod label;
mod limits;
mod media;
mod passkey;
mod picture;
mod pin;
mod route;
mod status;
mod sync;
mod text;

pub use action::{
    Action, Archive, AskGroup, Block, Check, Delete, Edit, History, ListChats, ListContacts, ListGroups, Mute, PinChat,
    React, Recording, Seen, SetPresence, Star, Typing,
};
pub use call::{Calls, RejectCall, SessionSettings, UnknownCalls};
pub use campaign::{CampaignControl, CampaignPart, NoTimeOfDay, OptOut, QuietHours, TimeOfDay};
pub use cloud::{CloudWebhook, SessionProvider};
pub use content::{Card, CardDetails, Contacts, Content, Degrees, Forward, Location, Poll, Text};
pub use group::{ChangeParticipants, CreateGroup, GroupSettings, InviteLink, LeaveGroup, ParticipantChange};
pub use interactive::{Button, Buttons, Choices, ListRow, ListSection};
pub use label::{LabelChat, ListLabels};
pub use limits::SessionLimits;
pub use media::{FileName, Inline, Media, MediaError, MediaKind, MediaSource, MediaUrl, MimeType, ObjectKey};
pub use passkey::{PasskeyAssertion, PasskeyResponse, SessionPasskeyAnswer};
pub use picture::GroupPicture;
pub use pin::{PinMessage, PinTime};
pub use route::{Route, Template};
pub use status::{Color, NoColor, StatusPost, Story, StoryText};
pub use sync::SessionSync;
pub use text::{Line, MessageText, Reference, TextError};

/// The version of every command type so far.
pub const VERSION: u64 = 1;

/// What a worker is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `session.start`: keep this session running, and link it if it is not linked. Starting a running session changes nothing.
    SessionStart(SessionStart),
    /// `session.status`: tell the session's status in the result.
    SessionStatus,
    /// `session.stop`: close the session's browser and keep its credentials. Stopping a stopped session changes nothing.
    SessionStop,
    /// `session.logout`: unlink the device and delete its credentials.
    SessionLogout,
    /// `session.link_code`: show a code to be typed into the phone instead of a QR.
    SessionLinkCode(SessionLinkCode),
    /// `session.move`: hand a running session over to another worker. The result comes from whoever owns it then.
    SessionMove(SessionMove),
    /// `session.passkey_answer`: give WhatsApp the passkey's answer that it asked for, or decline.
    SessionPasskeyAnswer(SessionPasskeyAnswer),
    /// `session.provider`: choose by whom this session's messages go, until told otherwise.
    SessionProvider(SessionProvider),
    /// `session.sync`: tell the session's chats, messages and groups by `sync.*` events, beside everything else it does.
    SessionSync(SessionSync),
    /// `cloud.webhook`: what Meta told about the messages of this session's Cloud API number.
    CloudWebhook(CloudWebhook),
    /// `session.limits`: give a session limits of its own. The result says what it has used of them.
    SessionLimits(SessionLimits),
    /// `session.settings`: how the session behaves by itself.
    SessionSettings(SessionSettings),
    /// `campaign.pause`: the campaign's messages wait.
    CampaignPause(CampaignControl),
    /// `campaign.resume`: they go on.
    CampaignResume(CampaignControl),
    /// `campaign.cancel`: those that have not gone out fail. For good.
    CampaignCancel(CampaignControl),
    /// `campaign.status`: tell how the campaign goes, in the result.
    CampaignStatus(CampaignControl),
    /// `optout.add`: these phones get no campaign of the workspace.
    OptOutAdd(OptOut),
    /// `optout.remove`: they may again.
    OptOutRemove(OptOut),
    /// `message.send`: send one message.
    MessageSend(MessageSend),
    /// `status.post`: show a story to the people of the address book, for a day.
    StatusPost(StatusPost),
    /// Everything else that a session can be asked to do.
    Action(Action),
}

/// Data of `session.start`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SessionStart {
    /// Link by code, for this phone, instead of by QR. Without effect on a session that is linked.
    pub pairing_phone: Option<PhoneNumber>,
    /// What becomes of calls; without it, it stays as it was, and is `ring` for a new session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<Calls>,
}

/// Data of `session.link_code`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SessionLinkCode {
    /// The phone into which the code will be typed.
    pub phone: PhoneNumber,
}

/// Data of `session.move`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SessionMove {
    /// The worker that shall own it, by the `worker_id` of its events; without it the fleet chooses the one with most room.
    pub to: Option<WorkerId>,
}

/// Data of `message.send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct MessageSend {
    /// The chat: a phone number in E.164 digits, `…@c.us`, `…@lid` or `…@g.us`.
    pub to: ChatId,
    /// What to send, by `kind`.
    #[serde(flatten)]
    pub content: Content,
    /// The key of the message that it answers, as `message.received` and `message.sent` tell it; shown above the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageKey>,
    /// By whom it goes.
    #[serde(flatten)]
    pub route: Route,
    /// The campaign it belongs to, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<CampaignPart>,
    /// The caller's own name for the message, echoed in `message.sent` and every `message.ack` of it.
    pub reference: Option<Reference>,
}

/// The type names of the commands that are no [`Action`].
const OWN_TYPE_NAMES: [&str; 20] = [
    "session.start",
    "session.status",
    "session.stop",
    "session.logout",
    "session.link_code",
    "session.move",
    "session.passkey_answer",
    "session.provider",
    "session.limits",
    "session.settings",
    "session.sync",
    "cloud.webhook",
    "campaign.pause",
    "campaign.resume",
    "campaign.cancel",
    "campaign.status",
    "optout.add",
    "optout.remove",
    "message.send",
    "status.post",
];

impl Command {
    /// All type names.
    pub const TYPE_NAMES: [&'static str; OWN_TYPE_NAMES.len() + Action::TYPE_NAMES.len()] = {
        let mut names = [""; OWN_TYPE_NAMES.len() + Action::TYPE_NAMES.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = match index.checked_sub(OWN_TYPE_NAMES.len()) {
                None => OWN_TYPE_NAMES[index],
                Some(index) => Action::TYPE_NAMES[index],
            };
            index += 1;
        }
        names
    };

    /// Parses a body whose signature was verified; `type_` is the AMQP type, which is the signed one.
    ///
    /// Returns the command and what its caller wants echoed.
    pub fn parse(type_: &str, body: &[u8]) -> Result<(Self, Option<Metadata>), Rejection> {
        let mut fields = Fields::new("", json::parse(body, Nul::Refused)?)?;
        if fields.text("type")? != type_ {
            return Err(Rejection::TypeMismatch);
        }
        if !Self::TYPE_NAMES.contains(&type_) {
            return Err(Rejection::UnknownType);
        }
        let version = fields.whole_number("version")?;
        if version != VERSION {
            return Err(Rejection::UnknownVersion { version });
        }
        let metadata = fields.take("metadata").map(|_| echoed_metadata(body)).transpose()?;
        let data = fields.take("data").ok_or_else(|| fields.invalid("data", "is missing"))?;
        fields.finish()?;
        Ok((Self::from_data(type_, data)?, metadata))
    }

    fn from_data(type_: &str, data: Value) -> Result<Self, Rejection> {
        let mut data = Fields::new("data", data)?;
        let command = match type_ {
            "session.start" => Self::SessionStart(SessionStart {
                pairing_phone: data.optional_parsed("pairing_phone")?,
                calls: data.optional_parsed("calls")?,
            }),
            "session.status" => Self::SessionStatus,
            "session.stop" => Self::SessionStop,
            "session.logout" => Self::SessionLogout,
            "session.link_code" => Self::SessionLinkCode(SessionLinkCode { phone: data.parsed("phone")? }),
            "session.move" => Self::SessionMove(SessionMove { to: data.optional_parsed("to")? }),
            "session.passkey_answer" => Self::SessionPasskeyAnswer(SessionPasskeyAnswer::from_fields(&mut data)?),
            "session.provider" => Self::SessionProvider(SessionProvider::from_fields(&mut data)?),
            "session.sync" => Self::SessionSync(SessionSync::from_fields(&mut data)?),
            "cloud.webhook" => Self::CloudWebhook(CloudWebhook::from_fields(&mut data)?),
            "session.limits" => Self::SessionLimits(SessionLimits::from_fields(&mut data)?),
            "session.settings" => Self::SessionSettings(SessionSettings::from_fields(&mut data)?),
            "campaign.pause" => Self::CampaignPause(CampaignControl { campaign: data.parsed("campaign")? }),
            "campaign.resume" => Self::CampaignResume(CampaignControl { campaign: data.parsed("campaign")? }),
            "campaign.cancel" => Self::CampaignCancel(CampaignControl { campaign: data.parsed("campaign")? }),
            "campaign.status" => Self::CampaignStatus(CampaignControl { campaign: data.parsed("campaign")? }),
            "optout.add" => Self::OptOutAdd(OptOut::from_fields(&mut data)?),
            "optout.remove" => Self::OptOutRemove(OptOut::from_fields(&mut data)?),
            "message.send" => Self::MessageSend(MessageSend::from_fields(&mut data)?),
            "status.post" => Self::StatusPost(StatusPost::from_fields(&mut data)?),
            type_ => Self::Action(Action::from_fields(type_, &mut data)?),
        };
        data.finish()?;
        Ok(command)
    }

    /// The type, as in the AMQP property and in the body.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::SessionStart(_) => "session.start",
            Self::SessionStatus => "session.status",
            Self::SessionStop => "session.stop",
            Self::SessionLogout => "session.logout",
            Self::SessionLinkCode(_) => "session.link_code",
            Self::SessionMove(_) => "session.move",
            Self::SessionPasskeyAnswer(_) => "session.passkey_answer",
            Self::SessionProvider(_) => "session.provider",
            Self::SessionSync(_) => "session.sync",
            Self::CloudWebhook(_) => "cloud.webhook",
            Self::SessionLimits(_) => "session.limits",
            Self::SessionSettings(_) => "session.settings",
            Self::CampaignPause(_) => "campaign.pause",
            Self::CampaignResume(_) => "campaign.resume",
            Self::CampaignCancel(_) => "campaign.cancel",
            Self::CampaignStatus(_) => "campaign.status",
            Self::OptOutAdd(_) => "optout.add",
            Self::OptOutRemove(_) => "optout.remove",
            Self::MessageSend(_) => "message.send",
            Self::StatusPost(_) => "status.post",
            Self::Action(action) => action.type_name(),
        }
    }

    /// Whether it goes through the control queue, which any worker reads, instead of the session's own lanes.
    pub fn is_control(&self) -> bool {
        match self {
            Self::SessionStart(_)
            | Self::SessionStatus
            | Self::SessionStop
            | Self::SessionLogout
            | Self::SessionLinkCode(_)
            | Self::SessionMove(_)
            | Self::SessionPasskeyAnswer(_)
            | Self::SessionProvider(_)
            | Self::SessionLimits(_)
            | Self::SessionSettings(_)
            | Self::CampaignPause(_)
            | Self::CampaignResume(_)
            | Self::CampaignCancel(_)
            | Self::CampaignStatus(_)
            | Self::OptOutAdd(_)
            | Self::OptOutRemove(_)
            | Self::SessionSync(_) => true,
            Self::MessageSend(_) | Self::StatusPost(_) | Self::CloudWebhook(_) | Self::Action(_) => false,
        }
    }

    /// Whether it is about a whole workspace: then it is signed for [any](SessionId::any) session.
    pub fn is_about_the_workspace(&self) -> bool {
        matches!(
            self,
            Self::CampaignPause(_)
                | Self::CampaignResume(_)
                | Self::CampaignCancel(_)
                | Self::CampaignStatus(_)
                | Self::OptOutAdd(_)
                | Self::OptOutRemove(_)
        )
    }

    /// The routing key on the exchange [`wa.commands`](topology::COMMANDS). The lane counts for messages only, and of those
    /// only for the ones that name their session: the others go to the workspace's campaign queue. A webhook goes before them all.
    pub fn routing_key(&self, workspace: WorkspaceId, session: &SessionId, lane: Lane) -> String {
        match self {
            Self::CloudWebhook(_) => topology::lane_key(session, Lane::Urgent),
            command if command.is_control() => topology::CONTROL_KEY.to_owned(),
            _ if session.is_any() => topology::campaign_key(workspace),
            _ => topology::lane_key(session, lane),
        }
    }

    /// How long a publisher lets it live unless it knows better: 5 minutes for session control, because a person waits;
    /// 24 hours for a message; 7 days for a campaign's.
    pub fn default_lifetime(&self, lane: Lane) -> Duration {
        const MINUTE: u64 = 60;
        const DAY: u64 = 24 * 60 * MINUTE;
        if let Self::Action(action) = self {
            return action.default_lifetime();
        }
        Duration::from_secs(match (self.is_control(), lane) {
            (true, _) => 5 * MINUTE,
            (false, Lane::Campaign) => 7 * DAY,
            (false, Lane::Urgent | Lane::High | Lane::Normal) => DAY,
        })
    }
}

impl MessageSend {
    /// A message that answers none and has no name.
    pub fn new(to: ChatId, content: Content) -> Self {
        Self { to, content, reply_to: None, campaign: None, route: Route::default(), reference: None }
    }

    /// A plain text that answers none and has no name.
    pub fn text(to: ChatId, text: MessageText) -> Self {
        Self::new(to, Content::Text(Text::plain(text)))
    }

    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let to = data.parsed("to")?;
        let content = Content::from_fields(data)?;
        let reply_to = data.optional_parsed("reply_to")?;
        if reply_to.is_some() && matches!(content, Content::Forward(_)) {
            return Err(data.invalid("reply_to", "cannot stand with a forwarded message"));
        }
        Ok(Self {
            to,
            content,
            reply_to,
            campaign: CampaignPart::optional(data)?,
            route: Route::from_fields(data)?,
            reference: data.optional_parsed("reference")?,
        })
    }
}

/// The metadata of a body that is known to be well-formed, in the characters it came in.
fn echoed_metadata(body: &[u8]) -> Result<Metadata, Rejection> {
    #[derive(serde::Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        metadata: &'a RawValue,
    }
    let body: Body<'_> = serde_json::from_slice(body).map_err(|_| Rejection::NotJson)?;
    Metadata::parse(body.metadata.get())
}

/// A whole command body, to be written.
#[derive(Clone, Copy)]
pub struct CommandBody<'a> {
    command: &'a Command,
    metadata: Option<&'a Metadata>,
}

impl<'a> CommandBody<'a> {
    /// The body that asks for `command` and wants `metadata` echoed.
    pub fn new(command: &'a Command, metadata: Option<&'a Metadata>) -> Self {
        Self { command, metadata }
    }

    /// The bytes to sign and to publish.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and plain structs always serialise")
    }
}

impl fmt::Debug for CommandBody<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandBody").field("command", self.command).field("metadata", &self.metadata).finish()
    }
}

impl Serialize for CommandBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Nothing {}

        let mut body = serializer.serialize_struct("CommandBody", 4)?;
        body.serialize_field("type", self.command.type_name())?;
        body.serialize_field("version", &VERSION)?;
        match self.metadata {
            Some(metadata) => body.serialize_field("metadata", metadata)?,
            None => body.skip_field("metadata")?,
        }
        match self.command {
            Command::SessionStart(data) => body.serialize_field("data", data)?,
            Command::SessionStatus | Command::SessionStop | Command::SessionLogout => {
                body.serialize_field("data", &Nothing {})?
            }
            Command::SessionLinkCode(data) => body.serialize_field("data", data)?,
            Command::SessionMove(data) => body.serialize_field("data", data)?,
            Command::SessionPasskeyAnswer(data) => body.serialize_field("data", data)?,
            Command::SessionProvider(data) => body.serialize_field("data", data)?,
            Command::SessionSync(data) => body.serialize_field("data", data)?,
            Command::CloudWebhook(data) => body.serialize_field("data", data)?,
            Command::SessionLimits(data) => body.serialize_field("data", data)?,
            Command::SessionSettings(data) => body.serialize_field("data", data)?,
            Command::CampaignPause(data)
            | Command::CampaignResume(data)
            | Command::CampaignCancel(data)
            | Command::CampaignStatus(data) => body.serialize_field("data", data)?,
            Command::OptOutAdd(data) | Command::OptOutRemove(data) => body.serialize_field("data", data)?,
            Command::MessageSend(data) => body.serialize_field("data", data)?,
            Command::StatusPost(data) => body.serialize_field("data", data)?,
            Command::Action(data) => body.serialize_field("data", data)?,
        }
        body.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Command {
        let type_ = serde_json::from_str::<Value>(text).expect("JSON")["type"].as_str().expect("a type").to_owned();
        Command::parse(&type_, text.as_bytes()).unwrap_or_else(|refusal| panic!("{text}: {refusal}")).0
    }

    #[test]
    fn what_php_writes_for_an_empty_map_is_an_empty_map() {
        let start = Command::SessionStart(SessionStart::default());
        for data in ["{}", "[]", r#"{"pairing_phone":null}"#] {
            assert_eq!(parse(&format!(r#"{{"type":"session.start","version":1,"data":{data}}}"#)), start);
        }
        let body = br#"{"type":"session.stop","version":1,"metadata":[],"data":[]}"#;
        let (command, metadata) = Command::parse("session.stop", body).expect("accepted");
        assert_eq!((command, metadata.as_ref().map(Metadata::as_str)), (Command::SessionStop, Some("{}")));
    }

    #[test]
    fn metadata_that_is_null_or_absent_is_none() {
        for metadata in ["", r#""metadata":null,"#] {
            let body = format!(r#"{{"type":"session.stop",{metadata}"version":1,"data":{{}}}}"#);
            assert_eq!(Command::parse("session.stop", body.as_bytes()), Ok((Command::SessionStop, None)));
        }
    }

    #[test]
    fn the_longest_text_counts_characters_and_not_bytes() {
        let text = "💬".repeat(MessageText::MAX_CHARS);
        let body =
            format!(r#"{{"type":"message.send","version":1,"data":{{"to":"49151","kind":"text","text":"{text}"}}}}"#);
        let Command::MessageSend(MessageSend { content: Content::Text(Text { text: parsed, .. }), .. }) = parse(&body)
        else {
            panic!("a message");
        };
        assert_eq!(parsed.as_str(), text);
    }

    #[test]
    fn lanes_decide_the_life_and_the_way_of_messages_only() {
        let session: SessionId = "s1".parse().expect("a session");
        let workspace = WorkspaceId::new(7).expect("a workspace");
        let message = parse(r#"{"type":"message.send","version":1,"data":{"to":"49151","kind":"text","text":"x"}}"#);
        let cases = [
            (&Command::SessionStop, Lane::Campaign, 5 * 60, "control"),
            (&message, Lane::Urgent, 86_400, "s1.urgent"),
            (&message, Lane::Normal, 86_400, "s1.normal"),
            (&message, Lane::Campaign, 7 * 86_400, "s1.campaign"),
        ];
        for (command, lane, secs, key) in cases {
            assert_eq!(command.default_lifetime(lane), Duration::from_secs(secs), "{command:?} {lane}");
            assert_eq!(command.routing_key(workspace, &session, lane), key);
            let anywhere = if command.is_control() { "control" } else { "auto.7" };
            assert_eq!(command.routing_key(workspace, &SessionId::any(), lane), anywhere);
        }
    }
}
