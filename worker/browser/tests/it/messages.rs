//! Messages out and in, acks, and finding what is there already.

use std::time::{Duration, SystemTime};

use wafleet_browser::{CallError, MessageSource, PageEvent};
use wafleet_imitation::SendFault;

use crate::session::{ANNA, BERT, Session, message_id, quick, text};

fn code(error: &CallError) -> Option<&str> {
    match error {
        CallError::Page { code, .. } => code.as_deref(),
        _ => None,
    }
}

#[tokio::test]
async fn a_text_goes_out_under_its_id_and_its_acks_come_back() {
    let mut options = quick();
    options.acks.read = Some(Duration::from_millis(300));
    let mut session = Session::linked(options).await;
    let sent = session.page.send(&text(BERT, 1, "hello")).await.expect("sent");
    assert!(!sent.found);
    assert!(sent.ack >= 1, "{sent:?}");
    assert!(sent.chat_id.ends_with("@lid"), "{sent:?}");
    assert_eq!(sent.key, format!("true_{}_{}", sent.chat_id, message_id(1)));
    session.ack(&sent.key, |ack| ack == 3).await;
    let acks: Vec<i8> = session
        .seen
        .iter()
        .filter_map(|event| match event {
            PageEvent::Ack(ack) => Some(ack.ack),
            _ => None,
        })
        .collect();
    assert_eq!(acks, [1, 2, 3], "each once, in order");
    let own = session.seen.iter().find_map(|event| match event {
        PageEvent::Message(message) if message.key == sent.key => Some(message.clone()),
        _ => None,
    });
    let own = own.expect("the own message is told, too");
    assert_eq!((own.from_me, own.source), (true, Some(MessageSource::ThisSession)));
    assert_eq!(session.site.sent().len(), 1);
    assert_eq!(session.site.sent()[0].text, "hello");
    session.close().await;
}

#[tokio::test]
async fn the_same_id_is_sent_once_however_often_it_is_asked_for() {
    let mut session = Session::linked(quick()).await;
    let message = text(BERT, 2, "once");
    let first = session.page.send(&message).await.expect("sent");
    let again = session.page.send(&message).await.expect("found");
    assert!(again.found && again.key == first.key && again.ack >= 1, "{again:?}");
    // Also by another name of the same chat, after a load, and after a kill.
    let by_lid = session.page.send(&text(&first.chat_id, 2, "once")).await.expect("found");
    assert!(by_lid.found);
    session.page.reload().await.expect("reloading");
    session.ready().await;
    session.online().await;
    assert!(session.page.send(&message).await.expect("found").found);
    session.page.reopen().await.expect("reopened");
    session.online().await;
    session.ready().await;
    let mut session = session.kill_and_reopen().await;
    session.online().await;
    session.ready().await;
    assert!(session.page.send(&message).await.expect("found").found);
    let left = session.site.sent();
    assert_eq!((left.len(), left[0].copies()), (1, 1));
    session.close().await;
}

