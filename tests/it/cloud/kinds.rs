//! Every kind of message that Meta takes, in Meta's words, and what goes to a message that came in.

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wafleet_graph::Fault;
use wafleet_imitation::Options;
use wafleet_protocol::command::{
    Action, Button, Buttons, Card, CardDetails, Choices, Command, Contacts, Content, Degrees, ListRow, ListSection,
    Location, Media, MessageSend, React, Seen, Typing,
};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::Outcome;
use wafleet_protocol::provider::Provider;
use wafleet_tests::fleet::{Target, failure};
use wafleet_tests::stage::Stage;

use super::*;

const PNG: &[u8] = b"\x89PNG\r\n\x1A\n a picture";
const PDF: &[u8] = b"%PDF-1.7 an offer";

fn inline(file: &[u8]) -> Result<Media> {
    let inline = Some(STANDARD.encode(file).try_into()?);
    Ok(Media { url: None, inline, ..Media::at("https://example.com/".parse()?) })
}

fn opus() -> Vec<u8> {
    let mut ogg = b"OggS".to_vec();
    ogg.resize(28, 0);
    ogg.extend_from_slice(b"OpusHead");
    ogg
}

fn buttons() -> Result<Content> {
    let button =
        |id: &str, title: &str| Ok::<_, anyhow::Error>(Button { id: id.try_into()?, title: title.try_into()? });
    let buttons = vec![button("yes", "Ja")?, button("no", "Nein")?];
    Ok(Content::Buttons(Buttons { text: "Kommt ihr?".try_into()?, buttons }))
}

fn list() -> Result<Content> {
    let row =
        ListRow { id: "mon".try_into()?, title: "Montag".try_into()?, description: Some("9 bis 17 Uhr".try_into()?) };
    let sections = vec![ListSection { title: None, rows: vec![row] }];
    Ok(Content::List(Choices { text: "Wann?".try_into()?, button: "Tage".try_into()?, sections }))
}

#[tokio::test]
async fn every_kind_that_meta_takes_leaves_in_metas_words() -> Result<()> {
    let scene = Scene::set().await?;
    let _worker = scene.connected("w1").await?;
    let send = async |content: Content| {
        let command = Command::MessageSend(MessageSend::new(ANNA.parse()?, content));
        scene.host.ask(&scene.shop, &command).await
    };
    let place = Location {
        latitude: Degrees::within(52.5, 90.0).context("an angle")?,
        longitude: Degrees::within(13.25, 180.0).context("an angle")?,
        name: Some("Reichstag".try_into()?),
        address: None,
        url: None,
    };
    let card = Card { name: "Bert Meier".try_into()?, details: CardDetails::Phone(BERT.parse()?) };
    let caption = Some("So sieht es aus".try_into()?);
    let offer = Media { filename: Some("Angebot.pdf".to_owned().try_into()?), ..inline(PDF)? };
    let cases: Vec<(Content, &str, Value)> = vec![
        (Content::Image(Media { caption, ..inline(PNG)? }), "image", json!({ "caption": "So sieht es aus" })),
        (Content::Document(offer), "document", json!({ "filename": "Angebot.pdf" })),
        (Content::Video(inline(b"\0\0\0\x18ftypisom a film")?), "video", json!({})),
        (Content::Audio(inline(b"ID3\x04 a song")?), "audio", json!({})),
        (Content::Voice(inline(&opus())?), "audio", json!({ "voice": true })),
        (Content::Sticker(inline(b"RIFF\x1A\0\0\0WEBPVP8L")?), "sticker", json!({})),
        (Content::Location(place), "location", json!({ "latitude": 52.5, "longitude": 13.25, "name": "Reichstag" })),
    ];
    for (content, kind, holds) in cases {
        let result = send(content).await?;
        sent(&result, Provider::Cloud)?;
        let left = scene.graph.accepted().pop().context("accepted")?;
        ensure!(left.kind == kind && left.to == ANNA, "{left:?}");
        for (name, value) in holds.as_object().context("an object")? {
            ensure!(left.body[kind][name] == *value, "{name}: {left:?}");
        }
        let uploaded = left.body[kind]["id"].as_str().map(str::to_owned);
        ensure!(kind == "location" || uploaded.is_some(), "{left:?}");
    }
    let uploads = scene.graph.uploads();
    ensure!(uploads.iter().any(|upload| upload.mime == "image/png" && upload.holds(PNG)), "{uploads:?}");
    ensure!(uploads.iter().any(|upload| upload.mime == "application/pdf" && upload.holds(PDF)), "{uploads:?}");

    sent(&send(Content::Contact(Contacts { contacts: vec![card] })).await?, Provider::Cloud)?;
    let left = scene.graph.accepted().pop().context("accepted")?;
    ensure!(left.body["contacts"][0]["name"]["formatted_name"] == "Bert Meier", "{left:?}");
    ensure!(left.body["contacts"][0]["phones"][0]["wa_id"] == BERT, "{left:?}");
    sent(&send(buttons()?).await?, Provider::Cloud)?;
    let left = scene.graph.accepted().pop().context("accepted")?;
    let titles = &left.body["interactive"]["action"]["buttons"];
    ensure!(left.body["interactive"]["type"] == "button" && titles[1]["reply"]["title"] == "Nein", "{left:?}");
    sent(&send(list()?).await?, Provider::Cloud)?;
    let left = scene.graph.accepted().pop().context("accepted")?;
    let rows = &left.body["interactive"]["action"]["sections"][0]["rows"];
    ensure!(left.body["interactive"]["type"] == "list" && rows[0]["description"] == "9 bis 17 Uhr", "{left:?}");

    // An upload that fails sends nothing, and is made again.
    let (requests, left) = (scene.graph.requests(), scene.graph.accepted().len());
    scene.graph.next_upload(Fault::Gateway { status: 502, accepted: false });
    sent(&send(Content::Image(inline(PNG)?)).await?, Provider::Cloud)?;
    ensure!(scene.graph.requests() == requests + 1 && scene.graph.accepted().len() == left + 1);
    scene.graph.next_upload(Fault::Refuse { status: 400, code: 131_053 });
    let refused = send(Content::Image(inline(PNG)?)).await?;
    ensure!(refusal(&refused)? == (ErrorCode::MediaRefused, Some("131053")), "{refused:?}");
    // What Meta has no word for, and what is no picture.
    let vcard = CardDetails::Vcard("BEGIN:VCARD\nFN:Bert\nEND:VCARD".try_into()?);
    let card = Card { name: "Bert".try_into()?, details: vcard };
    for (content, code) in [
        (Content::VideoNote(inline(b"\0\0\0\x18ftypisom a film")?), ErrorCode::ProviderUnavailable),
        (Content::Contact(Contacts { contacts: vec![card] }), ErrorCode::ProviderUnavailable),
        (Content::Image(inline(PDF)?), ErrorCode::MediaRefused),
    ] {
        ensure!(failure(&send(content.clone()).await?)? == code, "{content:?}");
    }
    ensure!(scene.graph.requests() == requests + 1, "what cannot be sent was asked for");
    Ok(())
}

