//! Identifiers in WhatsApp's own forms: phone numbers, chats, message ids.

use sha2::{Digest, Sha256};

use super::{CommandId, IdError, IdFault, SessionId, check_text, plain_debug, redacted_debug, text_identifier};

/// A phone number in E.164 without the plus sign: 5 to 15 digits, the first of them not 0. `Debug` hides it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// The accepted form. 15 digits is E.164's maximum; no country has numbers shorter than 5 that WhatsApp serves.
    pub const PATTERN: &'static str = "^[1-9][0-9]{4,14}$";

    fn check(text: &str) -> Result<Self, IdError> {
        const KIND: &str = "phone number";
        check_text(KIND, text, 15, "0-9", |b| b.is_ascii_digit())?;
        if text.len() < 5 || text.starts_with('0') {
            return Err(IdError {
                kind: KIND,
                fault: IdFault::WrongForm { form: "5 to 15 digits with the country code" },
            });
        }
        Ok(Self(text.to_owned()))
    }
}
text_identifier!(PhoneNumber);
redacted_debug!(PhoneNumber);

/// What a [`ChatId`] names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChatKind {
    /// A person by phone number: `…@c.us`.
    Contact,
    /// A person by WhatsApp's number-hiding identity: `…@lid`.
    Lid,
    /// A group: `…@g.us`.
    Group,
    /// One's own stories: `status@broadcast`. No text is parsed to it; `status.post` alone sends there.
    Status,
}

/// Where stories go, in WhatsApp's own word.
const STATUS: &str = "status@broadcast";

/// Where a message may be sent, in WhatsApp's words: `…@c.us`, `…@lid` or `…@g.us`. `Debug` hides it.
///
/// Parsing accepts a bare [phone number](PhoneNumber) too and makes it `…@c.us`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChatId(String);

impl ChatId {
    /// The accepted form, bare phone numbers included.
    pub const PATTERN: &'static str =
        "^([1-9][0-9]{4,14}(@c\\.us)?|[1-9][0-9]{4,19}@lid|[1-9][0-9]{4,19}(-[0-9]{5,15})?@g\\.us)$";

    /// What it names.
    pub fn kind(&self) -> ChatKind {
        match self.0.rsplit_once('@') {
            Some((_, "lid")) => ChatKind::Lid,
            Some((_, "g.us")) => ChatKind::Group,
            Some((_, "broadcast")) => ChatKind::Status,
            _ => ChatKind::Contact,
        }
    }

    /// Where stories go.
    #[must_use]
    pub fn status() -> Self {
        Self(STATUS.to_owned())
    }

    /// The phone number, when the chat is named by one.
    pub fn phone(&self) -> Option<PhoneNumber> {
        self.0.strip_suffix("@c.us").map(|digits| PhoneNumber(digits.to_owned()))
    }

    fn check(text: &str) -> Result<Self, IdError> {
        const KIND: &str = "chat id";
        // The longest is a group of the old form: 20 digits, a hyphen, 15 digits, `@g.us`.
        check_text(KIND, text, 41, "0-9a-z@.-", |b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'@' | b'.' | b'-')
        })?;
        let wrong = IdError { kind: KIND, fault: IdFault::WrongForm { form: "digits, …@c.us, …@lid or …@g.us" } };
        let (user, server) = text.rsplit_once('@').unwrap_or((text, "c.us"));
        let accepted = match server {
            "c.us" => PhoneNumber::check(user).is_ok(),
            "lid" => is_number(user, 20),
            "g.us" => match user.split_once('-') {
                Some((creator, created)) => is_number(creator, 20) && is_digits(created, 15),
                None => is_number(user, 20),
            },
            _ => false,
        };
        if accepted { Ok(Self(format!("{user}@{server}"))) } else { Err(wrong) }
    }
}
text_identifier!(ChatId);
redacted_debug!(ChatId);

impl From<PhoneNumber> for ChatId {
    fn from(phone: PhoneNumber) -> Self {
        Self(format!("{phone}@c.us"))
    }
}

