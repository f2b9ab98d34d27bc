//! Media: the file that a command refers to, fetched into a private file before anything is recorded or sent; and, in
//! `receive`, the files of received messages on their way into the store.
//!
//! ```text
//! url ────▶ guard: every address public ─▶ download, bounded ─┐
//! object ─▶ the fleet's store, own workspace only ────────────┼─▶ look at its beginning ─▶ a private file for the page
//! inline ─────────────────────────────────────────────────────┘
//! ```
//! A sound that is to be a voice message and is not one goes through `voice` on its way.
//! A file that cannot be had is a definite failure or a retry, and never a message that may have gone out.

mod download;
mod file;
mod guard;
mod kinds;
mod receive;
mod sniff;
mod voice;

use std::path::PathBuf;
use std::time::Duration;

use wafleet_protocol::command::{Media, MediaKind, MediaSource};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::CommandError;

use crate::objects::{ObjectError, Objects};
use crate::settle::Outcome;
use file::Receiving;
pub(crate) use file::{PrivateFile, sweep};
pub(crate) use guard::Guard;
pub(crate) use receive::Kept;
pub(crate) use receive::{Downloads, Receiver, clean, not_kept, note};
pub(crate) use voice::Converter;

/// What an operator allows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Where files lie while they are sent or received.
    pub dir: PathBuf,
    /// Bytes of an image, a film, a sticker or a sound.
    pub bytes: u64,
    /// Bytes of a document.
    pub document_bytes: u64,
    /// How long one file may take altogether.
    pub time: Duration,
    /// Which addresses may be asked.
    pub guard: Guard,
    /// Makes voice messages of other sounds.
    pub converter: Converter,
}

impl Limits {
    fn bytes_of(&self, kind: MediaKind) -> u64 {
        match kind {
            MediaKind::Document => self.document_bytes,
            _ => self.bytes,
        }
    }
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MediaError {
    /// It will never be there as it is asked for. The text is for the caller and names no address.
    #[error("{0}")]
    Refused(String),
    /// It may be there later.
    #[error("{0}")]
    Away(String),
    /// Our own disk.
    #[error("the file cannot be kept on the disk")]
    Disk(#[from] std::io::Error),
    #[error(transparent)]
    Object(#[from] ObjectError),
}

impl MediaError {
    /// What becomes of the command.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Refused(why) => Outcome::Failed(CommandError::new(ErrorCode::MediaRefused, why.as_str())),
            Self::Away(_) | Self::Disk(_) | Self::Object(_) => {
                Outcome::Retry(CommandError::new(ErrorCode::MediaUnavailable, self.to_string()))
            }
        }
    }
}

fn refused(why: impl Into<String>) -> MediaError {
    MediaError::Refused(why.into())
}

/// A file that is ready to be sent.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The file itself; it is deleted when this is dropped.
    pub(crate) file: PrivateFile,
    /// What it is.
    pub(crate) mime: String,
    /// Its bytes.
    pub(crate) size: u64,
}

/// Fetches the file of a message.
///
/// # Errors
/// [`MediaError`].
pub(crate) async fn fetch(
    limits: &Limits,
    objects: Option<&Objects>,
    workspace: u64,
    kind: MediaKind,
    media: &Media,
) -> Result<Fetched, MediaError> {
    let too_long = || MediaError::Away(format!("the file did not come within {} s", limits.time.as_secs()));
    tokio::time::timeout(limits.time, fetch_now(limits, objects, workspace, kind, media))
        .await
        .map_err(|_| too_long())?
}

async fn fetch_now(
    limits: &Limits,
    objects: Option<&Objects>,
    workspace: u64,
    kind: MediaKind,
    media: &Media,
) -> Result<Fetched, MediaError> {
    let source = media.source().ok_or_else(|| refused("the command names no file"))?;
    let mut receiving = Receiving::begin(&limits.dir, limits.bytes_of(kind)).await?;
    let mut told = None;
    match source {
        MediaSource::Url(url) => told = download::download(&limits.guard, url.as_str(), &mut receiving).await?,
        MediaSource::Object(key) if !key.is_of(workspace) => {
            return Err(refused("the object belongs to another workspace"));
        }
        MediaSource::Object(key) => {
            let store = objects.ok_or_else(|| refused("this fleet has no object store"))?;
            let mut reading = store.read(key.as_str()).await?.ok_or_else(|| refused("there is no such object"))?;
            receiving.expect(Some(reading.size))?;
            while let Some(piece) = reading.next().await? {
                receiving.add(&piece).await?;
            }
        }
        MediaSource::Inline(inline) => receiving.add(inline.bytes()).await?,
    }
    let mut received = receiving.end().await?;
    if kind == MediaKind::Voice && !kinds::is_voice(&received.head) {
        // What the caller called the file is true of the file that came, and of what is made of it no more.
        let declared = media.mime.as_ref().map(|mime| mime.essence());
        kinds::is_as_declared(declared, &received.head)?;
        received = limits.converter.convert(&received, &limits.dir, limits.bytes_of(kind)).await?;
        let mime = kinds::type_of(kind, None, None, &received.head)?;
        return Ok(Fetched { file: received.file, mime, size: received.size });
    }
    let declared = media.mime.as_ref().map(|mime| mime.essence());
    let mime = kinds::type_of(kind, declared, told.as_deref(), &received.head)?;
    Ok(Fetched { file: received.file, mime, size: received.size })
}
