//! A passkey's answer, on its way from a person's own device to WhatsApp's page.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::json::Fields;
use crate::rejection::Rejection;

/// The longest text of an answer. Credential ids have at most 1,023 bytes (WebAuthn, §5.1), signatures and client data
/// some hundred.
const MAX_CHARS: usize = 8_192;

/// Data of `session.passkey_answer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SessionPasskeyAnswer {
    /// The `request_id` of the `session.passkey` that is answered.
    #[schemars(length(min = 1, max = MAX_CHARS))]
    pub request_id: String,
    /// The answer of the person's device; without it the request is declined.
    pub assertion: Option<PasskeyAssertion>,
}

/// What `PublicKeyCredential.toJSON()` gives for a sign-in: WebAuthn's `AuthenticationResponseJSON`
/// (<https://www.w3.org/TR/webauthn-3/#dictdef-authenticationresponsejson>). Bytes are base64url without padding.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct PasskeyAssertion {
    /// The credential.
    #[schemars(length(min = 1, max = MAX_CHARS))]
    pub id: String,
    /// The same.
    #[schemars(length(min = 1, max = MAX_CHARS))]
    pub raw_id: String,
    /// Always `public-key`.
    #[serde(rename = "type")]
    #[schemars(extend("const" = "public-key"))]
    pub type_: String,
    /// `platform` or `cross-platform`.
    #[schemars(length(max = MAX_CHARS))]
    pub authenticator_attachment: Option<String>,
    /// What was signed, and the signature.
    pub response: PasskeyResponse,
    /// What the device answered to extensions.
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    pub client_extension_results: Option<Value>,
}

/// WebAuthn's `AuthenticatorAssertionResponseJSON`.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct PasskeyResponse {
    /// Says which challenge was signed, and for which origin.
    #[serde(rename = "clientDataJSON")]
    #[schemars(length(min = 1, max = MAX_CHARS))]
    pub client_data_json: String,
    /// Says for whom, and how the person was verified.
    #[schemars(length(min = 1, max = MAX_CHARS))]
    pub authenticator_data: String,
    /// Over both.
    #[schemars(length(min = 1, max = MAX_CHARS))]
    pub signature: String,
    /// The account, if the credential says it.
    #[schemars(length(max = MAX_CHARS))]
    pub user_handle: Option<String>,
}

impl SessionPasskeyAnswer {
    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let request_id = bounded(data, "request_id")?;
        let assertion = data.take("assertion").map(PasskeyAssertion::parse).transpose()?;
        Ok(Self { request_id, assertion })
    }
}

impl PasskeyAssertion {
    fn parse(value: Value) -> Result<Self, Rejection> {
        let mut fields = Fields::new("data.assertion", value)?;
        let type_ = fields.text("type")?;
        if type_ != "public-key" {
            return Err(fields.invalid("type", "must be \"public-key\""));
        }
        let response = fields.take("response").ok_or_else(|| fields.invalid("response", "is missing"))?;
        let assertion = Self {
            id: base64url(&mut fields, "id")?,
            raw_id: base64url(&mut fields, "rawId")?,
            type_,
            authenticator_attachment: fields.optional_text("authenticatorAttachment")?,
            response: PasskeyResponse::parse(response)?,
            client_extension_results: match fields.take("clientExtensionResults") {
                None => None,
                Some(results @ Value::Object(_)) => Some(results),
                // PHP's empty map.
                Some(Value::Array(items)) if items.is_empty() => None,
                Some(_) => return Err(fields.invalid("clientExtensionResults", "must be an object")),
            },
        };
        fields.finish()?;
        Ok(assertion)
    }
}

impl PasskeyResponse {
    fn parse(value: Value) -> Result<Self, Rejection> {
        let mut fields = Fields::new("data.assertion.response", value)?;
        let response = Self {
            client_data_json: base64url(&mut fields, "clientDataJSON")?,
            authenticator_data: base64url(&mut fields, "authenticatorData")?,
            signature: base64url(&mut fields, "signature")?,
            user_handle: fields.optional_text("userHandle")?,
        };
        fields.finish()?;
        Ok(response)
    }
}

fn bounded(fields: &mut Fields, name: &str) -> Result<String, Rejection> {
    let text = fields.text(name)?;
    if text.is_empty() || text.len() > MAX_CHARS {
        return Err(fields.invalid(name, "must have 1 to 8,192 characters"));
    }
    Ok(text)
}

fn base64url(fields: &mut Fields, name: &str) -> Result<String, Rejection> {
    let text = bounded(fields, name)?;
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
        return Err(fields.invalid(name, "must be base64url without padding"));
    }
    Ok(text)
}

impl fmt::Debug for PasskeyAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasskeyAssertion(redacted)")
    }
}

impl fmt::Debug for PasskeyResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasskeyResponse(redacted)")
    }
}
