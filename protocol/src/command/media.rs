//! Media by reference: where a worker finds the file that a message carries.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::text::{MessageText, Reference, TextError};
use crate::json::Fields;
use crate::rejection::Rejection;

/// Content of the kinds `image`, `video`, `video_note`, `audio`, `voice`, `document` and `sticker`: exactly one of `url`,
/// `object` and `inline` says where the file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(extend("oneOf" = serde_json::json!([{ "required": ["url"] }, { "required": ["object"] }, { "required": ["inline"] }])))]
pub struct Media {
    /// An address that the worker fetches when the message's turn has come. `https`, unless the operator allows `http`; no
    /// address inside a network of its own; at most 3 redirects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<MediaUrl>,
    /// The key of an object in the fleet's store: `media/<workspace>/…`, of the command's own workspace. What
    /// `message.media` tells can be sent on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectKey>,
    /// The file itself in base64, at most 64 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline: Option<Inline>,
    /// The MIME type that the file has. The worker looks at the file's beginning and refuses one that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime: Option<MimeType>,
    /// The name that recipients of a document see. Other kinds do not show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<FileName>,
    /// The text below an image, a video or a document. The other kinds have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caption: Option<MessageText>,
}

/// Where the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaSource<'a> {
    /// At an address.
    Url(&'a MediaUrl),
    /// In the fleet's object store.
    Object(&'a ObjectKey),
    /// In the command.
    Inline(&'a Inline),
}

/// What a medium is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A short film that is shown in a circle.
    VideoNote,
    /// A piece of music or the like.
    Audio,
    /// A voice message.
    Voice,
    /// A file of any kind.
    Document,
    /// A sticker.
    Sticker,
}

impl MediaKind {
    /// The word in `kind`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::VideoNote => "video_note",
            Self::Audio => "audio",
            Self::Voice => "voice",
            Self::Document => "document",
            Self::Sticker => "sticker",
        }
    }

    /// Whether WhatsApp shows a text below it.
    #[must_use]
    pub fn takes_caption(self) -> bool {
        matches!(self, Self::Image | Self::Video | Self::Document)
    }
}

impl Media {
    /// A file at an address, as it is.
    #[must_use]
    pub fn at(url: MediaUrl) -> Self {
        Self { url: Some(url), object: None, inline: None, mime: None, filename: None, caption: None }
    }

    /// Where the file is.
    #[must_use]
    pub fn source(&self) -> Option<MediaSource<'_>> {
        match (&self.url, &self.object, &self.inline) {
            (Some(url), None, None) => Some(MediaSource::Url(url)),
            (None, Some(object), None) => Some(MediaSource::Object(object)),
            (None, None, Some(inline)) => Some(MediaSource::Inline(inline)),
            _ => None,
        }
    }

    pub(super) fn from_fields(kind: MediaKind, data: &mut Fields) -> Result<Self, Rejection> {
        let media = Self {
            url: data.optional_parsed("url")?,
            object: data.optional_parsed("object")?,
            inline: data.optional_parsed("inline")?,
            mime: data.optional_parsed("mime")?,
            filename: data.optional_parsed("filename")?,
            caption: data.optional_parsed("caption")?,
        };
        if media.source().is_none() {
            return Err(data.invalid("url", "must stand alone, or object or inline in its place: give exactly one"));
        }
        if media.caption.is_some() && !kind.takes_caption() {
            return Err(data.invalid("caption", "is shown with an image, a video or a document only"));
        }
        Ok(media)
    }
}

/// Why a reference to a file is not accepted. Never contains the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// Of the wrong form.
    #[error("not {0}")]
    WrongForm(&'static str),
    /// Too long.
    #[error("longer than {max} bytes")]
    TooLong {
        /// The most that is accepted.
        max: usize,
    },
    /// A text that is no name.
    #[error(transparent)]
    Text(#[from] TextError),
}

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $max:literal, $form:literal, $pattern:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = MediaError;

            fn try_from(text: String) -> Result<Self, MediaError> {
                if text.len() > $max {
                    return Err(MediaError::TooLong { max: $max });
                }
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(MediaError::WrongForm($form)) }
            }
        }

        impl std::str::FromStr for $name {
            type Err = MediaError;

            fn from_str(text: &str) -> Result<Self, MediaError> {
                text.to_owned().try_into()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "minLength": 1, "maxLength": $max, "pattern": $pattern })
            }
        }
    };
}

checked_text! {
    /// An address of a file: `https://…` or `http://…`, without a user's name. `Debug` hides it, because addresses carry secrets.
    MediaUrl, 2048, "an https:// or http:// address without spaces and without a user's name", "^https?://[!-~]+$", |text| {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        !host.is_empty() && !host.contains(['@', '\\']) && rest.bytes().all(|byte| (b'!'..=b'~').contains(&byte))
    }
}

checked_text! {
    /// The key of an object with a file: `media/<workspace>/…`.
    ObjectKey, 512, "a key media/<workspace>/… of letters, digits, '.', '_', '-', '@', '=' and '+', without empty parts",
    "^media/[0-9]+(/[A-Za-z0-9._@=+-]+)+$", |text| {
        let mut parts = text.split('/');
        let number = |part: Option<&str>| part.is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        let plain = |part: &str| {
            !part.is_empty() && part != "." && part != ".."
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@=+-".contains(&b))
        };
        parts.next() == Some("media") && number(parts.next()) && text.matches('/').count() >= 2 && parts.all(plain)
    }
}

