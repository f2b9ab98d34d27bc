//! The migrations, up and down, on every shape of database they can meet.

use std::process::Stdio;

use anyhow::{Result, ensure};
use sqlx::Row;
use wafleet_tests::fleet::{Database, Fleet};
use wafleet_tests::services::Addresses;

/// The tables a host application has before it knows of the fleet, with a row each.
const HOST: &str = "
    CREATE TABLE workspaces (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(128));
    CREATE TABLE users (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(128));
    INSERT INTO workspaces (id, name) VALUES (7, 'Shop');
    INSERT INTO users (id, name) VALUES (3, 'Anna');";

/// What a host application's own migration makes of the table: an ENUM that lacks most of the fleet's statuses.
const HOST_SESSIONS: &str = "
    CREATE TABLE whatsapp_sessions (
        id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        uuid CHAR(36) NOT NULL,
        workspace_id BIGINT UNSIGNED NOT NULL,
        session_id VARCHAR(255) NOT NULL,
        phone_number VARCHAR(50) DEFAULT NULL,
        provider_type ENUM('meta', 'webjs') NOT NULL DEFAULT 'webjs',
        status ENUM('qr_scanning', 'authenticated', 'connected', 'disconnected', 'failed') NOT NULL DEFAULT 'qr_scanning'
            COMMENT 'the host''s own words',
        qr_code TEXT DEFAULT NULL,
        session_data LONGTEXT DEFAULT NULL,
        is_primary TINYINT(1) NOT NULL DEFAULT 0,
        is_active TINYINT(1) NOT NULL DEFAULT 1,
        last_activity_at TIMESTAMP NULL,
        last_connected_at TIMESTAMP NULL,
        metadata JSON DEFAULT NULL,
        created_by BIGINT UNSIGNED NOT NULL,
        created_at TIMESTAMP NULL,
        updated_at TIMESTAMP NULL,
        deleted_at TIMESTAMP NULL,
        UNIQUE KEY whatsapp_sessions_uuid_unique (uuid),
        UNIQUE KEY whatsapp_sessions_session_id_unique (session_id),
        KEY whatsapp_sessions_workspace_id_status_index (workspace_id, status),
        CONSTRAINT whatsapp_sessions_workspace_id_foreign FOREIGN KEY (workspace_id) REFERENCES workspaces (id) ON DELETE CASCADE
    ) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;
    CREATE TABLE chats (
        id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        whatsapp_session_id BIGINT UNSIGNED NULL,
        CONSTRAINT chats_whatsapp_session_id_foreign FOREIGN KEY (whatsapp_session_id) REFERENCES whatsapp_sessions (id) ON DELETE SET NULL
    );
    INSERT INTO whatsapp_sessions (uuid, workspace_id, session_id, status, created_by) VALUES
        ('00000000-0000-0000-0000-000000000001', 7, 'webjs_7_1', 'authenticated', 3),
        ('00000000-0000-0000-0000-000000000002', 7, 'webjs_7_2', 'failed', 3);
    INSERT INTO chats (whatsapp_session_id) VALUES (1);";

async fn database() -> Result<Database> {
    Database::create(&Addresses::from_env()?.database).await
}

async fn tables(database: &Database) -> Result<Vec<String>> {
    let rows = sqlx::query_scalar(
        "SELECT CONVERT(TABLE_NAME USING utf8mb4) FROM information_schema.TABLES
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME <> '_sqlx_migrations' ORDER BY TABLE_NAME",
    );
    Ok(rows.fetch_all(database.pool()).await?)
}

