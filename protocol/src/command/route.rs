//! By whom a message goes out, and what Meta's Cloud API needs for it.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::json::Fields;
use crate::provider::ProviderChoice;
use crate::rejection::Rejection;

/// By whom a message goes out. Part of `message.send`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Route {
    /// Who shall send it; the default is `auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderChoice>,
    /// What the Cloud API sends in place of the content unless the recipient is known to have written to its number within 24
    /// hours. Without effect where the browser sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
}

/// A message template that Meta has approved. `Debug` hides its parameters.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Template {
    /// Its name.
    #[schemars(regex(pattern = "^[a-z0-9_]{1,512}$"))]
    pub name: String,
    /// Its language, such as `de` or `pt_BR`.
    #[schemars(regex(pattern = "^[A-Za-z]{2,3}(_[A-Za-z]{2,4})?$"))]
    pub language: String,
    /// Its components with their parameters, as the Cloud API takes them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    #[schemars(with = "Option<Vec<serde_json::Map<String, Value>>>", length(max = Template::MAX_COMPONENTS))]
    pub components: Vec<Value>,
}

impl Template {
    /// The most components of one template: a header, a body, a footer, ten buttons, a carousel, and room for more.
    pub const MAX_COMPONENTS: usize = 32;

    fn from_value(value: Value) -> Result<Self, Rejection> {
        let mut fields = Fields::new("data.template", value)?;
        let name = fields.text("name")?;
        if !(1..=512).contains(&name.len())
            || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        {
            return Err(fields.invalid("name", "must be 1 to 512 lower-case letters, digits and underscores"));
        }
        let language = fields.text("language")?;
        if !is_language(&language) {
            return Err(fields.invalid("language", "must be a language such as de or pt_BR"));
        }
        let components = match fields.take("components") {
            None => Vec::new(),
            Some(Value::Array(components)) => components,
            Some(_) => return Err(fields.invalid("components", "must be an array")),
        };
        if components.len() > Self::MAX_COMPONENTS || !components.iter().all(Value::is_object) {
            return Err(fields.invalid("components", "must be at most 32 objects"));
        }
        fields.finish()?;
        Ok(Self { name, language, components })
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("name", &self.name).field("language", &self.language).finish_non_exhaustive()
    }
}

impl Route {
    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let provider = data.optional_parsed("provider")?;
        let template = data.take("template").map(Template::from_value).transpose()?;
        Ok(Self { provider, template })
    }
}

fn is_language(text: &str) -> bool {
    let letters = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    let (language, region) = text.split_once('_').map_or((text, None), |(language, region)| (language, Some(region)));
    letters(language, 2..=3) && region.is_none_or(|region| letters(region, 2..=4))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn route(data: Value) -> Result<Route, Rejection> {
        let mut fields = Fields::new("data", data)?;
        let route = Route::from_fields(&mut fields)?;
        fields.finish().map(|()| route)
    }

    #[test]
    fn a_route_is_optional_and_strict() {
        assert_eq!(route(json!({})), Ok(Route::default()));
        assert_eq!(route(json!({ "provider": null, "template": null })), Ok(Route::default()));
        let whole = route(json!({ "provider": "cloud", "template": { "name": "otp_1", "language": "pt_BR",
            "components": [{ "type": "body", "parameters": [{ "type": "text", "text": "secret" }] }] } }));
        let whole = whole.expect("a route");
        assert_eq!(whole.provider, Some(ProviderChoice::Cloud));
        assert!(!format!("{whole:?}").contains("secret"));
        for wrong in [
            json!({ "provider": "sms" }),
            json!({ "template": {} }),
            json!({ "template": [] }),
            json!({ "template": { "name": "Hello", "language": "de" } }),
            json!({ "template": { "name": "hello", "language": "deutsch" } }),
            json!({ "template": { "name": "hello", "language": "de", "components": {} } }),
            json!({ "template": { "name": "hello", "language": "de", "components": ["x"] } }),
            json!({ "template": { "name": "hello", "language": "de", "namespace": "x" } }),
        ] {
            assert!(route(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
