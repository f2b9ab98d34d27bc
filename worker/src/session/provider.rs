//! By whom a session's message goes, and what follows when that one refuses it.

use std::time::Duration;

use wafleet_protocol::command::{Action, Content, MessageSend};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::CommandError;
use wafleet_protocol::provider::{Provider, ProviderChoice};

use super::execute::{Follow, Job};
use super::pace::Gate;
use super::sending;
use crate::cloud::choice::{Choice, Number, Situation, Web, choose};
use crate::cloud::sending::Way;
use crate::cloud::{breaker_of_browser, breaker_of_number};
use crate::database::{Binding, Role};
use crate::intake::{Begun, IntakeError, Order};
use crate::settle::Outcome;

/// Codes of a send that the browser definitely did not make, and that says nothing of the recipient.
const REFUSALS: [ErrorCode; 2] = [ErrorCode::Incompatible, ErrorCode::MessageRefused];

/// How a message fared with whoever was to send it.
pub(super) enum Sending {
    Ended(Outcome),
    /// Nobody sends it now. On a paced lane it keeps its place.
    Waits(Follow),
    /// Another session of the workspace has it.
    PassedOn,
}

impl Job {
    /// Sends by whomever it has to be.
    ///
    /// # Errors
    /// [`IntakeError`]: the delivery is still unacknowledged.
    pub(super) async fn send(
        &self,
        order: &mut Order,
        message: &MessageSend,
        begun: &Begun,
    ) -> Result<Sending, IntakeError> {
        let (workspace, session) = (self.workspace.get(), self.session.as_str());
        let binding = self.world.database.cloud_binding(workspace, session).await?;
        let attempted_by =
            if order.attempted { Some(self.world.database.attempted_by(&order.record).await?) } else { None };
        let way = binding.as_ref().map(|binding| self.way(binding));
        let (wanted, web) = (message.route.provider.unwrap_or_default(), self.web());
        let chosen = binding.as_ref().map_or(ProviderChoice::Auto, |binding| binding.chosen);
        let number = match (&binding, &way) {
            (Some(binding), Some(way)) => {
                let own = binding.role == Role::Session;
                // The one try that an open breaker lets through is not for messages that go by the browser.
                let asked = wanted == ProviderChoice::Cloud || chosen == ProviderChoice::Cloud;
                let concerned = attempted_by.is_none() && (own || asked || web != Web::Online);
                Some(Number {
                    own,
                    after: binding.after_secs.map(|secs| Duration::from_secs(secs.into())),
                    open: concerned && way.is_open(message).await,
                    well: concerned && self.world.cloud.lets(&breaker_of_number(&binding.number.number_id)),
                })
            }
            _ => None,
        };
        let situation = Situation { wanted, chosen, begun: attempted_by, web, number };
        match (choose(situation), &way) {
            (Choice::Cloud, Some(_)) if !self.claim(order, begun).await? => Ok(Sending::PassedOn),
            (Choice::Cloud, Some(way)) => Ok(Sending::Ended(way.send(order, message).await?)),
            // The number was taken away after it had begun.
            (Choice::Cloud, None) => {
                order.provider = Some(Provider::Cloud);
                let why = "the send to Meta was cut short: the message may have gone out";
                Ok(Sending::Ended(Outcome::Unknown(CommandError::new(ErrorCode::Interrupted, why))))
            }
            (Choice::Web, way) => {
                let helper = way.as_ref().filter(|_| {
                    attempted_by.is_none()
                        && wanted == ProviderChoice::Auto
                        && chosen != ProviderChoice::Web
                        && binding.as_ref().is_some_and(|binding| binding.on_refusal)
                });
                self.by_browser(order, message, begun, helper).await
            }
            // What the number cannot carry, or the browser has begun, must not hold up what the number can.
            (Choice::Wait, _) if Self::is_helped(web, number) => Ok(Sending::Ended(Outcome::Aside)),
            (Choice::Wait, _) => Ok(Sending::Waits(Follow::ReopenLane)),
            (Choice::Never(why), _) => {
                Ok(Sending::Ended(Outcome::Failed(CommandError::new(ErrorCode::ProviderUnavailable, why))))
            }
        }
    }

