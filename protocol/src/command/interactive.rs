//! Buttons and lists to choose from: what a business number of the Cloud API sends, and no other.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use super::text::{Line, MessageText};
use crate::json::Fields;
use crate::rejection::Rejection;

/// Content of the kind `buttons`. Only a Cloud API number sends it; a browser's message with buttons is shown to nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Buttons {
    /// The text above them.
    pub text: MessageText,
    /// The buttons, with different ids and titles.
    #[schemars(length(min = 1, max = Buttons::MAX))]
    pub buttons: Vec<Button>,
}

/// One button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Button {
    /// What the answer names it by.
    pub id: Line<256>,
    /// What stands on it.
    pub title: Line<20>,
}

impl Buttons {
    /// The most buttons of one message.
    pub const MAX: usize = 3;

    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let text = data.parsed("text")?;
        let items = data.objects("buttons", 1, Self::MAX)?.into_iter();
        let button = |mut item: Fields| {
            let button = Button { id: item.parsed("id")?, title: item.parsed("title")? };
            item.finish().map(|()| button)
        };
        let buttons: Vec<Button> = items.map(button).collect::<Result<_, _>>()?;
        let ids = buttons.iter().map(|button| button.id.as_str());
        let titles = buttons.iter().map(|button| button.title.as_str());
        if !different(ids) || !different(titles) {
            return Err(data.invalid("buttons", "must have different ids and titles"));
        }
        Ok(Self { text, buttons })
    }
}

/// Content of the kind `list`. Only a Cloud API number sends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Choices {
    /// The text above it.
    pub text: MessageText,
    /// What stands on the button that opens the list.
    pub button: Line<20>,
    /// The parts of the list, with 10 rows in all at most.
    #[schemars(length(min = 1, max = Choices::MAX_ROWS))]
    pub sections: Vec<ListSection>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ListSection {
    /// Its title; needed where there are several parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Line<24>>,
    /// What can be chosen.
    #[schemars(length(min = 1, max = Choices::MAX_ROWS))]
    pub rows: Vec<ListRow>,
}

/// Something to choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ListRow {
    /// What the answer names it by.
    pub id: Line<200>,
    /// What it is called.
    pub title: Line<24>,
    /// What stands below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Line<72>>,
}

impl Choices {
    /// The most rows of one list.
    pub const MAX_ROWS: usize = 10;

    pub(super) fn from_fields(data: &mut Fields) -> Result<Self, Rejection> {
        let (text, button) = (data.parsed("text")?, data.parsed("button")?);
        let parts = data.objects("sections", 1, Self::MAX_ROWS)?;
        let sections: Vec<ListSection> = parts.into_iter().map(ListSection::from_fields).collect::<Result<_, _>>()?;
        if sections.len() > 1 && sections.iter().any(|section| section.title.is_none()) {
            return Err(data.invalid("sections", "must have titles where there are several"));
        }
        let rows = || sections.iter().flat_map(|section| &section.rows);
        if rows().count() > Self::MAX_ROWS {
            return Err(data.invalid("sections", "must hold at most 10 rows in all"));
        }
        if !different(rows().map(|row| row.id.as_str())) {
            return Err(data.invalid("sections", "must have rows with different ids"));
        }
        Ok(Self { text, button, sections })
    }
}

impl ListSection {
    fn from_fields(mut data: Fields) -> Result<Self, Rejection> {
        let title = data.optional_parsed("title")?;
        let row = |mut row: Fields| {
            let read = ListRow {
                id: row.parsed("id")?,
                title: row.parsed("title")?,
                description: row.optional_parsed("description")?,
            };
            row.finish().map(|()| read)
        };
        let rows = data.objects("rows", 1, Choices::MAX_ROWS)?.into_iter().map(row).collect::<Result<_, _>>()?;
        data.finish()?;
        Ok(Self { title, rows })
    }
}

fn different<'a>(texts: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = BTreeSet::new();
    texts.into_iter().all(|text| seen.insert(text))
}
