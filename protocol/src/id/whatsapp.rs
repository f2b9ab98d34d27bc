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
}

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
            _ => ChatKind::Contact,
        }
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
