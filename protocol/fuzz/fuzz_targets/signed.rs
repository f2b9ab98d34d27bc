//! Whatever headers, properties and body: no panic, and nothing is accepted, for nobody can guess the secret.
//!
//! The input is cut at line breaks: nine fields, the signature, and the rest is the body.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wafleet_protocol::signing::{
    AUDIENCE_HEADER, Audience, EXPIRES_AT_HEADER, HeaderValue, ISSUED_AT_HEADER, KEY_HEADER, Keyring, RawProperties,
    SESSION_HEADER, SIGNATURE_HEADER, Signed, WORKSPACE_HEADER,
};

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| {
    let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let ring = format!(r#"{{"keys":[{{"id":"k","role":"commands","secret":"{secret}","workspaces":["*"]}}]}}"#);
    Keyring::parse(&ring).expect("a valid ring")
});

fuzz_target!(|input: &[u8]| {
    let mut pieces = input.splitn(11, |byte| *byte == b'\n');
    let mut field = || pieces.next().and_then(|piece| std::str::from_utf8(piece).ok());
    let (message_id, type_, content_type) = (field(), field(), field());
    let names = [
        KEY_HEADER,
        AUDIENCE_HEADER,
        WORKSPACE_HEADER,
        SESSION_HEADER,
        ISSUED_AT_HEADER,
        EXPIRES_AT_HEADER,
        SIGNATURE_HEADER,
    ];
    let headers: Vec<_> =
        names.map(|name| (name, field().map_or(HeaderValue::Other, HeaderValue::Text))).into_iter().collect();
    let body = pieces.next().unwrap_or_default();
    let properties = RawProperties { message_id, type_, content_type, headers: &headers };
    for audience in [Audience::Commands, Audience::Events] {
        let verdict = Signed::new(properties, body).verify(&KEYRING, audience, 1_795_000_000);
        assert!(verdict.is_err(), "{verdict:?}");
    }
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = Keyring::parse(text);
    }
});
