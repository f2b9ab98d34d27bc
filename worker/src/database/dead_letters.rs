//! `wafleet_dead_letters`: the archive, and what operators do with it.
//!
//! ```text
//! new ──▶ (replay prepared) ──▶ replayed        the preparation is written before the message is published, the
//!  └────▶ dropped                               state after the broker has confirmed it
//! ```

use std::collections::HashSet;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use sqlx::mysql::{MySql, MySqlRow};
use sqlx::pool::PoolConnection;
use sqlx::{QueryBuilder, Row, Transaction};

use super::{Audit, Database, DatabaseError};
use crate::dead_letter::DeadLetter;

/// Seconds a letter outlives the life of its replay, as a row of the ledger outlives its command.
const KEEP_SECS: u64 = 7 * 24 * 3600;

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LetterState {
    /// Nobody has decided yet.
    New,
    /// It was published again.
    Replayed,
    /// It will not be.
    Dropped,
}

impl LetterState {
    /// The word in the table and on the command line.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Replayed => "replayed",
            Self::Dropped => "dropped",
        }
    }
}

/// Which letters are meant. Everything that is said must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct LetterFilter {
    pub(crate) ids: Vec<u64>,
    pub(crate) workspace: Option<u64>,
    pub(crate) session: Option<String>,
    pub(crate) command: Option<String>,
    pub(crate) reasons: Vec<String>,
    pub(crate) kind: Option<String>,
    /// Unix seconds.
    pub(crate) since: Option<u64>,
    /// Unix seconds.
    pub(crate) until: Option<u64>,
    pub(crate) state: Option<LetterState>,
}

/// The times and the name of a replay, written before it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PreparedReplay {
    pub(crate) id: String,
    /// Unix seconds.
    pub(crate) issued_at: u64,
    /// Unix seconds.
    pub(crate) expires_at: u64,
}

/// A letter in the archive.
#[derive(Debug, Clone)]
pub(crate) struct ArchivedLetter {
    pub(crate) id: u64,
    pub(crate) letter: DeadLetter,
    /// Unix seconds.
    pub(crate) archived_at: u64,
    /// `new`, `replayed` or `dropped`.
    pub(crate) state: String,
    pub(crate) prepared: Option<PreparedReplay>,
    pub(crate) replays: u32,
    /// Unix seconds.
    pub(crate) settled_at: Option<u64>,
    pub(crate) settled_by: Option<String>,
    pub(crate) settled_why: Option<String>,
}

/// Who decided, and why.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    pub(crate) by: String,
    pub(crate) why: String,
}

/// Nobody else replays or drops while this lives; the server ends it with the connection.
pub(crate) struct LettersLock {
    _connection: PoolConnection<MySql>,
}

impl Database {
    /// Archives letters in their order, all or none; returns the places of those that were not known before. `now` in
    /// unix seconds is the moment at which they were judged genuine or not.
    ///
    /// # Errors
    /// The database is away: no letter may be acknowledged.
    pub(crate) async fn archive(
        &self,
        letters: &[DeadLetter],
        now: u64,
        retention: Duration,
    ) -> Result<Vec<usize>, DatabaseError> {
        // No INSERT IGNORE: a row that does not fit must be an error and not a loss.
        let insert = "INSERT INTO wafleet_dead_letters (fingerprint, at, archived_at, reason, detail, genuine, workspace_id, \
             session_id, command_id, type, exchange, routing_key, properties, headers, history, body, body_bytes, body_sha256, \
             worker, purge_after) \
             VALUES (?, FROM_UNIXTIME(?), FROM_UNIXTIME(?), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, FROM_UNIXTIME(? + ?))";
        let mut transaction = self.pool.begin().await?;
        let mut known = known(&mut transaction, letters).await?;
        let mut new = Vec::new();
        for (index, letter) in letters.iter().enumerate() {
            if !known.insert(letter.fingerprint) {
                continue;
            }
            sqlx::query(insert)
                .bind(letter.fingerprint.as_slice())
                .bind(letter.at)
                .bind(now)
                .bind(&letter.reason)
                .bind(&letter.detail)
                .bind(letter.genuine)
                .bind(letter.workspace)
                .bind(&letter.session)
                .bind(&letter.command)
                .bind(&letter.kind)
                .bind(&letter.exchange)
                .bind(&letter.routing_key)
                .bind(letter.properties.to_string())
                .bind(letter.headers.to_string())
                .bind(letter.history.as_ref().map(Value::to_string))
                .bind(&letter.body)
                .bind(letter.body_bytes)
                .bind(letter.body_sha256.as_slice())
                .bind(&letter.worker)
                .bind(now)
                .bind(retention.as_secs())
                .execute(&mut *transaction)
                .await?;
            new.push(index);
        }
        transaction.commit().await?;
        Ok(new)
    }

