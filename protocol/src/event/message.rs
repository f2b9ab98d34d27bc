//! Events about messages. Chats, message ids and acknowledgement levels keep WhatsApp's own words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::content::{Medium, Place, Question, Quoted, VisitingCard};
use crate::command::Reference;
use crate::id::CommandId;
use crate::personal::Personal;
use crate::provider::Provider;
use crate::timestamp::Timestamp;

/// One message. Data of `message.received`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// WhatsApp's key, unique within a session: `true|false_<chat>_<id>`, in groups with `_<participant>` behind.
    pub key: Personal,
    /// WhatsApp's id of the message, the third part of the key.
    pub id: String,
    /// The chat: `…@c.us`, `…@lid`, `…@g.us`, or a form that WhatsApp adds.
    pub chat_id: Personal,
    /// Who wrote it.
    pub sender: Sender,
    /// What it is, in WhatsApp's words: `chat` is a text, then `image`, `ptt`, `document`, ….
    pub kind: String,
    /// The text, or the caption of a medium.
    pub text: Option<Personal>,
    /// When it was sent, by WhatsApp's clock; whole seconds.
    pub timestamp: Timestamp,
    /// Whether a medium hangs on it.
    pub has_media: bool,
    /// The id of the message that it quotes.
    pub quoted_id: Option<String>,
    /// The name the sender gave themselves.
    pub notify_name: Option<Personal>,
    /// Who carried it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// The place that was sent. This and what follows is only there where the message holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Place>,
    /// The visiting cards that were sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<VisitingCard>,
    /// The question that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<Question>,
    /// What is known of the medium.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<Medium>,
    /// The people that are mentioned: `…@c.us` or `…@lid`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<Personal>,
    /// How often it was passed on before it came here, as far as WhatsApp counts; without it, it was written for this chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<u32>,
    /// The message that it answers, as far as its sender repeated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quoted: Option<Quoted>,
}

/// Who wrote a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sender {
    /// The identity WhatsApp used: `…@c.us` or `…@lid`.
    pub id: Personal,
    /// The phone number in E.164 digits, when it is known.
    pub phone: Option<Personal>,
    /// The `…@lid` identity, when it is known.
    pub lid: Option<Personal>,
    /// Which of the two WhatsApp itself uses for this person: key contacts by that one.
    pub authoritative: Authoritative,
}

/// Which identity of a person WhatsApp uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Authoritative {
    /// The number-hiding identity.
    Lid,
    /// The phone number.
    Phone,
}

/// Data of `message.sent`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MessageSent {
    /// The message.
    #[serde(flatten)]
    pub message: Message,
    /// Where it was written.
    pub source: MessageSource,
    /// The caller's own name for it, when a command sent it.
    pub reference: Option<Reference>,
    /// The command that sent it, when one did.
    pub command_id: Option<CommandId>,
}

/// Where an own message was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageSource {
    /// By this session.
    ThisSession,
    /// On the phone, or on another linked device.
    Phone,
}

/// Data of `message.ack`. For one message the level only grows; `failed` follows `pending`, and of a
/// message that the Cloud API carried `sent` too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageAck {
    /// WhatsApp's key of the message.
    pub key: Personal,
    /// WhatsApp's id of the message.
    pub id: String,
    /// The chat.
    pub chat_id: Personal,
    /// The level, as WhatsApp's number and as a name.
    #[serde(flatten)]
    pub ack: Ack,
    /// The caller's own name for the message, when a command sent it.
    pub reference: Option<Reference>,
    /// The command that sent it, when one did.
    pub command_id: Option<CommandId>,
    /// Who carried the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
}

/// How far a message got: WhatsApp's number and a name for it, which always belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "AckFields", into = "AckFields")]
#[schemars(with = "AckFields")]
pub struct Ack {
    name: AckName,
}

/// The names of WhatsApp's acknowledgement levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AckName {
    /// −1: WhatsApp refused it, or could not send it.
    Failed,
    /// 0: on its way to WhatsApp's server.
    Pending,
    /// 1: on WhatsApp's server.
    Sent,
    /// 2: on the recipient's device.
    Delivered,
    /// 3: read.
    Read,
    /// 4: a voice message was listened to.
    Played,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct AckFields {
    /// WhatsApp's number.
    #[schemars(range(min = -1, max = 4))]
    ack: i8,
    /// Its name.
    name: AckName,
}

impl Ack {
    /// From WhatsApp's number; everything below 0 is a failure, and whatever WhatsApp may add above 4 counts as played.
    pub fn from_number(number: i64) -> Self {
        Self {
            name: match number {
                ..0 => AckName::Failed,
                0 => AckName::Pending,
                1 => AckName::Sent,
                2 => AckName::Delivered,
                3 => AckName::Read,
                4.. => AckName::Played,
            },
        }
    }

    /// WhatsApp's number, from −1 to 4.
    pub fn number(self) -> i8 {
        match self.name {
            AckName::Failed => -1,
            AckName::Pending => 0,
            AckName::Sent => 1,
            AckName::Delivered => 2,
            AckName::Read => 3,
            AckName::Played => 4,
        }
    }

    /// Its name.
    pub fn name(self) -> AckName {
        self.name
    }
}

impl From<AckName> for Ack {
    fn from(name: AckName) -> Self {
        Self { name }
    }
}

impl From<Ack> for AckFields {
    fn from(ack: Ack) -> Self {
        Self { ack: ack.number(), name: ack.name }
    }
}

impl TryFrom<AckFields> for Ack {
    type Error = &'static str;

    fn try_from(fields: AckFields) -> Result<Self, Self::Error> {
        let ack = Self { name: fields.name };
        if ack.number() == fields.ack { Ok(ack) } else { Err("the number and the name of the ack differ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_carry_whatsapps_number_and_its_name() {
        let cases = [
            (-7, -1, AckName::Failed),
            (-1, -1, AckName::Failed),
            (0, 0, AckName::Pending),
            (1, 1, AckName::Sent),
            (2, 2, AckName::Delivered),
            (3, 3, AckName::Read),
            (4, 4, AckName::Played),
            (5, 4, AckName::Played),
        ];
        for (number, kept, name) in cases {
            let ack = Ack::from_number(number);
            assert_eq!((ack.number(), ack.name()), (kept, name));
            assert_eq!(Ack::from(name), ack);
        }
        assert!(AckName::Failed < AckName::Pending && AckName::Read < AckName::Played);
    }

    #[test]
    fn a_number_with_the_wrong_name_is_refused() {
        assert!(serde_json::from_str::<Ack>(r#"{"ack":2,"name":"delivered"}"#).is_ok());
        assert!(serde_json::from_str::<Ack>(r#"{"ack":2,"name":"sent"}"#).is_err());
    }
}
