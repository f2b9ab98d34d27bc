//! Messages out and in: each leaves once, its acks climb, what comes in is told once.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use wafleet_imitation::{AckTimes, Address, Options};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{
    AckName, Authoritative, CommandResult, Envelope, Event, MessageAck, MessageSent, MessageSource, Outcome, ResultData,
};
use wafleet_protocol::id::{EventId, MessageId};
use wafleet_protocol::lane::Lane;
use wafleet_tests::fleet::{HOST_KEY, Host, Order, PATIENCE, Posted, Target, failure, new_command_id};
use wafleet_tests::stage::{Stage, text, text_with_reference};
use wafleet_tests::wait;

const ANNA: &str = "4915112345678";
const BERT: &str = "4915187654321";
const CARLA: &str = "4915155555555";

const ACKS: AckTimes = AckTimes {
    server: Duration::from_millis(30),
    delivered: Some(Duration::from_millis(200)),
    read: Some(Duration::from_millis(400)),
};

/// Waits for an own message with this id.
async fn sent(host: &Host, message_id: &str) -> Result<(Envelope, MessageSent)> {
    let find = |envelope: &Envelope| match &envelope.event {
        Event::MessageSent(sent) if sent.message.id == message_id => Some((envelope.clone(), sent.clone())),
        _ => None,
    };
    host.events().wait_for(&format!("message.sent of {message_id}"), find).await
}

/// Waits until a message has this ack, and answers with all acks of it so far.
async fn acks(host: &Host, message_id: &str, last: AckName) -> Result<Vec<(Envelope, MessageAck)>> {
    let find = |envelope: &Envelope| match &envelope.event {
        Event::MessageAck(ack) if ack.id == message_id && ack.ack.name() == last => Some(()),
        _ => None,
    };
    host.events().wait_for(&format!("ack {last:?} of {message_id}"), find).await?;
    let entries = host.events().entries().into_iter().map(|entry| entry.envelope);
    Ok(entries
        .filter_map(|envelope| match &envelope.event {
            Event::MessageAck(ack) if ack.id == message_id => Some((envelope.clone(), ack.clone())),
            _ => None,
        })
        .collect())
}

/// Waits for a message with this text from somebody else.
async fn received(host: &Host, mark: usize, wanted: &str) -> Result<(Envelope, wafleet_protocol::event::Message)> {
    let find = |envelope: &Envelope| match &envelope.event {
        Event::MessageReceived(message) if message.text.as_ref().is_some_and(|text| text.as_str() == wanted) => {
            Some((envelope.clone(), message.clone()))
        }
        _ => None,
    };
    host.events().wait_from(mark, "message.received", PATIENCE, find).await
}

