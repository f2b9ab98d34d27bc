//! Subscriptions to events: bounded, and loud when they run over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chromiumoxide_types::MethodType;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc;

/// Events that may wait for one reader. A page's bindings come in batches, at most twenty a second
/// plus one for every 64 events, so this is a minute of the worst.
pub(super) const EVENT_QUEUE: usize = 2048;

/// One event of the protocol, as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct CdpEvent {
    /// `Domain.event`.
    pub method: String,
    /// Its payload.
    pub params: Value,
}

impl CdpEvent {
    /// The event as `E`, if it is one and has the right shape.
    pub fn parse<E: MethodType + DeserializeOwned>(&self) -> Option<E> {
        if self.method != E::method_id() {
            return None;
        }
        match E::deserialize(&self.params) {
            Ok(event) => Some(event),
            Err(error) => {
                tracing::debug!(method = %self.method, %error, "an event has an unknown shape");
                None
            }
        }
    }
}

/// Why a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CdpEventsEnd {
    /// The connection, or the target, is gone.
    Gone,
    /// The reader was too slow and the bounded queue ran over: events were lost.
    Overflow,
}

/// The events of one target that were subscribed to, in the order in which they came.
#[derive(Debug)]
pub struct CdpEvents {
    queue: mpsc::Receiver<CdpEvent>,
    lost: Arc<AtomicU64>,
}

impl CdpEvents {
    /// The next event; what was queued before the end is still handed out. Cancel-safe.
    ///
    /// # Errors
    /// The end, and why.
    pub async fn next(&mut self) -> Result<CdpEvent, CdpEventsEnd> {
        match self.queue.recv().await {
            Some(event) => Ok(event),
            None if self.lost.load(Ordering::Relaxed) > 0 => Err(CdpEventsEnd::Overflow),
            None => Err(CdpEventsEnd::Gone),
        }
    }
}

/// The sending half, in the router.
#[derive(Debug)]
pub(super) struct Subscriber {
    methods: &'static [&'static str],
    queue: mpsc::Sender<CdpEvent>,
    lost: Arc<AtomicU64>,
}

impl Subscriber {
    pub(super) fn channel(methods: &'static [&'static str]) -> (Subscriber, CdpEvents) {
        let (sender, queue) = mpsc::channel(EVENT_QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let subscriber = Subscriber { methods, queue: sender, lost: Arc::clone(&lost) };
        (subscriber, CdpEvents { queue, lost })
    }

    /// Hands an event over; `false` when this subscription is over.
    pub(super) fn offer(&self, event: &CdpEvent) -> bool {
        if !self.methods.contains(&event.method.as_str()) {
            return !self.queue.is_closed();
        }
        match self.queue.try_send(event.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(method = %event.method, "a reader of browser events is too slow");
                false
            }
        }
    }
}
