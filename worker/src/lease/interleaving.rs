//! Every order of steps of two workers over one session: claim, renew, answers that come late, pauses, ends, crashes,
//! releases, and a Redis that forgets. In no reachable state both have a browser.
//!
//! The rules about time, answers and lost leases are the code's own ([`super::rules`]). That nobody claims what Redis may
//! merely have forgotten is the supervisor's rule, and that a fence is given by comparison the database's; both stand here
//! as a model, and so do the two services and the order in which a worker takes its steps: each request, its effect at
//! the service and the reading of its answer are steps of their own, and any time may pass between them, which is what a
//! pause or a slow network is. A worker's look at row, key and memory is one step here, and three reads within one tick
//! in the code. Time goes in sixths of the TTL. States are compared with ages in place of moments, so the search is
//! complete and ends.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::Renewal;
use super::rules::{self, Verdict};

/// The TTL in units of time.
const TTL: u8 = 6;
/// How long a browser may live on after ownership is not proven any more.
const KILL_TAKES: u8 = 1;
/// Ages beyond this make no difference.
const OLD: u8 = TTL + 1;
/// How often Redis forgets everything in one story.
const FLUSHES: u8 = 2;

type Id = usize;

/// The rules under test.
#[derive(Clone, Copy)]
struct Rules {
    /// Units for which a renewal proves ownership, from the moment it was asked for.
    provable: u8,
    /// Whether the time counts from the request, and not from the answer.
    from_the_request: bool,
    verdict: fn(Renewal) -> Verdict,
    may_reassert: fn(bool, bool) -> bool,
    /// Whether nobody claims what may merely be forgotten.
    waits_for_memory: bool,
    /// Whether a fence is only given to who knows the one before it.
    fence_by_comparison: bool,
}

