//! Tokens: sealed at rest, set anew while the session runs, shown nowhere.

use anyhow::{Result, ensure};
use sqlx::Row;
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{Cause, SessionStatus};
use wafleet_protocol::provider::Provider;

use super::*;

const NEW_TOKEN: &str = "EAAcanaryOfTheSecondToken987654";

/// Every row of every table, as bytes in a row.
async fn dump(fleet: &Fleet) -> Result<Vec<u8>> {
    let pool = fleet.database().pool();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT CONVERT(TABLE_NAME USING utf8mb4) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()",
    )
    .fetch_all(pool)
    .await?;
    let mut dump = Vec::new();
    for table in tables {
        for row in sqlx::query(sqlx::AssertSqlSafe(format!("SELECT * FROM `{table}`"))).fetch_all(pool).await? {
            for column in 0..row.len() {
                let value = row.try_get_unchecked::<Option<Vec<u8>>, _>(column)?;
                dump.extend(value.unwrap_or_default());
                dump.push(b'\n');
            }
        }
    }
    Ok(dump)
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

#[tokio::test]
async fn a_token_is_sealed_at_rest_replaced_in_flight_and_shown_nowhere() -> Result<()> {
    let scene = Scene::set().await?;
    let _worker = scene.connected("w1").await?;
    let operator = scene.worker("operator");
    sent(&scene.host.ask(&scene.shop, &text(ANNA, "one")?).await?, Provider::Cloud)?;

    // Meta gives another token out, and the one before is expired.
    let mark = scene.host.events().len();
    scene.graph.number(NUMBER, NEW_TOKEN);
    let id = scene.host.send(&scene.shop, &text(ANNA, "two")?).await?;
    let put_off = deferred(&scene.host, &id).await?;
    ensure!(put_off.error.as_ref().is_some_and(|error| error.code == ErrorCode::CredentialsRefused), "{put_off:?}");
    let (_, told) = scene.host.wait_for_status(mark, &scene.shop, SessionStatus::Disconnected).await?;
    ensure!(told.cause == Cause::CredentialsRefused, "{told:?}");
    add(&operator, NEW_TOKEN)?;
    scene.host.wait_for_status(mark, &scene.shop, SessionStatus::Connected).await?;
    sent(&scene.host.final_result(&id).await?, Provider::Cloud)?;
    ensure!(scene.graph.accepted().len() == 2);

    let tested = operator.run(&["cloud", "test", NUMBER]).await?;
    ensure!(tested.status.success(), "{tested:?}");
    let listed = cloud(&operator, &["list"])?;
    ensure!(listed.contains(NUMBER) && listed.contains("shop (session)"), "{listed}");

    // The ring's key changes, and the token is sealed anew.
    let ring = std::fs::read_to_string(scene.fleet.profile_keys_file())?;
    let mut ring: serde_json::Value = serde_json::from_str(&ring)?;
    let fresh: serde_json::Value = serde_json::from_str(&wafleet_tests::fleet::profile_keys(&["second"]))?;
    let keys = ring["keys"].as_array_mut().context("keys")?;
    keys.insert(0, fresh["keys"][0].clone());
    std::fs::write(scene.fleet.profile_keys_file(), ring.to_string())?;
    let rotated = operator.run(&["keys", "rotate"]).await?;
    ensure!(
        rotated.status.success() && String::from_utf8_lossy(&rotated.stdout).contains("1 row(s) to wrap"),
        "{rotated:?}"
    );
    ensure!(operator.run(&["cloud", "test", NUMBER]).await?.status.success());
    ensure!(cloud(&operator, &["list"])?.contains("second"));

    let events: Vec<u8> =
        scene.host.events().entries().into_iter().flat_map(|entry| entry.envelope.to_bytes()).collect();
    let places = [
        ("the database", dump(&scene.fleet).await?),
        ("a log", scene.fleet.output()?.into_bytes()),
        ("an event", events),
        ("the list", listed.into_bytes()),
    ];
    for (place, bytes) in &places {
        ensure!(!bytes.is_empty(), "{place} was looked at");
        for token in [TOKEN, NEW_TOKEN] {
            ensure!(!holds(bytes, token), "{place} shows a token");
        }
    }
    ensure!(holds(&places[0].1, NUMBER), "the dump has the number's row");
    let removed = operator.run(&["cloud", "remove", NUMBER]).await?;
    ensure!(!removed.status.success(), "a session uses it");
    Ok(())
}