#[tokio::test]
async fn a_text_leaves_once_and_its_acks_climb() -> Result<()> {
    let stage = Stage::set(Options { acks: ACKS, ..Options::default() }).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    stage.site.nobody(CARLA);
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;

    let command = text_with_reference(BERT, "Grüße 👋\nfrom the fleet", "order-7")?;
    let id = new_command_id()?;
    let letter = stage.host.letter_by(HOST_KEY, &target, &id, &command, &Order::now(&command, Lane::Normal))?;
    ensure!(stage.host.post(&letter).await? == Posted::Routed);
    let first = stage.host.final_envelope(0, &id).await?;
    let Event::CommandResult(CommandResult {
        outcome: Outcome::Succeeded,
        error: None,
        data: Some(ResultData::Message(message)),
        ..
    }) = &first.event
    else {
        bail!("{first:?}")
    };
    // The id is known before the message leaves: it follows from the command's.
    let message_id = MessageId::for_command(&id, &target.session).to_string();
    ensure!(message.id == message_id && message.ack.number() >= 1, "{message:?}");
    ensure!(message.key.as_str() == format!("true_{}_{message_id}", message.chat_id.as_str()), "another key");
    ensure!(first.correlation_id.as_ref() == Some(&id), "{first:?}");

    let (envelope, told) = sent(&stage.host, &message_id).await?;
    ensure!(told.source == MessageSource::ThisSession && told.command_id.as_ref() == Some(&id), "{told:?}");
    ensure!(told.reference.as_ref().map(|reference| reference.as_str()) == Some("order-7"), "the reference is lost");
    ensure!(told.message.text.as_ref().map(|text| text.as_str()) == Some("Grüße 👋\nfrom the fleet"), "another text");
    ensure!(told.message.key == message.key && told.message.chat_id == message.chat_id, "{told:?}");
    ensure!(envelope.correlation_id.as_ref() == Some(&id), "{envelope:?}");

    let climbed = acks(&stage.host, &message_id, AckName::Read).await?;
    let numbers: Vec<_> = climbed.iter().map(|(_, ack)| ack.ack.number()).collect();
    ensure!(numbers == [1, 2, 3], "{numbers:?}");
    for (envelope, ack) in &climbed {
        ensure!(ack.command_id.as_ref() == Some(&id) && envelope.correlation_id.as_ref() == Some(&id), "{ack:?}");
        ensure!(ack.reference.as_ref().map(|reference| reference.as_str()) == Some("order-7"), "{ack:?}");
        ensure!(ack.key == message.key && ack.chat_id == message.chat_id, "{ack:?}");
    }

    // The same command again, by whoever: answered as before, and nothing leaves.
    let mark = stage.host.events().len();
    ensure!(stage.host.post(&letter).await? == Posted::Routed);
    let again = stage.host.final_envelope(mark, &id).await?;
    ensure!(again.id == first.id && again.event == first.event, "{again:?}");
    let departures = stage.site.sent();
    ensure!(departures.len() == 1 && departures[0].copies() == 1 && departures[0].id == message_id, "{departures:?}");
    ensure!(departures[0].to.as_ref().map(ToString::to_string).as_deref() == Some(BERT), "{departures:?}");

    // A number that is not on WhatsApp.
    let result = stage.host.ask(&target, &text(CARLA, "hello?")?).await?;
    ensure!(failure(&result)? == ErrorCode::RecipientNotFound, "{result:?}");
    ensure!(stage.site.sent().len() == 1, "it left all the same");
    stage.host.events().check_order()
}

#[tokio::test]
async fn messages_from_people_groups_and_the_own_phone_are_told() -> Result<()> {
    let stage = Stage::set(Options { acks: ACKS, ..Options::default() }).await?;
    let (anna, bert) = (stage.site.phone(ANNA, "Anna"), stage.site.phone(BERT, "Bert"));
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;

    let message_id = anna.receive_text(BERT, "Bert", "hello Anna");
    let (envelope, told) = received(&stage.host, 0, "hello Anna").await?;
    ensure!(told.id == message_id && told.kind == "chat" && !told.has_media, "{told:?}");
    ensure!(told.sender.phone.as_ref().map(|phone| phone.as_str()) == Some(BERT), "the sender's number is missing");
    ensure!(told.sender.lid.is_some() && told.sender.authoritative == Authoritative::Lid, "{told:?}");
    ensure!(told.notify_name.as_ref().map(|name| name.as_str()) == Some("Bert"), "{told:?}");
    ensure!(told.chat_id == told.sender.id, "a chat of two is named after the other: {told:?}");
    ensure!(told.key.as_str() == format!("false_{}_{message_id}", told.chat_id.as_str()), "another key");
    ensure!(envelope.correlation_id.is_none() && envelope.metadata.is_none(), "{envelope:?}");

    let group = bert.create_group("The club", [ANNA, CARLA]);
    let message_id = bert.send_text(Address::Group(group.clone()), "hello all");
    let (_, told) = received(&stage.host, 0, "hello all").await?;
    ensure!(told.id == message_id && told.chat_id.as_str() == group.to_string(), "{told:?}");
    ensure!(
        told.sender.phone.as_ref().map(|phone| phone.as_str()) == Some(BERT),
        "the participant's number is missing"
    );
    ensure!(told.sender.id != told.chat_id && told.key.as_str().ends_with(told.sender.id.as_str()), "no participant");

    let message_id = anna.send_text(BERT, "typed on the phone");
    let (envelope, told) = sent(&stage.host, &message_id).await?;
    ensure!(told.source == MessageSource::Phone, "{told:?}");
    ensure!(told.command_id.is_none() && told.reference.is_none() && envelope.correlation_id.is_none(), "{told:?}");
    ensure!(told.message.text.as_ref().map(|text| text.as_str()) == Some("typed on the phone"), "another text");

    // Texts that look like something else to code.
    let odd = ["</script><script>alert(1)</script>", "\u{202e}reversed", "${process.env}", "'; DROP TABLE chats; --"];
    for odd in odd {
        let message_id = anna.receive_text(CARLA, "C\u{0}arla\u{1F469}\u{200D}\u{1F4BB}", odd);
        let (_, told) = received(&stage.host, 0, odd).await?;
        ensure!(told.id == message_id, "{told:?}");
    }
    ensure!(stage.site.sent().is_empty(), "listening sent something: {:?}", stage.site.sent());
    stage.host.events().check_order()
}

