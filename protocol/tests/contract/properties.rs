//! What holds for every message, not only for those somebody thought of.

use std::path::{Component, Path};

use proptest::prelude::*;
use wafleet_protocol::command::{Command, CommandBody};
use wafleet_protocol::event::Envelope;
use wafleet_protocol::id::{
    ChatId, CommandId, EventId, KeyId, MessageId, PhoneNumber, SessionId, WorkerId, WorkspaceId,
};
use wafleet_protocol::metadata::Metadata;
use wafleet_protocol::rejection::Rejection;
use wafleet_protocol::signing::{
    Audience, CONTENT_TYPE, Claims, HeaderValue, Headers, Keyring, RawProperties, Role, Scope, Secret, Signed,
    SigningKey, Verified, sign,
};

use crate::samples;

const NOW: u64 = 1_795_000_000;

/// The bytes of a published message, to be tampered with.
#[derive(Debug, Clone)]
struct Published {
    fields: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

impl Published {
    fn new(headers: &Headers, message_id: &str, type_: &str, body: &[u8]) -> Self {
        let mut fields: Vec<_> =
            headers.to_pairs().into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
        fields.push(("message_id", message_id.into()));
        fields.push(("type", type_.into()));
        fields.push(("content_type", CONTENT_TYPE.into()));
        Self { fields, body: body.to_vec() }
    }

    /// Flips one bit, counted through all fields and then the body.
    fn flip(&mut self, bit: usize) {
        let mut byte = bit / 8;
        let pieces = self.fields.iter_mut().map(|(_, value)| value).chain([&mut self.body]);
        for piece in pieces {
            match piece.get_mut(byte) {
                Some(found) => return *found ^= 1 << (bit % 8),
                None => byte -= piece.len(),
            }
        }
    }

    fn bits(&self) -> usize {
        8 * (self.fields.iter().map(|(_, value)| value.len()).sum::<usize>() + self.body.len())
    }

