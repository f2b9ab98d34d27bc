//! One page's connection, as the cloud sees it.

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::account::Secret;
use crate::ids::Number;
use crate::qr::{PageKeys, QrSeries, ScannedCode};
use crate::wire::ToPage;

/// Numbers connections in the order in which they came.
pub(crate) type ConnectionId = u64;

/// Frames that may wait for one socket. A page that reads none of this many is cut off.
const OUTBOX_LIMIT: usize = 10_000;

/// How the socket of a connection behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Reads and writes.
    Open,
    /// Does neither, and keeps the TCP connection: what a dead network looks like from inside.
    Silent,
    /// Ends at once, without a closing handshake.
    Cut,
}

/// The cloud's end of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    outbox: mpsc::Sender<ToPage>,
    mode: watch::Sender<Mode>,
    pub(crate) stage: Stage,
}

/// The socket's end of a connection.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) id: ConnectionId,
    pub(crate) outbox: mpsc::Receiver<ToPage>,
    pub(crate) mode: watch::Receiver<Mode>,
}

/// How far a connection has come.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Connected, and has not said who it is.
    Greeting,
    /// Waits for a phone to link it.
    Linking(Linking),
    /// The code was scanned or entered; the owner's passkey is asked for.
    Asserting { linking: Linking, phone: Number, challenge: String },
    /// Got its credentials and has not confirmed them yet.
    Signing { secret: Secret },
    /// A linked device at work.
    Online { secret: Secret },
    /// Was told that it is no longer wanted.
    Dismissed,
}

/// What a page shows while it waits to be linked.
#[derive(Debug)]
pub(crate) struct Linking {
    pub(crate) keys: PageKeys,
    pub(crate) series: QrSeries,
    /// The reference on display.
    pub(crate) reference: Option<String>,
    /// Which code of this connection is on display, so that a late timer does not end a newer one.
    pub(crate) generation: u64,
    pub(crate) pairing: Option<Pairing>,
}

/// A pairing code that may be entered on a phone.
#[derive(Debug)]
pub(crate) struct Pairing {
    pub(crate) code: String,
    pub(crate) phone: Number,
    pub(crate) until: Instant,
}

impl Linking {
    /// The QR code as it is on the screen.
    pub(crate) fn qr(&self) -> Option<String> {
        let reference = self.reference.clone()?;
        Some(ScannedCode { reference, keys: self.keys.clone() }.text())
    }
}

impl Connection {
    pub(crate) fn open(id: ConnectionId) -> (Self, Conversation) {
        let (outbox, frames) = mpsc::channel(OUTBOX_LIMIT);
        let (mode, behaviour) = watch::channel(Mode::Open);
        let connection = Self { outbox, mode, stage: Stage::Greeting };
        (connection, Conversation { id, outbox: frames, mode: behaviour })
    }

    /// Queues a frame for the page. A page that reads nothing any more is cut off; it redials and gets all it missed.
    pub(crate) fn say(&self, frame: ToPage) {
        if self.outbox.try_send(frame).is_err() {
            self.set_mode(Mode::Cut);
        }
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}
