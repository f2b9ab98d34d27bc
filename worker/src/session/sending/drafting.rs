//! A message as its command asks for it, in the words of the page.

use wafleet_browser::{Card, Draft, DraftContent};
use wafleet_protocol::command::{CardDetails, Content, MessageSend};
use wafleet_protocol::id::{MessageId, PhoneNumber};

/// What the page is to send, under this id.
pub(super) fn draft(message: &MessageSend, id: &MessageId) -> Draft {
    Draft {
        to: message.to.to_string(),
        message_id: id.to_string(),
        content: content(&message.content),
        reply_to: message.reply_to.as_ref().map(ToString::to_string),
    }
}

fn content(content: &Content) -> DraftContent {
    match content {
        Content::Text(text) => DraftContent::Text {
            text: text.text.as_str().to_owned(),
            mentions: text.mentions.iter().map(ToString::to_string).collect(),
            link_preview: text.link_preview,
        },
        Content::Location(place) => DraftContent::Location {
            latitude: place.latitude.get(),
            longitude: place.longitude.get(),
            name: place.name.clone().map(Into::into),
            address: place.address.clone().map(Into::into),
            url: place.url.clone().map(Into::into),
        },
        Content::Contact(cards) => {
            let card = |card: &wafleet_protocol::command::Card| Card {
                name: card.name.as_str().to_owned(),
                vcard: match &card.details {
                    CardDetails::Phone(phone) => vcard(card.name.as_str(), phone),
                    CardDetails::Vcard(vcard) => vcard.as_str().to_owned(),
                },
            };
            DraftContent::Contact { contacts: cards.contacts.iter().map(card).collect() }
        }
        Content::Poll(poll) => DraftContent::Poll {
            question: poll.question.as_str().to_owned(),
            options: poll.options.iter().map(|option| option.as_str().to_owned()).collect(),
            multiple: poll.multiple,
        },
        Content::Forward(forward) => DraftContent::Forward { message: forward.message.to_string() },
    }
}

/// A vCard (RFC 2426) with one number. `waid` is what makes WhatsApp's clients offer to write to it.
fn vcard(name: &str, phone: &PhoneNumber) -> String {
    let mut escaped = String::with_capacity(name.len());
    for character in name.chars() {
        if matches!(character, '\\' | ',' | ';') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    format!("BEGIN:VCARD\nVERSION:3.0\nN:;{escaped};;;\nFN:{escaped}\nTEL;type=CELL;waid={phone}:+{phone}\nEND:VCARD")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_break_out_of_its_card() {
        let phone: PhoneNumber = "4915112345678".parse().expect("a number");
        let card = vcard(r"Müller; Söhne, Köln\", &phone);
        let lines: Vec<_> = card.lines().collect();
        assert_eq!(
            lines,
            [
                "BEGIN:VCARD",
                "VERSION:3.0",
                r"N:;Müller\; Söhne\, Köln\\;;;",
                r"FN:Müller\; Söhne\, Köln\\",
                "TEL;type=CELL;waid=4915112345678:+4915112345678",
                "END:VCARD",
            ]
        );
    }
}
