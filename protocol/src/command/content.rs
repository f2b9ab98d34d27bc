//! What a message holds, kind by kind, with the limits of WhatsApp's own clients.

use std::collections::BTreeSet;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::interactive::{Buttons, Choices};
use super::media::{Media, MediaKind};
use super::status::Color;
use super::text::{Line, MessageText};
use crate::id::{ChatId, ChatKind, MessageKey, PhoneNumber};
use crate::json::Fields;
use crate::rejection::Rejection;

/// What a message holds, told apart by `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Content {
    /// Plain text, with WhatsApp's own marks for bold and the like.
    Text(Text),
    /// A place on the map.
    Location(Location),
    /// One or several visiting cards.
    Contact(Contacts),
    /// A question with answers to choose from.
    Poll(Poll),
    /// A message that this session has, passed on with WhatsApp's mark of a forwarded message.
    Forward(Forward),
    /// A picture: JPEG, PNG or WebP.
    Image(Media),
    /// A film: MP4, 3GPP or QuickTime.
    Video(Media),
    /// A short film that is shown in a circle.
    VideoNote(Media),
    /// A piece of music or the like: MP3, AAC, MP4, AMR or Ogg.
    Audio(Media),
    /// A voice message: Opus in an Ogg file, or another sound that the worker makes one of where it has the means.
    Voice(Media),
    /// A file of any kind.
    Document(Media),
    /// A sticker: WebP.
    Sticker(Media),
    /// A text with up to three buttons, from a Cloud API number.
    Buttons(Buttons),
    /// A text with a list to choose from, from a Cloud API number.
    List(Choices),
}

/// Content of the kind `text`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Text {
    /// The text.
    pub text: MessageText,
    /// People who are told that they are meant: phone numbers, `…@c.us` or `…@lid`. The text names each as `@` and the
    /// digits of the number or id; a number is replaced there by the id that the chat uses.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    #[schemars(with = "Option<Vec<ChatId>>", length(max = Text::MAX_MENTIONS))]
    pub mentions: Vec<ChatId>,
    /// Whether WhatsApp's page shall make a preview of the first link in the text. It may take some seconds; a page that
    /// finds none sends the text without. The default is no.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    #[schemars(with = "Option<bool>")]
    pub link_preview: bool,
    /// What is behind the text of a story; [`StatusPost`](super::StatusPost) alone sets it.
    #[serde(skip)]
    #[schemars(skip)]
    pub background: Option<Color>,
}

impl Text {
    /// The most people that one text may mention; a group has at most 1,024 members.
    pub const MAX_MENTIONS: usize = 1_024;

    /// A text without mentions and preview.
    pub fn plain(text: MessageText) -> Self {
        Self { text, mentions: Vec::new(), link_preview: false, background: None }
    }
}

/// Content of the kind `location`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Location {
    /// Degrees north.
    #[schemars(with = "f64", range(min = -90.0, max = 90.0))]
    pub latitude: Degrees,
    /// Degrees east.
    #[schemars(with = "f64", range(min = -180.0, max = 180.0))]
    pub longitude: Degrees,
    /// What the place is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Line<255>>,
    /// Where it is, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Line<1000>>,
    /// What opens when somebody taps on it: an `http` or `https` address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Line<2048>>,
}

/// An angle that is a number: never infinite, never not-a-number. `Debug` hides it.
#[derive(Clone, Copy, Serialize)]
#[serde(transparent)]
pub struct Degrees(f64);

impl Degrees {
    /// The angle, if it is not farther from 0 than `limit`.
    pub fn within(degrees: f64, limit: f64) -> Option<Self> {
        // Not-a-number compares as false. Adding 0 makes −0 the 0 that it equals.
        (degrees.abs() <= limit).then_some(Self(degrees + 0.0))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Degrees {
    fn eq(&self, other: &Self) -> bool {
        self.0.total_cmp(&other.0).is_eq()
    }
}

impl Eq for Degrees {}

impl std::fmt::Debug for Degrees {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Degrees(redacted)")
    }
}

/// Content of the kind `contact`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Contacts {
    /// The cards, in the order in which they are shown.
    #[schemars(length(min = 1, max = Contacts::MAX))]
    pub contacts: Vec<Card>,
}

