//! `wafleet_syncs`: what of a session's past is being told, and how far that has come.
//!
//! ```text
//! (none) ──linked──▶ running ──everything told──▶ done ──session.sync──▶ running
//!    ▲                  └──session.sync──▶ running, of another id          │
//!    └────────────────────────── logged out, erased ◀──────────────────────┘
//! ```
//! The row is the cursor: whoever owns the session goes on with it, and an owner that was followed by another writes nothing.

use sqlx::Row;
use sqlx::mysql::MySqlRow;
use wafleet_protocol::command::SessionSync;

use super::{Database, DatabaseError};

/// A sync that goes on.
#[derive(Debug, Clone)]
pub(crate) struct SyncRow {
    pub(crate) sync_id: String,
    pub(crate) by_command: bool,
    /// What the caller wants echoed, as JSON.
    pub(crate) metadata: Option<String>,
    pub(crate) wanted: SessionSync,
    /// The chats in their order; `None`: the page was not asked yet.
    pub(crate) plan: Option<Vec<String>>,
    pub(crate) reached: Reached,
    pub(crate) started_unix_ms: u64,
}

/// How far a sync has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Chats of the plan that were told.
    pub(crate) chats_told: u64,
    /// Chats of the plan whose messages were told, too.
    pub(crate) chats_done: u64,
    pub(crate) messages: u64,
    pub(crate) groups: u64,
    /// The last group that was told.
    pub(crate) group_cursor: Option<String>,
}

/// A sync to begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewSync<'a> {
    pub(crate) workspace_id: u64,
    pub(crate) session_id: &'a str,
    pub(crate) sync_id: &'a str,
    pub(crate) by_command: bool,
    pub(crate) metadata: Option<&'a str>,
    pub(crate) wanted: SessionSync,
}

const COLUMNS: &str = "sync_id, by_command, metadata, chats, days, messages, with_groups, plan, chats_told, chats_done, messages_told, \
                       groups_told, group_cursor, CAST(UNIX_TIMESTAMP(started_at) * 1000 AS UNSIGNED) AS started_unix_ms";

fn sync_row(row: &MySqlRow) -> Result<SyncRow, sqlx::Error> {
    let plan: Option<String> = row.try_get("plan")?;
    Ok(SyncRow {
        sync_id: row.try_get("sync_id")?,
        by_command: row.try_get("by_command")?,
        metadata: row.try_get("metadata")?,
        wanted: SessionSync {
            chats: row.try_get("chats")?,
            days: row.try_get("days")?,
            messages: row.try_get("messages")?,
            groups: row.try_get("with_groups")?,
        },
        // A plan that cannot be read is made anew.
        plan: plan.and_then(|plan| serde_json::from_str(&plan).ok()),
        reached: Reached {
            chats_told: row.try_get("chats_told")?,
            chats_done: row.try_get("chats_done")?,
            messages: row.try_get("messages_told")?,
            groups: row.try_get("groups_told")?,
            group_cursor: row.try_get("group_cursor")?,
        },
        started_unix_ms: row.try_get("started_unix_ms")?,
    })
}

