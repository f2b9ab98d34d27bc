//! The dead letters of a fleet, as they come.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::bail;
use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use wafleet_protocol::topology;

/// How long a test waits for a dead letter: a worker refuses in milliseconds, a busy machine in seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// One dead letter.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The routing key.
    pub routing_key: String,
    /// All properties, the header table included.
    pub properties: BasicProperties,
    /// The headers that are text.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl DeadLetter {
    /// A header, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The names of all headers, whatever their values are.
    pub fn header_names(&self) -> Vec<String> {
        let table = self.properties.headers().iter().flat_map(|table| table.inner());
        table.map(|(name, _)| name.to_string()).collect()
    }

    /// Everything about it that is not the body, as text: for a test that looks for what must not be there.
    pub fn outside(&self) -> String {
        format!("{} {:?} {:?}", self.routing_key, self.properties, self.headers)
    }

    fn of(delivery: Delivery) -> Self {
        let table = delivery.properties.headers().iter().flat_map(|table| table.inner());
        let headers = table.filter_map(|(name, value)| Some((name.to_string(), text(value)?))).collect();
        Self {
            routing_key: delivery.routing_key.to_string(),
            headers,
            properties: delivery.properties,
            body: delivery.data,
        }
    }
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// Collects every dead letter that comes while it lives.
pub struct DeadLetters {
    letters: watch::Receiver<Vec<DeadLetter>>,
    _collector: AbortOnDropHandle<()>,
}

impl DeadLetters {
    pub(super) async fn collect(connection: &Connection) -> anyhow::Result<Self> {
        let channel = connection.create_channel().await?;
        // The queue `wa.dead` belongs to the archivist; this one gets a copy of every letter.
        let own = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), own, FieldTable::default()).await?.name().clone();
        let bind = QueueBindOptions::default();
        channel.queue_bind(queue.clone(), topology::DEAD.into(), "#".into(), bind, FieldTable::default()).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let mut consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
        let (sender, letters) = watch::channel(Vec::new());
        let collector = tokio::spawn(async move {
            let _channel = channel; // closing it would end the consumer
            while let Some(Ok(delivery)) = consumer.next().await {
                sender.send_modify(|letters| letters.push(DeadLetter::of(delivery)));
            }
        });
        Ok(Self { letters, _collector: AbortOnDropHandle::new(collector) })
    }

    /// All dead letters so far, in order.
    pub fn all(&self) -> Vec<DeadLetter> {
        self.letters.borrow().clone()
    }

    /// How many there are: a mark for [`wait_from`](Self::wait_from).
    pub fn len(&self) -> usize {
        self.letters.borrow().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for the first dead letter after the first `mark` ones.
    ///
    /// # Errors
    /// After half a minute, with the list of what is there instead.
    pub async fn wait_from(&self, mark: usize, what: &str) -> anyhow::Result<DeadLetter> {
        let mut letters = self.letters.clone();
        let more = tokio::time::timeout(PATIENCE, letters.wait_for(|letters| letters.len() > mark)).await;
        if let Ok(Ok(letters)) = more {
            return Ok(letters[mark].clone());
        }
        let mut list = String::new();
        for letter in self.all() {
            let (reason, id) = (letter.header(topology::REASON_HEADER), letter.properties.message_id());
            let _ = writeln!(list, "  {reason:?} {id:?} {}", letter.routing_key);
        }
        bail!("no dead letter {what} within {PATIENCE:?}; there are:\n{list}")
    }
}
