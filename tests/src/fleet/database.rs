//! A database of its own for one test.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use sqlx::migrate::Migrator;
use sqlx::mysql::{MySqlConnection, MySqlPool, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, Connection};

/// A database. Dropping it drops it.
pub struct Database {
    name: String,
    server: String,
    url: String,
    pool: MySqlPool,
}

impl Database {
    /// Creates an empty database on the server `server` (a URL without a database).
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create(server: &str) -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("wafleet_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut connection = MySqlConnection::connect(server).await.context("connecting to the database server")?;
        // A run that was killed may have left one under the same process id.
        for statement in [format!("DROP DATABASE IF EXISTS `{name}`"), format!("CREATE DATABASE `{name}`")] {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
        }
        connection.close().await?;
        let url = format!("{server}/{name}");
        let pool =
            MySqlPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(10)).connect_lazy(&url)?;
        Ok(Self { name, server: server.to_owned(), url, pool })
    }

    /// `mysql://…` of this database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Connections to this database, with the session time zone set to UTC.
    pub fn pool(&self) -> &MySqlPool {
        &self.pool
    }

    /// The migrations of the repository, as they are on disk.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn migrations() -> anyhow::Result<Migrator> {
        let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations"));
        Migrator::new(directory).await.context("reading the migrations")
    }

    /// Applies all migrations.
    ///
    /// # Errors
    /// When one fails.
    pub async fn migrate(&self) -> anyhow::Result<()> {
        Self::migrations().await?.run(&self.pool).await.context("applying the migrations")
    }

    /// Takes all migrations back.
    ///
    /// # Errors
    /// When one fails.
    pub async fn migrate_back(&self) -> anyhow::Result<()> {
        Self::migrations().await?.undo(&self.pool, 0).await.context("taking the migrations back")
    }

    /// Runs statements, separated by semicolons.
    ///
    /// # Errors
    /// When one fails.
    pub async fn execute(&self, statements: &str) -> anyhow::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&self.pool).await?;
        Ok(())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // Drop cannot wait for a future on the test's own runtime.
        let dropping = std::thread::spawn(move || -> anyhow::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = MySqlConnection::connect(&server).await?;
                // Whoever still has a transaction open would make DROP DATABASE wait for it.
                let others: Vec<u64> =
                    sqlx::query_scalar("SELECT CAST(ID AS UNSIGNED) FROM information_schema.PROCESSLIST WHERE DB = ?")
                        .bind(&name)
                        .fetch_all(&mut connection)
                        .await?;
                for id in others {
                    // It may have ended by itself in between.
                    let _ = sqlx::raw_sql(AssertSqlSafe(format!("KILL {id}"))).execute(&mut connection).await;
                }
                let drop = AssertSqlSafe(format!("DROP DATABASE IF EXISTS `{name}`"));
                sqlx::raw_sql(drop).execute(&mut connection).await?;
                Ok(())
            })
        });
        match dropping.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("dropping a database: {error:#}"),
            Err(_) => eprintln!("dropping a database panicked"),
        }
    }
}
