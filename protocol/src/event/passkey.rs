//! WhatsApp asks for a passkey.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

/// Data of `session.passkey`: a request that only a device of the person who links can answer. Answer it with
/// `session.passkey_answer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionPasskey {
    /// Names the request in the answer.
    pub request_id: String,
    /// What the device is asked, as `PublicKeyCredential.parseRequestOptionsFromJSON()` takes it.
    pub request: PasskeyRequest,
    /// The origin that the device has to sign for.
    pub origin: String,
    /// After this an answer comes too late.
    pub expires_at: Timestamp,
}

/// WebAuthn's `PublicKeyCredentialRequestOptionsJSON`
/// (<https://www.w3.org/TR/webauthn-3/#dictdef-publickeycredentialrequestoptionsjson>). Bytes are base64url without
/// padding. Extensions that the page asks for are not passed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasskeyRequest {
    /// What is to be signed.
    pub challenge: String,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rp_id: Option<String>,
    /// Whether the person has to be verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_verification: Option<String>,
    /// Milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// The passkeys that are accepted; none: any of this site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<Vec<PasskeyDescriptor>>,
}

/// One accepted passkey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PasskeyDescriptor {
    /// The credential.
    pub id: String,
    /// Always `public-key`.
    #[serde(rename = "type")]
    pub type_: String,
    /// How its device can be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transports: Option<Vec<String>>,
}
