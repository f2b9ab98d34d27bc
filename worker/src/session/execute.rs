//! One command of a session, from its delivery to its settlement.

use std::sync::Arc;

use lapin::message::Delivery;
use wafleet_browser::{CallError, Page};
use wafleet_protocol::command::{Command, SessionLinkCode};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{CommandError, ResultData, SessionStatus, SessionStatusChanged};
use wafleet_protocol::id::{PhoneNumber, SessionId, WorkspaceId};

use super::hearing::session_code;
use super::sending;
use crate::events::EventSink;
use crate::intake::{self, Examined, IntakeError, Order, Place};
use crate::lease::Lease;
use crate::logging::chain;
use crate::settle::{Outcome, settle};
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
    pub(super) status: SessionStatusChanged,
    pub(super) urgent: bool,
}

/// What the actor does next.
pub(super) struct Done {
    pub(super) urgent: bool,
    pub(super) follow: Follow,
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
    /// Codes that the page renews by itself are for this phone.
    PairingPhone(PhoneNumber),
}

impl Job {
    pub(super) async fn run(self, delivery: Delivery) -> Done {
        let follow = match self.try_run(delivery).await {
            Ok(follow) => follow,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "a command waits in its queue");
                Follow::ReopenLane
            }
        };
        Done { urgent: self.urgent, follow }
    }

    async fn try_run(&self, delivery: Delivery) -> Result<Follow, IntakeError> {
        let place = Place::Lane(self.workspace, &self.session);
        let mut order = match intake::examine(&self.world, Some(&self.sink), place, delivery).await? {
            Examined::Run(order) => *order,
            Examined::Settled => return Ok(Follow::Nothing),
        };
        let (outcome, follow) = match order.command.clone() {
            Command::MessageSend(message) => match &self.page {
                Some(page) if self.online && order.late => {
                    (sending::look_up(page, &order, &message).await, Follow::Nothing)
                }
                Some(page) if self.online => {
                    (sending::send(&self.world, &self.lease, page, &mut order, &message).await?, Follow::Nothing)
                }
                // On a paced lane the message keeps its place; the urgent lane must stay open for control.
                _ if !self.urgent => return Ok(Follow::ReopenLane),
                _ => (Outcome::Wait, Follow::Nothing),
            },
            Command::SessionLinkCode(wanted) => self.link_code(wanted).await,
            // Nothing is linked; the codes stop.
            Command::SessionLogout if self.linking => (self.logged_out(), Follow::LoggedOut),
            Command::SessionLogout if self.online => return Ok(Follow::Unlink(Box::new(order))),
            // Saying goodbye to WhatsApp needs the connection.
            Command::SessionLogout => (Outcome::Wait, Follow::Nothing),
            Command::SessionStart(_) | Command::SessionStatus | Command::SessionStop => {
                unreachable!("the intake lets these through on the control queue only")
            }
        };
        if matches!(outcome, Outcome::Wait) && !self.urgent {
            return Ok(Follow::ReopenLane);
        }
        settle(&self.world, &self.sink, self.lease.fence(), &order, outcome).await?;
        Ok(follow)
    }

    async fn link_code(&self, wanted: SessionLinkCode) -> (Outcome, Follow) {
        let Some(page) = self.page.as_ref().filter(|_| self.linking) else {
            return (not_linking(self.status.status), Follow::Nothing);
        };
        match page.link_code(wanted.phone.as_str()).await {
            Ok(code) => {
                let told = session_code(&code, &wanted.phone, None);
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
        }
        Done { urgent: self.urgent, follow }
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
