//! MySQL or MariaDB: the truth about sessions, commands and fences. Redis only says who may try.
//!
//! Times are `DATETIME(3)` in UTC. Every write that an owner makes is guarded by `fence <= ?`, so a late owner writes nothing.

mod audit;
mod campaigns;
mod cloud;
mod contacts;
mod dead_letters;
mod ledger;
mod media;
mod parked;
mod profile_keys;
mod sessions;
mod snapshot_objects;
mod snapshots;
mod syncs;

use std::time::Duration;

use sqlx::mysql::{MySqlArguments, MySqlDatabaseError, MySqlPoolOptions, MySqlQueryResult};
use sqlx::query::Query;
use sqlx::{MySql, MySqlPool};

pub(crate) use audit::Audit;
pub(crate) use cloud::{Binding, CloudCommand, CloudNumber, Role};
pub(crate) use contacts::ContactKey;
pub(crate) use dead_letters::{ArchivedLetter, Decision, LetterFilter, LetterState, PreparedReplay};
pub(crate) use ledger::{Acceptance, CommandRecord, Ending, FinalState, Late, Signer};
pub(crate) use media::{Heard, MediaEnd, MediaRow};
pub(crate) use parked::Parked;
pub(crate) use profile_keys::{Erasure, WrappedHeader, WrappedKey};
pub(crate) use sessions::{Desired, SessionRow, StatusWrite};
pub(crate) use snapshot_objects::ForgottenObject;
pub(crate) use snapshots::{Complete, Newest, SnapshotRow};
pub(crate) use syncs::{NewSync, Reached, SyncRow};

/// Connections of one worker: claims, ledger rows and status rows are short, so few are enough.
const POOL_SIZE: u32 = 8;
/// How long a statement waits for a free connection before the caller hears that the database is away.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(5);

/// How often a statement is tried that loses against another transaction. Each try waits for the lock once more.
const TRIES: u32 = 4;
/// Pause before a statement is tried again, at most; by chance, so that two losers do not meet again.
const LOST_PAUSE: Duration = Duration::from_millis(100);
/// MySQL and MariaDB number for "deadlock found", "lock wait timeout" and "record has changed since last read": the
/// statement did nothing, and may do it the next time.
const LOST_ERRORS: [u16; 3] = [1213, 1205, 1020];

/// Pause between two questions whether the database is back.
const ANSWER_PAUSE: Duration = Duration::from_secs(1);

/// The database is away, slow, or refused a statement.
#[derive(Debug, thiserror::Error)]
#[error("the database failed")]
pub(crate) struct DatabaseError(#[from] sqlx::Error);

/// A handle to the database. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Database {
    pool: MySqlPool,
}

impl Database {
    /// Prepares the pool; connections are made when first needed, so a database that is away does not stop the worker.
    ///
    /// # Errors
    /// The URL has a parameter that the driver does not know.
    pub(crate) fn new(url: &str) -> Result<Self, DatabaseError> {
        let pool =
            MySqlPoolOptions::new().max_connections(POOL_SIZE).acquire_timeout(ACQUIRE_LIMIT).connect_lazy(url)?;
        Ok(Self { pool })
    }

    /// Asks for an answer and for the schema this worker was built for.
    ///
    /// # Errors
    /// The database is away, or `wafleet migrate up` has not been run.
    pub(crate) async fn check(&self) -> Result<(), DatabaseError> {
        sqlx::query("SELECT session_id, fence, relocations, limits FROM wafleet_sessions LIMIT 1")
            .fetch_optional(&self.pool)
            .await?;
        sqlx::query("SELECT number_id FROM wafleet_cloud_numbers LIMIT 1").fetch_optional(&self.pool).await?;
        sqlx::query("SELECT session_id, contact FROM wafleet_contacts LIMIT 1").fetch_optional(&self.pool).await?;
        sqlx::query("SELECT command_id, crashes, cloud_ack, campaign FROM wafleet_commands LIMIT 1")
            .fetch_optional(&self.pool)
            .await?;
        sqlx::query("SELECT session_id, sync_id FROM wafleet_syncs LIMIT 1").fetch_optional(&self.pool).await?;
        sqlx::query("SELECT id, taken_by FROM wafleet_parked LIMIT 1").fetch_optional(&self.pool).await?;
        sqlx::query("SELECT id, fingerprint FROM wafleet_dead_letters LIMIT 1").fetch_optional(&self.pool).await?;
        sqlx::query("SELECT id, unlinked_fence FROM wafleet_snapshots LIMIT 1").fetch_optional(&self.pool).await?;
        Ok(())
    }

    /// What the database takes the time to be, as time since the Unix epoch.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn time(&self) -> Result<Duration, DatabaseError> {
        let micros: i64 = sqlx::query_scalar("SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))")
            .fetch_one(&self.pool)
            .await?;
        Ok(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
    }

    /// Runs one statement, and again, within a bound, when it lost against another transaction.
    async fn execute<'q>(
        &self,
        query: impl Fn() -> Query<'q, MySql, MySqlArguments> + Send,
    ) -> Result<MySqlQueryResult, DatabaseError> {
        for _ in 1..TRIES {
            match query().execute(&self.pool).await {
                Err(error) if lost(&error) => {
                    tracing::debug!(%error, "a statement lost against another transaction; trying again");
                    tokio::time::sleep(LOST_PAUSE.mul_f64(rand::random_range(0.1..1.0))).await;
                }
                result => return Ok(result?),
            }
        }
        Ok(query().execute(&self.pool).await?)
    }

    /// Waits until the database answers.
    pub(crate) async fn available(&self) {
        while let Err(error) = sqlx::query("SELECT 1").execute(&self.pool).await {
            tracing::debug!(%error, "the database does not answer");
            tokio::time::sleep(ANSWER_PAUSE).await;
        }
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Whether a statement did nothing because another transaction was in its way.
fn lost(error: &sqlx::Error) -> bool {
    let error = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    error.is_some_and(|error| LOST_ERRORS.contains(&error.number()))
}
