//! A person's passkey: the key lies in his device, and what it signs is checked as a server checks it.
//!
//! WebAuthn Level 3, §7.2 "Verifying an Authentication Assertion", as far as it can fail here: type, challenge, origin,
//! relying party, presence and verification of the person, signature.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};

/// The relying party of WhatsApp's passkeys.
pub(crate) const RELYING_PARTY: &str = "whatsapp.com";
/// The person was there, and was verified.
const PRESENT_AND_VERIFIED: u8 = 0b101;

/// A device that holds one passkey for WhatsApp.
#[derive(Debug)]
pub struct Passkey {
    key: EcdsaKeyPair,
    id: Vec<u8>,
}

impl Passkey {
    pub(crate) fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("the system has random numbers");
        let id = digest(&SHA256, key.public_key().as_ref()).as_ref()[..16].to_vec();
        Self { key, id }
    }

    /// Names it.
    pub fn id(&self) -> String {
        BASE64URL.encode(&self.id)
    }

    /// What the device answers to `request` (WebAuthn's `PublicKeyCredentialRequestOptionsJSON`) on a page of `origin`,
    /// after the person agreed: an `AuthenticationResponseJSON`.
    ///
    /// # Panics
    /// When the request has no challenge, which is a mistake of the test.
    pub fn sign(&self, request: &Value, origin: &str) -> Value {
        let challenge = request["challenge"].as_str().expect("a request has a challenge");
        let client = json!({ "type": "webauthn.get", "challenge": challenge, "origin": origin, "crossOrigin": false });
        let client = client.to_string().into_bytes();
        let party = request["rpId"].as_str().unwrap_or(RELYING_PARTY);
        let mut data = digest(&SHA256, party.as_bytes()).as_ref().to_vec();
        data.extend([PRESENT_AND_VERIFIED, 0, 0, 0, 1]);
        let signature = self.key.sign(&SystemRandom::new(), &signed(&data, &client)).expect("the key signs");
        json!({
            "id": self.id(),
            "rawId": self.id(),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "response": {
                "clientDataJSON": BASE64URL.encode(&client),
                "authenticatorData": BASE64URL.encode(&data),
                "signature": BASE64URL.encode(signature.as_ref()),
                "userHandle": null,
            },
            "clientExtensionResults": {},
        })
    }

    /// Whether this is its answer to the challenge, made on a page of `origin`. `None`: it does not hold.
    pub(crate) fn verify(&self, assertion: &Value, challenge: &str, origin: &str) -> Option<()> {
        let bytes = |field: &str| BASE64URL.decode(assertion["response"][field].as_str()?).ok();
        let (client, data, signature) = (bytes("clientDataJSON")?, bytes("authenticatorData")?, bytes("signature")?);
        let said: Value = serde_json::from_slice(&client).ok()?;
        let party = digest(&SHA256, RELYING_PARTY.as_bytes());
        let holds = assertion["id"] == self.id().as_str()
            && said["type"] == "webauthn.get"
            && said["challenge"] == challenge
            && said["origin"] == origin
            && data.get(..32)? == party.as_ref()
            && data.get(32)? & PRESENT_AND_VERIFIED == PRESENT_AND_VERIFIED;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.key.public_key().as_ref());
        (holds && key.verify(&signed(&data, &client), &signature).is_ok()).then_some(())
    }
}

fn signed(data: &[u8], client: &[u8]) -> Vec<u8> {
    [data, digest(&SHA256, client).as_ref()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_key_for_the_right_challenge_and_origin_verifies() {
        let (passkey, other) = (Passkey::new(), Passkey::new());
        let request = json!({ "challenge": "AAAA", "rpId": RELYING_PARTY });
        let answer = passkey.sign(&request, "https://a");
        assert!(passkey.verify(&answer, "AAAA", "https://a").is_some());
        assert!(passkey.verify(&answer, "BBBB", "https://a").is_none());
        assert!(passkey.verify(&answer, "AAAA", "https://b").is_none());
        assert!(other.verify(&answer, "AAAA", "https://a").is_none());
        let mut forged = other.sign(&request, "https://a");
        forged["id"] = passkey.id().into();
        assert!(passkey.verify(&forged, "AAAA", "https://a").is_none());
        let elsewhere = passkey.sign(&json!({ "challenge": "AAAA", "rpId": "example.com" }), "https://a");
        assert!(passkey.verify(&elsewhere, "AAAA", "https://a").is_none());
    }
}