    /// Does what a session without a browser is asked to do besides sending.
    ///
    /// # Errors
    /// [`IntakeError`]: the delivery is still unacknowledged.
    pub(super) async fn act_by_cloud(&self, order: &Order, action: &Action) -> Result<Outcome, IntakeError> {
        let binding = self.world.database.cloud_binding(self.workspace.get(), self.session.as_str()).await?;
        Ok(match &binding {
            Some(binding) => self.way(binding).act(action, &order.record.command_id).await,
            None => {
                let why = "the session has no Cloud API number any more";
                Outcome::Failed(CommandError::new(ErrorCode::ProviderUnavailable, why))
            }
        })
    }

    fn way<'a>(&'a self, binding: &'a Binding) -> Way<'a> {
        Way { world: &self.world, lease: &self.lease, sink: &self.sink, number: &binding.number }
    }

    /// Whether the browser has been away for so long that the number helps out.
    fn is_helped(web: Web, number: Option<Number>) -> bool {
        match (web, number.and_then(|number| number.after)) {
            (Web::Away(away), Some(after)) => away >= after,
            _ => false,
        }
    }

    fn web(&self) -> Web {
        match self.page {
            _ if !self.browser => Web::None,
            Some(_) if self.online => {
                if self.world.cloud.lets(&breaker_of_browser(self.session.as_str())) {
                    Web::Online
                } else {
                    Web::Failing
                }
            }
            _ => Web::Away(self.away),
        }
    }

    async fn by_browser(
        &self,
        order: &mut Order,
        message: &MessageSend,
        begun: &Begun,
        helper: Option<&Way<'_>>,
    ) -> Result<Sending, IntakeError> {
        order.provider = Some(Provider::Web);
        if matches!(message.content, Content::Buttons(_) | Content::List(_)) {
            let why = "WhatsApp shows buttons and lists reliably only when they come from a business number of the Cloud API; \
                       use a text or a poll";
            return Ok(Sending::Ended(Outcome::Failed(CommandError::new(ErrorCode::NotAllowed, why))));
        }
        let Some(page) = &self.page else { return Ok(Sending::Waits(Follow::ReopenLane)) };
        if order.late {
            return Ok(Sending::Ended(sending::look_up(page, order, message).await));
        }
        // A number's own limits are Meta's; the session's budgets are for what goes by its browser.
        match self.gate(order, page, message).await? {
            Gate::Open => {}
            Gate::Closed(follow) => return Ok(Sending::Waits(follow)),
            Gate::Ends(outcome) => return Ok(Sending::Ended(outcome)),
        }
        if !self.claim(order, begun).await? {
            self.give_up().await;
            return Ok(Sending::PassedOn);
        }
        if !self.type_first(page, message).await {
            return Ok(Sending::Waits(Follow::ReopenLane));
        }
        let outcome = sending::send(&self.world, &self.lease, page, order, message).await?;
        self.account(order, &outcome).await;
        let breaker = breaker_of_browser(self.session.as_str());
        match &outcome {
            Outcome::Retry(_) => self.world.cloud.failed(&breaker),
            Outcome::Succeeded(_) | Outcome::Failed(_) => self.world.cloud.succeeded(&breaker),
            _ => {}
        }
        match (&outcome, helper) {
            (Outcome::Failed(error), Some(helper))
                if REFUSALS.contains(&error.code)
                    && self.world.cloud.lets(&breaker_of_number(&helper.number.number_id))
                    && helper.is_open(message).await =>
            {
                tracing::info!(
                    command_id = order.record.command_id,
                    code = error.code.as_str(),
                    "the browser refused it for good; the session's Cloud API number tries"
                );
                self.world.counters.count("cloud.failovers", "refusal");
                self.world.database.nothing_went_out(&order.record, self.lease.fence()).await?;
                order.attempted = false;
                Ok(Sending::Ended(helper.send(order, message).await?))
            }
            _ => Ok(Sending::Ended(outcome)),
        }
    }
}
