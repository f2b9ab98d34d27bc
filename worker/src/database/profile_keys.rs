//! Which ring key wraps what, wrapping anew, and the erasure of all that a session has saved.
//!
//! A row is changed only if it is still what was read (compare and set), one row at a time, so a rotation may be ended
//! anywhere and begun again, and workers may save meanwhile.

use sqlx::Row;

use super::audit::Audit;
use super::{Database, DatabaseError};

/// What one key of the ring wraps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyUse {
    pub(crate) key_id: String,
    pub(crate) snapshots: u64,
    pub(crate) session_keys: u64,
    pub(crate) cloud_tokens: u64,
}

/// A session's own key, wrapped.
#[derive(Debug, Clone)]
pub(crate) struct WrappedKey {
    pub(crate) session_id: String,
    pub(crate) workspace_id: u64,
    pub(crate) wrapped: Vec<u8>,
}

/// A snapshot's header with what is needed to open it.
#[derive(Debug, Clone)]
pub(crate) struct WrappedHeader {
    pub(crate) id: u64,
    pub(crate) session: WrappedKey,
    pub(crate) generation: u64,
    pub(crate) fence: u64,
    pub(crate) header: Vec<u8>,
}

/// Whether a session could be erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Erasure {
    /// Done: so many snapshots are gone.
    Erased { snapshots: u64 },
    /// The workspace has no such session.
    Unknown,
    /// It should be running.
    InUse,
}

/// What the ledger of erasures names instead of the session.
pub(crate) fn session_hash(workspace_id: u64, session_id: &str) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::new().chain_update(workspace_id.to_string()).chain_update([0]).chain_update(session_id).finalize().into()
}

