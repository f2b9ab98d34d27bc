//! Confirmed publishing: every message is kept until the broker has confirmed it, and published again on the next
//! connection if it has not. Order is the order of [`Publisher::enqueue`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::message::Message;
use super::{BrokerError, Serve};
use crate::config::Amqp;

/// Messages sent and not yet confirmed. Measured: a window of 1 costs a factor of 8 to 15, beyond 256 only latency grows.
const WINDOW: usize = 256;
/// Messages waiting for the window. When they are this many, whoever publishes waits, and so takes no more commands.
const QUEUE_BOUND: usize = 4096;
/// How long the broker may take to confirm.
pub(crate) const CONFIRM_LIMIT: Duration = Duration::from_secs(10);

/// Why a message was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PublishError {
    /// It was mandatory, and no queue is bound for its routing key.
    #[error("no queue is bound for the routing key")]
    Unroutable,
    /// The worker is stopping.
    #[error("the publisher is closed")]
    Closed,
}

/// The answer to one message, some time later.
pub(crate) struct Confirm(oneshot::Receiver<Result<(), PublishError>>);

impl Confirm {
    /// Waits until the broker has taken the message, across reconnections.
    ///
    /// # Errors
    /// [`PublishError`]: the message is not in any queue.
    pub(crate) async fn wait(self) -> Result<(), PublishError> {
        self.0.await.unwrap_or(Err(PublishError::Closed))
    }
}

/// A handle to the publishing task.
#[derive(Clone)]
pub(crate) struct Publisher {
    queue: mpsc::Sender<Outgoing>,
}

struct Outgoing {
    message: Message,
    confirmed: oneshot::Sender<Result<(), PublishError>>,
}

impl Publisher {
    /// Hands a message over; waits only while the queue is full.
    ///
    /// # Errors
    /// [`PublishError::Closed`] after the worker has stopped.
    pub(crate) async fn enqueue(&self, message: Message) -> Result<Confirm, PublishError> {
        let (confirmed, receiver) = oneshot::channel();
        self.queue.send(Outgoing { message, confirmed }).await.map_err(|_| PublishError::Closed)?;
        Ok(Confirm(receiver))
    }

    /// Publishes and waits for the confirm.
    ///
    /// # Errors
    /// [`PublishError`]: the message is not in any queue.
    pub(crate) async fn publish(&self, message: Message) -> Result<(), PublishError> {
        self.enqueue(message).await?.wait().await
    }
}

/// The publishing task: spawn [`PublisherTask::run`].
pub(crate) struct PublisherTask {
    queue: mpsc::Receiver<Outgoing>,
    /// Sent on this or an earlier connection, oldest first, and not confirmed yet.
    unconfirmed: VecDeque<Outgoing>,
}

/// Makes the handle and the task.
pub(crate) fn channel() -> (Publisher, PublisherTask) {
    let (sender, queue) = mpsc::channel(QUEUE_BOUND);
    (Publisher { queue: sender }, PublisherTask { queue, unconfirmed: VecDeque::new() })
}

impl PublisherTask {
    /// Publishes until every handle is gone and everything is confirmed, or until `kill`.
    pub(crate) async fn run(mut self, amqp: Amqp, name: String, kill: CancellationToken) {
        super::keep(&amqp, &name, &kill, &mut self).await;
    }
}

impl Serve for PublisherTask {
    async fn serve(&mut self, connection: &Arc<Connection>) -> Result<(), BrokerError> {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut confirms = FuturesOrdered::new();
        for outgoing in &self.unconfirmed {
            confirms.push_back(send(&channel, &outgoing.message).await?);
        }
        let mut oldest = Instant::now();
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                confirm = timeout_at(oldest + CONFIRM_LIMIT, confirms.next()), if !confirms.is_empty() => {
                    let confirm = confirm.map_err(|_| BrokerError::ConfirmTimeout)?.expect("guarded by is_empty")?;
                    oldest = Instant::now();
                    self.settle(&confirm)?;
                }
                outgoing = self.queue.recv(), if open && confirms.len() < WINDOW => match outgoing {
                    None => open = false,
                    Some(outgoing) => {
                        if confirms.is_empty() {
                            oldest = Instant::now();
                        }
                        // Kept before it is sent: if sending fails half-way, the next connection sends it again.
                        self.unconfirmed.push_back(outgoing);
                        let outgoing = self.unconfirmed.back().expect("just pushed");
                        confirms.push_back(send(&channel, &outgoing.message).await?);
                    }
                },
                else => return Ok(()), // every handle is gone and everything is confirmed
            }
        }
    }
}

impl PublisherTask {
    /// Answers the oldest unconfirmed message.
    fn settle(&mut self, confirm: &Confirmation) -> Result<(), BrokerError> {
        let answer = match confirm {
            Confirmation::Ack(None) => Ok(()),
            // An unroutable mandatory message is returned and then acknowledged: an ack alone proves nothing.
            Confirmation::Ack(Some(_)) => Err(PublishError::Unroutable),
            Confirmation::Nack(_) | Confirmation::NotRequested => {
                let exchange = self.unconfirmed.front().map_or("", |outgoing| outgoing.message.exchange);
                return Err(BrokerError::Nacked { exchange: exchange.to_owned() });
            }
        };
        if let Some(outgoing) = self.unconfirmed.pop_front() {
            let _ = outgoing.confirmed.send(answer); // nobody may be waiting for it any more
        }
        Ok(())
    }
}

/// Writes one message to the channel; the future is the broker's confirm.
async fn send(
    channel: &Channel,
    message: &Message,
) -> Result<impl Future<Output = lapin::Result<Confirmation>> + Send + use<>, BrokerError> {
    let options = BasicPublishOptions { mandatory: message.mandatory, ..BasicPublishOptions::default() };
    let (exchange, key) = (message.exchange.into(), message.routing_key.as_str().into());
    Ok(channel.basic_publish(exchange, key, options, &message.body, message.properties.clone()).await?)
}
