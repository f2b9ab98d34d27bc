//! `wafleet_media`: the media of received messages, from the moment they are heard of until their objects are deleted.
//!
//! ```text
//! pending ──fetched──▶ available ─┐
//!    └──────given up──▶ failed ───┴─▶ told ──expired──▶ object deleted ─▶ row deleted
//! ```
//! The row is the queue: whoever owns the session goes on with it.

use sqlx::Row;
use sqlx::mysql::MySqlRow;

use super::{Database, DatabaseError};

/// Media that a message brought.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard<'a> {
    pub(crate) workspace_id: u64,
    pub(crate) session_id: &'a str,
    pub(crate) key: &'a str,
    pub(crate) chat_id: &'a str,
    pub(crate) kind: &'a str,
    /// Unix seconds of the message.
    pub(crate) at: u64,
    pub(crate) size: Option<u64>,
}

/// Media about which something is still to be done.
#[derive(Debug, Clone)]
pub(crate) struct MediaRow {
    pub(crate) id: u64,
    pub(crate) key: String,
    pub(crate) chat_id: String,
    pub(crate) kind: String,
    pub(crate) at: u64,
    pub(crate) told_size: Option<u64>,
    pub(crate) attempts: u32,
    pub(crate) upload_id: Option<String>,
    pub(crate) object: Option<String>,
    /// `None`: it is still to be fetched.
    pub(crate) end: Option<MediaEnd>,
}

/// How the fetching of a medium ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MediaEnd {
    /// It lies in the store.
    Available { object: String, mime: String, size: u64, sha256: [u8; 32], expires_unix: u64 },
    /// It is given up, for this reason.
    Failed { reason: String },
}

/// An object whose time is over.
#[derive(Debug, Clone)]
pub(crate) struct ExpiredMedia {
    pub(crate) id: u64,
    pub(crate) object: Option<String>,
    pub(crate) upload_id: Option<String>,
}

fn media_row(row: &MySqlRow) -> Result<MediaRow, sqlx::Error> {
    let end = match row.try_get::<String, _>("state")?.as_str() {
        "available" => {
            let sha256: Vec<u8> = row.try_get("sha256")?;
            Some(MediaEnd::Available {
                object: row.try_get("object")?,
                mime: row.try_get("mime")?,
                size: row.try_get("size")?,
                sha256: sha256.try_into().unwrap_or([0; 32]),
                expires_unix: row.try_get("expires_unix")?,
            })
        }
        "failed" => Some(MediaEnd::Failed { reason: row.try_get("reason")? }),
        _ => None,
    };
    Ok(MediaRow {
        id: row.try_get("id")?,
        key: row.try_get("message_key")?,
        chat_id: row.try_get("chat_id")?,
        kind: row.try_get("kind")?,
        at: row.try_get("message_at")?,
        told_size: row.try_get("told_size")?,
        attempts: row.try_get("attempts")?,
        upload_id: row.try_get("upload_id")?,
        object: row.try_get("object")?,
        end,
    })
}

impl Database {
    /// Notes media that a message brought; those that are known already stay as they are.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn note_media(&self, heard: &Heard<'_>) -> Result<(), DatabaseError> {
        let insert = "INSERT IGNORE INTO wafleet_media (session_id, workspace_id, message_key, chat_id, kind, message_at, told_size, due_at, created_at) \
                      VALUES (?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))";
        sqlx::query(insert)
            .bind(heard.session_id)
            .bind(heard.workspace_id)
            .bind(heard.key)
            .bind(heard.chat_id)
            .bind(heard.kind)
            .bind(heard.at)
            .bind(heard.size)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// What is to be done now about a session's media, oldest first, and in how many milliseconds there will be more
    /// (`None`: not before somebody notes it).
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn due_media(
        &self,
        session_id: &str,
        limit: u32,
    ) -> Result<(Vec<MediaRow>, Option<u64>), DatabaseError> {
        let select = "SELECT id, message_key, chat_id, kind, message_at, told_size, state, attempts, reason, object, upload_id, mime, size, sha256, \
                      CAST(FLOOR(COALESCE(UNIX_TIMESTAMP(expires_at), 0)) AS UNSIGNED) AS expires_unix \
                      FROM wafleet_media WHERE session_id = ? AND told_at IS NULL AND due_at <= UTC_TIMESTAMP(3) ORDER BY id LIMIT ?";
        let rows = sqlx::query(select).bind(session_id).bind(limit).fetch_all(&self.pool).await?;
        let rows: Vec<MediaRow> = rows.iter().map(media_row).collect::<Result<_, _>>()?;
        let next = "SELECT CAST(GREATEST(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(3), MIN(due_at)) DIV 1000, 0) AS UNSIGNED) \
                    FROM wafleet_media WHERE session_id = ? AND told_at IS NULL";
        let next: Option<u64> = sqlx::query_scalar(next).bind(session_id).fetch_one(&self.pool).await?;
        Ok((rows, next))
    }

