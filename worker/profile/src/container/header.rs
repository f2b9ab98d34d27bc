//! The header: what the container is, and its data key, wrapped.

use std::io::Read;

use hmac::Mac;
use rand::CryptoRng;

use super::open::OpenError;
use super::{Binding, CHUNK, Keys};
use crate::keys::{RingKey, Secret, is_key_id};
use crate::wrap::{self, Pair, TAG, WRAP};

const MAGIC: &[u8; 7] = b"WASNAP\0";
const VERSION: u8 = 1;
const SALT: usize = 16;
const FIXED: usize = MAGIC.len() + 1 + 4 + SALT;

/// The header of a container. Reading one proves nothing: [`Opener`](super::Opener) verifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    fixed: [u8; FIXED],
    key_id: String,
    wrapped: [u8; WRAP],
    tag: [u8; TAG],
}

/// What encrypts and authenticates the chunks of one container.
pub(super) struct DataKeys {
    pub(super) pair: Pair,
    /// Stands in every chunk's tag for the header and the binding.
    pub(super) header_tag: [u8; TAG],
}

impl Header {
    /// Makes a new data key and wraps it.
    pub(super) fn seal(keys: Keys<'_>, binding: &Binding<'_>, rng: &mut impl CryptoRng) -> (Self, DataKeys) {
        let mut fixed = [0; FIXED];
        fixed[..7].copy_from_slice(MAGIC);
        fixed[7] = VERSION;
        fixed[8..12].copy_from_slice(&u32::try_from(CHUNK).expect("256 KiB").to_be_bytes());
        rng.fill_bytes(&mut fixed[12..]);
        let data_key = Secret::generate(rng);
        let pair = Pair::derive(&fixed[12..], &[&data_key], "wasnap/1/data");
        let tag = header_mac(&pair, &fixed, binding).finalize().into_bytes().into();
        let key = keys.ring.sealing();
        let wrapped = wrap_data_key(&fixed, key, keys, binding, &data_key, rng);
        (Self { fixed, key_id: key.id.clone(), wrapped, tag }, DataKeys { pair, header_tag: tag })
    }

    /// Reads a header and nothing beyond it.
    ///
    /// # Errors
    /// [`OpenError::Malformed`] when these bytes are none, [`OpenError::Io`] when reading fails.
    pub fn read(reader: &mut impl Read) -> Result<Self, OpenError> {
        let mut fixed = [0; FIXED];
        fill(reader, &mut fixed)?;
        if &fixed[..7] != MAGIC {
            return Err(OpenError::Malformed("it does not begin like a snapshot"));
        }
        if fixed[7] != VERSION {
            return Err(OpenError::Malformed("its version is not 1"));
        }
        if fixed[8..12] != u32::try_from(CHUNK).expect("256 KiB").to_be_bytes() {
            return Err(OpenError::Malformed("its chunk size is not 256 KiB"));
        }
        let mut length = [0];
        fill(reader, &mut length)?;
        let mut key_id = vec![0; usize::from(length[0])];
        fill(reader, &mut key_id)?;
        let key_id = String::from_utf8(key_id).ok().filter(|id| is_key_id(id));
        let key_id = key_id.ok_or(OpenError::Malformed("its key id is none"))?;
        let (mut wrapped, mut tag) = ([0; WRAP], [0; TAG]);
        fill(reader, &mut wrapped)?;
        fill(reader, &mut tag)?;
        Ok(Self { fixed, key_id, wrapped, tag })
    }

    /// As [`read`](Self::read), from bytes that are a header and nothing else.
    ///
    /// # Errors
    /// [`OpenError::Malformed`].
    pub fn parse(mut bytes: &[u8]) -> Result<Self, OpenError> {
        let header = Self::read(&mut bytes)?;
        if bytes.is_empty() { Ok(header) } else { Err(OpenError::Malformed("something follows its header")) }
    }

    /// The header as it is stored.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.fixed.to_vec();
        bytes.push(u8::try_from(self.key_id.len()).expect("a key id has at most 64 bytes"));
        bytes.extend_from_slice(self.key_id.as_bytes());
        bytes.extend_from_slice(&self.wrapped);
        bytes.extend_from_slice(&self.tag);
        bytes
    }

    /// The ring key that wraps the data key.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The same container under the ring's sealing key. No chunk changes.
    ///
    /// # Errors
    /// As for opening it: the old key must be in the ring too.
    pub fn rewrap(&self, keys: Keys<'_>, binding: &Binding<'_>, rng: &mut impl CryptoRng) -> Result<Self, OpenError> {
        let (data_key, _) = self.unwrap(keys, binding)?;
        let key = keys.ring.sealing();
        let wrapped = wrap_data_key(&self.fixed, key, keys, binding, &data_key, rng);
        Ok(Self { key_id: key.id.clone(), wrapped, ..self.clone() })
    }

    pub(super) fn unwrap(&self, keys: Keys<'_>, binding: &Binding<'_>) -> Result<(Secret, DataKeys), OpenError> {
        let refused = || OpenError::Refused { key_id: self.key_id.clone() };
        let key = keys.ring.get(&self.key_id).ok_or_else(|| OpenError::KeyMissing { key_id: self.key_id.clone() })?;
        let wrapping = Pair::derive(&self.fixed[12..], &[&key.secret, &keys.session.0], "wasnap/1/wrap");
        let context = wrap_context(&self.fixed, &self.key_id, binding);
        let data_key = wrap::unwrap(&wrapping, &[&context], &self.wrapped).map_err(|_| refused())?;
        let pair = Pair::derive(&self.fixed[12..], &[&data_key], "wasnap/1/data");
        header_mac(&pair, &self.fixed, binding)
            .verify_slice(&self.tag)
            .map_err(|_| OpenError::Malformed("the tag of its header does not fit"))?;
        Ok((data_key, DataKeys { pair, header_tag: self.tag }))
    }
}

fn wrap_data_key(
    fixed: &[u8; FIXED],
    key: &RingKey,
    keys: Keys<'_>,
    binding: &Binding<'_>,
    data_key: &Secret,
    rng: &mut impl CryptoRng,
) -> [u8; WRAP] {
    let wrapping = Pair::derive(&fixed[12..], &[&key.secret, &keys.session.0], "wasnap/1/wrap");
    wrap::wrap(&wrapping, &[&wrap_context(fixed, &key.id, binding)], data_key, rng)
}

fn wrap_context(fixed: &[u8; FIXED], key_id: &str, binding: &Binding<'_>) -> Vec<u8> {
    let mut context = fixed.to_vec();
    context.push(u8::try_from(key_id.len()).expect("a key id has at most 64 bytes"));
    context.extend_from_slice(key_id.as_bytes());
    context.extend_from_slice(&binding.bytes());
    context
}

fn header_mac(pair: &Pair, fixed: &[u8; FIXED], binding: &Binding<'_>) -> hmac::Hmac<sha2::Sha256> {
    pair.mac(&[b"head", fixed, &binding.bytes()])
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> Result<(), OpenError> {
    reader.read_exact(buffer).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => OpenError::Malformed("its header is cut off"),
        _ => OpenError::Io(error),
    })
}
