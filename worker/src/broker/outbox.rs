//! Everything that waits for the broker: events, which are kept on the disk meanwhile, and messages whose delivery is
//! unacknowledged and comes again by itself, which are not.
//!
//! Nothing here is ever dropped. When events pile up, first commands are left in their queues ([`Room::NoCommands`]),
//! then pages are not listened to either ([`Room::Full`]): what they hold is told later, from their own stores. Without
//! profile keys, or while the disk takes nothing, a much smaller bound in memory takes the place of the one on the disk.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};
use wafleet_profile::keys::Ring;
use wafleet_protocol::id::{SessionId, WorkspaceId};

use super::backlog::Backlog;
use super::message::{EventLetter, Message};
use super::publisher::{Confirm, PublishError};
use crate::counters::Counters;
use crate::logging::chain;
use crate::spool::{self, Handle, Leftover, Spool};

/// Messages other than events that may wait. When they are this many, whoever publishes waits.
const MESSAGES_BOUND: usize = 4096;
/// Bytes of events that are kept in memory beside their records on the disk, so that they need not be read again.
const CACHED_BYTES: u64 = 8 * 1024 * 1024;
/// Bytes of events that wait in memory alone at most: without profile keys, or while the disk takes nothing.
const MEMORY_BOUND: u64 = 8 * 1024 * 1024;
/// From this part of the bound on no command is taken, and again only below the second; in percent.
const NO_COMMANDS_FROM: u64 = 80;
const COMMANDS_BELOW: u64 = 50;
/// From the bound itself on no page is listened to, and again only below this part of it; in percent.
const PAGES_BELOW: u64 = 90;
/// A spool that takes nothing is complained of so often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What may still be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Room {
    /// Everything.
    Free,
    /// Commands stay in their queues.
    NoCommands,
    /// Nothing but what cannot wait: the results of what was begun, and the session's own states.
    Full,
}

impl Room {
    /// The word in logs and in the heartbeat.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::NoCommands => "no_commands",
            Self::Full => "full",
        }
    }

    /// The next state, when `used` of `bound` bytes wait.
    fn next(self, used: u64, bound: u64) -> Self {
        let percent = used.saturating_mul(100) / bound.max(1);
        match self {
            _ if percent >= 100 => Self::Full,
            Self::Full if percent >= PAGES_BELOW => Self::Full,
            Self::Free if percent < NO_COMMANDS_FROM => Self::Free,
            Self::NoCommands | Self::Full if percent < COMMANDS_BELOW => Self::Free,
            _ => Self::NoCommands,
        }
    }
}

/// Where the events wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// On the disk.
    Disk,
    /// In memory, because there are no profile keys to seal them with.
    Memory,
    /// In memory, because the disk does not take them.
    Trouble,
}

impl Keeping {
    /// The word in the heartbeat.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Memory => "memory",
            Self::Trouble => "trouble",
        }
    }
}

/// How things stand, for the heartbeat.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) waiting: usize,
    pub(crate) bytes: u64,
    pub(crate) bound: u64,
    pub(crate) room: Room,
    pub(crate) keeping: Keeping,
}

/// What a message waits behind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// The story of a session, which has an order.
    Session(WorkspaceId, SessionId),
    /// Nothing: a message that has no order with any other.
    Alone(u64),
}

struct Waiting {
    content: Content,
    confirmed: Option<oneshot::Sender<Result<(), PublishError>>>,
    /// A message's place among [`MESSAGES_BOUND`].
    _permit: Option<OwnedSemaphorePermit>,
}

enum Content {
    Message(Box<Message>),
    /// In memory, and perhaps on the disk as well.
    Event(Box<EventLetter>, u64, Option<Handle>),
    /// On the disk alone.
    Spooled(Handle),
}

struct State {
    backlog: Backlog<Lane, Waiting>,
    spool: Option<Spool>,
    keeping: Keeping,
    /// Bytes of events in memory: beside their records, and without any.
    cached: u64,
    unspooled: u64,
    alone: u64,
    complained: Option<Instant>,
    closing: bool,
}