/// Every column of a table as `name type nullability default comment`, in order.
async fn columns(database: &Database, table: &str) -> Result<Vec<String>> {
    let query = sqlx::query(
        "SELECT CONVERT(CONCAT_WS(' ', COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COALESCE(COLUMN_DEFAULT, '-'), COLUMN_COMMENT) USING utf8mb4)
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
    );
    let rows = query.bind(table).fetch_all(database.pool()).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

async fn names(database: &Database, sql: &'static str) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(sql).fetch_all(database.pool()).await?)
}

const FLEET_TABLES: [&str; 18] = [
    "wafleet_audit",
    "wafleet_campaigns",
    "wafleet_campaign_contacts",
    "wafleet_cloud_bindings",
    "wafleet_cloud_numbers",
    "wafleet_commands",
    "wafleet_contacts",
    "wafleet_dead_letters",
    "wafleet_erasures",
    "wafleet_media",
    "wafleet_optouts",
    "wafleet_parked",
    "wafleet_sessions",
    "wafleet_session_keys",
    "wafleet_snapshots",
    "wafleet_snapshot_chunks",
    "wafleet_snapshot_objects",
    "wafleet_syncs",
];
/// How many migrations there are.
const MIGRATIONS: usize = 15;

#[tokio::test]
async fn an_empty_database_gets_all_tables_and_loses_them_again() -> Result<()> {
    let database = database().await?;
    for _ in 0..2 {
        database.migrate().await?;
        let mut expected = FLEET_TABLES.to_vec();
        expected.push("whatsapp_sessions");
        ensure!(tables(&database).await? == expected);
        database.migrate_back().await?;
        ensure!(tables(&database).await?.is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn up_twice_changes_nothing_the_second_time() -> Result<()> {
    let database = database().await?;
    database.migrate().await?;
    database.migrate().await?;
    // And where the bookkeeping was lost: every statement may be repeated.
    database.execute("DELETE FROM _sqlx_migrations").await?;
    database.migrate().await?;
    ensure!(tables(&database).await?.len() == FLEET_TABLES.len() + 1);
    Ok(())
}

#[tokio::test]
async fn a_host_without_the_table_gets_one_tied_to_its_own_tables() -> Result<()> {
    let database = database().await?;
    database.execute(HOST).await?;
    database.migrate().await?;
    database
        .execute(
            "INSERT INTO whatsapp_sessions (uuid, workspace_id, session_id, created_by) VALUES
                 ('00000000-0000-0000-0000-000000000001', 7, 'a', 3), ('00000000-0000-0000-0000-000000000002', 7, 'A', NULL);
             DELETE FROM users WHERE id = 3",
        )
        .await?;
    let rows = names(
        &database,
        "SELECT CONCAT(session_id, ' ', status) FROM whatsapp_sessions WHERE created_by IS NULL ORDER BY id",
    );
    ensure!(rows.await? == ["a initializing", "A initializing"], "ids that differ by case, kept without their creator");
    let stray = "INSERT INTO whatsapp_sessions (uuid, workspace_id, session_id) VALUES ('x', 8, 'b')";
    ensure!(database.execute(stray).await.is_err(), "workspace 8 does not exist");
    database.migrate_back().await?;
    ensure!(tables(&database).await? == ["users", "workspaces"]);
    Ok(())
}

#[tokio::test]
async fn a_host_with_keys_of_another_type_gets_a_table_without_foreign_keys() -> Result<()> {
    let database = database().await?;
    database
        .execute(
            "CREATE TABLE workspaces (id INT NOT NULL PRIMARY KEY); CREATE TABLE users (uuid CHAR(36) PRIMARY KEY)",
        )
        .await?;
    database.migrate().await?;
    database.execute("INSERT INTO whatsapp_sessions (uuid, workspace_id, session_id) VALUES ('x', 8, 'b')").await?;
    Ok(())
}

#[tokio::test]
async fn a_host_table_with_an_enum_is_widened_and_keeps_its_rows() -> Result<()> {
    let database = database().await?;
    database.execute(HOST).await?;
    database.execute(HOST_SESSIONS).await?;
    let before = columns(&database, "whatsapp_sessions").await?;
    ensure!(
        database.execute("UPDATE whatsapp_sessions SET status = 'qr_required'").await.is_err(),
        "the host's ENUM takes it: this test proves nothing"
    );

    database.migrate().await?;

    let widened = columns(&database, "whatsapp_sessions").await?;
    let status = widened.iter().find(|column| column.starts_with("status ")).cloned().unwrap_or_default();
    ensure!(status.contains("varchar(32) NO") && status.contains("qr_scanning"), "{status}");
    ensure!(status.ends_with("the host's own words"), "{status}");
    let rows = names(&database, "SELECT CONCAT(session_id, ' ', status) FROM whatsapp_sessions ORDER BY id");
    ensure!(rows.await? == ["webjs_7_1 authenticated", "webjs_7_2 failed"]);
    let position = |columns: &[String]| columns.iter().position(|column| column.starts_with("status "));
    ensure!(position(&before) == position(&widened));
    database
        .execute(
            "UPDATE whatsapp_sessions SET status = 'passkey_required', status_since = UTC_TIMESTAMP(3), status_cause = 'c',
                 qr_expires_at = UTC_TIMESTAMP(3), health_score = 90;
             INSERT INTO whatsapp_sessions (uuid, workspace_id, session_id, created_by) VALUES ('u', 7, 'new', 3)",
        )
        .await?;

    database.migrate_back().await?;

    ensure!(tables(&database).await? == ["chats", "users", "whatsapp_sessions", "workspaces"]);
    let after = columns(&database, "whatsapp_sessions").await?;
    let others = |columns: &[String]| -> Vec<String> {
        columns.iter().filter(|column| !column.starts_with("status ")).cloned().collect()
    };
    ensure!(others(&before) == others(&after), "{after:#?}");
    let rows = names(&database, "SELECT CONCAT(session_id, ' ', status) FROM whatsapp_sessions ORDER BY id");
    ensure!(rows.await? == ["webjs_7_1 passkey_required", "webjs_7_2 passkey_required", "new qr_scanning"]);
    let links = names(&database, "SELECT CONCAT(id, ' ', whatsapp_session_id) FROM chats");
    ensure!(links.await? == ["1 1"]);

    database.migrate().await?;
    ensure!(columns(&database, "whatsapp_sessions").await? == widened);
    Ok(())
}

#[tokio::test]
async fn a_nullable_status_without_a_default_stays_one() -> Result<()> {
    let database = database().await?;
    database
        .execute(
            "CREATE TABLE whatsapp_sessions (id INT PRIMARY KEY, status VARCHAR(10) COLLATE utf8mb4_bin NULL, health_score INT NOT NULL DEFAULT 5);
             INSERT INTO whatsapp_sessions VALUES (1, NULL, 6)",
        )
        .await?;
    database.migrate().await?;
    let columns = columns(&database, "whatsapp_sessions").await?;
    ensure!(columns[1].starts_with("status varchar(32) YES"), "{columns:?}");
    ensure!(columns[2] == "health_score int(11) NO 5 ", "the host's own column was touched: {columns:?}");
    let collation = names(
        &database,
        "SELECT CONVERT(COLLATION_NAME USING utf8mb4) FROM information_schema.COLUMNS
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'whatsapp_sessions' AND COLUMN_NAME = 'status'",
    );
    ensure!(collation.await? == ["utf8mb4_bin"]);
    Ok(())
}

#[tokio::test]
async fn down_refuses_to_drop_a_table_the_host_refers_to() -> Result<()> {
    let database = database().await?;
    database.migrate().await?;
    database
        .execute(
            "CREATE TABLE chats (id INT PRIMARY KEY, whatsapp_session_id BIGINT UNSIGNED,
                 CONSTRAINT c FOREIGN KEY (whatsapp_session_id) REFERENCES whatsapp_sessions (id));
             INSERT INTO whatsapp_sessions (uuid, workspace_id, session_id) VALUES ('x', 8, 'b')",
        )
        .await?;
    ensure!(database.migrate_back().await.is_err());
    ensure!(names(&database, "SELECT session_id FROM whatsapp_sessions").await? == ["b"]);
    Ok(())
}

#[tokio::test]
async fn processes_that_migrate_at_the_same_time_migrate_once() -> Result<()> {
    let fleet = Fleet::without_tables(&Addresses::from_env()?).await?;
    let worker = fleet.worker("migrator");
    let running: Vec<_> = (0..4)
        .map(|_| Ok(worker.wafleet(&["migrate", "up"])?.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?))
        .collect::<Result<_>>()?;
    let mut applied = 0;
    for migrator in running {
        let output = tokio::task::spawn_blocking(|| migrator.wait_with_output()).await??;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        applied += said.lines().filter(|line| line.starts_with("applying ")).count();
    }
    ensure!(applied == MIGRATIONS, "{applied} migrations were applied");
    let complete: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM _sqlx_migrations WHERE success = 1")
        .fetch_one(fleet.database().pool())
        .await?;
    ensure!(usize::try_from(complete)? == MIGRATIONS, "{complete}");
    Ok(())
}

#[tokio::test]
async fn the_binary_takes_back_what_it_made() -> Result<()> {
    let fleet = Fleet::without_tables(&Addresses::from_env()?).await?;
    let worker = fleet.worker("migrator");
    let migrate = |arguments: &'static [&'static str]| {
        let mut command = worker.wafleet(arguments)?;
        let output = command.output()?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    migrate(&["migrate", "up"])?;
    ensure!(tables(fleet.database()).await?.len() == FLEET_TABLES.len() + 1);
    let status = migrate(&["migrate", "status"])?;
    ensure!(status.lines().count() == MIGRATIONS && !status.contains("pending"), "{status}");
    migrate(&["migrate", "down"])?;
    let status = migrate(&["migrate", "status"])?;
    ensure!(status.matches("pending").count() == 1, "{status}");
    migrate(&["migrate", "down", "--all"])?;
    ensure!(tables(fleet.database()).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_command_id_is_unique_within_its_workspace_and_by_case() -> Result<()> {
    let fleet = Fleet::start().await?;
    let insert = |workspace: u64, id: &str| {
        format!(
            "INSERT INTO wafleet_commands (command_id, workspace_id, session_id, type, key_id, body_sha256, issued_at, expires_at, purge_after)
             VALUES ('{id}', {workspace}, 's', 'message.send', 'k', REPEAT('x', 32), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))"
        )
    };
    for (workspace, id) in [(1, "a"), (1, "A"), (2, "a")] {
        fleet.database().execute(&insert(workspace, id)).await?;
    }
    ensure!(fleet.database().execute(&insert(1, "a")).await.is_err());
    Ok(())
}

#[tokio::test]
async fn times_are_utc_whatever_the_server_thinks() -> Result<()> {
    let fleet = Fleet::start().await?;
    // The server runs at +07:00, and this connection is left in the server's zone, as a host application's is.
    let options = fleet.database().url().parse::<sqlx::mysql::MySqlConnectOptions>()?.timezone(None::<String>);
    let mut connection = sqlx::ConnectOptions::connect(&options).await?;
    let skew: i64 =
        sqlx::query_scalar("SELECT TIMESTAMPDIFF(MINUTE, UTC_TIMESTAMP(), NOW())").fetch_one(&mut connection).await?;
    ensure!(skew == 420, "{skew}");
    sqlx::raw_sql("INSERT INTO wafleet_sessions (session_id, workspace_id) VALUES ('s', 1)")
        .execute(&mut connection)
        .await?;
    let age: i64 =
        sqlx::query_scalar("SELECT TIMESTAMPDIFF(SECOND, created_at, UTC_TIMESTAMP()) FROM wafleet_sessions")
            .fetch_one(&mut connection)
            .await?;
    ensure!((0..60).contains(&age), "{age} s old");
    Ok(())
}

#[tokio::test]
async fn every_index_has_the_name_eloquent_would_give_it() -> Result<()> {
    let fleet = Fleet::start().await?;
    let found = names(
        fleet.database(),
        "SELECT CONVERT(CONCAT(INDEX_NAME, '=', TABLE_NAME, '_', GROUP_CONCAT(COLUMN_NAME ORDER BY SEQ_IN_INDEX SEPARATOR '_'),
                IF(NON_UNIQUE, '_index', '_unique')) USING utf8mb4)
         FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND INDEX_NAME <> 'PRIMARY' AND TABLE_NAME <> '_sqlx_migrations'
         GROUP BY TABLE_NAME, INDEX_NAME, NON_UNIQUE",
    )
    .await?;
    ensure!(found.len() >= 14, "{found:?}");
    for pair in found {
        let (name, eloquent) = pair.split_once('=').unwrap_or_default();
        ensure!(name == eloquent, "{name} should be {eloquent}");
    }
    Ok(())
}
