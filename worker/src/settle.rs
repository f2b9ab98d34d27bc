//! The end of an attempt: record it, tell it, and only then acknowledge.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{CommandError, CommandResult, Event, Outcome as EventOutcome, ResultData};
use wafleet_protocol::id::EventId;
use wafleet_protocol::timestamp::Timestamp;
use wafleet_protocol::topology::RetryTier;

use crate::broker::message::Message;
use crate::campaign::{self, parking};
use crate::database::{Ending, FinalState};
use crate::events::{EmitError, EventSink};
use crate::intake::{IntakeError, Order, acknowledge, result_id};
use crate::lease::Fenced;
use crate::letter;
use crate::world::World;

/// A message that may go from any session and was put off is offered to all of them again so much later.
const OFFERED_AGAIN_SECS: u64 = 120;

/// What an attempt came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Done.
    Succeeded(Option<ResultData>),
    /// Permanently not done.
    Failed(CommandError),
    /// It may have been done, nobody here can find out, and it is not tried again.
    Unknown(CommandError),
    /// Not done, or not known to be done: try again later under the same id. When all attempts are used up, the class of
    /// the error says what it ends as.
    Retry(CommandError),
    /// Not before a moment; no attempt is counted.
    Deferred(CommandError, Timestamp),
    /// The session cannot do anything now: the command waits without being counted.
    Wait,
    /// The same, and others behind it can be served: it makes room for them.
    Aside,
}

/// Records, tells and acknowledges. `fence` is the owner's, 0 for a bystander.
///
/// # Errors
/// [`IntakeError`]: the delivery is still unacknowledged and comes again.
pub(crate) async fn settle(
    world: &World,
    sink: &EventSink,
    fence: u64,
    order: &Order,
    outcome: Outcome,
) -> Result<(), IntakeError> {
    match outcome {
        Outcome::Succeeded(data) => finish(world, sink, fence, order, FinalState::Succeeded, data, None).await,
        Outcome::Failed(error) => finish(world, sink, fence, order, FinalState::Failed, None, Some(error)).await,
        Outcome::Unknown(error) => finish(world, sink, fence, order, FinalState::Unknown, None, Some(error)).await,
        Outcome::Wait => put_aside(world, sink, order, RetryTier::FiveSeconds, order.attempts()).await,
        Outcome::Aside => put_aside(world, sink, order, RetryTier::ThirtySeconds, order.attempts()).await,
        Outcome::Retry(error) => {
            let attempt = order.attempts() + 1;
            // A retry that would come back only after the end of the command's life is not a retry.
            let tier = RetryTier::after_attempt(attempt)
                .filter(|tier| world.clock.unix_secs() + tier.delay().as_secs() < order.verified.expires_at);
            match tier {
                Some(tier) => {
                    world.counters.count("commands.retried", error.code.as_str());
                    put_aside(world, sink, order, tier, attempt).await
                }
                None => {
                    let unknown = order.attempted && !matches!(error.code, ErrorCode::SessionNotReady);
                    let state = if unknown { FinalState::Unknown } else { FinalState::Failed };
                    finish(world, sink, fence, order, state, None, Some(error)).await
                }
            }
        }
        Outcome::Deferred(error, until) => {
            let wait = until.unix_secs().saturating_sub(world.clock.unix_secs());
            // What one session has to wait for, another one may not: then it is offered again soon.
            let wait = if order.any { wait.min(OFFERED_AGAIN_SECS) } else { wait };
            let tier = RetryTier::ALL
                .into_iter()
                .rev()
                .find(|tier| tier.delay().as_secs() <= wait)
                .unwrap_or(RetryTier::FiveSeconds);
            let told = Told { code: error.code, until: until.unix_secs() };
            let told =
                told_before(order).filter(|before| before.covers(&told, world.clock.unix_secs())).unwrap_or(told);
            let code = error.code;
            tell_deferred(world, sink, order, error, until).await?;
            // What waits for its campaign may wait for days, together with all others of it.
            if let (Some(campaign), ErrorCode::QuietHours | ErrorCode::CampaignPaused) =
                (campaign::campaign_of(&order.command), code)
            {
                let (paused, due_at) = (code == ErrorCode::CampaignPaused, until.unix_secs());
                return parking::park(world, sink, order, campaign, paused, due_at, told.to_string()).await;
            }
            let retry = letter::retry(&order.delivery, tier, order.attempts(), Some(told.to_string()));
            send_round(world, sink, order, retry).await
        }
    }
}

/// Tells that a command waits until a moment, unless its sender knows that it waits for this cause.
///
/// # Errors
/// [`IntakeError`]: it is not told, and the delivery is still unacknowledged.
pub(crate) async fn tell_deferred(
    world: &World,
    sink: &EventSink,
    order: &Order,
    error: CommandError,
    until: Timestamp,
) -> Result<(), IntakeError> {
    let told = Told { code: error.code, until: until.unix_secs() };
    let now = world.clock.unix_secs();
    let known = told_before(order).is_some_and(|before| before.covers(&told, now));
    if known || !world.deferrals.is_news(&order.record.command_id, &told, now) {
        return Ok(());
    }
    let moment = until.unix_secs().to_string();
    let id = EventId::derive(until.unix_ms(), &["command.deferred", order.verified.message_id.as_str(), &moment]);
    let result = result(order, EventOutcome::Deferred, Some(until), Some(error), None);
    sink.emit(id, Event::CommandResult(result), order.correlation())?.wait().await?;
    Ok(())
}

