//! Sealed profiles as objects: the same stream of sealed chunks that chunk rows hold.
//!
//! The object's row in the database is there before the object and outlives its snapshot, so every deletion of a snapshot,
//! whoever makes it, leaves a note of what is to be deleted in the store.

use std::io;

use tokio::sync::mpsc;
use wafleet_profile::container::Binding;

use crate::database::{Database, DatabaseError, ForgottenObject};
use crate::lease::Fenced;
use crate::logging::chain;
use crate::objects::{ObjectError, Objects, Upload};

/// Objects looked up in one go.
const DELETED_AT_ONCE: u32 = 100;

/// Why an upload did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// A newer owner has deleted what this one was writing.
    #[error("the snapshot was deleted while it was written")]
    Deleted,
}

/// The key of a snapshot's object. The fence makes it unique, whoever else believed to own the session.
pub(super) fn key(binding: &Binding<'_>) -> String {
    let Binding { workspace, session, generation, fence } = binding;
    format!("profiles/{workspace}/{session}/{generation:010}-{fence}.wasnap")
}

/// Uploads chunks as they come; `each` sees every one of them before. `note` is the object's row. After an error the row
/// still says what has to be cleaned up.
pub(super) async fn upload(
    objects: &Objects,
    database: &Database,
    note: u64,
    key: &str,
    chunks: &mut mpsc::Receiver<Vec<u8>>,
    mut each: impl FnMut(&[u8]) -> Result<(), UploadError>,
) -> Result<(), UploadError> {
    let mut upload: Upload<'_> = objects.begin(key).await?;
    if !database.note_upload(note, upload.id()).await? {
        // Nobody else knows of it any more.
        objects.cancel(key, upload.id()).await?;
        return Err(UploadError::Deleted);
    }
    while let Some(chunk) = chunks.recv().await {
        each(&chunk)?;
        upload.add(&chunk).await?;
    }
    let etag = upload.complete().await?;
    Ok(database.note_uploaded(note, etag.as_deref()).await?)
}

/// Feeds an object's bytes to `sink` until it wants no more. `Ok(None)`: there is no such object. Otherwise its size.
pub(super) async fn download(
    objects: &Objects,
    key: &str,
    sink: &mpsc::Sender<io::Result<Vec<u8>>>,
) -> Result<Option<u64>, ObjectError> {
    let Some(mut reading) = objects.read(key).await? else { return Ok(None) };
    while let Some(piece) = reading.next().await? {
        if sink.send(Ok(piece)).await.is_err() {
            break; // the unpacking has ended, and says why
        }
    }
    Ok(Some(reading.size))
}

/// Deletes one object, or cancels the upload that was to make it.
async fn delete(objects: &Objects, forgotten: &ForgottenObject) -> Result<(), ObjectError> {
    if let Some(upload) = &forgotten.upload_id {
        objects.cancel(&forgotten.object, upload).await?;
    }
    objects.delete(&forgotten.object).await
}

/// Deletes the objects whose snapshots are gone; returns how many.
///
/// # Errors
/// The store or the database is away; what is left is found again.
pub(crate) async fn clean(objects: &Objects, database: &Database) -> Result<u64, UploadError> {
    let mut deleted = 0;
    loop {
        let forgotten = database.forgotten_objects(DELETED_AT_ONCE).await?;
        for object in &forgotten {
            delete(objects, object).await?;
            database.object_deleted(object.id).await?;
            deleted += 1;
        }
        if forgotten.len() < DELETED_AT_ONCE as usize {
            return Ok(deleted);
        }
    }
}

/// As [`clean`], saying in the log what went wrong; the next look at the store tries again.
pub(super) async fn clean_quietly(objects: &Objects, database: &Database) {
    match clean(objects, database).await {
        Ok(0) => {}
        Ok(objects) => tracing::debug!(objects, "deleted objects of snapshots that are gone"),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "objects of deleted snapshots are still in the store; they are tried again");
        }
    }
}
