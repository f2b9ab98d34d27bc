//! Small records, each sealed by itself: for a log that is read back after a crash, where the last record may be torn.
//!
//! A file of records begins with a header that names the ring's key and carries the salt of the file's own pair of keys.
//! Each record is authenticated together with the header and its number, so it cannot be moved, swapped or altered; that
//! one is missing shows in the numbers.

use hmac::Mac;
use rand::CryptoRng;

use crate::keys::{Ring, is_key_id};
use crate::wrap::{IV, Pair, TAG};

/// Marks a file of sealed records; the last byte is the version.
const MAGIC: &[u8; 8] = b"WAREC\0\0\x01";
const SALT: usize = 16;
/// Size of a block of AES, to which a record is padded.
const BLOCK: usize = 16;
/// What sealing adds to a record at most: initialisation vector, padding, tag.
pub const RECORD_OVERHEAD: usize = IV + BLOCK + TAG;

/// Why the records of a file cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// The bytes end before the header does: the file was being begun when its writer ended.
    #[error("the header is incomplete")]
    Incomplete,
    /// The bytes are no header.
    #[error("these bytes are no header of sealed records")]
    Malformed,
    /// The ring has no key of this id.
    #[error("the profile key ring has no key {key_id}")]
    KeyMissing {
        /// The key that is needed.
        key_id: String,
    },
}

/// Seals and opens the records of one file.
pub struct Records {
    header: Vec<u8>,
    pair: Pair,
}

impl Records {
    /// Begins a file, under the ring's sealing key and a salt of its own.
    pub fn begin(ring: &Ring, rng: &mut impl CryptoRng) -> Self {
        let key = ring.sealing();
        let mut salt = [0; SALT];
        rng.fill_bytes(&mut salt);
        let mut header = MAGIC.to_vec();
        header.push(u8::try_from(key.id.len()).expect("a key id has at most 64 bytes"));
        header.extend_from_slice(key.id.as_bytes());
        header.extend_from_slice(&salt);
        Self { pair: Pair::derive(&salt, &[&key.secret], "warec/1"), header }
    }

    /// Goes on with a file whose bytes begin with the header of [`begin`](Self::begin).
    ///
    /// # Errors
    /// [`RecordsError`].
    pub fn read(ring: &Ring, bytes: &[u8]) -> Result<Self, RecordsError> {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Err(RecordsError::Malformed);
        }
        let length = *bytes.get(MAGIC.len()).ok_or(RecordsError::Incomplete)?;
        let id_end = MAGIC.len() + 1 + usize::from(length);
        let id = bytes.get(MAGIC.len() + 1..id_end).ok_or(RecordsError::Incomplete)?;
        let key_id = std::str::from_utf8(id).ok().filter(|id| is_key_id(id)).ok_or(RecordsError::Malformed)?;
        let header = bytes.get(..id_end + SALT).ok_or(RecordsError::Incomplete)?;
        let key = ring.get(key_id).ok_or_else(|| RecordsError::KeyMissing { key_id: key_id.to_owned() })?;
        Ok(Self { pair: Pair::derive(&header[id_end..], &[&key.secret], "warec/1"), header: header.to_vec() })
    }

    /// The bytes a file begins with.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Seals one record: initialisation vector, ciphertext, tag.
    pub fn seal(&self, number: u64, plain: &[u8], rng: &mut impl CryptoRng) -> Vec<u8> {
        let mut iv = [0; IV];
        rng.fill_bytes(&mut iv);
        let mut sealed = Vec::with_capacity(plain.len() + RECORD_OVERHEAD);
        sealed.extend_from_slice(&iv);
        sealed.extend_from_slice(plain);
        sealed.resize(IV + (plain.len() / BLOCK + 1) * BLOCK, 0);
        self.pair.encrypt(&iv, &mut sealed[IV..], plain.len());
        let tag = self.mac(number).chain_update(&sealed).finalize().into_bytes();
        sealed.extend_from_slice(&tag);
        sealed
    }

    /// The reverse of [`seal`](Self::seal); `None` when it is not this record of this file, whole and unaltered.
    #[must_use]
    pub fn open(&self, number: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        let (sealed, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG)?)?;
        self.mac(number).chain_update(sealed).verify_slice(tag).ok()?;
        let (iv, ciphertext) = sealed.split_at_checked(IV)?;
        let mut plain = ciphertext.to_vec();
        let length = self.pair.decrypt(iv.try_into().ok()?, &mut plain)?;
        plain.truncate(length);
        Some(plain)
    }

    fn mac(&self, number: u64) -> hmac::Hmac<sha2::Sha256> {
        self.pair.mac(&[b"record", &self.header, &number.to_be_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn ring(keys: &[(&str, u8)]) -> Ring {
        let keys: Vec<_> = keys
            .iter()
            .map(|(id, fill)| serde_json::json!({"id": id, "secret": STANDARD.encode([*fill; 32])}))
            .collect();
        Ring::parse(&serde_json::json!({ "keys": keys }).to_string()).expect("a ring")
    }

    #[test]
    fn a_record_opens_under_its_own_number_in_its_own_file_only() {
        let rng = &mut StdRng::seed_from_u64(1);
        let records = Records::begin(&ring(&[("a", 1)]), rng);
        let sealed = records.seal(7, b"hello", rng);
        assert!(!sealed.windows(5).any(|window| window == b"hello"));
        let later = ring(&[("b", 2), ("a", 1)]);
        let again = Records::read(&later, records.header()).expect("the ring still has the key");
        assert_eq!(again.open(7, &sealed).as_deref(), Some(&b"hello"[..]));
        assert_eq!(again.open(8, &sealed), None);
        assert_eq!(Records::begin(&later, rng).open(7, &sealed), None);
        let other_secret = Records::read(&ring(&[("a", 9)]), records.header()).expect("the id is known");
        assert_eq!(other_secret.open(7, &sealed), None);
    }

    #[test]
    fn a_header_says_what_is_wrong_with_it() {
        let rng = &mut StdRng::seed_from_u64(1);
        let header = Records::begin(&ring(&[("a", 1)]), rng).header().to_vec();
        let error = |ring: &Ring, bytes: &[u8]| Records::read(ring, bytes).err();
        for length in 0..header.len() {
            assert_eq!(error(&ring(&[("a", 1)]), &header[..length]), Some(RecordsError::Incomplete), "{length}");
        }
        assert_eq!(error(&ring(&[("b", 1)]), &header), Some(RecordsError::KeyMissing { key_id: "a".into() }));
        assert_eq!(error(&ring(&[("a", 1)]), b"something else"), Some(RecordsError::Malformed));
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was_and_altered_not_at_all(
            plain in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let rng = &mut StdRng::seed_from_u64(3);
            let records = Records::begin(&ring(&[("a", 1)]), rng);
            let mut sealed = records.seal(1, &plain, rng);
            prop_assert!(sealed.len() <= plain.len() + RECORD_OVERHEAD);
            prop_assert_eq!(records.open(1, &sealed), Some(plain));
            let at = at.index(sealed.len());
            prop_assert_eq!(records.open(1, &sealed[..at]), None);
            sealed[at] ^= 1 << bit;
            prop_assert_eq!(records.open(1, &sealed), None);
        }
    }
}