/// What the sender of a command was told of its waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    code: ErrorCode,
    /// Unix seconds.
    until: u64,
}

impl Told {
    /// Saying the other one would be no news: the same cause, and the moment that was told has not come. The end of a
    /// restriction or a pause may not be known, so its moment is only when it is looked at again.
    fn covers(&self, other: &Self, now: u64) -> bool {
        let open_end = matches!(self.code, ErrorCode::AccountRestricted | ErrorCode::CampaignPaused);
        self.code == other.code && (self.until > now || open_end)
    }

    fn parse(text: &str) -> Option<Self> {
        let (code, until) = text.split_once(' ')?;
        Some(Self { code: serde_json::from_value(code.into()).ok()?, until: until.parse().ok()? })
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.code, self.until)
    }
}

/// What the copy says that was put aside.
fn told_before(order: &Order) -> Option<Told> {
    letter::text_header(&order.delivery.properties, letter::DEFERRED_HEADER).and_then(|text| Told::parse(&text))
}

/// What was told of commands that wait at the head of their lane. Bounded: what is forgotten is told again under the same
/// event id, or another moment.
#[derive(Debug, Default)]
pub(crate) struct Deferrals(Mutex<HashMap<String, Told>>);

impl Deferrals {
    const REMEMBERED: usize = 4096;

    fn is_news(&self, command_id: &str, told: &Told, now: u64) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(command_id).is_some_and(|before| before.covers(told, now)) {
            return false;
        }
        if known.len() >= Self::REMEMBERED {
            known.clear();
        }
        known.insert(command_id.to_owned(), told.clone());
        true
    }
}

async fn finish(
    world: &World,
    sink: &EventSink,
    fence: u64,
    order: &Order,
    state: FinalState,
    data: Option<ResultData>,
    error: Option<CommandError>,
) -> Result<(), IntakeError> {
    let outcome = match state {
        FinalState::Succeeded => EventOutcome::Succeeded,
        FinalState::Failed => EventOutcome::Failed,
        FinalState::Unknown => EventOutcome::Unknown,
    };
    let result = result(order, outcome, None, error, data);
    let recorded = serde_json::to_value(&result).expect("strings, numbers and plain structs always serialise");
    // Recorded first: whoever comes after a crash tells these very words, and a consumer never sees one event id say two
    // things.
    let result = match world.database.finish(&order.record, fence, state, &recorded).await? {
        Ending::Recorded => result,
        Ending::Stands { result: standing } => serde_json::from_value(standing).unwrap_or(result),
        Ending::NewerOwner => return Err(EmitError::from(Fenced).into()),
    };
    world.counters.count("commands.finished", result.outcome.as_str());
    campaign::touch(world, order.verified.workspace, &order.command);
    tracing::info!(
        command_id = order.record.command_id,
        session_id = order.record.session_id,
        kind = order.record.kind,
        outcome = result.outcome.as_str(),
        code = result.error.as_ref().map(|error| error.code.as_str()),
        "command finished"
    );
    sink.emit(result_id(order), Event::CommandResult(result), order.correlation())?.wait().await?;
    acknowledge(&order.delivery).await
}

async fn put_aside(
    world: &World,
    sink: &EventSink,
    order: &Order,
    tier: RetryTier,
    attempt: u32,
) -> Result<(), IntakeError> {
    send_round(world, sink, order, letter::retry(&order.delivery, tier, attempt, None)).await
}

/// Puts a copy on its way in the place of the delivery.
async fn send_round(world: &World, sink: &EventSink, order: &Order, copy: Message) -> Result<(), IntakeError> {
    sink.prove()?; // else the broker has given it to the next owner, and a second copy would be on its way
    world.publisher.publish(copy).await?;
    world.database.put_back(&order.record, &world.process).await?;
    acknowledge(&order.delivery).await
}

fn result(
    order: &Order,
    outcome: EventOutcome,
    until: Option<Timestamp>,
    error: Option<CommandError>,
    data: Option<ResultData>,
) -> CommandResult {
    CommandResult {
        command_id: order.verified.message_id.clone(),
        command_type: order.record.kind.to_owned(),
        outcome,
        until,
        error,
        provider: order.provider,
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_waits_on_for_the_same_cause_is_told_once() {
        let (now, later) = (1_795_000_000, 1_795_000_600);
        let told = |code, until| Told { code, until };
        let cases = [
            (told(ErrorCode::RateLimited, later), told(ErrorCode::RateLimited, later + 60), false),
            (told(ErrorCode::RateLimited, later), told(ErrorCode::AccountRestricted, later), true),
            (told(ErrorCode::RateLimited, 1), told(ErrorCode::RateLimited, later), true),
        ];
        for (before, next, news) in cases {
            let deferrals = Deferrals::default();
            assert!(deferrals.is_news("c1", &before, now));
            assert_eq!(deferrals.is_news("c1", &next, now), news, "{before} then {next}");
            assert!(deferrals.is_news("c2", &next, now), "another command");
            assert_eq!(Told::parse(&before.to_string()), Some(before));
        }
        for text in ["", "rate_limited", "rate_limited x", "sunny 7"] {
            assert_eq!(Told::parse(text), None, "{text:?}");
        }
    }
}
