//! A contact sees that somebody types before a text comes, and whoever is more urgent does not wait for it.
//!
//! The job types before the message is recorded as begun. Meanwhile the actor looks at the tiers before the message's own:
//! what comes there stops the typing, the message goes back to its place and what was counted for it is given back, and the
//! other one is executed.

use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wafleet_browser::Page;
use wafleet_protocol::command::{Content, MessageSend};
use wafleet_protocol::id::ChatKind;

use super::lanes::Tier;
use crate::logging::chain;

/// The job's end.
pub(super) struct Typist {
    types: watch::Sender<bool>,
    stop: CancellationToken,
}

/// The actor's end.
pub(super) struct Watched {
    tier: Tier,
    types: watch::Receiver<bool>,
    stop: CancellationToken,
}

/// For the execution of one command of this tier.
pub(super) fn pair(tier: Tier) -> (Typist, Watched) {
    let (types, receiver) = watch::channel(false);
    let stop = CancellationToken::new();
    (Typist { types, stop: stop.clone() }, Watched { tier, types: receiver, stop })
}

impl Typist {
    /// Shows that somebody types, for so long. False: somebody more urgent waits.
    pub(super) async fn type_for(&self, page: &Page, to: &str, time: Duration) -> bool {
        if time.is_zero() {
            return true;
        }
        self.types.send_replace(true);
        let typed = async {
            // A chat that cannot show it is written to without.
            if let Err(error) = page.act("chat.typing", json!({ "chat": to, "typing": true })).await {
                tracing::debug!(error = %chain(&error), "the contact does not see that somebody types");
                return;
            }
            tokio::time::sleep(time).await;
        };
        let whole = tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = typed => true,
        };
        self.types.send_replace(false);
        if !whole && let Err(error) = page.act("chat.typing", json!({ "chat": to, "typing": false })).await {
            tracing::debug!(error = %chain(&error), "the contact may still see that somebody types");
        }
        whole
    }
}

impl Watched {
    /// The tier of the message that is being typed; everything before it may overtake.
    pub(super) fn tier(&self) -> Option<Tier> {
        self.types.borrow().then_some(self.tier)
    }

    /// The typing begins or ends. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if self.types.changed().await.is_err() {
            std::future::pending().await // the job is over, which the actor hears by itself
        }
    }

    /// Somebody more urgent waits.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }
}

/// How many characters of a message somebody would have typed: those of a text to a person.
pub(super) fn characters(message: &MessageSend) -> usize {
    match &message.content {
        Content::Text(text) if !matches!(message.to.kind(), ChatKind::Group | ChatKind::Status) => {
            text.text.as_str().chars().count()
        }
        _ => 0,
    }
}
