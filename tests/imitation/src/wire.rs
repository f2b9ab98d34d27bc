//! The wire between the page and the cloud: JSON text frames on `/ws/chat`, each with its kind in `t`.
//!
//! The real page speaks an encrypted binary protocol here. None of it is imitated: the page's users (wa-js and the
//! adapter around it) see models and modules, never the wire. What is kept is the *conversation*: who may speak when,
//! what is acknowledged, and what a lost frame means.
//!
//! A request carries `q`; its answer is a [`ToPage::Reply`] with the same `q`. A frame that must not get lost carries
//! `n`; the cloud keeps it until the page says [`FromPage::Received`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{Address, GroupId, Lid, Number};
use crate::qr::PageKeys;

/// What the page says.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub(crate) enum FromPage {
    /// The first frame: who is calling. `secret` is the credential of a linked device.
    Hello { keys: PageKeys, secret: Option<String> },
    /// The page stored the credentials it was given; the cloud then restarts the stream (code 515).
    DeviceSigned,
    /// The passkey's answer, or none; and the origin of the page that asked.
    Passkey { assertion: Option<Value>, origin: String },
    /// "Link with phone number" was chosen.
    LinkCode { q: u64, phone: Number },
    /// Is this number on WhatsApp, and what is its LID? And the other way round.
    Exists { q: u64, wid: Address },
    /// A message to send. `resent` is set when the page repeats one that was never acknowledged.
    /// `content` is whatever a message of its kind holds besides its body.
    Send {
        q: u64,
        chat: Address,
        id: String,
        kind: String,
        body: String,
        #[serde(default)]
        content: Value,
        resent: bool,
    },
    /// A queued frame was stored.
    Received { n: u64 },
    /// The user read these messages of a chat.
    Seen { chat: Address, ids: Vec<String> },
    /// Something is set in the account: a star, an archived chat, a blocked contact, ….
    Set { q: u64, setting: String, of: String, value: Value },
    /// Somebody who administrates a group changes it, or somebody leaves it.
    GroupChange { q: u64, group: GroupId, change: String, participants: Vec<Address>, value: Value },
    /// A group is made.
    GroupCreate { q: u64, subject: String, participants: Vec<Address> },
    /// The code by which people come into a group is asked for, or replaced.
    GroupInvite { q: u64, group: GroupId, revoke: bool },
    /// Typing, recording, paused.
    Chatstate { chat: Address, state: String },
    /// The user logs out from the page.
    Logout { q: u64 },
    /// Is anybody there?
    Ping,
}

/// What the cloud says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub(crate) enum ToPage {
    /// Show this reference.
    Qr { reference: String },
    /// There are no more references.
    QrIdle,
    /// The code was good; now the owner's passkey. Milliseconds.
    Passkey { challenge: String, relying_party: String, credential: String, timeout: u64 },
    /// A phone linked this device: store these credentials and say `device_signed`.
    Paired { me: Me, secret: String },
    /// Login accepted. `queued` counts the frames that waited for the device.
    Success {
        me: Me,
        address_book: Vec<Person>,
        groups: Vec<Group>,
        labels: Vec<LabelOfAccount>,
        restriction: Option<Restriction>,
        queued: usize,
    },
    /// Messages from before the device was linked, the oldest of each chat first.
    History { messages: Vec<WireMessage> },
    /// Every frame that waited has been sent.
    OfflineEnd,
    /// Login refused.
    Failure { code: u16, ban: Option<Ban> },
    /// The stream ends: 515 restart, 401 device removed, 440 replaced by another connection.
    StreamError { code: u16 },
    /// The answer to a request: either `ok` or `error`.
    Reply {
        q: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        ok: Option<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<u16>,
    },
    /// Something of an account's life that the device must not miss.
    Queued { n: u64, item: Item },
    /// Somebody's typing state; lost when nobody listens.
    Presence { chat: Address, state: String },
    /// Somebody calls; lost when nobody listens.
    Call { id: String, from: Lid, video: bool, began: u64 },
    /// All labels of the account, one of which changed.
    Labels { labels: Vec<LabelOfAccount> },
    /// The account may not write to strangers for a while; `None` lifts it.
    Restriction { restriction: Option<Restriction> },
    /// I am here.
    Pong,
}

