//! One message, at most once: the WhatsApp message id is fixed by the command id, recorded before the send, and looked up
//! before it.

use std::time::Instant;

use wafleet_browser::{CallError, Page, Sent};
use wafleet_protocol::command::MessageSend;
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{Ack, CommandError, ResultData, SentMessage};
use wafleet_protocol::id::MessageId;
use wafleet_protocol::timestamp::Timestamp;

use crate::intake::{IntakeError, Order};
use crate::lease::Lease;
use crate::logging::chain;
use crate::media::{self, Fetched, PrivateFile};
use crate::settle::Outcome;
use crate::world::World;
use drafting::Attached;

mod drafting;

/// Sends, or finds out that it was sent.
///
/// # Errors
/// [`IntakeError`]: nothing was done, and the delivery is still unacknowledged.
pub(crate) async fn send(
    world: &World,
    lease: &Lease,
    page: &Page,
    order: &mut Order,
    message: &MessageSend,
) -> Result<Outcome, IntakeError> {
    let message_id = MessageId::for_command(&order.verified.message_id, &order.verified.session);
    // Before anything is recorded: a file that cannot be had is no message that may have gone out.
    let (attached, _file) = match attach(world, page, order, message, &message_id).await {
        Ok(None) => (None, None),
        Ok(Some((attached, file))) => (Some(attached), Some(file)),
        Err(outcome) => return Ok(outcome),
    };
    if lease.prove().is_err()
        || !world.database.begin_attempt(&order.record, lease.fence(), message_id.as_str()).await?
    {
        return Ok(Outcome::Wait); // another owner goes on with it
    }
    order.attempted = true;
    let to = message.to.to_string();
    let wanted = drafting::draft(message, &message_id, attached);
    // Asked last, right before the one thing that cannot be taken back.
    if lease.prove().is_err() {
        return Ok(Outcome::Wait);
    }
    let answer = match page.send(&wanted).await {
        Ok(sent) => return Ok(judge(&sent, message_id.as_str())),
        Err(answer) => answer,
    };
    if let Some(outcome) = definite(&answer) {
        return Ok(outcome);
    }
    // It may have gone out. The page's own store knows, if it can still be asked.
    Ok(match page.find_message(&to, message_id.as_str()).await {
        Ok(Some(sent)) => judge(&sent, message_id.as_str()),
        Ok(None) => Outcome::Retry(with_code(ErrorCode::PageTimeout, "the page did not take the message", &answer)),
        Err(_) => Outcome::Retry(with_code(ErrorCode::Interrupted, "the page went away during the send", &answer)),
    })
}

/// Fetches the file of a medium and puts it into the page. It must stay on the disk until it is sent.
async fn attach(
    world: &World,
    page: &Page,
    order: &Order,
    message: &MessageSend,
    message_id: &MessageId,
) -> Result<Option<(Attached, PrivateFile)>, Outcome> {
    let Some((kind, medium)) = message.content.media() else { return Ok(None) };
    if order.attempted {
        // What the page has already needs no file any more.
        match page.find_message(message.to.as_ref(), message_id.as_str()).await {
            Ok(Some(sent)) => return Err(judge(&sent, message_id.as_str())),
            Ok(None) => {}
            Err(error) => {
                let error = with_code(ErrorCode::PageTimeout, "the page could not look the message up", &error);
                return Err(Outcome::Retry(error));
            }
        }
    }
    let began = Instant::now();
    let workspace = order.verified.workspace.get();
    let fetched = media::fetch(&world.config.media, world.objects.as_deref(), workspace, kind, medium).await;
    let Fetched { file, mime, size } = match fetched {
        Ok(fetched) => fetched,
        Err(error) => {
            world.counters.count("media.not_fetched", kind.as_str());
            tracing::warn!(kind = kind.as_str(), error = %chain(&error), "the file of a message was not fetched");
            return Err(error.outcome());
        }
    };
    world.counters.count("media.fetched", kind.as_str());
    tracing::info!(
        kind = kind.as_str(),
        bytes = size,
        ms = began.elapsed().as_millis(),
        "fetched the file of a message"
    );
    match page.attach(file.path()).await {
        Ok(name) => Ok(Some((Attached { file: name, mime, size }, file))),
        Err(CallError::NotReady) => Err(Outcome::Wait),
        Err(error) => {
            let error = with_code(ErrorCode::PageUnavailable, "the file could not be put into the page", &error);
            Err(Outcome::Retry(error))
        }
    }
}

/// Finds out what became of a message that was begun in time, when it is too late to send it.
pub(crate) async fn look_up(page: &Page, order: &Order, message: &MessageSend) -> Outcome {
    let message_id = MessageId::for_command(&order.verified.message_id, &order.verified.session);
    match page.find_message(message.to.as_ref(), message_id.as_str()).await {
        Ok(Some(sent)) => judge(&sent, message_id.as_str()),
        Ok(None) | Err(_) => Outcome::Retry(CommandError::new(
            ErrorCode::Interrupted,
            "the send was cut short, and the command has expired since: the message may have gone out",
        )),
    }
}

