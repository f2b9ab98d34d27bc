//! TLS to RabbitMQ, Redis and the database, with an authority of one's own, and nothing without a certificate to trust.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wafleet_tests::fleet::{Fleet, WorkerBuilder};
use wafleet_tests::services::Addresses;
use wafleet_tests::wait;

/// A worker that uses TLS for all three services, and trusts this run's authority for all of them.
fn worker(fleet: &Fleet, addresses: &Addresses) -> WorkerBuilder {
    let authority = addresses.authority.display().to_string();
    fleet
        .worker("tls")
        .env("WAFLEET_AMQP_URL", format!("{}/{}", addresses.amqps, fleet.name()))
        .env("WAFLEET_AMQP_CA_FILE", authority.as_str())
        .env("WAFLEET_REDIS_URL", addresses.rediss.as_str())
        .env("WAFLEET_REDIS_CA_FILE", authority.as_str())
        .env("WAFLEET_DATABASE_URL", database_url(fleet, Some(&authority)))
}

/// The database's URL with TLS required and the server's name verified.
fn database_url(fleet: &Fleet, authority: Option<&str>) -> String {
    let authority = authority.map(|file| format!("&ssl-ca={file}")).unwrap_or_default();
    format!("{}?ssl-mode=VERIFY_IDENTITY{authority}", fleet.database().url())
}

#[tokio::test]
async fn a_worker_speaks_tls_to_all_three_services() -> Result<()> {
    let fleet = Fleet::start().await?;
    // The TLS ports of RabbitMQ and Redis take nothing else, and the database's mode allows nothing else.
    let mut worker = worker(&fleet, &Addresses::from_env()?).spawn()?;
    worker.wait_until_ready().await?;
    let status = worker.terminate(Duration::from_secs(30)).await?;
    ensure!(status.success(), "{status}");
    Ok(())
}

#[tokio::test]
async fn a_server_with_a_certificate_of_an_unknown_authority_is_not_talked_to() -> Result<()> {
    let fleet = Fleet::start().await?;
    let addresses = Addresses::from_env()?;
    let complete = || worker(&fleet, &addresses);
    let strangers = [
        ("RabbitMQ", complete().without("WAFLEET_AMQP_CA_FILE")),
        ("Redis", complete().without("WAFLEET_REDIS_CA_FILE")),
        ("the database", complete().env("WAFLEET_DATABASE_URL", database_url(&fleet, None))),
    ];
    for (stranger, builder) in strangers {
        let worker = builder.spawn()?;
        let said = worker.output()?.len();
        let refused = async || {
            let output = worker.output()?;
            Ok(output[said..].contains("UnknownIssuer").then_some(()))
        };
        wait::until(&format!("{stranger} is refused"), Duration::from_secs(30), refused).await?;
        let heartbeat = worker.heartbeat()?.context("a heartbeat")?;
        ensure!(!heartbeat.started, "it says that {stranger} has answered");
    }
    Ok(())
}
