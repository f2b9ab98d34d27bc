//! What the page says, in the words of the protocol.

use std::collections::{HashMap, VecDeque};

use wafleet_browser::{
    Call, Capabilities, GroupChange, GroupDeed as PageGroupDeed, GroupSetting as PageSetting, GroupUpdate,
    Message as PageMessage, MessageSource as PageSource, Person, Presence as PagePresence, Reaction, Vote,
};
use wafleet_protocol::command::Reference;
use wafleet_protocol::event::{
    Ack, Authoritative, CallReceived, ContactMapping, Event, GroupChange as ToldChange, GroupParticipants,
    GroupSetting, GroupUpdate as ToldUpdate, Medium, Message, MessageAck, MessageEdited, MessageReaction,
    MessageRevoked, MessageSent, MessageSource, MessageStalled, MessageWaiting, Place, PollVote, PresenceState,
    PresenceUpdate, Question, Quoted, RuntimeIncompatible, Sender, VisitingCard,
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
    mappings: Recent<()>,
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

    /// Whether this pair of ids is new; then it counts as told.
    pub(crate) fn is_new_mapping(&mut self, phone: &str, lid: &str) -> bool {
        self.mappings.insert(&format!("{phone} {lid}"), ()).is_none()
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
    let told = plain(message);
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

/// A message in the words of the protocol.
pub(crate) fn plain(message: &PageMessage) -> Message {
    let personal = |text: &Option<String>| text.as_deref().map(Personal::from);
    let number = |number: Option<f64>| number.filter(|number| *number >= 0.0).map(|number| number.round() as u64);
    Message {
        key: message.key.as_str().into(),
        id: message.id.clone(),
        chat_id: message.chat_id.as_str().into(),
        sender: sender(message),
        kind: message.kind.clone(),
        text: personal(&message.text),
        timestamp: Timestamp::from_unix_secs(u64::try_from(message.timestamp).unwrap_or(0)),
        has_media: message.has_media,
        quoted_id: message.quoted_id.clone(),
        notify_name: personal(&message.notify_name),
        provider: Some(Provider::Web),
        location: message.location.as_ref().map(|place| Place {
            latitude: place.latitude,
            longitude: place.longitude,
            name: personal(&place.name),
            address: personal(&place.address),
            url: personal(&place.url),
        }),
        contacts: message
            .contacts
            .iter()
            .map(|card| VisitingCard { name: personal(&card.name), vcard: card.vcard.as_str().into() })
            .collect(),
        poll: message.poll.as_ref().map(|poll| Question {
            question: poll.question.as_str().into(),
            options: poll.options.iter().map(|option| option.as_str().into()).collect(),
            multiple: poll.multiple,
        }),
        media: message.media.as_ref().map(|media| Medium {
            mimetype: media.mimetype.clone(),
            size: number(media.size),
            filename: personal(&media.filename),
            seconds: number(media.seconds),
            width: number(media.width),
            height: number(media.height),
        }),
        mentions: message.mentions.iter().map(|id| id.as_str().into()).collect(),
        forwarded: message.forwarded,
        quoted: message.quoted.as_ref().map(|quoted| Quoted {
            id: quoted.id.clone(),
            sender_id: personal(&quoted.sender_id),
            kind: quoted.kind.clone(),
            text: personal(&quoted.text),
        }),
    }
}

fn sender(message: &PageMessage) -> Sender {
    person(&message.sender_id, message.sender_phone.as_deref(), message.sender_lid.as_deref())
}

fn person(id: &str, phone: Option<&str>, lid: Option<&str>) -> Sender {
    Sender {
        id: id.into(),
        phone: phone.map(|id| Personal::from(phone_digits(id))),
        lid: lid.map(Personal::from),
        authoritative: if id.ends_with("@lid") { Authoritative::Lid } else { Authoritative::Phone },
    }
}

fn whose(person_: &Person) -> Sender {
    person(&person_.id, person_.phone.as_deref(), person_.lid.as_deref())
}

fn moment(unix_ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(u64::try_from(unix_ms).unwrap_or(0))
}

/// The event of a message's new wording, and its id.
pub(crate) fn edited(session: &SessionId, message: &PageMessage, at_ms: Option<i64>) -> (EventId, Event) {
    let edited_at = at_ms.map(moment);
    let at = edited_at.map_or(0, Timestamp::unix_ms);
    let text = message.text.as_deref().unwrap_or_default();
    let id = EventId::derive(at, &["message.edited", session.as_str(), &message.key, text]);
    (id, Event::MessageEdited(MessageEdited { message: plain(message), edited_at }))
}

/// The event of a message that was taken back, and its id. Nobody says when.
pub(crate) fn revoked(session: &SessionId, key: &str, chat_id: &str, from_me: bool) -> (EventId, Event) {
    let id = EventId::derive(0, &["message.revoked", session.as_str(), key]);
    let told = MessageRevoked { key: key.into(), id: message_id(key).to_owned(), chat_id: chat_id.into(), from_me };
    (id, Event::MessageRevoked(told))
}

/// The event of a reaction, and its id.
pub(crate) fn reaction(session: &SessionId, reaction: &Reaction) -> (EventId, Event) {
    let timestamp = moment(reaction.at_ms);
    let emoji = reaction.emoji.as_deref();
    let parts = ["message.reaction", session.as_str(), &reaction.key, &reaction.sender.id, emoji.unwrap_or_default()];
    let told = MessageReaction {
        key: reaction.key.as_str().into(),
        id: message_id(&reaction.key).to_owned(),
        chat_id: reaction.chat_id.as_str().into(),
        sender: whose(&reaction.sender),
        from_me: reaction.from_me,
        emoji: emoji.map(Personal::from),
        timestamp,
    };
    (EventId::derive(timestamp.unix_ms(), &parts), Event::MessageReaction(told))
}

/// The event of a vote, and its id.
pub(crate) fn vote(session: &SessionId, vote: &Vote) -> (EventId, Event) {
    let timestamp = moment(vote.at_ms);
    let told = PollVote {
        key: vote.key.as_str().into(),
        id: message_id(&vote.key).to_owned(),
        chat_id: vote.chat_id.as_str().into(),
        sender: whose(&vote.sender),
        from_me: vote.from_me,
        options: vote.options.iter().map(|option| option.as_str().into()).collect(),
        timestamp,
    };
    let mut parts = vec!["poll.vote", session.as_str(), &vote.key, &vote.sender.id];
    parts.extend(vote.options.iter().map(String::as_str));
    (EventId::derive(timestamp.unix_ms(), &parts), Event::PollVote(told))
}

/// The event of a message that cannot be read yet, and its id.
pub(crate) fn waiting(session: &SessionId, message: &PageMessage) -> (EventId, Event) {
    let Message { key, id, chat_id, sender, timestamp, .. } = plain(message);
    let event_id = EventId::derive(timestamp.unix_ms(), &["message.waiting", session.as_str(), &message.key]);
    (event_id, Event::MessageWaiting(MessageWaiting { key, id, chat_id, sender, timestamp }))
}

/// The event of what somebody does at the moment. Nothing in it makes an id that no other one has.
pub(crate) fn presence(chat_id: &str, participant: Option<&str>, state: PagePresence) -> Event {
    let state = match state {
        PagePresence::Available => PresenceState::Available,
        PagePresence::Unavailable => PresenceState::Unavailable,
        PagePresence::Typing => PresenceState::Typing,
        PagePresence::Recording => PresenceState::Recording,
    };
    let told = PresenceUpdate { chat_id: chat_id.into(), participant: participant.map(Personal::from), state };
    Event::PresenceUpdate(told)
}

/// The event of a change of who is in a group. Nothing in it makes an id that no other one has.
pub(crate) fn participants(change: &GroupChange) -> Event {
    let what = match change.change {
        PageGroupDeed::Add => ToldChange::Add,
        PageGroupDeed::Join => ToldChange::Join,
        PageGroupDeed::Remove => ToldChange::Remove,
        PageGroupDeed::Leave => ToldChange::Leave,
        PageGroupDeed::Promote => ToldChange::Promote,
        PageGroupDeed::Demote => ToldChange::Demote,
    };
    Event::GroupParticipants(GroupParticipants {
        chat_id: change.chat_id.as_str().into(),
        change: what,
        author: change.author.as_ref().map(whose),
        participants: change.participants.iter().map(whose).collect(),
    })
}

/// The event of another name, description or rule of a group.
pub(crate) fn group_update(update: &GroupUpdate) -> Event {
    let setting = |setting: &PageSetting| match setting {
        PageSetting::Subject => GroupSetting::Subject,
        PageSetting::Description => GroupSetting::Description,
        PageSetting::Announce => GroupSetting::Announce,
        PageSetting::Restrict => GroupSetting::Restrict,
        PageSetting::Ephemeral => GroupSetting::Ephemeral,
    };
    Event::GroupUpdate(ToldUpdate {
        chat_id: update.chat_id.as_str().into(),
        changed: update.changed.iter().map(setting).collect(),
        subject: update.subject.as_deref().map(Personal::from),
        description: update.description.as_deref().map(Personal::from),
        announce: update.announce,
        restrict: update.restrict,
        ephemeral: update.ephemeral,
    })
}

/// Everybody whom an event names by number and by `…@lid`. Whoever owns the session knows their own.
pub(crate) fn met(event: &Event) -> Vec<(String, String)> {
    let people: Vec<&Sender> = match event {
        Event::MessageReceived(message) => vec![&message.sender],
        Event::MessageWaiting(waiting) => vec![&waiting.sender],
        Event::MessageReaction(reaction) if !reaction.from_me => vec![&reaction.sender],
        Event::PollVote(vote) if !vote.from_me => vec![&vote.sender],
        Event::CallReceived(call) => vec![&call.sender],
        Event::GroupParticipants(told) => told.author.iter().chain(&told.participants).collect(),
        _ => Vec::new(),
    };
    let both = |person: &Sender| Some((person.phone.as_ref()?.as_str().into(), person.lid.as_ref()?.as_str().into()));
    people.into_iter().filter_map(both).collect()
}

/// The event of both ids of somebody, and its id: the same whenever and by whomever it is told.
pub(crate) fn mapping(session: &SessionId, phone: &str, lid: &str) -> (EventId, Event) {
    let id = EventId::derive(0, &["contact.mapping", session.as_str(), phone, lid]);
    (id, Event::ContactMapping(ContactMapping { phone: phone.into(), lid: lid.into() }))
}

/// The event of a message that WhatsApp has not acknowledged for long, and its id.
pub(crate) fn stalled(session: &SessionId, key: &str, chat_id: &str, at_ms: i64, origin: Origin) -> (EventId, Event) {
    let told = MessageStalled {
        key: key.into(),
        id: message_id(key).to_owned(),
        chat_id: chat_id.into(),
        timestamp: Timestamp::from_unix_secs(moment(at_ms).unix_secs()),
        reference: origin.reference,
        command_id: origin.command,
    };
    (EventId::derive(0, &["message.stalled", session.as_str(), key]), Event::MessageStalled(told))
}

/// The event of a call, and its id.
pub(crate) fn call(session: &SessionId, call: &Call, rejected: bool) -> (EventId, Event) {
    let timestamp = Timestamp::from_unix_secs(moment(call.at_ms).unix_secs());
    let told = CallReceived {
        id: call.id.clone(),
        sender: whose(&call.sender),
        video: call.video,
        group: call.group,
        timestamp,
        rejected,
    };
    // A call that rang on is another piece of news once somebody else could reject it.
    let parts = ["call.received", session.as_str(), &call.id, "rejected"];
    let id = EventId::derive(timestamp.unix_ms(), if rejected { &parts } else { &parts[..3] });
    (id, Event::CallReceived(told))
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
            ..PageMessage::default()
        };
        let (first, event) = message(&session, &page, None);
        assert_eq!(first, message(&session, &page, None).0);
        let Event::MessageReceived(told) = event else { panic!("a foreign message is received") };
        assert_eq!(told.sender.phone.map(Personal::into_string).as_deref(), Some("4915112345678"));
        assert_eq!(told.sender.authoritative, Authoritative::Lid);
    }
}