/// What the page holds under our id.
fn judge(sent: &Sent, message_id: &str) -> Outcome {
    let ack = Ack::from_number(i64::from(sent.ack));
    match sent.ack {
        1.. => Outcome::Succeeded(Some(ResultData::Message(SentMessage {
            key: sent.key.as_str().into(),
            id: message_id.to_owned(),
            chat_id: sent.chat_id.as_str().into(),
            timestamp: Timestamp::from_unix_secs(u64::try_from(sent.timestamp).unwrap_or(0)),
            ack,
        }))),
        0 => Outcome::Retry(CommandError::new(
            ErrorCode::AckTimeout,
            "the page holds the message, and WhatsApp has not acknowledged it yet",
        )),
        _ => Outcome::Failed(CommandError::new(ErrorCode::MessageRefused, "WhatsApp refused the message")),
    }
}

/// Answers after which nothing went out and nothing will.
fn definite(answer: &CallError) -> Option<Outcome> {
    match answer {
        CallError::NotReady => Some(Outcome::Wait),
        CallError::Page { code, message, .. } => match code.as_deref() {
            Some("not_owner" | "not_ready") => Some(Outcome::Wait),
            Some("no_such_number") => {
                Some(Outcome::Failed(CommandError::new(ErrorCode::RecipientNotFound, "the number is not on WhatsApp")))
            }
            Some("incompatible") => Some(Outcome::Failed(CommandError::new(ErrorCode::Incompatible, message.as_str()))),
            Some("message_not_found" | "invalid_message_key") => Some(Outcome::Failed(with_code(
                ErrorCode::MessageNotFound,
                "this session does not have the message that is answered or passed on",
                answer,
            ))),
            Some("not_forwardable" | "quoted_msg_can_not_reply") => Some(Outcome::Failed(with_code(
                ErrorCode::NotAllowed,
                "a message of this type can not be passed on, or not be answered",
                answer,
            ))),
            Some("chat_not_found") => {
                Some(Outcome::Failed(with_code(ErrorCode::ChatNotFound, "this account is not in the group", answer)))
            }
            Some("invalid_recipient" | "invalid_mention" | "invalid_message_id") => {
                Some(Outcome::Failed(with_code(ErrorCode::MessageRefused, "WhatsApp's page refuses this chat", answer)))
            }
            // The page was loaded again between the file and the message.
            Some("no_file") => Some(Outcome::Retry(with_code(
                ErrorCode::PageUnavailable,
                "the page lost the file before it was sent",
                answer,
            ))),
            Some("unreadable_media") => Some(Outcome::Failed(with_code(
                ErrorCode::MediaRefused,
                "the file is no picture that can be read",
                answer,
            ))),
            Some("file_too_large") => Some(Outcome::Failed(with_code(
                ErrorCode::MediaRefused,
                "the file is larger than WhatsApp takes",
                answer,
            ))),
            // The look-up before the send failed, so nothing was sent.
            Some("lookup_failed") => Some(Outcome::Retry(with_code(
                ErrorCode::PageTimeout,
                "the page could not look the message up",
                answer,
            ))),
            // `send_failed` and whatever else may come: the store decides.
            _ => None,
        },
        CallError::Timeout | CallError::Gone => None,
    }
}

fn with_code(code: ErrorCode, message: &str, answer: &CallError) -> CommandError {
    let error = CommandError::new(code, message);
    match answer {
        CallError::Page { name, code, .. } => error.with_provider_code(code.clone().unwrap_or_else(|| name.clone())),
        CallError::Timeout | CallError::Gone | CallError::NotReady => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(ack: i8) -> Sent {
        Sent { key: "true_1@lid_3EB0".into(), chat_id: "1@lid".into(), ack, found: false, timestamp: 1 }
    }

    #[test]
    fn only_an_acknowledged_message_counts_as_sent() {
        assert!(matches!(judge(&sent(1), "3EB0"), Outcome::Succeeded(Some(_))));
        assert!(matches!(judge(&sent(3), "3EB0"), Outcome::Succeeded(Some(_))));
        assert!(matches!(judge(&sent(0), "3EB0"), Outcome::Retry(error) if error.code == ErrorCode::AckTimeout));
        assert!(matches!(judge(&sent(-1), "3EB0"), Outcome::Failed(error) if error.code == ErrorCode::MessageRefused));
    }

    #[test]
    fn an_answer_that_leaves_it_open_is_never_definite() {
        let page =
            |code: &str| CallError::Page { name: "Error".into(), code: Some(code.into()), message: String::new() };
        for open in [CallError::Timeout, CallError::Gone, page("send_failed"), page("never_heard_of")] {
            assert!(definite(&open).is_none(), "{open:?}");
        }
        assert!(matches!(definite(&page("no_such_number")), Some(Outcome::Failed(_))));
        for (code, expected) in [
            ("message_not_found", ErrorCode::MessageNotFound),
            ("not_forwardable", ErrorCode::NotAllowed),
            ("chat_not_found", ErrorCode::ChatNotFound),
            ("invalid_mention", ErrorCode::MessageRefused),
        ] {
            assert!(matches!(definite(&page(code)), Some(Outcome::Failed(error)) if error.code == expected), "{code}");
        }
        assert!(matches!(definite(&page("not_owner")), Some(Outcome::Wait)));
        assert!(matches!(definite(&CallError::NotReady), Some(Outcome::Wait)));
    }
}
