//! What a caller wants to get back with every event of its command.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::json::{self, Nul};
use crate::rejection::Rejection;

/// A JSON object of the caller's own, at most 8 KiB, echoed in every event of the command it came with.
///
/// It is kept as the very characters that came in: numbers keep their spelling and fields their order. `Debug` hides it,
/// for nobody knows what a caller puts there.
#[derive(Clone)]
pub struct Metadata(Box<RawValue>);

impl Metadata {
    /// The longest metadata, in bytes of JSON.
    pub const MAX_BYTES: usize = 8 * 1024;

    /// Reads a JSON object, by the rules for bodies. `[]` becomes `{}`, because PHP writes an empty map that way.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        if text.len() > Self::MAX_BYTES {
            return Err(json::invalid("metadata", &format!("is longer than {} bytes", Self::MAX_BYTES)));
        }
        let raw = match json::parse(text.as_bytes(), Nul::Refused)? {
            serde_json::Value::Object(_) => text.to_owned(),
            serde_json::Value::Array(items) if items.is_empty() => "{}".to_owned(),
            _ => return Err(json::invalid("metadata", "must be an object")),
        };
        RawValue::from_string(raw).map(Self).map_err(|_| Rejection::NotJson)
    }

    /// The JSON object as text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Metadata {
    /// Equal when spelt alike.
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Metadata {}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metadata({} bytes)", self.as_str().len())
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Metadata {
    /// From `serde_json` only.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get()).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Metadata {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Metadata".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The caller's own, at most 8 KiB of JSON, echoed in every event of the command.",
            "type": "object"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_keeps_its_spelling() {
        for text in [r#"{"z":1,"a":1.0,"e":1e2,"big":12345678901234567890123}"#, "{ }", r#"{"u":"\u00fc\/"}"#] {
            let metadata = Metadata::parse(text).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
            assert_eq!(metadata.as_str(), text);
            assert_eq!(serde_json::to_string(&metadata).expect("JSON"), text);
            assert_eq!(serde_json::from_str::<Metadata>(text).expect("JSON"), metadata);
        }
        assert_eq!(Metadata::parse("[]").expect("PHP's empty map").as_str(), "{}");
    }

    #[test]
    fn metadata_is_a_small_unambiguous_object() {
        let with_bytes = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8));
        assert!(Metadata::parse(&with_bytes(Metadata::MAX_BYTES)).is_ok());
        assert!(Metadata::parse(&with_bytes(Metadata::MAX_BYTES + 1)).is_err());
        for text in ["", "null", "7", "[1]", "\"{}\"", "{", r#"{"a":1,"a":2}"#, r#"{"a":"\u0000"}"#] {
            assert!(Metadata::parse(text).is_err(), "{text}");
            assert!(serde_json::from_str::<Metadata>(text).is_err(), "{text}");
        }
    }
}
