//! From a generation to a directory: fetch, verify, unpack beside the profile, and only then take its place.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use wafleet_profile::archive::{self, UnpackError};
use wafleet_profile::container::{Chunks, Header, Keys, OpenError, Opener};
use wafleet_profile::keys::{SessionKey, SessionKeyError};

use super::place::{Old, Place};
use super::{CHUNKS_AHEAD, LIMITS, Snapshots, objects};
use crate::database::{DatabaseError, SnapshotRow};
use crate::lease::Fenced;
use crate::logging::chain;
use crate::objects::ObjectError;

/// How long a restore may hold up the start of a browser.
pub(super) const RESTORE_LIMIT: Duration = Duration::from_secs(45);

/// Why a profile that should have been restored was not. Nothing was deleted, neither on the disk nor in the database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    #[error("every generation of the profile is damaged")]
    AllDamaged,
    /// The ring lacks the key: a matter of configuration, and no reason to fall back to an older generation.
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Key(#[from] SessionKeyError),
    #[error("the key of this session was erased, and its snapshots with it")]
    KeyErased,
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A matter of configuration as well.
    #[error("the saved profile lies in an object store, and none is configured")]
    NoObjectStore,
    #[error(transparent)]
    Fenced(#[from] Fenced),
    #[error("the session's directory cannot be changed")]
    Disk(#[from] io::Error),
    #[error(transparent)]
    Unpack(UnpackError),
    #[error("restoring took longer than {} s", RESTORE_LIMIT.as_secs())]
    TooLong,
    #[error("the task that unpacks panicked")]
    Panicked,
}

/// What took the profile's place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Restored {
    pub(super) generation: u64,
    /// A newer one was damaged.
    pub(super) damaged: bool,
}

impl Snapshots {
    /// Restores the newest generation below `below` that is whole. `None`: there is none below it at all.
    pub(super) async fn restore(&self, place: &Place, below: u64, old: Old) -> Result<Option<Restored>, RestoreError> {
        let candidates = self.database.restorable_snapshots(self.session.as_str()).await?;
        let candidates: Vec<_> = candidates.into_iter().filter(|row| row.generation < below).collect();
        if candidates.is_empty() {
            return Ok(None);
        }
        let mut damaged = false;
        let wrapped = self.database.session_key(self.session.as_str()).await?.ok_or(RestoreError::KeyErased)?;
        let key = SessionKey::unwrap(&self.ring, self.workspace, self.session.as_str(), &wrapped)?;
        for row in candidates {
            let began = Instant::now();
            match self.restore_one(&row, &key, place).await {
                Ok((files, restored)) => {
                    let place = place.clone();
                    let installing = tokio::task::spawn_blocking(move || place.install(&restored, old));
                    installing.await.map_err(|_| RestoreError::Panicked)??;
                    self.counters.count("snapshots", "restored");
                    tracing::info!(
                        generation = row.generation,
                        saved_at_epoch = row.fence,
                        files,
                        ms = began.elapsed().as_millis(),
                        "profile restored"
                    );
                    return Ok(Some(Restored { generation: row.generation, damaged }));
                }
                Err(damage) if is_damage(&damage) => {
                    damaged = true;
                    self.counters.count("snapshots", "damaged");
                    tracing::error!(
                        generation = row.generation,
                        error = %chain(&damage),
                        "a saved profile is damaged and is left where it is; the generation before it is tried"
                    );
                }
                Err(error) => return Err(error),
            }
        }
        Err(RestoreError::AllDamaged)
    }

    /// Unpacks one generation beside the profile, verified to its last chunk.
    async fn restore_one(
        &self,
        row: &SnapshotRow,
        key: &SessionKey,
        place: &Place,
    ) -> Result<(u64, PathBuf), RestoreError> {
        let header = Header::parse(&row.header)?;
        let restored = place.fresh()?;
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        let unpacking = {
            let (this, key, generation, fence) = (self.clone(), key.clone(), row.generation, row.fence);
            let (target, rows) = (restored.clone(), row.object.is_none());
            tokio::task::spawn_blocking(move || {
                let keys = Keys { ring: &this.ring, session: &key };
                let pieces = Pieces { receiver, piece: io::Cursor::default() };
                let chunks: Box<dyn Iterator<Item = io::Result<Vec<u8>>>> =
                    if rows { Box::new(pieces) } else { Box::new(Chunks::new(pieces)) };
                let opener = Opener::new(&header, keys, &this.binding(generation, fence), chunks)?;
                archive::unpack(opener, &target, LIMITS).map_err(RestoreError::Unpack)
            })
        };
        let fed = match &row.object {
            Some(object) => self.feed_object(row, object, &sender).await,
            None => self.feed_rows(row, &sender).await,
        };
        if fed.is_err() {
            // Rather than end there, as if nothing more were to come. Whoever has stopped listening says why itself.
            let _ = sender.send(Err(io::Error::other("the rest could not be read"))).await;
        }
        drop(sender);
        let unpacked = unpacking.await.map_err(|_| RestoreError::Panicked)?;
        let result = fed.and(unpacked);
        if result.is_err() {
            // Half a profile would only take room from whoever tries next.
            let (place, half) = (place.clone(), restored.clone());
            let _ = tokio::task::spawn_blocking(move || place.discard(&half)).await;
        }
        Ok((result?.files, restored))
    }

    async fn feed_rows(&self, row: &SnapshotRow, sink: &mpsc::Sender<io::Result<Vec<u8>>>) -> Result<(), RestoreError> {
        if self.database.chunk_count(row.id).await? > row.chunks {
            return Err(OpenError::Damaged { index: row.chunks, what: "there are more rows than chunks" }.into());
        }
        for seq in 0..row.chunks {
            let Some(chunk) = self.database.chunk(row.id, seq).await? else { break }; // the opener misses it
            if sink.send(Ok(chunk)).await.is_err() {
                break; // the unpacking has ended, and says why
            }
        }
        Ok(())
    }

    async fn feed_object(
        &self,
        row: &SnapshotRow,
        object: &str,
        sink: &mpsc::Sender<io::Result<Vec<u8>>>,
    ) -> Result<(), RestoreError> {
        let store = self.objects.as_ref().ok_or(RestoreError::NoObjectStore)?;
        match objects::download(store, object, sink).await? {
            Some(size) if size == row.bytes => Ok(()),
            Some(_) => Err(OpenError::Malformed("its object has another size").into()),
            None => Err(OpenError::Malformed("its object is gone").into()),
        }
    }
}

/// What comes from the store, a piece at a time: as an iterator, or as one stream.
struct Pieces {
    receiver: mpsc::Receiver<io::Result<Vec<u8>>>,
    piece: io::Cursor<Vec<u8>>,
}

impl Iterator for Pieces {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.receiver.blocking_recv()
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.next() {
                Some(piece) => self.piece = io::Cursor::new(piece?),
                None => return Ok(0),
            }
        }
    }
}