/// The shared half of the publisher.
pub(super) struct Outbox {
    state: Mutex<State>,
    changed: Notify,
    room: watch::Sender<Room>,
    messages: Arc<Semaphore>,
    counters: Arc<Counters>,
    disk: Option<Disk>,
    bound: u64,
}

/// Where the spool is, and its keys.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) root: PathBuf,
    pub(super) ring: Arc<Ring>,
}

impl Outbox {
    pub(super) fn new(disk: Option<Disk>, bound: u64, counters: Arc<Counters>) -> Self {
        let state = State {
            backlog: Backlog::default(),
            spool: None,
            keeping: if disk.is_some() { Keeping::Disk } else { Keeping::Memory },
            cached: 0,
            unspooled: 0,
            alone: 0,
            complained: None,
            closing: false,
        };
        let (room, _) = watch::channel(Room::Free);
        let messages = Arc::new(Semaphore::new(MESSAGES_BOUND));
        Self { state: Mutex::new(state), changed: Notify::new(), room, messages, counters, disk, bound }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn room(&self) -> watch::Receiver<Room> {
        self.room.subscribe()
    }

    /// Takes an event: on the disk when this returns, if the disk takes it. Never waits.
    pub(super) fn tell(&self, event: EventLetter) -> Confirm {
        let (sender, confirm) = Confirm::pair();
        let plain = event.to_bytes();
        let size = plain.len() as u64;
        let mut state = self.lock();
        // While earlier events wait in memory alone, a later one must not outlive them.
        let handle =
            if state.keeping == Keeping::Disk { state.write(self.disk.as_ref(), self.bound, &plain) } else { None };
        let lane = Lane::Session(event.workspace, event.session.clone());
        let content = match handle {
            Some(handle) if state.cached >= CACHED_BYTES => Content::Spooled(handle),
            Some(handle) => {
                state.cached += size;
                Content::Event(Box::new(event), size, Some(handle))
            }
            None => {
                state.unspooled += size;
                Content::Event(Box::new(event), size, None)
            }
        };
        state.backlog.push(lane, Waiting { content, confirmed: Some(sender), _permit: None });
        self.judge_room(&state);
        drop(state);
        self.changed.notify_one();
        confirm
    }

    /// Takes another message; waits only while too many of them wait.
    pub(super) async fn enqueue(&self, message: Message) -> Result<Confirm, PublishError> {
        let permit = Arc::clone(&self.messages).acquire_owned().await.map_err(|_| PublishError::Closed)?;
        let (sender, confirm) = Confirm::pair();
        let mut state = self.lock();
        state.alone += 1;
        let lane = Lane::Alone(state.alone);
        let content = Content::Message(Box::new(message));
        state.backlog.push(lane, Waiting { content, confirmed: Some(sender), _permit: Some(permit) });
        drop(state);
        self.changed.notify_one();
        Ok(confirm)
    }

    /// Nothing more comes: once everything is confirmed, [`is_finished`](Self::is_finished).
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_one();
    }

    pub(super) fn is_finished(&self) -> bool {
        let state = self.lock();
        state.closing && state.backlog.len() == 0
    }

    /// Something was put in, or nothing more comes. May say so once too often.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// See [`Backlog::begin_again`].
    pub(super) fn begin_again(&self) {
        self.lock().backlog.begin_again();
    }

    /// See [`Backlog::due`].
    pub(super) fn due(&self) -> Option<Instant> {
        self.lock().backlog.due()
    }

