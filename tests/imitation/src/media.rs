//! The media server, and files that are encrypted as WhatsApp does it: the server holds what it cannot read, and the key
//! travels inside the message.

use std::collections::BTreeMap;

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// So much of the authenticator stands behind the ciphertext.
const MAC: usize = 10;

/// What the media server holds, by path.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    files: BTreeMap<String, Bytes>,
    /// Requests for a file, whether they were answered or not.
    asked: u64,
    /// Files that were refused.
    refused: u64,
}

impl Shelf {
    pub(crate) fn put(&mut self, path: String, file: Bytes) {
        self.files.insert(path, file);
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    pub(crate) fn get(&mut self, path: &str) -> Option<Bytes> {
        self.asked += 1;
        self.files.get(path).cloned()
    }

    pub(crate) fn refuse(&mut self) {
        self.refused += 1;
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked
    }

    pub(crate) fn forget(&mut self) {
        self.files.clear();
    }

    /// Encrypts a file, keeps it, and gives what a message says of it.
    pub(crate) fn seal(&mut self, kind: &str, mimetype: &str, plain: &[u8], key: [u8; 32]) -> Value {
        let keys = Keys::derive(&key, kind);
        let cipher = cbc::Encryptor::<Aes256>::new(&keys.cipher.into(), &keys.iv.into());
        let mut file = cipher.encrypt_padded_vec::<Pkcs7>(plain);
        let mac = keys.mac(&file);
        file.extend_from_slice(&mac);
        let hash = Sha256::digest(&file);
        let path = format!("/mms/{}/{}", route(kind), URL_SAFE_NO_PAD.encode(hash));
        self.put(path.clone(), file.into());
        json!({
            "mimetype": mimetype,
            "size": plain.len(),
            "directPath": path,
            "mediaKey": STANDARD.encode(key),
            "filehash": STANDARD.encode(Sha256::digest(plain)),
            "encFilehash": STANDARD.encode(hash),
        })
    }

    /// The file of a message, decrypted and compared with its hashes; `None` when anything does not fit.
    pub(crate) fn open(&self, kind: &str, content: &Value) -> Option<Vec<u8>> {
        let file = self.files.get(content["directPath"].as_str()?)?;
        let key: [u8; 32] = STANDARD.decode(content["mediaKey"].as_str()?).ok()?.try_into().ok()?;
        let keys = Keys::derive(&key, kind);
        let (sealed, mac) = file.split_at(file.len().checked_sub(MAC)?);
        let cipher = cbc::Decryptor::<Aes256>::new(&keys.cipher.into(), &keys.iv.into());
        let plain = cipher.decrypt_padded_vec::<Pkcs7>(sealed).ok()?;
        let hashed = content["filehash"].as_str()? == STANDARD.encode(Sha256::digest(&plain));
        (hashed && keys.mac(sealed) == mac).then_some(plain)
    }
}

/// Where a kind's files lie on the server.
fn route(kind: &str) -> &str {
    match kind {
        "ptt" => "audio",
        "ptv" => "video",
        "sticker" => "image",
        kind => kind,
    }
}

struct Keys {
    iv: [u8; 16],
    cipher: [u8; 32],
    mac: [u8; 32],
}

impl Keys {
    fn derive(key: &[u8; 32], kind: &str) -> Self {
        let name = match route(kind) {
            "audio" => "Audio",
            "video" => "Video",
            "document" => "Document",
            _ => "Image",
        };
        let mut all = [0; 112];
        let info = format!("WhatsApp {name} Keys");
        let expander = Hkdf::<Sha256>::new(Some(&[0; 32]), key);
        expander.expand(info.as_bytes(), &mut all).expect("HKDF-SHA-256 yields up to 8,160 bytes");
        let part = |from: usize| -> [u8; 32] { all[from..from + 32].try_into().expect("a part of 112 bytes") };
        Self { iv: all[..16].try_into().expect("a part of 112 bytes"), cipher: part(16), mac: part(48) }
    }

    fn mac(&self, sealed: &[u8]) -> [u8; MAC] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.mac).expect("HMAC takes keys of every length");
        mac.update(&self.iv);
        mac.update(sealed);
        mac.finalize().into_bytes()[..MAC].try_into().expect("32 bytes have a beginning")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_back_as_it_was_and_only_with_its_key() {
        let mut shelf = Shelf::default();
        let content = shelf.seal("image", "image/png", b"a picture", [7; 32]);
        assert_eq!(shelf.open("image", &content).as_deref(), Some(&b"a picture"[..]));
        assert_eq!(shelf.open("document", &content), None);
        let mut wrong = content.clone();
        wrong["mediaKey"] = STANDARD.encode([8; 32]).into();
        assert_eq!(shelf.open("image", &wrong), None);
        let stored = shelf.files.values().next().expect("a file");
        assert!(!stored.windows(9).any(|window| window == b"a picture"));
        shelf.forget();
        assert_eq!(shelf.open("image", &content), None);
    }
}