/// Whether an older generation may help: the bytes are wrong, rather than the keys, the disk or the database.
fn is_damage(error: &RestoreError) -> bool {
    let damaged = |error: &OpenError| {
        matches!(error, OpenError::Malformed(_) | OpenError::Damaged { .. } | OpenError::Refused { .. })
    };
    match error {
        // The session's key has opened, so the ring is right; a header that does not open is damaged.
        RestoreError::Open(error) => damaged(error),
        RestoreError::Unpack(UnpackError::Read(error)) => OpenError::of(error).is_none_or(damaged),
        RestoreError::Unpack(UnpackError::Write { .. }) => false,
        RestoreError::Unpack(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wrong_bytes_are_a_reason_to_go_back_a_generation() {
        let reading = |error: OpenError| {
            RestoreError::Unpack(UnpackError::Read(io::Error::new(io::ErrorKind::InvalidData, error)))
        };
        let key = || "k".to_owned();
        let cases = [
            (RestoreError::Open(OpenError::Malformed("x")), true),
            (RestoreError::Open(OpenError::Refused { key_id: key() }), true),
            (RestoreError::Open(OpenError::KeyMissing { key_id: key() }), false),
            (RestoreError::Key(SessionKeyError::Refused { key_id: key() }), false),
            (RestoreError::KeyErased, false),
            (reading(OpenError::Damaged { index: 3, what: "x" }), true),
            (reading(OpenError::Io(io::Error::other("away"))), false),
            (RestoreError::Unpack(UnpackError::Read(io::ErrorKind::UnexpectedEof.into())), true),
            (RestoreError::Unpack(UnpackError::Forbidden { what: "x" }), true),
            (RestoreError::Unpack(UnpackError::Ratio), true),
            (
                RestoreError::Unpack(UnpackError::Write {
                    path: "x".into(),
                    source: io::ErrorKind::StorageFull.into(),
                }),
                false,
            ),
            (RestoreError::Disk(io::ErrorKind::StorageFull.into()), false),
            (RestoreError::Fenced(Fenced), false),
            (RestoreError::TooLong, false),
        ];
        for (error, expected) in cases {
            assert_eq!(is_damage(&error), expected, "{error:?}");
        }
    }
}
