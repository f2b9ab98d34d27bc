//! What the page says, in the words of the protocol.

use std::collections::{HashMap, VecDeque};

use wafleet_browser::{Capabilities, Message as PageMessage, MessageSource as PageSource};
use wafleet_protocol::command::Reference;
use wafleet_protocol::event::{
    Ack, Authoritative, Event, Message, MessageAck, MessageSent, MessageSource, RuntimeIncompatible, Sender,
};
use wafleet_protocol::id::{CommandId, EventId, SessionId};
use wafleet_protocol::personal::Personal;
use wafleet_protocol::provider::Provider;
use wafleet_protocol::timestamp::Timestamp;

/// Message keys and own messages remembered per session; older ones are told apart by their event ids and the ledger.
const REMEMBERED: usize = 4096;

/// The command that sent a message, and the caller's own name for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    pub(crate) command: Option<CommandId>,
    pub(crate) reference: Option<Reference>,
}

impl Origin {
    /// From the ledger's text columns.
    pub(crate) fn from_ledger(command: &str, reference: Option<String>) -> Self {
        Self { command: command.parse().ok(), reference: reference.and_then(|text| text.try_into().ok()) }
    }
}

/// What was told already, so that the same thing is not told twice under one fence.
#[derive(Debug, Default)]
pub(crate) struct Told {
    messages: Recent<()>,
    acks: Recent<i8>,
    origins: Recent<Origin>,
}

impl Told {
    /// Whether this message is new.
    pub(crate) fn is_new_message(&self, key: &str) -> bool {
        self.messages.get(key).is_none()
    }

    /// It is told.
    pub(crate) fn remember_message(&mut self, key: &str) {
        self.messages.insert(key, ());
    }

    /// Whether this ack is higher than what was told of the message. A failure is told once and only before anything else
    /// was; levels only grow.
    pub(crate) fn is_new_ack(&self, key: &str, ack: i8) -> bool {
        self.acks.get(key).is_none_or(|known| ack > *known)
    }

    /// It is told.
    pub(crate) fn remember_ack(&mut self, key: &str, ack: i8) {
        self.acks.insert(key, ack);
    }

    /// Remembers which command a message id belongs to.
    pub(crate) fn remember_origin(&mut self, message_id: &str, origin: Origin) {
        self.origins.insert(message_id, origin);
    }

    /// The command a message id belongs to, if it is remembered.
    pub(crate) fn origin(&self, message_id: &str) -> Option<&Origin> {
        self.origins.get(message_id)
    }
}

