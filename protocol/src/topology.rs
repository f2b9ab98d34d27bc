//! Exchanges, queues and bindings as plain data.
//!
//! ```text
//! wa.commands (direct) ── control ─────────────▶ wa.control                       any worker
//!     │                └─ <session>.<lane> ────▶ wa.session.<session>.<lane>      the session's owner
//!     └─ (unroutable) ─▶ wa.unrouted (fanout) ─▶ wa.unrouted                      any worker: declares what is missing, or dead-letters
//!     ├─ auto.<workspace> ─────▶ wa.workspace.<workspace>.campaign   every connected session of the workspace
//! wa.retry (headers: wa-retry-tier) ───────────▶ wa.retry.{5s,30s,2m,10m,1h} ──(TTL)──▶ wa.commands, with the old routing key
//! wa.dead (topic) ── # ────────────────────────▶ wa.dead
//! wa.events (topic) ── workspace.<id>.session.<id>.<type> ─▶ queues that the consumers own
//!     └─ (nobody bound) ─▶ wa.events.unconsumed (fanout) ──▶ wa.events.unconsumed, bounded
//! ```
//!
//! Lanes are queues and not priorities: quorum queues ignore `x-max-priority` up to RabbitMQ 3.13, mix the levels on 4.0
//! and refuse the argument on 4.3. All arguments here are accepted by RabbitMQ 3.10 to 4.3. Declaring is idempotent, and a
//! queue of the same name with other arguments is refused by the broker.

use std::time::Duration;

use crate::id::{SessionId, WorkspaceId};
use crate::lane::Lane;

/// The exchange for commands.
pub const COMMANDS: &str = "wa.commands";
/// The queue for commands that need no owner.
pub const CONTROL: &str = "wa.control";
/// The routing key of every `session.*` command.
pub const CONTROL_KEY: &str = "control";
/// The exchange and the queue for commands that no queue was bound for.
pub const UNROUTED: &str = "wa.unrouted";
/// The exchange for commands that are to be tried again later.
pub const RETRY: &str = "wa.retry";
/// The exchange and the queue for dead letters.
pub const DEAD: &str = "wa.dead";
/// The exchange for events.
pub const EVENTS: &str = "wa.events";
/// The exchange and the queue for events that no consumer was bound for.
pub const EVENTS_UNCONSUMED: &str = "wa.events.unconsumed";

/// The header that chooses the retry queue. Without `x-`: a headers exchange may ignore names that begin so.
pub const RETRY_TIER_HEADER: &str = "wa-retry-tier";
/// The header that counts attempts, in decimal text. The broker's own counters differ between its versions.
pub const ATTEMPT_HEADER: &str = "x-wa-attempt";
/// The header of a dead letter with the [reason](crate::rejection::Rejection::reason).
pub const REASON_HEADER: &str = "x-wa-reason";
/// The header of a dead letter with the explanation for people.
pub const DETAIL_HEADER: &str = "x-wa-detail";
/// The header of a dead letter with the worker that gave up.
pub const WORKER_HEADER: &str = "x-wa-worker";

/// How often the broker delivers a command that is never settled before it becomes a dead letter. Every hand-over of a
/// session, every lost connection and, before RabbitMQ 4.3, every pause of a lane counts for the command at its head, which
/// merely waits. So this is only the net below the fleet's own count of the executions that took their worker down.
pub const DELIVERY_LIMIT: i64 = 1_000;
/// Dead letters have nowhere further to go: a consumer that keeps returning one must not make the broker drop it. An
/// explicit large number, because RabbitMQ 4 defaults to 20 and RabbitMQ 3.10 does not know −1.
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000;
/// Events that nobody consumes are kept up to this many; the oldest go first.
const UNCONSUMED_MAX_LENGTH: i64 = 100_000;
/// Events that nobody consumes are kept up to this many bytes; the oldest go first.
const UNCONSUMED_MAX_BYTES: i64 = 256 * 1024 * 1024;

