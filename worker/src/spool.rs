//! Events on disk until the broker has them: the spool.
//!
//! ```text
//! <root>/<ulid of the process>/lock              held as long as the process lives
//!                             /000001.events     header, then records: length, number, sealed event
//!                             /000001.done       the numbers of the records that the broker has confirmed
//! ```
//! A record is written before its event is published and struck off when the broker has confirmed it; a segment without
//! open records is deleted, and so is the folder of a process that ends with nothing open. A folder whose lock is free
//! belongs to a process that was killed: the next process to look adopts it and publishes what is open in it, in order.
//! The sealed records show nothing of an event without the profile key ring. A process that is killed loses nothing that
//! it has written; a machine that loses its power may lose what was written after the last [`Spool::sync`].

mod folder;
mod segment;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wafleet_profile::keys::Ring;

use folder::Folder;
use segment::Segment;

/// A segment that has grown to this size is closed, and the next record begins another.
const SEGMENT_MOST: u64 = 1024 * 1024;
/// A small spool has at least so many segments, so that its space becomes free bit by bit.
const SEGMENTS_LEAST: u64 = 8;
/// A current segment without open records is deleted once it has grown to this part of its size.
const EMPTY_PART: u64 = 16;
/// A closed segment is emptied into the current one when fewer than one in so many of its records are open: one consumer
/// that takes nothing must not keep the events of all others on the disk.
const SPARSE: usize = 8;

/// Names a record within this process.
pub(crate) type Handle = u64;

/// What a process wrote and adopted. One thread at a time; nothing here waits but for the disk.
pub(crate) struct Spool {
    ring: Arc<Ring>,
    segment_bytes: u64,
    folder: Arc<Folder>,
    /// The segment that takes the next record.
    current: Option<u64>,
    segments: BTreeMap<u64, Segment>,
    places: HashMap<Handle, Place>,
    next_segment: u64,
    next_number: u64,
    next_handle: Handle,
}

/// Where a record lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    segment: u64,
    number: u64,
}

/// What a process left behind that was killed, read and locked.
pub(crate) struct Leftover<T> {
    segments: Vec<Segment>,
    /// The open records in the order in which they were written, with what was read from them.
    open: Vec<(usize, u64, T)>,
}

