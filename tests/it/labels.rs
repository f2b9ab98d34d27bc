//! Labels of WhatsApp Business: listed, put on chats, and told of.

use anyhow::{Result, bail, ensure};
use wafleet_imitation::Options;
use wafleet_protocol::command::{Action, LabelChat, ListChats, ListLabels};
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{ChatLabel, Event, Label, LabelUpdate, ResultData};
use wafleet_tests::fleet::Target;
use wafleet_tests::stage::Stage;

use crate::actions::{ANNA, BERT, done, linked, received, refused, setting, told};

fn label(chat: &str, label: &str, labelled: bool) -> Result<Action> {
    Ok(Action::LabelChat(LabelChat { chat: chat.parse()?, label: label.to_owned().try_into()?, labelled }))
}

#[tokio::test]
async fn a_business_sorts_its_chats_by_labels_and_hears_of_them() -> Result<()> {
    let target = Target::new("s1")?;
    let stage = Stage::set(Options::default()).await?;
    let anna = stage.site.phone(ANNA, "Anna");
    let bert = stage.site.phone(BERT, "Bert");
    anna.do_business();
    anna.set_label("1", "New", 0);
    anna.set_label("2", "Paid", 1);
    let mut worker = stage.worker("w1").spawn()?;
    worker.wait_until_ready().await?;
    stage.link(&target, &anna).await?;
    let host = &stage.host;
    let id = anna.receive_text(BERT, "Bert", "hello");
    received(host, &id).await?;

    let data = done(host, &target, Action::ListLabels(ListLabels {})).await?;
    let Some(ResultData::Labels(known)) = data else { bail!("{data:?}") };
    let new = Label { id: "1".into(), name: "New".into(), color: Some("#ff9485".into()) };
    ensure!(known.labels.len() == 2 && known.labels[0] == new, "{known:?}");

    // By command, twice: the page is asked once. The event comes as for one that was put on by hand.
    let lid = bert.number().lid().to_string();
    let change = |chat_id: &str, label_id: &str, labelled: bool| {
        let chat_id = chat_id.to_owned();
        let label_id = label_id.to_owned();
        move |event: &Event| match event {
            Event::ChatLabel(told)
                if told.chat_id.as_str() == chat_id && told.label_id == label_id && told.labelled == labelled =>
            {
                Some(told.clone())
            }
            _ => None,
        }
    };
    for _ in 0..2 {
        done(host, &target, label(BERT, "1", true)?).await?;
    }
    ensure!(setting(&stage, "label").1 == 1, "{:?}", stage.site.settings());
    let ChatLabel { label: name, .. } = told(host, "the label of the chat", change(&lid, "1", true)).await?;
    ensure!(name.as_ref().is_some_and(|name| name.as_str() == "New"), "{name:?}");
    ensure!(anna.label_chat("2", BERT, true));
    told(host, "a label put on by hand", change(&lid, "2", true)).await?;
    let data =
        done(host, &target, Action::ListChats(ListChats { limit: 50, cursor: None, unread: false, archived: None }));
    let Some(ResultData::Chats(chats)) = data.await? else { bail!("no chats") };
    ensure!(chats.chats[0].labels == ["1", "2"], "{chats:?}");
    done(host, &target, label(&lid, "1", false)?).await?;
    told(host, "a label taken off", change(&lid, "1", false)).await?;

    let update = |id: &'static str| {
        move |event: &Event| match event {
            Event::LabelUpdate(told) if told.label.id == id => Some(told.clone()),
            _ => None,
        }
    };
    anna.set_label("3", "Late", 2);
    let LabelUpdate { label: late, deleted } = told(host, "a new label", update("3")).await?;
    ensure!(late.name.as_str() == "Late" && !deleted, "{late:?}");
    anna.delete_label("2");
    ensure!(told(host, "a label that is gone", update("2")).await?.deleted);
    ensure!(refused(host, &target, label(BERT, "2", true)?).await? == ErrorCode::LabelNotFound);
    host.events().check_order()
}

#[tokio::test]
async fn a_private_account_has_no_labels_and_is_told_so() -> Result<()> {
    let target = Target::new("s1")?;
    let (stage, _worker, _anna) = linked(&target).await?;
    let host = &stage.host;
    for action in [Action::ListLabels(ListLabels {}), label(BERT, "1", true)?] {
        let code = refused(host, &target, action).await?;
        ensure!(matches!(code, ErrorCode::NotAllowed | ErrorCode::ChatNotFound), "{code}");
    }
    Ok(())
}
