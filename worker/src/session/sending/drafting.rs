//! A message as its command asks for it, in the words of the page.

use wafleet_browser::{Card, Draft, DraftContent};
use wafleet_protocol::command::{CardDetails, Content, MediaKind, MessageSend};
use wafleet_protocol::id::{MessageId, PhoneNumber};

/// A file that was put into the page.
pub(super) struct Attached {
    /// The page's name for it.
    pub(super) file: String,
    pub(super) mime: String,
    pub(super) size: u64,
}

/// What the page is to send, under this id. Media come with their file.
pub(super) fn draft(message: &MessageSend, id: &MessageId, attached: Option<Attached>) -> Draft {
    Draft {
        to: message.to.to_string(),
        message_id: id.to_string(),
        content: content(&message.content, attached),
        reply_to: message.reply_to.as_ref().map(ToString::to_string),
    }
}

fn content(content: &Content, attached: Option<Attached>) -> DraftContent {
    match content {
        Content::Text(text) => DraftContent::Text {
            text: text.text.as_str().to_owned(),
            mentions: text.mentions.iter().map(ToString::to_string).collect(),
            link_preview: text.link_preview,
            background: text.background.as_ref().map(|color| color.as_str().to_owned()),
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
        Content::Buttons(_) | Content::List(_) => {
            unreachable!("what a browser cannot send is refused before it is drafted")
        }
        Content::Image(_)
        | Content::Video(_)
        | Content::VideoNote(_)
        | Content::Audio(_)
        | Content::Voice(_)
        | Content::Document(_)
        | Content::Sticker(_) => {
            let together = content.media().zip(attached);
            let ((kind, media), attached) = together.expect("a file is put into the page before a medium is drafted");
            let filename = media.filename.as_ref().map(|name| name.as_str().to_owned());
            DraftContent::Media {
                kind: kind.as_str(),
                filename: filename.unwrap_or_else(|| default_name(kind, &attached.mime)),
                file: attached.file,
                mime: attached.mime,
                caption: media.caption.as_ref().map(|caption| caption.as_str().to_owned()),
                size: attached.size,
            }
        }
    }
}

/// The name of a file whose sender gave it none: recipients of documents see it, and open the file by its ending.
fn default_name(kind: MediaKind, mime: &str) -> String {
    let ending = match mime.split(';').next().unwrap_or_default() {
        "image/jpeg" => ".jpg",
        "image/png" => ".png",
        "image/webp" => ".webp",
        "image/gif" => ".gif",
        "video/mp4" => ".mp4",
        "video/3gpp" => ".3gp",
        "audio/mpeg" => ".mp3",
        "audio/mp4" => ".m4a",
        "audio/ogg" => ".ogg",
        "application/pdf" => ".pdf",
        "application/zip" => ".zip",
        "text/plain" => ".txt",
        "text/csv" => ".csv",
        _ => "",
    };
    format!("{}{ending}", kind.as_str())
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
