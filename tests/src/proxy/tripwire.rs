//! Stopping a connection at the bytes a test names, so that a crash can be placed between two steps of a worker without a
//! word in its code: what it has sent, the service has seen up to here and no further.

use std::time::Duration;

use anyhow::Context;
use tokio::sync::oneshot;

/// What is held when the pattern comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The bytes with the pattern do not reach the service: it has not done what they ask for.
    Request,
    /// They reach it, and nothing comes back: it has done it, and the client does not know.
    Answer,
}

/// Tells when it was tripped.
pub struct Tripwire {
    pattern: Vec<u8>,
    tripped: oneshot::Receiver<()>,
}

impl Tripwire {
    /// Waits until a connection has carried the pattern.
    ///
    /// # Errors
    /// When none has in time.
    pub async fn tripped(self, within: Duration) -> anyhow::Result<()> {
        let pattern = String::from_utf8_lossy(&self.pattern).into_owned();
        let waited = tokio::time::timeout(within, self.tripped).await;
        waited
            .with_context(|| format!("nobody sent {pattern:?} within {within:?}"))?
            .context("another wire took its place")
    }
}

/// The proxy's side of a wire.
pub(super) struct Armed {
    pattern: Vec<u8>,
    hold: Hold,
    tell: oneshot::Sender<()>,
}

impl Armed {
    /// Whether the pattern is in this piece, or began at the end of the pieces before it.
    pub(super) fn is_in(&self, tail: &[u8], piece: &[u8]) -> bool {
        let before = tail.len().saturating_sub(self.pattern.len() - 1);
        let seam: Vec<u8> = tail[before..].iter().chain(piece).copied().collect();
        seam.windows(self.pattern.len()).any(|window| window == self.pattern)
    }

    /// Tells the test.
    pub(super) fn trip(self) -> Hold {
        // A test that does not wait for it has no use for it.
        let _ = self.tell.send(());
        self.hold
    }
}

/// The longest pattern, and so how much of a connection's past is remembered.
pub(super) const LONGEST: usize = 256;

pub(super) fn arm(pattern: Vec<u8>, hold: Hold) -> (Armed, Tripwire) {
    assert!((1..=LONGEST).contains(&pattern.len()), "a pattern has 1 to {LONGEST} bytes");
    let (tell, tripped) = oneshot::channel();
    (Armed { pattern: pattern.clone(), hold, tell }, Tripwire { pattern, tripped })
}