/// What has to be declared, in this order: exchanges, queues, bindings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topology {
    /// Exchanges, an alternate exchange before the one that names it.
    pub exchanges: Vec<Exchange>,
    /// Queues.
    pub queues: Vec<Queue>,
    /// Bindings of queues to exchanges.
    pub bindings: Vec<Binding>,
}

/// A durable exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Its name.
    pub name: &'static str,
    /// How it routes.
    pub kind: ExchangeKind,
    /// Its arguments.
    pub arguments: Vec<Argument>,
}

/// How an exchange routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExchangeKind {
    /// By equal routing key.
    Direct,
    /// By pattern of the routing key.
    Topic,
    /// To every queue.
    Fanout,
    /// By headers.
    Headers,
}

impl ExchangeKind {
    /// The word in AMQP.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Topic => "topic",
            Self::Fanout => "fanout",
            Self::Headers => "headers",
        }
    }
}

/// A durable queue, neither exclusive nor auto-deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Its arguments, the type among them.
    pub arguments: Vec<Argument>,
}

/// A binding of a queue to an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The exchange.
    pub exchange: &'static str,
    /// The queue.
    pub queue: String,
    /// The routing key, or the pattern of it.
    pub routing_key: String,
    /// Its arguments.
    pub arguments: Vec<Argument>,
}

/// The name and the value of an argument.
pub type Argument = (&'static str, Value);

/// The value of an argument, in the AMQP type that RabbitMQ expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A long string.
    Text(&'static str),
    /// A 64-bit integer.
    Integer(i64),
    /// A boolean.
    Bool(bool),
}

/// How long a command waits before it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RetryTier {
    /// 5 seconds.
    FiveSeconds,
    /// 30 seconds.
    ThirtySeconds,
    /// 2 minutes.
    TwoMinutes,
    /// 10 minutes.
    TenMinutes,
    /// 1 hour.
    OneHour,
}

impl RetryTier {
    /// All tiers, the shortest first.
    pub const ALL: [RetryTier; 5] =
        [Self::FiveSeconds, Self::ThirtySeconds, Self::TwoMinutes, Self::TenMinutes, Self::OneHour];

    /// The value of the header [`RETRY_TIER_HEADER`], and the end of the queue's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FiveSeconds => "5s",
            Self::ThirtySeconds => "30s",
            Self::TwoMinutes => "2m",
            Self::TenMinutes => "10m",
            Self::OneHour => "1h",
        }
    }

    /// How long it waits.
    pub fn delay(self) -> Duration {
        Duration::from_secs(match self {
            Self::FiveSeconds => 5,
            Self::ThirtySeconds => 30,
            Self::TwoMinutes => 120,
            Self::TenMinutes => 600,
            Self::OneHour => 3600,
        })
    }

    /// The tier after this many failed attempts, counted from 1; `None` when it is time to give up.
    pub fn after_attempt(attempt: u32) -> Option<Self> {
        let index = usize::try_from(attempt).ok()?.checked_sub(1)?;
        Self::ALL.get(index).copied()
    }

    /// The name of its queue.
    pub fn queue(self) -> String {
        format!("{RETRY}.{}", self.as_str())
    }
}

/// The name of a session's queue for a lane.
pub fn lane_queue(session: &SessionId, lane: Lane) -> String {
    format!("wa.session.{session}.{lane}")
}

/// The routing key of a session's lane on [`COMMANDS`].
pub fn lane_key(session: &SessionId, lane: Lane) -> String {
    format!("{session}.{lane}")
}

/// The name of a workspace's queue of messages that may go from any of its sessions.
pub fn campaign_queue(workspace: WorkspaceId) -> String {
    format!("wa.workspace.{workspace}.campaign")
}

/// The routing key of a workspace's campaign queue on [`COMMANDS`]. No lane of a session has it: `auto` is no session.
pub fn campaign_key(workspace: WorkspaceId) -> String {
    format!("{}.{workspace}", SessionId::RESERVED)
}