    /// Deletes letters whose time is over; returns how many.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn purge_dead_letters(&self, limit: u32) -> Result<u64, DatabaseError> {
        let delete = "DELETE FROM wafleet_dead_letters WHERE purge_after < UTC_TIMESTAMP(3) LIMIT ?";
        Ok(sqlx::query(delete).bind(limit).execute(&self.pool).await?.rows_affected())
    }

    /// The letters after the letter `after` and up to `last`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn letters(
        &self,
        filter: &LetterFilter,
        after: u64,
        last: u64,
        limit: u32,
    ) -> Result<Vec<ArchivedLetter>, DatabaseError> {
        let mut select = QueryBuilder::<MySql>::new(
            "SELECT id, fingerprint, CAST(FLOOR(UNIX_TIMESTAMP(at)) AS UNSIGNED) AS at, \
             CAST(FLOOR(UNIX_TIMESTAMP(archived_at)) AS UNSIGNED) AS archived_at, reason, detail, genuine, workspace_id, session_id, \
             command_id, type, exchange, routing_key, CAST(properties AS CHAR) AS properties, CAST(headers AS CHAR) AS headers, \
             CAST(history AS CHAR) AS history, body, body_bytes, body_sha256, worker, state, replay_id, \
             CAST(FLOOR(UNIX_TIMESTAMP(replay_issued_at)) AS UNSIGNED) AS replay_issued_at, \
             CAST(FLOOR(UNIX_TIMESTAMP(replay_expires_at)) AS UNSIGNED) AS replay_expires_at, replays, \
             CAST(FLOOR(UNIX_TIMESTAMP(settled_at)) AS UNSIGNED) AS settled_at, settled_by, settled_why \
             FROM wafleet_dead_letters WHERE id > ",
        );
        select.push_bind(after).push(" AND id <= ").push_bind(last);
        restrict(&mut select, filter);
        select.push(" ORDER BY id LIMIT ").push_bind(limit);
        let rows = select.build().fetch_all(&self.pool).await?;
        Ok(rows.iter().map(archived).collect::<Result<_, sqlx::Error>>()?)
    }

    /// How many letters are meant, and the last of them (0 for none). Letters that come later have greater ids.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn letters_meant(&self, filter: &LetterFilter) -> Result<(u64, u64), DatabaseError> {
        let mut select = QueryBuilder::<MySql>::new(
            "SELECT CAST(COUNT(*) AS UNSIGNED) AS count, CAST(COALESCE(MAX(id), 0) AS UNSIGNED) AS last \
             FROM wafleet_dead_letters WHERE id > 0",
        );
        restrict(&mut select, filter);
        let row = select.build().fetch_one(&self.pool).await?;
        Ok((row.try_get("count")?, row.try_get("last")?))
    }

    /// Makes this process the only one that replays or drops; `None` when another one does so for longer than `patience`.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn lock_letters(&self, patience: Duration) -> Result<Option<LettersLock>, DatabaseError> {
        let mut connection = self.pool.acquire().await?;
        let locked: Option<i64> = sqlx::query_scalar("SELECT GET_LOCK(CONCAT('wafleet.dlq.', SHA1(DATABASE())), ?)")
            .bind(patience.as_secs())
            .fetch_one(&mut *connection)
            .await?;
        Ok((locked == Some(1)).then_some(LettersLock { _connection: connection }))
    }

    /// Writes down how a letter is about to be replayed; the letter, and with it the ledger's row of its command, is kept
    /// as long as the replay can arrive. False when somebody has decided otherwise.
    ///
    /// # Errors
    /// The database is away: nothing may be published.
    pub(crate) async fn prepare_replay(&self, id: u64, replay: &PreparedReplay) -> Result<bool, DatabaseError> {
        let update = "UPDATE wafleet_dead_letters SET replay_id = ?, replay_issued_at = FROM_UNIXTIME(?), \
                      replay_expires_at = FROM_UNIXTIME(?), replays = replays + 1, \
                      purge_after = GREATEST(purge_after, FROM_UNIXTIME(? + ?)) WHERE id = ? AND state = 'new'";
        let done = sqlx::query(update)
            .bind(&replay.id)
            .bind(replay.issued_at)
            .bind(replay.expires_at)
            .bind(replay.expires_at)
            .bind(KEEP_SECS)
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Records that a letter was published again, after the broker has confirmed it.
    ///
    /// # Errors
    /// The database is away: the letter stays new, and a second replay of it is the same message.
    pub(crate) async fn mark_replayed(&self, id: u64, decision: &Decision) -> Result<(), DatabaseError> {
        let update = "UPDATE wafleet_dead_letters SET state = 'replayed', settled_at = UTC_TIMESTAMP(3), settled_by = ?, \
                      settled_why = ? WHERE id = ? AND state = 'new'";
        sqlx::query(update).bind(&decision.by).bind(&decision.why).bind(id).execute(&self.pool).await?;
        Ok(())
    }

    /// Drops the new letters that are meant, up to `last` and at most `limit`, with one audit row; all or nothing.
    /// Returns how many.
    ///
    /// # Errors
    /// The database is away: nothing was dropped.
    pub(crate) async fn drop_letters(
        &self,
        filter: &LetterFilter,
        last: u64,
        limit: u64,
        decision: &Decision,
    ) -> Result<u64, DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        let mut update = QueryBuilder::<MySql>::new(
            "UPDATE wafleet_dead_letters SET state = 'dropped', settled_at = UTC_TIMESTAMP(3), settled_by = ",
        );
        update.push_bind(&decision.by).push(", settled_why = ").push_bind(&decision.why);
        update.push(" WHERE state = 'new' AND id <= ").push_bind(last);
        restrict(&mut update, filter);
        update.push(" ORDER BY id LIMIT ").push_bind(limit);
        let dropped = update.build().execute(&mut *transaction).await?.rows_affected();
        let detail = serde_json::json!({ "why": decision.why, "count": dropped, "filter": filter });
        Audit {
            workspace_id: filter.workspace,
            session_id: filter.session.as_deref(),
            command_id: filter.command.as_deref(),
            actor: format!("operator:{}", decision.by),
            action: "dead_letters.dropped",
            reason: "operator",
            detail,
        }
        .insert(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(dropped)
    }
}

