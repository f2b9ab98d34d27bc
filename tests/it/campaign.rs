//! Campaigns: messages that may go from any session of their workspace, and who and what may stop them.

mod parking;
mod terminal;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wafleet_imitation::Options;
use wafleet_protocol::command::{
    CampaignControl, CampaignPart, Command, MessageSend, OptOut, QuietHours, SessionLimits, TimeOfDay,
};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{CampaignProgress, CampaignState, Envelope, Event, Outcome, ResultData, SessionStatus};
use wafleet_protocol::id::{CampaignId, CommandId, SessionId};
use wafleet_protocol::lane::Lane;
use wafleet_tests::fleet::{Host, Target, failure, first_workspace};
use wafleet_tests::stage::Stage;
use wafleet_tests::wait;

const CAMPAIGN: &str = "spring";

/// Any session of workspace 1, or the workspace itself.
fn anywhere() -> Target {
    Target { workspace: first_workspace(), session: SessionId::any() }
}

fn campaign() -> Result<CampaignId> {
    Ok(CAMPAIGN.parse()?)
}

fn offer(to: &str, text: &str, quiet_hours: Option<QuietHours>) -> Result<Command> {
    let campaign = Some(CampaignPart { id: campaign()?, quiet_hours });
    Ok(Command::MessageSend(MessageSend { campaign, ..MessageSend::text(to.parse()?, text.try_into()?) }))
}

async fn about(host: &Host, make: fn(CampaignControl) -> Command) -> Result<CampaignProgress> {
    let result = host.ask(&anywhere(), &make(CampaignControl { campaign: campaign()? })).await?;
    match result.data {
        Some(ResultData::Campaign(progress)) => Ok(progress),
        _ => Err(anyhow::anyhow!("{result:?}")),
    }
}

/// The final results of a command: event id and outcome, each event once.
fn ends(host: &Host, of: &BTreeSet<CommandId>) -> BTreeMap<CommandId, BTreeMap<String, Outcome>> {
    let mut ends: BTreeMap<CommandId, BTreeMap<String, Outcome>> = BTreeMap::new();
    for entry in host.events().entries() {
        if let Event::CommandResult(result) = &entry.envelope.event
            && of.contains(&result.command_id)
            && result.outcome != Outcome::Deferred
        {
            let ends = ends.entry(result.command_id.clone()).or_default();
            ends.insert(entry.envelope.id.to_string(), result.outcome);
        }
    }
    ends
}

#[tokio::test]
async fn a_campaign_over_three_sessions_survives_a_killed_worker_and_a_pause_and_sends_each_message_once() -> Result<()>
{
    const CONTACTS: usize = 60;
    const EACH: usize = 3;
    let stage = Stage::set(Options::default()).await?;
    let numbers = ["4915100000001", "4915100000002", "4915100000003"];
    let phones: Vec<_> = numbers.iter().map(|number| stage.site.phone(*number, "Shop")).collect();
    let contacts: Vec<String> = (0..CONTACTS).map(|number| format!("49152000{number:05}")).collect();
    for contact in &contacts {
        stage.site.phone(contact.as_str(), "Contact");
    }
    // About a message a second and session, so that there is a middle of the campaign.
    let worker =
        |name: &str| stage.worker(name).env("WAFLEET_MIN_STAY_SECS", "600").env("WAFLEET_MESSAGES_PER_MINUTE", "200");
    let mut first = worker("w1").spawn()?;
    first.wait_until_ready().await?;
    let targets = [Target::new("s1")?, Target::new("s2")?, Target::new("s3")?];
    for (target, phone) in targets.iter().zip(&phones) {
        stage.link(target, phone).await?;
    }

    let mut sent = BTreeSet::new();
    for round in 0..EACH {
        let host = &stage.host;
        let post = contacts.iter().map(|contact| async move {
            let command = offer(contact, &format!("{contact} {round}"), None)?;
            host.send_on(Lane::Campaign, &anywhere(), &command).await
        });
        sent.extend(futures::future::try_join_all(post).await?);
    }
    wait::until("a part has left", Duration::from_secs(120), async || {
        Ok((stage.site.sent().len() >= CONTACTS / 2).then_some(()))
    })
    .await?;

    let mark = stage.host.events().len();
    first.kill()?;
    let at_the_kill = stage.site.sent().len();
    ensure!(at_the_kill < CONTACTS * EACH, "the campaign was over before the kill");
    let mut second = worker("w2").spawn()?;
    second.wait_until_ready().await?;
    for target in &targets {
        let connected = |envelope: &Envelope| match &envelope.event {
            Event::SessionStatus(told) => {
                let here = envelope.session_id == target.session && envelope.worker_id.as_str() == "w2";
                (here && told.status == SessionStatus::Connected).then_some(())
            }
            _ => None,
        };
        stage
            .host
            .events()
            .wait_from(mark, "the session on the second worker", Duration::from_secs(90), connected)
            .await?;
    }
    let paused = about(&stage.host, Command::CampaignPause).await?;
    ensure!(paused.state == CampaignState::Paused, "{paused:?}");
    let still = about(&stage.host, Command::CampaignStatus).await?;
    ensure!(still.state == CampaignState::Paused && still.succeeded < (CONTACTS * EACH) as u64, "{still:?}");
    let resumed = about(&stage.host, Command::CampaignResume).await?;
    ensure!(resumed.state == CampaignState::Running, "{resumed:?}");

    let whole = CONTACTS * EACH;
    wait::until("every message has its end", Duration::from_secs(420), async || {
        Ok((ends(&stage.host, &sent).len() == whole).then_some(()))
    })
    .await?;
    for (id, ends) in ends(&stage.host, &sent) {
        ensure!(ends.len() == 1, "{id} has several ends: {ends:?}");
        ensure!(ends.values().all(|outcome| *outcome == Outcome::Succeeded), "{id}: {ends:?}");
    }
    let departures = stage.site.sent();
    let texts: BTreeSet<&str> = departures.iter().map(|departure| departure.text.as_str()).collect();
    ensure!(departures.len() == whole && texts.len() == whole, "{} left, {} texts", departures.len(), texts.len());
    ensure!(departures.iter().all(|departure| departure.copies() == 1), "a message left twice");
    let mut writers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for departure in &departures {
        let to = departure.to.as_ref().context("a contact")?.to_string();
        writers.entry(to).or_default().insert(departure.from.to_string());
    }
    ensure!(
        writers.values().all(|numbers| numbers.len() == 1),
        "a contact was written to from two numbers: {writers:?}"
    );
    let used: BTreeSet<&String> = writers.values().flatten().collect();
    ensure!(used.len() == 3, "only {used:?} took part");

    let told = |envelope: &Envelope| match &envelope.event {
        Event::CampaignProgress(progress) if progress.succeeded == whole as u64 => Some(progress.clone()),
        _ => None,
    };
    let progress = stage.host.events().wait_for("the last progress", told).await?;
    ensure!((progress.waiting, progress.failed, progress.unknown) == (0, 0, 0), "{progress:?}");
    Ok(())
}

