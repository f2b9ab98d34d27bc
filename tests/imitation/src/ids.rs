//! Who is who: phone numbers, the LIDs they hide behind, groups, and the one type that may name any of them.
//!
//! WhatsApp accounts have two identities: the phone number (`4915…@c.us`) and the LID (`1…@lid`), a number that says
//! nothing about the phone. Chats of a migrated account are keyed by LID only, and the two can only be translated by
//! asking the cloud. The imitation derives one from the other with arithmetic so that runs are repeatable, and scatters
//! the digits so that nobody mistakes one for the other.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A phone number in E.164 digits without the plus: 5 to 15 digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Number(String);

/// The LID of an account: fifteen digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Lid(String);

/// A group: eighteen digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupId(String);

/// Anything a message can be addressed to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// `4915112345678@c.us`, or the bare digits.
    Number(Number),
    /// `150547344662594@lid`.
    Lid(Lid),
    /// `120363000000000001@g.us`.
    Group(GroupId),
    /// `status@broadcast`: one's story.
    Status,
}

/// Where stories are posted.
const STATUS: &str = "status@broadcast";

/// The text is not an id of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct InvalidId {
    text: String,
    expected: &'static str,
}

impl Number {
    /// The LID of this number. The map is a bijection of the numbers of up to fourteen digits.
    pub fn lid(&self) -> Lid {
        const SCATTER: u128 = 48_271_000_000_019; // odd and not a multiple of 5, so invertible modulo 10^14
        let digits: u128 = self.0.parse().expect("a number holds digits only");
        Lid(format!("1{:014}", (digits * SCATTER + 104_729) % 100_000_000_000_000))
    }

    /// `…@c.us`, as the page writes it.
    pub fn wid(&self) -> String {
        format!("{}@c.us", self.0)
    }
}

impl Lid {
    /// `…@lid`, as the page writes it.
    pub fn wid(&self) -> String {
        format!("{}@lid", self.0)
    }
}

impl GroupId {
    /// The id of the `count`th group of a run, in the form of real ones.
    pub(crate) fn numbered(count: u64) -> Self {
        Self(format!("120363{count:012}"))
    }

    /// `…@g.us`, as the page writes it.
    pub fn wid(&self) -> String {
        format!("{}@g.us", self.0)
    }
}

impl Address {
    /// The id with its server part.
    pub fn wid(&self) -> String {
        match self {
            Self::Number(number) => number.wid(),
            Self::Lid(lid) => lid.wid(),
            Self::Group(group) => group.wid(),
            Self::Status => STATUS.to_owned(),
        }
    }
}

fn digits(text: &str, lengths: std::ops::RangeInclusive<usize>, expected: &'static str) -> Result<String, InvalidId> {
    if lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err(InvalidId { text: text.chars().take(64).collect(), expected })
    }
}

impl FromStr for Number {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let bare = text.strip_suffix("@c.us").unwrap_or(text);
        digits(bare.strip_prefix('+').unwrap_or(bare), 5..=15, "a phone number of 5 to 15 digits").map(Self)
    }
}

impl FromStr for Lid {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        digits(text.strip_suffix("@lid").unwrap_or(text), 15..=15, "a LID of 15 digits").map(Self)
    }
}

impl FromStr for GroupId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        digits(text.strip_suffix("@g.us").unwrap_or(text), 18..=18, "a group id of 18 digits").map(Self)
    }
}

impl FromStr for Address {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text == STATUS {
            Ok(Self::Status)
        } else if text.ends_with("@lid") {
            text.parse().map(Self::Lid)
        } else if text.ends_with("@g.us") {
            text.parse().map(Self::Group)
        } else {
            text.parse().map(Self::Number)
        }
    }
}

/// Conversions every id needs: from a string (checked), into a string, and for display.
macro_rules! as_text {
    ($($id:ident => $text:expr),*) => {$(
        impl TryFrom<String> for $id {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl TryFrom<&str> for $id {
            type Error = InvalidId;

            fn try_from(text: &str) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<&$id> for $id {
            fn from(id: &$id) -> Self {
                id.clone()
            }
        }

        impl From<$id> for String {
            fn from(id: $id) -> Self {
                id.to_string()
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                let text: fn(&$id) -> String = $text;
                formatter.write_str(&text(self))
            }
        }
    )*};
}

as_text!(
    Number => |number| number.0.clone(),
    Lid => Lid::wid,
    GroupId => GroupId::wid,
    Address => Address::wid
);

impl From<Number> for Address {
    fn from(number: Number) -> Self {
        Self::Number(number)
    }
}

impl From<&Number> for Address {
    fn from(number: &Number) -> Self {
        Self::Number(number.clone())
    }
}

impl From<&GroupId> for Address {
    fn from(group: &GroupId) -> Self {
        Self::Group(group.clone())
    }
}

/// Reads an id that a test wrote down. The control API, which hears from outside, checks its ids before it gets here.
///
/// # Panics
/// When the text is no id of that kind.
pub(crate) fn written<T>(id: impl TryInto<T, Error: fmt::Debug>) -> T {
    id.try_into().expect("an id that is written into a test is valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_from_every_form_the_page_uses() {
        let cases = [
            ("4915112345678", "4915112345678@c.us"),
            ("+4915112345678", "4915112345678@c.us"),
            ("4915112345678@c.us", "4915112345678@c.us"),
            ("150547344662594@lid", "150547344662594@lid"),
            ("120363000000000001@g.us", "120363000000000001@g.us"),
        ];
        for (text, wid) in cases {
            assert_eq!(text.parse::<Address>().map(|address| address.wid()), Ok(wid.to_owned()));
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "12", "49 151", "abc@c.us", "1@lid", "12@g.us", "4915112345678@s.whatsapp.net", "٤٩١٥١١٢"]
        {
            assert!(text.parse::<Address>().is_err(), "{text:?} was taken for an id");
        }
    }

    #[test]
    fn lids_are_stable_distinct_and_do_not_look_like_their_numbers() {
        let first: Number = "4915112345678".parse().expect("a valid number");
        let second: Number = "4915112345679".parse().expect("a valid number");
        assert_eq!(first.lid(), first.lid());
        assert_ne!(first.lid(), second.lid());
        assert!(!first.lid().to_string().contains("12345678"));
        assert_eq!(first.lid().to_string().parse(), Ok(first.lid()));
    }
}
