//! Every event the host application has received, in order, and waiting for one that says something.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use tokio::sync::watch;
use wafleet_protocol::event::Envelope;
use wafleet_protocol::id::EventId;

/// How long a test waits for an event unless it says otherwise: a browser's start on two busy cores is within it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One event as it arrived.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// The routing key it came with.
    pub routing_key: String,
    /// The event, its signature verified.
    pub envelope: Envelope,
}

/// All events so far. Cheap to copy; all copies see the same events.
#[derive(Debug, Clone)]
pub struct Journal {
    began: Instant,
    state: watch::Receiver<State>,
}

/// What the collector has seen.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) entries: Vec<Entry>,
    /// What arrived and is no event of ours, or why nothing arrives any more.
    pub(super) trouble: Option<String>,
}

impl Journal {
    pub(super) fn new() -> (Self, watch::Sender<State>) {
        let (sender, state) = watch::channel(State::default());
        (Self { began: Instant::now(), state }, sender)
    }

    /// How many events there are: a mark for [`wait_from`](Self::wait_from).
    pub fn len(&self) -> usize {
        self.state.borrow().entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of all events so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.state.borrow().entries.clone()
    }

    /// Waits for the first event, among those that came and those that come, of which `find` makes something.
    ///
    /// # Errors
    /// After a minute, with the list of what was seen instead; at once when something arrived that is no signed event.
    pub async fn wait_for<T>(&self, what: &str, find: impl FnMut(&Envelope) -> Option<T>) -> anyhow::Result<T> {
        self.wait_from(0, what, PATIENCE, find).await
    }

    /// As [`wait_for`](Self::wait_for), leaving out the first `mark` events and waiting no longer than `patience`.
    ///
    /// # Errors
    /// As for [`wait_for`](Self::wait_for).
    pub async fn wait_from<T>(
        &self,
        mark: usize,
        what: &str,
        patience: Duration,
        mut find: impl FnMut(&Envelope) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut state = self.state.clone();
        let mut looked_at = mark;
        let search = async {
            loop {
                {
                    let state = state.borrow_and_update();
                    while let Some(entry) = state.entries.get(looked_at) {
                        looked_at += 1;
                        if let Some(found) = find(&entry.envelope) {
                            return Ok(found);
                        }
                    }
                    if let Some(trouble) = &state.trouble {
                        bail!("waiting for {what}: {trouble}");
                    }
                }
                if state.changed().await.is_err() {
                    bail!("waiting for {what}: the host application was dropped");
                }
            }
        };
        match tokio::time::timeout(patience, search).await {
            Ok(result) => result,
            Err(_) => bail!("no {what} within {patience:?}; events since the start:\n{}", self.describe()),
        }
    }

    /// Checks what holds for every fleet at every moment: `seq` counts from 1 without gaps within a session and epoch,
    /// epochs only grow (0 stands for answers about a session that the answering worker does not own), and an event that
    /// came twice is the same event.
    ///
    /// # Errors
    /// Names the first event that breaks a rule, and lists all.
    pub fn check_order(&self) -> anyhow::Result<()> {
        let entries = self.entries();
        let mut last: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let mut seen: BTreeMap<EventId, &Envelope> = BTreeMap::new();
        for Entry { envelope, .. } in &entries {
            let first = seen.insert(envelope.id.clone(), envelope);
            if let Some(first) = first {
                ensure!(
                    first.event == envelope.event,
                    "the id {} says two things: {first:?} and {envelope:?}\n{}",
                    envelope.id,
                    self.describe()
                );
            }
            if envelope.epoch == 0 {
                continue; // an answer of a worker that does not own the session is outside the session's story
            }
            let place = (envelope.epoch, envelope.seq);
            if first.is_some_and(|first| (first.epoch, first.seq) == place) {
                continue; // delivered at least once; told a second time it has a place of its own
            }
            let session = envelope.session_id.to_string();
            let expected = match last.get(&session) {
                Some((epoch, seq)) if *epoch == envelope.epoch => (*epoch, seq + 1),
                Some((epoch, _)) if *epoch > envelope.epoch => (*epoch, 0),
                _ => (envelope.epoch, 1),
            };
            ensure!(place == expected, "session {session}: {place:?} where {expected:?} was due:\n{}", self.describe());
            last.insert(session, place);
        }
        Ok(())
    }

    /// All events, one a line, with the seconds since the journal began.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for entry in &self.state.borrow().entries {
            let envelope = &entry.envelope;
            let since = entry.at.saturating_duration_since(self.began).as_secs_f32();
            let data = serde_json::to_string(&envelope.event).unwrap_or_default();
            let _ = writeln!(
                text,
                "  +{since:.3} s  {} {}#{}  {}  {data}",
                envelope.session_id,
                envelope.epoch,
                envelope.seq,
                envelope.event.type_name(),
            );
        }
        if text.is_empty() {
            text.push_str("  none\n");
        }
        text
    }
}
