//! `wafleet migrate …`

use std::process::ExitCode;

use anyhow::Context;
use sqlx::migrate::{Migrate as _, Migrator};
use sqlx::{Connection, MySqlConnection};

use crate::config::{Config, Settings};

/// The migrations, compiled into the binary.
static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

#[derive(Debug, clap::Subcommand)]
pub(super) enum Migrate {
    /// Bring the schema up to date. Safe to run again, and beside running workers.
    Up,
    /// Take migrations back, newest first. Deletes the fleet's tables; the host's own tables stay.
    Down {
        /// How many to take back.
        #[arg(long, default_value_t = 1, conflicts_with = "all")]
        steps: usize,
        /// Take all of them back.
        #[arg(long)]
        all: bool,
    },
    /// Show which migrations are applied.
    Status,
}

pub(super) async fn run(command: Migrate, settings: &Settings) -> anyhow::Result<ExitCode> {
    let url = Config::for_migration(settings)?;
    let mut database = MySqlConnection::connect(&url).await.context("cannot connect to the database")?;
    if !matches!(command, Migrate::Status) {
        lock(&mut database).await?;
    }
    database.ensure_migrations_table(&MIGRATOR.table_name).await?;
    let applied = applied(&mut database).await?;
    match command {
        Migrate::Up => {
            let pending: Vec<_> = ups().filter(|migration| !applied.contains(&migration.version)).collect();
            for migration in &pending {
                println!("applying {:04} {}", migration.version, migration.description);
            }
            MIGRATOR.run_direct(None, &mut database, false).await.context("a migration failed")?;
            println!("the schema is up to date ({} applied now, {} before)", pending.len(), applied.len());
        }
        Migrate::Down { steps, all } => {
            let keep = if all { 0 } else { applied.len().saturating_sub(steps) };
            // The version to go back to is the newest one that stays; 0 is the empty schema.
            let target = keep.checked_sub(1).map_or(0, |index| applied[index]);
            for migration in
                ups().filter(|migration| applied.contains(&migration.version) && migration.version > target)
            {
                println!("taking back {:04} {}", migration.version, migration.description);
            }
            MIGRATOR.undo(&mut database, target).await.context("a migration could not be taken back")?;
            println!("{} taken back, {keep} stay", applied.len() - keep);
        }
        Migrate::Status => {
            for migration in ups() {
                let state = if applied.contains(&migration.version) { "applied" } else { "pending" };
                println!("{state}  {:04} {}", migration.version, migration.description);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn ups() -> impl Iterator<Item = &'static sqlx::migrate::Migration> {
    MIGRATOR.iter().filter(|migration| !migration.migration_type.is_down_migration())
}

/// One process migrates at a time; the server lets go of the lock when the connection ends.
///
/// The migrator's own lock is none on MariaDB: it waits with a time-out of −1, which MySQL takes for "without end" and
/// MariaDB (10.11) refuses with NULL, at once and without an error.
async fn lock(database: &mut MySqlConnection) -> anyhow::Result<()> {
    const WAIT_SECS: u32 = 300;
    let locked: Option<i64> = sqlx::query_scalar("SELECT GET_LOCK(CONCAT('wafleet.', SHA1(DATABASE())), ?)")
        .bind(WAIT_SECS)
        .fetch_one(database)
        .await?;
    anyhow::ensure!(locked == Some(1), "another process has been migrating this database for {WAIT_SECS} s");
    Ok(())
}

/// Applied versions, oldest first.
async fn applied(database: &mut MySqlConnection) -> anyhow::Result<Vec<i64>> {
    let applied = database.list_applied_migrations(&MIGRATOR.table_name).await?;
    Ok(applied.into_iter().map(|migration| migration.version).collect())
}
