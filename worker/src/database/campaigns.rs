//! Campaigns: their state and progress, which session a message was given to, and who wants none.

use sqlx::Row;
use wafleet_protocol::event::{CampaignProgress, CampaignState};
use wafleet_protocol::id::{CampaignId, SessionId, WorkspaceId};

use super::{CommandRecord, ContactKey, Database, DatabaseError};

/// Which session a message that may go from any of them was given to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    /// `None`: none yet.
    pub(crate) session: Option<String>,
    /// That session is meant to run.
    pub(crate) runs: bool,
    /// It has begun to send the message.
    pub(crate) begun: bool,
    /// The fence it was begun under.
    pub(crate) fence: u64,
}

/// A campaign of which nobody said anything goes out.
fn standing(state: Option<String>) -> CampaignState {
    state.and_then(|state| state.parse().ok()).unwrap_or(CampaignState::Running)
}

impl Database {
    /// Which session has the message.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn choice(&self, command: &CommandRecord) -> Result<Choice, DatabaseError> {
        let select = "SELECT c.session_id, c.state, c.fence, CAST(COALESCE(s.desired = 'running', 0) AS SIGNED) AS runs \
                      FROM wafleet_commands AS c LEFT JOIN wafleet_sessions AS s \
                      ON s.session_id = c.session_id AND s.workspace_id = c.workspace_id \
                      WHERE c.workspace_id = ? AND c.command_id = ?";
        let row =
            sqlx::query(select).bind(command.workspace_id).bind(&command.command_id).fetch_one(&self.pool).await?;
        let session: String = row.try_get("session_id")?;
        Ok(Choice {
            session: (session != SessionId::RESERVED).then_some(session),
            runs: row.try_get::<i64, _>("runs")? != 0,
            begun: row.try_get::<String, _>("state")? != "accepted",
            fence: row.try_get("fence")?,
        })
    }

    /// Gives a message to a session, if it is still where it was and nobody has begun to send it. False: look again. Fences
    /// are a session's own, so that of the session before means nothing any more.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn choose(&self, command: &CommandRecord, from: &str, to: &str) -> Result<bool, DatabaseError> {
        let update = "UPDATE wafleet_commands SET session_id = ?, fence = 0, updated_at = UTC_TIMESTAMP(3) \
                      WHERE workspace_id = ? AND command_id = ? AND session_id = ? AND state = 'accepted'";
        let query = || {
            sqlx::query(update)
                .bind(to.to_owned())
                .bind(command.workspace_id)
                .bind(&command.command_id)
                .bind(from.to_owned())
        };
        Ok(self.execute(query).await?.rows_affected() == 1)
    }

    /// The session that writes to a contact: the one that campaigns reach it from, or the one that exchanged messages with it
    /// last. Only sessions that are meant to run.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn session_of(
        &self,
        workspace: WorkspaceId,
        contact: &ContactKey,
    ) -> Result<Option<String>, DatabaseError> {
        let bound = "SELECT c.session_id FROM wafleet_campaign_contacts AS c JOIN wafleet_sessions AS s \
                     ON s.session_id = c.session_id AND s.workspace_id = c.workspace_id AND s.desired = 'running' \
                     WHERE c.workspace_id = ? AND c.contact = ?";
        let met = "SELECT c.session_id FROM wafleet_contacts AS c JOIN wafleet_sessions AS s \
                   ON s.session_id = c.session_id AND s.workspace_id = c.workspace_id AND s.desired = 'running' \
                   WHERE c.workspace_id = ? AND c.contact = ? ORDER BY c.met_at DESC LIMIT 1";
        for select in [bound, met] {
            let query = sqlx::query_scalar(select).bind(workspace.get()).bind(contact.as_bytes().to_vec());
            if let Some(session) = query.fetch_optional(&self.pool).await? {
                return Ok(Some(session));
            }
        }
        Ok(None)
    }

    /// Makes a session the one that campaigns reach a contact from, unless another one is that runs. Answers which it is.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn bind_contact(
        &self,
        workspace: WorkspaceId,
        contact: &ContactKey,
        session: &str,
    ) -> Result<String, DatabaseError> {
        let (id, key) = (workspace.get(), contact.as_bytes().to_vec());
        // All but the first message to a contact end here.
        let bound = "SELECT c.session_id FROM wafleet_campaign_contacts AS c JOIN wafleet_sessions AS s \
                     ON s.session_id = c.session_id AND s.desired = 'running' WHERE c.workspace_id = ? AND c.contact = ?";
        let query = sqlx::query_scalar(bound).bind(id).bind(key.clone());
        if let Some(session) = query.fetch_optional(&self.pool).await? {
            return Ok(session);
        }
        let insert = "INSERT IGNORE INTO wafleet_campaign_contacts (workspace_id, contact, session_id, created_at) \
                      VALUES (?, ?, ?, UTC_TIMESTAMP(3))";
        let inserted = self.execute(|| sqlx::query(insert).bind(id).bind(key.clone()).bind(session.to_owned())).await?;
        if inserted.rows_affected() == 1 {
            return Ok(session.to_owned());
        }
        let replace = "UPDATE wafleet_campaign_contacts AS c LEFT JOIN wafleet_sessions AS s \
                       ON s.session_id = c.session_id AND s.desired = 'running' SET c.session_id = ? \
                       WHERE c.workspace_id = ? AND c.contact = ? AND s.session_id IS NULL";
        self.execute(|| sqlx::query(replace).bind(session.to_owned()).bind(id).bind(key.clone())).await?;
        let select = "SELECT session_id FROM wafleet_campaign_contacts WHERE workspace_id = ? AND contact = ?";
        Ok(sqlx::query_scalar(select).bind(id).bind(key).fetch_one(&self.pool).await?)
    }

    /// Whether a campaign goes out.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn campaign(
        &self,
        workspace: WorkspaceId,
        campaign: &CampaignId,
    ) -> Result<CampaignState, DatabaseError> {
        let select = "SELECT state FROM wafleet_campaigns WHERE workspace_id = ? AND campaign = ?";
        let query = sqlx::query_scalar::<_, String>(select).bind(workspace.get()).bind(campaign.as_str());
        let state = query.fetch_optional(&self.pool).await?;
        Ok(standing(state))
    }

    /// Changes whether a campaign goes out. One that was cancelled stays so: false.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn set_campaign(
        &self,
        workspace: WorkspaceId,
        campaign: &CampaignId,
        state: CampaignState,
    ) -> Result<bool, DatabaseError> {
        let upsert = "INSERT INTO wafleet_campaigns (workspace_id, campaign, state, changed_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3)) \
                      ON DUPLICATE KEY UPDATE \
                      changed_at = IF(state IN ('cancelled', VALUES(state)), changed_at, VALUES(changed_at)), \
                      state = IF(state = 'cancelled', state, VALUES(state))";
        self.execute(|| sqlx::query(upsert).bind(workspace.get()).bind(campaign.as_str()).bind(state.as_str())).await?;
        Ok(self.campaign(workspace, campaign).await? == state)
    }

    /// How a campaign goes; `None`: the fleet has never seen it.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn progress(
        &self,
        workspace: WorkspaceId,
        campaign: &CampaignId,
    ) -> Result<Option<CampaignProgress>, DatabaseError> {
        let select = "SELECT state, COUNT(*) AS count FROM wafleet_commands WHERE workspace_id = ? AND campaign = ? GROUP BY state";
        let rows = sqlx::query(select).bind(workspace.get()).bind(campaign.as_str()).fetch_all(&self.pool).await?;
        let known = "SELECT COUNT(*) FROM wafleet_campaigns WHERE workspace_id = ? AND campaign = ?";
        let known: i64 =
            sqlx::query_scalar(known).bind(workspace.get()).bind(campaign.as_str()).fetch_one(&self.pool).await?;
        if rows.is_empty() && known == 0 {
            return Ok(None);
        }
        let state = self.campaign(workspace, campaign).await?;
        let mut progress = CampaignProgress {
            campaign: campaign.clone(),
            state,
            waiting: 0,
            succeeded: 0,
            failed: 0,
            unknown: 0,
            expired: 0,
        };
        for row in &rows {
            let count = u64::try_from(row.try_get::<i64, _>("count")?).unwrap_or(0);
            match row.try_get::<String, _>("state")?.as_str() {
                "succeeded" => progress.succeeded += count,
                "failed" => progress.failed += count,
                "unknown" => progress.unknown += count,
                "expired" => progress.expired += count,
                _ => progress.waiting += count,
            }
        }
        Ok(Some(progress))
    }

    /// What there is to ask about one message of a campaign, in one question: whether the contact wants none of this workspace,
    /// and whether the campaign goes out.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn screening(
        &self,
        workspace: WorkspaceId,
        contact: &ContactKey,
        campaign: Option<&CampaignId>,
    ) -> Result<(bool, CampaignState), DatabaseError> {
        let select = "SELECT CAST(EXISTS(SELECT 1 FROM wafleet_optouts WHERE workspace_id = ? AND contact = ?) AS SIGNED) AS out_, \
                      (SELECT state FROM wafleet_campaigns WHERE workspace_id = ? AND campaign = ?) AS state";
        let row = sqlx::query(select)
            .bind(workspace.get())
            .bind(contact.as_bytes().to_vec())
            .bind(workspace.get())
            .bind(campaign.map(CampaignId::as_str))
            .fetch_one(&self.pool)
            .await?;
        Ok((row.try_get::<i64, _>("out_")? != 0, standing(row.try_get("state")?)))
    }

    /// Notes that these want no campaign of this workspace, or want them again.
    ///
    /// # Errors
    /// The database is away; some of them may be noted.
    pub(crate) async fn opt_out(
        &self,
        workspace: WorkspaceId,
        contacts: &[ContactKey],
        out: bool,
    ) -> Result<(), DatabaseError> {
        let insert =
            "INSERT IGNORE INTO wafleet_optouts (workspace_id, contact, created_at) VALUES (?, ?, UTC_TIMESTAMP(3))";
        let delete = "DELETE FROM wafleet_optouts WHERE workspace_id = ? AND contact = ?";
        for contact in contacts {
            let statement = if out { insert } else { delete };
            self.execute(|| sqlx::query(statement).bind(workspace.get()).bind(contact.as_bytes().to_vec())).await?;
        }
        Ok(())
    }
}
