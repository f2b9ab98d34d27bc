//! A session's profile in the database, sealed: saved when its browser has closed, restored where it was never seen.
//!
//! ```text
//! claim ─▶ choose ──the disk has the newest──────────────▶ mark the directory with our fence ─▶ browser
//!             └──a newer owner saved elsewhere──▶ restore ─┘
//! browser closed in good order ─▶ pack, seal, store, switch on ─▶ release
//! ```
//! Packing and unpacking are blocking tasks; between them and the database runs a channel of a few chunks, so memory is
//! flat whatever a profile weighs. Nothing is saved from a running browser: a copy of a profile in use does not always open.
//! Without a ring of profile keys there are no snapshots, and everything else goes on.

mod place;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use wafleet_profile::archive::{self, Limits, PackError, Packed, UnpackError};
use wafleet_profile::container::{Binding, Header, Keys, OpenError, Opener, Sealer};
use wafleet_profile::keys::{Ring, SessionKey, SessionKeyError};
use wafleet_protocol::id::{SessionId, WorkspaceId};

use crate::counters::Counters;
use crate::database::{Complete, Database, DatabaseError, Newest, SnapshotRow};
use crate::lease::{Fenced, Lease};
use crate::logging::chain;
use crate::world::World;
use place::{Choice, Place};

/// How long a save may hold up the release of a session. 100 MB take 4 s to seal on two busy cores.
const SAVE_LIMIT: Duration = Duration::from_secs(25);
/// How long a restore may hold up the start of a browser.
const RESTORE_LIMIT: Duration = Duration::from_secs(45);
/// Chunks between the disk's side and the database's side.
const CHUNKS_AHEAD: usize = 2;

/// Why a profile was not saved. The generations there are stay as they are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SaveError {
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error(transparent)]
    Key(#[from] SessionKeyError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Fenced(#[from] Fenced),
    #[error("saving took longer than {} s", SAVE_LIMIT.as_secs())]
    TooLong,
    #[error("the task that packs panicked")]
    Panicked,
}

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

/// The snapshots of one session, for its owner.
#[derive(Clone)]
pub(crate) struct Snapshots {
    ring: Arc<Ring>,
    database: Database,
    counters: Arc<Counters>,
    lease: Lease,
    workspace: u64,
    session: SessionId,
}

impl Snapshots {
    /// `None` when there is no ring of profile keys.
    pub(crate) fn new(world: &World, workspace: WorkspaceId, session: &SessionId, lease: &Lease) -> Option<Self> {
        Some(Self {
            ring: Arc::clone(world.config.profile_keys.as_ref()?),
            database: world.database.clone(),
            counters: Arc::clone(&world.counters),
            lease: lease.clone(),
            workspace: workspace.get(),
            session: session.clone(),
        })
    }

    /// Puts the newest profile into `session_dir`, whichever place has it, and marks the directory with our fence. No
    /// browser may run on it.
    ///
    /// # Errors
    /// [`RestoreError`]: then no browser may be started either, because it would go on from an older state.
    pub(crate) async fn prepare(&self, session_dir: &Path) -> Result<(), RestoreError> {
        let place = Place::new(session_dir);
        let newest = self.database.newest_snapshot(self.session.as_str()).await?;
        let newest =
            Newest { erased: self.database.erased_up_to(self.workspace, self.session.as_str()).await?, ..newest };
        let choice = place.choose(newest)?;
        match choice {
            Choice::Local => {}
            Choice::Empty => {
                let place = place.clone();
                tokio::task::spawn_blocking(move || place.clear()).await.map_err(|_| RestoreError::Panicked)??;
            }
            Choice::Restore => {
                let restore = tokio::time::timeout(RESTORE_LIMIT, self.restore(&place));
                tokio::select! {
                    restored = restore => restored.map_err(|_| RestoreError::TooLong)??,
                    () = self.lease.lost() => return Err(Fenced.into()),
                }
            }
        }
        self.lease.prove()?;
        place.mark(self.lease.fence())?;
        Ok(())
    }

