//! The command ledger: one row per command id, so that nothing is executed twice.
//!
//! ```text
//! accepted ──▶ attempting ──▶ succeeded | failed | unknown ──(it turns out)──▶ succeeded      (with the result that is
//!     │                                                                                   answered to every duplicate)
//!     └──────────────────────▶ expired ──(an operator replays it)──▶ accepted
//! ```
//! The row lives seven days longer than the command itself, so a captured message cannot be executed again within its
//! life, and after it is refused as expired.

use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::Row;

use super::{Database, DatabaseError};

/// Seconds a row outlives its command.
const KEEP_SECS: u64 = 7 * 24 * 3600;

/// What is known about a command when it arrives.
#[derive(Debug)]
pub(crate) enum Acceptance {
    /// Never seen, or seen and not finished: go on. `attempted` says that a send may already have happened.
    Open {
        /// The row was new.
        first: bool,
        /// A send with this command's message id was begun, by this or an earlier owner.
        attempted: bool,
        /// An operator replays it, and this replay was not seen before.
        replayed: bool,
        /// When it was issued, in unix seconds, as the ledger knows it: a copy that was signed again later is no other
        /// command, and its result has the same event id.
        issued_at: i64,
        /// Executions that ended with their worker, since it came or was last replayed.
        crashes: u32,
    },
    /// It passed its end of life unexecuted, and no operator has decided otherwise.
    Expired,
    /// Finished: answer with this result, execute nothing.
    Done {
        /// The recorded `command.result` data.
        result: Value,
        /// As in [`Open`](Self::Open).
        issued_at: i64,
    },
    /// The same id came with another body.
    BodyChanged,
}

/// How far a command had got when its time was over.
#[derive(Debug)]
pub(crate) enum Late {
    /// Nothing was done, and nothing will be.
    NotBegun,
    /// A send was begun, and its end is not recorded: it may have gone out.
    Begun {
        /// When it was issued, in unix seconds, as the ledger knows it.
        issued_at: i64,
    },
    /// Finished: its end stands.
    Done {
        /// The recorded `command.result` data.
        result: Value,
        /// As in [`Begun`](Self::Begun).
        issued_at: i64,
    },
}

/// Who signed a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signer {
    /// The host application.
    Host,
    /// An operator, who replays it from the dead letters.
    Operator,
}

/// The end of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FinalState {
    /// Done.
    Succeeded,
    /// Permanently not done.
    Failed,
    /// It may have gone out.
    Unknown,
}

impl FinalState {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// Which end of a command stands.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The one that was just recorded.
    Recorded,
    /// One that was recorded before.
    Stands {
        /// The recorded `command.result` data.
        result: Value,
    },
    /// None yet, and a newer owner is at it: the end is that owner's to record and to tell.
    NewerOwner,
}

/// A send of unknown end.
#[derive(Debug)]
pub(crate) struct UnknownSend {
    /// The WhatsApp message id it was sent under.
    pub(crate) message_id: String,
    /// When its command was issued, in unix seconds.
    pub(crate) issued_at: i64,
}

/// The identity of a command, as its verified headers and body say it.
#[derive(Debug, Clone)]
pub(crate) struct CommandRecord {
    /// Workspace; with the id it is the key.
    pub(crate) workspace_id: u64,
    /// AMQP `message_id`.
    pub(crate) command_id: String,
    /// Session it is for; `auto` until one is chosen.
    pub(crate) session_id: String,
    /// Command type.
    pub(crate) kind: &'static str,
    /// Key that signed it.
    pub(crate) key_id: String,
    /// Body as it was signed.
    pub(crate) body_sha256: [u8; 32],
    /// The caller's own reference.
    pub(crate) reference: Option<String>,
    /// The campaign it belongs to.
    pub(crate) campaign: Option<String>,
    /// Unix seconds; once the ledger has been asked, as the ledger knows it.
    pub(crate) issued_at: i64,
    /// Unix seconds.
    pub(crate) expires_at: i64,
}

