//! The lanes of one session: how they are opened and read, whoever carries its messages.

use std::time::Duration;

use lapin::message::Delivery;
use wafleet_protocol::id::SessionId;
use wafleet_protocol::lane::Lane;
use wafleet_protocol::topology;

use crate::broker::consumer::{Reader, Source};
use crate::lease::Lease;
use crate::world::World;

/// Deliveries of the urgent lane held at most; paced lanes hold their head only, so that nothing blocks an urgent one.
const URGENT_PREFETCH: u16 = 4;
const PACED_PREFETCH: u16 = 1;

/// Opens the urgent lane, or the paced ones, after a pause and as soon as the ledger answers.
pub(super) fn open(
    world: &World,
    lease: &Lease,
    session: &SessionId,
    urgent: bool,
    after: Duration,
) -> impl Future<Output = Reader> + Send + use<> {
    let (link, database, session) = (world.link.clone(), world.database.clone(), session.clone());
    let priority = i64::try_from(lease.fence()).ok();
    async move {
        tokio::time::sleep(after).await;
        // Without the ledger nothing can be executed, and every delivery that goes back counts against its limit.
        database.available().await;
        let lanes: &[Lane] = if urgent { &[Lane::Urgent] } else { &[Lane::High, Lane::Normal, Lane::Campaign] };
        let prefetch = if urgent { URGENT_PREFETCH } else { PACED_PREFETCH };
        let source = |lane: &Lane| Source { queue: topology::lane_queue(&session, *lane), prefetch, priority };
        let sources = lanes.iter().map(source).collect();
        Reader::open(link, Some(topology::session(&session)), sources).await
    }
}

/// The next delivery; `None` when the channel has ended. A reader that is not there has none, ever.
pub(super) async fn read(reader: &mut Option<Reader>) -> Option<Delivery> {
    match reader {
        Some(reader) => reader.next().await,
        None => std::future::pending().await,
    }
}
