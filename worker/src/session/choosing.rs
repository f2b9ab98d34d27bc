//! A message that may go from any session of its workspace, and which of them it goes from.
//!
//! The session is recorded before anything is sent, because the WhatsApp message id follows from it, and whoever meets the
//! message again goes by the record:
//!
//! ```text
//! nobody's ──▶ the contact has a session ──▶ its lane
//!         └──▶ it has none: ours, once the budget is taken
//! ours     ──▶ goes on
//! another's ─▶ its lane; ours, if that session does not run and has not begun
//! ```

use wafleet_protocol::command::{Command, MessageSend};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::CommandError;
use wafleet_protocol::id::SessionId;
use wafleet_protocol::lane::Lane;
use wafleet_protocol::timestamp::Timestamp;
use wafleet_protocol::topology;

use super::execute::Job;
use crate::database::ContactKey;
use crate::intake::{self, Begun, IntakeError, Order};
use crate::settle::{Outcome, settle};

/// How often the record is looked at again after somebody else was faster.
const LOOKS: u32 = 5;
/// How soon a message is looked at again whose session has begun it and does not run.
const STRANDED_LOOK_SECS: u64 = 600;

/// What becomes of a message that may go from any session.
pub(super) enum Chosen {
    /// It goes from this session.
    Here,
    /// It was passed on or put aside.
    Elsewhere,
}

impl Job {
    /// Whether a message may go from any session and none has been chosen.
    ///
    /// # Errors
    /// [`IntakeError`]: the delivery is still unacknowledged.
    pub(super) async fn is_nobodys(&self, order: &Order) -> Result<bool, IntakeError> {
        Ok(order.any && self.world.database.choice(&order.record).await?.session.is_none())
    }

    /// Looks which session a message goes from, before its budget is taken.
    ///
    /// # Errors
    /// [`IntakeError`]: the delivery is still unacknowledged.
    pub(super) async fn choose_session(&self, order: &mut Order, begun: &Begun) -> Result<Chosen, IntakeError> {
        let Some(contact) = self.contact(order) else { return Ok(Chosen::Here) };
        for _ in 0..LOOKS {
            let choice = self.world.database.choice(&order.record).await?;
            match choice.session {
                None => {
                    let owner = self.world.database.session_of(self.workspace, &contact).await?;
                    let Some(owner) = owner.filter(|owner| owner != self.session.as_str()) else {
                        return Ok(Chosen::Here);
                    };
                    if self.world.database.choose(&order.record, SessionId::RESERVED, &owner).await? {
                        return self.pass_on(order, begun, &owner).await;
                    }
                }
                Some(session) if session == self.session.as_str() => {
                    self.take(order);
                    return Ok(Chosen::Here);
                }
                Some(session) if choice.runs => return self.pass_on(order, begun, &session).await,
                Some(session) if !choice.begun => {
                    if self.world.database.choose(&order.record, &session, self.session.as_str()).await? {
                        self.take(order);
                        return Ok(Chosen::Here);
                    }
                }
                Some(_) => {
                    let message = "the session that began to send the message does not run, and only that one knows whether it went out";
                    if order.late {
                        let error = CommandError::new(ErrorCode::Interrupted, message);
                        settle(&self.world, &self.sink, choice.fence, order, Outcome::Retry(error)).await?;
                    } else {
                        let error = CommandError::new(ErrorCode::SessionNotReady, message);
                        let until = Timestamp::from_unix_secs(self.world.clock.unix_secs() + STRANDED_LOOK_SECS);
                        let outcome = Outcome::Deferred(error, until);
                        settle(&self.world, &self.sink, choice.fence, order, outcome).await?;
                    }
                    return Ok(Chosen::Elsewhere);
                }
            }
        }
        Err(IntakeError::Contended)
    }

    /// Records that the message goes from this session; false: it does not, and was passed on.
    ///
    /// # Errors
    /// [`IntakeError`]: nothing may be sent, and the delivery is still unacknowledged.
    pub(super) async fn claim(&self, order: &mut Order, begun: &Begun) -> Result<bool, IntakeError> {
        if order.record.session_id != SessionId::RESERVED {
            return Ok(true);
        }
        let Some(contact) = self.contact(order) else { return Ok(true) };
        // Two messages to one new contact, taken by two sessions at once: the first to say so has the contact.
        let owner = self.world.database.bind_contact(self.workspace, &contact, self.session.as_str()).await?;
        if !self.world.database.choose(&order.record, SessionId::RESERVED, &owner).await? {
            return Err(IntakeError::Contended); // it comes back, and the record says whose it is
        }
        if owner == self.session.as_str() {
            self.take(order);
            return Ok(true);
        }
        self.pass_on(order, begun, &owner).await?;
        Ok(false)
    }

    fn contact(&self, order: &Order) -> Option<ContactKey> {
        match &order.command {
            Command::MessageSend(MessageSend { to, .. }) if order.any => {
                Some(ContactKey::new(self.workspace, to.as_str()))
            }
            _ => None,
        }
    }

    /// From here on the message is as if it had been sent to this session.
    fn take(&self, order: &mut Order) {
        order.record.session_id = self.session.to_string();
        order.verified.session = self.session.clone();
    }

    async fn pass_on(&self, order: &Order, begun: &Begun, session: &str) -> Result<Chosen, IntakeError> {
        let Ok(session) = session.parse::<SessionId>() else { return Err(IntakeError::Contended) };
        self.sink.prove()?;
        begun.put_back(&self.world).await; // before the other one can see it
        self.world.counters.count("messages.passed_on", "contact");
        intake::forward(&self.world, &order.delivery, topology::lane_key(&session, Lane::Campaign)).await?;
        Ok(Chosen::Elsewhere)
    }
}
