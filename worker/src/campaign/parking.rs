//! Messages of campaigns that are paused, or in their quiet hours: out of the queue, so that they hold up nobody and are
//! not looked at again and again.
//!
//! ```text
//! queue ──▶ parked, then acknowledged            (in between: parked twice, which is one row)
//! parked ──▶ published and confirmed, then forgotten   (in between: two copies, of which the ledger lets one act)
//! ```
//! Any worker puts back whatever may go, by how things stand and not by what happened: the campaign was resumed or cancelled,
//! the quiet hours are over, or the message's own life is, which is then told as for any other.

use std::time::Duration;

use futures::future::join_all;
use lapin::BasicProperties;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use wafleet_protocol::id::CampaignId;
use wafleet_protocol::topology;

use crate::broker::message::{Message, PERSISTENT, text_headers};
use crate::broker::outbox::Room;
use crate::database::{DatabaseError, Parked};
use crate::events::EventSink;
use crate::intake::{IntakeError, Order, acknowledge};
use crate::letter;
use crate::logging::chain;
use crate::world::World;

/// How often it is looked what may go back.
const LOOK: Duration = Duration::from_secs(2);
/// Messages put back at once: so many are published twice at most when a worker dies over them.
const BATCH: u32 = 100;

/// Everything of a message but its body, as it lies in the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Cover {
    routing_key: String,
    message_id: Option<String>,
    kind: Option<String>,
    content_type: Option<String>,
    priority: Option<u8>,
    headers: Vec<(String, String)>,
}

impl Cover {
    fn of(message: &Message) -> Self {
        let properties = &message.properties;
        let headers = properties.headers().iter().flat_map(|table| table.inner());
        Self {
            routing_key: message.routing_key.clone(),
            message_id: properties.message_id().as_ref().map(ToString::to_string),
            kind: properties.kind().as_ref().map(ToString::to_string),
            content_type: properties.content_type().as_ref().map(ToString::to_string),
            priority: *properties.priority(),
            headers: headers
                .filter_map(|(name, value)| Some((name.to_string(), letter::text_of(value)?.to_owned())))
                .collect(),
        }
    }

    fn around(self, body: Vec<u8>) -> Message {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let mut properties =
            BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(text_headers(headers));
        if let Some(id) = self.message_id {
            properties = properties.with_message_id(id.into());
        }
        if let Some(kind) = self.kind {
            properties = properties.with_type(kind.into());
        }
        if let Some(content_type) = self.content_type {
            properties = properties.with_content_type(content_type.into());
        }
        if let Some(priority) = self.priority {
            properties = properties.with_priority(priority);
        }
        Message { exchange: topology::COMMANDS, routing_key: self.routing_key, mandatory: true, properties, body }
    }
}

/// Parks a message and acknowledges it. `paused`: its campaign is; `due_at` in unix seconds; `told` is what its sender knows.
///
/// # Errors
/// [`IntakeError`]: the delivery is still unacknowledged, whether it is parked or not.
pub(crate) async fn park(
    world: &World,
    sink: &EventSink,
    order: &Order,
    campaign: &CampaignId,
    paused: bool,
    due_at: u64,
    told: String,
) -> Result<(), IntakeError> {
    sink.prove()?; // else the next owner has it
    let routing_key = order.delivery.routing_key.as_str().to_owned();
    let copy = letter::again(&order.delivery, routing_key, [(letter::DEFERRED_HEADER, told)]);
    let letter = serde_json::to_string(&Cover::of(&copy)).expect("strings and numbers always serialise");
    let parked = Parked { letter, body: copy.body };
    world.database.park(&order.record, campaign, paused, due_at.min(order.verified.expires_at), &parked).await?;
    world.counters.count("messages.parked", if paused { "paused" } else { "quiet_hours" });
    world.database.put_back(&order.record, &world.process).await?;
    acknowledge(&order.delivery).await
}

/// Puts back whatever may go, until `stop`.
pub(crate) async fn put_back(world: World, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        if let Err(error) = put_all_back(&world, &stop).await {
            tracing::warn!(error = %chain(&error), "parked messages could not be put back; trying again");
        }
    }
}

async fn put_all_back(world: &World, stop: &CancellationToken) -> Result<(), DatabaseError> {
    loop {
        let mut full = false;
        for returning in world.database.returning().await? {
            let taken = world.database.take_returning(&returning, &name(world), BATCH).await?;
            full |= publish(world, taken).await?;
        }
        let due = world.database.take_due(world.clock.unix_secs(), &name(world), BATCH).await?;
        full |= publish(world, due).await?;
        // Without room for what commands cause they would only come back; and what was not published is left for a while.
        if !full || stop.is_cancelled() || *world.publisher.room().borrow() != Room::Free {
            return Ok(());
        }
    }
}

/// One use of it: what was taken under it is what one call took.
fn name(world: &World) -> String {
    format!("{}/{:016x}", world.process, rand::random::<u64>())
}

/// Publishes messages again, and forgets those that the broker has. Whether there may be more that can go at once.
async fn publish(world: &World, taken: Vec<(u64, Parked)>) -> Result<bool, DatabaseError> {
    let count = taken.len();
    let published = join_all(taken.into_iter().map(|(id, parked)| async move {
        let cover = match serde_json::from_str::<Cover>(&parked.letter) {
            Ok(cover) => cover,
            Err(error) => {
                tracing::error!(id, %error, "a parked message is not readable; it stays where it is");
                return None;
            }
        };
        match world.publisher.publish(cover.around(parked.body)).await {
            Ok(()) => Some(id),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "a parked message could not be put back yet");
                None
            }
        }
    }))
    .await;
    let back: Vec<u64> = published.into_iter().flatten().collect();
    world.database.returned(&back).await?;
    for _ in &back {
        world.counters.count("messages.put_back", "campaign");
    }
    Ok(back.len() == count && count == BATCH as usize)
}

#[cfg(test)]
mod tests {
    use wafleet_protocol::command::Command;

    use super::*;
    use crate::dead_letter::tests::{delivery, keyring};
    use wafleet_protocol::signing::Audience;

    #[test]
    fn a_parked_message_comes_back_as_it_was_and_still_proves_who_signed_it() {
        let mut parked = delivery(&Command::SessionStatus, "s1.campaign", &[("x-wa-attempt", "2")]);
        let before = letter::authenticate(&parked, &keyring(), Audience::Commands, 1_500).expect("genuine");
        let told = (letter::DEFERRED_HEADER, "campaign_paused 7".to_owned());
        let copy = letter::again(&parked, parked.routing_key.as_str().to_owned(), [told]);
        let cover = Cover::of(&copy);
        let text = serde_json::to_string(&cover).expect("it serialises");
        let back = serde_json::from_str::<Cover>(&text).expect("it is read again").around(copy.body.clone());
        assert_eq!(Cover::of(&back), cover);
        assert_eq!((back.routing_key.as_str(), back.exchange), ("s1.campaign", topology::COMMANDS));
        let header = |name: &str| letter::text_header(&back.properties, name);
        assert_eq!(header(letter::DEFERRED_HEADER).as_deref(), Some("campaign_paused 7"));
        assert_eq!(header(topology::ATTEMPT_HEADER).as_deref(), Some("2"), "its attempts are counted on");
        parked.properties = back.properties;
        parked.data = back.body;
        let after = letter::authenticate(&parked, &keyring(), Audience::Commands, 1_500).expect("still genuine");
        assert_eq!((after.message_id, after.expires_at), (before.message_id, before.expires_at));
    }
}
