//! Moves dead letters from their queue into the database, where operators search them and replay from.
//!
//! One worker at a time reads the queue, so the archive keeps its order. A letter is acknowledged after the commit and
//! never before; one that comes twice is archived once. While the database is away the letters wait in the queue.

use std::time::Duration;

use futures::FutureExt;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use wafleet_protocol::rejection::Rejection;
use wafleet_protocol::topology;

use crate::broker::consumer::{Reader, Source};
use crate::dead_letter::DeadLetter;
use crate::logging::chain;
use crate::world::World;

/// Letters in one transaction, and in hand without an acknowledgement.
const BATCH: u16 = 32;
/// Pause before the database is tried again.
const UNAVAILABLE_PAUSE: Duration = Duration::from_secs(1);
/// How often letters whose time is over are deleted.
const PURGE_EVERY: Duration = Duration::from_secs(600);
/// Rows deleted at once, so that no long locks are held.
const PURGE_LIMIT: u32 = 1_000;

/// Archives until `stop`; what is not committed then stays in the queue.
pub(crate) async fn serve(world: World, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = async { tokio::join!(archive(&world), purge(&world)); } => {}
    }
}

async fn archive(world: &World) {
    let source = Source { queue: topology::DEAD.to_owned(), prefetch: BATCH, priority: None };
    loop {
        let mut reader = Reader::open(world.link.clone(), None, vec![source.clone()]).await;
        while let Some(batch) = next_batch(&mut reader).await {
            commit(world, &batch).await;
            let last = batch.last().expect("a batch has at least one letter");
            if let Err(error) = last.acker.ack(BasicAckOptions { multiple: true }).await {
                tracing::debug!(error = %chain(&error), "the broker delivers archived letters again; they are known");
                break;
            }
        }
    }
}

/// Waits for a letter and takes what else is there. `None`: the reader is broken.
async fn next_batch(reader: &mut Reader) -> Option<Vec<Delivery>> {
    let mut batch = vec![reader.next().await?];
    while batch.len() < usize::from(BATCH)
        && let Some(Some(delivery)) = reader.next().now_or_never()
    {
        batch.push(delivery);
    }
    Some(batch)
}

/// Returns when the batch is in the database.
async fn commit(world: &World, batch: &[Delivery]) {
    let now = world.clock.unix_secs();
    let letters: Vec<DeadLetter> =
        batch.iter().map(|delivery| DeadLetter::of(delivery, &world.config.keyring, now)).collect();
    let mut said = false;
    let new = loop {
        match world.database.archive(&letters, now, world.config.dead_letter_retention).await {
            Ok(new) => break new,
            Err(error) if said => tracing::debug!(error = %chain(&error), "dead letters still wait"),
            Err(error) => {
                tracing::warn!(error = %chain(&error), letters = letters.len(), "dead letters wait in their queue");
                said = true;
            }
        }
        tokio::time::sleep(UNAVAILABLE_PAUSE).await;
    };
    for letter in new.iter().filter_map(|index| letters.get(*index)) {
        // Labels come from fixed sets: whoever can write to the queue could invent any reason.
        let known = Rejection::REASONS.into_iter().chain(["delivery_limit"]).find(|reason| *reason == letter.reason);
        world.counters.count("dead_letters.archived", known.unwrap_or("other"));
        tracing::info!(
            reason = letter.reason,
            genuine = letter.genuine,
            command_id = letter.command,
            session_id = letter.session,
            "dead letter archived"
        );
    }
}

async fn purge(world: &World) {
    let mut ticks = interval(PURGE_EVERY); // the first one at once
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match world.database.purge_dead_letters(PURGE_LIMIT).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "purged dead letters whose time is over"),
            Err(error) => tracing::warn!(error = %chain(&error), "the dead letters could not be purged"),
        }
    }
}