impl CommandRecord {
    /// SHA-256 over what must not change under one command id: the body, and where and what it is.
    pub(crate) fn fingerprint(session_id: &str, kind: &str, body: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [session_id.as_bytes(), kind.as_bytes(), body] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

impl Database {
    /// Remembers a command at first sight and says how far it got otherwise.
    ///
    /// # Errors
    /// The database is away: the caller must not execute anything.
    pub(crate) async fn accept(
        &self,
        command: &CommandRecord,
        signer: Signer,
        process: &str,
    ) -> Result<Acceptance, DatabaseError> {
        let insert = "INSERT IGNORE INTO wafleet_commands (workspace_id, command_id, session_id, type, key_id, body_sha256, state, \
             fence, attempt, reference, campaign, issued_at, expires_at, purge_after, begun_by, created_at, updated_at) \
             VALUES (?, ?, ?, ?, ?, ?, 'accepted', 0, 0, ?, ?, FROM_UNIXTIME(?), FROM_UNIXTIME(?), FROM_UNIXTIME(? + ?), \
             ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))";
        let inserted = self
            .execute(|| {
                sqlx::query(insert)
                    .bind(command.workspace_id)
                    .bind(&command.command_id)
                    .bind(&command.session_id)
                    .bind(command.kind)
                    .bind(&command.key_id)
                    .bind(command.body_sha256.as_slice())
                    .bind(&command.reference)
                    .bind(&command.campaign)
                    .bind(command.issued_at)
                    .bind(command.expires_at)
                    .bind(command.expires_at)
                    .bind(KEEP_SECS)
                    .bind(process)
            })
            .await?;
        if inserted.rows_affected() == 1 {
            let (replayed, issued_at) = (signer == Signer::Operator, command.issued_at);
            return Ok(Acceptance::Open { first: true, attempted: false, replayed, issued_at, crashes: 0 });
        }
        self.begin(command, process).await?;
        let select = "SELECT body_sha256, state, crashes, CAST(result AS CHAR) AS result, \
             CAST(UNIX_TIMESTAMP(issued_at) AS SIGNED) AS issued_at FROM wafleet_commands WHERE workspace_id = ? AND command_id = ?";
        let row =
            sqlx::query(select).bind(command.workspace_id).bind(&command.command_id).fetch_one(&self.pool).await?;
        let body: Vec<u8> = row.try_get("body_sha256")?;
        if body != command.body_sha256 {
            return Ok(Acceptance::BodyChanged);
        }
        let state: String = row.try_get("state")?;
        let result: Option<String> = row.try_get("result")?;
        let replayed = self.renew(command, signer).await?;
        let issued_at = if replayed { command.issued_at } else { row.try_get("issued_at")? };
        let crashes = if replayed { 0 } else { row.try_get("crashes")? };
        let open = |attempted| Acceptance::Open { first: false, attempted, replayed, issued_at, crashes };
        Ok(match (state.as_str(), result) {
            ("accepted", _) => open(false),
            ("attempting", _) => open(true),
            ("expired", _) if signer == Signer::Operator => open(false),
            ("expired", _) => Acceptance::Expired,
            (_, result) => Acceptance::Done {
                result: result.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null),
                issued_at,
            },
        })
    }

    /// Notes who executes a known command now. If another process began it and never put it back or ended it, that process
    /// went down over it; ours is still here, whatever it did with the command before.
    async fn begin(&self, command: &CommandRecord, process: &str) -> Result<(), DatabaseError> {
        // Assignments take effect from left to right: the count still sees who began it before.
        let update = "UPDATE wafleet_commands SET crashes = crashes + IF(begun_by IS NOT NULL AND begun_by <> ?, 1, 0), begun_by = ? \
                      WHERE workspace_id = ? AND command_id = ? AND body_sha256 = ? AND state IN ('accepted', 'attempting')";
        self.execute(|| {
            sqlx::query(update)
                .bind(process)
                .bind(process)
                .bind(command.workspace_id)
                .bind(&command.command_id)
                .bind(command.body_sha256.as_slice())
        })
        .await?;
        Ok(())
    }

    /// Notes that this process has let go of a command that has no end yet, and lives: it merely waits.
    ///
    /// # Errors
    /// The database is away. If this process is gone before it has the command again, that counts as a crash.
    pub(crate) async fn put_back(&self, command: &CommandRecord, process: &str) -> Result<(), DatabaseError> {
        let update =
            "UPDATE wafleet_commands SET begun_by = NULL WHERE workspace_id = ? AND command_id = ? AND begun_by = ?";
        self.execute(|| sqlx::query(update).bind(command.workspace_id).bind(&command.command_id).bind(process)).await?;
        Ok(())
    }

    /// Notes that a command made this process panic.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn crashed(&self, command: &CommandRecord, process: &str) -> Result<(), DatabaseError> {
        let update = "UPDATE wafleet_commands SET crashes = crashes + 1, begun_by = NULL \
                      WHERE workspace_id = ? AND command_id = ? AND begun_by = ?";
        self.execute(|| sqlx::query(update).bind(command.workspace_id).bind(&command.command_id).bind(process)).await?;
        Ok(())
    }

