//! What a session does besides sending: the page is asked, and its answer becomes the result. Most of it may be done
//! twice, so what is not known to be done is simply done again; what [happens once](Action::happens_once) is recorded
//! before it is begun, and never begun again.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wafleet_browser::{CallError, Message as PageMessage, Page};
use wafleet_protocol::command::Action;
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{CommandError, ContactChecked, HistoryPage, PastMessage, ResultData};
use wafleet_protocol::id::MessageId;
use wafleet_protocol::personal::Personal;

use super::telling::{self, phone_digits};
use crate::intake::{IntakeError, Order};
use crate::lease::Lease;
use crate::settle::Outcome;
use crate::world::World;

/// Does what the command asks for.
pub(super) async fn act(lease: &Lease, page: &Page, action: &Action) -> Outcome {
    act_with(lease, page, action, action).await
}

/// As [`act`], where the page needs other data than the command has.
pub(super) async fn act_with(lease: &Lease, page: &Page, action: &Action, asked: impl Serialize) -> Outcome {
    if lease.prove().is_err() {
        return Outcome::Wait; // another owner does it
    }
    match page.act(action.type_name(), asked).await {
        Ok(answer) => match data(action, answer) {
            Ok(data) => Outcome::Succeeded(data),
            Err(_) => Outcome::Failed(CommandError::new(ErrorCode::Internal, "the page's answer has an unknown shape")),
        },
        Err(answer) => refused(&answer),
    }
}

/// Does what must not be done twice, unless it was begun before.
///
/// # Errors
/// [`IntakeError`]: nothing was done, and the delivery is still unacknowledged.
pub(super) async fn act_once(
    world: &World,
    lease: &Lease,
    page: &Page,
    order: &mut Order,
    action: &Action,
) -> Result<Outcome, IntakeError> {
    if order.attempted {
        return Ok(cut_short());
    }
    // Nothing is found under this id; it only stands where that of a message does.
    let about = MessageId::for_command(&order.verified.message_id, &order.verified.session);
    if lease.prove().is_err() || !world.database.begin_attempt(&order.record, lease.fence(), about.as_str()).await? {
        return Ok(Outcome::Wait); // another owner has it
    }
    order.attempted = true;
    match act(lease, page, action).await {
        Outcome::Retry(error) if error.provider_code.as_deref() != Some("not_begun") => Ok(Outcome::Unknown(
            CommandError { message: "it was begun, and the page did not tell its end".into(), ..cut_short_error() }
                .with_provider_code(error.provider_code.unwrap_or_else(|| error.code.as_str().to_owned())),
        )),
        // It was answered, in words that nobody here understands: it may be done.
        Outcome::Failed(error) if error.code == ErrorCode::Internal => {
            Ok(Outcome::Unknown(CommandError { message: error.message, ..cut_short_error() }))
        }
        outcome @ (Outcome::Retry(_) | Outcome::Wait) => {
            world.database.nothing_went_out(&order.record, lease.fence()).await?;
            order.attempted = false;
            Ok(outcome)
        }
        outcome => Ok(outcome),
    }
}

/// The end of what was begun by somebody who cannot tell any more.
pub(super) fn cut_short() -> Outcome {
    Outcome::Unknown(cut_short_error())
}

fn cut_short_error() -> CommandError {
    CommandError::new(
        ErrorCode::Interrupted,
        "it was begun and cut short: it may have been done, and is not done again",
    )
}

/// What the page says of somebody.
#[derive(Deserialize)]
struct ContactAnswer {
    on_whatsapp: bool,
    phone: Option<String>,
    lid: Option<String>,
    business: Option<bool>,
}

/// A page of a chat's messages.
#[derive(Deserialize)]
struct HistoryAnswer {
    messages: Vec<PageMessage>,
    cursor: Option<String>,
}

/// What the command yields.
fn data(action: &Action, answer: Value) -> Result<Option<ResultData>, serde_json::Error> {
    Ok(match action {
        Action::Check(_) => {
            let ContactAnswer { on_whatsapp, phone, lid, business } = serde_json::from_value(answer)?;
            let phone = phone.map(|id| Personal::from(phone_digits(&id)));
            let lid = lid.as_deref().map(Personal::from);
            Some(ResultData::Contact(ContactChecked { on_whatsapp, phone, lid, business, age: 0 }))
        }
        Action::ListChats(_) => Some(ResultData::Chats(serde_json::from_value(answer)?)),
        Action::History(_) => Some(ResultData::History(history_page(answer)?)),
        Action::ListContacts(_) => Some(ResultData::Contacts(serde_json::from_value(answer)?)),
        Action::ListGroups(_) => Some(ResultData::Groups(serde_json::from_value(answer)?)),
        Action::GroupInfo(_) => Some(ResultData::Group(serde_json::from_value(answer)?)),
        Action::CreateGroup(_) => Some(ResultData::GroupCreated(serde_json::from_value(answer)?)),
        Action::GroupInvite(_) => Some(ResultData::GroupLink(serde_json::from_value(answer)?)),
        Action::ListLabels(_) => Some(ResultData::Labels(serde_json::from_value(answer)?)),
        Action::ChangeParticipants(_) => Some(ResultData::Participants(serde_json::from_value(answer)?)),
        Action::React(_)
        | Action::Edit(_)
        | Action::Delete(_)
        | Action::Star(_)
        | Action::Typing(_)
        | Action::Recording(_)
        | Action::Seen(_)
        | Action::Archive(_)
        | Action::Mute(_)
        | Action::PinChat(_)
        | Action::LabelChat(_)
        | Action::SetPresence(_)
        | Action::GroupSettings(_)
        | Action::PinMessage(_)
        | Action::RejectCall(_)
        | Action::GroupPicture(_)
        | Action::LeaveGroup(_)
        | Action::Block(_) => None,
    })
}