    /// `None` when a field is not even text any more: a client library would not hand it over as such.
    fn verify(&self, keyring: &Keyring, audience: Audience) -> Option<Result<Verified, Rejection>> {
        let mut texts = Vec::new();
        for (name, value) in &self.fields {
            texts.push((*name, std::str::from_utf8(value).ok()?));
        }
        let text = |wanted: &str| texts.iter().find(|(name, _)| *name == wanted).map(|(_, text)| *text);
        let headers: Vec<_> = texts.iter().map(|(name, text)| (*name, HeaderValue::Text(text))).collect();
        let properties = RawProperties {
            message_id: text("message_id"),
            type_: text("type"),
            content_type: text("content_type"),
            headers: &headers,
        };
        Some(Signed::new(properties, &self.body).verify(keyring, audience, NOW))
    }
}

fn key(role: Role, byte: u8) -> SigningKey {
    let secret = Secret::from_bytes(vec![byte; 32]).expect("long enough");
    SigningKey::new(format!("{role}-{byte}").parse().expect("a key id"), role, secret, Scope::All, None)
}

fn ring() -> Keyring {
    Keyring::new(vec![key(Role::Commands, 1), key(Role::Events, 2)]).expect("different keys")
}

fn publish(
    command: &Command,
    id: &CommandId,
    workspace: u64,
    session: &SessionId,
    lifetime: u64,
    body: &[u8],
) -> Published {
    let workspace = WorkspaceId::new(workspace).expect("in range");
    let ring = ring();
    let signer = ring.signer(Role::Commands, workspace, NOW).expect("a key of the ring");
    let headers = sign(signer, &Claims::command(command, id, workspace, session, NOW, NOW + lifetime), body);
    Published::new(&headers, id.as_str(), command.type_name(), body)
}

fn any_command() -> impl Strategy<Value = Command> {
    prop::sample::select(samples::commands()).prop_map(|(_, command, _)| command)
}

fn any_session() -> impl Strategy<Value = SessionId> {
    SessionId::PATTERN.trim_matches(['^', '$']).prop_filter_map("reserved", |text| text.parse().ok())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_signed_verifies(
        command in any_command(),
        id in "[A-Za-z0-9_-]{1,64}",
        workspace in 1..=WorkspaceId::MAX,
        session in any_session(),
        lifetime in 1..=2_592_000_u64,
        body in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let id: CommandId = id.parse().expect("of that form");
        let published = publish(&command, &id, workspace, &session, lifetime, &body);
        let verified = published.verify(&ring(), Audience::Commands).expect("text").expect("accepted");
        prop_assert_eq!(verified.message_id, id);
        prop_assert_eq!(verified.session, session);
        prop_assert_eq!(verified.workspace.get(), workspace);
        prop_assert_eq!(verified.type_, command.type_name());
        prop_assert_eq!((verified.issued_at, verified.expires_at), (NOW, NOW + lifetime));
        prop_assert!(published.verify(&ring(), Audience::Events).expect("text").is_err());
    }

    #[test]
    fn one_flipped_bit_anywhere_is_refused(command in any_command(), session in any_session(), bit in any::<prop::sample::Index>()) {
        let body = CommandBody::new(&command, None).to_bytes();
        let mut published = publish(&command, &samples::command_id(), 7, &session, 300, &body);
        published.flip(bit.index(published.bits()));
        prop_assert!(!matches!(published.verify(&ring(), Audience::Commands), Some(Ok(_))));
    }

    #[test]
    fn parsers_never_panic_on_bytes(body in prop::collection::vec(any::<u8>(), 0..500)) {
        never_panics(&body);
    }

    #[test]
    fn parsers_never_panic_on_broken_messages(pick in any::<prop::sample::Index>(), edits in edits()) {
        let mut bodies: Vec<_> =
            samples::commands().iter().map(|(_, command, metadata)| CommandBody::new(command, metadata.as_ref()).to_bytes()).collect();
        bodies.extend(samples::events().iter().map(|(_, envelope)| envelope.to_bytes()));
        let mut body = pick.get(&bodies).clone();
        for (index, byte, insert) in edits {
            let at = index.index(body.len());
            if insert { body.insert(at, byte) } else { body[at] = byte }
        }
        never_panics(&body);
    }

    #[test]
    fn an_accepted_session_id_is_one_plain_path_component(text in "\\PC{0,70}|[A-Za-z0-9_./\\\\-]{0,70}|.{0,3}") {
        if let Ok(id) = text.parse::<SessionId>() {
            let path = Path::new("/profiles/7").join(id.as_str());
            prop_assert_eq!(path.parent(), Some(Path::new("/profiles/7")));
            let components: Vec<_> = Path::new(id.as_str()).components().collect();
            prop_assert!(matches!(components[..], [Component::Normal(name)] if name == id.as_str()));
            prop_assert!(id.as_str().len() <= 64 && id.as_str().is_ascii());
        }
    }

    #[test]
    fn identifiers_survive_text_and_json(session in any_session(), chat in ChatId::PATTERN.trim_matches(['^', '$']), random in any::<[u8; 10]>(), unix_ms in 0..(1_u64 << 48)) {
        prop_assert_eq!(session.to_string().parse::<SessionId>(), Ok(session.clone()));
        prop_assert_eq!(serde_json::from_value::<SessionId>(serde_json::json!(session.as_str())).expect("a session"), session);
        let chat: ChatId = chat.parse().expect("of that form");
        prop_assert_eq!(chat.as_str().parse::<ChatId>(), Ok(chat.clone()));
        let event = EventId::random(unix_ms, random);
        prop_assert_eq!(event.as_str().parse::<EventId>(), Ok(event.clone()));
        prop_assert_eq!(event.unix_ms(), unix_ms);
    }

    #[test]
    fn patterns_describe_what_parsers_accept(
        command in CommandId::PATTERN.trim_matches(['^', '$']),
        event in EventId::PATTERN.trim_matches(['^', '$']),
        worker in WorkerId::PATTERN.trim_matches(['^', '$']),
        phone in PhoneNumber::PATTERN.trim_matches(['^', '$']),
        message in MessageId::PATTERN.trim_matches(['^', '$']),
        key in KeyId::PATTERN.trim_matches(['^', '$']),
    ) {
        prop_assert!(command.parse::<CommandId>().is_ok());
        prop_assert!(event.parse::<EventId>().is_ok());
        prop_assert!(worker.parse::<WorkerId>().is_ok());
        prop_assert!(phone.parse::<PhoneNumber>().is_ok());
        prop_assert!(message.parse::<MessageId>().is_ok());
        prop_assert_eq!(key.parse::<KeyId>().is_ok(), !key.contains("..") && key != ".");
    }

    #[test]
    fn message_ids_differ_between_commands_and_between_sessions(one in any_session(), other in any_session(), id in "[a-z]{1,8}", other_id in "[a-z]{1,8}") {
        let (id, other_id) = (id.parse::<CommandId>().expect("an id"), other_id.parse::<CommandId>().expect("an id"));
        let message = MessageId::for_command(&id, &one);
        prop_assert_eq!(message.as_str().parse::<MessageId>(), Ok(message.clone()));
        prop_assert_eq!(MessageId::for_command(&id, &other) == message, one == other);
        prop_assert_eq!(MessageId::for_command(&other_id, &one) == message, id == other_id);
    }
}

fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, bool)>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:\\0-.eu".to_vec())];
    prop::collection::vec((any::<prop::sample::Index>(), byte, any::<bool>()), 1..6)
}

