//! `wafleet_sessions`, the fleet's own row per session, and `whatsapp_sessions`, the row the host application reads.

use sqlx::Row;
use sqlx::mysql::MySqlRow;
use wafleet_protocol::command::Calls;
use wafleet_protocol::event::SessionStatus;

use super::{Database, DatabaseError};

/// MySQL and MariaDB number for "unknown column", "no such table" and "field has no default": the host's schema differs.
const HOST_SCHEMA_ERRORS: [u16; 4] = [1054, 1146, 1364, 1452];

/// What the host asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Desired {
    /// Some worker should run the session.
    Running,
    /// No worker should.
    Stopped,
}

/// A session as the fleet knows it.
#[derive(Debug, Clone)]
pub(crate) struct SessionRow {
    pub(crate) session_id: String,
    /// The newest fence when the row was read.
    pub(crate) fence: u64,
    pub(crate) workspace_id: u64,
    pub(crate) desired: Desired,
    pub(crate) status: String,
    /// Unix milliseconds.
    pub(crate) status_since: i64,
    pub(crate) cause: Option<String>,
    pub(crate) attempt: u32,
    pub(crate) phone: Option<String>,
    /// Link by a pairing code for this phone, if the session needs linking.
    pub(crate) pairing_phone: Option<String>,
    /// What becomes of calls.
    pub(crate) calls: Calls,
    /// Unix seconds of the newest message whose event is confirmed; 0 before the first link.
    pub(crate) watermark: u64,
    /// Workers that gave it up, one after the other, since it was last connected.
    pub(crate) relocations: u32,
    /// An owner claimed it and never released it, so many milliseconds ago.
    pub(crate) unreleased_for_ms: Option<i64>,
    /// It has no browser: it is a number at the Cloud API, or was told to go by its number.
    pub(crate) by_cloud: bool,
}

/// A public status, as it is written to both tables.
#[derive(Debug)]
pub(crate) struct StatusWrite<'a> {
    pub(crate) session_id: &'a str,
    pub(crate) fence: u64,
    pub(crate) status: &'a str,
    pub(crate) cause: &'a str,
    pub(crate) attempt: u32,
    pub(crate) phone: Option<&'a str>,
    pub(crate) lid: Option<&'a str>,
    pub(crate) name: Option<&'a str>,
    pub(crate) connected: bool,
    pub(crate) health_score: u8,
}

const COLUMNS: &str = "session_id, fence, workspace_id, desired, status, CAST(UNIX_TIMESTAMP(status_since) * 1000 AS SIGNED) AS status_since, \
                       cause, attempt, phone, pairing_phone, calls, watermark, relocations, \
                       IF(owner IS NULL, NULL, TIMESTAMPDIFF(MICROSECOND, claimed_at, UTC_TIMESTAMP(3)) DIV 1000) AS unreleased_for_ms, \
                       EXISTS (SELECT 1 FROM wafleet_cloud_bindings AS b WHERE b.session_id = wafleet_sessions.session_id \
                       AND b.workspace_id = wafleet_sessions.workspace_id AND (b.role = 'session' OR b.chosen = 'cloud')) AS by_cloud";

fn session(row: &MySqlRow) -> Result<SessionRow, sqlx::Error> {
    Ok(SessionRow {
        session_id: row.try_get("session_id")?,
        fence: row.try_get("fence")?,
        workspace_id: row.try_get("workspace_id")?,
        desired: if row.try_get::<String, _>("desired")? == "running" { Desired::Running } else { Desired::Stopped },
        status: row.try_get("status")?,
        status_since: row.try_get("status_since")?,
        cause: row.try_get("cause")?,
        attempt: row.try_get("attempt")?,
        phone: row.try_get("phone")?,
        pairing_phone: row.try_get("pairing_phone")?,
        calls: calls(row)?,
        watermark: row.try_get("watermark")?,
        relocations: row.try_get("relocations")?,
        unreleased_for_ms: row.try_get("unreleased_for_ms")?,
        by_cloud: row.try_get("by_cloud")?,
    })
}

/// A session of which nobody said anything lets calls ring.
fn calls(row: &MySqlRow) -> Result<Calls, sqlx::Error> {
    let word: Option<String> = row.try_get("calls")?;
    Ok(word.and_then(|word| word.parse().ok()).unwrap_or_default())
}

