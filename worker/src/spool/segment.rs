//! One file of sealed records, and beside it the list of those that are done.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wafleet_profile::keys::Ring;
use wafleet_profile::record::{Records, RecordsError};

use super::folder::{Folder, PRIVATE_FILE};

const EVENTS: &str = "events";
const DONE: &str = "done";
/// Before each record: the length of what is sealed (four bytes), and its number (eight).
const FRAME: usize = 12;
/// An entry of the list of the done: a number (eight bytes), and four bytes of its hash.
const DONE_ENTRY: usize = 12;
/// No record is larger; a length beyond it is damage.
const RECORD_MOST: usize = 4 * 1024 * 1024;
/// A header is not longer.
const HEADER_MOST: usize = 256;

/// A segment with its open records.
pub(super) struct Segment {
    folder: Arc<Folder>,
    path: PathBuf,
    file: File,
    done: Option<File>,
    records: Records,
    length: u64,
    /// Number → where what is sealed begins, and its length.
    open: BTreeMap<u64, (u64, usize)>,
    total: usize,
    unsynced: bool,
}

impl Segment {
    /// A new, empty segment.
    pub(super) fn create(folder: &Arc<Folder>, id: u64, ring: &Ring) -> io::Result<Self> {
        let path = folder.path().join(format!("{id:06}.{EVENTS}"));
        let records = Records::begin(ring, &mut rand::rng());
        let mut file = OpenOptions::new().create_new(true).read(true).append(true).mode(PRIVATE_FILE).open(&path)?;
        if let Err(error) = file.write_all(records.header()) {
            let _ = fs::remove_file(&path); // the error is what matters
            return Err(error);
        }
        let length = records.header().len() as u64;
        let folder = Arc::clone(folder);
        Ok(Self { folder, path, file, done: None, records, length, open: BTreeMap::new(), total: 0, unsynced: true })
    }