impl Contacts {
    /// The most cards in one message, as in WhatsApp's clients.
    pub const MAX: usize = 257;
}

/// One visiting card: either a phone number, or a whole vCard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Card {
    /// The name that is shown.
    pub name: Line<255>,
    /// What it says.
    #[serde(flatten)]
    pub details: CardDetails,
}

/// What a visiting card says besides its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CardDetails {
    /// A number, from which the vCard is made. WhatsApp offers to write to it.
    Phone(PhoneNumber),
    /// A vCard as it is: text that begins with `BEGIN:VCARD` and ends with `END:VCARD`, with the lines of its own.
    Vcard(MessageText),
}

impl JsonSchema for Card {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Card".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (name, phone) = (Line::<255>::json_schema(generator), PhoneNumber::json_schema(generator));
        json_schema!({
            "type": "object",
            "description": "One visiting card: either a phone number, or a whole vCard.",
            "properties": {
                "name": name,
                "phone": phone,
                "vcard": { "type": "string", "pattern": "^BEGIN:VCARD[\\s\\S]*END:VCARD\\s*$" },
            },
            "required": ["name"],
            "oneOf": [{ "required": ["phone"] }, { "required": ["vcard"] }],
            "additionalProperties": false,
        })
    }
}

/// Content of the kind `poll`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Poll {
    /// The question.
    pub question: Line<255>,
    /// The answers to choose from, all different.
    #[schemars(length(min = 2, max = 12))]
    pub options: Vec<Line<100>>,
    /// Whether one person may choose several answers. The default is no.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    #[schemars(with = "Option<bool>")]
    pub multiple: bool,
}

impl Poll {
    /// The fewest answers.
    pub const MIN_OPTIONS: usize = 2;
    /// The most answers.
    pub const MAX_OPTIONS: usize = 12;
}

/// Content of the kind `forward`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Forward {
    /// The key of the message that is passed on, as `message.received` and `message.sent` tell it.
    pub message: MessageKey,
}

/// Words of other software for what has other words here.
const REFUSED: [&str; 2] = ["template", "interactive"];

impl Content {
    /// The word in `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Location(_) => "location",
            Self::Contact(_) => "contact",
            Self::Poll(_) => "poll",
            Self::Forward(_) => "forward",
            Self::Buttons(_) => "buttons",
            Self::List(_) => "list",
            Self::Image(_)
            | Self::Video(_)
            | Self::VideoNote(_)
            | Self::Audio(_)
            | Self::Voice(_)
            | Self::Document(_)
            | Self::Sticker(_) => self.media().map_or("document", |(kind, _)| kind.as_str()),
        }
    }

    /// The file it carries, and as what, if it is a medium.
    pub fn media(&self) -> Option<(MediaKind, &Media)> {
        Some(match self {
            Self::Image(media) => (MediaKind::Image, media),
            Self::Video(media) => (MediaKind::Video, media),
            Self::VideoNote(media) => (MediaKind::VideoNote, media),
            Self::Audio(media) => (MediaKind::Audio, media),
            Self::Voice(media) => (MediaKind::Voice, media),
            Self::Document(media) => (MediaKind::Document, media),
            Self::Sticker(media) => (MediaKind::Sticker, media),
            Self::Text(_)
            | Self::Location(_)
            | Self::Contact(_)
            | Self::Poll(_)
            | Self::Forward(_)
            | Self::Buttons(_)
            | Self::List(_) => return None,
        })
    }

    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        Ok(match data.text("kind")?.as_str() {
            "image" => Self::Image(Media::from_fields(MediaKind::Image, data)?),
            "video" => Self::Video(Media::from_fields(MediaKind::Video, data)?),
            "video_note" => Self::VideoNote(Media::from_fields(MediaKind::VideoNote, data)?),
            "audio" => Self::Audio(Media::from_fields(MediaKind::Audio, data)?),
            "voice" => Self::Voice(Media::from_fields(MediaKind::Voice, data)?),
            "document" => Self::Document(Media::from_fields(MediaKind::Document, data)?),
            "sticker" => Self::Sticker(Media::from_fields(MediaKind::Sticker, data)?),
            "text" => Self::Text(Text::from_fields(data)?),
            "location" => Self::Location(Location::from_fields(data)?),
            "contact" => Self::Contact(Contacts::from_fields(data)?),
            "poll" => Self::Poll(Poll::from_fields(data)?),
            "forward" => Self::Forward(Forward { message: data.parsed("message")? }),
            "buttons" => Self::Buttons(Buttons::from_fields(data)?),
            "list" => Self::List(Choices::from_fields(data)?),
            kind if REFUSED.contains(&kind) => {
                let why = "is no kind: a template stands in the field template beside another kind, buttons and lists \
                           are the kinds \"buttons\" and \"list\"";
                return Err(data.invalid("kind", why));
            }
            _ => {
                let why = "must be \"text\", \"location\", \"contact\", \"poll\", \"forward\", \"image\", \"video\", \
                           \"video_note\", \"audio\", \"voice\", \"document\", \"sticker\", \"buttons\" or \"list\"";
                return Err(data.invalid("kind", why));
            }
        })
    }
}