fn never_panics(body: &[u8]) {
    for type_ in Command::TYPE_NAMES {
        if let Ok((command, metadata)) = Command::parse(type_, body) {
            let written = CommandBody::new(&command, metadata.as_ref()).to_bytes();
            assert_eq!(Command::parse(type_, &written), Ok((command, metadata)));
        }
    }
    for type_ in wafleet_protocol::event::Event::TYPE_NAMES {
        if let Ok(envelope) = Envelope::parse(type_, body) {
            assert_eq!(Envelope::parse(type_, &envelope.to_bytes()), Ok(envelope));
        }
    }
    if let Ok(text) = std::str::from_utf8(body) {
        let _ = Keyring::parse(text).map_err(|error| error.to_string());
        let _ = Metadata::parse(text).map_err(|error| error.to_string());
    }
}

#[test]
fn one_signed_command_survives_no_flipped_bit_at_all() {
    let command = Command::SessionStop;
    let session = samples::session_id();
    let body = CommandBody::new(&command, None).to_bytes();
    let published = publish(&command, &samples::command_id(), 7, &session, 300, &body);
    assert!(matches!(published.verify(&ring(), Audience::Commands), Some(Ok(_))));
    for bit in 0..published.bits() {
        let mut flipped = published.clone();
        flipped.flip(bit);
        assert!(!matches!(flipped.verify(&ring(), Audience::Commands), Some(Ok(_))), "bit {bit}");
    }
}

#[test]
fn an_event_is_signed_by_the_fleet_and_verifies_for_events_only() {
    for (name, envelope) in samples::events() {
        let body = envelope.to_bytes();
        let ring = ring();
        let signer = ring.signer(Role::Events, envelope.workspace_id, NOW).expect("a key of the ring");
        let headers = sign(signer, &Claims::event(&envelope, NOW), &body);
        let published = Published::new(&headers, envelope.id.as_str(), envelope.event.type_name(), &body);
        let verified = published.verify(&ring, Audience::Events).expect("text").expect(name);
        assert_eq!(verified.event_id(), Ok(envelope.id.clone()), "{name}");
        assert_eq!(verified.expires_at - verified.issued_at, 30 * 24 * 60 * 60, "{name}");
        assert!(published.verify(&ring, Audience::Commands).expect("text").is_err(), "{name}");
        assert_eq!(Envelope::parse(&verified.type_, &body), Ok(envelope), "{name}");
    }
}
