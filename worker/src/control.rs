//! The queues that any worker reads: `wa.control`, and `wa.unrouted` for commands whose session has no queues yet.
//!
//! `session.start`, `.status`, `.settings` and `.stop` need no owner: they are answered from the database, and the owner, if there is
//! one, is nudged. `session.logout`, `.link_code`, `.passkey_answer`, `.sync` and `.move` need the owner: they are forwarded to the owner's urgent lane.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use lapin::message::Delivery;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wafleet_protocol::command::{Command, SessionStart};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{Cause, CommandError, Health, ResultData, SessionStatus, SessionStatusChanged};
use wafleet_protocol::lane::Lane;
use wafleet_protocol::rejection::Rejection;
use wafleet_protocol::timestamp::Timestamp;
use wafleet_protocol::topology;

use crate::broker::consumer::{Reader, Source};
use crate::broker::topology::ensure;
use crate::budget;
use crate::campaign;
use crate::database::{Audit, Desired, SessionRow};
use crate::events::EventSink;
use crate::intake::{self, Begun, Examined, IntakeError, Order, Place};
use crate::logging::chain;
use crate::session::connection_score;
use crate::settle::{Outcome, settle};
use crate::world::World;

/// Control commands worked on at once.
const PREFETCH: u16 = 16;
/// Pause before the queue is read again after a command could not be served: it must not spin.
const UNAVAILABLE_PAUSE: Duration = Duration::from_secs(1);
/// Window of the rate limit per key.
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// Serves both queues until `stop`; what was begun is finished.
pub(crate) async fn serve(world: World, stop: CancellationToken) {
    let source = |queue: &str, prefetch| Source { queue: queue.to_owned(), prefetch, priority: None };
    tokio::join!(
        serve_queue(&world, vec![source(topology::CONTROL, PREFETCH)], Place::Control, &stop),
        // One at a time and one worker at a time, so that commands for a new session keep their order.
        serve_queue(&world, vec![source(topology::UNROUTED, 1)], Place::Unrouted, &stop),
    );
}

async fn serve_queue(world: &World, sources: Vec<Source>, place: Place<'static>, stop: &CancellationToken) {
    let mut work = JoinSet::new();
    while !stop.is_cancelled() {
        let mut reader = tokio::select! {
            () = stop.cancelled() => break,
            reader = Reader::open(world.link.clone(), None, sources.clone()) => reader,
        };
        loop {
            let delivery = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(done) = work.join_next() => match done {
                    Ok(Served::Yes) => continue,
                    // Everything in hand goes back with the channel, once, and not again and again.
                    Ok(Served::NotNow) | Err(_) => break,
                },
                delivery = reader.next() => delivery,
            };
            let Some(delivery) = delivery else { break };
            let world = world.clone();
            work.spawn(async move { run(&world, place, delivery).await });
        }
        while work.join_next().await.is_some() {} // their acknowledgements need the channel
        drop(reader);
        let pause = async {
            tokio::time::sleep(UNAVAILABLE_PAUSE).await;
            world.database.available().await;
        };
        tokio::select! { () = stop.cancelled() => {}, () = pause => {} }
    }
}

/// Whether a delivery was settled.
enum Served {
    Yes,
    NotNow,
}

async fn run(world: &World, place: Place<'_>, delivery: Delivery) -> Served {
    let begun = Begun::default();
    let execution = async {
        match place {
            Place::Unrouted => unrouted(world, delivery, &begun).await,
            _ => control(world, delivery, &begun).await,
        }
    };
    match AssertUnwindSafe(execution).catch_unwind().await {
        Ok(Ok(())) => Served::Yes,
        Ok(Err(error)) => {
            tracing::warn!(error = %chain(&error), "a control command goes back to its queue");
            begun.put_back(world).await;
            Served::NotNow
        }
        Err(_) => {
            begun.crashed(world).await;
            Served::NotNow
        }
    }
}

