//! What the page says: the types that cross from the tab into the worker.
//!
//! All ids are strings in WhatsApp's own form: a chat or a person is `…@c.us` (by phone
//! number), `…@lid` (by the number-free id that replaces it) or `…@g.us` (a group); a message
//! key is `true|false_<chat>_<id>` and, in groups, `_<participant>` behind it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The own account, known once the device is linked and its socket is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Me {
    /// The own phone number as an id: `…@c.us`, without a device part.
    pub id: String,
    /// The own number-free id, `…@lid`, on accounts that have one.
    #[serde(default)]
    pub lid: Option<String>,
    /// The name that contacts see.
    #[serde(default)]
    pub name: Option<String>,
    /// What the phone is: `android`, `iphone`, `smba`, …
    #[serde(default)]
    pub platform: Option<String>,
}

/// Where the page stands, as its own models say it. Words are WhatsApp's, upper case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `QR`, `SYNCING`, `MAIN`, `CONFLICT`, `DEPRECATED_VERSION`, … ; `None` before the model exists.
    #[serde(default)]
    pub stream_mode: Option<String>,
    /// `OPENING`, `PAIRING`, `SYNCING`, `RESUMING`, `NORMAL`, …
    #[serde(default)]
    pub stream_info: Option<String>,
    /// `OPENING`, `PAIRING`, `UNPAIRED`, `UNPAIRED_IDLE`, `CONNECTED`, `CONFLICT`, …
    #[serde(default)]
    pub socket_state: Option<String>,
    /// The page holds the credentials of a linked device.
    #[serde(default)]
    pub registered: bool,
    /// The page counts itself as logged in.
    #[serde(default)]
    pub logged_in: bool,
    /// The own account, when known.
    #[serde(default)]
    pub me: Option<Me>,
    /// WhatsApp restricts the account: it may not write to people it never exchanged a message with. `None`: not known.
    #[serde(default)]
    pub restricted: Option<bool>,
    /// The version of WhatsApp Web that is running.
    #[serde(default)]
    pub version: Option<String>,
}

impl Status {
    /// Linked, socket open, chats loaded, own number known: messages can go and come.
    pub fn is_online(&self) -> bool {
        self.registered
            && self.me.is_some()
            && self.stream_mode.as_deref() == Some("MAIN")
            && self.socket_state.as_deref() == Some("CONNECTED")
    }
}

/// What the adapter found of the page functions that it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// How many bindings were tried.
    pub tried: u32,
    /// The names of those that are not there; empty when this WhatsApp Web version fits.
    pub missing: Vec<String>,
    /// The version of WhatsApp Web.
    #[serde(default)]
    pub version: Option<String>,
    /// The version of the in-page library, `@wppconnect/wa-js`.
    #[serde(default)]
    pub library: Option<String>,
}

/// Where an own message was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageSource {
    /// Sent through this page.
    ThisSession,
    /// Written on the phone or on another linked device.
    Phone,
}

/// A message that is in the page's store. System entries are not messages and never appear.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The full key: `true|false_<chat>_<id>[_<participant>]`.
    pub key: String,
    /// The id inside the key.
    pub id: String,
    /// The chat it belongs to.
    pub chat_id: String,
    /// Whether the own account wrote it.
    pub from_me: bool,
    /// Who wrote it; in a group the participant, else the other end or the own account.
    pub sender_id: String,
    /// The sender's phone number as `…@c.us`, when the page knows it.
    #[serde(default)]
    pub sender_phone: Option<String>,
    /// The sender's number-free id, when the page knows it.
    #[serde(default)]
    pub sender_lid: Option<String>,
    /// `chat` (text), `image`, `video`, `ptt`, `document`, `location`, … in WhatsApp's words.
    pub kind: String,
    /// The text, or the caption of a medium.
    #[serde(default)]
    pub text: Option<String>,
    /// Unix seconds, by WhatsApp's clock.
    pub timestamp: i64,
    /// See [`Ack::ack`].
    pub ack: i8,
    /// Whether a file belongs to it.
    #[serde(default)]
    pub has_media: bool,
    /// The bytes of that file, as its sender told them.
    #[serde(default)]
    pub media_size: Option<u64>,
    /// The id of the message that it answers.
    #[serde(default)]
    pub quoted_id: Option<String>,
    /// The name that the sender gave itself.
    #[serde(default)]
    pub notify_name: Option<String>,
    /// Own messages only: where it was written.
    #[serde(default)]
    pub source: Option<MessageSource>,
    /// The place that was sent.
    #[serde(default)]
    pub location: Option<Location>,
    /// The visiting cards that were sent.
    #[serde(default)]
    pub contacts: Vec<VisitingCard>,
    /// The question that was asked.
    #[serde(default)]
    pub poll: Option<Poll>,
    /// What is known of its file.
    #[serde(default)]
    pub media: Option<Media>,
    /// The people that are mentioned.
    #[serde(default)]
    pub mentions: Vec<String>,
    /// How often it was passed on before; `None`: it was not.
    #[serde(default)]
    pub forwarded: Option<u32>,
    /// The message that it answers, as its sender repeated it.
    #[serde(default)]
    pub quoted: Option<Quoted>,
}