impl Database {
    /// Begins a sync in the place of the one before; one that has begun already goes on. Returns false when a newer owner
    /// has the session.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn begin_sync(&self, new: &NewSync<'_>, fence: u64) -> Result<bool, DatabaseError> {
        let delete = "DELETE FROM wafleet_syncs WHERE session_id = ? AND sync_id <> ? AND fence <= ?";
        self.execute(|| sqlx::query(delete).bind(new.session_id).bind(new.sync_id).bind(fence)).await?;
        self.first_sync(new, fence).await?;
        let select = "SELECT 1 FROM wafleet_syncs WHERE session_id = ? AND sync_id = ? AND fence <= ?";
        let row = sqlx::query(select).bind(new.session_id).bind(new.sync_id).bind(fence).fetch_optional(&self.pool);
        Ok(row.await?.is_some())
    }

    /// Begins a sync of a session that had none since it was linked. Returns whether it was so.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn first_sync(&self, new: &NewSync<'_>, fence: u64) -> Result<bool, DatabaseError> {
        let insert = "INSERT IGNORE INTO wafleet_syncs (session_id, workspace_id, sync_id, by_command, metadata, chats, days, messages, \
                      with_groups, state, fence, started_at, updated_at) \
                      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'running', ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))";
        let done = self
            .execute(|| {
                sqlx::query(insert)
                    .bind(new.session_id)
                    .bind(new.workspace_id)
                    .bind(new.sync_id)
                    .bind(new.by_command)
                    .bind(new.metadata)
                    .bind(new.wanted.chats)
                    .bind(new.wanted.days)
                    .bind(new.wanted.messages)
                    .bind(new.wanted.groups)
                    .bind(fence)
            })
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The session's sync, if one goes on.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn running_sync(&self, session_id: &str) -> Result<Option<SyncRow>, DatabaseError> {
        let select = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM wafleet_syncs WHERE session_id = ? AND state = 'running'"
        ));
        let row = sqlx::query(select).bind(session_id).fetch_optional(&self.pool).await?;
        Ok(row.as_ref().map(sync_row).transpose()?)
    }

    /// The same for its owner, who goes on with it: from here on no earlier owner moves it.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn take_sync(&self, session_id: &str, fence: u64) -> Result<Option<SyncRow>, DatabaseError> {
        let take = "UPDATE wafleet_syncs SET fence = ? WHERE session_id = ? AND state = 'running' AND fence <= ?";
        let taken = self.execute(|| sqlx::query(take).bind(fence).bind(session_id).bind(fence)).await?;
        if taken.rows_affected() == 0 { Ok(None) } else { self.running_sync(session_id).await }
    }

    /// Notes which chats it takes. Returns false when it is not this owner's any more, or another one took its place.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn plan_sync(
        &self,
        session_id: &str,
        sync_id: &str,
        fence: u64,
        plan: &[String],
    ) -> Result<bool, DatabaseError> {
        let plan = serde_json::json!(plan).to_string();
        let update = "UPDATE wafleet_syncs SET plan = ?, fence = ?, updated_at = UTC_TIMESTAMP(3) \
                      WHERE session_id = ? AND sync_id = ? AND fence <= ?";
        let done = self
            .execute(|| sqlx::query(update).bind(&plan).bind(fence).bind(session_id).bind(sync_id).bind(fence))
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Notes how far it has come. Returns false as [`plan_sync`](Self::plan_sync).
    ///
    /// # Errors
    /// The database is away; what was told since is told again.
    pub(crate) async fn move_sync(
        &self,
        session_id: &str,
        sync_id: &str,
        fence: u64,
        reached: &Reached,
    ) -> Result<bool, DatabaseError> {
        let update = "UPDATE wafleet_syncs SET chats_told = ?, chats_done = ?, messages_told = ?, groups_told = ?, group_cursor = ?, \
                      fence = ?, updated_at = UTC_TIMESTAMP(3) WHERE session_id = ? AND sync_id = ? AND fence <= ?";
        let done = self
            .execute(|| {
                sqlx::query(update)
                    .bind(reached.chats_told)
                    .bind(reached.chats_done)
                    .bind(reached.messages)
                    .bind(reached.groups)
                    .bind(reached.group_cursor.as_deref())
                    .bind(fence)
                    .bind(session_id)
                    .bind(sync_id)
                    .bind(fence)
            })
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Everything was told; the list of chats goes.
    ///
    /// # Errors
    /// The database is away; its end is told again, under the same event id.
    pub(crate) async fn end_sync(&self, session_id: &str, sync_id: &str, fence: u64) -> Result<(), DatabaseError> {
        let update = "UPDATE wafleet_syncs SET state = 'done', plan = NULL, metadata = NULL, updated_at = UTC_TIMESTAMP(3) \
                      WHERE session_id = ? AND sync_id = ? AND fence <= ?";
        self.execute(|| sqlx::query(update).bind(session_id).bind(sync_id).bind(fence)).await?;
        Ok(())
    }
}
