//! The folder of one process, and the lock that says whether the process lives.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use ulid::Ulid;

use crate::world::unix_ms;

const LOCK: &str = "lock";
/// Mode of directories: nobody else looks in.
const PRIVATE_DIR: u32 = 0o700;
/// Mode of files.
pub(super) const PRIVATE_FILE: u32 = 0o600;

/// A folder whose lock is held. Dropped, it is removed if it is empty.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// A new folder. Its name sorts by the time at which it was made.
    pub(super) fn create(root: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(root)?;
        let name = Ulid::from_parts(unix_ms(), rand::random()).to_string();
        // It gets its name once it is locked: whoever looks for folders without an owner must not find it half made.
        let unnamed = root.join(format!(".{name}"));
        DirBuilder::new().mode(PRIVATE_DIR).create(&unnamed)?;
        let lock =
            OpenOptions::new().create_new(true).write(true).mode(PRIVATE_FILE).open(unnamed.join(LOCK)).and_then(
                |lock| {
                    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
                    Ok(lock)
                },
            );
        let path = root.join(name);
        match lock.and_then(|lock| fs::rename(&unnamed, &path).map(|()| lock)) {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err(error) => {
                let _ = fs::remove_dir_all(&unnamed); // the error is what matters
                Err(error)
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn adopt(path: PathBuf) -> Option<Self> {
        let lock = File::open(path.join(LOCK)).ok()?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
        // Between the look and the lock somebody else may have adopted it, and be done with it.
        path.join(LOCK).exists().then_some(Self { path, _lock: lock })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let empty =
            fs::read_dir(&self.path).is_ok_and(|entries| entries.flatten().all(|entry| entry.file_name() == LOCK));
        if empty {
            // A folder that stays is looked at again by the next process.
            let _ = fs::remove_file(self.path.join(LOCK)).and_then(|()| fs::remove_dir(&self.path));
        }
    }
}

/// The folders that no process holds, oldest first, but for `known` ones.
pub(super) fn abandoned(root: &Path, known: &BTreeSet<PathBuf>) -> io::Result<Vec<Folder>> {
    let mut paths: Vec<PathBuf> = match fs::read_dir(root) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    paths.retain(|path| {
        let named = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<Ulid>().is_ok());
        named && !known.contains(path)
    });
    paths.sort();
    Ok(paths.into_iter().filter_map(Folder::adopt).collect())
}