#[tokio::test]
async fn a_message_is_found_by_its_id_or_not() {
    let session = Session::linked(quick()).await;
    assert_eq!(session.page.find_message(BERT, &message_id(3)).await.expect("asked"), None);
    let sent = session.page.send(&text(BERT, 3, "here")).await.expect("sent");
    let found = session.page.find_message(BERT, &message_id(3)).await.expect("asked").expect("found");
    assert_eq!((found.key, found.found), (sent.key, true));
    assert_eq!(session.page.find_message(BERT, &message_id(4)).await.expect("asked"), None);
    session.site.nobody("4915100000000");
    assert_eq!(session.page.find_message("4915100000000", &message_id(3)).await.expect("asked"), None);
    session.close().await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_with_a_code_and_leaves_nothing() {
    let session = Session::linked(quick()).await;
    session.site.nobody("4915100000000");
    let mut short = text(BERT, 5, "x");
    short.message_id = "3EB0".into();
    for (message, expected) in [
        (text("4915100000000", 5, "x"), "no_such_number"),
        (text("nobody", 5, "x"), "invalid_recipient"),
        (text("everybody@broadcast", 5, "x"), "invalid_recipient"),
        (text("120363000000000000@g.us", 5, "x"), "chat_not_found"),
        (short, "invalid_message_id"),
    ] {
        let error = session.page.send(&message).await.expect_err("refused");
        assert_eq!(code(&error), Some(expected), "{error:?}");
    }
    assert!(session.site.sent().is_empty());
    session.close().await;
}

#[tokio::test]
async fn a_refused_send_says_so_and_the_ack_tells_it_too() {
    let mut session = Session::linked(quick()).await;
    session.site.faults(|faults| faults.next_sends(SendFault::Refuse { code: 500 }, 1));
    let error = session.page.send(&text(BERT, 6, "no")).await.expect_err("refused");
    assert_eq!(code(&error), Some("send_failed"), "{error:?}");
    session
        .wait("the failure", |event| match event {
            PageEvent::Ack(ack) if ack.ack < 0 => Some(()),
            _ => None,
        })
        .await;
    let again = session.page.send(&text(BERT, 6, "no")).await.expect_err("still");
    assert_eq!(code(&again), Some("send_failed"));
    session.close().await;
}

#[tokio::test]
async fn a_message_whose_ack_is_lost_is_pending_and_arrives_once() {
    let mut session = Session::linked(quick()).await;
    session.site.faults(|faults| faults.next_sends(SendFault::CutAfter, 1));
    let sent = session.page.send(&text(BERT, 7, "cut")).await.expect("taken by the page");
    let done = session.page.send(&text(BERT, 7, "cut")).await.expect("found");
    assert!(done.found && done.ack >= 1, "{done:?} after {sent:?}");
    // The delivery may be known before the server's own ack.
    session.ack(&sent.key, |ack| ack >= 1).await;
    let left = session.site.sent();
    assert_eq!((left.len(), left[0].copies()), (1, 1), "{left:?}");
    session.close().await;
}

#[tokio::test]
async fn a_slow_server_makes_the_answer_pending_and_not_an_error() {
    let mut options = quick();
    options.acks.delivered = None;
    let mut session = Session::linked(options).await;
    session.site.faults(|faults| faults.next_sends(SendFault::Delay { millis: 4000 }, 1));
    let mut page_options = crate::session::page_options(&session.site);
    page_options.call_timeout = Duration::from_secs(2);
    // The same browser, a page with less patience.
    session.chromium.close().await;
    session.chromium = wafleet_browser::Chromium::launch(&session.dir.options()).await.expect("launched");
    let (page, mut events) = wafleet_browser::Page::open(&session.chromium, page_options).await.expect("opened");
    while let Some(event) = events.recv().await {
        if matches!(event, PageEvent::Ready(_)) {
            break;
        }
    }
    let sent = page.send(&text(BERT, 8, "slow")).await.expect("pending");
    assert_eq!((sent.ack, sent.found), (0, false));
    let waiting = page.find_message(BERT, &message_id(8)).await.expect("asked").expect("there");
    assert_eq!(waiting.ack, 0);
    session.close().await;
}

#[tokio::test]
async fn messages_come_in_with_sender_number_and_name() {
    let mut session = Session::linked(quick()).await;
    let id = session.anna.receive_text(BERT, "Bert", "hello Anna");
    let message = session.message("hello Anna").await;
    assert_eq!(message.id, id);
    assert_eq!(message.key, format!("false_{}_{id}", message.chat_id));
    assert!(!message.from_me && message.source.is_none());
    assert_eq!(message.sender_phone.as_deref(), Some(&*format!("{BERT}@c.us")));
    assert_eq!(message.sender_lid.as_deref(), Some(&*message.sender_id));
    assert_eq!(message.notify_name.as_deref(), Some("Bert"));
    assert_eq!((message.kind.as_str(), message.has_media), ("chat", false));
    session.close().await;
}

#[tokio::test]
async fn messages_in_a_group_name_their_writer() {
    let mut session = Session::linked(quick()).await;
    let group = session.anna.create_group("Friends", [BERT]);
    session.quiet(Duration::from_millis(500)).await;
    let sent = session.page.send(&text(&group.to_string(), 9, "all of you")).await.expect("sent");
    assert!(sent.key.starts_with(&format!("true_{group}_{}_", message_id(9))), "{sent:?}");
    assert!(session.page.send(&text(&group.to_string(), 9, "all of you")).await.expect("found").found);
    session.close().await;
}

#[tokio::test]
async fn what_is_typed_on_the_phone_is_an_own_message_from_the_phone() {
    let mut session = Session::linked(quick()).await;
    session.anna.send_text(BERT, "from the phone");
    let message = session.message("from the phone").await;
    assert_eq!((message.from_me, message.source), (true, Some(MessageSource::Phone)));
    assert!(message.chat_id.ends_with("@lid"));
    session.close().await;
}

#[tokio::test]
async fn what_came_in_before_anybody_listened_is_in_the_store() {
    let mut session = Session::linked(quick()).await;
    let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let since = i64::try_from(before).expect("small");
    for n in 0..60 {
        session.anna.receive_text(BERT, "Bert", &format!("number {n}"));
    }
    session.message("number 59").await;
    session.page.reload().await.expect("reloading");
    session.online().await;
    session.ready().await;
    let all = session.page.messages_since(since, None, 1000).await.expect("read");
    let texts: Vec<_> = all.iter().filter_map(|m| m.text.clone()).collect();
    assert_eq!(texts.len(), 60, "{texts:?}");
    assert!(all.is_sorted_by_key(|m| m.timestamp));
    assert_eq!(session.page.messages_since(since, None, 7).await.expect("read").len(), 7);
    assert!(session.page.messages_since(since + 3600, None, 1000).await.expect("read").is_empty());
    session.close().await;
}

#[tokio::test]
async fn a_page_whose_owner_is_gone_sends_nothing() {
    let session = Session::linked(quick()).await;
    session.page.send(&text(BERT, 10, "owned")).await.expect("sent");
    session.page.owned_until(SystemTime::now() - Duration::from_secs(1));
    let error = session.page.send(&text(BERT, 11, "not owned")).await.expect_err("refused");
    assert_eq!(code(&error), Some("not_owner"));
    session.page.owned_until(SystemTime::now() + Duration::from_secs(15));
    session.page.send(&text(BERT, 12, "owned again")).await.expect("sent");
    assert_eq!(session.site.sent().iter().map(|m| m.text.clone()).collect::<Vec<_>>(), ["owned", "owned again"]);
    session.close().await;
}

#[tokio::test]
async fn two_accounts_write_to_each_other() {
    let mut anna = Session::linked(quick()).await;
    let mut bert_side = anna.site.phone(BERT, "Bert");
    let dir = crate::support::SessionDir::new();
    let chromium = wafleet_browser::Chromium::launch(&dir.options()).await.expect("launched");
    let (page, mut events) =
        wafleet_browser::Page::open(&chromium, crate::session::page_options(&anna.site)).await.expect("opened");
    loop {
        match events.recv().await.expect("events") {
            PageEvent::Qr { code, .. } => {
                bert_side.scan(&code).await.expect("scanned");
            }
            PageEvent::Ready(_) => break,
            _ => {}
        }
    }
    page.send(&text(ANNA, 13, "from Bert")).await.expect("sent");
    anna.message("from Bert").await;
    bert_side = anna.site.phone(BERT, "Bert");
    assert!(bert_side.is_online());
    chromium.close().await;
    anna.close().await;
}
