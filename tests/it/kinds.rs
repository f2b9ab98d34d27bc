//! Messages of every kind: each leaves once, with everything it was given.

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use wafleet_imitation::{Address, Departure, Options, Phone};
use wafleet_protocol::command::{
    Card, CardDetails, Command, Contacts, Content, Degrees, Forward, Location, MessageSend, Poll, Text,
};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{CommandResult, Event, Outcome, ResultData};
use wafleet_protocol::id::{MessageId, MessageKey};
use wafleet_protocol::lane::Lane;
use wafleet_tests::fleet::{HOST_KEY, Order, PATIENCE, Posted, Target, Worker, failure, new_command_id};
use wafleet_tests::stage::Stage;

const ANNA: &str = "4915112345678";
const BERT: &str = "4915187654321";
const CARLA: &str = "4915155555555";

/// Sends a command twice, as a broker may, and answers with what left and the result of the first.
async fn leaves_once(stage: &Stage, target: &Target, message: MessageSend) -> Result<(Departure, CommandResult)> {
    let command = Command::MessageSend(message);
    let id = new_command_id()?;
    let letter = stage.host.letter_by(HOST_KEY, target, &id, &command, &Order::now(&command, Lane::Normal))?;
    ensure!(stage.host.post(&letter).await? == Posted::Routed);
    let first = stage.host.final_envelope(0, &id).await?;
    let mark = stage.host.events().len();
    ensure!(stage.host.post(&letter).await? == Posted::Routed);
    let again = stage.host.final_envelope(mark, &id).await?;
    ensure!(again.event == first.event, "{again:?}");
    let Event::CommandResult(result) = first.event else { bail!("{first:?}") };
    let message_id = MessageId::for_command(&id, &target.session).to_string();
    let left: Vec<_> = stage.site.sent().into_iter().filter(|departure| departure.id == message_id).collect();
    let [departure] = &left[..] else { bail!("{result:?} {left:?}") };
    ensure!(result.outcome == Outcome::Succeeded && departure.copies() == 1, "{result:?} {departure:?}");
    Ok((departure.clone(), result))
}

fn key_of(result: &CommandResult) -> Result<MessageKey> {
    match &result.data {
        Some(ResultData::Message(message)) => Ok(message.key.as_str().parse()?),
        other => bail!("{other:?}"),
    }
}

/// The key of a message that came in, once the session has told it.
async fn received_key(stage: &Stage, id: &str) -> Result<MessageKey> {
    let find = |envelope: &wafleet_protocol::event::Envelope| match &envelope.event {
        Event::MessageReceived(message) if message.id == id => Some(message.key.clone()),
        _ => None,
    };
    let key = stage.host.events().wait_from(0, &format!("message {id}"), PATIENCE, find).await?;
    Ok(key.as_str().parse()?)
}

fn to(address: &str, content: Content) -> Result<MessageSend> {
    Ok(MessageSend::new(address.parse()?, content))
}

fn held(departure: &Departure, fields: &[(&str, Value)]) -> Result<()> {
    for (name, value) in fields {
        ensure!(departure.content[*name] == *value, "{name} of {departure:?}");
    }
    Ok(())
}

async fn linked(target: &Target) -> Result<(Stage, Worker, Phone)> {
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    stage.site.phone(CARLA, "Carla");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    stage.link(target, &anna).await?;
    Ok((stage, worker, anna))
}

