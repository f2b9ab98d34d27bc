//! The lanes of a session, whoever carries its messages: who is served first, and who has to wait.
//!
//! ```text
//! urgent    up to four in hand, never paced
//! paced     high before normal, the head of each in hand     not before the pause is over
//! campaign  the head in hand                                 not before its share is due
//! ```
//! Whenever the session is free, the first tier that is open and has something gives the next command. So a message of a
//! campaign goes only while nothing else may go, however many wait. A tier that stays closed for longer than
//! [`HELD_AT_MOST`] is parked: its reader is closed, the broker has its messages back in order, and it is opened again.

use std::collections::BTreeMap;
use std::task::Poll;
use std::time::{Duration, Instant};

use lapin::message::Delivery;
use tokio::sync::watch;
use wafleet_protocol::id::{SessionId, WorkspaceId};
use wafleet_protocol::lane::Lane;
use wafleet_protocol::topology;

use super::sleep_until;
use crate::broker::consumer::{Reader, Source};
use crate::broker::outbox::Room;
use crate::lease::Lease;
use crate::world::World;

/// Deliveries of the urgent lane held at most; of the others the head only, so that nothing blocks an urgent one.
const URGENT_PREFETCH: u16 = 4;
const PACED_PREFETCH: u16 = 1;

/// A delivery is in hand for no longer before its turn: well below the broker's consumer timeout of half an hour, and below
/// the minute that nothing in a worker exceeds.
pub(super) const HELD_AT_MOST: Duration = Duration::from_secs(20);
/// A parked tier is looked at again after this long at the latest: its limits may have changed.
pub(super) const PARKED_AT_MOST: Duration = Duration::from_secs(300);

/// Lanes that are read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Tier {
    /// Control and one-time codes.
    Urgent,
    /// What people wait for.
    Paced,
    /// Bulk.
    Campaign,
}

impl Tier {
    /// The first to be served first.
    pub(super) const ALL: [Tier; 3] = [Tier::Urgent, Tier::Paced, Tier::Campaign];

    pub(super) fn lanes(self) -> &'static [Lane] {
        match self {
            Self::Urgent => &[Lane::Urgent],
            Self::Paced => &[Lane::High, Lane::Normal],
            Self::Campaign => &[Lane::Campaign],
        }
    }

    /// Messages only, so it is read while somebody can send them.
    pub(super) fn needs_a_sender(self) -> bool {
        self != Self::Urgent
    }
}

/// Opens a tier's lanes, after a pause and as soon as the ledger answers.
pub(super) fn open(
    world: &World,
    lease: &Lease,
    workspace: WorkspaceId,
    session: &SessionId,
    tier: Tier,
    after: Duration,
) -> impl Future<Output = Reader> + Send + use<> {
    let (link, database, session) = (world.link.clone(), world.database.clone(), session.clone());
    let priority = i64::try_from(lease.fence()).ok();
    async move {
        tokio::time::sleep(after).await;
        // Without the ledger nothing can be executed, and every delivery that goes back counts against its limit.
        database.available().await;
        let prefetch = if tier == Tier::Urgent { URGENT_PREFETCH } else { PACED_PREFETCH };
        let source = |lane: &Lane| Source { queue: topology::lane_queue(&session, *lane), prefetch, priority };
        let mut sources: Vec<Source> = tier.lanes().iter().map(source).collect();
        let mut declared = topology::session(&session);
        if tier == Tier::Campaign {
            // All connected sessions of the workspace take turns here.
            sources.push(Source { queue: topology::campaign_queue(workspace), prefetch, priority: None });
            declared = declared.and(topology::workspace(workspace));
        }
        Reader::open(link, Some(declared), sources).await
    }
}

/// Which tiers may be served.
#[derive(Debug, Default)]
pub(super) struct Gates(BTreeMap<Tier, Instant>);

impl Gates {
    /// Nothing of this tier before that moment.
    pub(super) fn close(&mut self, tier: Tier, until: Instant) {
        if tier != Tier::Urgent {
            self.0.insert(tier, until);
        }
    }

    fn is_open(&self, tier: Tier, now: Instant) -> bool {
        self.0.get(&tier).is_none_or(|until| *until <= now)
    }

    fn next_opening(&self, now: Instant) -> Option<Instant> {
        self.0.values().copied().filter(|until| *until > now).min()
    }

    /// Asks the open tiers in order, and answers with the first that has something.
    fn first<T>(&self, now: Instant, mut ask: impl FnMut(Tier) -> Poll<T>) -> Poll<(Tier, T)> {
        for tier in Tier::ALL.into_iter().filter(|tier| self.is_open(*tier, now)) {
            if let Poll::Ready(given) = ask(tier) {
                return Poll::Ready((tier, given));
            }
        }
        Poll::Pending
    }
}

/// The readers of a session's lanes.
pub(super) struct Lanes {
    readers: BTreeMap<Tier, Reader>,
    gates: Gates,
    room: watch::Receiver<Room>,
}

impl Lanes {
    pub(super) fn new(room: watch::Receiver<Room>) -> Self {
        Self { readers: BTreeMap::new(), gates: Gates::default(), room }
    }

    pub(super) fn put(&mut self, tier: Tier, reader: Reader) {
        self.readers.insert(tier, reader);
    }

    /// Closes a tier's channel: what it held goes back in order.
    pub(super) fn drop_reader(&mut self, tier: Tier) {
        self.readers.remove(&tier);
    }

    /// Closes what holds messages only.
    pub(super) fn offline(&mut self) {
        self.readers.retain(|tier, _| !tier.needs_a_sender());
    }

