//! A message in Meta's words.

use wafleet_cloud::message::{Body, Template as CloudTemplate};
use wafleet_protocol::command::{Content, Template};

/// Longest text that the Cloud API takes, in characters.
const TEXT_MAX: usize = 4096;

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
        _ => Err("the Cloud API has no such kind of message, or the fleet does not send it there"),
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
