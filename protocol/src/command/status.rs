//! Stories: what is shown for a day to the people of the address book.

use schemars::JsonSchema;
use serde::Serialize;

use super::MessageSend;
use super::content::{Content, Text};
use super::media::{Media, MediaKind};
use super::route::Route;
use super::text::{MessageText, Reference};
use crate::id::ChatId;
use crate::json::Fields;
use crate::provider::ProviderChoice;
use crate::rejection::Rejection;

/// Data of `status.post`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StatusPost {
    /// What is shown, by `kind`.
    #[serde(flatten)]
    pub story: Story,
    /// The caller's own name for it, echoed in every `message.ack` of it.
    pub reference: Option<Reference>,
}

/// What a story shows, told apart by `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Story {
    /// A text on a color.
    Text(StoryText),
    /// A picture: JPEG, PNG or WebP.
    Image(Media),
    /// A film: MP4, 3GPP or QuickTime.
    Video(Media),
}

/// A story of the kind `text`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StoryText {
    /// What it says. WhatsApp's clients show 700 characters.
    #[schemars(length(max = StoryText::MAX_CHARACTERS))]
    pub text: MessageText,
    /// What is behind it: `#` and six hexadecimal digits, red, green and blue. Without it, black.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", regex(pattern = "^#[0-9A-Fa-f]{6}$"))]
    pub background: Option<Color>,
}

/// A color: red, green and blue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Color(String);

impl Color {
    /// `#` and six hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Color {
    type Error = NoColor;

    fn try_from(text: String) -> Result<Self, NoColor> {
        let digits = text.strip_prefix('#').unwrap_or_default();
        let is_color = digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if is_color { Ok(Self(text)) } else { Err(NoColor) }
    }
}

/// The text is no color.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not # and six hexadecimal digits")]
pub struct NoColor;

impl StoryText {
    /// The longest text that WhatsApp's clients show.
    pub const MAX_CHARACTERS: usize = 700;

    fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let text: MessageText = data.parsed("text")?;
        if text.as_str().chars().count() > Self::MAX_CHARACTERS {
            return Err(data.invalid("text", &format!("is longer than {} characters", Self::MAX_CHARACTERS)));
        }
        Ok(Self { text, background: data.optional_parsed("background")? })
    }
}

impl StatusPost {
    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let story = match data.text("kind")?.as_str() {
            "text" => Story::Text(StoryText::from_fields(data)?),
            "image" => Story::Image(Media::from_fields(MediaKind::Image, data)?),
            "video" => Story::Video(Media::from_fields(MediaKind::Video, data)?),
            _ => return Err(data.invalid("kind", "must be \"text\", \"image\" or \"video\"")),
        };
        Ok(Self { story, reference: data.optional_parsed("reference")? })
    }
}

/// To WhatsApp a story is a message to a [chat of its own](ChatId::status). Meta's Cloud API has no stories.
impl From<StatusPost> for MessageSend {
    fn from(StatusPost { story, reference }: StatusPost) -> Self {
        let content = match story {
            Story::Text(StoryText { text, background }) => Content::Text(Text { background, ..Text::plain(text) }),
            Story::Image(media) => Content::Image(media),
            Story::Video(media) => Content::Video(media),
        };
        let route = Route { provider: Some(ProviderChoice::Web), template: None };
        Self { reference, route, ..Self::new(ChatId::status(), content) }
    }
}