    /// Saves the profile of a browser that was closed in good order, as a new generation. Says in the log what happened,
    /// and returns whether it was saved.
    pub(crate) async fn save(&self, session_dir: &Path) -> bool {
        let began = Instant::now();
        let saving = tokio::time::timeout(SAVE_LIMIT, self.try_save(session_dir));
        let saved = tokio::select! {
            saved = saving => saved.unwrap_or(Err(SaveError::TooLong)),
            () = self.lease.lost() => Err(Fenced.into()),
        };
        match saved {
            Ok((generation, packed, complete)) => {
                self.counters.count("snapshots", "saved");
                tracing::info!(
                    generation,
                    files = packed.files,
                    bytes = packed.bytes,
                    sealed_bytes = complete.bytes,
                    ms = began.elapsed().as_millis(),
                    "profile saved"
                );
                true
            }
            Err(error) => {
                self.counters.count("snapshots", "save_failed");
                tracing::error!(error = %chain(&error), "the profile is not saved; the generation before it stays the newest");
                false
            }
        }
    }

    /// The device was unlinked: what is saved of it must never be restored.
    pub(crate) async fn unlinked(&self) {
        if let Err(error) = self.database.mark_unlinked(self.session.as_str(), self.lease.fence()).await {
            tracing::error!(error = %chain(&error), "the snapshots of the unlinked device are not marked");
        }
    }

    async fn try_save(&self, session_dir: &Path) -> Result<(u64, Packed, Complete), SaveError> {
        let fence = self.lease.fence();
        self.lease.prove()?;
        let key = self.session_key().await?;
        let generation = self.database.next_generation(self.session.as_str(), fence).await?;
        let (header, header_ready) = oneshot::channel();
        let (sender, mut chunks) = mpsc::channel(CHUNKS_AHEAD);
        let packing = {
            let (this, profile) = (self.clone(), Place::new(session_dir).profile());
            tokio::task::spawn_blocking(move || {
                let keys = Keys { ring: &this.ring, session: &key };
                let sink = |chunk| sender.blocking_send(chunk).map_err(|_| io::Error::other("the save was given up"));
                let (made, mut sealer) = Sealer::new(keys, &this.binding(generation, fence), rand::rng(), sink);
                if header.send(made).is_err() {
                    return Ok(None);
                }
                let packed = archive::pack(&profile, &mut sealer, Limits::default())?;
                let last = sealer.finish();
                last.map_err(|source| PackError::Io { path: profile, source })?;
                Ok::<_, PackError>(Some(packed))
            })
        };
        let header = header_ready.await.map_err(|_| SaveError::Panicked)?;
        let (session, sealed) = (self.session.as_str(), header.to_bytes());
        let begun = self.database.begin_snapshot(session, generation, fence, header.key_id(), &sealed).await?;
        let id = begun.ok_or(Fenced)?;
        let stored = self.store(id, &mut chunks).await;
        drop(chunks); // lets the packing end if storing failed
        let packed = packing.await.map_err(|_| SaveError::Panicked)?;
        let result = match (stored, packed) {
            (Ok(complete), Ok(Some(packed))) => Ok((complete, packed)),
            (Err(error), _) => Err(error),
            (_, Err(error)) => Err(error.into()),
            (_, Ok(None)) => Err(SaveError::Panicked),
        };
        let switched = match result {
            Ok((complete, packed)) => {
                let switched = self.database.complete_snapshot(self.session.as_str(), id, fence, &complete).await;
                switched
                    .map_err(SaveError::from)
                    .and_then(|on| if on { Ok((complete, packed)) } else { Err(Fenced.into()) })
            }
            Err(error) => Err(error),
        };
        match switched {
            Ok((complete, packed)) => Ok((generation, packed, complete)),
            Err(error) => {
                // If this fails too, the next owner that saves deletes the rest.
                let _ = self.database.abandon_snapshot(id).await;
                Err(error)
            }
        }
    }

    async fn store(&self, id: u64, chunks: &mut mpsc::Receiver<Vec<u8>>) -> Result<Complete, SaveError> {
        let mut hash = Sha256::new();
        let (mut bytes, mut seq) = (0, 0);
        while let Some(chunk) = chunks.recv().await {
            self.lease.prove()?;
            self.database.add_chunk(id, seq, &chunk).await?;
            hash.update(&chunk);
            bytes += chunk.len() as u64;
            seq += 1;
        }
        Ok(Complete { bytes, chunks: seq, sha256: hash.finalize().into() })
    }

