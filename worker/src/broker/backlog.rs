//! What waits for the broker, and in which order it goes. Pure: no clock, no I/O.
//!
//! Each session is a lane of its own, and a lane has one message on the way at most: so a refusal is never overtaken by
//! what came after it, and a consumer that takes nothing holds up the lanes it is bound for and no others.
//!
//! ```text
//!          ┌──────────── confirmed, more waits ────────────┐
//!   ready ─┴─taken─▶ on the way ──confirmed, nothing waits──▶ gone
//!     ▲                  │ refused
//!     └──── rested ◀── resting
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// The first rest after a refusal, doubled with each further one.
const REST_FIRST: Duration = Duration::from_millis(250);
/// The longest rest.
const REST_MOST: Duration = Duration::from_secs(30);

/// Lanes of messages that wait.
#[derive(Debug)]
pub(super) struct Backlog<L, T> {
    lanes: HashMap<L, Queue<T>>,
    ready: VecDeque<L>,
    resting: BTreeMap<(Instant, u64), L>,
    rests: u64,
    length: usize,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<T>,
    standing: Standing,
    refusals: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Ready,
    OnTheWay,
    Resting,
}

impl<L, T> Default for Backlog<L, T> {
    fn default() -> Self {
        Self { lanes: HashMap::new(), ready: VecDeque::new(), resting: BTreeMap::new(), rests: 0, length: 0 }
    }
}

impl<L: Clone + Eq + Hash, T> Backlog<L, T> {
    /// Puts a message behind the others of its lane.
    pub(super) fn push(&mut self, lane: L, message: T) {
        self.length += 1;
        let queue = self.lanes.entry(lane.clone()).or_insert_with(|| {
            self.ready.push_back(lane);
            Queue { waiting: VecDeque::new(), standing: Standing::Ready, refusals: 0 }
        });
        queue.waiting.push_back(message);
    }

    /// The first message of the lane whose turn it is; the lane is on the way then.
    pub(super) fn take(&mut self, now: Instant) -> Option<(L, &mut T)> {
        while let Some(entry) = self.resting.first_entry()
            && entry.key().0 <= now
        {
            let lane = entry.remove();
            if let Some(queue) = self.lanes.get_mut(&lane) {
                queue.standing = Standing::Ready;
                self.ready.push_back(lane);
            }
        }
        let lane = self.ready.pop_front()?;
        let queue = self.lanes.get_mut(&lane).expect("a lane that is ready is in the table");
        queue.standing = Standing::OnTheWay;
        queue.waiting.front_mut().map(|message| (lane, message))
    }

    /// The message of this lane has arrived: here it is back.
    pub(super) fn confirm(&mut self, lane: &L) -> Option<T> {
        let queue = self.lanes.get_mut(lane).filter(|queue| queue.standing == Standing::OnTheWay)?;
        let message = queue.waiting.pop_front();
        self.length -= 1;
        queue.refusals = 0;
        if queue.waiting.is_empty() {
            self.lanes.remove(lane);
        } else {
            queue.standing = Standing::Ready;
            self.ready.push_back(lane.clone());
        }
        message
    }

