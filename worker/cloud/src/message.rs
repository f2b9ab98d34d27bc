//! What can be sent, in the words of the endpoint `/{number}/messages`.

use serde_json::{Map, Value, json};

/// Longest mark that Meta carries.
pub const MARK_MAX: usize = 512;

/// One message on its way out. Its `Debug` names the kind only.
#[derive(Clone)]
pub struct Outgoing {
    to: String,
    body: Body,
    mark: String,
    context: Option<String>,
}

/// What it holds.
#[derive(Clone)]
pub enum Body {
    /// Plain text; `preview` asks for a preview of the first link.
    Text {
        /// The text, 4096 characters at most.
        text: String,
        /// Whether to show a preview of the first link.
        preview: bool,
    },
    /// A template that Meta has approved; the only thing that may be sent outside of the 24 hours.
    Template(Template),
    /// A medium.
    Media {
        /// What it is.
        kind: MediaKind,
        /// Where it is.
        source: Source,
        /// The caption; not for audio and stickers.
        caption: Option<String>,
        /// The file's name; for documents.
        filename: Option<String>,
    },
    /// A text with up to three buttons.
    Buttons {
        /// The text above them.
        text: String,
        /// Id and title of each, as the answer will name them.
        buttons: Vec<(String, String)>,
    },
    /// A text with a list to choose from, up to ten rows in all.
    List {
        /// The text above it.
        text: String,
        /// What the button says that opens the list.
        button: String,
        /// The sections.
        sections: Vec<Section>,
    },
    /// People with their phone numbers.
    Contacts {
        /// Name and number in digits of each.
        people: Vec<(String, String)>,
    },
    /// A place on the map.
    Location {
        /// Degrees north.
        latitude: f64,
        /// Degrees east.
        longitude: f64,
        /// What is there.
        name: Option<String>,
        /// Its address.
        address: Option<String>,
    },
    /// An emoji on a message; an empty one takes it away.
    Reaction {
        /// The message.
        message_id: String,
        /// The emoji.
        emoji: String,
    },
}

/// A template with its parameters.
#[derive(Clone)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// Its language, such as `de` or `en_US`.
    pub language: String,
    /// Its components with their parameters, in Meta's words.
    pub components: Vec<Value>,
}

/// What a medium is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    /// JPEG or PNG.
    Image,
    /// MP4 or 3GPP.
    Video,
    /// AAC, AMR, MP3, MP4 or Ogg with Opus.
    Audio,
    /// Ogg with Opus, shown as a voice message.
    Voice,
    /// Anything.
    Document,
    /// WebP.
    Sticker,
}

/// Where a medium is.
#[derive(Clone)]
pub enum Source {
    /// Uploaded before; [`upload`](crate::client::Graph::upload) gave this id.
    Id(String),
    /// Meta fetches it from this address.
    Link(String),
}

/// A part of a list.
#[derive(Clone)]
pub struct Section {
    /// Its title.
    pub title: String,
    /// Id, title and description of each row.
    pub rows: Vec<(String, String, Option<String>)>,
}

impl MediaKind {
    fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio | Self::Voice => "audio",
            Self::Document => "document",
            Self::Sticker => "sticker",
        }
    }
}

impl Outgoing {
    /// A message to a phone number in digits. `mark` comes back in every webhook about it, cut to [`MARK_MAX`].
    #[must_use]
    pub fn new(to: &str, body: Body, mark: &str) -> Self {
        Self { to: to.to_owned(), body, mark: mark.chars().take(MARK_MAX).collect(), context: None }
    }

    /// The same as an answer to a message.
    #[must_use]
    pub fn in_reply_to(self, message_id: &str) -> Self {
        Self { context: Some(message_id.to_owned()), ..self }
    }

    /// The request's body.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (kind, content) = self.body.parts();
        let mut message = json!({
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": self.to,
            "type": kind,
            kind: content,
            "biz_opaque_callback_data": self.mark,
        });
        if let Some(id) = &self.context {
            message["context"] = json!({ "message_id": id });
        }
        message
    }
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing").field("kind", &self.body.parts().0).field("mark", &self.mark).finish_non_exhaustive()
    }
}