/// 5 to `max` digits.
fn is_digits(text: &str, max: usize) -> bool {
    (5..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// 5 to `max` digits, the first of them not 0.
fn is_number(text: &str, max: usize) -> bool {
    is_digits(text, max) && !text.starts_with('0')
}

/// The id of a message that we send, in the form WhatsApp Web gives its own: `3EB0` and 18 upper-case hexadecimal digits.
///
/// Ids of messages that others send have other forms and are plain text in events.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(String);

impl MessageId {
    /// The accepted form.
    pub const PATTERN: &'static str = "^3EB0[0-9A-F]{18}$";

    /// The one message id of a command: known before the send, and the same after any crash and on any worker.
    ///
    /// It is `3EB0` and the first 9 bytes, in upper-case hexadecimal, of
    /// SHA-256(`"wafleet message id 1"` ‖ len(session) ‖ session ‖ len(command) ‖ command), lengths as 8 bytes big endian.
    /// 72 bits make a collision within one chat irrelevant: a billion messages collide with a chance of one in 9,000.
    pub fn for_command(command: &CommandId, session: &SessionId) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"wafleet message id 1");
        for part in [session.as_str(), command.as_str()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut text = String::from("3EB0");
        for byte in &hash.finalize()[..9] {
            text.push_str(&format!("{byte:02X}"));
        }
        Self(text)
    }

    fn check(text: &str) -> Result<Self, IdError> {
        const KIND: &str = "message id";
        check_text(KIND, text, 22, "0-9A-F", |b| matches!(b, b'0'..=b'9' | b'A'..=b'F'))?;
        if text.len() != 22 || !text.starts_with("3EB0") {
            return Err(IdError { kind: KIND, fault: IdFault::WrongForm { form: "3EB0 and 18 hexadecimal digits" } });
        }
        Ok(Self(text.to_owned()))
    }
}
text_identifier!(MessageId);
plain_debug!(MessageId);

/// WhatsApp's key of one message, as events tell it: `true|false_<chat>_<id>`, in groups with `_<participant>` behind.
/// `true` is an own message. A message by the Cloud API has Meta's id in its place: `wamid.…`. `Debug` hides it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageKey(String);

impl MessageKey {
    /// The accepted form.
    pub const PATTERN: &'static str = "^((true|false)_([0-9-]{1,40}@(c\\.us|lid|g\\.us)|status@broadcast)_[A-Za-z0-9.-]{1,128}(_[0-9:]{1,40}@(c\\.us|lid))?|wamid\\.[A-Za-z0-9+/=_-]{1,240})$";

    /// Whether it is Meta's id of a message by the Cloud API.
    pub fn is_metas(&self) -> bool {
        self.0.starts_with("wamid.")
    }

    /// Whether it is a message of one's own, which Meta's ids do not say.
    pub fn is_own(&self) -> bool {
        self.0.starts_with("true_")
    }

    /// The chat the message is in.
    pub fn chat(&self) -> &str {
        self.0.split('_').nth(1).unwrap_or_default()
    }

    fn check(text: &str) -> Result<Self, IdError> {
        const KIND: &str = "message key";
        if let Some(id) = text.strip_prefix("wamid.") {
            check_text(KIND, id, 240, "0-9A-Za-z+/=_-", |b| {
                b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'_' | b'-')
            })?;
            return Ok(Self(text.to_owned()));
        }
        check_text(KIND, text, 256, "0-9A-Za-z@._:-", |b| {
            b.is_ascii_alphanumeric() || matches!(b, b'@' | b'.' | b'_' | b':' | b'-')
        })?;
        let wrong =
            IdError { kind: KIND, fault: IdFault::WrongForm { form: "true|false_<chat>_<id>[_<participant>]" } };
        let is_of = |id: &str, servers: &[&str], device: bool| {
            id.split_once('@').is_some_and(|(user, server)| {
                servers.contains(&server)
                    && (1..=40).contains(&user.len())
                    && user.bytes().all(|b| b.is_ascii_digit() || b == if device { b':' } else { b'-' })
            })
        };
        let parts: Vec<&str> = text.split('_').collect();
        let (direction, chat, id, participant) = match parts[..] {
            [direction, chat, id] => (direction, chat, id, None),
            [direction, chat, id, participant] => (direction, chat, id, Some(participant)),
            _ => return Err(wrong),
        };
        let accepted = matches!(direction, "true" | "false")
            && (chat == STATUS || is_of(chat, &["c.us", "lid", "g.us"], false))
            && (1..=128).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
            && participant.is_none_or(|participant| is_of(participant, &["c.us", "lid"], true));
        if accepted { Ok(Self(text.to_owned())) } else { Err(wrong) }
    }
}
text_identifier!(MessageKey);
redacted_debug!(MessageKey);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chats_are_read_and_completed() {
        let cases = [
            ("4915112345678", "4915112345678@c.us", ChatKind::Contact),
            ("4915112345678@c.us", "4915112345678@c.us", ChatKind::Contact),
            ("12345", "12345@c.us", ChatKind::Contact),
            ("123456789012345@lid", "123456789012345@lid", ChatKind::Lid),
            ("120363012345678901@g.us", "120363012345678901@g.us", ChatKind::Group),
            ("4915112345678-1600000000@g.us", "4915112345678-1600000000@g.us", ChatKind::Group),
        ];
        for (text, expected, kind) in cases {
            let chat: ChatId = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((chat.as_str(), chat.kind()), (expected, kind));
            assert_eq!(chat.phone().map(ChatId::from), (kind == ChatKind::Contact).then_some(chat));
        }
    }

    #[test]
    fn other_addresses_are_refused() {
        for text in [
            "",
            "@c.us",
            "1234",
            "0151123456",
            "1234567890123456",
            "+4915112345678",
            "49 151 12345678",
            "4915112345678@s.whatsapp.net",
            "4915112345678@C.US",
            "4915112345678:3@c.us",
            "4915112345678@c.us@c.us",
            "status@broadcast",
            "120363012345678901@newsletter",
            "abc@g.us",
            "-1600000000@g.us",
            "12345-@g.us",
            "1-2@g.us",
            "12345-67890-12345@g.us",
            "12345-67890@c.us",
            "٤٩١٥١١٢٣٤٥٦٧٨",
            "4915112345678@lid ",
        ] {
            assert!(text.parse::<ChatId>().is_err(), "{text}");
        }
        let long = "1".repeat(10_000);
        assert_eq!(long.parse::<ChatId>().map_err(|error| error.fault), Err(IdFault::TooLong { max: 41 }));
    }

    #[test]
    fn keys_are_read_as_events_tell_them() {
        for (text, own, chat) in [
            ("false_4915187654321@c.us_3A0123456789ABCDEF01", false, "4915187654321@c.us"),
            ("true_123456789012345@lid_3EB009448147C432ACD440", true, "123456789012345@lid"),
            ("false_120363012345678901@g.us_3A01_987654321098765@lid", false, "120363012345678901@g.us"),
            ("true_4915112345678-1600000000@g.us_3EB0-1.2_4915112345678:3@c.us", true, "4915112345678-1600000000@g.us"),
        ] {
            let key: MessageKey = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((key.is_own(), key.chat()), (own, chat));
        }
        let metas: MessageKey =
            "wamid.HBgLMTY0NjcwNDM1OTUVAgARGBI1RjQyNUE3NDYxNkQ1OTU1AA==".parse().expect("Meta's id");
        assert!(metas.is_metas() && !metas.is_own());
        for text in [
            "",
            "3EB009448147C432ACD440",
            "maybe_1@lid_AA",
            "true_1@lid",
            "true_1@lid_",
            "true_@lid_AA",
            "true_1@lid_AA_",
            "true_1@lid_AA_2@lid_3",
            "true_1@newsletter_AA",
            "true_1@lid_A A",
            "true_1@g.us_AA_2@g.us",
            "wamid.",
            "wamid.A B",
            "wamid",
        ] {
            assert!(text.parse::<MessageKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_do_not_show_in_debug_output() {
        let phone: PhoneNumber = "4915112345678".parse().expect("a number");
        let shown = format!("{phone:?} {:?}", ChatId::from(phone.clone()));
        assert_eq!(shown, "PhoneNumber(redacted) ChatId(redacted)");
        assert_eq!(phone.to_string(), "4915112345678");
    }

    #[test]
    fn a_command_has_the_same_message_id_for_ever() {
        let command: CommandId = "01JD0000000000000000000001".parse().expect("a command");
        let session: SessionId = "support-01".parse().expect("a session");
        let id = MessageId::for_command(&command, &session);
        assert_eq!(id.as_str(), "3EB009448147C432ACD440", "a change here sends messages twice after an upgrade");
    }

    #[test]
    fn session_and_command_cannot_be_shifted_into_each_other() {
        let id = |command: &str, session: &str| {
            MessageId::for_command(&command.parse().expect("a command"), &session.parse().expect("a session"))
        };
        assert_ne!(id("bc", "a"), id("c", "ab"));
        assert_ne!(id("a", "b"), id("b", "a"));
    }

    #[test]
    fn only_ids_of_our_form_are_ours() {
        assert!("3EB00123456789ABCDEF01".parse::<MessageId>().is_ok());
        for text in [
            "",
            "3EB0",
            "3EB00123456789ABCDEF0",
            "3EB00123456789ABCDEF012",
            "3eb00123456789abcdef01",
            "3A000123456789ABCDEF01",
        ] {
            assert!(text.parse::<MessageId>().is_err(), "{text}");
        }
    }
}
