//! `wafleet_snapshots`, their chunks (where no object store is used), and the key each session has of its own.
//!
//! ```text
//! writing ──all chunks there, fence still the newest──▶ complete ──two newer ones──▶ deleted
//!    └── its owner died or failed: deleted by the next owner that saves
//! ```
//! Every write is guarded by the session's fence: a late owner adds nothing and switches nothing on.

use sqlx::Row;
use sqlx::mysql::MySqlRow;

use super::{Database, DatabaseError};

/// Complete generations that are kept: the newest, and one in case it is damaged.
pub(crate) const KEPT_GENERATIONS: u32 = 2;
/// Days that snapshots of an unlinked device are kept.
const KEEP_UNLINKED_DAYS: u32 = 30;

/// A snapshot without its chunks.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotRow {
    pub(crate) id: u64,
    pub(crate) generation: u64,
    pub(crate) fence: u64,
    pub(crate) header: Vec<u8>,
    pub(crate) bytes: u64,
    pub(crate) chunks: u64,
    /// The object that holds it; `None`: its chunks are rows.
    pub(crate) object: Option<String>,
}

/// What the snapshots say about a profile that lies on a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Newest {
    /// Fence of the newest snapshot that may be restored.
    pub(crate) restorable: Option<u64>,
    /// Newest fence under which the device was found unlinked.
    pub(crate) unlinked: Option<u64>,
    /// Newest fence that an erasure of the session covers.
    pub(crate) erased: Option<u64>,
}

/// A complete snapshot's figures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Complete {
    pub(crate) bytes: u64,
    pub(crate) chunks: u64,
    pub(crate) sha256: [u8; 32],
}

fn snapshot(row: &MySqlRow) -> Result<SnapshotRow, sqlx::Error> {
    Ok(SnapshotRow {
        id: row.try_get("id")?,
        generation: row.try_get("generation")?,
        fence: row.try_get("fence")?,
        header: row.try_get("header")?,
        bytes: row.try_get("bytes")?,
        chunks: row.try_get("chunks")?,
        object: row.try_get("object")?,
    })
}

