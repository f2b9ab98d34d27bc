//! From a closed browser's directory to a new generation: pack, seal, store, switch on.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use wafleet_profile::archive::{self, PackError, Packed};
use wafleet_profile::container::{Keys, Sealer};
use wafleet_profile::keys::{SessionKey, SessionKeyError};

use super::objects::{self, UploadError};
use super::place::Place;
use super::{CHUNKS_AHEAD, LIMITS, Snapshots};
use crate::database::{Complete, DatabaseError};
use crate::lease::Fenced;
use crate::logging::chain;
use crate::objects::Objects;

/// How long a save may hold up the release of a session. 100 MB take 4 s to seal on two busy cores.
const SAVE_LIMIT: Duration = Duration::from_secs(25);

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
    Upload(#[from] UploadError),
    #[error(transparent)]
    Fenced(#[from] Fenced),
    #[error("saving took longer than {} s", SAVE_LIMIT.as_secs())]
    TooLong,
    #[error("the task that packs panicked")]
    Panicked,
}

/// What the stored chunks add up to.
#[derive(Default)]
struct Sum {
    hash: Sha256,
    bytes: u64,
    chunks: u64,
}

impl Sum {
    fn add(&mut self, chunk: &[u8]) {
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        self.chunks += 1;
    }

    fn complete(self) -> Complete {
        Complete { bytes: self.bytes, chunks: self.chunks, sha256: self.hash.finalize().into() }
    }
}

impl Snapshots {
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
                if let Some(store) = self.objects.clone() {
                    let database = self.database.clone();
                    tokio::spawn(async move { objects::clean_quietly(&store, &database).await });
                }
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
                let packed = archive::pack(&profile, &mut sealer, LIMITS)?;
                let last = sealer.finish();
                last.map_err(|source| PackError::Io { path: profile, source })?;
                Ok::<_, PackError>(Some(packed))
            })
        };
        let header = header_ready.await.map_err(|_| SaveError::Panicked)?;
        let (session, sealed) = (self.session.as_str(), header.to_bytes());
        let begun = self.database.begin_snapshot(session, generation, fence, header.key_id(), &sealed).await?;
        let id = begun.ok_or(Fenced)?;
        let binding = self.binding(generation, fence);
        let stored = match &self.objects {
            Some(store) => self.store_object(store, id, &objects::key(&binding), &mut chunks).await,
            None => self.store_rows(id, &mut chunks).await,
        };
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

    async fn store_rows(&self, id: u64, chunks: &mut mpsc::Receiver<Vec<u8>>) -> Result<Complete, SaveError> {
        let mut sum = Sum::default();
        while let Some(chunk) = chunks.recv().await {
            self.lease.prove()?;
            self.database.add_chunk(id, sum.chunks, &chunk).await?;
            sum.add(&chunk);
        }
        Ok(sum.complete())
    }

    async fn store_object(
        &self,
        store: &Objects,
        id: u64,
        key: &str,
        chunks: &mut mpsc::Receiver<Vec<u8>>,
    ) -> Result<Complete, SaveError> {
        let note = self.database.note_object(id, key).await?;
        let mut sum = Sum::default();
        objects::upload(store, &self.database, note, key, chunks, |chunk| {
            self.lease.prove()?;
            sum.add(chunk);
            Ok(())
        })
        .await?;
        Ok(sum.complete())
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
}
