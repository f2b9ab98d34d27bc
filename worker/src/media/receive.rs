//! Media out: the files of received messages, from the page into the object store, while the session is connected.
//!
//! The message itself was told before; nothing waits for its file. The rows of `wafleet_media` are the queue, so a
//! session that moves, or whose worker dies, goes on where it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{Notify, Semaphore};
use wafleet_browser::{CallError, Page};
use wafleet_protocol::event::{Event, MediaFailure, MediaOutcome, MessageMedia};
use wafleet_protocol::id::{EventId, SessionId, WorkspaceId};
use wafleet_protocol::timestamp::Timestamp;

use crate::database::{Database, DatabaseError, Heard, MediaEnd, MediaRow};
use crate::events::{Correlation, EmitError, EventSink};
use crate::lease::{Fenced, Lease};
use crate::logging::chain;
use crate::objects::{ObjectError, Objects};
use crate::session::message_id;
use crate::world::World;

/// Rows looked at in one go.
const AT_ONCE: u32 = 20;
/// How long the page may take to get a file from WhatsApp.
const PAGE_LIMIT: Duration = Duration::from_secs(120);
/// Seconds before the next attempt; after the last of them it is given up.
const PAUSES: [u64; 4] = [2, 10, 60, 600];
/// WhatsApp's own word that it does not have a file is believed after so many of them.
const PAUSES_IF_GONE: usize = 2;
/// Pause before a database that is away is asked again.
const AWAY_PAUSE: Duration = Duration::from_secs(5);
/// The unit in which bytes in flight are counted.
const KIB: u64 = 1024;

/// What all sessions of a worker may have in flight together, and what an operator wants kept.
pub(crate) struct Downloads {
    files: Semaphore,
    kib: Semaphore,
    in_flight: u32,
    largest: u64,
    keep: Duration,
    said: AtomicBool,
}

impl Downloads {
    pub(crate) fn new(kept: &Kept) -> Self {
        let in_flight = u32::try_from(kept.in_flight / KIB).unwrap_or(u32::MAX);
        Self {
            files: Semaphore::new(kept.at_once),
            kib: Semaphore::new(in_flight as usize),
            in_flight,
            largest: kept.largest,
            keep: kept.keep,
            said: AtomicBool::new(false),
        }
    }
}

/// What an operator wants kept of what comes in.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The largest file.
    pub largest: u64,
    /// Files in flight.
    pub at_once: usize,
    /// Bytes in flight.
    pub in_flight: u64,
    /// How long a file is kept.
    pub keep: Duration,
}