impl Database {
    /// The session, if it was ever started.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn session(&self, session_id: &str) -> Result<Option<SessionRow>, DatabaseError> {
        let select = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM wafleet_sessions WHERE session_id = ?"));
        let row = sqlx::query(select).bind(session_id).fetch_optional(&self.pool).await?;
        Ok(row.as_ref().map(session).transpose()?)
    }

    /// Whether a workspace has any session.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn has_sessions(&self, workspace_id: u64) -> Result<bool, DatabaseError> {
        let select = "SELECT COUNT(*) FROM wafleet_sessions WHERE workspace_id = ?";
        Ok(sqlx::query_scalar::<_, i64>(select).bind(workspace_id).fetch_one(&self.pool).await? > 0)
    }

    /// Asks for a session to run; creates it when it is new. Returns false when it belongs to another workspace.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn want_running(
        &self,
        workspace_id: u64,
        session_id: &str,
        pairing_phone: Option<&str>,
        calls: Option<Calls>,
    ) -> Result<bool, DatabaseError> {
        // `released_at` puts it at the end of the claim order; a session that runs already is left as it is.
        let upsert = "INSERT INTO wafleet_sessions (session_id, workspace_id, desired, status, status_since, cause, attempt, fence, \
             pairing_phone, calls, watermark, created_at, updated_at) \
             VALUES (?, ?, 'running', 'initializing', UTC_TIMESTAMP(3), 'command', 0, 0, ?, ?, 0, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)) \
             ON DUPLICATE KEY UPDATE desired = IF(workspace_id = VALUES(workspace_id), 'running', desired), \
             relocations = IF(workspace_id = VALUES(workspace_id), 0, relocations), \
             pairing_phone = IF(workspace_id = VALUES(workspace_id), VALUES(pairing_phone), pairing_phone), \
             calls = IF(workspace_id = VALUES(workspace_id), COALESCE(VALUES(calls), calls), calls), \
             updated_at = IF(workspace_id = VALUES(workspace_id), UTC_TIMESTAMP(3), updated_at)";
        let calls = calls.map(Calls::as_str);
        self.execute(|| sqlx::query(upsert).bind(session_id).bind(workspace_id).bind(pairing_phone).bind(calls))
            .await?;
        Ok(self.session(session_id).await?.is_some_and(|session| session.workspace_id == workspace_id))
    }

    /// Settles what becomes of a session's calls.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn set_calls(&self, session_id: &str, calls: Calls) -> Result<(), DatabaseError> {
        let update = "UPDATE wafleet_sessions SET calls = ?, updated_at = UTC_TIMESTAMP(3) WHERE session_id = ?";
        self.execute(|| sqlx::query(update).bind(calls.as_str()).bind(session_id)).await?;
        Ok(())
    }

    /// What becomes of a session's calls.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn calls(&self, session_id: &str) -> Result<Calls, DatabaseError> {
        let select = "SELECT calls FROM wafleet_sessions WHERE session_id = ?";
        let row = sqlx::query(select).bind(session_id).fetch_optional(&self.pool).await?;
        Ok(row.as_ref().map(calls).transpose()?.unwrap_or_default())
    }

    /// Asks for a session to stop. Returns the session as it was, or `None` when this workspace has no such session.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn want_stopped(
        &self,
        workspace_id: u64,
        session_id: &str,
    ) -> Result<Option<SessionRow>, DatabaseError> {
        let before = self.session(session_id).await?.filter(|session| session.workspace_id == workspace_id);
        if before.is_some() {
            let update =
                "UPDATE wafleet_sessions SET desired = 'stopped', updated_at = UTC_TIMESTAMP(3) WHERE session_id = ?";
            self.execute(|| sqlx::query(update).bind(session_id)).await?;
        }
        Ok(before)
    }

    /// The owner itself gives up: the session shall not be claimed again until somebody asks for it.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn stop_as_owner(&self, session_id: &str, fence: u64) -> Result<(), DatabaseError> {
        let update = "UPDATE wafleet_sessions SET desired = 'stopped', updated_at = UTC_TIMESTAMP(3) \
                      WHERE session_id = ? AND fence <= ?";
        self.execute(|| sqlx::query(update).bind(session_id).bind(fence)).await?;
        Ok(())
    }

    /// Sessions that should run, those released longest ago first. The caller looks at the leases.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn wanted(&self, limit: u32) -> Result<Vec<SessionRow>, DatabaseError> {
        let select = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM wafleet_sessions WHERE desired = 'running' ORDER BY owner IS NOT NULL, released_at, session_id LIMIT ?"
        ));
        let rows = sqlx::query(select).bind(limit).fetch_all(&self.pool).await?;
        Ok(rows.iter().map(session).collect::<Result<_, _>>()?)
    }

    /// Of the sessions given, those that nobody wants to run any more.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn unwanted(&self, owner: &str) -> Result<Vec<String>, DatabaseError> {
        let select = "SELECT session_id FROM wafleet_sessions WHERE owner = ? AND desired = 'stopped'";
        let rows = sqlx::query(select).bind(owner).fetch_all(&self.pool).await?;
        Ok(rows.iter().map(|row| row.try_get("session_id")).collect::<Result<_, _>>()?)
    }

    /// The second half of a claim: a new fence, higher than any before. `None` when the session is no longer wanted, or when
    /// somebody got a fence since `seen` was read: two that claim across a flush of Redis both have its key for a moment,
    /// and only one of them gets a fence.
    ///
    /// # Errors
    /// The database is away: the claim is off.
    pub(crate) async fn next_fence(
        &self,
        session_id: &str,
        owner: &str,
        seen: u64,
    ) -> Result<Option<u64>, DatabaseError> {
        let update = "UPDATE wafleet_sessions SET fence = LAST_INSERT_ID(fence + 1), owner = ?, claimed_at = UTC_TIMESTAMP(3), \
                      updated_at = UTC_TIMESTAMP(3) WHERE session_id = ? AND desired = 'running' AND fence = ?";
        let done = self.execute(|| sqlx::query(update).bind(owner).bind(session_id).bind(seen)).await?;
        Ok((done.rows_affected() == 1).then(|| done.last_insert_id()))
    }

    /// Whether this owner still holds the newest fence.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn still_owner(&self, session_id: &str, owner: &str, fence: u64) -> Result<bool, DatabaseError> {
        let select = "SELECT 1 FROM wafleet_sessions WHERE session_id = ? AND owner = ? AND fence = ?";
        let row = sqlx::query(select).bind(session_id).bind(owner).bind(fence).fetch_optional(&self.pool).await?;
        Ok(row.is_some())
    }

    /// The owner gives a session up for another worker: counted, so that it does not go round for ever.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn relocated(&self, session_id: &str, fence: u64) -> Result<(), DatabaseError> {
        let update = "UPDATE wafleet_sessions SET relocations = relocations + 1 WHERE session_id = ? AND fence = ?";
        self.execute(|| sqlx::query(update).bind(session_id).bind(fence)).await?;
        Ok(())
    }

    /// The end of an ownership.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn released(&self, session_id: &str, fence: u64) -> Result<(), DatabaseError> {
        let update = "UPDATE wafleet_sessions SET owner = NULL, released_at = UTC_TIMESTAMP(3), updated_at = UTC_TIMESTAMP(3) \
                      WHERE session_id = ? AND fence = ?";
        self.execute(|| sqlx::query(update).bind(session_id).bind(fence)).await?;
        Ok(())
    }

    /// Writes a status to the fleet's row and, where it exists, to the host's. Returns false when a newer owner wrote since.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn write_status(&self, write: &StatusWrite<'_>) -> Result<bool, DatabaseError> {
        let update = "UPDATE wafleet_sessions SET status = ?, status_since = UTC_TIMESTAMP(3), cause = ?, attempt = ?, \
                      phone = COALESCE(?, phone), lid = COALESCE(?, lid), name = COALESCE(?, name), \
                      linked_at = IF(? AND linked_at IS NULL, UTC_TIMESTAMP(3), linked_at), \
                      relocations = IF(?, 0, relocations), updated_at = UTC_TIMESTAMP(3) \
                      WHERE session_id = ? AND fence <= ?";
        let done = self
            .execute(|| {
                sqlx::query(update)
                    .bind(write.status)
                    .bind(write.cause)
                    .bind(write.attempt)
                    .bind(write.phone)
                    .bind(write.lid)
                    .bind(write.name)
                    .bind(write.connected)
                    .bind(write.connected)
                    .bind(write.session_id)
                    .bind(write.fence)
            })
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        if write.status == SessionStatus::LoggedOut.as_str() {
            // Whoever links next begins anew.
            let forget = "DELETE FROM wafleet_syncs WHERE session_id = ? AND fence <= ?";
            self.execute(|| sqlx::query(forget).bind(write.session_id).bind(write.fence)).await?;
        }
        let host = "UPDATE whatsapp_sessions SET status = ?, phone_number = COALESCE(?, phone_number), health_score = ?, \
                    qr_code = IF(? = 'qr_required', qr_code, NULL), \
                    last_connected_at = IF(?, UTC_TIMESTAMP(3), last_connected_at), last_activity_at = UTC_TIMESTAMP(3), \
                    updated_at = UTC_TIMESTAMP(3) WHERE session_id = ? AND EXISTS \
                    (SELECT 1 FROM wafleet_sessions WHERE session_id = ? AND fence <= ?)";
        let host = self
            .execute(|| {
                sqlx::query(host)
                    .bind(write.status)
                    .bind(write.phone)
                    .bind(write.health_score)
                    .bind(write.status)
                    .bind(write.connected)
                    .bind(write.session_id)
                    .bind(write.session_id)
                    .bind(write.fence)
            })
            .await;
        unless_host_schema(host)?;
        Ok(true)
    }

    /// Writes the health score for the host's page.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn write_health(&self, session_id: &str, fence: u64, score: u8) -> Result<(), DatabaseError> {
        let update = "UPDATE whatsapp_sessions SET health_score = ?, updated_at = UTC_TIMESTAMP(3) WHERE session_id = ? \
                      AND EXISTS (SELECT 1 FROM wafleet_sessions WHERE session_id = ? AND fence <= ?)";
        let written =
            self.execute(|| sqlx::query(update).bind(score).bind(session_id).bind(session_id).bind(fence)).await;
        unless_host_schema(written)?;
        Ok(())
    }

    /// Writes the QR string for the host's page.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn write_qr(&self, session_id: &str, fence: u64, qr: &str) -> Result<(), DatabaseError> {
        let update = "UPDATE whatsapp_sessions SET qr_code = ?, updated_at = UTC_TIMESTAMP(3) WHERE session_id = ? \
                      AND EXISTS (SELECT 1 FROM wafleet_sessions WHERE session_id = ? AND fence <= ?)";
        let written = self.execute(|| sqlx::query(update).bind(qr).bind(session_id).bind(session_id).bind(fence)).await;
        unless_host_schema(written)?;
        Ok(())
    }

    /// Makes sure the host has a row for the session. Returns false when only the host can insert it, because its table
    /// has columns that we cannot fill (such as `created_by`).
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn ensure_host_row(&self, workspace_id: u64, session_id: &str) -> Result<bool, DatabaseError> {
        let select = "SELECT 1 FROM whatsapp_sessions WHERE session_id = ?";
        let found = sqlx::query(select).bind(session_id).fetch_optional(&self.pool).await;
        match unless_host_schema(found.map_err(DatabaseError::from))? {
            None => return Ok(false),
            Some(Some(_)) => return Ok(true),
            Some(None) => {}
        }
        let insert = "INSERT INTO whatsapp_sessions (uuid, workspace_id, session_id, status, created_at, updated_at) \
                      VALUES (UUID(), ?, ?, 'initializing', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))";
        let inserted = self.execute(|| sqlx::query(insert).bind(workspace_id).bind(session_id)).await;
        Ok(unless_host_schema(inserted)?.is_some())
    }

    /// Moves the watermark forward, never back.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn advance_watermark(
        &self,
        session_id: &str,
        fence: u64,
        watermark: u64,
    ) -> Result<(), DatabaseError> {
        let update =
            "UPDATE wafleet_sessions SET watermark = GREATEST(watermark, ?) WHERE session_id = ? AND fence <= ?";
        self.execute(|| sqlx::query(update).bind(watermark).bind(session_id).bind(fence)).await?;
        Ok(())
    }
}

/// `None` when the statement failed because the host's table is missing or has another shape; that is the host's right.
fn unless_host_schema<T>(result: Result<T, DatabaseError>) -> Result<Option<T>, DatabaseError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(DatabaseError(sqlx::Error::Database(error)))
            if error
                .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
                .is_some_and(|error| HOST_SCHEMA_ERRORS.contains(&error.number())) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
