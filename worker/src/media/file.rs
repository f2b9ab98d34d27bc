//! Private files: for this process and its browsers, gone when nobody needs them.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::{MediaError, refused};

/// So much of a file's beginning is kept to tell what it is.
const HEAD: usize = 512;
/// A file that is so old belongs to a worker that was killed.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 3600);

/// A file below a directory of mode 0700, deleted when this is dropped.
#[derive(Debug)]
pub(crate) struct PrivateFile(PathBuf);

impl PrivateFile {
    /// Makes an empty one.
    ///
    /// # Errors
    /// The disk does not take it.
    pub(crate) async fn create(dir: &Path) -> io::Result<(Self, File)> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let path = dir.join(format!("{:032x}", rand::random::<u128>()));
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path).await?;
        Ok((Self(path), file))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PrivateFile {
    fn drop(&mut self) {
        // What cannot be deleted now is swept at a later start.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Deletes what workers that were killed have left; returns how many.
///
/// # Errors
/// The directory cannot be read.
pub(crate) fn sweep(dir: &Path) -> io::Result<u64> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut deleted = 0;
    for entry in entries {
        let entry = entry?;
        let age = entry.metadata().and_then(|data| data.modified()).ok();
        let age = age.and_then(|modified| SystemTime::now().duration_since(modified).ok());
        if age.is_some_and(|age| age > LEFT_BEHIND) && std::fs::remove_file(entry.path()).is_ok() {
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// A file that is coming, and how much of it may.
pub(super) struct Receiving {
    private: PrivateFile,
    file: File,
    limit: u64,
    size: u64,
    head: Vec<u8>,
}

/// A file that is there.
pub(super) struct Received {
    pub(super) file: PrivateFile,
    pub(super) size: u64,
    pub(super) head: Vec<u8>,
}

impl Receiving {
    pub(super) async fn begin(dir: &Path, limit: u64) -> Result<Self, MediaError> {
        let (private, file) = PrivateFile::create(dir).await?;
        Ok(Self { private, file, limit, size: 0, head: Vec::new() })
    }

    /// Refuses at once what says that it is too large.
    pub(super) fn expect(&self, size: Option<u64>) -> Result<(), MediaError> {
        if size.is_some_and(|size| size > self.limit) { Err(self.too_large()) } else { Ok(()) }
    }

    pub(super) async fn add(&mut self, bytes: &[u8]) -> Result<(), MediaError> {
        self.size += bytes.len() as u64;
        if self.size > self.limit {
            return Err(self.too_large());
        }
        let wanted = HEAD.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..wanted]);
        Ok(self.file.write_all(bytes).await?)
    }

    pub(super) async fn end(mut self) -> Result<Received, MediaError> {
        self.file.flush().await?;
        if self.size == 0 {
            return Err(refused("the file is empty"));
        }
        Ok(Received { file: self.private, size: self.size, head: self.head })
    }

    fn too_large(&self) -> MediaError {
        refused(format!("the file is larger than {} bytes", self.limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_bounded_private_and_gone_afterwards() {
        let dir = std::env::temp_dir().join(format!("wafleet-media-test-{:016x}", rand::random::<u64>()));
        let mut receiving = Receiving::begin(&dir, 10).await.expect("a file");
        assert!(
            receiving.expect(Some(11)).is_err() && receiving.expect(Some(10)).is_ok() && receiving.expect(None).is_ok()
        );
        receiving.add(b"12345").await.expect("room");
        receiving.add(b"67890").await.expect("room");
        let received = receiving.end().await.expect("a file");
        assert_eq!((received.size, received.head.as_slice()), (10, &b"1234567890"[..]));
        let path = received.file.path().to_owned();
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).expect("a file").permissions());
        assert_eq!(mode & 0o777, 0o600);
        drop(received);
        assert!(!path.exists());

        let mut receiving = Receiving::begin(&dir, 10).await.expect("a file");
        assert!(matches!(receiving.add(b"12345678901").await, Err(MediaError::Refused(_))));
        drop(receiving);
        assert!(Receiving::begin(&dir, 10).await.expect("a file").end().await.is_err(), "an empty file");
        assert_eq!(std::fs::read_dir(&dir).expect("the directory").count(), 0);
        std::fs::remove_dir(dir).expect("empty");
    }
}