async fn control(world: &World, delivery: Delivery, begun: &Begun) -> Result<(), IntakeError> {
    let Examined::Run(order) = intake::examine(world, None, Place::Control, delivery).await? else { return Ok(()) };
    begun.note(&order);
    let sink = EventSink::of_bystander(world.clone(), order.verified.workspace, order.verified.session.clone());
    if let Some(outcome) = over_the_rate(world, &order).await {
        return settle(world, &sink, 0, &order, outcome).await;
    }
    if order.command.is_about_the_workspace() {
        return campaign::carry_out(world, &sink, &order).await;
    }
    let (workspace, session) = (order.verified.workspace.get(), order.verified.session.as_str());
    let known = world.database.session(session).await?;
    if known.as_ref().is_some_and(|known| known.workspace_id != workspace) {
        return intake::refuse(world, None, &order.delivery, Some(&order.verified), &Rejection::ForeignScope).await;
    }
    let outcome = match (&order.command, known) {
        (Command::SessionStart(wanted), known) => return start(world, &sink, &order, wanted, known).await,
        (_, None) => Outcome::Failed(CommandError::new(
            ErrorCode::UnknownSession,
            "this workspace has no such session: start it first",
        )),
        (Command::SessionStatus, Some(known)) => Outcome::Succeeded(Some(stands_with_budget(world, &known).await?)),
        (Command::SessionLimits(limits), Some(known)) => {
            world.database.limit(session, limits).await?;
            audit(world, &order, "session.limited").await?;
            Outcome::Succeeded(Some(stands_with_budget(world, &known).await?))
        }
        (Command::SessionSettings(wanted), Some(known)) => {
            world.database.set_calls(session, wanted.calls).await?;
            audit(world, &order, "session.settings").await?;
            Outcome::Succeeded(Some(stands(&SessionRow { calls: wanted.calls, ..known })))
        }
        (Command::SessionStop, Some(known)) => {
            world.database.want_stopped(workspace, session).await?;
            audit(world, &order, "session.stopped").await?;
            world.leases.nudge(session).await;
            Outcome::Succeeded(Some(stands(&known)))
        }
        (Command::SessionLogout, Some(known)) if known.status == SessionStatus::LoggedOut.as_str() => {
            Outcome::Succeeded(Some(stands(&known)))
        }
        (Command::SessionLogout, Some(_)) => {
            // Saying goodbye to WhatsApp needs the page: a stopped session runs once more for it.
            world.database.want_running(workspace, session, None, None).await?;
            audit(world, &order, "session.logout").await?;
            world.leases.nudge(session).await;
            return to_owner(world, &order, begun).await;
        }
        (
            Command::SessionLinkCode(_)
            | Command::SessionMove(_)
            | Command::SessionPasskeyAnswer(_)
            | Command::SessionSync(_),
            Some(known),
        ) if known.desired == Desired::Stopped => {
            Outcome::Failed(CommandError::new(ErrorCode::SessionStopped, "the session is not running: start it first"))
        }
        (Command::SessionMove(_), Some(_)) => {
            audit(world, &order, "session.move").await?;
            return to_owner(world, &order, begun).await;
        }
        (Command::SessionLinkCode(_) | Command::SessionPasskeyAnswer(_) | Command::SessionSync(_), Some(_)) => {
            return to_owner(world, &order, begun).await;
        }
        (Command::SessionProvider(wanted), Some(known)) => {
            if world.database.choose_provider(workspace, session, wanted.provider).await? {
                audit(world, &order, "session.provider").await?;
                Outcome::Succeeded(Some(stands(&known)))
            } else {
                let why = "the session has no Cloud API number, so there is nothing to choose";
                Outcome::Failed(CommandError::new(ErrorCode::ProviderUnavailable, why))
            }
        }
        (
            Command::MessageSend(_)
            | Command::StatusPost(_)
            | Command::CloudWebhook(_)
            | Command::Action(_)
            | Command::CampaignPause(_)
            | Command::CampaignResume(_)
            | Command::CampaignCancel(_)
            | Command::CampaignStatus(_)
            | Command::OptOutAdd(_)
            | Command::OptOutRemove(_),
            Some(_),
        ) => unreachable!("the intake refuses the former on the control queue, and the latter are carried out above"),
    };
    settle(world, &sink, 0, &order, outcome).await
}

