//! Events as sentences, for the person at the terminal, and the QR as a picture.

use std::io::IsTerminal;

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use wafleet_protocol::event::{Budget, CampaignProgress, Envelope, Event, MediaOutcome, ResultData, SyncState, Used};

/// One line for one event. Shows what the person asked for, so it may hold a number or a text.
pub fn sentence(envelope: &Envelope) -> String {
    format!("{}  {}", json_text(&envelope.occurred_at), happening(&envelope.event))
}

/// What happened, without when.
pub fn happening(event: &Event) -> String {
    match event {
        Event::SessionStatus(told) => {
            let phone = told.phone.as_ref().map(|phone| format!(" as +{}", phone.as_str())).unwrap_or_default();
            format!("session is {}{phone} ({:?})", told.status, told.cause)
        }
        Event::SessionQr(qr) => {
            format!(
                "QR code {} of {} (generation {}), valid until {}",
                qr.attempt,
                qr.max,
                qr.generation,
                json_text(&qr.expires_at)
            )
        }
        Event::SessionCode(code) => format!("pairing code {} for +{}", code.code.as_str(), code.phone.as_str()),
        Event::SessionPasskey(passkey) => format!(
            "WhatsApp asks for a passkey (request {}), until {}",
            passkey.request_id,
            json_text(&passkey.expires_at)
        ),
        Event::MessageReceived(message) => format!("message from {}", message.sender.id.as_str()),
        Event::MessageSent(sent) => format!("message left ({})", json_text(&sent.source)),
        Event::MessageAck(ack) => format!("message {} ({})", json_text(&ack.ack.name()), ack.ack.number()),
        Event::MessageEdited(edited) => format!("message {} has another wording", edited.message.id),
        Event::MessageRevoked(revoked) => format!("message {} was taken back", revoked.id),
        Event::MessageReaction(reaction) => match &reaction.emoji {
            Some(emoji) => format!("{} on message {}", emoji.as_str(), reaction.id),
            None => format!("a reaction to message {} was taken back", reaction.id),
        },
        Event::MessageWaiting(waiting) => format!("message {} cannot be read yet", waiting.id),
        Event::PollVote(vote) => format!("vote of {} in poll {}", vote.sender.id.as_str(), vote.id),
        Event::PresenceUpdate(presence) => format!("{} is {}", presence.chat_id.as_str(), json_text(&presence.state)),
        Event::GroupParticipants(told) => {
            format!("{} of {} in {}", json_text(&told.change), told.participants.len(), told.chat_id.as_str())
        }
        Event::GroupUpdate(told) => format!("{} of {} is another", json_text(&told.changed), told.chat_id.as_str()),
        Event::ContactMapping(told) => format!("{} is {}", told.phone.as_str(), told.lid.as_str()),
        Event::MessageStalled(told) => format!("message {} is not acknowledged", told.id),
        Event::LabelUpdate(told) => {
            format!("label {} is {}", told.label.id, if told.deleted { "gone" } else { "another" })
        }
        Event::ChatLabel(told) => {
            let verb = if told.labelled { "got" } else { "lost" };
            format!("{} {verb} label {}", told.chat_id.as_str(), told.label_id)
        }
        Event::CallReceived(call) => format!("call from {}", call.sender.id.as_str()),
        Event::SyncProgress(sync) => {
            let state = match sync.state {
                SyncState::Running => "goes on",
                SyncState::Done => "is done",
                SyncState::Superseded => "gave way to another one",
            };
            format!(
                "sync {state}: {} of {} chats, {} messages, {} groups",
                sync.chats, sync.chats_total, sync.messages, sync.groups
            )
        }
        Event::SyncChats(part) => format!("{} chats of a sync", part.chats.len()),
        Event::SyncMessages(part) => {
            format!("{} messages of a sync, of {}", part.messages.len(), part.chat_id.as_str())
        }
        Event::SyncGroups(part) => format!("{} groups of a sync", part.groups.len()),
        Event::CommandResult(result) => {
            let why =
                result.error.as_ref().map(|error| format!(": {} – {}", error.code, error.message)).unwrap_or_default();
            let budget = match &result.data {
                Some(ResultData::Session(told)) => told.budget.as_ref().map(spending).unwrap_or_default(),
                Some(ResultData::Campaign(told)) => format!(": {}", going(told)),
                _ => String::new(),
            };
            format!("{} {}{why}{budget}", result.command_type, result.outcome.as_str())
        }
        Event::MessageMedia(told) => match &told.outcome {
            MediaOutcome::Available { object, size, .. } => {
                format!("the file of {} is kept: {size} bytes in {object}", told.id)
            }
            MediaOutcome::Failed { reason } => format!("the file of {} is given up: {}", told.id, reason.as_str()),
        },
        Event::CampaignProgress(told) => going(told),
        Event::RuntimeIncompatible(told) => format!("the page lacks {}", told.missing.join(", ")),
    }
}

/// How a campaign goes.
fn going(told: &CampaignProgress) -> String {
    format!(
        "campaign {} is {}: {} sent, {} failed, {} unknown, {} expired, {} waiting",
        told.campaign,
        told.state.as_str(),
        told.succeeded,
        told.failed,
        told.unknown,
        told.expired,
        told.waiting
    )
}

/// What a session has sent, of what it may.
fn spending(budget: &Budget) -> String {
    let used = |what: &str, used: &Used| format!("\n    {what:<24} {} of {}", used.used, used.limit);
    let mut lines = [
        used("messages, last minute", &budget.minute),
        used("messages, last hour", &budget.hour),
        used("messages, last day", &budget.day),
        used("new contacts, last day", &budget.cold_day),
        used("number checks, last hour", &budget.checks_hour),
        format!("\n    warmed up                {} %", budget.warmth_percent),
        format!("\n    weight in campaigns      {} %", budget.weight),
    ]
    .concat();
    if let Some(next) = &budget.next_at {
        lines.push_str(&format!("\n    next message at          {}", json_text(next)));
    }
    lines
}

fn json_text(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The QR as block characters, dark on light whatever the terminal's colours are.
pub fn qr_picture(code: &str) -> Option<String> {
    let qr = QrCode::with_error_correction_level(code, EcLevel::L).ok()?;
    let picture =
        qr.render::<Dense1x2>().dark_color(Dense1x2::Dark).light_color(Dense1x2::Light).quiet_zone(true).build();
    if std::io::stdout().is_terminal() {
        return Some(picture.lines().map(|line| format!("\u{1b}[30;107m{line}\u{1b}[0m\n")).collect());
    }
    Some(picture)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_code_as_long_as_whatsapps_fits_into_a_terminal() {
        let picture = super::qr_picture(&"2@".repeat(120)).expect("240 characters fit");
        let widest = picture.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(widest <= 80, "{widest} columns");
    }
}