/// A place on the map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Location {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// What it is called.
    #[serde(default)]
    pub name: Option<String>,
    /// Where it is, for people.
    #[serde(default)]
    pub address: Option<String>,
    /// What opens when somebody taps on it.
    #[serde(default)]
    pub url: Option<String>,
}

/// A visiting card that came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VisitingCard {
    /// The name that is shown.
    #[serde(default)]
    pub name: Option<String>,
    /// The vCard.
    pub vcard: String,
}

/// A question with answers to choose from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// The question.
    pub question: String,
    /// The answers.
    pub options: Vec<String>,
    /// Whether one person may choose several.
    pub multiple: bool,
}

/// What is known of a file without downloading it. Numbers are what the sender wrote.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Media {
    /// Its type.
    #[serde(default)]
    pub mimetype: Option<String>,
    /// Its size in bytes.
    #[serde(default)]
    pub size: Option<f64>,
    /// The name of a document.
    #[serde(default)]
    pub filename: Option<String>,
    /// How long a sound or a video is.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// The width of a picture or video in pixels.
    #[serde(default)]
    pub width: Option<f64>,
    /// The height of a picture or video in pixels.
    #[serde(default)]
    pub height: Option<f64>,
}

/// A message that another one answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quoted {
    /// Its id.
    pub id: String,
    /// Who wrote it.
    #[serde(default)]
    pub sender_id: Option<String>,
    /// What it is, in WhatsApp's words.
    #[serde(default)]
    pub kind: Option<String>,
    /// Its text, or the caption of its medium.
    #[serde(default)]
    pub text: Option<String>,
}

/// Somebody, by all ids that the page knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The id that the page used.
    pub id: String,
    /// The phone number as `…@c.us`.
    #[serde(default)]
    pub phone: Option<String>,
    /// The number-free id.
    #[serde(default)]
    pub lid: Option<String>,
}

/// Somebody reacted to a message, or took the reaction back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// The key of the message.
    pub key: String,
    /// The chat.
    pub chat_id: String,
    /// Who reacted.
    pub sender: Person,
    /// Whether that is the own account.
    pub from_me: bool,
    /// The emoji; `None`: taken back.
    #[serde(default)]
    pub emoji: Option<String>,
    /// Unix milliseconds.
    pub at_ms: i64,
}

/// Somebody chose answers of a poll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The key of the poll.
    pub key: String,
    /// The chat.
    pub chat_id: String,
    /// Who voted.
    pub sender: Person,
    /// Whether that is the own account.
    pub from_me: bool,
    /// All answers that are chosen now.
    pub options: Vec<String>,
    /// Unix milliseconds.
    pub at_ms: i64,
}

/// What somebody does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Online.
    Available,
    /// Not online, or not to be seen.
    Unavailable,
    /// Typing.
    Typing,
    /// Recording a voice message.
    Recording,
}

/// Who is in a group, or administrates it, changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupChange {
    /// The group.
    pub chat_id: String,
    /// What happened.
    pub change: GroupDeed,
    /// Who did it, if that is known.
    #[serde(default)]
    pub author: Option<Person>,
    /// To whom.
    pub participants: Vec<Person>,
}

/// What a group is called, or who may do what in it, changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupUpdate {
    /// The group.
    pub chat_id: String,
    /// What changed.
    pub changed: Vec<GroupSetting>,
    /// Its name now.
    #[serde(default)]
    pub subject: Option<String>,
    /// Its description now.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether only administrators may write.
    pub announce: bool,
    /// Whether only administrators may change what it is called.
    pub restrict: bool,
    /// After how many seconds new messages disappear; 0: never.
    pub ephemeral: u64,
}

