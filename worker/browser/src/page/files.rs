//! Files into the page and out of it. Into it they go by name: the browser reads them from the disk by itself. Out of it
//! they come in pieces, read from the browser and not from the page, which would have to hold them a second time.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chromiumoxide_cdp::cdp::browser_protocol::dom::SetFileInputFilesParams;
use chromiumoxide_cdp::cdp::browser_protocol::io::{CloseParams, ReadParams, ResolveBlobParams, StreamHandle};
use chromiumoxide_cdp::cdp::js_protocol::runtime::{ReleaseObjectParams, RemoteObjectId};
use serde::Deserialize;
use serde_json::json;

use super::CallError;
use super::document::{Document, call_error};

/// How long the browser may take for one step that waits for nothing.
const STEP: Duration = Duration::from_secs(10);
/// Bytes of a piece; base64 makes 4/3 of it on the pipe.
const PIECE: i64 = 1024 * 1024;

/// A file that the page holds, to be read to its end.
///
/// Dropping it lets go of it with the document; [`close`](Self::close) does at once.
#[derive(Debug)]
pub struct PageFile {
    document: Document,
    blob: RemoteObjectId,
    handle: StreamHandle,
    size: u64,
    mime: String,
    ended: bool,
}

#[derive(Deserialize)]
struct About {
    size: u64,
    #[serde(rename = "type")]
    mime: String,
}

impl Document {
    /// Puts a file of the disk into the page; returns the name under which a call may use it.
    pub(super) async fn attach(&self, path: &Path) -> Result<String, CallError> {
        let name = format!("f{:016x}", RandomState::new().build_hasher().finish());
        let function = "function (name) { return this.files.intake(name); }";
        let input = self.by_reference(function, &[json!(name)], STEP).await?;
        let mut put = SetFileInputFilesParams::new(vec![path.display().to_string()]);
        put.object_id = Some(input.clone());
        let done = self.cdp.call(Some(&self.session), put, STEP).await;
        self.release(input).await;
        done.map_err(|error| call_error(&error))?;
        Ok(name)
    }

    /// The file of a message.
    pub(super) async fn file_of(&self, key: &str, timeout: Duration) -> Result<PageFile, CallError> {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let function = "function (key, timeout) { return this.fileOf(key, timeout); }";
        let blob = self.by_reference(function, &[json!(key), json!(millis)], timeout).await?;
        let about = "function () { return { size: this.size, type: this.type }; }";
        let about = self.on_object(&blob, about, STEP).await?;
        let About { size, mime } = serde_json::from_value(about).map_err(|_| CallError::Gone)?;
        let resolve = ResolveBlobParams::new(blob.clone());
        let resolved = self.cdp.call(Some(&self.session), resolve, STEP).await.map_err(|error| call_error(&error))?;
        let handle = StreamHandle::new(format!("blob:{}", resolved.uuid));
        Ok(PageFile { document: self.clone(), blob, handle, size, mime, ended: false })
    }

    async fn release(&self, object: RemoteObjectId) {
        // It goes with the document at the latest.
        let _ = self.cdp.call(Some(&self.session), ReleaseObjectParams::new(object), STEP).await;
    }
}

impl PageFile {
    /// Bytes it has in all.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What the message says it is; may be empty.
    #[must_use]
    pub fn mime(&self) -> &str {
        &self.mime
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`CallError::Gone`] or [`CallError::Timeout`]: the browser, the tab or the document went away.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, CallError> {
        if self.ended {
            return Ok(None);
        }
        let mut read = ReadParams::new(self.handle.clone());
        read.size = Some(PIECE);
        let document = &self.document;
        let piece = document.cdp.call(Some(&document.session), read, STEP).await.map_err(|error| call_error(&error))?;
        self.ended = piece.eof;
        let bytes = match piece.base64_encoded {
            Some(true) => STANDARD.decode(&piece.data).map_err(|_| CallError::Gone)?,
            // The protocol hands bytes that are text over as text.
            _ => piece.data.into_bytes(),
        };
        Ok(if bytes.is_empty() && self.ended { None } else { Some(bytes) })
    }

    /// Lets go of it.
    pub async fn close(self) {
        let close = CloseParams::new(self.handle.clone());
        // It goes with the document at the latest.
        let _ = self.document.cdp.call(Some(&self.document.session), close, STEP).await;
        self.document.release(self.blob.clone()).await;
    }
}
