//! The sealed container: a header, then chunks, each verified before it is decrypted.
//!
//! [`Sealer`] is a [`Write`](std::io::Write) that hands finished chunks on, [`Opener`] a [`Read`](std::io::Read) over
//! chunks; both hold one chunk in memory. The crate's front page draws the bytes.

mod header;
mod open;
mod seal;

use crate::keys::SessionKey;

pub use header::Header;
pub use open::{Chunks, OpenError, Opener};
pub use seal::Sealer;

/// Bytes of plain text in every chunk but the last: a row of this size and its overhead stays far below the 16 MiB that
/// MySQL and MariaDB take in one packet by default.
pub const CHUNK: usize = 256 * 1024;
/// `last`, length, initialisation vector, one block of padding at most, tag.
pub const CHUNK_OVERHEAD: usize = 1 + 4 + crate::wrap::IV + 16 + crate::wrap::TAG;

/// Which snapshot this is. Not stored in the container: whoever opens one says which one it should be, so a container put
/// in another's place does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The workspace.
    pub workspace: u64,
    /// The session.
    pub session: &'a str,
    /// Number of the snapshot within its session.
    pub generation: u64,
    /// Fence of the owner that wrote it.
    pub fence: u64,
}

impl Binding<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(26 + self.session.len());
        bytes.extend_from_slice(&self.workspace.to_be_bytes());
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.fence.to_be_bytes());
        bytes.extend_from_slice(self.session.as_bytes());
        bytes
    }
}

/// What wraps the data key of a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'a> {
    /// The fleet's ring.
    pub ring: &'a crate::keys::Ring,
    /// The session's own key.
    pub session: &'a SessionKey,
}