/// The routing key of an event on [`EVENTS`]. `event_type` has a dot itself, so the key has six words.
pub fn event_key(workspace: WorkspaceId, session: &SessionId, event_type: &str) -> String {
    format!("workspace.{workspace}.session.{session}.{event_type}")
}

/// The pattern that binds a consumer's queue to all events of a workspace.
pub fn workspace_events_pattern(workspace: WorkspaceId) -> String {
    format!("workspace.{workspace}.#")
}

/// What the fleet needs once per virtual host.
pub fn fleet() -> Topology {
    let mut topology = Topology {
        exchanges: vec![
            exchange(UNROUTED, ExchangeKind::Fanout, None),
            exchange(COMMANDS, ExchangeKind::Direct, Some(UNROUTED)),
            exchange(RETRY, ExchangeKind::Headers, None),
            exchange(DEAD, ExchangeKind::Topic, None),
            exchange(EVENTS_UNCONSUMED, ExchangeKind::Fanout, None),
            exchange(EVENTS, ExchangeKind::Topic, Some(EVENTS_UNCONSUMED)),
        ],
        queues: vec![
            Queue { name: CONTROL.to_owned(), arguments: work_queue(false) },
            Queue { name: UNROUTED.to_owned(), arguments: work_queue(true) },
            Queue {
                name: DEAD.to_owned(),
                // One archivist at a time, so that the archive keeps the order of the queue.
                arguments: vec![
                    QUORUM,
                    ("x-single-active-consumer", Value::Bool(true)),
                    ("x-delivery-limit", Value::Integer(DEAD_DELIVERY_LIMIT)),
                ],
            },
            Queue {
                name: EVENTS_UNCONSUMED.to_owned(),
                arguments: vec![
                    QUORUM,
                    ("x-max-length", Value::Integer(UNCONSUMED_MAX_LENGTH)),
                    ("x-max-length-bytes", Value::Integer(UNCONSUMED_MAX_BYTES)),
                    ("x-overflow", Value::Text("drop-head")),
                ],
            },
        ],
        bindings: vec![
            binding(COMMANDS, CONTROL, CONTROL_KEY),
            binding(UNROUTED, UNROUTED, ""),
            binding(DEAD, DEAD, "#"),
            binding(EVENTS_UNCONSUMED, EVENTS_UNCONSUMED, ""),
        ],
    };
    for tier in RetryTier::ALL {
        let ttl_ms = i64::try_from(tier.delay().as_millis()).expect("an hour at most");
        let mut arguments = vec![QUORUM, ("x-message-ttl", Value::Integer(ttl_ms))];
        arguments.extend(dead_letter_to(COMMANDS));
        topology.queues.push(Queue { name: tier.queue(), arguments });
        topology.bindings.push(Binding {
            exchange: RETRY,
            queue: tier.queue(),
            routing_key: String::new(),
            arguments: vec![("x-match", Value::Text("all")), (RETRY_TIER_HEADER, Value::Text(tier.as_str()))],
        });
    }
    topology
}

/// What one session needs besides: a queue and a binding for each lane. Declared once, never touched when the session moves.
pub fn session(session: &SessionId) -> Topology {
    let queues = Lane::ALL.map(|lane| Queue { name: lane_queue(session, lane), arguments: work_queue(true) });
    let bindings = Lane::ALL.map(|lane| binding(COMMANDS, &lane_queue(session, lane), &lane_key(session, lane)));
    Topology { exchanges: Vec::new(), queues: queues.into(), bindings: bindings.into() }
}

/// What a workspace needs besides: the queue that its sessions take turns in.
pub fn workspace(workspace: WorkspaceId) -> Topology {
    let queue = campaign_queue(workspace);
    Topology {
        exchanges: Vec::new(),
        bindings: vec![binding(COMMANDS, &queue, &campaign_key(workspace))],
        queues: vec![Queue { name: queue, arguments: work_queue(false) }],
    }
}