impl Body {
    fn parts(&self) -> (&'static str, Value) {
        match self {
            Self::Text { text, preview } => ("text", json!({ "body": text, "preview_url": preview })),
            Self::Template(template) => ("template", template.to_json()),
            Self::Media { kind, source, caption, filename } => {
                let mut medium = Map::new();
                let (name, value) = match source {
                    Source::Id(id) => ("id", id),
                    Source::Link(link) => ("link", link),
                };
                medium.insert(name.to_owned(), value.as_str().into());
                let captioned = !matches!(kind, MediaKind::Audio | MediaKind::Voice | MediaKind::Sticker);
                if *kind == MediaKind::Voice {
                    medium.insert("voice".to_owned(), true.into());
                }
                if let Some(caption) = caption.as_deref().filter(|_| captioned) {
                    medium.insert("caption".to_owned(), caption.into());
                }
                if let Some(filename) = filename.as_deref().filter(|_| *kind == MediaKind::Document) {
                    medium.insert("filename".to_owned(), filename.into());
                }
                (kind.word(), Value::Object(medium))
            }
            Self::Buttons { text, buttons } => {
                let buttons: Vec<_> = buttons
                    .iter()
                    .map(|(id, title)| json!({ "type": "reply", "reply": { "id": id, "title": title } }))
                    .collect();
                let action = json!({ "buttons": buttons });
                ("interactive", json!({ "type": "button", "body": { "text": text }, "action": action }))
            }
            Self::List { text, button, sections } => {
                let sections: Vec<_> = sections.iter().map(Section::to_json).collect();
                let action = json!({ "button": button, "sections": sections });
                ("interactive", json!({ "type": "list", "body": { "text": text }, "action": action }))
            }
            Self::Contacts { people } => {
                let person = |(name, phone): &(String, String)| {
                    // Meta wants one name more than the one that is shown.
                    let first = name.split_whitespace().next().unwrap_or(name);
                    json!({
                        "name": { "formatted_name": name, "first_name": first },
                        "phones": [{ "phone": format!("+{phone}"), "type": "CELL", "wa_id": phone }],
                    })
                };
                ("contacts", people.iter().map(person).collect())
            }
            Self::Location { latitude, longitude, name, address } => {
                let mut place = json!({ "latitude": latitude, "longitude": longitude });
                if let Some(name) = name {
                    place["name"] = name.as_str().into();
                }
                if let Some(address) = address {
                    place["address"] = address.as_str().into();
                }
                ("location", place)
            }
            Self::Reaction { message_id, emoji } => ("reaction", json!({ "message_id": message_id, "emoji": emoji })),
        }
    }
}

impl Template {
    fn to_json(&self) -> Value {
        let mut template = json!({ "name": self.name, "language": { "code": self.language } });
        if !self.components.is_empty() {
            template["components"] = self.components.clone().into();
        }
        template
    }
}

impl Section {
    fn to_json(&self) -> Value {
        let row = |(id, title, description): &(String, String, Option<String>)| match description {
            Some(description) => json!({ "id": id, "title": title, "description": description }),
            None => json!({ "id": id, "title": title }),
        };
        json!({ "title": self.title, "rows": self.rows.iter().map(row).collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(body: Body) -> Value {
        Outgoing::new("4915112345678", body, "cmd-1").to_json()
    }

    #[test]
    fn every_kind_has_metas_form() {
        let text = |text: &str| Body::Text { text: text.into(), preview: false };
        let media = |kind, source| Body::Media { kind, source, caption: Some("c".into()), filename: Some("f".into()) };
        let template =
            Template { name: "hello".into(), language: "de".into(), components: vec![json!({ "type": "body" })] };
        let rows = vec![("r1".to_owned(), "Red".to_owned(), None), ("r2".into(), "Blue".into(), Some("deep".into()))];
        let list = Body::List {
            text: "Which?".into(),
            button: "Choose".into(),
            sections: vec![Section { title: "Colours".into(), rows }],
        };
        let cases = [
            (text("hi"), "text", json!({ "body": "hi", "preview_url": false })),
            (
                Body::Template(template),
                "template",
                json!({ "name": "hello", "language": { "code": "de" }, "components": [{ "type": "body" }] }),
            ),
            (
                media(MediaKind::Image, Source::Link("https://x/y".into())),
                "image",
                json!({ "link": "https://x/y", "caption": "c" }),
            ),
            (media(MediaKind::Audio, Source::Id("7".into())), "audio", json!({ "id": "7" })),
            (
                media(MediaKind::Document, Source::Id("7".into())),
                "document",
                json!({ "id": "7", "caption": "c", "filename": "f" }),
            ),
            (
                Body::Buttons { text: "ok?".into(), buttons: vec![("y".into(), "Yes".into())] },
                "interactive",
                json!({
                    "type": "button", "body": { "text": "ok?" },
                    "action": { "buttons": [{ "type": "reply", "reply": { "id": "y", "title": "Yes" } }] },
                }),
            ),
            (
                list,
                "interactive",
                json!({
                    "type": "list", "body": { "text": "Which?" },
                    "action": { "button": "Choose", "sections": [{ "title": "Colours", "rows": [
                        { "id": "r1", "title": "Red" }, { "id": "r2", "title": "Blue", "description": "deep" },
                    ] }] },
                }),
            ),
            (
                Body::Location { latitude: 52.5, longitude: 13.25, name: Some("Here".into()), address: None },
                "location",
                json!({ "latitude": 52.5, "longitude": 13.25, "name": "Here" }),
            ),
            (
                Body::Reaction { message_id: "wamid.X".into(), emoji: "👍".into() },
                "reaction",
                json!({ "message_id": "wamid.X", "emoji": "👍" }),
            ),
        ];
        for (body, kind, content) in cases {
            let message = sent(body);
            assert_eq!(message["type"], kind);
            assert_eq!(message[kind], content);
            assert_eq!((&message["messaging_product"], &message["to"]), (&json!("whatsapp"), &json!("4915112345678")));
            assert_eq!(message["biz_opaque_callback_data"], "cmd-1");
        }
    }

    #[test]
    fn an_answer_names_its_question_and_debug_nobody() {
        let body = Body::Text { text: "secret words".into(), preview: false };
        let message = Outgoing::new("4915112345678", body, "cmd-1").in_reply_to("wamid.Q");
        assert_eq!(message.to_json()["context"], json!({ "message_id": "wamid.Q" }));
        let shown = format!("{message:?}");
        assert!(!shown.contains("secret") && !shown.contains("49151"), "{shown}");
    }
}