/// A page of a chat's messages, as the page answers it.
///
/// # Errors
/// It has another shape.
pub(super) fn history_page(answer: Value) -> Result<HistoryPage, serde_json::Error> {
    let HistoryAnswer { messages, cursor } = serde_json::from_value(answer)?;
    let past = |message: &PageMessage| PastMessage { message: telling::plain(message), from_me: message.from_me };
    Ok(HistoryPage { messages: messages.iter().map(past).collect(), cursor: cursor.map(Personal::from) })
}

fn refused(answer: &CallError) -> Outcome {
    let (name, code) = match answer {
        CallError::NotReady => return Outcome::Wait,
        CallError::Timeout => {
            return Outcome::Retry(CommandError::new(ErrorCode::PageTimeout, "the page did not answer in time"));
        }
        CallError::Gone => {
            return Outcome::Retry(CommandError::new(ErrorCode::PageUnavailable, "the page went away"));
        }
        CallError::Page { name, code, .. } => (name, code.as_deref()),
    };
    let failed = |code, message: &str| {
        let provider_code = answer_code(answer).unwrap_or_else(|| name.clone());
        Outcome::Failed(CommandError::new(code, message).with_provider_code(provider_code))
    };
    match code {
        Some("not_owner" | "not_ready") => Outcome::Wait,
        Some("message_not_found" | "msg_not_found" | "invalid_message_key") => {
            failed(ErrorCode::MessageNotFound, "this session does not have the message")
        }
        Some("label_not_found") => failed(ErrorCode::LabelNotFound, "this account has no such label"),
        Some("is_not_business") => failed(ErrorCode::NotAllowed, "labels are for accounts of WhatsApp Business"),
        Some("chat_not_found") => failed(ErrorCode::ChatNotFound, "this session does not have the chat"),
        Some("no_such_number" | "invalid_recipient") => {
            failed(ErrorCode::RecipientNotFound, "the number is not on WhatsApp")
        }
        Some(
            "not_allowed"
            | "edit_message_error"
            | "pin_error"
            | "unpin_error"
            | "call_not_found"
            | "call_is_not_incoming_ring"
            | "group_you_are_not_admin"
            | "server_refused"
            | "you_are_not_allowed_set_group_subject"
            | "you_are_not_allowed_set_group_description"
            | "you_are_not_allowed_set_group_property"
            | "you_are_not_allowed_set_ephemeral_setting",
        ) => failed(ErrorCode::NotAllowed, "WhatsApp does not allow this, or not any more"),
        Some("unreadable_media") => failed(ErrorCode::MediaRefused, "the file is no picture that can be read"),
        Some("unknown_call" | "incompatible") => {
            failed(ErrorCode::Incompatible, "WhatsApp's page, as it is today, lacks what this needs")
        }
        // The server may have been away, or have said no for a while: it is asked again some times.
        code => {
            let provider_code = code.unwrap_or(name);
            let error = CommandError::new(ErrorCode::PageUnavailable, "the page could not do it");
            Outcome::Retry(error.with_provider_code(provider_code))
        }
    }
}

fn answer_code(answer: &CallError) -> Option<String> {
    match answer {
        CallError::Page { code, .. } => code.clone(),
        CallError::Timeout | CallError::Gone | CallError::NotReady => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_ends_the_command_only_where_asking_again_would_not_help() {
        let page =
            |code: &str| CallError::Page { name: "Error".into(), code: Some(code.into()), message: String::new() };
        for (answer, expected) in [
            (page("message_not_found"), Some(ErrorCode::MessageNotFound)),
            (page("chat_not_found"), Some(ErrorCode::ChatNotFound)),
            (page("no_such_number"), Some(ErrorCode::RecipientNotFound)),
            (page("edit_message_error"), Some(ErrorCode::NotAllowed)),
            (page("unreadable_media"), Some(ErrorCode::MediaRefused)),
            (page("unknown_call"), Some(ErrorCode::Incompatible)),
            (page("never_heard_of"), None),
            (CallError::Timeout, None),
            (CallError::Gone, None),
        ] {
            match (refused(&answer), expected) {
                (Outcome::Failed(error), Some(code)) => assert_eq!(error.code, code, "{answer:?}"),
                (Outcome::Retry(_), None) => {}
                (other, _) => panic!("{answer:?}: {other:?}"),
            }
        }
        for answer in [CallError::NotReady, page("not_owner")] {
            assert!(matches!(refused(&answer), Outcome::Wait), "{answer:?}");
        }
    }
}
