//! Campaigns that are paused or in quiet hours: their messages are out of everybody's way, and none is lost or doubled.

use anyhow::bail;
use wafleet_protocol::topology;
use wafleet_tests::fleet::{HOST_KEY, Order, PATIENCE, Posted, Worker, new_command_id, unix_now};
use wafleet_tests::proxy::{Hold, Proxy};
use wafleet_tests::stage::text;

use super::*;

/// How many messages are parked.
async fn parked(stage: &Stage) -> Result<usize> {
    let count: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM wafleet_parked").fetch_one(stage.fleet.database().pool()).await?;
    Ok(usize::try_from(count)?)
}

async fn control(stage: &Stage, name: &str, make: fn(CampaignControl) -> Command) -> Result<CampaignProgress> {
    let result = stage.host.ask(&anywhere(), &make(CampaignControl { campaign: name.parse()? })).await?;
    match result.data {
        Some(ResultData::Campaign(progress)) => Ok(progress),
        _ => bail!("{result:?}"),
    }
}

fn bulk(name: &str, to: &str, words: &str) -> Result<Command> {
    let campaign = Some(CampaignPart { id: name.parse()?, quiet_hours: None });
    Ok(Command::MessageSend(MessageSend { campaign, ..MessageSend::text(to.parse()?, words.try_into()?) }))
}

/// Publishes so many messages of a campaign, to contact after contact.
async fn publish(stage: &Stage, name: &str, contacts: &[String], count: usize) -> Result<BTreeSet<CommandId>> {
    let mut ids = BTreeSet::new();
    for number in 0..count {
        let command = bulk(name, &contacts[number % contacts.len()], &format!("{name} {number}"))?;
        ids.insert(stage.host.send_on(Lane::Campaign, &anywhere(), &command).await?);
    }
    Ok(ids)
}

/// A worker that reaches the database through a door of its own, in the clear: a wire looks for words.
async fn worker(stage: &Stage, name: &str) -> Result<(Worker, Proxy)> {
    let door = Proxy::opened(stage.fleet.database().url()).await?;
    let through = door.url(stage.fleet.database().url())? + "?ssl-mode=DISABLED";
    let builder = stage.worker(name).env("WAFLEET_MIN_STAY_SECS", "600").env("WAFLEET_DATABASE_URL", through);
    let mut worker = builder.spawn()?;
    worker.wait_until_ready().await?;
    Ok((worker, door))
}