impl Spool {
    /// A spool with a new folder below `root`, meant to hold `limit` bytes. The caller keeps to it.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn create(root: &Path, ring: Arc<Ring>, limit: u64) -> io::Result<Self> {
        Ok(Self {
            ring,
            segment_bytes: (limit / SEGMENTS_LEAST).min(SEGMENT_MOST),
            folder: Arc::new(Folder::create(root)?),
            current: None,
            segments: BTreeMap::new(),
            places: HashMap::new(),
            next_segment: 1,
            next_number: 1,
            next_handle: 1,
        })
    }

    /// Writes a record.
    ///
    /// # Errors
    /// The disk is full or does not take it for another reason. Nothing of the record is left then.
    pub(crate) fn append(&mut self, plain: &[u8]) -> io::Result<Handle> {
        let number = self.next_number;
        let segment = self.write(number, plain)?;
        self.next_number += 1;
        Ok(self.place(Place { segment, number }))
    }

    /// Reads a record back.
    ///
    /// # Errors
    /// It was altered or cannot be read.
    pub(crate) fn read(&self, handle: Handle) -> io::Result<Vec<u8>> {
        let place = self.places.get(&handle).ok_or(io::ErrorKind::NotFound)?;
        self.segments.get(&place.segment).ok_or(io::ErrorKind::NotFound)?.read(place.number)
    }

    /// Strikes a record off. What cannot be struck off is published again by whoever adopts the folder.
    pub(crate) fn strike(&mut self, handle: Handle) {
        let Some(place) = self.places.remove(&handle) else { return };
        let Some(segment) = self.segments.get_mut(&place.segment) else { return };
        segment.strike(place.number);
        let closed = self.current != Some(place.segment);
        if segment.open_records() == 0 && (closed || segment.bytes() >= self.segment_bytes / EMPTY_PART) {
            self.delete(place.segment);
        }
    }

    /// Bytes on the disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.values().map(Segment::bytes).sum()
    }

    /// Brings what was written to the disk. For a task that may wait: answers with what to call.
    pub(crate) fn sync(&mut self) -> Option<impl FnOnce() -> io::Result<()> + Send + use<>> {
        self.segments.get_mut(&self.current?)?.unsynced()
    }

    /// Moves the last open records of closed segments together, so that the space of the others is free.
    ///
    /// # Errors
    /// The disk does not take the copies; the originals stay.
    pub(crate) fn compact(&mut self) -> io::Result<()> {
        let sparse = |(id, segment): (&u64, &Segment)| {
            let own = Arc::ptr_eq(segment.folder(), &self.folder);
            (own && self.current != Some(*id) && segment.open_records() * SPARSE < segment.total()).then_some(*id)
        };
        let Some(id) = self.segments.iter().find_map(sparse) else { return Ok(()) };
        for number in self.segments[&id].open_numbers() {
            let plain = self.segments[&id].read(number)?;
            let segment = self.write(number, &plain)?;
            for place in self.places.values_mut().filter(|place| place.segment == id && place.number == number) {
                place.segment = segment;
            }
            if let Some(old) = self.segments.get_mut(&id) {
                old.forget(number);
            }
        }
        self.delete(id);
        Ok(())
    }

    /// Takes over what another process left behind; the handles are in the order in which it wrote.
    pub(crate) fn adopt<T>(&mut self, leftover: Leftover<T>) -> Vec<(Handle, T)> {
        let first = self.next_segment;
        for segment in leftover.segments {
            self.segments.insert(self.next_segment, segment);
            self.next_segment += 1;
        }
        let open: Vec<(Handle, T)> = leftover
            .open
            .into_iter()
            .map(|(index, number, what)| (self.place(Place { segment: first + index as u64, number }), what))
            .collect();
        let empty: Vec<u64> = self
            .segments
            .range(first..)
            .filter(|(_, segment)| segment.open_records() == 0)
            .map(|(id, _)| *id)
            .collect();
        empty.into_iter().for_each(|id| self.delete(id));
        open
    }

    fn place(&mut self, place: Place) -> Handle {
        let handle = self.next_handle;
        self.next_handle += 1;
        self.places.insert(handle, place);
        handle
    }

    /// Writes to the current segment, which is a new one when there is none or it is full.
    fn write(&mut self, number: u64, plain: &[u8]) -> io::Result<u64> {
        if let Some(id) = self.current
            && self.segments.get(&id).is_none_or(|segment| segment.bytes() >= self.segment_bytes)
        {
            self.current = None;
        }
        let id = match self.current {
            Some(id) => id,
            None => {
                let id = self.next_segment;
                self.segments.insert(id, Segment::create(&self.folder, id, &self.ring)?);
                self.next_segment += 1;
                self.current = Some(id);
                id
            }
        };
        let segment = self.segments.get_mut(&id).expect("the current segment is in the table");
        if let Err(error) = segment.append(number, plain) {
            // Whatever is wrong with this file, the next record begins another.
            self.current = None;
            if segment.open_records() == 0 {
                self.delete(id);
            }
            return Err(error);
        }
        Ok(id)
    }

    fn delete(&mut self, id: u64) {
        if self.current == Some(id) {
            self.current = None;
        }
        if let Some(segment) = self.segments.remove(&id) {
            segment.delete();
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let empty: Vec<u64> =
            self.segments.iter().filter(|(_, segment)| segment.open_records() == 0).map(|(id, _)| *id).collect();
        empty.into_iter().for_each(|id| self.delete(id));
    }
}

/// Reads the folders below `root` whose processes are gone, oldest first. `known` holds folders that could not be read
/// before, so that each is complained of once. `read` makes something of a record; what it refuses is struck off.
///
/// # Errors
/// `root` cannot be listed.
pub(crate) fn leftovers<T>(
    root: &Path,
    ring: &Ring,
    known: &mut BTreeSet<PathBuf>,
    mut read: impl FnMut(&[u8]) -> Option<T>,
) -> io::Result<Vec<Leftover<T>>> {
    let mut found = Vec::new();
    for folder in folder::abandoned(root, known)? {
        let path = folder.path().to_owned();
        let folder = Arc::new(folder);
        let mut open = BTreeMap::new();
        let mut segments = Vec::new();
        let done = segment::done_numbers(&path)?;
        for file in segment::files(&path)? {
            match Segment::reopen(&folder, &file, ring, &done) {
                Ok(Some(segment)) => {
                    for number in segment.open_numbers() {
                        match segment.read(number).ok().and_then(|plain| read(&plain)) {
                            // A record that was moved just before the end may be there twice.
                            Some(what) => drop(open.insert(number, (segments.len(), what))),
                            None => {
                                tracing::error!(file = %file.display(), number, "an event on the disk cannot be read")
                            }
                        }
                    }
                    segments.push(segment);
                }
                Ok(None) => {} // it was being begun
                Err(error) => {
                    tracing::error!(%error, file = %file.display(), "events of a worker that was killed cannot be read; they stay where they are");
                    known.insert(path.clone());
                }
            }
        }
        let open = open.into_iter().map(|(number, (index, what))| (index, number, what)).collect();
        found.push(Leftover { segments, open });
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