impl Topology {
    /// Both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.exchanges.extend(other.exchanges);
        self.queues.extend(other.queues);
        self.bindings.extend(other.bindings);
        self
    }
}

const QUORUM: Argument = ("x-queue-type", Value::Text("quorum"));

/// A queue of commands: replicated, bounded deliveries, dead letters that cannot get lost, and one consumer at a time if order matters.
fn work_queue(single_active_consumer: bool) -> Vec<Argument> {
    let mut arguments = vec![QUORUM];
    if single_active_consumer {
        arguments.push(("x-single-active-consumer", Value::Bool(true)));
    }
    arguments.push(("x-delivery-limit", Value::Integer(DELIVERY_LIMIT)));
    arguments.extend(dead_letter_to(DEAD));
    arguments
}

/// At-least-once dead-lettering, which RabbitMQ does only together with `reject-publish`. The routing key stays as it was.
fn dead_letter_to(exchange: &'static str) -> [Argument; 3] {
    [
        ("x-dead-letter-exchange", Value::Text(exchange)),
        ("x-dead-letter-strategy", Value::Text("at-least-once")),
        ("x-overflow", Value::Text("reject-publish")),
    ]
}

fn exchange(name: &'static str, kind: ExchangeKind, alternate: Option<&'static str>) -> Exchange {
    let arguments = alternate.map(|alternate| ("alternate-exchange", Value::Text(alternate)));
    Exchange { name, kind, arguments: arguments.into_iter().collect() }
}

