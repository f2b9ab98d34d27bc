//! Plain bytes in, sealed chunks out.

use std::io::{self, Write};

use hmac::Mac;
use rand::CryptoRng;
use zeroize::Zeroizing;

use super::header::DataKeys;
use super::{Binding, CHUNK, CHUNK_OVERHEAD, Header, Keys};
use crate::wrap::IV;

/// Seals what is written to it and hands each finished chunk to `sink`, in order. Without [`finish`](Self::finish) there
/// is no last chunk, and the container does not open.
pub struct Sealer<R, S> {
    keys: DataKeys,
    plain: Zeroizing<Vec<u8>>,
    next: u64,
    rng: R,
    sink: S,
}

impl<R: CryptoRng, S: FnMut(Vec<u8>) -> io::Result<()>> Sealer<R, S> {
    /// Begins a container with a fresh data key.
    pub fn new(keys: Keys<'_>, binding: &Binding<'_>, mut rng: R, sink: S) -> (Header, Self) {
        let (header, keys) = Header::seal(keys, binding, &mut rng);
        (header, Self { keys, plain: Zeroizing::new(Vec::with_capacity(CHUNK)), next: 0, rng, sink })
    }

    /// Seals what is left as the last chunk; returns the number of chunks.
    ///
    /// # Errors
    /// Whatever `sink` answers.
    pub fn finish(mut self) -> io::Result<u64> {
        self.seal(true)?;
        Ok(self.next)
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let mut iv = [0; IV];
        self.rng.fill_bytes(&mut iv);
        let mut chunk = Vec::with_capacity(self.plain.len() + CHUNK_OVERHEAD);
        let ciphertext = (self.plain.len() / 16 + 1) * 16;
        chunk.push(u8::from(last));
        chunk.extend_from_slice(&u32::try_from(ciphertext).expect("256 KiB and a block").to_be_bytes());
        chunk.extend_from_slice(&iv);
        let body = chunk.len();
        chunk.extend_from_slice(&self.plain);
        chunk.resize(body + ciphertext, 0);
        self.keys.pair.encrypt(&iv, &mut chunk[body..], self.plain.len());
        let tag = self.keys.chunk_mac(self.next).chain_update(&chunk).finalize().into_bytes();
        chunk.extend_from_slice(&tag);
        self.plain.clear();
        self.next += 1;
        (self.sink)(chunk)
    }
}

impl DataKeys {
    /// The authenticator of chunk `index`; `last`, length, initialisation vector and ciphertext follow.
    pub(super) fn chunk_mac(&self, index: u64) -> hmac::Hmac<sha2::Sha256> {
        self.pair.mac(&[b"chunk", &self.header_tag, &index.to_be_bytes()])
    }
}

impl<R: CryptoRng, S: FnMut(Vec<u8>) -> io::Result<()>> Write for Sealer<R, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        // A full chunk waits until it is known whether it is the last one.
        if self.plain.len() == CHUNK {
            self.seal(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.plain.len());
        self.plain.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // a chunk ends where it is full, so that its size tells nothing of how it was written
    }
}
