//! One command of a session, from its delivery to its settlement.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use lapin::message::Delivery;
use serde_json::json;
use wafleet_browser::{CallError, Page};
use wafleet_protocol::command::{Command, SessionLinkCode, SessionMove, SessionPasskeyAnswer, SessionSync};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{CommandError, ResultData, SessionStatus, SessionStatusChanged};
use wafleet_protocol::id::{PhoneNumber, SessionId, WorkspaceId};
use wafleet_protocol::metadata::Metadata;
use wafleet_protocol::provider::Provider;

use super::acting;
use super::choosing::Chosen;
use super::hearing::session_code;
use super::lanes::Tier;
use super::pace::Pace;
use super::provider::Sending;
use super::syncing;
use super::typing::Typist;
use crate::campaign;
use crate::cloud::webhook;
use crate::database::NewSync;
use crate::events::EventSink;
use crate::intake::{self, Begun, Examined, IntakeError, Order, Place};
use crate::lease::Lease;
use crate::logging::chain;
use crate::settle::{Outcome, settle};
use crate::spread;
use crate::world::World;

/// Everything that executing one command needs.
pub(super) struct Job {
    pub(super) world: World,
    pub(super) sink: Arc<EventSink>,
    pub(super) lease: Lease,
    pub(super) workspace: WorkspaceId,
    pub(super) session: SessionId,
    pub(super) page: Option<Page>,
    pub(super) online: bool,
    pub(super) linking: bool,
    /// Whether the session has a browser at all.
    pub(super) browser: bool,
    /// How long the browser has not been able to send.
    pub(super) away: Duration,
    pub(super) status: SessionStatusChanged,
    pub(super) tier: Tier,
    pub(super) pace: Pace,
    pub(super) typist: Typist,
}

/// What the actor does next.
pub(super) struct Done {
    pub(super) tier: Tier,
    pub(super) follow: Follow,
    pub(super) pace: Pace,
}

pub(super) enum Follow {
    Nothing,
    /// The device is to be unlinked. The actor learns of it first, because it shows in the page before it is answered.
    Unlink(Box<Order>),
    /// The device could not be unlinked.
    StillLinked,
    /// The device is unlinked.
    LoggedOut,
    /// The delivery could not be settled; it goes back with its channel.
    ReopenLane,
    /// Nothing of this tier may be sent before this moment, in unix milliseconds; the delivery goes back with its channel.
    Park {
        until: u64,
    },
    /// The session is to be released for this worker, and the command goes with it.
    Leave {
        to: String,
    },
    /// Codes that the page renews by itself are for this phone.
    PairingPhone(PhoneNumber),
    /// A sync has begun.
    Sync,
}

impl Job {
    pub(super) async fn run(self, delivery: Delivery) -> Done {
        let begun = Begun::default();
        let follow = match AssertUnwindSafe(self.try_run(delivery, &begun)).catch_unwind().await {
            Ok(Ok(follow)) => follow,
            Ok(Err(error)) => {
                tracing::warn!(error = %chain(&error), "a command waits in its queue");
                self.give_up().await;
                Follow::ReopenLane
            }
            // The browser has nothing to do with it, and neither have the other commands.
            Err(_) => {
                begun.crashed(&self.world).await;
                Follow::ReopenLane
            }
        };
        if matches!(follow, Follow::ReopenLane | Follow::Park { .. } | Follow::Leave { .. }) {
            begun.put_back(&self.world).await;
        }
        Done { tier: self.tier, follow, pace: self.pace }
    }