#[tokio::test]
async fn messages_that_came_while_no_worker_ran_are_told_once_by_the_next() -> Result<()> {
    let stage = Stage::set(Options { acks: ACKS, ..Options::default() }).await?;
    let (anna, _bert) = (stage.site.phone(ANNA, "Anna"), stage.site.phone(BERT, "Bert"));
    let target = Target::new("s1")?;
    {
        let mut worker = stage.worker("w1").spawn()?;
        worker.wait_until_ready().await?;
        stage.link(&target, &anna).await?;
        anna.receive_text(BERT, "Bert", "before");
        received(&stage.host, 0, "before").await?;
        let ended = worker.terminate(Duration::from_secs(30)).await?;
        ensure!(ended.success(), "{ended}");
    }
    anna.wait_until_offline(PATIENCE).await?;
    let mark = stage.host.events().len();
    let missed = ["while away", "and another"].map(|text| (anna.receive_text(BERT, "Bert", text), text));
    let typed = anna.send_text(BERT, "typed meanwhile");

    let mut worker = stage.worker("w2").spawn()?;
    worker.wait_until_ready().await?;
    for (message_id, text) in &missed {
        let (envelope, told) = received(&stage.host, mark, text).await?;
        ensure!(told.id == *message_id && envelope.epoch == 2, "{envelope:?}");
    }
    let (_, told) = sent(&stage.host, &typed).await?;
    ensure!(told.source == MessageSource::Phone, "{told:?}");

    // A restart tells nothing twice, or it tells it under the same id, by which a consumer knows it.
    let told_before = ids_by_message(&stage.host)?;
    let mark = stage.host.events().len();
    drop(worker);
    let mut worker = stage.worker("w3").spawn()?;
    worker.wait_until_ready().await?;
    stage.host.wait_for_status(mark, &target, wafleet_protocol::event::SessionStatus::Connected).await?;
    let last = anna.receive_text(BERT, "Bert", "after");
    let (_, told) = received(&stage.host, mark, "after").await?;
    ensure!(told.id == last, "{told:?}");
    let mut told_after = ids_by_message(&stage.host)?;
    ensure!(told_after.remove(&last).is_some());
    ensure!(told_before == told_after, "before {told_before:#?}\nafter {told_after:#?}");
    ensure!(told_before.len() == 4, "{told_before:#?}");
    stage.host.events().check_order()
}

/// The one event id of each message that was told.
fn ids_by_message(host: &Host) -> Result<BTreeMap<String, EventId>> {
    let mut ids = BTreeMap::new();
    for entry in host.events().entries() {
        let message = match &entry.envelope.event {
            Event::MessageReceived(message) => message,
            Event::MessageSent(sent) => &sent.message,
            _ => continue,
        };
        let id = entry.envelope.id.clone();
        if let Some(before) = ids.insert(message.id.clone(), id.clone()) {
            ensure!(before == id, "{} was told under two ids:\n{}", message.id, host.events().describe());
        }
    }
    Ok(ids)
}

