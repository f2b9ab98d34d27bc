//! RabbitMQ: one life of a connection, and the loop that begins the next one.
//!
//! A worker keeps two connections: one publishes, one consumes, because a broker under memory alarm stops reading from a
//! connection that publishes, acknowledgements included. The client's own recovery stays off: measured against this loop
//! it came back tens of seconds later, and it re-subscribes consumers without asking whether the lease is still ours.
//! Any trouble ends the attempt; the loop drops the connection with all its channels, backs off and dials again.

mod backlog;
pub(crate) mod consumer;
pub(crate) mod message;
pub(crate) mod outbox;
pub(crate) mod publisher;
pub(crate) mod topology;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::tcp::OwnedTLSConfig;
use lapin::{Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::Amqp;

/// Bound on one dial, TCP, TLS and AMQP handshake together; the client library has none of its own.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Heartbeat asked for: the broker lets go of a frozen worker after about three of them, no later than its lease ends.
const HEARTBEAT_SECS: u16 = 5;
/// Bound on saying goodbye.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MOST: Duration = Duration::from_secs(5);
/// A connection that lived this long was a good one: the next back-off starts small again.
const GOOD_LIFE: Duration = Duration::from_secs(10);

/// Why one attempt at a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokerError {
    /// No connection within the limit.
    #[error("no connection within {} s", CONNECT_LIMIT.as_secs())]
    ConnectTimeout,
    /// The connection, a channel or an operation failed.
    #[error("the broker connection failed")]
    Amqp(#[from] lapin::Error),
    /// The event stream of the connection ended.
    #[error("the broker connection ended")]
    Ended,
    /// A message was not confirmed in time.
    #[error("the broker did not confirm a message within {} s", publisher::CONFIRM_LIMIT.as_secs())]
    ConfirmTimeout,
    /// An exchange or queue exists with other arguments, or may not be declared.
    #[error("the topology does not fit: {what}")]
    Topology {
        /// Which object, and what the broker said.
        what: String,
    },
}

/// Dials once.
///
/// # Errors
/// [`BrokerError::ConnectTimeout`] or what the client library reports.
pub(crate) async fn connect(amqp: &Amqp, name: &str) -> Result<Connection, BrokerError> {
    let separator = if amqp.url.contains('?') { '&' } else { '?' };
    let url = format!("{}{separator}heartbeat={HEARTBEAT_SECS}", amqp.url);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let tls = OwnedTLSConfig { identity: None, cert_chain: amqp.ca_pem.clone() };
    let dial = Connection::connect_with_config(&url, properties, tls, lapin::runtime::default_runtime()?);
    Ok(timeout(CONNECT_LIMIT, dial).await.map_err(|_| BrokerError::ConnectTimeout)??)
}

/// What a connection is for.
pub(crate) trait Serve: Send {
    /// Uses one connection for as long as it lives; `Ok` only when it is done for good. `blocked` says whether the broker
    /// reads from this connection; it stops when memory or disk run low.
    fn serve(
        &mut self,
        connection: &Arc<Connection>,
        blocked: watch::Receiver<bool>,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;
}

/// Keeps one connection alive until `stop`: dials, serves, and dials again when serving or the connection ends.
pub(crate) async fn keep(amqp: &Amqp, name: &str, stop: &CancellationToken, purpose: &mut impl Serve) {
    let mut backoff = BACKOFF_FIRST;
    while !stop.is_cancelled() {
        let began = Instant::now();
        let ended = match connect(amqp, name).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                tracing::info!(connection = name, "connected to the broker");
                let (blocked, blocked_seen) = watch::channel(false);
                let result = tokio::select! {
                    biased;
                    () = stop.cancelled() => Ok(()),
                    error = failure(&connection, &blocked) => Err(error),
                    result = purpose.serve(&connection, blocked_seen) => result,
                };
                let _ = timeout(CLOSE_LIMIT, connection.close(200, "goodbye".into())).await;
                result
            }
            Err(error) => Err(error),
        };
        let Err(error) = ended else { return };
        if began.elapsed() > GOOD_LIFE {
            backoff = BACKOFF_FIRST;
        }
        let pause = backoff.mul_f64(rand::random_range(0.5..1.0));
        tracing::warn!(
            connection = name,
            error = %crate::logging::chain(&error),
            retry_in_ms = pause.as_millis(),
            "the broker connection is down; dialling again"
        );
        tokio::select! { () = stop.cancelled() => return, () = sleep(pause) => {} }
        backoff = (backoff * 2).min(BACKOFF_MOST);
    }
}

/// Waits for the connection to fail, logging what happens to it meanwhile.
async fn failure(connection: &Connection, blocked: &watch::Sender<bool>) -> BrokerError {
    let mut events = Box::pin(connection.events_listener());
    while let Some(event) = events.next().await {
        match event {
            Event::Error(error) => return error.into(),
            Event::ConnectionBlocked(reason) => {
                tracing::warn!(reason, "the broker blocks publishers; events wait");
                blocked.send_replace(true);
            }
            Event::ConnectionUnblocked => {
                tracing::info!("the broker takes messages again");
                blocked.send_replace(false);
            }
            _ => {}
        }
    }
    BrokerError::Ended
}
