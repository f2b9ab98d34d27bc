//! What a session can be asked to do with its groups. Each but `group.create` may be carried out twice: who is in a group
//! already is not added again.

use schemars::JsonSchema;
use serde::Serialize;

use super::text::{Line, MessageText};
use crate::id::{ChatId, ChatKind};
use crate::json::Fields;
use crate::rejection::Rejection;

/// The field `group`: a group, and no person.
pub(super) fn group(data: &mut Fields) -> Result<ChatId, Rejection> {
    let group: ChatId = data.parsed("group")?;
    if group.kind() != ChatKind::Group {
        return Err(data.invalid("group", "must be a group"));
    }
    Ok(group)
}

/// The field `participants`: people, and no groups.
fn people(data: &mut Fields) -> Result<Vec<ChatId>, Rejection> {
    let participants: Vec<ChatId> = data.parsed_list("participants", 1, MAX_PEOPLE)?;
    if participants.iter().any(|person| person.kind() == ChatKind::Group) {
        return Err(data.invalid("participants", "must name people and no group"));
    }
    Ok(participants)
}

/// The most people of one command: adding many at once is what WhatsApp restricts accounts for.
const MAX_PEOPLE: usize = 50;

/// Data of `group.create`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CreateGroup {
    /// Its name.
    pub subject: Line<100>,
    /// Who is in it besides this account: phone numbers, `…@c.us` or `…@lid`.
    #[schemars(length(min = 1, max = MAX_PEOPLE))]
    pub participants: Vec<ChatId>,
}

impl CreateGroup {
    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self { subject: data.parsed("subject")?, participants: people(data)? })
    }
}

/// Data of `group.participants`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ChangeParticipants {
    /// The group: `…@g.us`.
    pub group: ChatId,
    /// What happens to them.
    pub change: ParticipantChange,
    /// Whom: phone numbers, `…@c.us` or `…@lid`.
    #[schemars(length(min = 1, max = MAX_PEOPLE))]
    pub participants: Vec<ChatId>,
}

/// What happens to people in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ParticipantChange {
    /// They are added. Who does not let themselves be added by this account is told in the result.
    Add,
    /// They are removed.
    Remove,
    /// They become administrators.
    Promote,
    /// They are administrators no more.
    Demote,
}

impl ChangeParticipants {
    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let group = group(data)?;
        let change = match data.text("change")?.as_str() {
            "add" => ParticipantChange::Add,
            "remove" => ParticipantChange::Remove,
            "promote" => ParticipantChange::Promote,
            "demote" => ParticipantChange::Demote,
            _ => return Err(data.invalid("change", "must be \"add\", \"remove\", \"promote\" or \"demote\"")),
        };
        Ok(Self { group, change, participants: people(data)? })
    }
}

/// Data of `group.settings`. What is left out stays as it is, and one thing at least is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("anyOf" = ["subject", "description", "announce", "restrict", "ephemeral"].map(|name| {
    serde_json::json!({ "required": [name], "properties": { name: { "not": { "type": "null" } } } })
})))]
pub struct GroupSettings {
    /// The group: `…@g.us`.
    pub group: ChatId,
    /// Its name.
    pub subject: Option<Line<100>>,
    /// Its description.
    pub description: Option<MessageText>,
    /// Whether only administrators may write.
    pub announce: Option<bool>,
    /// Whether only administrators may change its name, picture and description.
    pub restrict: Option<bool>,
    /// After how many seconds new messages disappear: 86,400, 604,800 or 7,776,000, or 0 for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [0, 86_400, 604_800, 7_776_000, null]))]
    pub ephemeral: Option<u32>,
}

impl GroupSettings {
    /// What WhatsApp offers: never, a day, a week, 90 days.
    pub const EPHEMERAL: [u32; 4] = [0, 86_400, 604_800, 7_776_000];

    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let settings = Self {
            group: group(data)?,
            subject: data.optional_parsed("subject")?,
            description: data.optional_parsed("description")?,
            announce: data.optional_flag("announce")?,
            restrict: data.optional_flag("restrict")?,
            ephemeral: ephemeral(data)?,
        };
        let Self { subject, description, announce, restrict, ephemeral, .. } = &settings;
        let flags = [announce, restrict].into_iter().all(Option::is_none);
        if flags && subject.is_none() && description.is_none() && ephemeral.is_none() {
            let why = "is missing, and so are description, announce, restrict and ephemeral: give one of them";
            return Err(data.invalid("subject", why));
        }
        Ok(settings)
    }
}

fn ephemeral(data: &mut Fields) -> Result<Option<u32>, Rejection> {
    let Some(value) = data.take("ephemeral") else { return Ok(None) };
    let offered =
        value.as_u64().and_then(|secs| GroupSettings::EPHEMERAL.into_iter().find(|known| u64::from(*known) == secs));
    let why = || data.invalid("ephemeral", "must be 0, 86400, 604800 or 7776000");
    Ok(Some(offered.ok_or_else(why)?))
}

/// Data of `group.invite`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct InviteLink {
    /// A group that one administrates: `…@g.us`.
    pub group: ChatId,
    /// Whether the link so far stops working and a new one takes its place. The default is no.
    #[schemars(with = "Option<bool>")]
    pub revoke: bool,
}

impl InviteLink {
    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self { group: group(data)?, revoke: data.optional_flag("revoke")?.unwrap_or(false) })
    }
}

/// Data of `group.leave`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LeaveGroup {
    /// The group: `…@g.us`.
    pub group: ChatId,
}

impl LeaveGroup {
    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self { group: group(data)? })
    }
}