#[tokio::test]
async fn opted_out_contacts_quiet_hours_and_a_cancelled_campaign_send_nothing() -> Result<()> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone("4915112345678", "Anna");
    let (bert, carla) = ("4915187654321", "4915155555555");
    stage.site.phone(bert, "Bert");
    stage.site.phone(carla, "Carla");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;
    let send =
        async |to: &str, quiet| stage.host.send_on(Lane::Campaign, &anywhere(), &offer(to, "offer", quiet)?).await;

    let out = OptOut { phones: vec![bert.parse()?] };
    let noted = stage.host.ask(&anywhere(), &Command::OptOutAdd(out.clone())).await?;
    ensure!(noted.outcome == Outcome::Succeeded, "{noted:?}");
    let refused = stage.host.final_result(&send(bert, None).await?).await?;
    ensure!(failure(&refused)? == ErrorCode::OptedOut, "{refused:?}");
    stage.host.ask(&anywhere(), &Command::OptOutRemove(out)).await?;
    let again = stage.host.final_result(&send(bert, None).await?).await?;
    ensure!(again.outcome == Outcome::Succeeded, "{again:?}");

    // A day of 24 hours less a minute is quiet at all times but one.
    let at = |minute: u16| TimeOfDay::try_from(format!("{:02}:{:02}", minute / 60 % 24, minute % 60));
    let now = u16::try_from(wafleet_tests::fleet::unix_now() / 60 % 1440)?;
    let quiet = QuietHours { from: at(now + 1380)?, to: at(now + 120)?, zone: Some("UTC".to_owned()) };
    let late = send(carla, Some(quiet)).await?;
    let told = |envelope: &Envelope| match &envelope.event {
        Event::CommandResult(result) if result.command_id == late => Some(result.clone()),
        _ => None,
    };
    let told = stage.host.events().wait_for("the quiet message", told).await?;
    let code = told.error.as_ref().map(|error| error.code);
    ensure!((told.outcome, code) == (Outcome::Deferred, Some(ErrorCode::QuietHours)), "{told:?}");
    ensure!(told.until.is_some(), "{told:?}");

    let cancelled = about(&stage.host, Command::CampaignCancel).await?;
    ensure!(cancelled.state == CampaignState::Cancelled, "{cancelled:?}");
    let refused = stage.host.final_result(&send(carla, None).await?).await?;
    ensure!(failure(&refused)? == ErrorCode::CampaignCancelled, "{refused:?}");
    let resume = Command::CampaignResume(CampaignControl { campaign: campaign()? });
    ensure!(failure(&stage.host.ask(&anywhere(), &resume).await?)? == ErrorCode::CampaignCancelled);
    let unheard = Command::CampaignStatus(CampaignControl { campaign: "unheard-of".parse()? });
    ensure!(failure(&stage.host.ask(&anywhere(), &unheard).await?)? == ErrorCode::UnknownCampaign);
    ensure!(stage.site.sent().len() == 1, "{:?}", stage.site.sent());

    // Nothing else may be signed for any session.
    let astray = stage.host.ask(&anywhere(), &Command::SessionLimits(SessionLimits::default())).await?;
    ensure!(failure(&astray)? == ErrorCode::Rejected, "{astray:?}");
    Ok(())
}