    /// The next message to go.
    pub(super) fn take(&self) -> Option<(Lane, Message)> {
        let mut state = self.lock();
        loop {
            let State { backlog, spool, .. } = &mut *state;
            let (lane, waiting) = backlog.take(Instant::now())?;
            let handle = match &waiting.content {
                Content::Message(message) => return Some((lane, Message::clone(message))),
                Content::Event(event, ..) => return Some((lane, event.to_message())),
                Content::Spooled(handle) => *handle,
            };
            let read = spool.as_ref().map_or(Err(std::io::ErrorKind::NotFound.into()), |spool| spool.read(handle));
            match read.map(|plain| EventLetter::from_bytes(&plain)) {
                Ok(Some(event)) => return Some((lane, event.to_message())),
                failed => {
                    // It was written and read before: the disk has damaged it since.
                    tracing::error!(error = ?failed.err(), "an event on the disk cannot be read and is lost");
                    self.counters.count("events.lost", "unreadable");
                    self.settle(&mut state, &lane, Err(PublishError::Unreadable));
                }
            }
        }
    }

    /// The broker has the message of this lane, or it is known that it never will.
    pub(super) fn confirm(&self, lane: &Lane, answer: Result<(), PublishError>) {
        let mut state = self.lock();
        self.settle(&mut state, lane, answer);
    }

    /// The broker has not taken the message of this lane; returns how often in a row.
    pub(super) fn refuse(&self, lane: &Lane) -> u32 {
        self.lock().backlog.refuse(lane, Instant::now(), rand::random_range(0.0..1.0))
    }

    fn settle(&self, state: &mut State, lane: &Lane, answer: Result<(), PublishError>) {
        let Some(waiting) = state.backlog.confirm(lane) else { return };
        let handle = match waiting.content {
            Content::Message(_) => None,
            Content::Event(_, size, None) => {
                state.unspooled -= size;
                None
            }
            Content::Event(_, size, Some(handle)) => {
                state.cached -= size;
                Some(handle)
            }
            Content::Spooled(handle) => Some(handle),
        };
        if let (Some(handle), Some(spool)) = (handle, &mut state.spool) {
            spool.strike(handle);
        }
        if let Some(confirmed) = waiting.confirmed {
            let _ = confirmed.send(answer); // nobody may be waiting for it any more
        }
        self.judge_room(state);
    }

    pub(super) fn standing(&self) -> Standing {
        let state = self.lock();
        let (bytes, bound) = state.used(self.bound);
        Standing { waiting: state.backlog.len(), bytes, bound, room: *self.room.borrow(), keeping: state.keeping }
    }

    fn judge_room(&self, state: &State) {
        let (used, bound) = state.used(self.bound);
        self.room.send_if_modified(|room| {
            let next = room.next(used, bound);
            if *room == next {
                return false;
            }
            if next > *room {
                self.counters.count("events.room", next.as_str());
                tracing::error!(
                    room = next.as_str(),
                    used,
                    bound,
                    keeping = state.keeping.as_str(),
                    "too many events wait for the broker"
                );
            } else {
                tracing::info!(room = next.as_str(), used, bound, "fewer events wait for the broker");
            }
            *room = next;
            true
        });
    }

    /// What has to be done from time to time. Returns how to bring what was written to the disk.
    pub(super) fn tend(&self) -> Option<impl FnOnce() -> std::io::Result<()> + Send + use<>> {
        let mut state = self.lock();
        if state.keeping == Keeping::Trouble {
            state.write_again(self.disk.as_ref(), self.bound);
        }
        if let Some(spool) = &mut state.spool
            && let Err(error) = spool.compact()
        {
            tracing::warn!(error = %chain(&error), "the event spool could not be tidied");
        }
        self.judge_room(&state);
        state.spool.as_mut().and_then(Spool::sync)
    }

    /// Reads what killed workers left behind below the same directory. Waits for the disk.
    pub(super) fn look_for_leftovers(&self, known: &mut BTreeSet<PathBuf>) -> Vec<Leftover<Lane>> {
        let Some(disk) = &self.disk else { return Vec::new() };
        let lane =
            |plain: &[u8]| EventLetter::from_bytes(plain).map(|event| Lane::Session(event.workspace, event.session));
        spool::leftovers(&disk.root, &disk.ring, known, lane).unwrap_or_else(|error| {
            tracing::warn!(error = %chain(&error), "the event spool could not be searched for leftovers");
            Vec::new()
        })
    }

