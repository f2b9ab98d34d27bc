//! Sealed chunks in, plain bytes out, and none that were not verified.

use std::io::{self, Read};

use hmac::Mac;
use zeroize::Zeroizing;

use super::header::DataKeys;
use super::{Binding, CHUNK, CHUNK_OVERHEAD, Header, Keys};
use crate::wrap::{IV, TAG};

const HEAD: usize = 1 + 4 + IV;

/// Why a container does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The header is damaged or is none.
    #[error("the snapshot is damaged: {0}")]
    Malformed(&'static str),
    /// A chunk is damaged, or is not where it should be.
    #[error("chunk {index} of the snapshot is damaged: {what}")]
    Damaged {
        /// Counted from 0.
        index: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The ring does not have the key.
    #[error("the profile key ring has no key {key_id}")]
    KeyMissing {
        /// The key that is needed.
        key_id: String,
    },
    /// The data key does not open.
    #[error(
        "the snapshot does not open with profile key {key_id}: another secret, another session key, another snapshot's place, or damage"
    )]
    Refused {
        /// The key that was tried.
        key_id: String,
    },
    /// The chunks could not be read.
    #[error("the chunks of the snapshot cannot be read")]
    Io(#[source] io::Error),
}

impl OpenError {
    /// The reason behind an error that came out of [`Opener::read`](Read::read), however deep.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        let mut cause = error.get_ref().map(|cause| cause as &(dyn std::error::Error + 'static));
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            cause = match error.downcast_ref::<io::Error>() {
                Some(nested) => nested.get_ref().map(|cause| cause as &(dyn std::error::Error + 'static)),
                None => error.source(),
            };
        }
        None
    }
}

/// Opens the chunks that `chunks` yields. Reaches its end only after the last chunk was verified and nothing came after it.
pub struct Opener<I> {
    keys: DataKeys,
    chunks: I,
    plain: Zeroizing<Vec<u8>>,
    /// The part of `plain` that is yet to be read.
    ready: std::ops::Range<usize>,
    next: u64,
    ended: bool,
    failed: bool,
}

impl<I: Iterator<Item = io::Result<Vec<u8>>>> Opener<I> {
    /// Verifies the header for this snapshot.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was read from `chunks`.
    pub fn new(header: &Header, keys: Keys<'_>, binding: &Binding<'_>, chunks: I) -> Result<Self, OpenError> {
        let (_, keys) = header.unwrap(keys, binding)?;
        Ok(Self { keys, chunks, plain: Zeroizing::default(), ready: 0..0, next: 0, ended: false, failed: false })
    }

    /// Verifies and decrypts the next chunk.
    fn advance(&mut self) -> Result<(), OpenError> {
        let index = self.next;
        let damaged = |what| OpenError::Damaged { index, what };
        let chunk = self.chunks.next().ok_or_else(|| damaged("it is missing, and no last one came before it"))?;
        let chunk = Zeroizing::new(chunk.map_err(OpenError::Io)?);
        if chunk.len() < HEAD + 16 + TAG || chunk.len() > CHUNK + CHUNK_OVERHEAD {
            return Err(damaged("its size is impossible"));
        }
        let (sealed, tag) = chunk.split_at(chunk.len() - TAG);
        self.keys
            .chunk_mac(index)
            .chain_update(sealed)
            .verify_slice(tag)
            .map_err(|_| damaged("its tag does not fit: changed, cut, or from another place"))?;
        // From here on, the bytes are what the sealer wrote in this place.
        let (head, ciphertext) = sealed.split_at(HEAD);
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        if usize::try_from(length) != Ok(ciphertext.len()) || head[0] > 1 {
            return Err(damaged("its own length or its mark is wrong"));
        }
        let iv: [u8; IV] = head[5..].try_into().expect("the head ends with the initialisation vector");
        self.plain = chunk;
        let end = self.plain.len() - TAG;
        let plain =
            self.keys.pair.decrypt(&iv, &mut self.plain[HEAD..end]).ok_or_else(|| damaged("its padding is wrong"))?;
        self.ready = HEAD..HEAD + plain;
        self.ended = self.plain[0] == 1;
        self.next += 1;
        if self.ended && self.chunks.next().is_some() {
            return Err(OpenError::Damaged { index: self.next, what: "it comes after the last one" });
        }
        Ok(())
    }
}

impl<I: Iterator<Item = io::Result<Vec<u8>>>> Read for Opener<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() {
            if self.failed {
                return Err(io::Error::other("an earlier chunk was refused"));
            }
            if self.ended {
                return Ok(0);
            }
            if let Err(error) = self.advance() {
                self.failed = true;
                self.ready = 0..0;
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        let taken = buffer.len().min(self.ready.len());
        buffer[..taken].copy_from_slice(&self.plain[self.ready.start..self.ready.start + taken]);
        self.ready.start += taken;
        Ok(taken)
    }
}

/// Splits a stream of chunks, one after the other as in a file or an object, back into chunks.
#[derive(Debug)]
pub struct Chunks<R> {
    reader: R,
    ended: bool,
}

impl<R: Read> Chunks<R> {
    /// Everything that follows the header.
    pub fn new(reader: R) -> Self {
        Self { reader, ended: false }
    }

    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut head = Vec::with_capacity(5);
        (&mut self.reader).take(5).read_to_end(&mut head)?;
        let [_, length @ ..] = &head[..] else { return Ok(None) };
        // A head that is cut off, or that claims too much, becomes a chunk whose tag cannot fit.
        let length = <[u8; 4]>::try_from(length).map_or(0, u32::from_be_bytes).min(CHUNK as u32 + 16);
        let rest = u64::from(length) + (IV + TAG) as u64;
        let mut chunk = Vec::with_capacity(CHUNK + CHUNK_OVERHEAD);
        chunk.append(&mut head);
        (&mut self.reader).take(rest).read_to_end(&mut chunk)?;
        Ok(Some(chunk))
    }
}

impl<R: Read> Iterator for Chunks<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let chunk = self.chunk();
        self.ended = !matches!(chunk, Ok(Some(_)));
        chunk.transpose()
    }
}
