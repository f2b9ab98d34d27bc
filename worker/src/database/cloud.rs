//! Numbers at the Cloud API, the sessions that use them, and what the ledger knows of messages that went that way.

use serde_json::Value;
use sqlx::Row;
use sqlx::mysql::MySqlRow;
use wafleet_protocol::provider::{Provider, ProviderChoice};

use super::{CommandRecord, Database, DatabaseError, FinalState};

/// A number as it is stored: its token is sealed.
#[derive(Debug, Clone)]
pub(crate) struct CloudNumber {
    pub(crate) number_id: String,
    pub(crate) workspace_id: u64,
    pub(crate) per_second: u32,
    pub(crate) key_id: String,
    pub(crate) token: Vec<u8>,
}

/// What a session uses a number for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The session is this number and has no browser.
    Session,
    /// The number helps out where the browser cannot.
    Failover,
}

impl Role {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Failover => "failover",
        }
    }
}

/// That a session uses a number.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    pub(crate) number: CloudNumber,
    pub(crate) role: Role,
    /// Seconds of absence after which the session fails over.
    pub(crate) after_secs: Option<u32>,
    /// Whether a definite refusal of the browser's leads to another try by the number.
    pub(crate) on_refusal: bool,
    pub(crate) chosen: ProviderChoice,
}

/// A number for `wafleet cloud list`.
#[derive(Debug)]
pub(crate) struct CloudNumberUse {
    pub(crate) number: CloudNumber,
    pub(crate) token_set_at: String,
    /// `session as role` of each.
    pub(crate) sessions: Vec<(String, String)>,
}

/// A command that sent by the Cloud API, as a webhook meets it.
#[derive(Debug, Clone)]
pub(crate) struct CloudCommand {
    pub(crate) command_id: String,
    pub(crate) session_id: String,
    pub(crate) reference: Option<String>,
    /// It was told that its end is not known.
    pub(crate) unknown: bool,
    /// The highest ack that was told.
    pub(crate) ack: Option<i8>,
}

const NUMBER: &str = "n.number_id, n.workspace_id, n.per_second, n.key_id, n.token";

fn number(row: &MySqlRow) -> Result<CloudNumber, sqlx::Error> {
    Ok(CloudNumber {
        number_id: row.try_get("number_id")?,
        workspace_id: row.try_get("workspace_id")?,
        per_second: row.try_get("per_second")?,
        key_id: row.try_get("key_id")?,
        token: row.try_get("token")?,
    })
}