/// Why an attempt was in vain.
#[derive(Debug, thiserror::Error)]
enum Vain {
    /// It will never be there.
    #[error("it is given up: {}", .0.as_str())]
    GivenUp(MediaFailure),
    #[error("WhatsApp does not have it, or it does not open")]
    Gone(#[source] CallError),
    /// The page goes, and another one will go on.
    #[error("the page went away")]
    PageGone,
    #[error("the page did not answer in time")]
    Slow,
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Fenced(#[from] Fenced),
    #[error(transparent)]
    Emit(#[from] EmitError),
    #[error("the broker has not confirmed its event")]
    Unconfirmed,
}

impl From<CallError> for Vain {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Timeout => Self::Slow,
            CallError::Gone | CallError::NotReady => Self::PageGone,
            error @ CallError::Page { .. } => Self::Gone(error),
        }
    }
}

/// The media of one session, for its owner, as long as its page is connected.
pub(crate) struct Receiver {
    pub(crate) world: World,
    pub(crate) sink: Arc<EventSink>,
    pub(crate) lease: Lease,
    pub(crate) workspace: WorkspaceId,
    pub(crate) session: SessionId,
    pub(crate) page: Page,
    pub(crate) news: Arc<Notify>,
}

/// What is told of a file that cannot be kept because there is nowhere to keep it; nothing is noted.
pub(crate) fn not_kept(downloads: &Downloads, heard: &Heard<'_>, session: &SessionId) -> (EventId, Event) {
    if !downloads.said.swap(true, Ordering::Relaxed) {
        tracing::warn!("received media are not kept: WAFLEET_OBJECT_STORE_URL is not set");
    }
    let outcome = MediaOutcome::Failed { reason: MediaFailure::NoObjectStore };
    event(session, heard.key, heard.chat_id, heard.kind, heard.at, outcome)
}

/// The event, and its id: derived from WhatsApp's key, so that a consumer can deduplicate across crashes.
fn event(
    session: &SessionId,
    key: &str,
    chat_id: &str,
    kind: &str,
    at: u64,
    outcome: MediaOutcome,
) -> (EventId, Event) {
    let told = MessageMedia {
        key: key.into(),
        id: message_id(key).to_owned(),
        chat_id: chat_id.into(),
        kind: kind.to_owned(),
        outcome,
    };
    let id = EventId::derive(at.saturating_mul(1000), &["message.media", session.as_str(), key]);
    (id, Event::MessageMedia(told))
}

/// Notes what a message brought, whatever it takes: until it is noted, the message does not count as told.
pub(crate) async fn note(database: &Database, heard: &Heard<'_>) {
    let mut said = false;
    while let Err(error) = database.note_media(heard).await {
        if !std::mem::replace(&mut said, true) {
            tracing::warn!(error = %chain(&error), "media of a message wait to be noted");
        }
        tokio::time::sleep(AWAY_PAUSE).await;
    }
}

impl Receiver {
    /// Fetches and tells, until the page is gone or the session is not ours any more.
    pub(crate) async fn run(self) {
        loop {
            let next = match self.world.database.due_media(self.session.as_str(), AT_ONCE).await {
                Ok((rows, _)) if !rows.is_empty() => {
                    for row in rows {
                        match self.look_after(row).await {
                            Ok(()) => {}
                            Err(Vain::PageGone | Vain::Fenced(_)) => return,
                            Err(error) => {
                                tracing::warn!(error = %chain(&error), "media of a message wait");
                                tokio::time::sleep(AWAY_PAUSE).await;
                            }
                        }
                    }
                    continue;
                }
                Ok((_, next)) => next.map(Duration::from_millis),
                Err(error) => {
                    tracing::debug!(error = %chain(&error), "the media of the session are not known just now");
                    Some(AWAY_PAUSE)
                }
            };
            let due = async {
                match next {
                    Some(next) => tokio::time::sleep(next + Duration::from_millis(1)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! { () = self.news.notified() => {}, () = due => {} }
        }
    }

    /// One step with one medium: fetch it or put it off, and once its end is recorded tell it.
    async fn look_after(&self, row: MediaRow) -> Result<(), Vain> {
        let end = match &row.end {
            Some(end) => end.clone(),
            None => match self.fetch(&row).await {
                Ok(end) => end,
                Err(error @ (Vain::PageGone | Vain::Fenced(_) | Vain::Database(_))) => return Err(error),
                Err(Vain::GivenUp(failure)) => MediaEnd::Failed { reason: failure.as_str().to_owned() },
                Err(error) => match pauses(&error).get(row.attempts as usize) {
                    Some(pause) => {
                        self.world.counters.count("media.received", "retried");
                        tracing::warn!(error = %chain(&error), attempt = row.attempts + 1, "the file of a received message is not there yet");
                        return Ok(self.world.database.put_media_off(row.id, *pause).await?);
                    }
                    None => {
                        tracing::warn!(error = %chain(&error), "the file of a received message is given up");
                        let failure =
                            if matches!(error, Vain::Gone(_)) { MediaFailure::Gone } else { MediaFailure::Unavailable };
                        MediaEnd::Failed { reason: failure.as_str().to_owned() }
                    }
                },
            },
        };
        if row.end.is_none() {
            self.lease.prove()?;
            let forget_unix = self.world.clock.unix_secs() + self.world.downloads.keep.as_secs();
            self.world.database.end_media(row.id, &end, forget_unix).await?;
            let word = if matches!(end, MediaEnd::Available { .. }) { "available" } else { "failed" };
            self.world.counters.count("media.received", word);
        }
        self.tell(&row, end).await
    }

    async fn fetch(&self, row: &MediaRow) -> Result<MediaEnd, Vain> {
        let downloads = &self.world.downloads;
        let Some(store) = &self.world.objects else {
            return Err(Vain::GivenUp(MediaFailure::NoObjectStore));
        };
        if row.told_size.is_some_and(|size| size > downloads.largest) {
            return Err(Vain::GivenUp(MediaFailure::TooLarge));
        }
        // Who tells no size is taken to be as large as anybody may be.
        let kib = row.told_size.unwrap_or(downloads.largest).div_ceil(KIB);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX).clamp(1, downloads.in_flight);
        let _file = downloads.files.acquire().await.map_err(|_| Vain::PageGone)?;
        let _bytes = downloads.kib.acquire_many(kib).await.map_err(|_| Vain::PageGone)?;
        self.lease.prove()?;
        let object = object_key(self.workspace, &self.session, &row.key);
        if let Some(upload) = &row.upload_id {
            store.cancel(row.object.as_deref().unwrap_or(&object), upload).await?;
        }
        let mut file = self.page.file_of(&row.key, PAGE_LIMIT).await?;
        let stored = self.store(store, row.id, &object, &mut file).await;
        let mime = file.mime().to_owned();
        file.close().await;
        let (size, sha256) = stored?;
        let expires_unix = self.world.clock.unix_secs() + downloads.keep.as_secs();
        tracing::info!(kind = row.kind, bytes = size, "kept the file of a received message");
        let mime = if mime.is_empty() { "application/octet-stream".to_owned() } else { mime };
        Ok(MediaEnd::Available { object, mime, size, sha256, expires_unix })
    }

    async fn store(
        &self,
        store: &Objects,
        row: u64,
        object: &str,
        file: &mut wafleet_browser::PageFile,
    ) -> Result<(u64, [u8; 32]), Vain> {
        let largest = self.world.downloads.largest;
        if file.size() > largest {
            return Err(Vain::GivenUp(MediaFailure::TooLarge));
        }
        let mut upload = store.begin(object).await?;
        self.world.database.note_media_upload(row, object, Some(upload.id())).await?;
        let (mut size, mut hash) = (0, Sha256::new());
        while let Some(piece) = file.next().await? {
            size += piece.len() as u64;
            hash.update(&piece);
            upload.add(&piece).await?;
        }
        if size != file.size() {
            return Err(Vain::Slow); // the browser gave less than it has
        }
        self.lease.prove()?;
        upload.complete().await?;
        Ok((size, hash.finalize().into()))
    }

    /// Recorded before it is told, so that a crash in between cannot make one event id say two things.
    async fn tell(&self, row: &MediaRow, end: MediaEnd) -> Result<(), Vain> {
        let outcome = match end {
            MediaEnd::Available { object, mime, size, sha256, expires_unix } => MediaOutcome::Available {
                object,
                mime,
                size,
                sha256: sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
                expires_at: Timestamp::from_unix_secs(expires_unix),
            },
            MediaEnd::Failed { reason } => MediaOutcome::Failed { reason: reason.as_str().into() },
        };
        let (id, event) = event(&self.session, &row.key, &row.chat_id, &row.kind, row.at, outcome);
        let confirm = self.sink.emit(id, event, Correlation::default())?;
        confirm.wait().await.map_err(|_| Vain::Unconfirmed)?;
        Ok(self.world.database.media_told(row.id).await?)
    }
}

fn pauses(error: &Vain) -> &'static [u64] {
    if matches!(error, Vain::Gone(_)) { &PAUSES[..PAUSES_IF_GONE] } else { &PAUSES }
}

/// `media/<workspace>/<session>/<message>`. Senders choose the ids of their messages, so the whole key has a say in it.
fn object_key(workspace: WorkspaceId, session: &SessionId, key: &str) -> String {
    let id: String = message_id(key).chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    let hash: String = Sha256::digest(key)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("media/{workspace}/{session}/{id}-{hash}")
}

/// Deletes files whose time is over; returns how many.
///
/// # Errors
/// The store or the database is away; what is left is found again.
pub(crate) async fn clean(objects: &Objects, database: &Database) -> Result<u64, CleanError> {
    let mut deleted = 0;
    loop {
        let expired = database.expired_media(AT_ONCE).await?;
        if expired.is_empty() {
            return Ok(deleted);
        }
        for media in expired {
            if let Some(object) = &media.object {
                if let Some(upload) = &media.upload_id {
                    objects.cancel(object, upload).await?;
                }
                objects.delete(object).await?;
            }
            database.forget_media(media.id).await?;
            deleted += 1;
        }
    }
}

/// What is to be deleted is still there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CleanError {
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

#[cfg(test)]
mod tests {
    use wafleet_protocol::command::ObjectKey;

    use super::*;

    #[test]
    fn a_files_key_is_one_that_can_be_sent_on_and_no_sender_can_take_anothers() {
        let (workspace, session) = ("7".parse().expect("a workspace"), "shop".parse().expect("a session"));
        let one = object_key(workspace, &session, "false_1@lid_3A../../x");
        let two = object_key(workspace, &session, "false_2@lid_3A../../x");
        assert_ne!(one, two);
        assert!(one.starts_with("media/7/shop/3Ax-"), "{one}");
        let key: ObjectKey = one.parse().expect("a key that a command may name");
        assert!(key.is_of(7));
    }
}