    /// A segment that another process wrote. `None`: it had not got beyond its header.
    ///
    /// # Errors
    /// It cannot be read, or the ring does not have its key.
    pub(super) fn reopen(
        folder: &Arc<Folder>,
        path: &Path,
        ring: &Ring,
        done: &BTreeSet<u64>,
    ) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut header = vec![0; HEADER_MOST.min(usize::try_from(length).unwrap_or(HEADER_MOST))];
        file.read_exact_at(&mut header, 0)?;
        let records = match Records::read(ring, &header) {
            Ok(records) => records,
            Err(RecordsError::Incomplete) => {
                fs::remove_file(path)?;
                return Ok(None);
            }
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        };
        let mut segment = Self {
            folder: Arc::clone(folder),
            path: path.to_owned(),
            length,
            open: BTreeMap::new(),
            total: 0,
            done: None,
            unsynced: false,
            records,
            file,
        };
        let mut at = segment.records.header().len() as u64;
        let mut damaged = 0_usize;
        while let Some((number, sealed)) = segment.frame(at)? {
            at += (FRAME + sealed) as u64;
            segment.total += 1;
            if !done.contains(&number) {
                segment.open.insert(number, (at - sealed as u64, sealed));
                if segment.read(number).is_err() {
                    segment.open.remove(&number);
                    damaged += 1;
                }
            }
        }
        if damaged > 0 {
            tracing::error!(damaged, file = %path.display(), "events on the disk are damaged and cannot be published");
        }
        // A torn record at the end was never published, and nobody was told that it was kept.
        let torn = length - at;
        if torn > 0 {
            tracing::warn!(torn, file = %path.display(), "the last record was being written when its worker ended");
        }
        Ok(Some(segment))
    }

    pub(super) fn folder(&self) -> &Arc<Folder> {
        &self.folder
    }

    pub(super) fn bytes(&self) -> u64 {
        self.length
    }

    pub(super) fn total(&self) -> usize {
        self.total
    }

    pub(super) fn open_records(&self) -> usize {
        self.open.len()
    }

    pub(super) fn open_numbers(&self) -> Vec<u64> {
        self.open.keys().copied().collect()
    }

    /// Writes a record; on failure nothing of it is left.
    pub(super) fn append(&mut self, number: u64, plain: &[u8]) -> io::Result<()> {
        let sealed = self.records.seal(number, plain, &mut rand::rng());
        let length = u32::try_from(sealed.len()).ok().filter(|length| *length as usize <= RECORD_MOST);
        let length = length.ok_or(io::ErrorKind::FileTooLarge)?;
        let mut frame = Vec::with_capacity(FRAME + sealed.len());
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&number.to_be_bytes());
        frame.extend_from_slice(&sealed);
        if let Err(error) = self.file.write_all(&frame) {
            // If even this fails, the torn record is at the end of a file that takes no more.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.open.insert(number, (self.length + FRAME as u64, sealed.len()));
        self.length += frame.len() as u64;
        self.total += 1;
        self.unsynced = true;
        Ok(())
    }

    pub(super) fn read(&self, number: u64) -> io::Result<Vec<u8>> {
        let (at, length) = *self.open.get(&number).ok_or(io::ErrorKind::NotFound)?;
        let mut sealed = vec![0; length];
        self.file.read_exact_at(&mut sealed, at)?;
        self.records.open(number, &sealed).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The record is done, now and for whoever reads the file after a crash.
    pub(super) fn strike(&mut self, number: u64) {
        if self.open.remove(&number).is_none() {
            return;
        }
        if let Err(error) = self.list_as_done(number) {
            tracing::debug!(%error, "a confirmed event stays in the spool; after a crash it is published again");
        }
    }

    /// The record lies elsewhere now.
    pub(super) fn forget(&mut self, number: u64) {
        self.open.remove(&number);
    }

    fn list_as_done(&mut self, number: u64) -> io::Result<()> {
        let done = match &mut self.done {
            Some(done) => done,
            None => {
                let path = self.path.with_extension(DONE);
                let file = OpenOptions::new().create(true).append(true).mode(PRIVATE_FILE).open(path)?;
                self.done.insert(file)
            }
        };
        done.write_all(&done_entry(number))
    }

    /// How to bring what is written to the disk, if anything is.
    pub(super) fn unsynced(&mut self) -> Option<impl FnOnce() -> io::Result<()> + Send + use<>> {
        if !std::mem::take(&mut self.unsynced) {
            return None;
        }
        let file = self.file.try_clone().ok()?;
        Some(move || file.sync_data())
    }

    pub(super) fn delete(self) {
        for path in [self.path.with_extension(DONE), self.path.clone()] {
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(%error, file = %path.display(), "a finished part of the spool cannot be deleted");
            }
        }
    }

    /// Number and length of the record at `at`; `None` where no whole record is.
    fn frame(&self, at: u64) -> io::Result<Option<(u64, usize)>> {
        let mut frame = [0; FRAME];
        if at + FRAME as u64 > self.length {
            return Ok(None);
        }
        self.file.read_exact_at(&mut frame, at)?;
        let (length, number) = frame.split_at(4);
        let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
        let number = u64::from_be_bytes(number.try_into().expect("eight bytes"));
        let fits = length <= RECORD_MOST && at + (FRAME + length) as u64 <= self.length;
        Ok((fits && length > 0).then_some((number, length)))
    }
}

fn done_entry(number: u64) -> [u8; DONE_ENTRY] {
    let mut entry = [0; DONE_ENTRY];
    entry[..8].copy_from_slice(&number.to_be_bytes());
    let hash = Sha256::digest(&entry[..8]);
    entry[8..].copy_from_slice(&hash[..4]);
    entry
}

/// The segments of a folder, oldest first.
pub(super) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == EVENTS))
        .collect();
    files.sort();
    Ok(files)
}

/// The numbers of all records of a folder that are done. A torn or damaged entry stands for nothing.
pub(super) fn done_numbers(folder: &Path) -> io::Result<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == DONE) {
            let bytes = fs::read(entry.path())?;
            for entry in bytes.chunks_exact(DONE_ENTRY) {
                let number = u64::from_be_bytes(entry[..8].try_into().expect("eight bytes"));
                if done_entry(number) == entry {
                    numbers.insert(number);
                }
            }
        }
    }
    Ok(numbers)
}