checked_text! {
    /// A MIME type in lower case, e.g. `application/pdf`, with or without parameters.
    MimeType, 127, "a MIME type in lower case", "^[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*( *;[ -~]*)?$", |text| {
        let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
        let word = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$&^_.+-".contains(&b))
        };
        let two = essence.trim_end_matches(' ').split_once('/');
        two.is_some_and(|(a, b)| word(a) && word(b)) && parameters.bytes().all(|b| (b' '..=b'~').contains(&b))
    }
}

impl MimeType {
    /// Without parameters.
    #[must_use]
    pub fn essence(&self) -> &str {
        self.0.split(';').next().unwrap_or_default().trim_end()
    }
}

impl ObjectKey {
    /// Whether it is one of this workspace.
    #[must_use]
    pub fn is_of(&self, workspace: u64) -> bool {
        self.0.split('/').nth(1).and_then(|number| number.parse().ok()) == Some(workspace)
    }
}

/// The name of a file as recipients see it: 1 to 255 characters, no control characters and no slashes. `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct FileName(Reference);

impl FileName {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<String> for FileName {
    type Error = MediaError;

    fn try_from(text: String) -> Result<Self, MediaError> {
        if text.contains(['/', '\\']) || text == "." || text == ".." {
            return Err(MediaError::WrongForm("the name of a file without its directory"));
        }
        Ok(Self(text.try_into()?))
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileName(redacted)")
    }
}

impl JsonSchema for FileName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FileName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[^/\\\\]+$" })
    }
}

/// A small file: base64 on the wire, bytes here.
#[derive(Clone, PartialEq, Eq)]
pub struct Inline(Vec<u8>);

impl Inline {
    /// The most bytes; anything larger does not belong into a message of a broker.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// The file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<String> for Inline {
    type Error = MediaError;

    fn try_from(text: String) -> Result<Self, MediaError> {
        let bytes = STANDARD.decode(text).map_err(|_| MediaError::WrongForm("base64"))?;
        match bytes.len() {
            0 => Err(MediaError::WrongForm("a file with anything in it")),
            1..=Self::MAX_BYTES => Ok(Self(bytes)),
            _ => Err(MediaError::TooLong { max: Self::MAX_BYTES }),
        }
    }
}

impl Serialize for Inline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl fmt::Debug for Inline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inline({} bytes)", self.0.len())
    }
}

impl JsonSchema for Inline {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Inline".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Four characters for three bytes, rounded up.
        let most = Self::MAX_BYTES.div_ceil(3) * 4;
        json_schema!({ "type": "string", "minLength": 4, "maxLength": most, "contentEncoding": "base64" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken<T: TryFrom<String>>(text: &str) -> bool {
        T::try_from(text.to_owned()).is_ok()
    }

    #[test]
    fn references_have_their_forms_and_no_others() {
        for (text, accepted) in [
            ("https://example.com/a.jpg?token=1", true),
            ("http://example.com", true),
            ("https://[2001:db8::1]:8443/a", true),
            ("https://", false),
            ("https:///etc/passwd", false),
            ("ftp://example.com/a", false),
            ("file:///etc/passwd", false),
            ("HTTPS://example.com", false),
            ("https://user:secret@example.com/", false),
            ("https://example.com\\@evil.example/", false),
            ("https://example.com/a b", false),
            ("https://example.com/ä", false),
        ] {
            assert_eq!(taken::<MediaUrl>(text), accepted, "{text}");
        }
        for (text, accepted) in [
            ("media/7/shop/3EB0.jpg", true),
            ("media/7/a", true),
            ("media/7", false),
            ("media/7/", false),
            ("media/x/a", false),
            ("media/7/../8/a", false),
            ("media/7/./a", false),
            ("media/7//a", false),
            ("profiles/7/shop/1.wasnap", false),
            ("/media/7/a", false),
            ("media/7/%2e%2e", false),
        ] {
            assert_eq!(taken::<ObjectKey>(text), accepted, "{text}");
        }
        for (text, accepted) in [
            ("image/jpeg", true),
            ("audio/ogg; codecs=opus", true),
            ("application/vnd.ms-excel", true),
            ("image", false),
            ("Image/JPEG", false),
            ("image/", false),
            ("image/jpeg\r\nx: y", false),
        ] {
            assert_eq!(taken::<MimeType>(text), accepted, "{text}");
        }
        for (text, accepted) in [("Angebot 1.pdf", true), ("../x", false), ("a\\b", false), ("..", false), ("", false)]
        {
            assert_eq!(taken::<FileName>(text), accepted, "{text}");
        }
    }

    #[test]
    fn an_inline_file_is_small_and_has_something_in_it() {
        let of = |bytes: usize| STANDARD.encode(vec![7; bytes]);
        assert!(taken::<Inline>(&of(1)) && taken::<Inline>(&of(Inline::MAX_BYTES)));
        assert!(!taken::<Inline>(&of(0)) && !taken::<Inline>(&of(Inline::MAX_BYTES + 1)) && !taken::<Inline>("%%%%"));
    }

    #[test]
    fn keys_belong_to_one_workspace() {
        let key: ObjectKey = "media/7/a".parse().expect("a key");
        assert!(key.is_of(7) && !key.is_of(70) && !key.is_of(0));
    }
}
