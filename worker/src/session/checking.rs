//! An action, and the look-up of a contact among them: WhatsApp is asked only about whom nothing young enough is known.

use std::time::Duration;

use wafleet_browser::Page;
use wafleet_protocol::command::{Action, Check};
use wafleet_protocol::event::ResultData;
use wafleet_protocol::id::ChatKind;

use super::execute::Job;
use super::{acting, telling};
use crate::intake::{IntakeError, Order};
use crate::logging::chain;
use crate::settle::Outcome;

impl Job {
    /// Does what the command asks for.
    ///
    /// # Errors
    /// [`IntakeError`]: the delivery is still unacknowledged.
    pub(super) async fn act(&self, page: &Page, order: &mut Order, action: &Action) -> Result<Outcome, IntakeError> {
        match action {
            Action::Check(wanted) => self.check(page, order, action, wanted).await,
            Action::GroupPicture(wanted) => Ok(self.picture(page, action, wanted).await),
            action if action.happens_once() => acting::act_once(&self.world, &self.lease, page, order, action).await,
            action => Ok(acting::act(&self.lease, page, action).await),
        }
    }

    async fn check(&self, page: &Page, order: &Order, action: &Action, wanted: &Check) -> Result<Outcome, IntakeError> {
        let contact = wanted.contact.to_string();
        match self.world.checked.find(self.workspace, &contact, Duration::from_secs(wanted.max_age)).await {
            Ok(Some(known)) => {
                self.world.counters.count("contacts.checked", "remembered");
                return Ok(Outcome::Succeeded(Some(ResultData::Contact(known))));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(error = %chain(&error), "what was said of a contact cannot be read; WhatsApp is asked");
            }
        }
        if wanted.contact.kind() == ChatKind::Contact
            && let Err(outcome) = self.look_up_allowed().await
        {
            return Ok(outcome);
        }
        let outcome = acting::act(&self.lease, page, action).await;
        let Outcome::Succeeded(Some(ResultData::Contact(found))) = &outcome else { return Ok(outcome) };
        self.world.counters.count("contacts.checked", "asked");
        if let Err(error) = self.world.checked.remember(self.workspace, &contact, found).await {
            tracing::warn!(error = %chain(&error), "what was said of a contact is not remembered");
        }
        if let (Some(phone), Some(lid)) = (&found.phone, &found.lid) {
            let (id, event) = telling::mapping(&self.session, phone.as_str(), lid.as_str());
            self.sink.emit(id, event, order.correlation())?.wait().await?;
        }
        Ok(outcome)
    }
}
