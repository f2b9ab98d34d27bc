//! `wafleet campaign …` and `wafleet optout …`, against a worker.

use std::process::Output;

use wafleet_tests::fleet::Fleet;

use super::*;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn campaigns_and_opt_outs_are_driven_from_a_terminal() -> Result<()> {
    let fleet = Fleet::start().await?;
    let mut worker = fleet.worker("w1").without_browser().spawn()?;
    worker.wait_until_ready().await?;
    let campaign = async |verb: &str, more: &[&str]| {
        let arguments = [&["campaign", verb, CAMPAIGN, "--workspace", "1"], more].concat();
        worker.run(&arguments).await
    };

    let unheard = campaign("status", &[]).await?;
    ensure!(unheard.status.code() == Some(1) && said(&unheard).contains("unknown_campaign"), "{unheard:?}");
    for (verb, state) in [("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")] {
        let done = campaign(verb, &[]).await?;
        let words = format!("campaign.{verb} succeeded: campaign {CAMPAIGN} is {state}");
        ensure!(done.status.success() && said(&done).contains(&words), "{verb}: {done:?}");
        let status = campaign("status", &["--json"]).await?;
        ensure!(status.status.success(), "{verb}: {status:?}");
        let results: Vec<serde_json::Value> =
            said(&status).lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let states: Vec<_> = results.iter().filter_map(|event| event["data"]["data"]["state"].as_str()).collect();
        ensure!(states.contains(&state), "{verb}: {results:#?}");
    }
    let again = campaign("resume", &[]).await?;
    ensure!(again.status.code() == Some(1) && said(&again).contains("campaign_cancelled"), "{again:?}");

    let out = async || -> Result<i64> {
        Ok(sqlx::query_scalar("SELECT COUNT(*) FROM wafleet_optouts").fetch_one(fleet.database().pool()).await?)
    };
    let phones = ["4915112345678", "4915187654321"];
    for (verb, named, left) in [("add", &phones[..], 2), ("remove", &phones[..1], 1), ("remove", &phones[..1], 1)] {
        let arguments = [&["optout", verb], named, &["--workspace", "1"]].concat();
        let done = worker.run(&arguments).await?;
        ensure!(done.status.success() && said(&done).contains(&format!("optout.{verb} succeeded")), "{done:?}");
        ensure!(out().await? == left, "{verb} {named:?}: {}", out().await?);
    }
    let nobody = worker.run(&["optout", "add", "not-a-number", "--workspace", "1"]).await?;
    ensure!(nobody.status.code() == Some(2) && out().await? == 1, "{nobody:?}");
    Ok(())
}