#[tokio::test]
async fn an_urgent_message_passes_a_campaign() -> Result<()> {
    const CAMPAIGN: usize = 25;
    let slow = AckTimes { server: Duration::from_millis(400), ..ACKS };
    let stage = Stage::set(Options { acks: slow, ..Options::default() }).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let target = Target::new("s1")?;
    stage.link(&target, &anna).await?;

    let mut campaign = Vec::new();
    for n in 0..CAMPAIGN {
        campaign.push(stage.host.send_on(Lane::Campaign, &target, &text(BERT, &format!("offer {n}"))?).await?);
    }
    stage.site.wait_for_departure(PATIENCE, |departure| departure.text == "offer 2").await?;
    let mut before = BTreeMap::new();
    for lane in [Lane::Normal, Lane::High, Lane::Urgent] {
        before.insert(lane, stage.site.sent().len());
        stage.host.send_on(lane, &target, &text(BERT, lane.as_str())?).await?;
    }
    for lane in [Lane::Normal, Lane::High, Lane::Urgent] {
        stage.site.wait_for_departure(2 * PATIENCE, |departure| departure.text == lane.as_str()).await?;
    }
    let order: Vec<String> = stage.site.sent().into_iter().map(|departure| departure.text).collect();
    let place = |text: &str| order.iter().position(|sent| sent == text).context("it left");
    // Only what had begun when the urgent message was published may leave before it; one more can begin until it is seen.
    let (urgent, high, normal) = (place("urgent")?, place("high")?, place("normal")?);
    ensure!(urgent <= before[&Lane::Urgent] + 1, "{} had left when it was published: {order:?}", before[&Lane::Urgent]);
    ensure!(urgent < high && high < normal, "{order:?}");
    ensure!(normal <= before[&Lane::Normal] + 4, "{order:?}");

    // And none of the campaign is lost, nor out of order.
    for id in &campaign {
        let result = stage.host.final_result(id).await?;
        ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
    }
    let departures = stage.site.sent();
    let offers: Vec<_> = departures.iter().filter(|departure| departure.text.starts_with("offer")).collect();
    let expected: Vec<_> = (0..CAMPAIGN).map(|n| format!("offer {n}")).collect();
    ensure!(
        offers.iter().map(|departure| departure.text.as_str()).eq(expected.iter().map(String::as_str)),
        "{order:?}"
    );
    ensure!(departures.iter().all(|departure| departure.copies() == 1), "{departures:?}");
    stage.host.events().check_order()
}

#[tokio::test]
async fn one_worker_serves_five_sessions_at_once() -> Result<()> {
    const SESSIONS: u64 = 5;
    let stage = Stage::set(Options { acks: ACKS, ..Options::default() }).await?;
    stage.site.phone(BERT, "Bert");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    let numbers: Vec<String> = (0..SESSIONS).map(|n| format!("49151000000{n:02}")).collect();
    let targets = (0..SESSIONS).map(|n| Target::new(&format!("s{n}"))).collect::<Result<Vec<_>, _>>()?;
    let phones: Vec<_> = numbers.iter().map(|number| stage.site.phone(number.as_str(), "Owner")).collect();
    let links = targets.iter().zip(&phones).map(|(target, phone)| stage.link(target, phone));
    let linked = futures::future::try_join_all(links).await?;
    for (told, number) in linked.iter().zip(&numbers) {
        ensure!(told.phone.as_ref().map(|phone| phone.as_str()) == Some(number.as_str()), "another's number: {told:?}");
    }
    let counted = async || {
        let heartbeat = worker.heartbeat()?.context("a worker that runs has a heartbeat")?;
        Ok((heartbeat.sessions.get("connected") == Some(&5) && heartbeat.leases == 5).then_some(()))
    };
    wait::until("the heartbeat counts five connected sessions", PATIENCE, counted).await?;

    let mut ids = Vec::new();
    for (n, target) in targets.iter().enumerate() {
        ids.push((n, stage.host.send(target, &text(BERT, &format!("from {n}"))?).await?));
    }
    for (n, id) in &ids {
        let result = stage.host.final_result(id).await?;
        ensure!(result.outcome == Outcome::Succeeded, "session {n}: {result:?}");
    }
    for (n, phone) in phones.iter().enumerate() {
        let sent: Vec<_> = phone.sent().iter().map(|departure| (departure.text.clone(), departure.copies())).collect();
        ensure!(sent == [(format!("from {n}"), 1)], "session {n}: {sent:?}");
    }
    let ended = worker.terminate(Duration::from_secs(60)).await?;
    ensure!(ended.success(), "{ended}");
    ensure!(wafleet_tests::processes::Process::naming(&stage.fleet.profile_root())?.is_empty(), "a browser is left");
    stage.host.events().check_order()
}
