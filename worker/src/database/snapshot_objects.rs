//! `wafleet_snapshot_objects`: which snapshot lies in the object store, and what is to be deleted there.
//!
//! ```text
//! row ─▶ upload begun ─▶ complete        snapshot deleted, however: the row stays without it ─▶ object deleted ─▶ row deleted
//! ```
//! The row is there before the object, so nothing can lie in the store that nobody knows of.

use sqlx::Row;

use super::{Database, DatabaseError};

/// An object whose snapshot is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForgottenObject {
    pub(crate) id: u64,
    pub(crate) object: String,
    pub(crate) upload_id: Option<String>,
}

impl Database {
    /// Notes that a snapshot's bytes will lie in this object; returns the note's number.
    ///
    /// # Errors
    /// The database is away, or the snapshot was deleted by a newer owner.
    pub(crate) async fn note_object(&self, snapshot_id: u64, object: &str) -> Result<u64, DatabaseError> {
        let insert =
            "INSERT INTO wafleet_snapshot_objects (snapshot_id, object, created_at) VALUES (?, ?, UTC_TIMESTAMP(3))";
        Ok(sqlx::query(insert).bind(snapshot_id).bind(object).execute(&self.pool).await?.last_insert_id())
    }

    /// Notes the upload that writes it. False when the snapshot was deleted meanwhile: then the upload must be cancelled.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn note_upload(&self, note: u64, upload_id: &str) -> Result<bool, DatabaseError> {
        let update = "UPDATE wafleet_snapshot_objects SET upload_id = ? WHERE id = ? AND snapshot_id IS NOT NULL";
        Ok(sqlx::query(update).bind(upload_id).bind(note).execute(&self.pool).await?.rows_affected() == 1)
    }

    /// Notes that the object is whole.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn note_uploaded(&self, note: u64, etag: Option<&str>) -> Result<(), DatabaseError> {
        let update = "UPDATE wafleet_snapshot_objects SET upload_id = NULL, etag = ? WHERE id = ?";
        sqlx::query(update).bind(etag).bind(note).execute(&self.pool).await?;
        Ok(())
    }

    /// Objects that are to be deleted from the store, oldest first.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn forgotten_objects(&self, limit: u32) -> Result<Vec<ForgottenObject>, DatabaseError> {
        let select =
            "SELECT id, object, upload_id FROM wafleet_snapshot_objects WHERE snapshot_id IS NULL ORDER BY id LIMIT ?";
        let rows = sqlx::query(select).bind(limit).fetch_all(&self.pool).await?;
        let forgotten = |row: &sqlx::mysql::MySqlRow| {
            Ok::<_, sqlx::Error>(ForgottenObject {
                id: row.try_get("id")?,
                object: row.try_get("object")?,
                upload_id: row.try_get("upload_id")?,
            })
        };
        Ok(rows.iter().map(forgotten).collect::<Result<_, _>>()?)
    }

    /// The object is gone from the store.
    ///
    /// # Errors
    /// The database is away; it is deleted once more, which changes nothing.
    pub(crate) async fn object_deleted(&self, id: u64) -> Result<(), DatabaseError> {
        sqlx::query("DELETE FROM wafleet_snapshot_objects WHERE id = ? AND snapshot_id IS NULL")
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