/// A map that forgets its oldest entries.
#[derive(Debug)]
struct Recent<T> {
    map: HashMap<String, T>,
    order: VecDeque<String>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { map: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Recent<T> {
    fn get(&self, key: &str) -> Option<&T> {
        self.map.get(key)
    }

    fn insert(&mut self, key: &str, value: T) -> Option<T> {
        let before = self.map.insert(key.to_owned(), value);
        if before.is_none() {
            self.order.push_back(key.to_owned());
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.map.remove(&oldest);
            }
        }
        before
    }
}

/// The event of a message, and its id: derived from WhatsApp's key, so that a consumer can deduplicate across crashes.
pub(crate) fn message(session: &SessionId, message: &PageMessage, origin: Option<&Origin>) -> (EventId, Event) {
    let at = u64::try_from(message.timestamp).unwrap_or(0);
    let told = Message {
        key: message.key.as_str().into(),
        id: message.id.clone(),
        chat_id: message.chat_id.as_str().into(),
        sender: sender(message),
        kind: message.kind.clone(),
        text: message.text.as_deref().map(Personal::from),
        timestamp: Timestamp::from_unix_secs(at),
        has_media: message.has_media,
        quoted_id: message.quoted_id.clone(),
        notify_name: message.notify_name.as_deref().map(Personal::from),
        provider: Some(Provider::Web),
    };
    let kind = if message.from_me { "message.sent" } else { "message.received" };
    let id = EventId::derive(at.saturating_mul(1000), &[kind, session.as_str(), &message.key]);
    if !message.from_me {
        return (id, Event::MessageReceived(told));
    }
    let origin = origin.cloned().unwrap_or_default();
    let source = match message.source {
        Some(PageSource::ThisSession) => MessageSource::ThisSession,
        Some(PageSource::Phone) => MessageSource::Phone,
        None if origin.command.is_some() => MessageSource::ThisSession,
        None => MessageSource::Phone,
    };
    (
        id,
        Event::MessageSent(MessageSent {
            message: told,
            source,
            reference: origin.reference,
            command_id: origin.command,
        }),
    )
}

fn sender(message: &PageMessage) -> Sender {
    let digits = |id: &str| Personal::from(id.split(['@', ':']).next().unwrap_or_default());
    Sender {
        id: message.sender_id.as_str().into(),
        phone: message.sender_phone.as_deref().map(digits),
        lid: message.sender_lid.as_deref().map(Personal::from),
        authoritative: if message.sender_id.ends_with("@lid") { Authoritative::Lid } else { Authoritative::Phone },
    }
}

/// The event of an ack, and its id.
pub(crate) fn ack(session: &SessionId, key: &str, chat_id: &str, ack: i8, origin: Option<&Origin>) -> (EventId, Event) {
    let level = Ack::from_number(i64::from(ack));
    let number = level.number().to_string();
    let origin = origin.cloned().unwrap_or_default();
    // WhatsApp gives no moment for an ack, and ours would differ after a crash: the id has none.
    let id = EventId::derive(0, &["message.ack", session.as_str(), key, &number]);
    let told = MessageAck {
        key: key.into(),
        id: message_id(key).to_owned(),
        chat_id: chat_id.into(),
        ack: level,
        reference: origin.reference,
        command_id: origin.command,
        provider: Some(Provider::Web),
    };
    (id, Event::MessageAck(told))
}

/// The third part of a message key `true_<chat>_<id>[_<participant>]`.
pub(crate) fn message_id(key: &str) -> &str {
    key.split('_').nth(2).unwrap_or(key)
}

/// What this version of WhatsApp Web lacks.
pub(crate) fn incompatible(capabilities: &Capabilities) -> Event {
    Event::RuntimeIncompatible(RuntimeIncompatible {
        missing: capabilities.missing.clone(),
        capabilities: capabilities.missing.iter().map(|name| (name.clone(), false)).collect(),
        page_version: capabilities.version.clone(),
    })
}

/// Own number of a chat id: `4915112345678@c.us` and `4915112345678:12@c.us` both give the digits.
pub(crate) fn phone_digits(id: &str) -> &str {
    id.split(['@', ':']).next().unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_is_told_once_and_only_upwards() {
        let mut told = Told::default();
        let steps = [(1, true), (1, false), (3, true), (2, false), (4, true), (-1, false)];
        for (ack, new) in steps {
            assert_eq!(told.is_new_ack("true_1@lid_A", ack), new, "ack {ack}");
            if new {
                told.remember_ack("true_1@lid_A", ack);
            }
        }
    }

    #[test]
    fn a_message_is_new_once_and_memory_is_bounded() {
        let mut told = Told::default();
        assert!(told.is_new_message("k0"));
        told.remember_message("k0");
        assert!(!told.is_new_message("k0"));
        for n in 1..=REMEMBERED {
            told.remember_message(&format!("k{n}"));
        }
        assert_eq!(told.messages.map.len(), REMEMBERED);
        assert!(told.is_new_message("k0"), "the oldest was forgotten");
    }

    #[test]
    fn the_id_of_a_message_event_depends_on_the_message_alone() {
        let session: SessionId = "s1".parse().expect("valid");
        let page = PageMessage {
            key: "false_1@lid_A".into(),
            id: "A".into(),
            chat_id: "1@lid".into(),
            from_me: false,
            sender_id: "1@lid".into(),
            sender_phone: Some("4915112345678:3@c.us".into()),
            sender_lid: Some("1@lid".into()),
            kind: "chat".into(),
            text: Some("hello".into()),
            timestamp: 1_700_000_000,
            ack: 0,
            has_media: false,
            media_size: None,
            quoted_id: None,
            notify_name: None,
            source: None,
        };
        let (first, event) = message(&session, &page, None);
        assert_eq!(first, message(&session, &page, None).0);
        let Event::MessageReceived(told) = event else { panic!("a foreign message is received") };
        assert_eq!(told.sender.phone.map(Personal::into_string).as_deref(), Some("4915112345678"));
        assert_eq!(told.sender.authoritative, Authoritative::Lid);
    }
}
