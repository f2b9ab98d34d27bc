//! A session's profile in the database or an object store, sealed: saved when its browser has closed, restored where it was
//! never seen.
//!
//! ```text
//! claim ─▶ choose ──the disk has the newest──────────────▶ mark the directory with our fence ─▶ browser
//!             └──a newer owner saved elsewhere──▶ restore ─┘
//! browser closed in good order ─▶ pack, seal, store, switch on ─▶ release, or go on
//! profile damaged ─▶ set aside ─▶ restore the newest that has not failed yet
//! ```
//! Packing and unpacking are blocking tasks; between them and the store runs a channel of a few chunks, so memory is
//! flat whatever a profile weighs. Nothing is saved from a running browser: a copy of a profile in use does not always open.
//! Without a ring of profile keys there are no snapshots, and everything else goes on.

mod objects;
mod place;
mod restoring;
mod saving;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wafleet_profile::archive::Limits;
use wafleet_profile::container::Binding;
use wafleet_profile::keys::Ring;
use wafleet_protocol::id::{SessionId, WorkspaceId};

use crate::counters::Counters;
use crate::database::{Database, Newest};
use crate::lease::{Fenced, Lease};
use crate::logging::chain;
use crate::media;
use crate::objects::Objects;
use crate::world::{World, unix_time};
pub(crate) use objects::clean as clean_objects;
use place::{Choice, Old, Place};
pub(crate) use restoring::RestoreError;
use restoring::{RESTORE_LIMIT, Restored};

/// The quota of a session is told about and not enforced on its credentials; this is where a snapshot ends all the same,
/// and what an archive may unpack to at most.
const LIMITS: Limits = Limits { bytes: 1_000_000_000, entries: 50_000 };
/// What is set aside is deleted after so long.
const KEPT_ASIDE: Duration = Duration::from_secs(30 * 24 * 3600);
/// What a worker that was killed was unpacking is of no use to anybody; so long nobody unpacks.
const KEPT_PARTIAL: Duration = Duration::from_secs(24 * 3600);
/// How often objects are looked for that nobody needs; each save looks as well.
const CLEAN_EVERY: Duration = Duration::from_secs(600);
/// How long the last look, of a worker that ends, may take. What is left is found by the next worker.
const LAST_CLEAN_LIMIT: Duration = Duration::from_secs(5);
/// Beginning of the name of a directory for a browser on an empty profile, in a session's directory.
pub(crate) const SCRATCH: &str = "scratch-";
/// Chunks between the disk's side and the store's side.
const CHUNKS_AHEAD: usize = 2;

/// The snapshots of one session, for its owner.
#[derive(Clone)]
pub(crate) struct Snapshots {
    ring: Arc<Ring>,
    database: Database,
    counters: Arc<Counters>,
    lease: Lease,
    workspace: u64,
    session: SessionId,
    objects: Option<Arc<Objects>>,
    /// The generation that the profile on the disk was restored from, while it has not proven itself: only older ones can
    /// help then. Otherwise above all of them.
    suspect: Arc<AtomicU64>,
}

/// Where the profile came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prepared {
    /// It is the newest there is.
    Newest,
    /// The newest saved one was damaged, and an older one has taken its place.
    Older,
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
            objects: world.objects.clone(),
            suspect: Arc::new(AtomicU64::new(u64::MAX)),
        })
    }

    /// Puts the newest profile into `session_dir`, whichever place has it, and marks the directory with our fence. No
    /// browser may run on it.
    ///
    /// # Errors
    /// [`RestoreError`]: then no browser may be started either, because it would go on from an older state.
    pub(crate) async fn prepare(&self, session_dir: &Path) -> Result<Prepared, RestoreError> {
        let place = Place::new(session_dir);
        let newest = self.database.newest_snapshot(self.session.as_str()).await?;
        let newest =
            Newest { erased: self.database.erased_up_to(self.workspace, self.session.as_str()).await?, ..newest };
        let choice = place.choose(newest)?;
        let prepared = match choice {
            Choice::Local => Prepared::Newest,
            Choice::Empty => {
                let place = place.clone();
                tokio::task::spawn_blocking(move || place.clear()).await.map_err(|_| RestoreError::Panicked)??;
                Prepared::Newest
            }
            Choice::Restore => match self.restore_in_time(&place, u64::MAX, Old::Replaced).await? {
                Some(Restored { damaged: true, .. }) => Prepared::Older,
                _ => Prepared::Newest,
            },
        };
        self.lease.prove()?;
        place.mark(self.lease.fence())?;
        Ok(prepared)
    }

    /// Sets the profile aside, which is kept, and puts the newest saved one in its place that has not failed yet. Returns
    /// false when there is none: then nothing has changed. No browser may run on it.
    ///
    /// # Errors
    /// [`RestoreError`]; the profile is where it was.
    pub(crate) async fn go_back(&self, session_dir: &Path) -> Result<bool, RestoreError> {
        let place = Place::new(session_dir);
        let below = self.suspect.load(Ordering::Relaxed);
        if self.restore_in_time(&place, below, Old::SetAside { at: unix_time() }).await?.is_none() {
            return Ok(false);
        }
        self.lease.prove()?;
        place.mark(self.lease.fence())?;
        Ok(true)
    }

    /// The session is connected: whatever its profile came from was good.
    pub(crate) fn proven(&self) {
        self.suspect.store(u64::MAX, Ordering::Relaxed);
    }

    async fn restore_in_time(&self, place: &Place, below: u64, old: Old) -> Result<Option<Restored>, RestoreError> {
        let restore = tokio::time::timeout(RESTORE_LIMIT, self.restore(place, below, old));
        let restored = tokio::select! {
            restored = restore => restored.map_err(|_| RestoreError::TooLong)??,
            () = self.lease.lost() => return Err(Fenced.into()),
        };
        if let Some(restored) = restored {
            self.suspect.store(restored.generation, Ordering::Relaxed);
        }
        Ok(restored)
    }

    /// The device was unlinked: what is saved of it must never be restored.
    pub(crate) async fn unlinked(&self) {
        if let Err(error) = self.database.mark_unlinked(self.session.as_str(), self.lease.fence()).await {
            tracing::error!(error = %chain(&error), "the snapshots of the unlinked device are not marked");
        }
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

/// Deletes what was set aside long ago, and what was never unpacked to its end, in every session's directory.
///
/// # Errors
/// A directory cannot be read or deleted.
pub(crate) fn sweep_aside(root: &Path) -> std::io::Result<u64> {
    let now = unix_time();
    let mut deleted = 0;
    for (_, _, directory) in place::sessions_below(root)? {
        deleted += Place::new(&directory).sweep(now, KEPT_ASIDE, KEPT_PARTIAL)?;
    }
    Ok(deleted)
}

/// Deletes the objects of snapshots that are gone and of files whose time is over, again and again until `stop`, and once
/// more then.
pub(crate) async fn keep_objects_clean(world: World, stop: CancellationToken) {
    let Some(store) = &world.objects else { return };
    let clean = async || {
        objects::clean_quietly(store, &world.database).await;
        if let Err(error) = media::clean(store, &world.database).await {
            tracing::warn!(error = %chain(&error), "files whose time is over are still in the store; they are tried again");
        }
    };
    let cleaning = async {
        loop {
            clean().await;
            tokio::time::sleep(CLEAN_EVERY).await;
        }
    };
    tokio::select! { () = stop.cancelled() => {}, () = cleaning => {} }
    // The last saves of the sessions have made older ones superfluous.
    let _ = tokio::time::timeout(LAST_CLEAN_LIMIT, clean()).await;
}