    async fn try_run(&self, delivery: Delivery, begun: &Begun) -> Result<Follow, IntakeError> {
        let place = Place::Lane(self.workspace, &self.session);
        let mut order = match intake::examine(&self.world, Some(&self.sink), place, delivery).await? {
            Examined::Run(order) => *order,
            Examined::Settled => return Ok(Follow::Nothing),
        };
        begun.note(&order);
        let screened = campaign::screen(&self.world, &order, self.tier == Tier::Campaign).await?;
        if let Some(outcome @ Outcome::Deferred(..)) = screened {
            // It need not be anybody's for that.
            settle(&self.world, &self.sink, self.lease.fence(), &order, outcome).await?;
            return Ok(Follow::Nothing);
        }
        // An end is for the session to write that has the message; what is nobody's yet need not become somebody's for that.
        let ends_here = screened.is_some() && self.is_nobodys(&order).await?;
        if !ends_here && let Chosen::Elsewhere = self.choose_session(&mut order, begun).await? {
            return Ok(Follow::Nothing);
        }
        if let Some(outcome) = screened {
            settle(&self.world, &self.sink, self.lease.fence(), &order, outcome).await?;
            return Ok(Follow::Nothing);
        }
        let command = match order.command.clone() {
            Command::StatusPost(post) => Command::MessageSend(post.into()),
            command => command,
        };
        let (outcome, follow) = match command {
            Command::MessageSend(message) => match self.send(&mut order, &message, begun).await? {
                // On a paced lane the message keeps its place; the urgent lane must stay open for control.
                Sending::Ended(outcome) => (outcome, Follow::Nothing),
                Sending::PassedOn => return Ok(Follow::Nothing),
                Sending::Waits(follow) if self.tier != Tier::Urgent => return Ok(follow),
                Sending::Waits(_) => (Outcome::Wait, Follow::Nothing),
            },
            Command::CloudWebhook(webhook) => (
                webhook::take(&self.world, &self.sink, self.workspace, &self.session, &webhook).await?,
                Follow::Nothing,
            ),
            Command::SessionSync(_) if !self.browser => {
                let why = "a Cloud API number has no past to tell: Meta keeps none";
                (Outcome::Failed(CommandError::new(ErrorCode::ProviderUnavailable, why)), Follow::Nothing)
            }
            Command::SessionSync(wanted) => self.sync(&order, wanted).await?,
            Command::SessionLinkCode(_) | Command::SessionPasskeyAnswer(_) | Command::SessionLogout
                if !self.browser =>
            {
                let why = "a Cloud API number is not linked to a phone: stop the session, or take its number away";
                (Outcome::Failed(CommandError::new(ErrorCode::ProviderUnavailable, why)), Follow::Nothing)
            }
            Command::Action(action) if order.late && action.happens_once() => (acting::cut_short(), Follow::Nothing),
            Command::Action(_) if order.late => {
                let error = CommandError::new(ErrorCode::Expired, "the command expired before it was carried out");
                (Outcome::Failed(error), Follow::Nothing)
            }
            Command::Action(action) if !self.browser => {
                order.provider = Some(Provider::Cloud);
                (self.act_by_cloud(&order, &action).await?, Follow::Nothing)
            }
            Command::Action(action) => match &self.page {
                Some(page) if self.online => (self.act(page, &mut order, &action).await?, Follow::Nothing),
                // While a Cloud API number helps out, this must not hold up what the number can send.
                _ if self.tier != Tier::Urgent => (Outcome::Aside, Follow::Nothing),
                _ => (Outcome::Wait, Follow::Nothing),
            },
            Command::SessionLinkCode(wanted) => self.link_code(wanted).await,
            Command::SessionPasskeyAnswer(answer) => self.passkey(&answer).await,
            Command::SessionMove(_) if order.attempted => (self.moved(&order).await?, Follow::Nothing),
            Command::SessionMove(wanted) => match self.taker(&wanted).await {
                Ok(to) => return self.leave(&order, to).await,
                Err(outcome) => (outcome, Follow::Nothing),
            },
            // Nothing is linked; the codes stop.
            Command::SessionLogout if self.linking => (self.logged_out(), Follow::LoggedOut),
            Command::SessionLogout if self.online => return Ok(Follow::Unlink(Box::new(order))),
            // Saying goodbye to WhatsApp needs the connection.
            Command::SessionLogout => (Outcome::Wait, Follow::Nothing),
            Command::StatusPost(_) => unreachable!("a story is sent as a message"),
            Command::SessionStart(_)
            | Command::SessionStatus
            | Command::SessionStop
            | Command::SessionProvider(_)
            | Command::SessionLimits(_)
            | Command::SessionSettings(_)
            | Command::CampaignPause(_)
            | Command::CampaignResume(_)
            | Command::CampaignCancel(_)
            | Command::CampaignStatus(_)
            | Command::OptOutAdd(_)
            | Command::OptOutRemove(_) => {
                unreachable!("the intake lets these through on the control queue only")
            }
        };
        if matches!(outcome, Outcome::Wait) && self.tier != Tier::Urgent {
            return Ok(Follow::ReopenLane);
        }
        settle(&self.world, &self.sink, self.lease.fence(), &order, outcome).await?;
        Ok(follow)
    }

