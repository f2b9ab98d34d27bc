//! The picture of a group.

use schemars::JsonSchema;
use serde::Serialize;

use super::group::group;
use super::media::{Inline, Media, MediaUrl, ObjectKey};
use crate::id::ChatId;
use crate::json::Fields;
use crate::rejection::Rejection;

/// Data of `group.picture`: exactly one of `url`, `object`, `inline` and `remove` says what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("oneOf" = ["url", "object", "inline", "remove"].map(|name| {
    serde_json::json!({ "required": [name], "properties": { name: { "not": { "type": "null" } } } })
})))]
pub struct GroupPicture {
    /// The group: `…@g.us`.
    pub group: ChatId,
    /// An address that the worker fetches: a JPEG, PNG or WebP, under the same rules as the file of an image. What is not
    /// square is cut around its middle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<MediaUrl>,
    /// The key of an object in the fleet's store: `media/<workspace>/…`, of the command's own workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectKey>,
    /// The file itself in base64, at most 64 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline: Option<Inline>,
    /// `true`: the group has no picture any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [true, null]))]
    pub remove: Option<bool>,
}

impl GroupPicture {
    /// The file; `None`: the picture goes.
    #[must_use]
    pub fn file(&self) -> Option<Media> {
        let Self { url, object, inline, .. } = self.clone();
        let media = Media { url, object, inline, mime: None, filename: None, caption: None };
        media.source().is_some().then_some(media)
    }

    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let picture = Self {
            group: group(data)?,
            url: data.optional_parsed("url")?,
            object: data.optional_parsed("object")?,
            inline: data.optional_parsed("inline")?,
            remove: data.optional_flag("remove")?,
        };
        let Self { url, object, inline, remove, .. } = &picture;
        if *remove == Some(false) {
            return Err(data.invalid("remove", "must be true, or left out"));
        }
        let given = [url.is_some(), object.is_some(), inline.is_some(), remove.is_some()];
        if given.into_iter().filter(|is_given| *is_given).count() != 1 {
            return Err(
                data.invalid("url", "must stand alone, or object, inline or remove in its place: give exactly one")
            );
        }
        Ok(picture)
    }
}