    /// Notes the upload that writes an object, so that one which never comes to its end can be cancelled.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn note_media_upload(
        &self,
        id: u64,
        object: &str,
        upload_id: Option<&str>,
    ) -> Result<(), DatabaseError> {
        let update = "UPDATE wafleet_media SET object = ?, upload_id = ? WHERE id = ?";
        sqlx::query(update).bind(object).bind(upload_id).bind(id).execute(&self.pool).await?;
        Ok(())
    }

    /// Puts a medium off: one more attempt was in vain.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn put_media_off(&self, id: u64, secs: u64) -> Result<(), DatabaseError> {
        let update = "UPDATE wafleet_media SET attempts = attempts + 1, due_at = UTC_TIMESTAMP(3) + INTERVAL ? SECOND WHERE id = ?";
        sqlx::query(update).bind(secs).bind(id).execute(&self.pool).await?;
        Ok(())
    }

    /// Records how it ended, before anybody is told. What failed is remembered until `forget_unix`. An end that is
    /// recorded already stays.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn end_media(&self, id: u64, end: &MediaEnd, forget_unix: u64) -> Result<(), DatabaseError> {
        match end {
            MediaEnd::Available { object, mime, size, sha256, expires_unix } => {
                let update = "UPDATE wafleet_media SET state = 'available', object = ?, upload_id = NULL, mime = ?, size = ?, sha256 = ?, \
                              expires_at = FROM_UNIXTIME(?) WHERE id = ? AND state = 'pending'";
                let update = sqlx::query(update).bind(object).bind(mime).bind(size).bind(sha256.as_slice());
                update.bind(expires_unix).bind(id).execute(&self.pool).await?;
            }
            MediaEnd::Failed { reason } => {
                let update = "UPDATE wafleet_media SET state = 'failed', reason = ?, expires_at = FROM_UNIXTIME(?) \
                              WHERE id = ? AND state = 'pending'";
                sqlx::query(update).bind(reason).bind(forget_unix).bind(id).execute(&self.pool).await?;
            }
        }
        Ok(())
    }

    /// Its event is confirmed.
    ///
    /// # Errors
    /// The database is away; it is told again, under the same event id.
    pub(crate) async fn media_told(&self, id: u64) -> Result<(), DatabaseError> {
        sqlx::query("UPDATE wafleet_media SET told_at = UTC_TIMESTAMP(3) WHERE id = ?")
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Media whose time is over, oldest first.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn expired_media(&self, limit: u32) -> Result<Vec<ExpiredMedia>, DatabaseError> {
        let select = "SELECT id, object, upload_id FROM wafleet_media WHERE expires_at <= UTC_TIMESTAMP(3) ORDER BY expires_at LIMIT ?";
        let rows = sqlx::query(select).bind(limit).fetch_all(&self.pool).await?;
        let expired = |row: &MySqlRow| {
            Ok::<_, sqlx::Error>(ExpiredMedia {
                id: row.try_get("id")?,
                object: row.try_get("object")?,
                upload_id: row.try_get("upload_id")?,
            })
        };
        Ok(rows.iter().map(expired).collect::<Result<_, _>>()?)
    }

    /// The object is gone from the store.
    ///
    /// # Errors
    /// The database is away; it is deleted once more, which changes nothing.
    pub(crate) async fn forget_media(&self, id: u64) -> Result<(), DatabaseError> {
        sqlx::query("DELETE FROM wafleet_media WHERE id = ?").bind(id).execute(&self.pool).await?;
        Ok(())
    }
}
