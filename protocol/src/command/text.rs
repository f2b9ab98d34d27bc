//! Bounded texts inside commands.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Why a text is not accepted. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing there.
    #[error("empty")]
    Empty,
    /// Too long.
    #[error("longer than {max} characters")]
    TooLong {
        /// The longest that is accepted, in Unicode characters.
        max: usize,
    },
    /// A control character where none belongs.
    #[error("not free of control characters")]
    ControlCharacter,
}

/// The text of a message: 1 to 65,536 Unicode characters, the longest that WhatsApp takes. `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MessageText(String);

impl MessageText {
    /// The longest text, in Unicode characters.
    pub const MAX_CHARS: usize = 65_536;

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for MessageText {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        check_length(&text, Self::MAX_CHARS)?;
        if text.contains('\0') {
            return Err(TextError::ControlCharacter);
        }
        Ok(Self(text))
    }
}

impl TryFrom<&str> for MessageText {
    type Error = TextError;

    fn try_from(text: &str) -> Result<Self, TextError> {
        text.to_owned().try_into()
    }
}

impl From<MessageText> for String {
    fn from(text: MessageText) -> String {
        text.0
    }
}

impl fmt::Debug for MessageText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageText(redacted)")
    }
}

impl JsonSchema for MessageText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MessageText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": Self::MAX_CHARS })
    }
}

/// One line of text: 1 to `MAX` characters without control characters. `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Line<const MAX: usize>(String);

impl<const MAX: usize> Line<MAX> {
    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> TryFrom<String> for Line<MAX> {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        check_length(&text, MAX)?;
        if text.chars().any(char::is_control) {
            return Err(TextError::ControlCharacter);
        }
        Ok(Self(text))
    }
}

impl<const MAX: usize> TryFrom<&str> for Line<MAX> {
    type Error = TextError;

    fn try_from(text: &str) -> Result<Self, TextError> {
        text.to_owned().try_into()
    }
}

impl<const MAX: usize> From<Line<MAX>> for String {
    fn from(line: Line<MAX>) -> String {
        line.0
    }
}

impl<const MAX: usize> fmt::Debug for Line<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line(redacted)")
    }
}

impl<const MAX: usize> JsonSchema for Line<MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Line".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": MAX })
    }
}

/// A caller's own name for a message: 1 to 255 characters without control characters. `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference(String);

impl Reference {
    /// The longest reference, in Unicode characters: it fits the usual `VARCHAR(255)`.
    pub const MAX_CHARS: usize = 255;

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Reference {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        check_length(&text, Self::MAX_CHARS)?;
        if text.chars().any(char::is_control) {
            return Err(TextError::ControlCharacter);
        }
        Ok(Self(text))
    }
}

impl TryFrom<&str> for Reference {
    type Error = TextError;

    fn try_from(text: &str) -> Result<Self, TextError> {
        text.to_owned().try_into()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.0
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reference(redacted)")
    }
}

impl JsonSchema for Reference {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Reference".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": Self::MAX_CHARS })
    }
}

fn check_length(text: &str, max: usize) -> Result<(), TextError> {
    if text.is_empty() {
        return Err(TextError::Empty);
    }
    if text.chars().count() > max {
        return Err(TextError::TooLong { max });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_bounded_in_characters() {
        assert!(MessageText::try_from("ü".repeat(65_536)).is_ok());
        assert_eq!(MessageText::try_from("ü".repeat(65_537)), Err(TextError::TooLong { max: 65_536 }));
        assert!(Reference::try_from("ü".repeat(255)).is_ok());
        assert_eq!(Reference::try_from("ü".repeat(256)), Err(TextError::TooLong { max: 255 }));
        assert_eq!(MessageText::try_from(""), Err(TextError::Empty));
        assert_eq!(Reference::try_from(""), Err(TextError::Empty));
    }

    #[test]
    fn messages_may_have_lines_and_references_may_not() {
        assert!(MessageText::try_from("a\n\tb\u{1b}").is_ok());
        assert_eq!(MessageText::try_from("a\0b"), Err(TextError::ControlCharacter));
        for text in ["a\nb", "\u{1b}[2J", "a\0", "\u{85}"] {
            assert_eq!(Reference::try_from(text), Err(TextError::ControlCharacter), "{text:?}");
        }
    }
}