impl Database {
    /// Stores a number, or another token for it. False: it belongs to another workspace.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn put_cloud_number(&self, number: &CloudNumber) -> Result<bool, DatabaseError> {
        let insert = "INSERT IGNORE INTO wafleet_cloud_numbers (number_id, workspace_id, per_second, key_id, token, token_set_at) \
                      VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP(3))";
        let inserted = self
            .execute(|| {
                sqlx::query(insert)
                    .bind(&number.number_id)
                    .bind(number.workspace_id)
                    .bind(number.per_second)
                    .bind(&number.key_id)
                    .bind(&number.token)
            })
            .await?;
        if inserted.rows_affected() == 1 {
            return Ok(true);
        }
        let update = "UPDATE wafleet_cloud_numbers SET per_second = ?, key_id = ?, token = ?, token_set_at = UTC_TIMESTAMP(3), \
                      updated_at = UTC_TIMESTAMP(3) WHERE number_id = ? AND workspace_id = ?";
        let updated = self
            .execute(|| {
                sqlx::query(update)
                    .bind(number.per_second)
                    .bind(&number.key_id)
                    .bind(&number.token)
                    .bind(&number.number_id)
                    .bind(number.workspace_id)
            })
            .await?;
        Ok(updated.rows_affected() == 1)
    }

    /// The number of this id.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn cloud_number(&self, number_id: &str) -> Result<Option<CloudNumber>, DatabaseError> {
        let select =
            sqlx::AssertSqlSafe(format!("SELECT {NUMBER} FROM wafleet_cloud_numbers AS n WHERE n.number_id = ?"));
        let row = sqlx::query(select).bind(number_id).fetch_optional(&self.pool).await?;
        Ok(row.as_ref().map(number).transpose()?)
    }

    /// All numbers, and the sessions that use them.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn cloud_numbers(&self) -> Result<Vec<CloudNumberUse>, DatabaseError> {
        let select = sqlx::AssertSqlSafe(format!(
            "SELECT {NUMBER}, DATE_FORMAT(n.token_set_at, '%Y-%m-%dT%H:%i:%sZ') AS token_set_at, b.session_id, b.role \
             FROM wafleet_cloud_numbers AS n LEFT JOIN wafleet_cloud_bindings AS b ON b.number_id = n.number_id \
             ORDER BY n.workspace_id, n.number_id, b.session_id"
        ));
        let mut numbers: Vec<CloudNumberUse> = Vec::new();
        for row in sqlx::query(select).fetch_all(&self.pool).await? {
            let number = number(&row)?;
            if numbers.last().is_none_or(|last| last.number.number_id != number.number_id) {
                numbers.push(CloudNumberUse {
                    number,
                    token_set_at: row.try_get("token_set_at")?,
                    sessions: Vec::new(),
                });
            }
            let session: Option<String> = row.try_get("session_id")?;
            if let (Some(session), Some(last)) = (session, numbers.last_mut()) {
                last.sessions.push((session, row.try_get("role")?));
            }
        }
        Ok(numbers)
    }

    /// Forgets a number and its token. False: there is none, or a session uses it.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn remove_cloud_number(&self, number_id: &str) -> Result<bool, DatabaseError> {
        let delete = "DELETE FROM wafleet_cloud_numbers WHERE number_id = ? \
                      AND NOT EXISTS (SELECT 1 FROM wafleet_cloud_bindings AS b WHERE b.number_id = ?)";
        Ok(self.execute(|| sqlx::query(delete).bind(number_id).bind(number_id)).await?.rows_affected() == 1)
    }

    /// Lets a session use a number of its workspace. False: the workspace has no such number.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn bind_cloud(
        &self,
        session_id: &str,
        number_id: &str,
        role: Role,
        after_secs: Option<u32>,
        on_refusal: bool,
    ) -> Result<bool, DatabaseError> {
        let Some(number) = self.cloud_number(number_id).await? else { return Ok(false) };
        let other = "SELECT 1 FROM wafleet_sessions WHERE session_id = ? AND workspace_id <> ?";
        let other = sqlx::query(other).bind(session_id).bind(number.workspace_id).fetch_optional(&self.pool).await?;
        if other.is_some() {
            return Ok(false);
        }
        let replace = "REPLACE INTO wafleet_cloud_bindings (session_id, workspace_id, number_id, role, after_secs, on_refusal) \
                       VALUES (?, ?, ?, ?, ?, ?)";
        self.execute(|| {
            sqlx::query(replace)
                .bind(session_id)
                .bind(number.workspace_id)
                .bind(number_id)
                .bind(role.as_str())
                .bind(after_secs)
                .bind(on_refusal)
        })
        .await?;
        Ok(true)
    }

    /// Takes a session its number away. False: it has none.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn unbind_cloud(&self, session_id: &str) -> Result<bool, DatabaseError> {
        let delete = "DELETE FROM wafleet_cloud_bindings WHERE session_id = ?";
        Ok(self.execute(|| sqlx::query(delete).bind(session_id)).await?.rows_affected() == 1)
    }

    /// The number that a session of this workspace uses.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn cloud_binding(
        &self,
        workspace_id: u64,
        session_id: &str,
    ) -> Result<Option<Binding>, DatabaseError> {
        let select = sqlx::AssertSqlSafe(format!(
            "SELECT {NUMBER}, b.role, b.after_secs, b.on_refusal, b.chosen FROM wafleet_cloud_bindings AS b \
             JOIN wafleet_cloud_numbers AS n ON n.number_id = b.number_id AND n.workspace_id = b.workspace_id \
             WHERE b.session_id = ? AND b.workspace_id = ?"
        ));
        let row = sqlx::query(select).bind(session_id).bind(workspace_id).fetch_optional(&self.pool).await?;
        let Some(row) = row else { return Ok(None) };
        let chosen: String = row.try_get("chosen")?;
        Ok(Some(Binding {
            number: number(&row)?,
            role: if row.try_get::<String, _>("role")? == "session" { Role::Session } else { Role::Failover },
            after_secs: row.try_get("after_secs")?,
            on_refusal: row.try_get("on_refusal")?,
            chosen: chosen.parse().unwrap_or_default(),
        }))
    }

    /// Records by whom a session's messages go. False: it has no number, so there is no choice.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn choose_provider(
        &self,
        workspace_id: u64,
        session_id: &str,
        choice: ProviderChoice,
    ) -> Result<bool, DatabaseError> {
        let update = "UPDATE wafleet_cloud_bindings SET chosen = ?, updated_at = UTC_TIMESTAMP(3) \
                      WHERE session_id = ? AND workspace_id = ?";
        let bind = || sqlx::query(update).bind(choice.as_str()).bind(session_id).bind(workspace_id);
        Ok(self.execute(bind).await?.rows_affected() == 1)
    }

    /// Tokens that are sealed by another key than this, after a number, in their order.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn cloud_tokens_not_under(
        &self,
        key_id: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<CloudNumber>, DatabaseError> {
        let select = sqlx::AssertSqlSafe(format!(
            "SELECT {NUMBER} FROM wafleet_cloud_numbers AS n WHERE n.key_id <> ? AND n.number_id > ? ORDER BY n.number_id LIMIT ?"
        ));
        let rows = sqlx::query(select).bind(key_id).bind(after).bind(limit).fetch_all(&self.pool).await?;
        Ok(rows.iter().map(number).collect::<Result<_, _>>()?)
    }

    /// Replaces a sealed token if it is still what was read.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn reseal_cloud_token(
        &self,
        old: &CloudNumber,
        key_id: &str,
        token: &[u8],
    ) -> Result<bool, DatabaseError> {
        let update = "UPDATE wafleet_cloud_numbers SET key_id = ?, token = ?, updated_at = UTC_TIMESTAMP(3) \
                      WHERE number_id = ? AND token = ?";
        let update = sqlx::query(update).bind(key_id).bind(token).bind(&old.number_id).bind(&old.token);
        Ok(update.execute(&self.pool).await?.rows_affected() == 1)
    }

    /// Records, before it is, that a message is about to be sent by the Cloud API. False when anything was attempted that may
    /// have gone out, when a newer owner or an end is recorded: then nothing may be sent.
    ///
    /// # Errors
    /// The database is away: the caller must not go on.
    pub(crate) async fn begin_cloud_attempt(&self, command: &CommandRecord, fence: u64) -> Result<bool, DatabaseError> {
        let update = "UPDATE wafleet_commands SET state = 'attempting', provider = 'cloud', fence = ?, attempt = attempt + 1, \
                      message_key = NULL, updated_at = UTC_TIMESTAMP(3) \
                      WHERE workspace_id = ? AND command_id = ? AND session_id = ? AND state = 'accepted' AND fence <= ?";
        // Not tried again by itself: a second try would find what the first has written.
        let update = sqlx::query(update)
            .bind(fence)
            .bind(command.workspace_id)
            .bind(&command.command_id)
            .bind(&command.session_id)
            .bind(fence);
        Ok(update.execute(&self.pool).await?.rows_affected() == 1)
    }

    /// Records that it is proven that the attempt sent nothing: another one may follow, by whomever.
    ///
    /// # Errors
    /// The database is away: the attempt counts as one that may have sent something.
    pub(crate) async fn nothing_went_out(&self, command: &CommandRecord, fence: u64) -> Result<(), DatabaseError> {
        let update = "UPDATE wafleet_commands SET state = 'accepted', message_key = NULL, updated_at = UTC_TIMESTAMP(3) \
                      WHERE workspace_id = ? AND command_id = ? AND state = 'attempting' AND fence = ?";
        self.execute(|| sqlx::query(update).bind(command.workspace_id).bind(&command.command_id).bind(fence)).await?;
        Ok(())
    }

    /// By whom the attempt was begun that has no end yet.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn attempted_by(&self, command: &CommandRecord) -> Result<Provider, DatabaseError> {
        let select = "SELECT provider FROM wafleet_commands WHERE workspace_id = ? AND command_id = ?";
        let row = sqlx::query(select).bind(command.workspace_id).bind(&command.command_id).fetch_optional(&self.pool);
        let provider: Option<String> = row.await?.map(|row| row.try_get("provider")).transpose()?.flatten();
        Ok(if provider.as_deref() == Some("cloud") { Provider::Cloud } else { Provider::Web })
    }

    /// Records Meta's id of the message that a command became.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn note_cloud_message(
        &self,
        command: &CommandRecord,
        fence: u64,
        message_id: &str,
    ) -> Result<(), DatabaseError> {
        let update =
            "UPDATE wafleet_commands SET message_key = ? WHERE workspace_id = ? AND command_id = ? AND fence = ?";
        self.execute(|| {
            sqlx::query(update).bind(message_id).bind(command.workspace_id).bind(&command.command_id).bind(fence)
        })
        .await?;
        Ok(())
    }

    /// The command whose message a webhook is about: by the mark it carries, else by Meta's id of the message. A command that
    /// did not go by the Cloud API, or became another message, is none.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn cloud_command(
        &self,
        workspace_id: u64,
        mark: Option<&str>,
        message_id: &str,
    ) -> Result<Option<CloudCommand>, DatabaseError> {
        let columns = "SELECT command_id, session_id, reference, state, cloud_ack FROM wafleet_commands";
        let by_mark = sqlx::AssertSqlSafe(format!(
            "{columns} WHERE workspace_id = ? AND command_id = ? AND provider = 'cloud' AND (message_key IS NULL OR message_key = ?)"
        ));
        let by_id = sqlx::AssertSqlSafe(format!(
            "{columns} WHERE workspace_id = ? AND message_key = ? AND provider = 'cloud' LIMIT 1"
        ));
        let row = match mark {
            Some(mark) => {
                let query = sqlx::query(by_mark).bind(workspace_id).bind(mark).bind(message_id);
                query.fetch_optional(&self.pool).await?
            }
            None => sqlx::query(by_id).bind(workspace_id).bind(message_id).fetch_optional(&self.pool).await?,
        };
        let Some(row) = row else { return Ok(None) };
        let state: String = row.try_get("state")?;
        Ok(Some(CloudCommand {
            command_id: row.try_get("command_id")?,
            session_id: row.try_get("session_id")?,
            reference: row.try_get("reference")?,
            unknown: state == "unknown",
            ack: row.try_get("cloud_ack")?,
        }))
    }

    /// Records an ack that was told, if the one told before is still `before`, and which message it is of.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn cloud_ack_told(
        &self,
        workspace_id: u64,
        command: &CloudCommand,
        message_id: &str,
        ack: i8,
    ) -> Result<(), DatabaseError> {
        let update = "UPDATE wafleet_commands SET cloud_ack = ?, message_key = COALESCE(message_key, ?) \
                      WHERE workspace_id = ? AND command_id = ? AND cloud_ack <=> ?";
        self.execute(|| {
            sqlx::query(update)
                .bind(ack)
                .bind(message_id)
                .bind(workspace_id)
                .bind(&command.command_id)
                .bind(command.ack)
        })
        .await?;
        Ok(())
    }

    /// What became, as far as it is known, of a command whose attempt by the Cloud API has no recorded end: Meta's id of the
    /// message, if it was accepted, and its ack.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn cloud_traces(
        &self,
        command: &CommandRecord,
    ) -> Result<Option<(String, Option<i8>)>, DatabaseError> {
        let select = "SELECT message_key, cloud_ack FROM wafleet_commands WHERE workspace_id = ? AND command_id = ? \
                      AND provider = 'cloud' AND message_key IS NOT NULL";
        let query = sqlx::query(select).bind(command.workspace_id).bind(&command.command_id);
        let row = query.fetch_optional(&self.pool).await?;
        Ok(row.map(|row| Ok::<_, sqlx::Error>((row.try_get("message_key")?, row.try_get("cloud_ack")?))).transpose()?)
    }

    /// Records the end of a command of unknown end, as Meta told it. `settle` makes the new result of the recorded one.
    /// Guarded by the state alone: Meta's word is the same to every worker.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn settle_cloud(
        &self,
        workspace_id: u64,
        command_id: &str,
        message_id: &str,
        state: FinalState,
        settle: impl FnOnce(Value) -> Option<Value>,
    ) -> Result<bool, DatabaseError> {
        let select = "SELECT CAST(result AS CHAR) AS result FROM wafleet_commands \
                      WHERE workspace_id = ? AND command_id = ? AND state = 'unknown' AND provider = 'cloud'";
        let row = sqlx::query(select).bind(workspace_id).bind(command_id).fetch_optional(&self.pool).await?;
        let Some(row) = row else { return Ok(false) };
        let result: Option<String> = row.try_get("result")?;
        let settled = result.and_then(|text| serde_json::from_str(&text).ok()).and_then(settle);
        let Some(settled) = settled else { return Ok(false) };
        let update = "UPDATE wafleet_commands SET state = ?, message_key = ?, result = ?, updated_at = UTC_TIMESTAMP(3) \
                      WHERE workspace_id = ? AND command_id = ? AND state = 'unknown' AND provider = 'cloud'";
        let done = sqlx::query(update)
            .bind(state.as_str())
            .bind(message_id)
            .bind(settled.to_string())
            .bind(workspace_id)
            .bind(command_id)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}