impl Text {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let text = data.parsed("text")?;
        let mentions: Vec<ChatId> = data.parsed_list("mentions", 0, Self::MAX_MENTIONS)?;
        if mentions.iter().any(|person| person.kind() == ChatKind::Group) {
            return Err(data.invalid("mentions", "must name people and no group"));
        }
        let link_preview = data.optional_flag("link_preview")?.unwrap_or(false);
        Ok(Self { text, mentions, link_preview, background: None })
    }
}

impl Location {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let latitude = degrees(data, "latitude", 90.0)?;
        let longitude = degrees(data, "longitude", 180.0)?;
        let (name, address) = (data.optional_parsed("name")?, data.optional_parsed("address")?);
        let url: Option<Line<2048>> = data.optional_parsed("url")?;
        let is_web = |url: &Line<2048>| ["http://", "https://"].iter().any(|scheme| url.as_str().starts_with(scheme));
        if url.as_ref().is_some_and(|url| !is_web(url)) {
            return Err(data.invalid("url", "must begin with http:// or https://"));
        }
        Ok(Self { latitude, longitude, name, address, url })
    }
}

fn degrees(data: &mut Fields, name: &str, limit: f64) -> Result<Degrees, Rejection> {
    let number = data.number(name)?;
    Degrees::within(number, limit).ok_or_else(|| data.invalid(name, &format!("must be within ±{limit} degrees")))
}

impl Contacts {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let cards = data.objects("contacts", 1, Self::MAX)?;
        Ok(Self { contacts: cards.into_iter().map(Card::from_fields).collect::<Result<_, _>>()? })
    }
}

impl Card {
    fn from_fields(mut data: Fields) -> Result<Self, Rejection> {
        let name = data.parsed("name")?;
        let phone: Option<PhoneNumber> = data.optional_parsed("phone")?;
        let vcard: Option<MessageText> = data.optional_parsed("vcard")?;
        let details = match (phone, vcard) {
            (Some(phone), None) => CardDetails::Phone(phone),
            (None, Some(vcard)) if is_vcard(vcard.as_str()) => CardDetails::Vcard(vcard),
            (None, Some(_)) => return Err(data.invalid("vcard", "must begin with BEGIN:VCARD and end with END:VCARD")),
            (None, None) => return Err(data.invalid("phone", "is missing, and so is vcard: give one of them")),
            (Some(_), Some(_)) => return Err(data.invalid("phone", "cannot stand beside vcard: give one of them")),
        };
        data.finish()?;
        Ok(Self { name, details })
    }
}

fn is_vcard(text: &str) -> bool {
    text.starts_with("BEGIN:VCARD") && text.trim_end().ends_with("END:VCARD")
}

impl Poll {
    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let question = data.parsed("question")?;
        let options: Vec<Line<100>> = data.parsed_list("options", Self::MIN_OPTIONS, Self::MAX_OPTIONS)?;
        let different: BTreeSet<&str> = options.iter().map(Line::as_str).collect();
        if different.len() < options.len() {
            return Err(data.invalid("options", "must all be different"));
        }
        Ok(Self { question, options, multiple: data.optional_flag("multiple")?.unwrap_or(false) })
    }
}