fn binding(exchange: &'static str, queue: &str, routing_key: &str) -> Binding {
    Binding { exchange, queue: queue.to_owned(), routing_key: routing_key.to_owned(), arguments: Vec::new() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn argument(arguments: &[Argument], name: &str) -> Option<Value> {
        arguments.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone())
    }

    fn support() -> SessionId {
        "support-01".parse().expect("a session")
    }

    #[test]
    fn everything_that_is_referred_to_is_declared_and_before_it_is_referred_to() {
        let (fleet, session) = (fleet(), session(&support()).and(workspace(WorkspaceId::new(7).expect("a workspace"))));
        let mut exchanges = BTreeSet::new();
        for exchange in &fleet.exchanges {
            if let Some(Value::Text(alternate)) = argument(&exchange.arguments, "alternate-exchange") {
                assert!(exchanges.contains(alternate), "{} comes after {alternate}", exchange.name);
            }
            assert!(exchanges.insert(exchange.name), "{} once", exchange.name);
        }
        let queues: BTreeSet<_> = fleet.queues.iter().chain(&session.queues).map(|queue| queue.name.as_str()).collect();
        assert_eq!(queues.len(), fleet.queues.len() + session.queues.len(), "every queue once");
        for queue in fleet.queues.iter().chain(&session.queues) {
            if let Some(Value::Text(exchange)) = argument(&queue.arguments, "x-dead-letter-exchange") {
                assert!(exchanges.contains(exchange), "{}", queue.name);
            }
        }
        let mut bound = BTreeSet::new();
        for binding in fleet.bindings.iter().chain(&session.bindings) {
            assert!(exchanges.contains(binding.exchange) && queues.contains(binding.queue.as_str()), "{binding:?}");
            bound.insert(binding.queue.as_str());
        }
        assert_eq!(bound, queues, "no queue without a way into it");
    }

    #[test]
    fn every_queue_is_replicated_and_dead_letters_at_least_once_or_not_at_all() {
        for queue in fleet().queues.iter().chain(&session(&support()).queues) {
            assert_eq!(argument(&queue.arguments, "x-queue-type"), Some(Value::Text("quorum")), "{}", queue.name);
            if argument(&queue.arguments, "x-dead-letter-exchange").is_some() {
                let strategy = argument(&queue.arguments, "x-dead-letter-strategy");
                assert_eq!(strategy, Some(Value::Text("at-least-once")), "{}", queue.name);
                let overflow = argument(&queue.arguments, "x-overflow");
                assert_eq!(overflow, Some(Value::Text("reject-publish")), "{}", queue.name);
            }
            assert_eq!(argument(&queue.arguments, "x-max-priority"), None, "refused by RabbitMQ 4.3");
        }
    }

    #[test]
    fn a_session_has_one_ordered_queue_for_each_lane() {
        let topology = session(&support());
        assert!(topology.exchanges.is_empty());
        let names: Vec<_> = topology.queues.iter().map(|queue| queue.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "wa.session.support-01.urgent",
                "wa.session.support-01.high",
                "wa.session.support-01.normal",
                "wa.session.support-01.campaign"
            ]
        );
        for (queue, binding) in topology.queues.iter().zip(&topology.bindings) {
            assert_eq!(argument(&queue.arguments, "x-single-active-consumer"), Some(Value::Bool(true)));
            assert_eq!(argument(&queue.arguments, "x-delivery-limit"), Some(Value::Integer(DELIVERY_LIMIT)));
            assert_eq!((binding.exchange, &binding.queue), (COMMANDS, &queue.name));
            assert_eq!(format!("wa.session.{}", binding.routing_key), queue.name);
        }
    }

    #[test]
    fn control_commands_are_read_by_any_worker() {
        let fleet = fleet();
        let control = fleet.queues.iter().find(|queue| queue.name == CONTROL).expect("declared");
        assert_eq!(argument(&control.arguments, "x-single-active-consumer"), None);
        let binding = fleet.bindings.iter().find(|binding| binding.queue == CONTROL).expect("bound");
        assert_eq!((binding.exchange, binding.routing_key.as_str()), (COMMANDS, CONTROL_KEY));
    }

    #[test]
    fn a_retry_waits_its_time_and_returns_with_its_old_routing_key() {
        let fleet = fleet();
        for (tier, name, ttl_ms) in [
            (RetryTier::FiveSeconds, "wa.retry.5s", 5_000),
            (RetryTier::ThirtySeconds, "wa.retry.30s", 30_000),
            (RetryTier::TwoMinutes, "wa.retry.2m", 120_000),
            (RetryTier::TenMinutes, "wa.retry.10m", 600_000),
            (RetryTier::OneHour, "wa.retry.1h", 3_600_000),
        ] {
            let queue = fleet.queues.iter().find(|queue| queue.name == name).expect(name);
            assert_eq!(argument(&queue.arguments, "x-message-ttl"), Some(Value::Integer(ttl_ms)));
            assert_eq!(argument(&queue.arguments, "x-dead-letter-exchange"), Some(Value::Text(COMMANDS)));
            assert_eq!(argument(&queue.arguments, "x-dead-letter-routing-key"), None);
            let binding = fleet.bindings.iter().find(|binding| binding.queue == name).expect(name);
            assert_eq!(argument(&binding.arguments, RETRY_TIER_HEADER), Some(Value::Text(tier.as_str())));
            assert_eq!(argument(&binding.arguments, "x-match"), Some(Value::Text("all")));
        }
    }

    #[test]
    fn retries_wait_longer_each_time_and_then_end() {
        let tiers: Vec<_> = (0..8).map(RetryTier::after_attempt).collect();
        let [five, thirty, two, ten, hour] = RetryTier::ALL.map(Some);
        assert_eq!(tiers, [None, five, thirty, two, ten, hour, None, None]);
        assert!(RetryTier::ALL.is_sorted_by_key(|tier| tier.delay()));
    }

    #[test]
    fn event_keys_name_tenant_session_and_type() {
        let workspace = WorkspaceId::new(7).expect("a workspace");
        assert_eq!(event_key(workspace, &support(), "message.ack"), "workspace.7.session.support-01.message.ack");
        assert_eq!(workspace_events_pattern(workspace), "workspace.7.#");
    }
}