impl Database {
    /// The number of the session's next snapshot, after deleting what an earlier save of this or an earlier owner left
    /// half-written.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn next_generation(&self, session_id: &str, fence: u64) -> Result<u64, DatabaseError> {
        let stale = "DELETE FROM wafleet_snapshots WHERE session_id = ? AND state = 'writing' AND fence <= ?";
        sqlx::query(stale).bind(session_id).bind(fence).execute(&self.pool).await?;
        let select =
            "SELECT CAST(COALESCE(MAX(generation), 0) + 1 AS UNSIGNED) FROM wafleet_snapshots WHERE session_id = ?";
        Ok(sqlx::query_scalar(select).bind(session_id).fetch_one(&self.pool).await?)
    }

    /// Begins a snapshot, invisible until [`complete_snapshot`](Self::complete_snapshot). `None` when a newer owner is
    /// known.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn begin_snapshot(
        &self,
        session_id: &str,
        generation: u64,
        fence: u64,
        key_id: &str,
        header: &[u8],
    ) -> Result<Option<u64>, DatabaseError> {
        let insert = "INSERT INTO wafleet_snapshots (session_id, workspace_id, generation, fence, state, key_id, header, created_at) \
                      SELECT session_id, workspace_id, ?, ?, 'writing', ?, ?, UTC_TIMESTAMP(3) \
                      FROM wafleet_sessions WHERE session_id = ? AND fence <= ?";
        let done = sqlx::query(insert)
            .bind(generation)
            .bind(fence)
            .bind(key_id)
            .bind(header)
            .bind(session_id)
            .bind(fence)
            .execute(&self.pool)
            .await?;
        Ok((done.rows_affected() == 1).then(|| done.last_insert_id()))
    }

    /// Adds a chunk to a snapshot that is being written.
    ///
    /// # Errors
    /// The database is away, or the snapshot was deleted by a newer owner.
    pub(crate) async fn add_chunk(&self, snapshot_id: u64, seq: u64, data: &[u8]) -> Result<(), DatabaseError> {
        let insert = "INSERT INTO wafleet_snapshot_chunks (snapshot_id, seq, data) VALUES (?, ?, ?)";
        sqlx::query(insert).bind(snapshot_id).bind(seq).bind(data).execute(&self.pool).await?;
        Ok(())
    }

    /// Switches a snapshot on and deletes the generations that are too many, in one transaction that holds the session's
    /// row. Returns false when a newer owner is known: then nothing has changed.
    ///
    /// # Errors
    /// The database is away; the snapshot stays invisible.
    pub(crate) async fn complete_snapshot(
        &self,
        session_id: &str,
        snapshot_id: u64,
        fence: u64,
        complete: &Complete,
    ) -> Result<bool, DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        let newest: Option<u64> =
            sqlx::query_scalar("SELECT fence FROM wafleet_sessions WHERE session_id = ? FOR UPDATE")
                .bind(session_id)
                .fetch_optional(&mut *transaction)
                .await?;
        if newest.is_none_or(|newest| newest > fence) {
            return Ok(false);
        }
        let update = "UPDATE wafleet_snapshots SET state = 'complete', bytes = ?, chunks = ?, sha256 = ?, \
                      completed_at = UTC_TIMESTAMP(3) WHERE id = ? AND session_id = ? AND state = 'writing' AND fence <= ?";
        let done = sqlx::query(update)
            .bind(complete.bytes)
            .bind(complete.chunks)
            .bind(complete.sha256.as_slice())
            .bind(snapshot_id)
            .bind(session_id)
            .bind(fence)
            .execute(&mut *transaction)
            .await?;
        if done.rows_affected() != 1 {
            return Ok(false);
        }
        // A derived table, because neither server deletes from a table that a subquery of it limits.
        let prune = "DELETE FROM wafleet_snapshots WHERE session_id = ? AND state = 'complete' AND unlinked_at IS NULL AND generation < \
                     (SELECT generation FROM (SELECT generation FROM wafleet_snapshots WHERE session_id = ? AND state = 'complete' \
                      AND unlinked_at IS NULL ORDER BY generation DESC LIMIT 1 OFFSET ?) AS kept)";
        sqlx::query(prune)
            .bind(session_id)
            .bind(session_id)
            .bind(KEPT_GENERATIONS - 1)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Deletes a snapshot that was not completed.
    ///
    /// # Errors
    /// The database is away; the next owner that saves deletes it.
    pub(crate) async fn abandon_snapshot(&self, snapshot_id: u64) -> Result<(), DatabaseError> {
        let delete = "DELETE FROM wafleet_snapshots WHERE id = ? AND state = 'writing'";
        sqlx::query(delete).bind(snapshot_id).execute(&self.pool).await?;
        Ok(())
    }

    /// The snapshots that may be restored, newest first.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn restorable_snapshots(&self, session_id: &str) -> Result<Vec<SnapshotRow>, DatabaseError> {
        let select = "SELECT s.id, s.generation, s.fence, s.header, s.bytes, s.chunks, o.object FROM wafleet_snapshots AS s \
                      LEFT JOIN wafleet_snapshot_objects AS o ON o.snapshot_id = s.id \
                      WHERE s.session_id = ? AND s.state = 'complete' AND s.unlinked_at IS NULL ORDER BY s.generation DESC";
        let rows = sqlx::query(select).bind(session_id).fetch_all(&self.pool).await?;
        Ok(rows.iter().map(snapshot).collect::<Result<_, _>>()?)
    }

    /// What is needed to choose between the snapshots and a profile on the disk.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn newest_snapshot(&self, session_id: &str) -> Result<Newest, DatabaseError> {
        let select = "SELECT MAX(IF(state = 'complete' AND unlinked_at IS NULL, fence, NULL)) AS restorable, \
                      MAX(unlinked_fence) AS unlinked FROM wafleet_snapshots WHERE session_id = ?";
        let row = sqlx::query(select).bind(session_id).fetch_one(&self.pool).await?;
        Ok(Newest { restorable: row.try_get("restorable")?, unlinked: row.try_get("unlinked")?, erased: None })
    }

    /// A chunk; `None` when it is missing.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn chunk(&self, snapshot_id: u64, seq: u64) -> Result<Option<Vec<u8>>, DatabaseError> {
        let select = "SELECT data FROM wafleet_snapshot_chunks WHERE snapshot_id = ? AND seq = ?";
        Ok(sqlx::query_scalar(select).bind(snapshot_id).bind(seq).fetch_optional(&self.pool).await?)
    }

    /// How many chunk rows a snapshot has: more than it should have is damage as well.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn chunk_count(&self, snapshot_id: u64) -> Result<u64, DatabaseError> {
        let select = "SELECT CAST(COUNT(*) AS UNSIGNED) FROM wafleet_snapshot_chunks WHERE snapshot_id = ?";
        Ok(sqlx::query_scalar(select).bind(snapshot_id).fetch_one(&self.pool).await?)
    }

    /// Marks every snapshot of a session whose device was found unlinked: none of them is ever restored again.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn mark_unlinked(&self, session_id: &str, fence: u64) -> Result<(), DatabaseError> {
        let update = "UPDATE wafleet_snapshots SET unlinked_at = UTC_TIMESTAMP(3), unlinked_fence = ? \
                      WHERE session_id = ? AND fence <= ? AND unlinked_at IS NULL";
        sqlx::query(update).bind(fence).bind(session_id).bind(fence).execute(&self.pool).await?;
        Ok(())
    }

    /// Deletes snapshots of unlinked devices whose time is over; returns how many.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn purge_snapshots(&self, limit: u32) -> Result<u64, DatabaseError> {
        let delete = "DELETE FROM wafleet_snapshots WHERE unlinked_at < UTC_TIMESTAMP(3) - INTERVAL ? DAY LIMIT ?";
        let done = sqlx::query(delete).bind(KEEP_UNLINKED_DAYS).bind(limit).execute(&self.pool).await?;
        Ok(done.rows_affected())
    }

    /// The session's own key, wrapped; `None` when it has none yet, or was erased.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn session_key(&self, session_id: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
        let select = "SELECT wrapped FROM wafleet_session_keys WHERE session_id = ?";
        Ok(sqlx::query_scalar(select).bind(session_id).fetch_optional(&self.pool).await?)
    }

    /// Gives the session a key unless it has one, and returns the one it has.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn ensure_session_key(
        &self,
        session_id: &str,
        workspace_id: u64,
        key_id: &str,
        wrapped: &[u8],
    ) -> Result<Option<Vec<u8>>, DatabaseError> {
        let insert = "INSERT IGNORE INTO wafleet_session_keys (session_id, workspace_id, key_id, wrapped, created_at, updated_at) \
                      VALUES (?, ?, ?, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))";
        sqlx::query(insert).bind(session_id).bind(workspace_id).bind(key_id).bind(wrapped).execute(&self.pool).await?;
        self.session_key(session_id).await
    }
}
