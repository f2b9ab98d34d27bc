//! A message in Meta's words.

use wafleet_cloud::message::{Body, MediaKind as CloudKind, Section, Source, Template as CloudTemplate};
use wafleet_protocol::command::{CardDetails, Content, MediaKind, Template};

/// Longest text that the Cloud API takes, in characters.
const TEXT_MAX: usize = 4096;
/// Longest text above buttons.
const BUTTONS_TEXT_MAX: usize = 1024;

/// The content, or why the Cloud API cannot carry it.
pub(crate) fn of_content(content: &Content) -> Result<Body, &'static str> {
    match content {
        Content::Text(text) if text.text.as_str().chars().count() > TEXT_MAX => {
            Err("the Cloud API takes texts of 4096 characters at most")
        }
        Content::Text(text) if !text.mentions.is_empty() => Err("the Cloud API does not mention people"),
        Content::Text(text) => Ok(Body::Text { text: text.text.as_str().to_owned(), preview: text.link_preview }),
        Content::Location(place) => {
            let named = |text: Option<&str>| text.map(str::to_owned);
            Ok(Body::Location {
                latitude: place.latitude.get(),
                longitude: place.longitude.get(),
                name: named(place.name.as_ref().map(|line| line.as_str())),
                address: named(place.address.as_ref().map(|line| line.as_str())),
            })
        }
        Content::Contact(cards) => {
            let person = |card: &wafleet_protocol::command::Card| match &card.details {
                CardDetails::Phone(phone) => Ok((card.name.as_str().to_owned(), phone.to_string())),
                CardDetails::Vcard(_) => Err("the Cloud API takes names and phone numbers, and no vCards"),
            };
            Ok(Body::Contacts { people: cards.contacts.iter().map(person).collect::<Result<_, _>>()? })
        }
        Content::Buttons(choice) if choice.text.as_str().chars().count() > BUTTONS_TEXT_MAX => {
            Err("the Cloud API takes 1024 characters at most above buttons")
        }
        Content::Buttons(choice) => {
            let button = |button: &wafleet_protocol::command::Button| {
                (button.id.as_str().to_owned(), button.title.as_str().to_owned())
            };
            let buttons = choice.buttons.iter().map(button).collect();
            Ok(Body::Buttons { text: choice.text.as_str().to_owned(), buttons })
        }
        Content::List(choice) if choice.text.as_str().chars().count() > TEXT_MAX => {
            Err("the Cloud API takes texts of 4096 characters at most")
        }
        Content::List(choice) => {
            let row = |row: &wafleet_protocol::command::ListRow| {
                let description = row.description.as_ref().map(|text| text.as_str().to_owned());
                (row.id.as_str().to_owned(), row.title.as_str().to_owned(), description)
            };
            let section = |section: &wafleet_protocol::command::ListSection| Section {
                title: section.title.as_ref().map(|title| title.as_str().to_owned()).unwrap_or_default(),
                rows: section.rows.iter().map(row).collect(),
            };
            Ok(Body::List {
                text: choice.text.as_str().to_owned(),
                button: choice.button.as_str().to_owned(),
                sections: choice.sections.iter().map(section).collect(),
            })
        }
        Content::Poll(_) | Content::Forward(_) => Err("the Cloud API has no such kind of message"),
        Content::Image(_)
        | Content::Video(_)
        | Content::VideoNote(_)
        | Content::Audio(_)
        | Content::Voice(_)
        | Content::Document(_)
        | Content::Sticker(_) => Err("a medium is uploaded first"),
    }
}

/// As what Meta takes a file, and of how many bytes at most: <https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media>.
pub(super) fn kind_of(kind: MediaKind, mime: &str) -> Result<(CloudKind, u64), &'static str> {
    const MB: u64 = 1024 * 1024;
    match kind {
        MediaKind::Image if mime == "image/webp" => Err("the Cloud API takes pictures as JPEG or PNG"),
        MediaKind::Image => Ok((CloudKind::Image, 5 * MB)),
        MediaKind::Video if mime == "video/quicktime" => Err("the Cloud API takes films as MP4 or 3GPP"),
        MediaKind::Video => Ok((CloudKind::Video, 16 * MB)),
        MediaKind::VideoNote => Err("the Cloud API has no such kind of message"),
        MediaKind::Audio => Ok((CloudKind::Audio, 16 * MB)),
        MediaKind::Voice => Ok((CloudKind::Voice, 16 * MB)),
        MediaKind::Document => Ok((CloudKind::Document, 100 * MB)),
        MediaKind::Sticker => Ok((CloudKind::Sticker, 500 * 1024)),
    }
}

/// A file that Meta has.
pub(super) fn of_upload(kind: CloudKind, id: String, media: &wafleet_protocol::command::Media) -> Body {
    Body::Media {
        kind,
        source: Source::Id(id),
        caption: media.caption.as_ref().map(|caption| caption.as_str().to_owned()),
        filename: media.filename.as_ref().map(|name| name.as_str().to_owned()),
    }
}

/// The template.
pub(crate) fn of_template(template: &Template) -> Body {
    Body::Template(CloudTemplate {
        name: template.name.clone(),
        language: template.language.clone(),
        components: template.components.clone(),
    })
}

#[cfg(test)]
mod tests {
    use wafleet_protocol::command::Text;

    use super::*;

    fn text(text: &str) -> Content {
        Content::Text(Text::plain(text.to_owned().try_into().expect("a text")))
    }

    #[test]
    fn what_the_cloud_api_cannot_carry_is_refused_before_it_is_tried() {
        assert!(of_content(&text("hello")).is_ok());
        assert!(of_content(&text(&"ü".repeat(TEXT_MAX))).is_ok());
        assert!(of_content(&text(&"ü".repeat(TEXT_MAX + 1))).is_err());
        let mention = Text {
            mentions: vec!["4915112345678".parse().expect("a chat")],
            ..Text::plain("x".try_into().expect("a text"))
        };
        assert!(of_content(&Content::Text(mention)).is_err());
    }
}
