//! One secret of 32 bytes under another: AES-256-CBC, then HMAC-SHA-256 over everything that gives it its meaning.

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use rand::CryptoRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::keys::Secret;

/// Block size of AES, and so the size of an initialisation vector.
pub(crate) const IV: usize = 16;
/// Output of HMAC-SHA-256.
pub(crate) const TAG: usize = 32;
/// 32 bytes and the padding that PKCS#7 adds to a whole number of blocks.
const WRAPPED_SECRET: usize = 48;
/// Initialisation vector, wrapped secret, tag.
pub(crate) const WRAP: usize = IV + WRAPPED_SECRET + TAG;

/// The tag does not fit: another key, another context, or changed bytes. Which of them, nobody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

/// An encryption key and an authentication key that share nothing but their origin.
pub(crate) struct Pair {
    cipher: Zeroizing<[u8; 32]>,
    mac: Hmac<Sha256>,
}

impl Pair {
    /// HKDF-SHA-256 of `secrets`, whose lengths are fixed by the caller; `purpose` keeps the uses of one secret apart.
    pub(crate) fn derive(salt: &[u8], secrets: &[&Secret], purpose: &str) -> Self {
        let mut origin = Zeroizing::new(Vec::with_capacity(32 * secrets.len()));
        for secret in secrets {
            origin.extend_from_slice(secret.expose());
        }
        let expander = Hkdf::<Sha256>::new(Some(salt), &origin);
        let expand = |algorithm: &str| {
            let mut key = Zeroizing::new([0; 32]);
            let info = [purpose.as_bytes(), b"/", algorithm.as_bytes()];
            expander.expand_multi_info(&info, key.as_mut_slice()).expect("HKDF-SHA-256 yields up to 8,160 bytes");
            key
        };
        let mac = Hmac::new_from_slice(expand("hmac-sha-256").as_slice()).expect("HMAC takes keys of any length");
        Self { cipher: expand("aes-256-cbc"), mac }
    }

    /// The authenticator, with `context` already in it.
    pub(crate) fn mac(&self, context: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        context.iter().for_each(|part| mac.update(part));
        mac
    }

    /// Encrypts the first `length` bytes of `buffer`, which has room for the padding; returns the length of the ciphertext.
    pub(crate) fn encrypt(&self, iv: &[u8; IV], buffer: &mut [u8], length: usize) -> usize {
        let cipher = cbc::Encryptor::<Aes256>::new((&*self.cipher).into(), iv.into());
        cipher.encrypt_padded::<Pkcs7>(buffer, length).expect("the caller leaves a block of room").len()
    }

    /// Decrypts in place; `None` when the padding is none. Only ever called with bytes whose tag was verified.
    pub(crate) fn decrypt(&self, iv: &[u8; IV], buffer: &mut [u8]) -> Option<usize> {
        let cipher = cbc::Decryptor::<Aes256>::new((&*self.cipher).into(), iv.into());
        cipher.decrypt_padded::<Pkcs7>(buffer).ok().map(<[u8]>::len)
    }
}

/// Wraps `secret`. `context` is authenticated; its parts must be unambiguous when joined.
pub(crate) fn wrap(pair: &Pair, context: &[&[u8]], secret: &Secret, rng: &mut impl CryptoRng) -> [u8; WRAP] {
    let mut wrapped = [0; WRAP];
    let mut iv = [0; IV];
    rng.fill_bytes(&mut iv);
    wrapped[..IV].copy_from_slice(&iv);
    wrapped[IV..IV + 32].copy_from_slice(secret.expose());
    pair.encrypt(&iv, &mut wrapped[IV..IV + WRAPPED_SECRET], 32);
    let tag = pair.mac(&[b"wrap"]).chain_update(context.concat()).chain_update(&wrapped[..IV + WRAPPED_SECRET]);
    wrapped[IV + WRAPPED_SECRET..].copy_from_slice(&tag.finalize().into_bytes());
    wrapped
}

/// The reverse of [`wrap`]; verifies before it decrypts.
pub(crate) fn unwrap(pair: &Pair, context: &[&[u8]], wrapped: &[u8; WRAP]) -> Result<Secret, Refused> {
    let (sealed, tag) = wrapped.split_at(IV + WRAPPED_SECRET);
    let mac = pair.mac(&[b"wrap"]).chain_update(context.concat()).chain_update(sealed);
    mac.verify_slice(tag).map_err(|_| Refused)?;
    let (iv, ciphertext) = sealed.split_at(IV);
    let iv: &[u8; IV] = iv.try_into().map_err(|_| Refused)?;
    let mut secret = Zeroizing::new([0; WRAPPED_SECRET]);
    secret.copy_from_slice(ciphertext);
    let length = pair.decrypt(iv, secret.as_mut_slice()).ok_or(Refused)?;
    Secret::from_slice(&secret[..length]).ok_or(Refused)
}
