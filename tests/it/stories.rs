//! Stories: texts, pictures and films that are shown for a day.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use wafleet_protocol::command::{Action, Command, Delete, StatusPost, Story, StoryText};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{Event, ResultData};
use wafleet_tests::fleet::Target;

use crate::actions::{done, linked, refused, sent, told};
use crate::media::{PNG, bytes, inline};

const STORIES: &str = "status@broadcast";

fn post(story: Story) -> Result<Command> {
    Ok(Command::StatusPost(StatusPost { story, reference: Some("tuesday".to_owned().try_into()?) }))
}

#[tokio::test]
async fn a_story_is_shown_once_told_of_and_taken_back() -> Result<()> {
    let target = Target::new("s1")?;
    let (stage, _worker, _anna) = linked(&target).await?;
    let host = &stage.host;
    let background = Some("#0a7cff".to_owned().try_into()?);
    let story = Story::Text(StoryText { text: "open until\neight".try_into()?, background });
    let letter = host.letter(&target, &post(story)?)?;
    let id = letter.message_id.clone().context("a command has an id")?.parse()?;
    for _ in 0..2 {
        host.post(&letter).await?;
    }
    let result = host.final_result(&id).await?;
    let Some(ResultData::Message(text)) = &result.data else { anyhow::bail!("{result:?}") };
    ensure!(text.chat_id.as_str() == STORIES && text.ack.number() == 1, "{text:?}");

    let (key, picture) = sent(&stage, &target, &post(Story::Image(inline(&bytes(PNG)?)?))?).await?;
    let left: Vec<_> = stage.site.sent();
    ensure!(left.len() == 2 && left.iter().all(|left| left.handed_in == 1), "{left:?}");
    ensure!(left[0].id == text.id && left[0].text == "open until\neight", "{left:?}");
    ensure!(left[0].content["backgroundColor"] == json!(0xff0a_7cff_u32), "{left:?}");
    ensure!(left[1].id == picture && left[1].kind == "image" && left[1].chat.wid() == STORIES, "{left:?}");
    ensure!(stage.site.file_of("image", &left[1].content) == Some(bytes(PNG)?), "another picture");

    let acknowledged = |event: &Event| match event {
        Event::MessageAck(ack) if ack.id == picture => Some(ack.clone()),
        _ => None,
    };
    let ack = told(host, "the ack of the picture", acknowledged).await?;
    ensure!(ack.reference.as_ref().is_some_and(|reference| reference.as_str() == "tuesday"), "{ack:?}");

    for _ in 0..2 {
        done(host, &target, Action::Delete(Delete { message: key.clone() })).await?;
    }
    let taken_back = |left: &wafleet_imitation::Departure| left.content["target"]["id"] == picture.as_str();
    ensure!(stage.site.sent().iter().filter(|left| taken_back(left)).count() == 1, "{:?}", stage.site.sent());
    let gone = key.as_str().replace(&picture, "3EB0000000000000000000").parse()?;
    ensure!(refused(host, &target, Action::Delete(Delete { message: gone })).await? == ErrorCode::MessageNotFound);
    host.events().check_order()
}