    /// Notes that a known command came with other times: its row must outlive this copy too. An operator's copy of a command
    /// that has no end yet opens it again; the answer says whether this copy did so for the first time.
    async fn renew(&self, command: &CommandRecord, signer: Signer) -> Result<bool, DatabaseError> {
        let keep = "UPDATE wafleet_commands SET purge_after = FROM_UNIXTIME(? + ?) \
                    WHERE workspace_id = ? AND command_id = ? AND purge_after < FROM_UNIXTIME(? + ?)";
        self.execute(|| {
            sqlx::query(keep)
                .bind(command.expires_at)
                .bind(KEEP_SECS)
                .bind(command.workspace_id)
                .bind(&command.command_id)
                .bind(command.expires_at)
                .bind(KEEP_SECS)
        })
        .await?;
        if signer == Signer::Host {
            return Ok(false);
        }
        let reopen = "UPDATE wafleet_commands SET state = IF(state = 'expired', 'accepted', state), key_id = ?, crashes = 0, \
                      issued_at = FROM_UNIXTIME(?), expires_at = FROM_UNIXTIME(?), updated_at = UTC_TIMESTAMP(3) \
                      WHERE workspace_id = ? AND command_id = ? AND state IN ('accepted', 'attempting', 'expired') \
                      AND (state = 'expired' OR key_id <> ? OR issued_at <> FROM_UNIXTIME(?))";
        let done = self
            .execute(|| {
                sqlx::query(reopen)
                    .bind(&command.key_id)
                    .bind(command.issued_at)
                    .bind(command.expires_at)
                    .bind(command.workspace_id)
                    .bind(&command.command_id)
                    .bind(&command.key_id)
                    .bind(command.issued_at)
            })
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Records that the effect is about to be tried, before it is: the message's WhatsApp id, or the worker that a session
    /// is to move to. Returns false when a newer owner or an end is recorded, or an attempt by the Cloud API:
    /// then nothing may be done.
    ///
    /// # Errors
    /// The database is away: the caller must not go on.
    pub(crate) async fn begin_attempt(
        &self,
        command: &CommandRecord,
        fence: u64,
        about: &str,
    ) -> Result<bool, DatabaseError> {
        let update = "UPDATE wafleet_commands SET state = 'attempting', fence = ?, attempt = attempt + 1, message_key = ?, provider = 'web', \
                      updated_at = UTC_TIMESTAMP(3) \
                      WHERE workspace_id = ? AND command_id = ? AND session_id = ? AND fence <= ? \
                      AND (state = 'accepted' OR (state = 'attempting' AND NOT provider <=> 'cloud'))";
        let done = self
            .execute(|| {
                sqlx::query(update)
                    .bind(fence)
                    .bind(about)
                    .bind(command.workspace_id)
                    .bind(&command.command_id)
                    .bind(&command.session_id)
                    .bind(fence)
            })
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// What the attempt that was begun is about: the second argument of [`begin_attempt`](Self::begin_attempt).
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn attempt_of(&self, command: &CommandRecord) -> Result<Option<String>, DatabaseError> {
        let select = "SELECT message_key FROM wafleet_commands WHERE workspace_id = ? AND command_id = ?";
        let row = sqlx::query(select).bind(command.workspace_id).bind(&command.command_id).fetch_optional(&self.pool);
        Ok(row.await?.map(|row| row.try_get("message_key")).transpose()?.flatten())
    }

    /// Records the end and its result. A second end changes nothing: the answer says which one stands.
    ///
    /// # Errors
    /// The database is away: the delivery must not be acknowledged.
    pub(crate) async fn finish(
        &self,
        command: &CommandRecord,
        fence: u64,
        state: FinalState,
        result: &Value,
    ) -> Result<Ending, DatabaseError> {
        let update = "UPDATE wafleet_commands SET state = ?, fence = ?, result = ?, begun_by = NULL, updated_at = UTC_TIMESTAMP(3) \
                      WHERE workspace_id = ? AND command_id = ? AND state IN ('accepted', 'attempting') AND fence <= ?";
        let done = self
            .execute(|| {
                sqlx::query(update)
                    .bind(state.as_str())
                    .bind(fence)
                    .bind(result.to_string())
                    .bind(command.workspace_id)
                    .bind(&command.command_id)
                    .bind(fence)
            })
            .await?;
        if done.rows_affected() == 1 {
            return Ok(Ending::Recorded);
        }
        let select = "SELECT fence, CAST(result AS CHAR) AS result FROM wafleet_commands WHERE workspace_id = ? AND command_id = ?";
        let row =
            sqlx::query(select).bind(command.workspace_id).bind(&command.command_id).fetch_optional(&self.pool).await?;
        let Some(row) = row else { return Ok(Ending::Recorded) }; // purged: there is no other end that it could contradict
        let standing: Option<String> = row.try_get("result")?;
        let newer = row.try_get::<u64, _>("fence")? > fence;
        Ok(match standing.and_then(|text| serde_json::from_str(&text).ok()) {
            Some(result) => Ending::Stands { result },
            None if newer => Ending::NewerOwner,
            None => Ending::Recorded,
        })
    }

    /// How far a command got whose time is over. One that had not begun is recorded as expired.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn expire(&self, command: &CommandRecord) -> Result<Late, DatabaseError> {
        let select = "SELECT state, CAST(result AS CHAR) AS result, CAST(UNIX_TIMESTAMP(issued_at) AS SIGNED) AS issued_at \
                      FROM wafleet_commands WHERE workspace_id = ? AND command_id = ? AND body_sha256 = ?";
        let row = sqlx::query(select)
            .bind(command.workspace_id)
            .bind(&command.command_id)
            .bind(command.body_sha256.as_slice())
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(Late::NotBegun) };
        let state: String = row.try_get("state")?;
        let result: Option<String> = row.try_get("result")?;
        match (state.as_str(), result.and_then(|text| serde_json::from_str(&text).ok())) {
            ("accepted" | "expired", _) => {}
            ("attempting", _) => return Ok(Late::Begun { issued_at: row.try_get("issued_at")? }),
            (_, Some(result)) => return Ok(Late::Done { result, issued_at: row.try_get("issued_at")? }),
            (_, None) => {}
        }
        let update = "UPDATE wafleet_commands SET state = 'expired', updated_at = UTC_TIMESTAMP(3) \
                      WHERE workspace_id = ? AND command_id = ? AND state = 'accepted'";
        self.execute(|| sqlx::query(update).bind(command.workspace_id).bind(&command.command_id)).await?;
        Ok(Late::NotBegun)
    }

