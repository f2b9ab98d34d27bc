//! What breaks with clocks: a machine whose wall clock is wrong, or is set while a worker runs on it.

use anyhow::{Result, ensure};
use wafleet_imitation::Options;
use wafleet_protocol::event::Event;
use wafleet_protocol::lane::Lane;
use wafleet_protocol::timestamp::Timestamp;
use wafleet_protocol::topology;
use wafleet_tests::clocks::WallClock;
use wafleet_tests::fleet::{HOST_KEY, Order, PATIENCE, Posted, Target, Worker, new_command_id, unix_now};
use wafleet_tests::invariants::Story;
use wafleet_tests::stage::{Stage, text};
use wafleet_tests::wait;

const ANNA: &str = "4915112345678";
const BERT: &str = "4915187654321";
/// Seconds.
const HOUR: i64 = 3_600;
/// What comparing clocks over a busy machine may cost.
const EXACT_TO_MS: i64 = 5_000;

/// Every event since `mark` is dated with the true time, and none before the one it follows.
fn dated_truly(stage: &Stage, mark: usize, began: Timestamp) -> Result<()> {
    let (from, to) = (began.unix_ms() - 5_000, (unix_now() + 5) * 1000);
    let mut before = 0;
    for entry in stage.host.events().entries().iter().skip(mark) {
        let at = entry.envelope.occurred_at.unix_ms();
        ensure!((from..=to).contains(&at), "{} is not of now ({from} to {to}): {:?}", at, entry.envelope);
        ensure!(at + 5_000 > before, "time went back by {} ms: {:?}", before - at, entry.envelope);
        before = at.max(before);
    }
    Ok(())
}

async fn skew(worker: &Worker, ms: i64) -> Result<()> {
    let noticed = async || {
        let skew = worker.heartbeat()?.map(|heartbeat| heartbeat.clock_skew_ms);
        Ok(skew.filter(|skew| (skew - ms).abs() < EXACT_TO_MS).map(drop))
    };
    wait::until(&format!("a clock off by {ms} ms is noticed"), 2 * PATIENCE, noticed).await
}

#[tokio::test]
async fn a_worker_whose_clock_is_two_hours_off_judges_commands_and_keeps_leases_as_the_others_do() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let story = Story::begin(&stage)?;
    let (anna, target) = (stage.site.phone(ANNA, "Anna"), Target::new("s1")?);
    stage.site.phone(BERT, "Bert");
    let (fast, slow) = (WallClock::new(stage.fleet.scratch(), "fast")?, WallClock::new(stage.fleet.scratch(), "slow")?);
    fast.set_ahead(2 * HOUR)?;
    slow.set_ahead(-2 * HOUR)?;
    let began = Timestamp::from_unix_secs(unix_now());

    let mut early = fast.under(stage.worker("fast")).spawn()?;
    early.wait_until_ready().await?;
    skew(&early, 2000 * HOUR).await?;
    // By its own clock `session.start`, good for five minutes, has expired long ago.
    stage.link(&target, &anna).await?;
    stage.lives(&target, &anna, BERT, "two hours ahead").await?;

    let mut late = slow.under(stage.worker("slow")).spawn()?;
    late.wait_until_ready().await?;
    skew(&late, -2000 * HOUR).await?;
    ensure!(early.terminate(2 * PATIENCE).await?.success());
    // By its own clock this command is of the future.
    stage.lives(&target, &anna, BERT, "two hours behind").await?;
    // By its own clock this one has an hour left.
    let command = text(BERT, "an hour late")?;
    let now = unix_now();
    let order = Order { lane: Lane::Normal, issued_at: now - 7200, expires_at: now - 3600, metadata: None };
    let expired = stage.host.letter_by(HOST_KEY, &target, &new_command_id()?, &command, &order)?;
    let letters = stage.host.dead_letters().await?;
    ensure!(stage.host.post(&expired).await? == Posted::Routed);
    let dead = letters.wait_from(0, "for a command whose time is over").await?;
    ensure!(dead.header(topology::REASON_HEADER) == Some("expired"), "{:?}", dead.headers);

    dated_truly(&stage, 0, began)?;
    let epochs: std::collections::BTreeSet<u64> =
        stage.host.events().entries().iter().map(|entry| entry.envelope.epoch).filter(|epoch| *epoch > 0).collect();
    ensure!(epochs.len() == 2, "one owner after the other, and no more: {epochs:?}");
    story.end(vec![late]).await?;
    Ok(())
}

#[tokio::test]
async fn a_clock_that_jumps_while_a_worker_runs_moves_no_time_and_no_lease() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let story = Story::begin(&stage)?;
    let (anna, target) = (stage.site.phone(ANNA, "Anna"), Target::new("s1")?);
    stage.site.phone(BERT, "Bert");
    let clock = WallClock::new(stage.fleet.scratch(), "w1")?;
    let mut worker = clock.under(stage.worker("w1")).spawn()?;
    worker.wait_until_ready().await?;
    stage.link(&target, &anna).await?;
    let (mark, began) = (stage.host.events().len(), Timestamp::from_unix_secs(unix_now()));
    for hours in [-1, 1, 0] {
        clock.set_ahead(hours * HOUR)?;
        stage.lives(&target, &anna, BERT, &format!("right after a jump to {hours} h")).await?;
        skew(&worker, 1000 * hours * HOUR).await?;
        stage.lives(&target, &anna, BERT, &format!("{hours} h is known")).await?;
    }
    dated_truly(&stage, mark, began)?;
    let entries = stage.host.events().entries();
    ensure!(entries.iter().all(|entry| entry.envelope.epoch <= 1), "it stayed with its owner");
    let told = entries.iter().skip(mark).filter(|entry| matches!(entry.envelope.event, Event::SessionStatus(_)));
    ensure!(told.count() == 0, "nothing happened to it:\n{}", stage.host.events().describe());
    story.end(vec![worker]).await?;
    Ok(())
}
