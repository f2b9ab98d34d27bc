//! The audit trail: who asked for what, and what was refused. Rows are only ever inserted.

use super::{Database, DatabaseError};

/// One row of `wafleet_audit`. Holds no message text and no phone number.
#[derive(Debug, Default)]
pub(crate) struct Audit<'a> {
    /// The workspace, when it is known and genuine.
    pub(crate) workspace_id: Option<u64>,
    /// The session, likewise.
    pub(crate) session_id: Option<&'a str>,
    /// The command id as it came, cut to the column.
    pub(crate) command_id: Option<&'a str>,
    /// Who: `key:<key id>` for a signed command, `worker:<worker id>` otherwise.
    pub(crate) actor: String,
    /// What: `command.rejected`, `command.duplicate`, `session.started`, …
    pub(crate) action: &'a str,
    /// Why, a stable word.
    pub(crate) reason: &'a str,
    /// Further facts as a JSON object.
    pub(crate) detail: serde_json::Value,
}

impl Database {
    /// Appends a row.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn audit(&self, audit: &Audit<'_>) -> Result<(), DatabaseError> {
        Ok(audit.insert(&self.pool).await?)
    }
}

impl Audit<'_> {
    /// Appends the row as part of what `executor` does.
    pub(super) async fn insert(&self, executor: impl sqlx::MySqlExecutor<'_>) -> Result<(), sqlx::Error> {
        let insert = "INSERT INTO wafleet_audit (at, workspace_id, session_id, command_id, actor, action, reason, detail) \
                      VALUES (UTC_TIMESTAMP(3), ?, ?, ?, ?, ?, ?, ?)";
        sqlx::query(insert)
            .bind(self.workspace_id)
            .bind(self.session_id)
            .bind(self.command_id)
            .bind(&self.actor)
            .bind(self.action)
            .bind(self.reason)
            .bind(self.detail.to_string())
            .execute(executor)
            .await?;
        Ok(())
    }
}