    /// Publishes what a killed worker left behind, as it left it.
    pub(super) fn adopt(&self, leftover: Leftover<Lane>) {
        let mut state = self.lock();
        if state.spool(self.disk.as_ref(), self.bound).is_err() {
            return; // its lock is released with it, and the next look finds it again
        }
        let State { backlog, spool, .. } = &mut *state;
        let Some(spool) = spool else { return };
        let open = spool.adopt(leftover);
        if !open.is_empty() {
            tracing::warn!(events = open.len(), "a killed worker left events behind; they are published now");
        }
        for (handle, lane) in open {
            self.counters.count("events.adopted", "killed_worker");
            backlog.push(lane, Waiting { content: Content::Spooled(handle), confirmed: None, _permit: None });
        }
        self.judge_room(&state);
        drop(state);
        self.changed.notify_one();
    }
}

impl State {
    /// Bytes that wait, of how many.
    fn used(&self, bound: u64) -> (u64, u64) {
        match self.keeping {
            Keeping::Disk => (self.spool.as_ref().map_or(0, Spool::bytes), bound),
            Keeping::Memory | Keeping::Trouble => (self.unspooled, bound.min(MEMORY_BOUND)),
        }
    }

    fn spool(&mut self, disk: Option<&Disk>, bound: u64) -> std::io::Result<&mut Spool> {
        if self.spool.is_none() {
            let disk = disk.ok_or(std::io::ErrorKind::Unsupported)?;
            self.spool = Some(Spool::create(&disk.root, Arc::clone(&disk.ring), bound)?);
        }
        self.spool.as_mut().ok_or(std::io::ErrorKind::Unsupported.into())
    }

    fn write(&mut self, disk: Option<&Disk>, bound: u64, plain: &[u8]) -> Option<Handle> {
        match self.spool(disk, bound).and_then(|spool| spool.append(plain)) {
            Ok(handle) => Some(handle),
            Err(error) => {
                self.trouble(&error);
                None
            }
        }
    }

    fn trouble(&mut self, error: &std::io::Error) {
        self.keeping = Keeping::Trouble;
        if self.complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            tracing::error!(%error, "the disk takes no events: they wait in memory, and a crash would lose them");
        }
    }

    /// Brings the events that wait in memory alone to the disk, each session's in their order. All of them or the trouble
    /// goes on: a later event must not outlive an earlier one.
    fn write_again(&mut self, disk: Option<&Disk>, bound: u64) {
        if let Err(error) = self.spool(disk, bound) {
            self.trouble(&error);
            return;
        }
        let Some(mut spool) = self.spool.take() else { return };
        let mut failed = None;
        for waiting in self.backlog.messages_mut() {
            let Content::Event(event, size, handle @ None) = &mut waiting.content else { continue };
            match spool.append(&event.to_bytes()) {
                Ok(written) => {
                    *handle = Some(written);
                    self.unspooled -= *size;
                    self.cached += *size;
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        self.spool = Some(spool);
        match failed {
            Some(error) => self.trouble(&error),
            None => {
                self.keeping = Keeping::Disk;
                self.complained = None;
                tracing::info!("the disk takes events again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_ends_at_the_bound_and_comes_back_well_below_it() {
        let mut room = Room::Free;
        for (used, expected) in [
            (0, Room::Free),
            (79, Room::Free),
            (80, Room::NoCommands),
            (60, Room::NoCommands),
            (49, Room::Free),
            (120, Room::Full),
            (95, Room::Full),
            (89, Room::NoCommands),
            (50, Room::NoCommands),
            (99, Room::NoCommands),
            (100, Room::Full),
            (10, Room::Free),
        ] {
            room = room.next(used, 100);
            assert_eq!(room, expected, "{used} % used");
        }
    }
}
