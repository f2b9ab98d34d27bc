//! What a session can be asked to do with a call, and what it does with calls by itself.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::Line;
use crate::json::Fields;
use crate::rejection::Rejection;

/// Data of `call.reject`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RejectCall {
    /// The id of a call that rings, as `call.received` tells it.
    pub call: Line<128>,
}

impl RejectCall {
    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self { call: data.parsed("call")? })
    }
}

/// What becomes of the calls that a session gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Calls {
    /// They ring, on the phone and on its other devices.
    #[default]
    Ring,
    /// They are rejected on all devices as soon as the session hears of them; those of groups ring on.
    Reject,
}

/// Not a word for what becomes of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownCalls;

impl fmt::Display for UnknownCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither \"ring\" nor \"reject\"")
    }
}

impl std::error::Error for UnknownCalls {}

impl Calls {
    /// The word on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Reject => "reject",
        }
    }
}

impl std::str::FromStr for Calls {
    type Err = UnknownCalls;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::Ring, Self::Reject].into_iter().find(|calls| calls.as_str() == word).ok_or(UnknownCalls)
    }
}

impl TryFrom<String> for Calls {
    type Error = UnknownCalls;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        word.parse()
    }
}

/// Data of `session.settings`: how the session behaves by itself, from now on and whoever owns it. Without effect on what a
/// number at Meta's Cloud API does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SessionSettings {
    /// What becomes of calls. They ring unless somebody says otherwise.
    pub calls: Calls,
}

impl SessionSettings {
    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(Self { calls: data.parsed("calls")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_calls_is_the_same_word_in_text_and_json() {
        for calls in [Calls::Ring, Calls::Reject] {
            assert_eq!(calls.as_str().parse(), Ok(calls));
            assert_eq!(serde_json::to_value(calls).expect("a word"), calls.as_str());
        }
        assert_eq!("silence".parse::<Calls>(), Err(UnknownCalls));
    }
}