    /// The command that sent the message with this WhatsApp id, and the caller's reference.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn sender_of(
        &self,
        session_id: &str,
        message_id: &str,
    ) -> Result<Option<(String, Option<String>)>, DatabaseError> {
        let select =
            "SELECT command_id, reference FROM wafleet_commands WHERE message_key = ? AND session_id = ? LIMIT 1";
        let row = sqlx::query(select).bind(message_id).bind(session_id).fetch_optional(&self.pool).await?;
        row.map(|row| Ok((row.try_get("command_id")?, row.try_get("reference")?))).transpose()
    }

    /// The sends of a session whose end is not known, the latest first.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn unknown_sends(&self, session_id: &str, limit: u32) -> Result<Vec<UnknownSend>, DatabaseError> {
        let select = "SELECT message_key, CAST(UNIX_TIMESTAMP(issued_at) AS SIGNED) AS issued_at FROM wafleet_commands \
                      WHERE session_id = ? AND state = 'unknown' AND message_key IS NOT NULL \
                      ORDER BY wafleet_commands.issued_at DESC LIMIT ?";
        let rows = sqlx::query(select).bind(session_id).bind(limit).fetch_all(&self.pool).await?;
        let send = |row: &sqlx::mysql::MySqlRow| {
            Ok(UnknownSend { message_id: row.try_get("message_key")?, issued_at: row.try_get("issued_at")? })
        };
        rows.iter().map(send).collect()
    }

    /// Records that a command of unknown end has succeeded, as it turned out later. `settle` makes the new result of the
    /// recorded one. False when its end was known all the time, or a newer owner has to say.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn settle_unknown(
        &self,
        workspace_id: u64,
        command_id: &str,
        fence: u64,
        settle: impl FnOnce(Value) -> Option<Value>,
    ) -> Result<bool, DatabaseError> {
        let select = "SELECT CAST(result AS CHAR) AS result FROM wafleet_commands \
                      WHERE workspace_id = ? AND command_id = ? AND state = 'unknown' AND fence <= ?";
        let row =
            sqlx::query(select).bind(workspace_id).bind(command_id).bind(fence).fetch_optional(&self.pool).await?;
        let Some(row) = row else { return Ok(false) };
        let result: Option<String> = row.try_get("result")?;
        let settled = result.and_then(|text| serde_json::from_str(&text).ok()).and_then(settle);
        let Some(settled) = settled else { return Ok(false) };
        let update = "UPDATE wafleet_commands SET state = 'succeeded', fence = ?, result = ?, updated_at = UTC_TIMESTAMP(3) \
                      WHERE workspace_id = ? AND command_id = ? AND state = 'unknown' AND fence <= ?";
        let done = sqlx::query(update)
            .bind(fence)
            .bind(settled.to_string())
            .bind(workspace_id)
            .bind(command_id)
            .bind(fence)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Deletes rows whose time is over; returns how many. Bounded, so that it never holds long locks. A row stays while the
    /// archive has a dead letter of its command: whoever replays that must meet the row.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn purge_commands(&self, limit: u32) -> Result<u64, DatabaseError> {
        let delete = "DELETE FROM wafleet_commands WHERE purge_after < UTC_TIMESTAMP(3) AND NOT EXISTS (\
                      SELECT 1 FROM wafleet_dead_letters AS letter WHERE letter.workspace_id = wafleet_commands.workspace_id \
                      AND letter.command_id = wafleet_commands.command_id) LIMIT ?";
        Ok(self.execute(|| sqlx::query(delete).bind(limit)).await?.rows_affected())
    }
}