/// The fingerprints among these that the archive has.
async fn known(
    transaction: &mut Transaction<'_, MySql>,
    letters: &[DeadLetter],
) -> Result<HashSet<[u8; 32]>, sqlx::Error> {
    let mut select =
        QueryBuilder::<MySql>::new("SELECT fingerprint FROM wafleet_dead_letters WHERE fingerprint IN (NULL");
    for letter in letters {
        select.push(", ").push_bind(letter.fingerprint.to_vec());
    }
    let rows = select.push(")").build().fetch_all(&mut **transaction).await?;
    rows.iter().map(|row| row.try_get("fingerprint").map(hash)).collect()
}

/// The bytes of a column that has 32 of them.
fn hash(bytes: Vec<u8>) -> [u8; 32] {
    bytes.try_into().unwrap_or_default()
}

fn restrict(query: &mut QueryBuilder<MySql>, filter: &LetterFilter) {
    if !filter.ids.is_empty() {
        query.push(" AND id IN (");
        let mut list = query.separated(", ");
        for id in &filter.ids {
            list.push_bind(*id);
        }
        query.push(")");
    }
    if !filter.reasons.is_empty() {
        query.push(" AND reason IN (");
        let mut list = query.separated(", ");
        for reason in &filter.reasons {
            list.push_bind(reason.clone());
        }
        query.push(")");
    }
    if let Some(workspace) = filter.workspace {
        query.push(" AND workspace_id = ").push_bind(workspace);
    }
    let texts = [
        (" AND session_id = ", filter.session.as_deref()),
        (" AND command_id = ", filter.command.as_deref()),
        (" AND type = ", filter.kind.as_deref()),
        (" AND state = ", filter.state.map(LetterState::as_str)),
    ];
    for (column, text) in texts {
        if let Some(text) = text {
            query.push(column).push_bind(text.to_owned());
        }
    }
    if let Some(since) = filter.since {
        query.push(" AND at >= FROM_UNIXTIME(").push_bind(since).push(")");
    }
    if let Some(until) = filter.until {
        query.push(" AND at < FROM_UNIXTIME(").push_bind(until).push(")");
    }
}

fn archived(row: &MySqlRow) -> Result<ArchivedLetter, sqlx::Error> {
    let json = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
    let prepared =
        match (row.try_get("replay_id")?, row.try_get("replay_issued_at")?, row.try_get("replay_expires_at")?) {
            (Some(id), Some(issued_at), Some(expires_at)) => Some(PreparedReplay { id, issued_at, expires_at }),
            _ => None,
        };
    Ok(ArchivedLetter {
        id: row.try_get("id")?,
        letter: DeadLetter {
            fingerprint: hash(row.try_get("fingerprint")?),
            at: row.try_get("at")?,
            reason: row.try_get("reason")?,
            detail: row.try_get("detail")?,
            genuine: row.try_get("genuine")?,
            workspace: row.try_get("workspace_id")?,
            session: row.try_get("session_id")?,
            command: row.try_get("command_id")?,
            kind: row.try_get("type")?,
            exchange: row.try_get("exchange")?,
            routing_key: row.try_get("routing_key")?,
            properties: json(row.try_get("properties")?).unwrap_or_default(),
            headers: json(row.try_get("headers")?).unwrap_or_default(),
            history: json(row.try_get("history")?),
            body: row.try_get("body")?,
            body_bytes: row.try_get("body_bytes")?,
            body_sha256: hash(row.try_get("body_sha256")?),
            worker: row.try_get("worker")?,
        },
        archived_at: row.try_get("archived_at")?,
        state: row.try_get("state")?,
        prepared,
        replays: row.try_get("replays")?,
        settled_at: row.try_get("settled_at")?,
        settled_by: row.try_get("settled_by")?,
        settled_why: row.try_get("settled_why")?,
    })
}