async fn connected_on(stage: &Stage, mark: usize, targets: &[Target], name: &str) -> Result<()> {
    for target in targets {
        let connected = |envelope: &Envelope| match &envelope.event {
            Event::SessionStatus(told) => {
                let here = envelope.session_id == target.session && envelope.worker_id.as_str() == name;
                (here && told.status == SessionStatus::Connected).then_some(())
            }
            _ => None,
        };
        let events = stage.host.events();
        events.wait_from(mark, "the session on the next worker", Duration::from_secs(90), connected).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_pause_over_a_thousand_messages_holds_up_nobody_and_survives_kills_on_the_way_out_and_back() -> Result<()> {
    const MESSAGES: usize = 1_000;
    const OTHERS: usize = 40;
    let stage = Stage::set(Options::default()).await?;
    let phones = ["4915100000001", "4915100000002"].map(|number| stage.site.phone(number, "Shop"));
    let contacts: Vec<String> = (0..50).map(|number| format!("49152000{number:05}")).collect();
    for contact in &contacts {
        stage.site.phone(contact.as_str(), "Contact");
    }
    let (mut first, _door) = worker(&stage, "w1").await?;
    let targets = [Target::new("s1")?, Target::new("s2")?];
    for (target, phone) in targets.iter().zip(&phones) {
        stage.link(target, phone).await?;
    }

    control(&stage, "spring", Command::CampaignPause).await?;
    let paused = publish(&stage, "spring", &contacts, MESSAGES).await?;
    let others = publish(&stage, "summer", &contacts, OTHERS).await?;
    let part = async || Ok(Some(parked(&stage).await?).filter(|count| *count >= MESSAGES / 5));
    let at_the_kill = wait::until("a part is parked", PATIENCE, part).await?;
    let mark = stage.host.events().len();
    first.kill()?;
    ensure!(at_the_kill < MESSAGES, "all were parked before the kill");

    let (mut second, door) = worker(&stage, "w2").await?;
    connected_on(&stage, mark, &targets, "w2").await?;
    let urgent = stage.host.send_on(Lane::Urgent, &targets[0], &text(&contacts[0], "urgent")?).await?;
    let urgent = stage.host.final_result(&urgent).await?;
    ensure!(urgent.outcome == Outcome::Succeeded, "{urgent:?}");
    let all = async || Ok((parked(&stage).await? == MESSAGES).then_some(()));
    wait::until("all of the paused campaign are parked", Duration::from_secs(300), all).await?;
    let through = async || Ok((ends(&stage.host, &others).len() == OTHERS).then_some(()));
    wait::until("the other campaign is through", Duration::from_secs(120), through).await?;
    ensure!(ends(&stage.host, &paused).is_empty() && stage.site.sent().len() == OTHERS + 1, "a paused one left");
    stage.fleet.virtual_host().wait_until_empty(&topology::campaign_queue(first_workspace())).await?;
    let mut told: BTreeMap<CommandId, BTreeSet<String>> = BTreeMap::new();
    for entry in stage.host.events().entries() {
        if let Event::CommandResult(result) = &entry.envelope.event
            && paused.contains(&result.command_id)
        {
            let code = result.error.as_ref().map(|error| error.code);
            ensure!((result.outcome, code) == (Outcome::Deferred, Some(ErrorCode::CampaignPaused)), "{result:?}");
            told.entry(result.command_id.clone()).or_default().insert(entry.envelope.id.to_string());
        }
    }
    ensure!(told.len() == MESSAGES && told.values().all(|events| events.len() == 1), "told once each");
    let standing = control(&stage, "spring", Command::CampaignStatus).await?;
    ensure!((standing.state, standing.waiting) == (CampaignState::Paused, MESSAGES as u64), "{standing:?}");

    // The worker dies when a part is back in the queue and still on the list of what is parked.
    let wire = door.trip_at("DELETE FROM wafleet_parked", Hold::Request);
    control(&stage, "spring", Command::CampaignResume).await?;
    wire.tripped(PATIENCE).await?;
    let mark = stage.host.events().len();
    second.kill()?;
    ensure!(ends(&stage.host, &paused).len() < MESSAGES, "all were sent before the kill");
    let (_third, _door) = worker(&stage, "w3").await?;
    connected_on(&stage, mark, &targets, "w3").await?;
    let whole = async || Ok((ends(&stage.host, &paused).len() == MESSAGES).then_some(()));
    wait::until("every message has its end", Duration::from_secs(600), whole).await?;
    // What the killed worker had taken is put back once more, and answered as a copy.
    let none = async || Ok((parked(&stage).await? == 0).then_some(()));
    wait::until("nothing is parked", Duration::from_secs(120), none).await?;
    stage.fleet.virtual_host().wait_until_empty(&topology::campaign_queue(first_workspace())).await?;
    for target in &targets {
        let lane = topology::lane_queue(&target.session, Lane::Campaign);
        stage.fleet.virtual_host().wait_until_empty(&lane).await?;
    }
    for (id, ends) in ends(&stage.host, &paused) {
        ensure!(ends.len() == 1, "{id} has several ends: {ends:?}");
        ensure!(ends.values().all(|outcome| *outcome == Outcome::Succeeded), "{id}: {ends:?}");
    }
    let departures = stage.site.sent();
    let texts: BTreeSet<&str> = departures.iter().map(|departure| departure.text.as_str()).collect();
    let expected = MESSAGES + OTHERS + 1;
    ensure!(departures.len() == expected && texts.len() == expected, "{} left, {}", departures.len(), texts.len());
    ensure!(departures.iter().all(|departure| departure.copies() == 1), "a message left twice");
    Ok(())
}

#[tokio::test]
async fn a_parked_message_is_told_that_it_expired_and_a_cancelled_campaign_ends_all_that_are_parked() -> Result<()> {
    const MESSAGES: usize = 120;
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone("4915112345678", "Anna");
    let (mut worker, _door) = worker(&stage, "w1").await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let contacts = ["4915187654321".to_owned()];
    stage.site.phone(contacts[0].as_str(), "Bert");

    control(&stage, "autumn", Command::CampaignPause).await?;
    let waiting = publish(&stage, "autumn", &contacts, MESSAGES).await?;
    // One whose life ends soon, on the lane of the session itself.
    let (short, command) = (new_command_id()?, bulk("autumn", &contacts[0], "short")?);
    let order = Order { expires_at: unix_now() + 15, ..Order::now(&command, Lane::Campaign) };
    let letter = stage.host.letter_by(HOST_KEY, &target, &short, &command, &order)?;
    ensure!(stage.host.post(&letter).await? == Posted::Routed);
    let expired = stage.host.final_result(&short).await?;
    ensure!(failure(&expired)? == ErrorCode::Expired, "{expired:?}");
    let all = async || Ok((parked(&stage).await? == MESSAGES).then_some(()));
    wait::until("the others are parked", Duration::from_secs(120), all).await?;

    let cancelled = control(&stage, "autumn", Command::CampaignCancel).await?;
    ensure!(cancelled.state == CampaignState::Cancelled, "{cancelled:?}");
    for id in &waiting {
        let refused = stage.host.final_result(id).await?;
        ensure!(failure(&refused)? == ErrorCode::CampaignCancelled, "{refused:?}");
    }
    ensure!(ends(&stage.host, &waiting).values().all(|ends| ends.len() == 1), "an end was told as two");
    let none = async || Ok((parked(&stage).await? == 0).then_some(()));
    wait::until("nothing is parked", Duration::from_secs(60), none).await?;
    ensure!(stage.site.sent().is_empty(), "{:?}", stage.site.sent());
    ensure!(worker.terminate(PATIENCE).await?.success());
    Ok(())
}