    /// The message of this lane was not taken: the lane rests, longer each time. `jitter` is from 0 to 1. Returns how
    /// often in a row it was refused.
    pub(super) fn refuse(&mut self, lane: &L, now: Instant, jitter: f64) -> u32 {
        let Some(queue) = self.lanes.get_mut(lane).filter(|queue| queue.standing == Standing::OnTheWay) else {
            return 0;
        };
        let rest = REST_FIRST.saturating_mul(1 << queue.refusals.min(16)).min(REST_MOST);
        queue.refusals += 1;
        queue.standing = Standing::Resting;
        self.rests += 1;
        self.resting.insert((now + rest.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0), self.rests), lane.clone());
        queue.refusals
    }

    /// When the next lane has rested.
    pub(super) fn due(&self) -> Option<Instant> {
        self.resting.first_key_value().map(|((at, _), _)| *at)
    }

    /// The connection is a new one: nothing is on the way, and what was goes again.
    pub(super) fn begin_again(&mut self) {
        for (lane, queue) in &mut self.lanes {
            if queue.standing == Standing::OnTheWay {
                queue.standing = Standing::Ready;
                self.ready.push_back(lane.clone());
            }
        }
    }

    /// Every message that waits; those of a lane in their order.
    pub(super) fn messages_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.lanes.values_mut().flat_map(|queue| queue.waiting.iter_mut())
    }

    /// How many messages wait or are on the way.
    pub(super) fn len(&self) -> usize {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(backlog: &mut Backlog<u8, u32>, now: Instant) -> Vec<(u8, u32)> {
        std::iter::from_fn(|| backlog.take(now).map(|(lane, message)| (lane, *message))).collect()
    }

    #[test]
    fn a_lane_has_one_message_on_the_way_and_lanes_take_turns() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        for (lane, message) in [(1, 10), (1, 11), (1, 12), (2, 20), (3, 30)] {
            backlog.push(lane, message);
        }
        assert_eq!(taken(&mut backlog, now), [(1, 10), (2, 20), (3, 30)]);
        assert_eq!(backlog.confirm(&1), Some(10));
        backlog.push(2, 21);
        assert_eq!(taken(&mut backlog, now), [(1, 11)]);
        assert_eq!((backlog.confirm(&2), backlog.confirm(&3)), (Some(20), Some(30)));
        assert_eq!(taken(&mut backlog, now), [(2, 21)]);
        assert_eq!(backlog.len(), 3);
    }

    #[test]
    fn a_refused_lane_rests_longer_each_time_and_holds_up_no_other() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        backlog.push(1, 10);
        backlog.push(1, 11);
        let mut at = now;
        for expected in [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            assert_eq!(taken(&mut backlog, at), [(1, 10)], "the same message again");
            backlog.refuse(&1, at, 1.0);
            let due = backlog.due().expect("it rests");
            assert_eq!(due - at, Duration::from_millis(expected));
            backlog.push(2, 20);
            assert_eq!(taken(&mut backlog, due - Duration::from_millis(1)), [(2, 20)]);
            backlog.confirm(&2);
            at = due;
        }
        assert_eq!(taken(&mut backlog, at), [(1, 10)]);
        backlog.confirm(&1);
        assert_eq!(taken(&mut backlog, at), [(1, 11)]);
        backlog.refuse(&1, at, 0.0);
        assert_eq!(backlog.due(), Some(at + REST_FIRST / 2), "a confirmed message ends the row of refusals");
    }

    proptest! {
        /// Whatever is refused, lost with its connection or confirmed: each lane arrives in its order, and all of it.
        #[test]
        fn every_lane_arrives_whole_and_in_order(
            steps in proptest::collection::vec((0_u8..6, 0_u8..4), 0..200),
        ) {
            let (mut backlog, mut now) = (Backlog::default(), Instant::now());
            let (mut pushed, mut on_the_way) = (0, Vec::new());
            let mut arrived: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
            let mut sent: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
            let end = std::iter::repeat_n([(1, 0), (2, 0), (5, 0)], 400).flatten();
            for (step, lane) in steps.into_iter().chain(end) {
                match step {
                    0 => {
                        backlog.push(lane, pushed);
                        sent.entry(lane).or_default().push(pushed);
                        pushed += 1;
                    }
                    1 => on_the_way.extend(backlog.take(now).map(|(lane, message)| (lane, *message))),
                    2 => if let Some((lane, message)) = on_the_way.pop() {
                        prop_assert_eq!(backlog.confirm(&lane), Some(message));
                        arrived.entry(lane).or_default().push(message);
                    },
                    3 => if let Some((lane, _)) = on_the_way.pop() {
                        backlog.refuse(&lane, now, 0.5);
                    },
                    4 => {
                        on_the_way.clear();
                        backlog.begin_again();
                    }
                    _ => now += Duration::from_secs(31),
                }
            }
            prop_assert_eq!(arrived, sent);
            prop_assert_eq!(backlog.len(), 0);
        }
    }
}
