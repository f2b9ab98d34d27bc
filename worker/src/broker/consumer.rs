//! The consuming connection, and the readers that others open on it.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, Consumer};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wafleet_protocol::topology::{self, Topology};

use super::outbox::Room;
use super::{BrokerError, Serve};
use crate::config::Amqp;

/// Pause between two tries to open a reader on a connection that lives.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);

/// The way to the queues: the consuming connection as it stands, and whether there is room for what commands cause.
#[derive(Clone)]
pub(crate) struct Link {
    connection: watch::Receiver<Option<Arc<Connection>>>,
    room: watch::Receiver<Room>,
}

impl Link {
    /// The way by this connection.
    pub(crate) fn new(connection: watch::Receiver<Option<Arc<Connection>>>, room: watch::Receiver<Room>) -> Self {
        Self { connection, room }
    }

    /// The connection, if there is one.
    pub(crate) fn connection(&self) -> Option<Arc<Connection>> {
        self.connection.borrow().clone()
    }

    /// Waits until there is a connection. `None`: the worker is stopping.
    pub(crate) async fn connected(&mut self) -> Option<Arc<Connection>> {
        self.connection.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// Whether commands may be taken.
    fn takes(&self) -> bool {
        *self.room.borrow() == Room::Free
    }

    /// Waits until there is a connection and commands may be taken.
    async fn open(&mut self) -> Option<Arc<Connection>> {
        loop {
            self.room.wait_for(|room| *room == Room::Free).await.ok()?;
            let connection = self.connected().await?;
            if self.takes() {
                return Some(connection);
            }
        }
    }
}

/// Keeps the consuming connection, with the fleet's topology on it, until `stop`.
pub(crate) async fn run(
    amqp: Amqp,
    name: String,
    link: watch::Sender<Option<Arc<Connection>>>,
    stop: CancellationToken,
) {
    super::keep(&amqp, &name, &stop, &mut Consuming { link }).await;
}

struct Consuming {
    link: watch::Sender<Option<Arc<Connection>>>,
}

impl Serve for Consuming {
    async fn serve(
        &mut self,
        connection: &Arc<Connection>,
        _blocked: watch::Receiver<bool>,
    ) -> Result<(), BrokerError> {
        super::topology::ensure(connection, &topology::fleet()).await?;
        let _unlink = Unlink(&self.link);
        self.link.send_replace(Some(Arc::clone(connection)));
        std::future::pending().await
    }
}

/// Takes the connection back however its life ends.
struct Unlink<'a>(&'a watch::Sender<Option<Arc<Connection>>>);

impl Drop for Unlink<'_> {
    fn drop(&mut self) {
        self.0.send_replace(None);
    }
}

/// One queue to read.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// The queue.
    pub(crate) queue: String,
    /// Deliveries held unacknowledged at most.
    pub(crate) prefetch: u16,
    /// Consumer priority: among the consumers of a single-active-consumer queue the highest is active on RabbitMQ ≥ 4.
    pub(crate) priority: Option<i64>,
}

/// Consumers on one channel of their own. Dropping it closes the channel, and the broker puts back, in order, what was
/// not acknowledged.
pub(crate) struct Reader {
    _channel: Channel,
    consumers: Vec<Consumer>,
    room: watch::Receiver<Room>,
}

impl Reader {
    /// Opens a reader, waiting for the connection, and for room for what commands cause, and trying again for as long as it
    /// takes. Sources first in the list are served first.
    pub(crate) async fn open(mut link: Link, needs: Option<Topology>, sources: Vec<Source>) -> Self {
        loop {
            let Some(connection) = link.open().await else {
                return std::future::pending().await; // the worker is stopping
            };
            match Self::try_open(&connection, needs.as_ref(), &sources, &link).await {
                Ok(reader) => return reader,
                Err(error) => {
                    tracing::warn!(error = %crate::logging::chain(&error), "a queue could not be read; trying again");
                    tokio::time::sleep(REOPEN_PAUSE).await;
                }
            }
        }
    }

    async fn try_open(
        connection: &Connection,
        needs: Option<&Topology>,
        sources: &[Source],
        link: &Link,
    ) -> Result<Self, BrokerError> {
        if let Some(topology) = needs {
            super::topology::ensure(connection, topology).await?;
        }
        let channel = connection.create_channel().await?;
        let mut consumers = Vec::with_capacity(sources.len());
        for source in sources {
            // The prefetch counts for the consumers that are made after it.
            channel.basic_qos(source.prefetch, BasicQosOptions::default()).await?;
            let mut arguments = FieldTable::default();
            if let Some(priority) = source.priority {
                arguments.insert("x-priority".into(), AMQPValue::LongLongInt(priority));
            }
            let (queue, options) = (source.queue.as_str().into(), BasicConsumeOptions::default());
            consumers.push(channel.basic_consume(queue, "".into(), options, arguments).await?);
        }
        Ok(Self { _channel: channel, consumers, room: link.room.clone() })
    }

    /// The next delivery, from the first source that has one. `None`: drop the reader, because it is broken or because
    /// nothing may be taken for now. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Delivery> {
        let mut room = self.room.clone();
        tokio::select! {
            biased;
            _ = room.wait_for(|room| *room != Room::Free) => None,
            delivery = std::future::poll_fn(|context| self.poll(context)) => delivery,
        }
    }

    /// As [`next`](Self::next), for whoever polls several readers and wakes by itself when the room changes.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        if *self.room.borrow() != Room::Free {
            return Poll::Ready(None);
        }
        for consumer in &mut self.consumers {
            match consumer.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(delivery))) => return Poll::Ready(Some(delivery)),
                // An error, or the end: the broker cancelled it, or the channel is closed.
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }
}