/// The code's.
fn ours() -> Rules {
    let provable = rules::provable(Duration::from_secs(u64::from(TTL))).as_secs();
    Rules {
        provable: u8::try_from(provable).expect("a part of the TTL"),
        from_the_request: true,
        verdict: rules::verdict,
        may_reassert: rules::may_reassert,
        waits_for_memory: true,
        fence_by_comparison: true,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Keeper {
    Rests,
    /// The request is on its way, so old.
    Asked {
        age: u8,
    },
    /// The answer is on its way.
    Told {
        age: u8,
        renewal: Told,
    },
    /// The database is asked.
    Missing {
        age: u8,
    },
    /// The lease is about to be taken again.
    Allowed {
        age: u8,
    },
}

/// [`Renewal`] as a part of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Told {
    Renewed,
    Missing,
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Worker {
    Out,
    /// Decided to claim, by a row that is still as it was, or is not.
    Claiming {
        age: u8,
        outdated: bool,
    },
    /// Has the key in Redis, and no fence yet.
    Taken {
        age: u8,
        outdated: bool,
    },
    /// Came too late for a fence, and is about to delete its key.
    TooLate,
    /// Has a lease and a browser.
    Owner {
        left: u8,
        keeper: Keeper,
    },
    /// The browser is being killed.
    Closing {
        left: u8,
    },
    /// The browser is gone; the release is about to be recorded, then the key deleted.
    Releasing {
        recorded: bool,
    },
}

impl Worker {
    fn has_a_browser(self) -> bool {
        matches!(self, Self::Owner { .. } | Self::Closing { .. })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// Who holds the key, and for how long it lasts.
    redis: Option<(Id, u8)>,
    /// How long Redis remembers.
    memory: u8,
    /// Who has the newest fence, and whether that ownership was released.
    row: Option<(Id, bool)>,
    flushes: u8,
    workers: [Worker; 2],
}

impl State {
    fn first() -> Self {
        Self { redis: None, memory: OLD, row: None, flushes: 0, workers: [Worker::Out; 2] }
    }

    /// Whether a lease that is missing may be one that Redis forgot.
    fn may_be_forgotten(&self) -> bool {
        self.memory < TTL && self.row.is_some_and(|(_, released)| !released)
    }

    /// Every state that can come next, with what happened.
    fn nexts(&self, rules: Rules) -> Vec<(String, Self)> {
        let mut nexts = vec![("time passes".to_owned(), self.later())];
        if self.flushes < FLUSHES {
            let flushed = Self { redis: None, memory: 0, flushes: self.flushes + 1, ..self.clone() };
            nexts.push(("Redis is flushed".to_owned(), flushed));
        }
        for id in 0..self.workers.len() {
            for (what, next) in self.steps_of(id, rules) {
                nexts.push((format!("{id} {what}"), next));
            }
        }
        nexts
    }

    fn later(&self) -> Self {
        let mut next = self.clone();
        next.redis = self.redis.and_then(|(id, left)| (left > 1).then_some((id, left - 1)));
        next.memory = (self.memory + 1).min(OLD);
        for worker in &mut next.workers {
            let older = |age: u8| (age + 1).min(OLD);
            *worker = match *worker {
                Worker::Claiming { age, outdated } => Worker::Claiming { age: older(age), outdated },
                Worker::Taken { age, outdated } => Worker::Taken { age: older(age), outdated },
                // The leash does not wait for its worker.
                Worker::Owner { left: 0 | 1, .. } => Worker::Closing { left: KILL_TAKES },
                Worker::Owner { left, keeper } => {
                    let keeper = match keeper {
                        Keeper::Rests => Keeper::Rests,
                        Keeper::Asked { age } => Keeper::Asked { age: older(age) },
                        Keeper::Told { age, renewal } => Keeper::Told { age: older(age), renewal },
                        Keeper::Missing { age } => Keeper::Missing { age: older(age) },
                        Keeper::Allowed { age } => Keeper::Allowed { age: older(age) },
                    };
                    Worker::Owner { left: left - 1, keeper }
                }
                Worker::Closing { left: 0 | 1 } => Worker::Out,
                Worker::Closing { left } => Worker::Closing { left: left - 1 },
                still => still,
            };
        }
        next
    }

    fn with(&self, id: Id, worker: Worker) -> Self {
        let mut next = self.clone();
        next.workers[id] = worker;
        next
    }

    fn steps_of(&self, id: Id, rules: Rules) -> Vec<(&'static str, Self)> {
        match self.workers[id] {
            Worker::Out if self.redis.is_none() && !(rules.waits_for_memory && self.may_be_forgotten()) => {
                vec![("decides to claim", self.with(id, Worker::Claiming { age: 0, outdated: false }))]
            }
            Worker::Out => Vec::new(),
            Worker::Claiming { age, outdated } => {
                let free = self.redis.is_none();
                let mut next = self.with(id, if free { Worker::Taken { age, outdated } } else { Worker::Out });
                if free {
                    next.redis = Some((id, TTL));
                }
                vec![("takes the key or does not", next), ("crashes", self.with(id, Worker::Out))]
            }
            Worker::Taken { outdated: true, .. } if rules.fence_by_comparison => {
                vec![("gets no fence", self.with(id, Worker::TooLate)), ("crashes", self.with(id, Worker::Out))]
            }
            Worker::Taken { age, .. } => {
                let left = if rules.from_the_request { rules.provable.saturating_sub(age) } else { rules.provable };
                let owner = if left > 0 { Worker::Owner { left, keeper: Keeper::Rests } } else { Worker::Out };
                let mut next = self.with(id, owner);
                next.row = Some((id, false));
                for other in (0..next.workers.len()).filter(|other| *other != id) {
                    next.workers[other] = match next.workers[other] {
                        Worker::Claiming { age, .. } => Worker::Claiming { age, outdated: true },
                        Worker::Taken { age, .. } => Worker::Taken { age, outdated: true },
                        still => still,
                    };
                }
                vec![("gets its fence", next), ("crashes", self.with(id, Worker::Out))]
            }
            Worker::TooLate | Worker::Releasing { recorded: true } => {
                let mut next = self.with(id, Worker::Out);
                if self.redis.is_some_and(|(owner, _)| owner == id) {
                    next.redis = None;
                }
                vec![("deletes its key", next), ("crashes", self.with(id, Worker::Out))]
            }
            Worker::Owner { left, keeper } => {
                let mut steps = vec![
                    ("crashes", self.with(id, Worker::Closing { left: KILL_TAKES })),
                    ("closes to release", self.with(id, Worker::Releasing { recorded: false })),
                ];
                steps.push(self.keeper_step(id, left, keeper, rules));
                steps
            }
            Worker::Closing { .. } => Vec::new(),
            Worker::Releasing { recorded: false } => {
                let mut next = self.with(id, Worker::Releasing { recorded: true });
                if self.row == Some((id, false)) {
                    next.row = Some((id, true));
                }
                vec![("records the release", next), ("crashes", self.with(id, Worker::Out))]
            }
        }
    }

    fn keeper_step(&self, id: Id, left: u8, keeper: Keeper, rules: Rules) -> (&'static str, Self) {
        let proven = |age: u8| if rules.from_the_request { rules.provable.saturating_sub(age) } else { rules.provable };
        let owner = |keeper| self.with(id, Worker::Owner { left, keeper });
        let extended = |age| self.with(id, Worker::Owner { left: left.max(proven(age)), keeper: Keeper::Rests });
        let lost = || self.with(id, Worker::Closing { left: KILL_TAKES });
        match keeper {
            Keeper::Rests => ("asks for a renewal", owner(Keeper::Asked { age: 0 })),
            Keeper::Asked { age } => {
                let renewal = match self.redis {
                    Some((holder, _)) if holder == id => Told::Renewed,
                    Some(_) => Told::Lost,
                    None => Told::Missing,
                };
                let mut next = owner(Keeper::Told { age, renewal });
                if renewal == Told::Renewed {
                    next.redis = Some((id, TTL));
                }
                ("is renewed or not", next)
            }
            Keeper::Told { age, renewal } => {
                let renewal = match renewal {
                    Told::Renewed => Renewal::Renewed,
                    Told::Missing => Renewal::Missing,
                    Told::Lost => Renewal::Lost,
                };
                let next = match (rules.verdict)(renewal) {
                    Verdict::Extend => extended(age),
                    Verdict::Reassert => owner(Keeper::Missing { age }),
                    Verdict::Lose => lost(),
                };
                ("reads the answer", next)
            }
            Keeper::Missing { age } => {
                let newest = self.row == Some((id, false));
                let next = if (rules.may_reassert)(left > 0, newest) { owner(Keeper::Allowed { age }) } else { lost() };
                ("asks the database", next)
            }
            Keeper::Allowed { .. } if self.redis.is_some() => ("cannot take its key again", lost()),
            Keeper::Allowed { age } => {
                let mut next = extended(age);
                next.redis = Some((id, TTL));
                ("takes its key again", next)
            }
        }
    }
}

/// Searches every reachable state. Answers with their number, or with the way to one in which both have a browser.
fn search(rules: Rules) -> Result<usize, Vec<String>> {
    let mut came_from: HashMap<State, Option<(State, String)>> = HashMap::from([(State::first(), None)]);
    let mut waiting = VecDeque::from([State::first()]);
    while let Some(state) = waiting.pop_front() {
        if state.workers.iter().all(|worker| worker.has_a_browser()) {
            let (mut way, mut at) = (Vec::new(), state);
            while let Some(Some((before, what))) = came_from.get(&at) {
                way.push(what.clone());
                at = before.clone();
            }
            way.reverse();
            return Err(way);
        }
        for (what, next) in state.nexts(rules) {
            if !came_from.contains_key(&next) {
                came_from.insert(next.clone(), Some((state.clone(), what)));
                waiting.push_back(next);
            }
        }
    }
    Ok(came_from.len())
}

#[test]
fn no_order_of_steps_gives_a_session_two_browsers() {
    let states = search(ours()).unwrap_or_else(|way| panic!("two browsers: {way:#?}"));
    // Both of them own, lose, release and crash in it; a search that went nowhere would have a handful.
    assert!(states > 10_000, "only {states} states were reached");
}

#[test]
fn a_wrong_rule_is_found_out() {
    let wrong: [(&str, Rules); 6] = [
        ("a renewal proves ownership for the whole TTL", Rules { provable: TTL, ..ours() }),
        ("the time counts from the answer", Rules { from_the_request: false, ..ours() }),
        ("a claim does not ask how long Redis remembers", Rules { waits_for_memory: false, ..ours() }),
        ("a fence is given to who knows only an older one", Rules { fence_by_comparison: false, ..ours() }),
        (
            "somebody else's lease is taken for a missing one, and a missing one for a renewed one",
            Rules {
                verdict: |renewal| match renewal {
                    Renewal::Renewed | Renewal::Missing => Verdict::Extend,
                    Renewal::Lost => Verdict::Reassert,
                },
                ..ours()
            },
        ),
        ("a lost lease is kept until its time is over", Rules { verdict: |_| Verdict::Extend, ..ours() }),
    ];
    for (what, rules) in wrong {
        assert!(search(rules).is_err(), "not found out: {what}");
    }
}