/// Something that is set for a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupSetting {
    /// Its name.
    Subject,
    /// Its description.
    Description,
    /// Who may write.
    Announce,
    /// Who may change what it is called.
    Restrict,
    /// When messages disappear.
    Ephemeral,
}

/// What happened to people in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupDeed {
    /// Added.
    Add,
    /// Came by an invitation.
    Join,
    /// Removed.
    Remove,
    /// Left.
    Leave,
    /// Became administrators.
    Promote,
    /// Are administrators no more.
    Demote,
}

/// Somebody calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// WhatsApp's id of the call.
    pub id: String,
    /// Who calls.
    pub sender: Person,
    /// Whether it is a video call.
    pub video: bool,
    /// Whether it is a call to a group.
    pub group: bool,
    /// Unix milliseconds.
    pub at_ms: i64,
}

/// How far own messages have come. Per key it only ever rises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Full keys of the messages.
    pub keys: Vec<String>,
    /// The chat that they belong to.
    pub chat_id: String,
    /// In a group: the participant who got it or read it.
    #[serde(default)]
    pub sender_id: Option<String>,
    /// -1 failed, 0 pending, 1 taken by the server, 2 on the other phone, 3 read, 4 played.
    pub ack: i8,
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Draft {
    /// A phone number in E.164 digits, or `…@c.us`, `…@lid`, `…@g.us`.
    pub to: String,
    /// The id to send it under: `3EB0` and 18 upper-case hexadecimal digits, as the page makes them itself.
    pub message_id: String,
    /// What it holds.
    pub content: DraftContent,
    /// The key of the message that it answers.
    pub reply_to: Option<String>,
}

impl Draft {
    /// A plain text that answers no other message.
    pub fn text(to: impl Into<String>, message_id: impl Into<String>, text: impl Into<String>) -> Self {
        let content =
            DraftContent::Text { text: text.into(), mentions: Vec::new(), link_preview: false, background: None };
        Self { to: to.into(), message_id: message_id.into(), content, reply_to: None }
    }
}

/// What a message to be sent holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DraftContent {
    /// A text.
    Text {
        /// The text.
        text: String,
        /// The people it mentions, in the forms of [`Draft::to`]; the text names them as `@` and the digits of their ids.
        mentions: Vec<String>,
        /// Whether the page makes a preview of its first link.
        link_preview: bool,
        /// What is behind the text of a story: `#` and six hexadecimal digits. Messages have none.
        background: Option<String>,
    },
    /// A place.
    Location {
        /// Degrees north.
        latitude: f64,
        /// Degrees east.
        longitude: f64,
        /// What it is called.
        name: Option<String>,
        /// Where it is, for people.
        address: Option<String>,
        /// What opens when somebody taps on it.
        url: Option<String>,
    },
    /// Visiting cards.
    Contact {
        /// At least one.
        contacts: Vec<Card>,
    },
    /// A question with answers to choose from.
    Poll {
        /// The question.
        question: String,
        /// The answers.
        options: Vec<String>,
        /// Whether one person may choose several.
        multiple: bool,
    },
    /// A file.
    Media {
        /// As what: `image`, `video`, `video_note`, `audio`, `voice`, `document` or `sticker`.
        #[serde(rename = "as")]
        kind: &'static str,
        /// The name that [`Page::attach`](crate::Page::attach) gave it.
        file: String,
        /// Its MIME type.
        mime: String,
        /// The name that its recipients see.
        filename: String,
        /// The text below it.
        caption: Option<String>,
        /// Its bytes: a large one may take longer.
        #[serde(skip)]
        size: u64,
    },
    /// A message of this account, passed on.
    Forward {
        /// Its key.
        message: String,
    },
}

/// A visiting card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Card {
    /// The name that is shown.
    pub name: String,
    /// The vCard.
    pub vcard: String,
}

/// What became of a send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The full key.
    pub key: String,
    /// The chat's real id, which for a phone number is most often its `…@lid`.
    pub chat_id: String,
    /// See [`Ack::ack`]; 0 means that the page holds it and sends it as soon as it can.
    pub ack: i8,
    /// The page had a message of this id already: nothing was sent by this call.
    pub found: bool,
    /// Unix seconds, by WhatsApp's clock where it is known.
    pub timestamp: i64,
}

