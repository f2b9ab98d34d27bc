//! What WhatsApp said of contacts, kept for a while in Redis for all sessions of a workspace: WhatsApp counts who asks often.
//!
//! An answer is found under each id that it names, so that whoever was asked for by number is known by `…@lid`, too.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionManager;
use redis::{AsyncCommands, RedisError};
use serde::{Deserialize, Serialize};
use wafleet_protocol::command::Check;
use wafleet_protocol::event::ContactChecked;
use wafleet_protocol::id::WorkspaceId;
use wafleet_protocol::personal::Personal;

use crate::clock::Clock;

/// How long it is remembered that somebody is on WhatsApp: as long as anybody may want it.
const KEPT: Duration = Duration::from_secs(Check::MAX_AGE);

/// How long it is remembered that somebody is not: they may come any moment.
const ABSENCE_KEPT: Duration = Duration::from_secs(60 * 60);

/// Answers of WhatsApp about contacts.
#[derive(Clone)]
pub(crate) struct Checked {
    redis: ConnectionManager,
    prefix: Arc<str>,
    clock: Clock,
}

/// An answer as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    at: u64,
    answer: ContactChecked,
}

impl Checked {
    pub(crate) fn new((redis, prefix): (ConnectionManager, Arc<str>), clock: Clock) -> Self {
        Self { redis, prefix, clock }
    }

    /// What was said of somebody within this time, with its age.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn find(
        &self,
        workspace: WorkspaceId,
        contact: &str,
        max_age: Duration,
    ) -> Result<Option<ContactChecked>, RedisError> {
        if max_age.is_zero() {
            return Ok(None);
        }
        let found: Option<String> = self.redis.clone().get(self.key(workspace, contact)).await?;
        let Some(Kept { at, answer }) = found.and_then(|text| serde_json::from_str(&text).ok()) else {
            return Ok(None);
        };
        let age = self.clock.unix_secs().saturating_sub(at);
        Ok((age <= max_age.as_secs()).then_some(ContactChecked { age, ..answer }))
    }

    /// Remembers what was said, under every id that it names and the one that was asked for.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn remember(
        &self,
        workspace: WorkspaceId,
        contact: &str,
        answer: &ContactChecked,
    ) -> Result<(), RedisError> {
        let kept = Kept { at: self.clock.unix_secs(), answer: answer.clone() };
        let text = serde_json::to_string(&kept).expect("strings and numbers always serialise");
        let life = if answer.on_whatsapp { KEPT } else { ABSENCE_KEPT };
        let named = [answer.phone.as_ref(), answer.lid.as_ref()].into_iter().flatten().map(Personal::as_str);
        for id in named.chain([contact]) {
            let () = self.redis.clone().set_ex(self.key(workspace, id), &text, life.as_secs()).await?;
        }
        Ok(())
    }

    /// A number is the same with and without `@c.us`.
    fn key(&self, workspace: WorkspaceId, contact: &str) -> String {
        let contact = contact.strip_suffix("@c.us").unwrap_or(contact);
        format!("{}contact:{workspace}:{contact}", self.prefix)
    }
}
