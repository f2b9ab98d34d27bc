//! Archive in, profile directory out, and nothing beside it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Limits, Place, place};

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// 8 MiB: what level 3 uses at most is 2 MiB, and more would only be memory for whoever forges an archive.
const WINDOW_LOG: u32 = 23;
/// More plain than this many times the packed bytes is a bomb; empty database pages pack about 100 to 1 in small files.
const RATIO: u64 = 200;
/// Below this, the ratio is not asked for: small archives of empty files pack well.
const RATIO_FROM: u64 = 4 * 1024 * 1024;
/// What tar adds to a file at most: its header, and padding to a block.
const TAR_BLOCK: u64 = 512;

/// Why an archive was not unpacked. What was written until then is in the destination and of no use.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// More than the quota.
    #[error("the archive has more than {limit} bytes of files")]
    Bytes {
        /// What is allowed.
        limit: u64,
    },
    /// More entries than allowed.
    #[error("the archive has more than {limit} files and directories")]
    Entries {
        /// What is allowed.
        limit: u64,
    },
    /// An entry that has no place in a profile.
    #[error("the archive has an entry that is not allowed: {what}")]
    Forbidden {
        /// What it is.
        what: &'static str,
    },
    /// The archive is packed too well to be a profile.
    #[error("the archive unpacks to more than {RATIO} times its size")]
    Ratio,
    /// Something comes after the end of the archive.
    #[error("something comes after the end of the archive")]
    Trailing,
    /// The destination exists, or cannot be written.
    #[error("unpacking to {path} failed")]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The archive cannot be read; [`OpenError::of`](crate::container::OpenError::of) says whether it was refused.
    #[error("the archive cannot be read")]
    Read(#[source] io::Error),
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpacked {
    /// Files.
    pub files: u64,
    /// Bytes of all files together.
    pub bytes: u64,
}

/// Unpacks into `destination`, which is made and must not exist yet; every file is on the disk when this returns. Reads to
/// the very end, so that a container's last chunk is verified too. Rename the directory only then.
///
/// # Errors
/// [`UnpackError`].
pub fn unpack<R: Read>(reader: R, destination: &Path, limits: Limits) -> Result<Unpacked, UnpackError> {
    directory(destination)?;
    let decoder = zstd::Decoder::new(Counted { reader, bytes: 0 }).map_err(UnpackError::Read)?;
    let mut decoder = decoder.single_frame();
    decoder.window_log_max(WINDOW_LOG).map_err(UnpackError::Read)?;
    let most = limits.bytes + (limits.entries + 4) * 2 * TAR_BLOCK;
    let mut archive = tar::Archive::new(Guard { decoder, left: most, plain: 0, trouble: None });
    let result = entries(&mut archive, destination, limits);
    let mut guard = archive.into_inner();
    // The guard's word counts: the archive's reader only saw that reading failed.
    match guard.trouble.take() {
        Some(Trouble::Bytes) => return Err(UnpackError::Bytes { limit: limits.bytes }),
        Some(Trouble::Ratio) => return Err(UnpackError::Ratio),
        None => {}
    }
    let unpacked = result?;
    // Padding after the archive is zeroes, at most one record; then the frame ends, and so does the container.
    let mut rest = Vec::new();
    guard.by_ref().take(20 * TAR_BLOCK + 1).read_to_end(&mut rest).map_err(UnpackError::Read)?;
    if rest.len() as u64 > 20 * TAR_BLOCK || rest.iter().any(|byte| *byte != 0) {
        return Err(UnpackError::Trailing);
    }
    let mut beyond = guard.decoder.finish();
    match beyond.read(&mut [0]) {
        Ok(0) => Ok(unpacked),
        Ok(_) => Err(UnpackError::Trailing),
        Err(error) => Err(UnpackError::Read(error)),
    }
}

fn entries<R: Read>(
    archive: &mut tar::Archive<R>,
    destination: &Path,
    limits: Limits,
) -> Result<Unpacked, UnpackError> {
    let mut unpacked = Unpacked { files: 0, bytes: 0 };
    let mut directories = vec![destination.to_owned()];
    // Raw: the extensions for long names would be read into memory whole, and our paths need none.
    for (count, entry) in archive.entries().map_err(UnpackError::Read)?.raw(true).enumerate() {
        let mut entry = entry.map_err(UnpackError::Read)?;
        if count as u64 >= limits.entries {
            return Err(UnpackError::Entries { limit: limits.entries });
        }
        let path = entry.path().map_err(|_| UnpackError::Forbidden { what: "a path that is no text" })?.into_owned();
        let target = destination.join(&path);
        match (entry.header().entry_type(), place(&path)) {
            (_, None) => return Err(UnpackError::Forbidden { what: "a path that is not part of a kept profile" }),
            (tar::EntryType::Directory, Some(Place::Passage | Place::Tree)) => {
                directory(&target)?;
                directories.push(target);
            }
            (tar::EntryType::Regular, Some(Place::Tree | Place::File)) => {
                let size = entry.size();
                unpacked.files += 1;
                unpacked.bytes = unpacked.bytes.saturating_add(size);
                if unpacked.bytes > limits.bytes {
                    return Err(UnpackError::Bytes { limit: limits.bytes });
                }
                file(&mut entry, &target, size)?;
            }
            _ => {
                return Err(UnpackError::Forbidden {
                    what: "a link, a device, or something else that is no plain file",
                });
            }
        }
    }
    // The names are durable when their directories are; the innermost first.
    for path in directories.iter().rev() {
        let synced = File::open(path).and_then(|directory| directory.sync_all());
        synced.map_err(|source| UnpackError::Write { path: path.clone(), source })?;
    }
    Ok(unpacked)
}

fn directory(path: &Path) -> Result<(), UnpackError> {
    let made = DirBuilder::new().mode(DIRECTORY_MODE).create(path);
    made.map_err(|source| UnpackError::Write { path: path.to_owned(), source })
}

fn file(entry: &mut impl Read, path: &Path, size: u64) -> Result<(), UnpackError> {
    let write = |source| UnpackError::Write { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(FILE_MODE).open(path).map_err(write)?;
    let mut buffer = [0; 16 * 1024];
    let mut left = size;
    while left > 0 {
        let read = entry.read(&mut buffer).map_err(UnpackError::Read)?;
        if read == 0 {
            return Err(UnpackError::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        io::Write::write_all(&mut file, &buffer[..read]).map_err(write)?;
        left = left.saturating_sub(read as u64);
    }
    file.sync_all().map_err(write)
}

/// Counts what goes into the decoder.
struct Counted<R> {
    reader: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

enum Trouble {
    Bytes,
    Ratio,
}

/// Ends a bomb while it is still small.
struct Guard<'a, R: Read> {
    decoder: zstd::Decoder<'a, BufReader<Counted<R>>>,
    left: u64,
    plain: u64,
    trouble: Option<Trouble>,
}

impl<R: Read> Read for Guard<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer)? as u64;
        self.plain += read;
        self.trouble = match self.left.checked_sub(read) {
            None => Some(Trouble::Bytes),
            Some(left) => {
                self.left = left;
                let packed = self.decoder.get_ref().get_ref().bytes;
                (self.plain > RATIO_FROM && self.plain / RATIO > packed).then_some(Trouble::Ratio)
            }
        };
        if self.trouble.is_some() {
            return Err(io::Error::other("the archive is too large"));
        }
        Ok(usize::try_from(read).unwrap_or(usize::MAX))
    }
}
