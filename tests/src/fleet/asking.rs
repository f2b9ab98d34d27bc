//! What tests ask again and again: what became of a command, and where a session stands.

use std::time::Duration;

use anyhow::{Context, bail};
use wafleet_protocol::command::Command;
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{
    CommandResult, Envelope, Event, Outcome, ResultData, SessionStatus, SessionStatusChanged,
};
use wafleet_protocol::id::CommandId;

use super::{Host, PATIENCE, Target};

/// A command that is put off comes back after some seconds, and every one needs its turn on a busy machine.
const RESULT_PATIENCE: Duration = Duration::from_secs(120);

impl Host {
    /// Waits for the final result of a command, its envelope around it.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn final_envelope(&self, mark: usize, id: &CommandId) -> anyhow::Result<Envelope> {
        let find = |envelope: &Envelope| match &envelope.event {
            Event::CommandResult(result) if result.command_id == *id && result.outcome != Outcome::Deferred => {
                Some(envelope.clone())
            }
            _ => None,
        };
        self.events().wait_from(mark, &format!("final result of {id}"), RESULT_PATIENCE, find).await
    }

    /// Waits for the final result of a command.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn final_result(&self, id: &CommandId) -> anyhow::Result<CommandResult> {
        match self.final_envelope(0, id).await?.event {
            Event::CommandResult(result) => Ok(result),
            other => bail!("{other:?}"),
        }
    }

    /// Sends a command on the normal lane and waits for its final result.
    ///
    /// # Errors
    /// When no queue takes it or there is no result in time.
    pub async fn ask(&self, target: &Target, command: &Command) -> anyhow::Result<CommandResult> {
        let id = self.send(target, command).await?;
        self.final_result(&id).await
    }

    /// Waits until a session is said to have a status, among the events after the first `mark`.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn wait_for_status(
        &self,
        mark: usize,
        target: &Target,
        status: SessionStatus,
    ) -> anyhow::Result<(Envelope, SessionStatusChanged)> {
        let find = |envelope: &Envelope| match &envelope.event {
            Event::SessionStatus(told) if told.status == status && envelope.session_id == target.session => {
                Some((envelope.clone(), told.clone()))
            }
            _ => None,
        };
        let what = format!("status {status} of {}", target.session);
        self.events().wait_from(mark, &what, 2 * PATIENCE, find).await
    }

    /// Every status a session was said to have after the first `mark` events, in order.
    pub fn statuses(&self, mark: usize, target: &Target) -> Vec<SessionStatusChanged> {
        let told = |envelope: Envelope| match envelope.event {
            Event::SessionStatus(told) if envelope.session_id == target.session => Some(told),
            _ => None,
        };
        self.events().entries().into_iter().skip(mark).filter_map(|entry| told(entry.envelope)).collect()
    }
}

/// How a session stands, out of the result of a command that says so.
///
/// # Errors
/// When the command did not succeed or says something else.
pub fn standing(result: &CommandResult) -> anyhow::Result<&SessionStatusChanged> {
    match (&result.outcome, &result.data) {
        (Outcome::Succeeded, Some(ResultData::Session(told))) => Ok(told),
        _ => bail!("{result:?}"),
    }
}

/// Why a command failed.
///
/// # Errors
/// When it did not fail.
pub fn failure(result: &CommandResult) -> anyhow::Result<ErrorCode> {
    let error = result.error.as_ref().filter(|_| result.outcome == Outcome::Failed);
    Ok(error.with_context(|| format!("{result:?}"))?.code)
}
