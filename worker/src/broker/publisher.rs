//! Confirmed publishing: every message is kept until the broker has confirmed it, and published again if it has not,
//! on this connection after a rest or on the next one. The order of a session's events is the order of
//! [`Publisher::tell`].

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use wafleet_protocol::topology;

use super::message::{EventLetter, Message};
use super::outbox::{Disk, Lane, Outbox, Room, Standing};
use super::{BrokerError, Serve};
use crate::config::{Amqp, Config};
use crate::counters::Counters;
use crate::logging::chain;

/// Messages sent and not yet confirmed, of different sessions. Measured: beyond 256 only latency grows.
const WINDOW: usize = 256;
/// How long the broker may take to confirm, the time in which it blocks publishers not counted.
pub(crate) const CONFIRM_LIMIT: Duration = Duration::from_secs(10);
/// How often it is looked whether a confirm is overdue.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the spool is tended, and searched for what killed workers left: more often than a lease can end, so that the
/// story of a former owner comes before that of the next.
const TEND_EVERY: Duration = Duration::from_secs(1);
/// An exchange without its binding is declared again at most so often.
const REPAIR_EVERY: Duration = Duration::from_secs(10);

/// Why a message was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PublishError {
    /// It was mandatory and no event, and no queue is bound for its routing key.
    #[error("no queue is bound for the routing key")]
    Unroutable,
    /// The disk has damaged it while it waited.
    #[error("the event was damaged on the disk")]
    Unreadable,
    /// The worker is stopping.
    #[error("the publisher is closed")]
    Closed,
}

/// The answer to one message, some time later.
pub(crate) struct Confirm(oneshot::Receiver<Result<(), PublishError>>);

impl Confirm {
    pub(super) fn pair() -> (oneshot::Sender<Result<(), PublishError>>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }

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
    outbox: Arc<Outbox>,
}

impl Publisher {
    /// Hands an event over; it is on the disk when this returns, if the disk takes it. Events of a session go out in the
    /// order of these calls, and each of them until it is taken.
    pub(crate) fn tell(&self, event: EventLetter) -> Confirm {
        self.outbox.tell(event)
    }

    /// Publishes a message whose delivery is unacknowledged until this returns, so that it needs no disk.
    ///
    /// # Errors
    /// [`PublishError`]: the message is not in any queue.
    pub(crate) async fn publish(&self, message: Message) -> Result<(), PublishError> {
        self.outbox.enqueue(message).await?.wait().await
    }

    /// What may still be told.
    pub(crate) fn room(&self) -> watch::Receiver<Room> {
        self.outbox.room()
    }

    /// How many events wait, and where.
    pub(crate) fn standing(&self) -> Standing {
        self.outbox.standing()
    }

    /// Nothing more will be published: the task ends when everything is confirmed.
    pub(crate) fn close(&self) {
        self.outbox.close();
    }
}

/// The publishing task: spawn [`PublisherTask::run`].
pub(crate) struct PublisherTask {
    outbox: Arc<Outbox>,
    counters: Arc<Counters>,
    repaired: Option<Instant>,
}

/// Makes the handle and the task, and takes over what killed workers left in the same spool directory: it goes out first.
pub(crate) fn channel(config: &Config, counters: &Arc<Counters>) -> (Publisher, PublisherTask) {
    let disk = config.profile_keys.clone().map(|ring| Disk { root: config.spool_dir.clone(), ring });
    if disk.is_none() {
        tracing::warn!(
            "events that wait for the broker are kept in memory alone, and a crash loses them: WAFLEET_PROFILE_KEYS_FILE is not set"
        );
    }
    let outbox = Arc::new(Outbox::new(disk, config.spool_bytes, Arc::clone(counters)));
    for leftover in outbox.look_for_leftovers(&mut BTreeSet::new()) {
        outbox.adopt(leftover);
    }
    (
        Publisher { outbox: Arc::clone(&outbox) },
        PublisherTask { outbox, counters: Arc::clone(counters), repaired: None },
    )
}

impl PublisherTask {
    /// Publishes until it is closed and everything is confirmed, or until `kill`.
    pub(crate) async fn run(mut self, amqp: Amqp, name: String, kill: CancellationToken) {
        let outbox = Arc::clone(&self.outbox);
        tokio::select! {
            () = super::keep(&amqp, &name, &kill, &mut self) => {}
            () = tend(outbox) => {}
        }
    }
}

