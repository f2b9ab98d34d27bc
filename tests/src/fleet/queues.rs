//! Waiting for what the broker tells of queues.

use std::time::Duration;

use anyhow::Context;

use super::VirtualHost;
use crate::wait;

/// The broker's figures are up to a second old; a busy worker takes some seconds to settle what it holds.
const PATIENCE: Duration = Duration::from_secs(30);

impl VirtualHost {
    /// Waits until a queue holds nothing, neither ready nor unacknowledged.
    ///
    /// # Errors
    /// After half a minute, or when there is no such queue.
    pub async fn wait_until_empty(&self, queue: &str) -> anyhow::Result<()> {
        let empty = async || {
            let found = self.queue(queue).await?.with_context(|| format!("there is no queue {queue}"))?;
            // A queue that was just declared has no figures yet.
            Ok((found["messages"] == 0).then_some(()))
        };
        wait::until(&format!("queue {queue} is empty"), PATIENCE, empty).await
    }
}