async fn start(
    world: &World,
    sink: &EventSink,
    order: &Order,
    wanted: &SessionStart,
    known: Option<SessionRow>,
) -> Result<(), IntakeError> {
    let (workspace, session) = (order.verified.workspace.get(), order.verified.session.as_str());
    // Queues first: a command that comes right after the result must find them.
    let Some(connection) = world.link.connection() else {
        return settle(
            world,
            sink,
            0,
            order,
            Outcome::Retry(CommandError::new(ErrorCode::DependencyUnavailable, "no broker connection")),
        )
        .await;
    };
    if let Err(error) = ensure(&connection, &topology::session(&order.verified.session)).await {
        tracing::warn!(error = %chain(&error), "the session's queues could not be declared");
        let error = CommandError::new(ErrorCode::DependencyUnavailable, "the session's queues could not be declared");
        return settle(world, sink, 0, order, Outcome::Retry(error)).await;
    }
    let phone = wanted.pairing_phone.as_ref().map(|phone| phone.as_str());
    if !world.database.want_running(workspace, session, phone, wanted.calls).await? {
        return intake::refuse(world, None, &order.delivery, Some(&order.verified), &Rejection::ForeignScope).await;
    }
    if !world.database.ensure_host_row(workspace, session).await? {
        tracing::warn!(
            session_id = session,
            "the host's table has no row for this session and needs columns that only the host can fill: the host must insert it"
        );
    }
    audit(world, order, "session.started").await?;
    world.leases.nudge(session).await;
    let calls = wanted.calls.or(known.as_ref().map(|known| known.calls)).unwrap_or_default();
    let status = known.filter(|known| known.desired == Desired::Running).map_or_else(
        || {
            ResultData::Session(SessionStatusChanged {
                status: SessionStatus::Initializing,
                previous: None,
                since: Timestamp::from_unix_ms(world.clock.unix_ms()),
                cause: Cause::Command,
                attempt: 0,
                health: Health { score: 50, degraded: false, restricted: None, moving: false, parts: None },
                phone: None,
                lid: None,
                name: None,
                budget: None,
                calls: Some(calls),
            })
        },
        |known| stands(&SessionRow { calls, ..known }),
    );
    settle(world, sink, 0, order, Outcome::Succeeded(Some(status))).await
}

/// Passes a command on to whoever owns the session.
async fn to_owner(world: &World, order: &Order, begun: &Begun) -> Result<(), IntakeError> {
    begun.put_back(world).await; // before the owner can see it
    intake::forward(world, &order.delivery, topology::lane_key(&order.verified.session, Lane::Urgent)).await
}

/// A command for a session without queues: declare them if the session exists, else nobody will ever read it.
async fn unrouted(world: &World, delivery: Delivery, begun: &Begun) -> Result<(), IntakeError> {
    let Examined::Run(order) = intake::examine(world, None, Place::Unrouted, delivery).await? else { return Ok(()) };
    begun.note(&order);
    let session = &order.verified.session;
    if order.any {
        return unrouted_campaign(world, &order, begun).await;
    }
    let known = world.database.session(session.as_str()).await?;
    let rejection = match known {
        None => Some(Rejection::UnknownSession),
        Some(known) if known.workspace_id != order.verified.workspace.get() => Some(Rejection::ForeignScope),
        // The lane is the last word of the routing key; any other key leads nowhere.
        Some(_)
            if !Lane::ALL
                .iter()
                .any(|lane| order.delivery.routing_key.as_str() == topology::lane_key(session, *lane)) =>
        {
            Some(Rejection::Misrouted)
        }
        Some(_) => None,
    };
    if let Some(rejection) = rejection {
        let sink = EventSink::of_bystander(world.clone(), order.verified.workspace, session.clone());
        // The ledger row stays open: once the session exists, the dead letter can be replayed.
        return intake::refuse(world, Some(&sink), &order.delivery, Some(&order.verified), &rejection).await;
    }
    let link = world.link.connection();
    if let Some(connection) = link
        && let Err(error) = ensure(&connection, &topology::session(session)).await
    {
        tracing::warn!(error = %chain(&error), "the session's queues could not be declared; the command comes back");
    }
    let key = order.delivery.routing_key.as_str().to_owned();
    begun.put_back(world).await;
    intake::forward(world, &order.delivery, key).await
}

