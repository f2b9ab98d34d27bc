//! What the fleet has written into the database, as far as tests ask for it.

use std::collections::BTreeSet;

use sqlx::{FromRow, Row};

use super::Database;

/// A row of the audit trail.
#[derive(Debug, Clone, FromRow)]
pub struct AuditRow {
    /// Grows with every row.
    pub id: u64,
    /// The workspace, when it was known and genuine.
    pub workspace_id: Option<u64>,
    /// The session, likewise.
    pub session_id: Option<String>,
    /// The command id as it came.
    pub command_id: Option<String>,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// Why.
    pub reason: Option<String>,
    /// Further facts as JSON text.
    pub detail: Option<String>,
}

/// What the fleet knows of a session.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct SessionRow {
    /// The session.
    pub session_id: String,
    /// Its workspace.
    pub workspace_id: u64,
    /// `running` or `stopped`.
    pub desired: String,
    /// The public status.
    pub status: String,
    /// Why it has this status.
    pub cause: Option<String>,
    /// The worker that owns it.
    pub owner: Option<String>,
    /// Grows with every claim.
    pub fence: u64,
    /// The own number, once known.
    pub phone: Option<String>,
    /// The phone it is to be linked with by code.
    pub pairing_phone: Option<String>,
}

impl Database {
    /// The audit rows after the row `id`, oldest first; 0 for all.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn audit_after(&self, id: u64) -> anyhow::Result<Vec<AuditRow>> {
        let select =
            "SELECT id, workspace_id, session_id, command_id, actor, action, reason, CAST(detail AS CHAR) AS detail
                      FROM wafleet_audit WHERE id > ? ORDER BY id";
        Ok(sqlx::query_as(select).bind(id).fetch_all(self.pool()).await?)
    }

    /// All sessions the fleet knows, by id.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn sessions(&self) -> anyhow::Result<Vec<SessionRow>> {
        let select = "SELECT session_id, workspace_id, desired, status, cause, owner, fence, phone, pairing_phone
                      FROM wafleet_sessions ORDER BY session_id";
        Ok(sqlx::query_as(select).fetch_all(self.pool()).await?)
    }

    /// One session, if the fleet knows it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn session(&self, session: &str) -> anyhow::Result<Option<SessionRow>> {
        Ok(self.sessions().await?.into_iter().find(|row| row.session_id == session))
    }

    /// What the host application reads of its sessions: id, workspace and status, by id.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn host_sessions(&self) -> anyhow::Result<Vec<(String, u64, String)>> {
        let select = "SELECT session_id, workspace_id, status FROM whatsapp_sessions ORDER BY session_id";
        let rows = sqlx::query(select).fetch_all(self.pool()).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
    }

    /// The commands in the archive of dead letters.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn dead_commands(&self) -> anyhow::Result<BTreeSet<String>> {
        let select = "SELECT DISTINCT command_id FROM wafleet_dead_letters WHERE command_id IS NOT NULL";
        let ids: Vec<String> = sqlx::query_scalar(select).fetch_all(self.pool()).await?;
        Ok(ids.into_iter().collect())
    }

    /// The commands in the ledger: id, type and state, by id.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn commands(&self) -> anyhow::Result<Vec<(String, String, String)>> {
        let select = "SELECT command_id, type, state FROM wafleet_commands ORDER BY command_id";
        let rows = sqlx::query(select).fetch_all(self.pool()).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
    }
}