    /// The worker that a session moves to.
    async fn taker(&self, wanted: &SessionMove) -> Result<String, Outcome> {
        let failed = |code, message: String| Outcome::Failed(CommandError::new(code, message));
        let members = match self.world.leases.roster().await {
            Ok(members) => members,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "a session cannot move while the other workers are not known");
                let error =
                    CommandError::new(ErrorCode::DependencyUnavailable, "the other workers are not known just now");
                return Err(Outcome::Retry(error));
            }
        };
        let me = self.world.config.worker_id.as_str();
        let refusal = match &wanted.to {
            Some(to) if to.as_str() == me => failed(ErrorCode::AlreadyThere, format!("the session is on {me} already")),
            Some(to) => match members.iter().find(|member| member.id == to.as_str()) {
                None => {
                    let ids: Vec<&str> = members.iter().map(|member| member.id.as_str()).collect();
                    failed(ErrorCode::UnknownWorker, format!("there is no worker {to}; there is {}", ids.join(", ")))
                }
                Some(member) if member.load >= member.capacity => {
                    failed(ErrorCode::WorkerFull, format!("{to} owns {} of {} sessions", member.load, member.capacity))
                }
                Some(member) => return Ok(member.id.clone()),
            },
            None => match spread::roomiest(&members, me) {
                Some(member) => return Ok(member.id.clone()),
                None if members.iter().all(|member| member.id == me) => {
                    failed(ErrorCode::UnknownWorker, "there is no other worker".to_owned())
                }
                None => failed(ErrorCode::WorkerFull, "every other worker owns as many sessions as it can".to_owned()),
            },
        };
        Err(refusal)
    }

    /// Leaves with the session: whoever has it next finds the command in the lane, and answers it.
    async fn leave(&self, order: &Order, to: String) -> Result<Follow, IntakeError> {
        if !self.world.database.begin_attempt(&order.record, self.lease.fence(), &to).await? {
            return Ok(Follow::ReopenLane); // a newer owner answers it
        }
        self.world.counters.count("sessions.moved", "command");
        Ok(Follow::Leave { to })
    }

    /// The session has changed hands since the command was begun.
    async fn moved(&self, order: &Order) -> Result<Outcome, IntakeError> {
        let (to, me) = (self.world.database.attempt_of(&order.record).await?, self.world.config.worker_id.as_str());
        Ok(match to {
            Some(to) if to == me => Outcome::Succeeded(Some(ResultData::Session(self.status.clone()))),
            to => {
                let to = to.as_deref().unwrap_or("nobody");
                let message = format!("the session was released for {to}, which did not take it; {me} has it");
                Outcome::Failed(CommandError::new(ErrorCode::NotTaken, message))
            }
        })
    }

    /// Begins a sync, in the place of one that goes on.
    async fn sync(&self, order: &Order, wanted: SessionSync) -> Result<(Outcome, Follow), IntakeError> {
        let (database, session) = (&self.world.database, self.session.as_str());
        let sync_id = order.record.command_id.as_str();
        if let Some(running) = database.running_sync(session).await?.filter(|running| running.sync_id != sync_id) {
            syncing::superseded(&self.sink, &self.session, &running).await?;
        }
        let new = NewSync {
            workspace_id: self.workspace.get(),
            session_id: session,
            sync_id,
            by_command: true,
            metadata: order.metadata.as_ref().map(Metadata::as_str),
            wanted,
        };
        let begun = database.begin_sync(&new, self.lease.fence()).await?;
        Ok(if begun { (Outcome::Succeeded(None), Follow::Sync) } else { (Outcome::Wait, Follow::Nothing) })
    }

    async fn link_code(&self, wanted: SessionLinkCode) -> (Outcome, Follow) {
        let Some(page) = self.page.as_ref().filter(|_| self.linking) else {
            return (not_linking(self.status.status), Follow::Nothing);
        };
        match page.link_code(wanted.phone.as_str()).await {
            Ok(code) => {
                let told = session_code(&code, &wanted.phone, None, self.world.clock.unix_secs());
                (Outcome::Succeeded(Some(ResultData::Code(told))), Follow::PairingPhone(wanted.phone))
            }
            Err(CallError::Page { name, code, message }) => {
                let error = CommandError::new(ErrorCode::LinkRefused, message).with_provider_code(code.unwrap_or(name));
                (Outcome::Failed(error), Follow::Nothing)
            }
            Err(error) => {
                (Outcome::Retry(CommandError::new(ErrorCode::PageUnavailable, error.to_string())), Follow::Nothing)
            }
        }
    }

    async fn passkey(&self, answer: &SessionPasskeyAnswer) -> (Outcome, Follow) {
        let Some(page) = &self.page else { return (Outcome::Wait, Follow::Nothing) };
        let assertion = answer.assertion.as_ref().map(|assertion| json!(assertion));
        match page.answer_passkey(&answer.request_id, assertion.as_ref()).await {
            Ok(()) => (Outcome::Succeeded(None), Follow::Nothing), // what follows, the page tells
            Err(CallError::Page { name, code, message }) => {
                let error = CommandError::new(ErrorCode::PasskeyRefused, message);
                (Outcome::Failed(error.with_provider_code(code.unwrap_or(name))), Follow::Nothing)
            }
            Err(error) => {
                (Outcome::Retry(CommandError::new(ErrorCode::PageUnavailable, error.to_string())), Follow::Nothing)
            }
        }
    }

    /// The second half of a logout, after [`Follow::Unlink`].
    pub(super) async fn unlink(self, order: Order) -> Done {
        let answer = match &self.page {
            Some(page) => page.logout().await,
            None => Err(CallError::Gone),
        };
        let (outcome, follow) = match answer {
            Ok(()) => (self.logged_out(), Follow::LoggedOut),
            Err(error) => {
                let error = CommandError::new(ErrorCode::PageUnavailable, error.to_string());
                (Outcome::Retry(error), Follow::StillLinked)
            }
        };
        if let Err(error) = settle(&self.world, &self.sink, self.lease.fence(), &order, outcome).await {
            tracing::warn!(error = %chain(&error), "the end of a logout could not be told yet");
            let begun = Begun::default();
            begun.note(&order);
            begun.put_back(&self.world).await;
        }
        Done { tier: self.tier, follow, pace: self.pace }
    }

    fn logged_out(&self) -> Outcome {
        let status = SessionStatusChanged {
            status: SessionStatus::LoggedOut,
            previous: Some(self.status.status),
            cause: wafleet_protocol::event::Cause::Command,
            phone: None,
            lid: None,
            name: None,
            ..self.status.clone()
        };
        Outcome::Succeeded(Some(ResultData::Session(status)))
    }
}

fn not_linking(status: SessionStatus) -> Outcome {
    match status {
        SessionStatus::Connected | SessionStatus::Disconnected => Outcome::Failed(CommandError::new(
            ErrorCode::AlreadyLinked,
            "the session is linked already; log it out first",
        )),
        _ => Outcome::Wait, // it does not show codes yet
    }
}