impl Database {
    /// Every ring key that something is wrapped with.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn profile_key_use(&self) -> Result<Vec<KeyUse>, DatabaseError> {
        let select = "SELECT key_id, CAST(SUM(what = 0) AS UNSIGNED) AS snapshots, CAST(SUM(what = 1) AS UNSIGNED) AS session_keys, \
                      CAST(SUM(what = 2) AS UNSIGNED) AS cloud_tokens \
                      FROM (SELECT key_id, 0 AS what FROM wafleet_snapshots UNION ALL SELECT key_id, 1 FROM wafleet_session_keys \
                      UNION ALL SELECT key_id, 2 FROM wafleet_cloud_numbers) AS used GROUP BY key_id ORDER BY key_id";
        let rows = sqlx::query(select).fetch_all(&self.pool).await?;
        let key_use = |row: &sqlx::mysql::MySqlRow| {
            Ok::<_, sqlx::Error>(KeyUse {
                key_id: row.try_get("key_id")?,
                snapshots: row.try_get("snapshots")?,
                session_keys: row.try_get("session_keys")?,
                cloud_tokens: row.try_get("cloud_tokens")?,
            })
        };
        Ok(rows.iter().map(key_use).collect::<Result<_, _>>()?)
    }

    /// Session keys that are wrapped by another ring key than this, after a session id, in their order.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn session_keys_not_under(
        &self,
        key_id: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<WrappedKey>, DatabaseError> {
        let select = "SELECT session_id, workspace_id, wrapped FROM wafleet_session_keys \
                      WHERE key_id <> ? AND session_id > ? ORDER BY session_id LIMIT ?";
        let rows = sqlx::query(select).bind(key_id).bind(after).bind(limit).fetch_all(&self.pool).await?;
        let wrapped = |row: &sqlx::mysql::MySqlRow| {
            Ok::<_, sqlx::Error>(WrappedKey {
                session_id: row.try_get("session_id")?,
                workspace_id: row.try_get("workspace_id")?,
                wrapped: row.try_get("wrapped")?,
            })
        };
        Ok(rows.iter().map(wrapped).collect::<Result<_, _>>()?)
    }

    /// Replaces a wrapped session key if it is still what was read.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn rewrap_session_key(
        &self,
        old: &WrappedKey,
        key_id: &str,
        wrapped: &[u8],
    ) -> Result<bool, DatabaseError> {
        let update = "UPDATE wafleet_session_keys SET key_id = ?, wrapped = ?, updated_at = UTC_TIMESTAMP(3) \
                      WHERE session_id = ? AND wrapped = ?";
        let update = sqlx::query(update).bind(key_id).bind(wrapped).bind(&old.session_id).bind(&old.wrapped);
        Ok(update.execute(&self.pool).await?.rows_affected() == 1)
    }

    /// Snapshots whose data key is wrapped by another ring key than this, after a row, in their order.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn snapshots_not_under(
        &self,
        key_id: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<WrappedHeader>, DatabaseError> {
        let select = "SELECT s.id, s.session_id, s.workspace_id, s.generation, s.fence, s.header, k.wrapped \
                      FROM wafleet_snapshots AS s LEFT JOIN wafleet_session_keys AS k ON k.session_id = s.session_id \
                      WHERE s.key_id <> ? AND s.id > ? ORDER BY s.id LIMIT ?";
        let rows = sqlx::query(select).bind(key_id).bind(after).bind(limit).fetch_all(&self.pool).await?;
        let wrapped = |row: &sqlx::mysql::MySqlRow| {
            let session = WrappedKey {
                session_id: row.try_get("session_id")?,
                workspace_id: row.try_get("workspace_id")?,
                // Without its session's key a snapshot does not open; the empty one says so.
                wrapped: row.try_get::<Option<Vec<u8>>, _>("wrapped")?.unwrap_or_default(),
            };
            Ok::<_, sqlx::Error>(WrappedHeader {
                id: row.try_get("id")?,
                session,
                generation: row.try_get("generation")?,
                fence: row.try_get("fence")?,
                header: row.try_get("header")?,
            })
        };
        Ok(rows.iter().map(wrapped).collect::<Result<_, _>>()?)
    }

    /// Replaces a snapshot's header if it is still what was read.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn rewrap_snapshot(
        &self,
        old: &WrappedHeader,
        key_id: &str,
        header: &[u8],
    ) -> Result<bool, DatabaseError> {
        let update = "UPDATE wafleet_snapshots SET key_id = ?, header = ? WHERE id = ? AND header = ?";
        let update = sqlx::query(update).bind(key_id).bind(header).bind(old.id).bind(&old.header);
        Ok(update.execute(&self.pool).await?.rows_affected() == 1)
    }

    /// Destroys the session's key and with it every copy of its snapshots, deletes the snapshots, forgets whose phone it
    /// was, and writes the ledger and the audit trail: all of it or nothing. The caller has seen that no worker holds a lease; late
    /// owners are fenced out, and nobody can claim a session that is to be stopped.
    ///
    /// # Errors
    /// The database is away; nothing has changed.
    pub(crate) async fn erase_session(
        &self,
        workspace_id: u64,
        session_id: &str,
        by: &str,
        why: &str,
    ) -> Result<Erasure, DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        let select = "SELECT desired, fence FROM wafleet_sessions WHERE session_id = ? AND workspace_id = ? FOR UPDATE";
        let row = sqlx::query(select).bind(session_id).bind(workspace_id).fetch_optional(&mut *transaction).await?;
        let Some(row) = row else { return Ok(Erasure::Unknown) };
        let fence: u64 = row.try_get("fence")?;
        if row.try_get::<String, _>("desired")? != "stopped" {
            return Ok(Erasure::InUse);
        }
        sqlx::query("DELETE FROM wafleet_session_keys WHERE session_id = ?")
            .bind(session_id)
            .execute(&mut *transaction)
            .await?;
        let snapshots = sqlx::query("DELETE FROM wafleet_snapshots WHERE session_id = ?")
            .bind(session_id)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        // The objects are deleted from the store first, then these rows.
        let media = "UPDATE wafleet_media SET expires_at = UTC_TIMESTAMP(3), told_at = COALESCE(told_at, UTC_TIMESTAMP(3)) WHERE session_id = ?";
        sqlx::query(media).bind(session_id).execute(&mut *transaction).await?;
        for delete in [
            "DELETE FROM wafleet_contacts WHERE session_id = ?",
            "DELETE FROM wafleet_campaign_contacts WHERE session_id = ?",
            "DELETE FROM wafleet_syncs WHERE session_id = ?",
        ] {
            sqlx::query(delete).bind(session_id).execute(&mut *transaction).await?;
        }
        // The row stays, because its fence must never be given out again.
        let forget = "UPDATE wafleet_sessions SET fence = fence + 1, owner = NULL, status = 'logged_out', cause = 'command', phone = NULL, lid = NULL, \
                      name = NULL, pairing_phone = NULL, linked_at = NULL, watermark = 0, updated_at = UTC_TIMESTAMP(3) \
                      WHERE session_id = ?";
        sqlx::query(forget).bind(session_id).execute(&mut *transaction).await?;
        let ledger = "INSERT INTO wafleet_erasures (session_sha256, fence, at, erased_by, why, snapshots) \
                      VALUES (?, ?, UTC_TIMESTAMP(3), ?, ?, ?)";
        sqlx::query(ledger)
            .bind(session_hash(workspace_id, session_id).as_slice())
            .bind(fence)
            .bind(by)
            .bind(why)
            .bind(snapshots)
            .execute(&mut *transaction)
            .await?;
        let audit = Audit {
            workspace_id: Some(workspace_id),
            session_id: Some(session_id),
            actor: format!("operator:{by}"),
            action: "session.erased",
            reason: "erasure",
            detail: serde_json::json!({ "why": why, "snapshots": snapshots }),
            ..Audit::default()
        };
        audit.insert(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(Erasure::Erased { snapshots })
    }

    /// The newest fence that an erasure of this session covers.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn erased_up_to(&self, workspace_id: u64, session_id: &str) -> Result<Option<u64>, DatabaseError> {
        let select = "SELECT MAX(fence) FROM wafleet_erasures WHERE session_sha256 = ?";
        let hash = session_hash(workspace_id, session_id);
        Ok(sqlx::query_scalar(select).bind(hash.as_slice()).fetch_one(&self.pool).await?)
    }
}