#[tokio::test]
async fn every_kind_leaves_once_with_what_it_holds() -> Result<()> {
    let target = Target::new("s1")?;
    let (stage, _worker, anna) = linked(&target).await?;

    let place = Location {
        latitude: Degrees::within(52.518611, 90.0).expect("an angle"),
        longitude: Degrees::within(-13.376111, 180.0).expect("an angle"),
        name: Some("Reichstag".try_into()?),
        address: Some("Platz der Republik 1".try_into()?),
        url: Some("https://example.com/".try_into()?),
    };
    let (left, _) = leaves_once(&stage, &target, to(BERT, Content::Location(place))?).await?;
    ensure!(left.kind == "location", "{left:?}");
    let loc = json!("Reichstag\nPlatz der Republik 1");
    let url = json!("https://example.com/");
    held(&left, &[("lat", json!(52.518611)), ("lng", json!(-13.376111)), ("loc", loc), ("clientUrl", url)])?;

    let card = |name: &str, phone: &str| -> Result<Card> {
        Ok(Card { name: name.try_into()?, details: CardDetails::Phone(phone.parse()?) })
    };
    let one = Content::Contact(Contacts { contacts: vec![card("Carla", CARLA)?] });
    let (left, _) = leaves_once(&stage, &target, to(BERT, one)?).await?;
    ensure!(left.kind == "vcard" && left.text.contains(&format!("waid={CARLA}:+{CARLA}")), "{left:?}");
    held(&left, &[("vcardFormattedName", json!("Carla"))])?;
    let several = Content::Contact(Contacts { contacts: vec![card("Carla", CARLA)?, card("Bert", BERT)?] });
    let (left, _) = leaves_once(&stage, &target, to(BERT, several)?).await?;
    ensure!(left.kind == "multi_vcard" && left.content["vcardList"][1]["displayName"] == "Bert", "{left:?}");

    let options = ["today", "tomorrow"].map(|text| text.try_into().expect("a line")).to_vec();
    let poll = Poll { question: "When?".try_into()?, options, multiple: false };
    let (left, _) = leaves_once(&stage, &target, to(BERT, Content::Poll(poll))?).await?;
    ensure!(left.kind == "poll_creation" && left.content["pollOptions"][1]["name"] == "tomorrow", "{left:?}");
    held(&left, &[("pollName", json!("When?")), ("pollSelectableOptionsCount", json!(1))])?;

    // A link is only made a preview of when it is asked for, and by the page itself.
    let link = Text::plain("see https://example.com/a".try_into()?);
    let (left, _) = leaves_once(&stage, &target, to(BERT, Content::Text(link.clone()))?).await?;
    ensure!(left.kind == "chat" && left.content.get("canonicalUrl").is_none(), "{left:?}");
    let link = Text { link_preview: true, ..link };
    let (left, _) = leaves_once(&stage, &target, to(BERT, Content::Text(link))?).await?;
    held(&left, &[("canonicalUrl", json!("https://example.com/a")), ("title", json!("example.com"))])?;

    // In a group people are named by the ids that the group uses.
    let group = anna.create_group("Team", [BERT, CARLA]);
    let bert = stage.site.phone(BERT, "Bert");
    received_key(&stage, &bert.send_text(Address::Group(group.clone()), "hello all")).await?; // the page knows the group
    let lid = bert.number().lid().to_string();
    let digits = lid.trim_end_matches("@lid");
    let text = format!("ask @{BERT}, not @{BERT}0").try_into()?;
    let mention = Text { mentions: vec![BERT.parse()?], ..Text::plain(text) };
    let (left, _) = leaves_once(&stage, &target, to(&group.to_string(), Content::Text(mention))?).await?;
    ensure!(left.chat == Address::Group(group) && left.text == format!("ask @{digits}, not @{BERT}0"), "{left:?}");
    held(&left, &[("mentionedJidList", json!([lid]))])
}

#[tokio::test]
async fn messages_are_answered_and_passed_on_by_their_keys() -> Result<()> {
    let target = Target::new("s1")?;
    let (stage, _worker, anna) = linked(&target).await?;
    let question = received_key(&stage, &anna.receive_text(BERT, "Bert", "When do you come?")).await?;

    let mut answer = to(BERT, Content::Text(Text::plain("Now".try_into()?)))?;
    answer.reply_to = Some(question.clone());
    let (left, result) = leaves_once(&stage, &target, answer).await?;
    let id = question.as_str().split('_').nth(2).unwrap_or_default();
    held(&left, &[("quotedStanzaID", json!(id))])?;
    ensure!(left.content["quotedMsg"]["body"] == "When do you come?", "{left:?}");

    // Of every kind, and also one's own message.
    let place = Location {
        latitude: Degrees::within(1.0, 90.0).expect("an angle"),
        longitude: Degrees::within(2.0, 180.0).expect("an angle"),
        name: None,
        address: None,
        url: None,
    };
    let mut here = to(BERT, Content::Location(place))?;
    here.reply_to = Some(key_of(&result)?);
    let (left, result) = leaves_once(&stage, &target, here).await?;
    ensure!(left.kind == "location" && left.content["quotedMsg"]["body"] == "Now", "{left:?}");

    let pass_on = |message: MessageKey| to(CARLA, Content::Forward(Forward { message }));
    let (left, _) = leaves_once(&stage, &target, pass_on(question)?).await?;
    ensure!(left.kind == "chat" && left.text == "When do you come?", "{left:?}");
    held(&left, &[("isForwarded", json!(true)), ("forwardingScore", json!(1))])?;
    let (left, _) = leaves_once(&stage, &target, pass_on(key_of(&result)?)?).await?;
    held(&left, &[("lat", json!(1)), ("lng", json!(2)), ("isForwarded", json!(true))])?;
    ensure!(left.content.get("quotedMsg").is_none(), "what it answered is passed on: {left:?}");

    // What is not there cannot be answered, and nothing leaves.
    let before = stage.site.sent().len();
    let missing: MessageKey = format!("false_{BERT}@c.us_3A00000000000000000000").parse()?;
    let mut answer = to(BERT, Content::Text(Text::plain("What?".try_into()?)))?;
    answer.reply_to = Some(missing.clone());
    for message in [answer, pass_on(missing)?] {
        let result = stage.host.ask(&target, &Command::MessageSend(message)).await?;
        ensure!(failure(&result)? == ErrorCode::MessageNotFound, "{result:?}");
    }
    ensure!(stage.site.sent().len() == before, "something left");
    Ok(())
}
