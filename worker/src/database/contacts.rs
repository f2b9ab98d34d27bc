//! Whom a session has exchanged messages with, and what it may send.

use sha2::{Digest, Sha256};
use sqlx::Row;
use wafleet_protocol::command::SessionLimits;
use wafleet_protocol::id::WorkspaceId;

use super::{Database, DatabaseError};

/// A contact or group, recognisable within its workspace and not readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ContactKey([u8; 32]);

impl ContactKey {
    /// The key of an address in WhatsApp's form (`…@c.us`, `…@lid`, `…@g.us`).
    pub(crate) fn new(workspace: WorkspaceId, address: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"wafleet contact 1");
        hash.update(workspace.get().to_be_bytes());
        hash.update(address.as_bytes());
        Self(hash.finalize().into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A short form, for counters.
    pub(crate) fn short(&self) -> u64 {
        self.0.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
    }
}

/// What pacing has to know of a session and of whom it writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acquaintance {
    /// The session's own limits.
    pub(crate) limits: SessionLimits,
    /// Seconds since the number was first linked.
    pub(crate) linked_for_secs: u64,
    /// It has exchanged messages with the contact.
    pub(crate) met: bool,
}

impl Database {
    /// A session's own limits and age, and whether it knows a contact. A session without a row knows nobody and is new.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn acquaintance(
        &self,
        session_id: &str,
        contact: Option<&ContactKey>,
    ) -> Result<Acquaintance, DatabaseError> {
        let select = "SELECT CAST(limits AS CHAR) AS limits, \
                      CAST(COALESCE(TIMESTAMPDIFF(SECOND, linked_at, UTC_TIMESTAMP()), 0) AS SIGNED) AS linked_for, \
                      EXISTS (SELECT 1 FROM wafleet_contacts WHERE session_id = ? AND contact = ?) AS met \
                      FROM wafleet_sessions WHERE session_id = ?";
        let row = sqlx::query(select)
            .bind(session_id)
            .bind(contact.map(|contact| contact.0.to_vec()))
            .bind(session_id)
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else {
            return Ok(Acquaintance { limits: SessionLimits::default(), linked_for_secs: 0, met: false });
        };
        let limits: Option<String> = row.try_get("limits")?;
        let linked_for: i64 = row.try_get("linked_for")?;
        Ok(Acquaintance {
            limits: limits.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
            linked_for_secs: u64::try_from(linked_for).unwrap_or(0),
            met: row.try_get::<i64, _>("met")? != 0,
        })
    }

    /// Remembers that a session has exchanged messages with these.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn met(
        &self,
        workspace: WorkspaceId,
        session_id: &str,
        contacts: &[ContactKey],
    ) -> Result<(), DatabaseError> {
        let insert = "INSERT INTO wafleet_contacts (session_id, contact, workspace_id, met_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3)) \
                      ON DUPLICATE KEY UPDATE met_at = VALUES(met_at)";
        for contact in contacts {
            let query = || sqlx::query(insert).bind(session_id).bind(contact.0.as_slice()).bind(workspace.get());
            self.execute(query).await?;
        }
        Ok(())
    }

    /// Gives a session limits of its own in place of those it had.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn limit(&self, session_id: &str, limits: &SessionLimits) -> Result<(), DatabaseError> {
        let text = serde_json::to_string(limits).expect("numbers always serialise");
        let update = "UPDATE wafleet_sessions SET limits = ?, updated_at = UTC_TIMESTAMP(3) WHERE session_id = ?";
        self.execute(|| sqlx::query(update).bind(text.clone()).bind(session_id)).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_another_one_in_another_workspace() {
        let key = |workspace, address| ContactKey::new(WorkspaceId::new(workspace).expect("an id"), address);
        assert_eq!(key(1, "49151@c.us"), key(1, "49151@c.us"));
        assert_ne!(key(1, "49151@c.us"), key(2, "49151@c.us"));
        assert_ne!(key(1, "49151@c.us").short(), key(1, "49151@lid").short());
    }
}