/// What happens in the tab, in the order in which it happened.
#[derive(Debug, Clone, PartialEq)]
pub enum PageEvent {
    /// Something in [`Status`] changed.
    State(Status),
    /// A code to scan: the string that belongs into the QR picture.
    Qr {
        /// `ref,noise key,identity key,secret` as the phone wants it.
        code: String,
        /// The first of a series: WhatsApp Web lets it stand for 60 s, the five after it for 20 s each.
        first: bool,
    },
    /// The page has stopped showing codes until [`Page::refresh_qr`](crate::Page::refresh_qr).
    QrIdle,
    /// The eight characters to type on the phone, asked for or renewed by the page.
    LinkCode {
        /// The code.
        code: String,
        /// Unix seconds, when the page says it.
        expires_at: Option<i64>,
    },
    /// The page has the answer to its request for a passkey.
    PasskeyAnswered,
    /// WhatsApp asks for a passkey. [`Page::answer_passkey`](crate::Page::answer_passkey) answers.
    Passkey {
        /// Names the request.
        id: String,
        /// WebAuthn's `PublicKeyCredentialRequestOptionsJSON`.
        request: serde_json::Value,
        /// The page's origin, which the answer has to be for.
        origin: String,
        /// Unix seconds, after which the page waits no longer.
        expires_at: i64,
    },
    /// The in-page library is up; says what of it fits this version of WhatsApp Web.
    Ready(Capabilities),
    /// A message came in, or the own account wrote one.
    Message(Message),
    /// Own messages got further.
    Ack(Ack),
    /// A message has another wording.
    Edited {
        /// The message as it is now.
        message: Message,
        /// When it was changed, in Unix milliseconds, if that is known.
        at_ms: Option<i64>,
    },
    /// A message was taken back for everybody.
    Revoked {
        /// Its key.
        key: String,
        /// The chat.
        chat_id: String,
        /// Whether the own account had written it.
        from_me: bool,
    },
    /// Somebody reacted to a message.
    Reaction(Reaction),
    /// Somebody chose answers of a poll.
    Vote(Vote),
    /// A message is there that cannot be read yet; it holds nothing. [`Message`](Self::Message) follows if that changes.
    Waiting(Message),
    /// What somebody does at the moment.
    Presence {
        /// The chat.
        chat_id: String,
        /// In a group: who.
        participant: Option<String>,
        /// What they do.
        state: Presence,
    },
    /// Who is in a group, or administrates it, changed.
    Group(GroupChange),
    /// What a group is called, or who may do what in it, changed.
    GroupUpdate(GroupUpdate),
    /// WhatsApp's server has not acknowledged an own message for longer than [`PageOptions::stalled`](super::PageOptions).
    Stalled {
        /// The key of the message.
        key: String,
        /// The chat.
        chat_id: String,
        /// When it was written, in Unix milliseconds.
        at_ms: i64,
    },
    /// There is another label, or it is called otherwise, or gone.
    Label {
        /// WhatsApp's id of it.
        id: String,
        /// What it is called.
        name: String,
        /// `#` and six hexadecimal digits.
        color: Option<String>,
        /// Whether it is gone.
        deleted: bool,
    },
    /// A chat has got a label, or lost it.
    ChatLabel {
        /// The chat.
        chat_id: String,
        /// The label's id.
        label_id: String,
        /// What the label is called, where that is known.
        label: Option<String>,
        /// Whether the chat has it now.
        labelled: bool,
    },
    /// Somebody calls.
    Call(Call),
    /// The page takes its line for open, and the server has not answered two questions.
    Silent {
        /// How long nothing has come from the server.
        since: Duration,
    },
    /// A new document has begun to load; calls fail with [`CallError::NotReady`](crate::CallError::NotReady) until it is up.
    Loading,
    /// The tab's process is gone. [`Page::reload`](crate::Page::reload) or [`Page::reopen`](crate::Page::reopen) bring the page back.
    Crashed {
        /// Chromium's words for it: `crashed`, `killed`, `oom`, …
        reason: String,
    },
    /// The tab no longer answers, though it was asked to drop what it runs.
    Hung,
    /// The connection to the browser is gone; this is the last event.
    Detached,
    /// Something could not be understood. It was left out, the session goes on.
    Fault {
        /// What, in words fit for a log.
        what: String,
    },
}