/// What is kept for a device until it acknowledges it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "item", rename_all = "snake_case")]
pub(crate) enum Item {
    /// A message of another account, of the own phone, or of another device of the own account.
    Message { message: WireMessage },
    /// Delivered (2) or read (3), for own messages.
    Receipt { chat: Address, ids: Vec<String>, ack: i8, participant: Option<Lid> },
    /// The account was put into a group, or its participants changed.
    Group { group: Group, deed: Option<GroupDeed> },
}

/// A message as a device sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct WireMessage {
    pub(crate) id: String,
    pub(crate) chat: Address,
    pub(crate) from_me: bool,
    /// Who wrote it; the page needs it in groups.
    pub(crate) sender: Lid,
    /// The number behind the chat's LID (behind the sender's in groups), so that the page can translate.
    #[serde(serialize_with = "as_wid")]
    pub(crate) number: Number,
    pub(crate) name: Option<String>,
    pub(crate) kind: String,
    pub(crate) body: String,
    /// What a message of its kind holds besides its body.
    pub(crate) content: Value,
    /// Unix seconds.
    pub(crate) t: u64,
}

/// The account a device belongs to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Me {
    #[serde(serialize_with = "as_wid")]
    pub(crate) number: Number,
    pub(crate) lid: Lid,
    pub(crate) device: u32,
    pub(crate) name: String,
    pub(crate) platform: String,
}

/// A label of a business account, and the chats that have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LabelOfAccount {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The number of one of WhatsApp's colors.
    pub(crate) color: u32,
    pub(crate) chats: Vec<String>,
}

/// An entry of the phone's address book.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Person {
    #[serde(serialize_with = "as_wid")]
    pub(crate) number: Number,
    pub(crate) lid: Lid,
    pub(crate) name: String,
}

/// The page knows numbers as `…@c.us` only.
fn as_wid<S: serde::Serializer>(number: &Number, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&number.wid())
}

/// A group as its members see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) subject: String,
    pub(crate) description: Option<String>,
    /// Only administrators may write.
    pub(crate) announce: bool,
    /// Only administrators may change what it is called.
    pub(crate) restrict: bool,
    /// Seconds after which new messages disappear; 0: never.
    pub(crate) ephemeral: u64,
    pub(crate) owner: Lid,
    /// Its picture as its two `data:` URLs, small and large.
    #[serde(skip)]
    pub(crate) picture: Option<(String, String)>,
    /// How often the code by which people come in was replaced.
    #[serde(skip)]
    pub(crate) codes: u32,
    pub(crate) admins: Vec<Lid>,
    pub(crate) participants: Vec<Person>,
}

/// What somebody did to people in a group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct GroupDeed {
    /// `add`, `remove`, `promote`, `demote`, or the name of a setting.
    pub(crate) action: String,
    pub(crate) author: Lid,
    pub(crate) participants: Vec<Lid>,
    /// Unix seconds.
    pub(crate) at: u64,
}

/// "You can't start new chats": WhatsApp's reach-out timelock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Restriction {
    /// Unix seconds at which it ends.
    pub(crate) until: u64,
}

/// A temporary ban, told at login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Ban {
    /// 101 too many people, 102 blocked by users, 103 too many groups, 104 same message to many, 106 broadcast list.
    pub(crate) reason: u16,
    /// Seconds until it ends.
    pub(crate) seconds: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_carry_their_kind_in_t() {
        let frame = ToPage::Reply { q: 7, ok: None, error: Some(463) };
        assert_eq!(serde_json::to_value(frame).ok(), Some(serde_json::json!({"t": "reply", "q": 7, "error": 463})));
        let frame: FromPage = serde_json::from_str(r#"{"t":"received","n":3}"#).expect("a frame of the page");
        assert!(matches!(frame, FromPage::Received { n: 3 }));
    }

    #[test]
    fn a_frame_with_a_wrong_address_is_refused() {
        let frame = r#"{"t":"seen","chat":"nonsense","ids":[]}"#;
        assert!(serde_json::from_str::<FromPage>(frame).is_err());
    }
}
