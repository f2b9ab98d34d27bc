//! `wafleet_parked`: messages of campaigns that may not go yet.
//!
//! ```text
//! parked ──▶ taken, for a while ──▶ published again ──▶ deleted
//!    ▲             └─ nobody said that it was published: others take it after that while
//!    └── a copy that comes again is a new row in the place of the old one, which the deletion does not touch
//! ```

use sqlx::{QueryBuilder, Row};
use wafleet_protocol::id::CampaignId;

use super::{CommandRecord, Database, DatabaseError};

/// Seconds that others leave a message to whoever took it: publishing takes a fraction of it.
const TAKEN_SECS: u32 = 60;

/// What is parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parked {
    /// Routing key, properties and headers.
    pub(crate) letter: String,
    pub(crate) body: Vec<u8>,
}

/// Messages that may go back together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Returning {
    workspace_id: u64,
    campaign: String,
    paused: bool,
}

impl Database {
    /// Parks a message until its campaign is resumed (`paused`), and until `due_at` (unix seconds) at the latest. One that is
    /// parked already is parked anew.
    ///
    /// # Errors
    /// The database is away: its delivery must not be acknowledged.
    pub(crate) async fn park(
        &self,
        command: &CommandRecord,
        campaign: &CampaignId,
        paused: bool,
        due_at: u64,
        parked: &Parked,
    ) -> Result<(), DatabaseError> {
        let replace = "REPLACE INTO wafleet_parked (workspace_id, command_id, campaign, paused, due_at, letter, body) \
                       VALUES (?, ?, ?, ?, FROM_UNIXTIME(?), ?, ?)";
        self.execute(|| {
            sqlx::query(replace)
                .bind(command.workspace_id)
                .bind(&command.command_id)
                .bind(campaign.as_str())
                .bind(paused)
                .bind(due_at)
                .bind(&parked.letter)
                .bind(&parked.body)
        })
        .await?;
        Ok(())
    }

    /// Whose messages may go back whatever the hour: campaigns that were resumed or cancelled.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn returning(&self) -> Result<Vec<Returning>, DatabaseError> {
        let select = "SELECT p.workspace_id, p.campaign, p.paused FROM \
                      (SELECT DISTINCT workspace_id, campaign, paused FROM wafleet_parked) AS p \
                      LEFT JOIN wafleet_campaigns AS c ON c.workspace_id = p.workspace_id AND c.campaign = p.campaign \
                      WHERE COALESCE(c.state, 'running') = 'cancelled' \
                      OR (p.paused AND COALESCE(c.state, 'running') = 'running')";
        let rows = sqlx::query(select).fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                Ok(Returning {
                    workspace_id: row.try_get("workspace_id")?,
                    campaign: row.try_get("campaign")?,
                    paused: row.try_get("paused")?,
                })
            })
            .collect()
    }

    /// Takes the first messages that may go back, those parked first before the others, under a name that is used once.
    ///
    /// # Errors
    /// The database is away: those that were taken may be taken again after a while.
    pub(crate) async fn take_returning(
        &self,
        returning: &Returning,
        name: &str,
        at_most: u32,
    ) -> Result<Vec<(u64, Parked)>, DatabaseError> {
        let take = "UPDATE wafleet_parked SET taken_by = ?, taken_until = UTC_TIMESTAMP(3) + INTERVAL ? SECOND \
                    WHERE workspace_id = ? AND campaign = ? AND paused = ? \
                    AND (taken_until IS NULL OR taken_until < UTC_TIMESTAMP(3)) ORDER BY id LIMIT ?";
        self.execute(|| {
            sqlx::query(take)
                .bind(name.to_owned())
                .bind(TAKEN_SECS)
                .bind(returning.workspace_id)
                .bind(returning.campaign.clone())
                .bind(returning.paused)
                .bind(at_most)
        })
        .await?;
        self.taken(name).await
    }

    /// The same of messages whose time has come, `now` in unix seconds.
    ///
    /// # Errors
    /// The database is away: those that were taken may be taken again after a while.
    pub(crate) async fn take_due(
        &self,
        now: u64,
        name: &str,
        at_most: u32,
    ) -> Result<Vec<(u64, Parked)>, DatabaseError> {
        let take = "UPDATE wafleet_parked SET taken_by = ?, taken_until = UTC_TIMESTAMP(3) + INTERVAL ? SECOND \
                    WHERE due_at <= FROM_UNIXTIME(?) AND (taken_until IS NULL OR taken_until < UTC_TIMESTAMP(3)) \
                    ORDER BY due_at, id LIMIT ?";
        self.execute(|| sqlx::query(take).bind(name.to_owned()).bind(TAKEN_SECS).bind(now).bind(at_most)).await?;
        self.taken(name).await
    }

    async fn taken(&self, name: &str) -> Result<Vec<(u64, Parked)>, DatabaseError> {
        let select = "SELECT id, letter, body FROM wafleet_parked WHERE taken_by = ? ORDER BY id";
        let rows = sqlx::query(select).bind(name).fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| Ok((row.try_get("id")?, Parked { letter: row.try_get("letter")?, body: row.try_get("body")? })))
            .collect()
    }

    /// Forgets messages that are back in their queue.
    ///
    /// # Errors
    /// The database is away: they will be put back once more.
    pub(crate) async fn returned(&self, ids: &[u64]) -> Result<(), DatabaseError> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut delete = QueryBuilder::new("DELETE FROM wafleet_parked WHERE id IN (");
        let mut list = delete.separated(", ");
        for id in ids {
            list.push_bind(*id);
        }
        delete.push(")").build().execute(&self.pool).await?;
        Ok(())
    }
}
