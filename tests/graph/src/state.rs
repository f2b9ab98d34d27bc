//! What the imitation knows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Meta answers with an error of this status and code, and has accepted nothing.
    Refuse {
        /// The HTTP status.
        status: u16,
        /// Meta's code.
        code: i64,
    },
    /// A gateway answers with this status and without a body of Meta's; the message may or may not have been accepted.
    Gateway {
        /// The HTTP status.
        status: u16,
        /// Whether it was.
        accepted: bool,
    },
    /// The answer never comes.
    Hang {
        /// Whether the message was accepted.
        accepted: bool,
    },
    /// The message is accepted, and the connection breaks in the middle of the answer.
    CutAfter,
}

/// A message that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// Its id.
    pub id: String,
    /// The number it was sent from.
    pub number: String,
    /// The recipient, in digits.
    pub to: String,
    /// Its kind.
    pub kind: String,
    /// The whole request.
    pub body: Value,
}

impl Accepted {
    /// The sender's mark.
    pub fn mark(&self) -> Option<&str> {
        self.body["biz_opaque_callback_data"].as_str()
    }
}

/// A file that was uploaded.
#[derive(Clone, PartialEq)]
pub struct Upload {
    /// Its id.
    pub id: String,
    /// The type it was said to have.
    pub mime: String,
    pub(crate) body: Vec<u8>,
}

impl Upload {
    /// Whether these bytes are in it.
    pub fn holds(&self, file: &[u8]) -> bool {
        self.body.windows(file.len()).any(|window| window == file)
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("id", &self.id).field("mime", &self.mime).finish_non_exhaustive()
    }
}

#[derive(Default)]
pub(crate) struct State(Mutex<Inner>);

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) numbers: BTreeMap<String, String>,
    pub(crate) templates: BTreeSet<(String, String)>,
    pub(crate) next: VecDeque<Fault>,
    pub(crate) next_uploads: VecDeque<Fault>,
    pub(crate) uploads: Vec<Upload>,
    pub(crate) always: Option<Fault>,
    pub(crate) accepted: Vec<Accepted>,
    pub(crate) requests: usize,
    pub(crate) read: Vec<String>,
    count: u64,
}

impl State {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// A message id in Meta's form.
    pub(crate) fn new_id(&mut self) -> String {
        self.count += 1;
        format!("wamid.{}", STANDARD.encode(format!("imitation-{:08}", self.count)))
    }

    pub(crate) fn fault(&mut self) -> Option<Fault> {
        self.next.pop_front().or(self.always)
    }
}