/// Keeps the spool, whether there is a connection or not.
async fn tend(outbox: Arc<Outbox>) {
    let mut known = BTreeSet::new();
    loop {
        tokio::time::sleep(TEND_EVERY).await;
        let outbox = Arc::clone(&outbox);
        let looked = tokio::task::spawn_blocking(move || {
            if let Some(sync) = outbox.tend()
                && let Err(error) = sync()
            {
                tracing::warn!(%error, "events were not brought to the disk; a power cut would lose them");
            }
            for leftover in outbox.look_for_leftovers(&mut known) {
                outbox.adopt(leftover);
            }
            known
        });
        match looked.await {
            Ok(looked) => known = looked,
            Err(_) => return std::future::pending().await, // the runtime ends
        }
    }
}

impl Serve for PublisherTask {
    async fn serve(
        &mut self,
        connection: &Arc<Connection>,
        mut blocked: watch::Receiver<bool>,
    ) -> Result<(), BrokerError> {
        // A broker that lost its definitions is told them again. Whoever may not declare them can still publish.
        if let Err(error) = super::topology::ensure(connection, &topology::fleet()).await {
            tracing::warn!(error = %chain(&error), "the exchanges could not be declared on the publishing connection");
        }
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        self.outbox.begin_again();
        let mut confirms = FuturesUnordered::new();
        let mut sent: HashMap<Lane, Instant> = HashMap::new();
        let mut unblocked = Instant::now();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while sent.len() < WINDOW && !*blocked.borrow() {
                let Some((lane, message)) = self.outbox.take() else { break };
                sent.insert(lane.clone(), Instant::now());
                confirms.push(send(channel.clone(), lane, message));
            }
            if sent.is_empty() && self.outbox.is_finished() {
                return Ok(());
            }
            let due = self.outbox.due();
            tokio::select! {
                biased;
                Some((lane, exchange, confirm)) = confirms.next(), if !confirms.is_empty() => {
                    sent.remove(&lane);
                    self.settle(connection, &lane, exchange, &confirm?).await;
                }
                Ok(()) = blocked.changed() => unblocked = Instant::now(),
                () = self.outbox.changed() => {}
                () = rested(due) => {}
                _ = look.tick() => {
                    let overdue = |at: &Instant| (*at).max(unblocked).elapsed() > CONFIRM_LIMIT;
                    if !*blocked.borrow() && sent.values().any(overdue) {
                        return Err(BrokerError::ConfirmTimeout);
                    }
                }
            }
        }
    }
}

impl PublisherTask {
    /// Answers the message of a lane.
    async fn settle(&mut self, connection: &Connection, lane: &Lane, exchange: &'static str, confirm: &Confirmation) {
        match confirm {
            Confirmation::Ack(None) => self.outbox.confirm(lane, Ok(())),
            // An unroutable mandatory message is returned and then acknowledged: an ack alone proves nothing. Whoever
            // publishes anything but an event holds its delivery, and decides.
            Confirmation::Ack(Some(_)) if matches!(lane, Lane::Alone(_)) => {
                self.outbox.confirm(lane, Err(PublishError::Unroutable));
            }
            Confirmation::Ack(Some(_)) => {
                self.counters.count("publish.unroutable", exchange);
                if self.outbox.refuse(lane) == 1 {
                    tracing::error!(
                        exchange,
                        "no queue is bound for an event, not even the one for events without a consumer; it is kept and tried again"
                    );
                }
                self.repair(connection).await;
            }
            Confirmation::Nack(_) | Confirmation::NotRequested => {
                self.counters.count("publish.refused", exchange);
                let times = self.outbox.refuse(lane);
                if times.is_power_of_two() {
                    tracing::error!(
                        exchange,
                        times,
                        "the broker refuses a message, most often because a queue is full; it is kept and tried again"
                    );
                }
            }
        }
    }

    /// Puts back what somebody took out of the topology.
    async fn repair(&mut self, connection: &Connection) {
        if self.repaired.is_some_and(|at| at.elapsed() < REPAIR_EVERY) {
            return;
        }
        self.repaired = Some(Instant::now());
        if let Err(error) = super::topology::ensure(connection, &topology::fleet()).await {
            tracing::error!(error = %chain(&error), "the exchanges and queues could not be declared again");
        }
    }
}

/// Writes one message to the channel and waits for the broker's confirm.
async fn send(channel: Channel, lane: Lane, message: Message) -> (Lane, &'static str, lapin::Result<Confirmation>) {
    let options = BasicPublishOptions { mandatory: message.mandatory, ..BasicPublishOptions::default() };
    let (exchange, key) = (message.exchange.into(), message.routing_key.as_str().into());
    let confirm =
        async { channel.basic_publish(exchange, key, options, &message.body, message.properties).await?.await };
    let confirm = confirm.await;
    (lane, message.exchange, confirm)
}

/// Waits for a moment that may not be set.
async fn rested(due: Option<std::time::Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
