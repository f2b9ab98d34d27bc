//! Profile directory in, archive out.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Limits, Place, place};

/// zstd's own default: 10 MB of a profile take 0.1 s and become 2.5 MB; level 1 saves half of the time and a tenth less room.
const LEVEL: i32 = 3;
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Why a profile was not packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Too large.
    #[error("the profile has more than {limit} bytes to keep")]
    Bytes {
        /// What is allowed.
        limit: u64,
    },
    /// Too many files.
    #[error("the profile has more than {limit} files and directories to keep")]
    Entries {
        /// What is allowed.
        limit: u64,
    },
    /// Neither a file nor a directory, or a name that an archive cannot hold.
    #[error("{path} is no plain file or directory with a plain name")]
    Strange {
        /// Relative to the profile.
        path: PathBuf,
    },
    /// There is nothing that would be kept.
    #[error("the profile has nothing to keep")]
    Empty,
    /// Reading the profile or writing the archive failed.
    #[error("packing failed at {path}")]
    Io {
        /// Relative to the profile.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What was packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// Files.
    pub files: u64,
    /// Bytes of all files together.
    pub bytes: u64,
}

/// Writes the kept part of `profile` to `writer`. The profile must be at rest: a file that changes meanwhile is an error.
/// The same profile gives the same bytes: entries are sorted, and times and owners are left out.
///
/// # Errors
/// [`PackError`]; what was written until then is of no use.
pub fn pack<W: Write>(profile: &Path, writer: W, limits: Limits) -> Result<Packed, PackError> {
    let entries = list(profile, limits)?;
    if !entries.iter().any(|entry| entry.size.is_some()) {
        return Err(PackError::Empty);
    }
    let whole = |source| PackError::Io { path: PathBuf::new(), source };
    let mut encoder = zstd::Encoder::new(writer, LEVEL).map_err(whole)?;
    encoder.include_checksum(false).map_err(whole)?; // the container authenticates every byte
    let mut archive = tar::Builder::new(encoder);
    let mut packed = Packed { files: 0, bytes: 0 };
    for Entry { path, size } in entries {
        let failed = |source| PackError::Io { path: path.clone(), source };
        let mut header = tar::Header::new_ustar();
        let (kind, mode) = match size {
            None => (tar::EntryType::Directory, DIRECTORY_MODE),
            Some(_) => (tar::EntryType::Regular, FILE_MODE),
        };
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size.unwrap_or(0));
        // Longer than the 255 bytes of an ustar path: Chromium's are below 120.
        header.set_path(&path).map_err(|_| PackError::Strange { path: path.clone() })?;
        header.set_cksum();
        match size {
            None => archive.append(&header, io::empty()).map_err(failed)?,
            Some(size) => {
                let file = File::open(profile.join(&path)).map_err(failed)?;
                let mut exact = Exact { file, left: size };
                archive.append(&header, &mut exact).map_err(failed)?;
                exact.at_end().map_err(failed)?;
                packed.files += 1;
                packed.bytes += size;
            }
        }
    }
    archive.into_inner().and_then(zstd::Encoder::finish).and_then(|mut writer| writer.flush()).map_err(whole)?;
    Ok(packed)
}

struct Entry {
    /// Relative to the profile.
    path: PathBuf,
    /// Of a file; a directory has none.
    size: Option<u64>,
}

/// Everything that is kept, directories before what is in them.
fn list(profile: &Path, limits: Limits) -> Result<Vec<Entry>, PackError> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    let mut waiting = vec![PathBuf::from("Default")];
    while let Some(path) = waiting.pop() {
        let failed = |source| PackError::Io { path: path.clone(), source };
        let meta = match fs::symlink_metadata(profile.join(&path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && path == Path::new("Default") => {
                return Ok(entries);
            }
            meta => meta.map_err(failed)?,
        };
        match (place(&path), meta.is_dir(), meta.is_file()) {
            (Some(place @ (Place::Passage | Place::Tree)), true, _) => {
                let mut inside = Vec::new();
                for entry in fs::read_dir(profile.join(&path)).map_err(failed)? {
                    inside.push(path.join(entry.map_err(failed)?.file_name()));
                }
                inside.retain(|path| place == Place::Tree || super::place(path).is_some());
                inside.sort();
                waiting.extend(inside.into_iter().rev());
                entries.push(Entry { path, size: None });
            }
            (Some(Place::Tree | Place::File), false, true) => {
                bytes += meta.len();
                entries.push(Entry { path, size: Some(meta.len()) });
            }
            _ => return Err(PackError::Strange { path }),
        }
        if bytes > limits.bytes {
            return Err(PackError::Bytes { limit: limits.bytes });
        }
        if entries.len() as u64 > limits.entries {
            return Err(PackError::Entries { limit: limits.entries });
        }
    }
    Ok(entries)
}

/// A file that has to have exactly the size its header says.
struct Exact {
    file: File,
    left: u64,
}

impl Exact {
    fn at_end(&mut self) -> io::Result<()> {
        let more = io::Read::read(&mut self.file, &mut [0])?;
        if more == 0 && self.left == 0 { Ok(()) } else { Err(changed()) }
    }
}

impl io::Read for Exact {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.file.read(&mut buffer[..most])?;
        self.left -= read as u64;
        if read == 0 { Err(changed()) } else { Ok(read) }
    }
}

fn changed() -> io::Error {
    io::Error::other("the file changed while it was packed")
}