#[tokio::test]
async fn answers_reactions_and_marks_go_to_the_message_they_are_for() -> Result<()> {
    let scene = Scene::set().await?;
    let _worker = scene.connected("w1").await?;
    let (heard, webhook) = scene.graph.message_webhook(NUMBER, ANNA, "hello");
    scene.webhook(webhook).await?;
    let key: wafleet_protocol::id::MessageKey = heard.parse()?;

    let answer =
        MessageSend { reply_to: Some(key.clone()), ..MessageSend::text(ANNA.parse()?, "hello yourself".try_into()?) };
    sent(&scene.host.ask(&scene.shop, &Command::MessageSend(answer)).await?, Provider::Cloud)?;
    let left = scene.graph.accepted().pop().context("accepted")?;
    ensure!(left.body["context"]["message_id"] == heard.as_str(), "{left:?}");

    let act = async |action: Action| scene.host.ask(&scene.shop, &Command::Action(action)).await;
    for emoji in [Some("👍"), None] {
        let wanted = React { message: key.clone(), emoji: emoji.map(TryInto::try_into).transpose()? };
        let result = act(Action::React(wanted)).await?;
        ensure!(result.outcome == Outcome::Succeeded, "{result:?}");
        let left = scene.graph.accepted().pop().context("accepted")?;
        let reaction = &left.body["reaction"];
        ensure!(left.to == ANNA && reaction["message_id"] == heard.as_str(), "{left:?}");
        ensure!(reaction["emoji"] == emoji.unwrap_or_default(), "{left:?}");
    }
    let chat: wafleet_protocol::id::ChatId = ANNA.parse()?;
    for action in [
        Action::Typing(Typing { chat: chat.clone(), typing: true }),
        Action::Typing(Typing { chat: chat.clone(), typing: false }),
        Action::Seen(Seen { chat }),
    ] {
        let result = act(action.clone()).await?;
        ensure!(result.outcome == Outcome::Succeeded, "{action:?}: {result:?}");
    }
    ensure!(scene.graph.read() == [heard.clone(), heard.clone()], "{:?}", scene.graph.read());
    // A fault that passes is asked again; a message that never came in is not known.
    scene.graph.next(Fault::Refuse { status: 503, code: 131_016 });
    ensure!(act(Action::Seen(Seen { chat: ANNA.parse()? })).await?.outcome == Outcome::Succeeded);
    let strange = React { message: "wamid.bmV2ZXI=".parse()?, emoji: None };
    ensure!(failure(&act(Action::React(strange)).await?)? == ErrorCode::MessageNotFound);
    ensure!(failure(&act(Action::Seen(Seen { chat: BERT.parse()? })).await?)? == ErrorCode::MessageNotFound);
    Ok(())
}

#[tokio::test]
async fn buttons_and_lists_are_refused_where_nobody_would_see_them() -> Result<()> {
    let target = Target::new("s1")?;
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    stage.site.phone(BERT, "Bert");
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    stage.link(&target, &anna).await?;
    for content in [buttons()?, list()?] {
        let command = Command::MessageSend(MessageSend::new(BERT.parse()?, content));
        let result = stage.host.ask(&target, &command).await?;
        ensure!(failure(&result)? == ErrorCode::NotAllowed, "{result:?}");
        let said = result.error.context("an error")?.message;
        ensure!(said.contains("business number of the Cloud API"), "{said}");
    }
    ensure!(stage.site.sent().is_empty(), "{:?}", stage.site.sent());
    Ok(())
}
