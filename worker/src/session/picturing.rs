//! The picture of a group: its file is fetched as the file of an image is, and given to the page by name.

use serde_json::json;
use wafleet_browser::{CallError, Page};
use wafleet_protocol::command::{Action, GroupPicture, MediaKind};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::CommandError;

use super::acting;
use super::execute::Job;
use crate::logging::chain;
use crate::media::{self, Fetched};
use crate::settle::Outcome;

impl Job {
    /// Gives a group a picture, or takes it away.
    pub(super) async fn picture(&self, page: &Page, action: &Action, wanted: &GroupPicture) -> Outcome {
        let group = &wanted.group;
        let Some(medium) = wanted.file() else {
            return acting::act_with(&self.lease, page, action, json!({ "group": group, "file": null })).await;
        };
        let (config, objects, kind) = (&self.world.config, self.world.objects.as_deref(), MediaKind::Image);
        let fetched = media::fetch(&config.media, objects, self.workspace.get(), kind, &medium).await;
        // The file stays on the disk until the page is done with it.
        let Fetched { file, mime, .. } = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                self.world.counters.count("media.not_fetched", kind.as_str());
                tracing::warn!(error = %chain(&error), "the picture of a group was not fetched");
                return error.outcome();
            }
        };
        self.world.counters.count("media.fetched", kind.as_str());
        let name = match page.attach(file.path()).await {
            Ok(name) => name,
            Err(CallError::NotReady) => return Outcome::Wait,
            Err(error) => {
                tracing::warn!(%error, "the picture of a group could not be put into the page");
                let why = "the file could not be put into the page";
                return Outcome::Retry(CommandError::new(ErrorCode::PageUnavailable, why));
            }
        };
        let asked = json!({ "group": group, "file": name, "mime": mime });
        acting::act_with(&self.lease, page, action, asked).await
    }
}