/// A message for a workspace without a campaign queue: declare it if the workspace has sessions, else nobody will read it.
async fn unrouted_campaign(world: &World, order: &Order, begun: &Begun) -> Result<(), IntakeError> {
    let workspace = order.verified.workspace;
    let key = topology::campaign_key(workspace);
    let rejection = if order.delivery.routing_key.as_str() != key {
        Some(Rejection::Misrouted)
    } else if !world.database.has_sessions(workspace.get()).await? {
        Some(Rejection::UnknownSession)
    } else {
        None
    };
    if let Some(rejection) = rejection {
        return intake::refuse(world, None, &order.delivery, Some(&order.verified), &rejection).await;
    }
    if let Some(connection) = world.link.connection()
        && let Err(error) = ensure(&connection, &topology::workspace(workspace)).await
    {
        tracing::warn!(error = %chain(&error), "the campaign queue could not be declared; the command comes back");
    }
    begun.put_back(world).await;
    intake::forward(world, &order.delivery, key).await
}

/// `session.*` commands are cheap to sign and costly to serve: each key has so many a minute. The rest waits, it is not lost.
async fn over_the_rate(world: &World, order: &Order) -> Option<Outcome> {
    let limit = world.config.control_per_minute;
    let budget = format!("control:{}", order.record.key_id);
    match world.leases.spend(&budget, limit, RATE_WINDOW).await {
        Ok(spent) if !spent.granted => {
            // Whole seconds: asked again a moment later, the same window ends at the same time.
            let frees_ms = world.clock.unix_ms() + u64::try_from(spent.frees_in.as_millis()).unwrap_or(0);
            let until = Timestamp::from_unix_secs(frees_ms.div_ceil(1000));
            let error = CommandError::new(
                ErrorCode::RateLimited,
                format!("this key has used up its {limit} session commands of this minute"),
            );
            Some(Outcome::Deferred(error, until))
        }
        Ok(_) => None,
        Err(error) => {
            // The limit protects the fleet; without Redis nothing is claimed anyway, and an answer is worth more.
            tracing::warn!(error = %chain(&error), "the rate of control commands cannot be counted");
            None
        }
    }
}

async fn audit(world: &World, order: &Order, action: &str) -> Result<(), IntakeError> {
    world
        .database
        .audit(&Audit {
            workspace_id: Some(order.record.workspace_id),
            session_id: Some(&order.record.session_id),
            command_id: Some(&order.record.command_id),
            actor: format!("key:{}", order.record.key_id),
            action,
            reason: "command",
            detail: serde_json::json!({}),
        })
        .await?;
    Ok(())
}

/// How a session stands, with what it has sent and may send. Without Redis, what it has sent is not known and not told.
async fn stands_with_budget(world: &World, row: &SessionRow) -> Result<ResultData, IntakeError> {
    let known = world.database.acquaintance(&row.session_id, None).await?;
    let limits = world.config.limits.with(&known.limits);
    let budget = match budget::spent(&world.leases, &row.session_id).await {
        Ok(spent) => Some(spent.standing(&limits, known.linked_for_secs, world.clock.unix_ms())),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "what the session has sent is not known");
            None
        }
    };
    Ok(match stands(row) {
        ResultData::Session(session) => ResultData::Session(SessionStatusChanged { budget, ..session }),
        other => other,
    })
}

/// How a session stands, from its row.
fn stands(row: &SessionRow) -> ResultData {
    let status = row.status.parse().unwrap_or(SessionStatus::Initializing);
    let cause = row
        .cause
        .as_ref()
        .and_then(|cause| serde_json::from_value(cause.as_str().into()).ok())
        .unwrap_or(Cause::Command);
    ResultData::Session(SessionStatusChanged {
        status,
        previous: None,
        since: Timestamp::from_unix_ms(u64::try_from(row.status_since).unwrap_or(0)),
        cause,
        attempt: row.attempt,
        health: Health {
            score: connection_score(status, row.attempt),
            degraded: row.attempt > 0,
            restricted: None,
            moving: cause == Cause::Released,
            parts: None,
        },
        phone: row.phone.as_deref().filter(|_| status == SessionStatus::Connected).map(Into::into),
        lid: None,
        name: None,
        budget: None,
        calls: Some(row.calls),
    })
}