    /// Restores the newest generation that is whole.
    async fn restore(&self, place: &Place) -> Result<(), RestoreError> {
        let candidates = self.database.restorable_snapshots(self.session.as_str()).await?;
        let wrapped = self.database.session_key(self.session.as_str()).await?.ok_or(RestoreError::KeyErased)?;
        let key = SessionKey::unwrap(&self.ring, self.workspace, self.session.as_str(), &wrapped)?;
        for row in candidates {
            let began = Instant::now();
            match self.restore_one(&row, &key, place).await {
                Ok((files, restored)) => {
                    let place = place.clone();
                    let installing = tokio::task::spawn_blocking(move || place.install(&restored));
                    installing.await.map_err(|_| RestoreError::Panicked)??;
                    self.counters.count("snapshots", "restored");
                    tracing::info!(
                        generation = row.generation,
                        saved_at_epoch = row.fence,
                        files,
                        ms = began.elapsed().as_millis(),
                        "profile restored"
                    );
                    return Ok(());
                }
                Err(damage) if is_damage(&damage) => {
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
        let stored = self.database.chunk_count(row.id).await?;
        if stored > row.chunks {
            return Err(OpenError::Damaged { index: row.chunks, what: "there are more rows than chunks" }.into());
        }
        let restored = place.fresh()?;
        let (sender, mut receiver) = mpsc::channel(CHUNKS_AHEAD);
        let unpacking = {
            let (this, key, generation, fence) = (self.clone(), key.clone(), row.generation, row.fence);
            let target = restored.clone();
            tokio::task::spawn_blocking(move || {
                let keys = Keys { ring: &this.ring, session: &key };
                let chunks = std::iter::from_fn(move || receiver.blocking_recv());
                let opener = Opener::new(&header, keys, &this.binding(generation, fence), chunks)?;
                archive::unpack(opener, &target, Limits::default()).map_err(RestoreError::Unpack)
            })
        };
        let mut away = None;
        for seq in 0..row.chunks {
            let chunk = match self.database.chunk(row.id, seq).await {
                Ok(Some(chunk)) => Ok(chunk),
                Ok(None) => break, // the opener misses it
                Err(error) => {
                    away = Some(error);
                    Err(io::Error::other("the database is away"))
                }
            };
            if sender.send(chunk).await.is_err() || away.is_some() {
                break; // the unpacking has ended, and says why
            }
        }
        drop(sender);
        let unpacked = unpacking.await.map_err(|_| RestoreError::Panicked)?;
        match away {
            Some(error) => Err(error.into()),
            None => Ok((unpacked?.files, restored)),
        }
    }

    /// The session's own key, made at its first save.
    async fn session_key(&self) -> Result<SessionKey, SaveError> {
        let session = self.session.as_str();
        let wrapped = match self.database.session_key(session).await? {
            Some(wrapped) => wrapped,
            None => {
                let wrapped =
                    SessionKey::generate(&mut rand::rng()).wrap(&self.ring, self.workspace, session, &mut rand::rng());
                let stored =
                    self.database.ensure_session_key(session, self.workspace, self.ring.sealing_id(), &wrapped).await?;
                stored.ok_or(Fenced)? // erased in this very moment: the session is not ours any more
            }
        };
        Ok(SessionKey::unwrap(&self.ring, self.workspace, session, &wrapped)?)
    }

    fn binding(&self, generation: u64, fence: u64) -> Binding<'_> {
        Binding { workspace: self.workspace, session: self.session.as_str(), generation, fence }
    }
}

/// Deletes the directories of sessions that were erased while this machine did not look. Called before anything is claimed.
///
/// # Errors
/// The database is away, or a directory cannot be read or deleted.
pub(crate) async fn sweep_erased(database: &Database, root: &Path) -> Result<u64, RestoreError> {
    let mut deleted = 0;
    for (workspace, session, directory) in place::sessions_below(root)? {
        let Some(erased) = database.erased_up_to(workspace, session.as_str()).await? else { continue };
        let place = Place::new(&directory);
        if place.used_since(erased)? {
            continue;
        }
        tokio::task::spawn_blocking(move || place.delete()).await.map_err(|_| RestoreError::Panicked)??;
        tracing::info!(workspace_id = workspace, session_id = %session, "deleted the directory of an erased session");
        deleted += 1;
    }
    Ok(deleted)
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
