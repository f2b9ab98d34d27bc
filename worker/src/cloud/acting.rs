//! What a Cloud API number does besides sending: reacting, marking as read, showing that somebody types.
//!
//! Meta names messages by their ids alone and chats not at all, so each of these needs a message that came in within the 24
//! hours in which a number may answer. Each of them may be done twice.

use wafleet_cloud::fault::{Fault, Verdict};
use wafleet_cloud::message::{Body, Outgoing};
use wafleet_protocol::command::{Action, React};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::CommandError;
use wafleet_protocol::id::ChatId;

use super::Caller;
use super::sending::Way;
use crate::lease::RedisError;
use crate::logging::chain;
use crate::settle::Outcome;

impl Way<'_> {
    /// Does what is asked for, as far as Meta can.
    pub(crate) async fn act(&self, action: &Action, command_id: &str) -> Outcome {
        let done = match action {
            Action::React(reaction) => self.react(reaction, command_id).await,
            Action::Seen(seen) => self.mark_read(&seen.chat, false).await,
            // It ends by itself, after 25 seconds or with the next message.
            Action::Typing(typing) if typing.typing => self.mark_read(&typing.chat, true).await,
            Action::Typing(_) => Ok(()),
            _ => {
                let why = "only a session with a browser can do this: Meta's Cloud API has nothing like it";
                Err(failed(ErrorCode::ProviderUnavailable, why))
            }
        };
        done.map_or_else(|outcome| outcome, |()| Outcome::Succeeded(None))
    }

    async fn react(&self, reaction: &React, command_id: &str) -> Result<(), Outcome> {
        let (number, message_id) = (self.number.number_id.as_str(), reaction.message.as_str());
        let writer = self.world.cloud.limits.writer_of(number, message_id).await.map_err(|error| unknown(&error))?;
        let why = "no message of this id came in within the last 24 hours";
        let phone = writer.ok_or_else(|| failed(ErrorCode::MessageNotFound, why))?;
        let emoji = reaction.emoji.as_ref().map_or("", |emoji| emoji.as_str()).to_owned();
        let body = Body::Reaction { message_id: message_id.to_owned(), emoji };
        let caller = self.caller().map_err(|outcome| *outcome)?;
        let outgoing = Outgoing::new(&phone, body, command_id);
        let answer = self.world.cloud.graph.send(&caller.token, &caller.number, &outgoing).await;
        answer.map(drop).map_err(|fault| faulted(&fault))
    }

    /// Marks the newest message of a chat, and so all before it.
    async fn mark_read(&self, chat: &ChatId, typing: bool) -> Result<(), Outcome> {
        let why = "the Cloud API reaches phone numbers only";
        let phone = chat.phone().ok_or_else(|| failed(ErrorCode::ProviderUnavailable, why))?;
        let number = self.number.number_id.as_str();
        let last = self.world.cloud.limits.last_of(number, phone.as_str()).await.map_err(|error| unknown(&error))?;
        let why = "nothing came in from this number within the last 24 hours";
        let id = last.ok_or_else(|| failed(ErrorCode::MessageNotFound, why))?;
        let caller = self.caller().map_err(|outcome| *outcome)?;
        let answer = self.world.cloud.graph.mark_read(&caller.token, &caller.number, &id, typing).await;
        answer.map_err(|fault| faulted(&fault))
    }

    /// Asked last, right before Meta is.
    fn caller(&self) -> Result<Caller, Box<Outcome>> {
        let caller = self.world.cloud.caller(self.number).map_err(|error| {
            tracing::error!(error = %chain(&error), "the token of a Cloud API number cannot be used");
            let error = CommandError::new(ErrorCode::DependencyUnavailable, "the number's token cannot be read");
            Box::new(Outcome::Retry(error))
        })?;
        self.lease.prove().map_err(|_| Box::new(Outcome::Wait))?; // another owner does it
        Ok(caller)
    }
}

/// Whatever became of it: a second time does no more than the first.
fn faulted(fault: &Fault) -> Outcome {
    tracing::warn!(provider_code = fault.code, trace = fault.trace, "{fault}");
    let refused = matches!(fault.verdict, Verdict::Failed(_));
    let code = if refused { ErrorCode::NotAllowed } else { ErrorCode::DependencyUnavailable };
    let error = CommandError::new(code, fault.what);
    let error = match &fault.code {
        Some(provider_code) => error.with_provider_code(provider_code),
        None => error,
    };
    if refused { Outcome::Failed(error) } else { Outcome::Retry(error) }
}

fn failed(code: ErrorCode, why: &str) -> Outcome {
    Outcome::Failed(CommandError::new(code, why))
}

fn unknown(error: &RedisError) -> Outcome {
    tracing::warn!(error = %chain(error), "it is unknown what came in at a Cloud API number");
    Outcome::Retry(CommandError::new(ErrorCode::DependencyUnavailable, "what came in is not known just now"))
}