    /// Closes everything.
    pub(super) fn close(&mut self) {
        self.readers.clear();
    }

    /// Nothing of this tier before that moment. `true`: that is too long to hold on to what is in hand, the tier is parked
    /// now and the caller opens it again in time.
    pub(super) fn wait(&mut self, tier: Tier, until: Instant) -> bool {
        self.gates.close(tier, until);
        let parked = until.saturating_duration_since(Instant::now()) > HELD_AT_MOST && self.readers.contains_key(&tier);
        if parked {
            self.readers.remove(&tier);
        }
        parked
    }

    /// The next delivery of the first tier that may be served, if `before` is given only of tiers before that one. `None`: its
    /// reader is of no use any more. Cancel-safe.
    pub(super) async fn next(&mut self, before: Option<Tier>) -> (Tier, Option<Delivery>) {
        loop {
            let now = Instant::now();
            let opening = self.gates.next_opening(now);
            let Self { readers, gates, room } = self;
            let first = std::future::poll_fn(|context| {
                gates.first(now, |tier| match readers.get_mut(&tier) {
                    Some(reader) if before.is_none_or(|before| tier < before) => reader.poll(context),
                    _ => Poll::Pending,
                })
            });
            tokio::select! {
                biased;
                Ok(()) = room.changed() => {} // the readers say what it means to them
                first = first => return first,
                () = sleep_until(opening) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_lane_belongs_to_one_tier_and_sooner_lanes_to_sooner_tiers() {
        let lanes: Vec<Lane> = Tier::ALL.iter().flat_map(|tier| tier.lanes()).copied().collect();
        assert_eq!(lanes, Lane::ALL);
    }

    #[test]
    fn a_closed_tier_gives_way_to_the_next_and_urgent_is_never_closed() {
        let (now, mut gates) = (Instant::now(), Gates::default());
        let later = now + Duration::from_secs(1);
        gates.close(Tier::Urgent, later);
        gates.close(Tier::Paced, later);
        let asked = |gates: &Gates, now| match gates.first(now, Poll::Ready) {
            Poll::Ready((tier, _)) => Some(tier),
            Poll::Pending => None,
        };
        assert_eq!(asked(&gates, now), Some(Tier::Urgent));
        let paced = |gates: &Gates, now| {
            let ask = |tier| if tier == Tier::Urgent { Poll::Pending } else { Poll::Ready(()) };
            gates.first(now, ask).map(|(tier, ())| tier)
        };
        assert_eq!(paced(&gates, now), Poll::Ready(Tier::Campaign));
        assert_eq!(paced(&gates, later), Poll::Ready(Tier::Paced));
        assert_eq!((gates.next_opening(now), gates.next_opening(later)), (Some(later), None));
    }

    /// A message on its way through the simulation.
    #[derive(Debug, Clone, Copy)]
    struct Waiting {
        tier: Tier,
        came: u64,
        /// Messages of its tier that were there before it.
        ahead: u64,
    }

    proptest! {
        /// However many messages of campaigns and other lanes wait, whatever the gates say: an urgent message waits for the
        /// send in flight and for urgent ones before it, and for nothing else.
        #[test]
        fn an_urgent_message_waits_for_no_more_than_the_send_in_flight(
            backlog in 0usize..5000,
            arrivals in prop::collection::vec((0u64..50, 0usize..3), 1..200),
            pauses in prop::collection::vec(0u64..400, 1..50),
            send in 1u64..20,
        ) {
            let start = Instant::now();
            let at = |tick: u64| start + Duration::from_millis(tick);
            let mut queues: BTreeMap<Tier, VecDeque<Waiting>> = Tier::ALL.iter().map(|tier| (*tier, VecDeque::new())).collect();
            let campaign = queues.get_mut(&Tier::Campaign).expect("each tier has a queue");
            campaign.extend(std::iter::repeat_n(Waiting { tier: Tier::Campaign, came: 0, ahead: 0 }, backlog));
            let mut to_come = VecDeque::new();
            let mut tick = 0;
            for (pause, tier) in arrivals {
                tick += pause;
                to_come.push_back(Waiting { tier: Tier::ALL[tier], came: tick, ahead: 0 });
            }
            let (mut gates, mut now, mut pauses) = (Gates::default(), 0, pauses.into_iter().cycle());
            while !to_come.is_empty() || !queues[&Tier::Urgent].is_empty() {
                while let Some(mut arrived) = to_come.front().copied().filter(|waiting| waiting.came <= now) {
                    to_come.pop_front();
                    let queue = queues.get_mut(&arrived.tier).expect("each tier has a queue");
                    arrived.ahead = queue.len() as u64;
                    queue.push_back(arrived);
                }
                let urgent_waits = queues[&Tier::Urgent].len();
                let chosen = gates.first(at(now), |tier| {
                    queues.get_mut(&tier).and_then(VecDeque::pop_front).map_or(Poll::Pending, Poll::Ready)
                });
                match chosen {
                    Poll::Ready((tier, waiting)) => {
                        prop_assert!(tier == Tier::Urgent || urgent_waits == 0, "{tier:?} before {urgent_waits} urgent ones");
                        if tier == Tier::Urgent {
                            let waited = now - waiting.came;
                            prop_assert!(waited <= send * (1 + waiting.ahead), "{waited} ticks behind {}", waiting.ahead);
                        }
                        now += send;
                        let pause = pauses.next().unwrap_or(0);
                        gates.close(Tier::Paced, at(now + pause));
                        gates.close(Tier::Campaign, at(now + 2 * pause));
                    }
                    Poll::Pending => now += 1,
                }
            }
        }
    }
}
