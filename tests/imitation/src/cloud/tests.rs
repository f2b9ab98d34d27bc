//! The far end without a browser: pages are played by hand, time by a paused clock.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{advance, timeout};

use super::{Cloud, ControlError, Conversation, Mode, Restrict, State};
use crate::faults::SendFault;
use crate::ids::{Address, Number};
use crate::options::{AckTimes, Options};
use crate::phone::{CONFIRMATION, Phone};
use crate::qr::{PageKeys, ScannedCode};
use crate::record::Departure;
use crate::wire::{FromPage, Item, ToPage};

const ANNA: &str = "4915112345678";
const BERT: &str = "4915187654321";
const CARLA: &str = "4915100000001";

fn number(text: &str) -> Number {
    text.parse().expect("a valid number")
}

fn keys() -> PageKeys {
    PageKeys { noise: "noise".to_owned(), identity: "identity".to_owned(), adv: "adv".to_owned() }
}

/// A cloud whose clock runs.
fn cloud() -> Cloud {
    let cloud = Cloud::new(State::new(Options::default(), 1));
    tokio::spawn(cloud.clone().run_clock());
    cloud
}

/// A page played by the test.
struct Dialled {
    cloud: Cloud,
    conversation: Conversation,
}

impl Dialled {
    /// Connects and says hello.
    fn hello(cloud: &Cloud, secret: Option<&str>) -> Self {
        let dialled = Self { cloud: cloud.clone(), conversation: cloud.change(|state, _| state.connect()) };
        dialled.say(json!({ "t": "hello", "keys": keys(), "secret": secret }));
        dialled
    }

    /// Connects, links itself to a phone and logs in. Gives the secret too.
    async fn linked(cloud: &Cloud, phone: &str) -> (Self, String) {
        let mut page = Self::hello(cloud, None);
        let code = page.shown_code().await;
        let secret = cloud.change(|state, _| state.scan(&number(phone), &code)).expect("the code is on display");
        let secret = secret.expect("no passkey is asked for");
        assert!(matches!(page.next().await, ToPage::Paired { .. }));
        page.say(json!({ "t": "device_signed" }));
        assert_eq!(page.next().await, ToPage::StreamError { code: 515 });
        page.hang_up();
        (Self::logged_in(cloud, &secret).await, secret)
    }

    /// Logs in and skips the greeting, up to the end of what was queued.
    async fn logged_in(cloud: &Cloud, secret: &str) -> Self {
        let mut page = Self::hello(cloud, Some(secret));
        while page.next().await != ToPage::OfflineEnd {}
        page
    }

    fn say(&self, frame: Value) {
        let frame: FromPage = serde_json::from_value(frame).expect("a frame of the page");
        self.cloud.change(|state, now| state.hear(self.conversation.id, frame, now));
    }

    fn send(&self, q: u64, to: &Address, id: &str, resent: bool) {
        self.say(json!({ "t": "send", "q": q, "chat": to, "id": id, "kind": "chat", "body": id, "resent": resent }));
    }

    async fn next(&mut self) -> ToPage {
        let frame = timeout(Duration::from_secs(3600), self.conversation.outbox.recv()).await;
        frame.expect("the cloud says something").expect("the connection stands")
    }

    fn says_nothing(&mut self) -> bool {
        self.conversation.outbox.try_recv().is_err()
    }

    async fn shown_code(&mut self) -> String {
        let ToPage::Qr { reference } = self.next().await else { panic!("the page was to show a code") };
        ScannedCode { reference, keys: keys() }.text()
    }

    fn mode(&self) -> Mode {
        *self.conversation.mode.borrow()
    }

    fn hang_up(self) {
        self.cloud.change(|state, _| state.disconnected(self.conversation.id));
    }
}

fn lid(text: &str) -> Address {
    Address::Lid(number(text).lid())
}

fn departures(cloud: &Cloud) -> Vec<Departure> {
    cloud.look(|state| state.record.departures().to_vec())
}

/// Lets the clock task run at the present moment.
async fn settle() {
    advance(Duration::ZERO).await;
    tokio::task::yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn codes_change_after_a_minute_and_then_every_twenty_seconds_until_the_page_is_idle() {
    let cloud = cloud();
    let start = tokio::time::Instant::now();
    let mut page = Dialled::hello(&cloud, None);
    let mut shown = Vec::new();
    loop {
        match page.next().await {
            ToPage::Qr { .. } => shown.push(start.elapsed().as_secs()),
            frame => {
                assert_eq!((frame, start.elapsed().as_secs()), (ToPage::QrIdle, 160));
                break;
            }
        }
    }
    assert_eq!(shown, [0, 60, 80, 100, 120, 140]);
    assert!(cloud.look(State::qr_codes).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_code_that_was_rotated_early_keeps_its_full_time() {
    let cloud = cloud();
    let mut page = Dialled::hello(&cloud, None);
    let first = page.shown_code().await;
    advance(Duration::from_secs(50)).await;
    cloud.change(|state, now| state.rotate_qr(now));
    let second = page.shown_code().await;
    let start = tokio::time::Instant::now();
    let third = page.shown_code().await;
    assert_eq!(start.elapsed().as_secs(), 20, "the timer of the first code ended the second");
    assert!(first != second && second != third);
}

#[tokio::test(start_paused = true)]
async fn only_the_code_on_display_can_be_scanned() {
    let cloud = cloud();
    let mut page = Dialled::hello(&cloud, None);
    let old = page.shown_code().await;
    cloud.change(|state, now| state.refuse(&old, now)).expect("the code is on display");
    let current = page.shown_code().await;
    let wrong_keys = current.replace("identity", "other");
    let scan = |code: &str| cloud.change(|state, _| state.scan(&number(ANNA), code));
    assert_eq!(scan(&old), Err(ControlError::NoSuchQr));
    assert_eq!(scan("nonsense"), Err(ControlError::NoSuchQr));
    assert_eq!(scan(&wrong_keys), Err(ControlError::WrongKeys));
    assert!(scan(&current).is_ok());
    assert_eq!(scan(&current), Err(ControlError::NoSuchQr));
}

#[tokio::test(start_paused = true)]
async fn a_pairing_code_fits_one_number_and_does_not_live_for_ever() {
    let cloud = cloud();
    let mut page = Dialled::hello(&cloud, None);
    page.shown_code().await;
    page.say(json!({ "t": "link_code", "q": 1, "phone": ANNA }));
    let ToPage::Reply { q: 1, ok: Some(answer), .. } = page.next().await else { panic!("no code came") };
    let code = answer["code"].as_str().expect("a code is text").to_owned();
    let enter = |phone: &str, code: &str| cloud.change(|state, now| state.enter_code(&number(phone), code, now));
    let spelt = format!("{}-{}", &code[..4], &code[4..]).to_lowercase();
    assert_eq!(enter(ANNA, "AAAAAAAA"), Err(ControlError::NoSuchPairingCode));
    assert_eq!(enter(BERT, &spelt), Err(ControlError::ForeignPairingCode));
    advance(Duration::from_secs(195)).await;
    assert_eq!(enter(ANNA, &spelt), Err(ControlError::NoSuchPairingCode));
    page.say(json!({ "t": "link_code", "q": 2, "phone": ANNA }));
    let fresh = loop {
        if let ToPage::Reply { ok: Some(answer), .. } = page.next().await {
            break answer["code"].as_str().expect("a code is text").to_owned();
        }
    };
    assert!(enter(ANNA, &fresh).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_scan_returns_when_the_page_has_stored_its_credentials() {
    let cloud = cloud();
    let phone = Phone::of(&cloud, number(ANNA));
    let mut page = Dialled::hello(&cloud, None);
    let code = page.shown_code().await;
    let scan = tokio::spawn(async move { phone.scan(&code).await });
    assert!(matches!(page.next().await, ToPage::Paired { .. }));
    assert!(!scan.is_finished());
    page.say(json!({ "t": "device_signed" }));
    assert_eq!(scan.await.expect("the scan does not panic"), Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_page_that_dies_while_it_is_linked_fails_the_scan() {
    let cloud = cloud();
    let phone = Phone::of(&cloud, number(ANNA));
    let mut page = Dialled::hello(&cloud, None);
    let code = page.shown_code().await;
    page.hang_up();
    assert_eq!(phone.scan(&code).await, Err(ControlError::NoSuchQr));
    let mut page = Dialled::hello(&cloud, None);
    let code = page.shown_code().await;
    assert_eq!(phone.scan(&code).await, Err(ControlError::NotConfirmed(CONFIRMATION)));
}

#[tokio::test(start_paused = true)]
async fn messages_wait_for_a_device_until_it_says_that_it_has_them() {
    let cloud = cloud();
    let (page, secret) = Dialled::linked(&cloud, ANNA).await;
    page.hang_up();
    let phone = Phone::of(&cloud, number(ANNA));
    let id = phone.receive_text(BERT, "Bert", "hello");
    for _ in 0..2 {
        let mut page = Dialled::hello(&cloud, Some(&secret));
        assert!(matches!(page.next().await, ToPage::Success { queued: 1, .. }));
        let ToPage::Queued { n, item: Item::Message { message } } = page.next().await else { panic!("no message") };
        assert_eq!((n, &message.id, &message.chat, message.from_me), (1, &id, &lid(BERT), false));
        assert_eq!(page.next().await, ToPage::OfflineEnd);
        page.hang_up(); // without having stored it
    }
    let page = Dialled::logged_in(&cloud, &secret).await;
    page.say(json!({ "t": "received", "n": 1 }));
    page.hang_up();
    let mut page = Dialled::hello(&cloud, Some(&secret));
    assert!(matches!(page.next().await, ToPage::Success { queued: 0, .. }));
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_climb_at_the_chosen_times() {
    let cloud = cloud();
    let seconds = Duration::from_secs;
    let acks = AckTimes { server: seconds(1), delivered: Some(seconds(4)), read: Some(seconds(9)) };
    cloud.change(|state, _| state.faults.acks = acks);
    let (mut page, _) = Dialled::linked(&cloud, ANNA).await;
    let start = tokio::time::Instant::now();
    page.send(7, &Address::Number(number(BERT)), "A", false);
    assert!(matches!(page.next().await, ToPage::Reply { q: 7, ok: Some(_), error: None }));
    let mut ladder = vec![(1, start.elapsed().as_secs())];
    for _ in 0..2 {
        let ToPage::Queued { item: Item::Receipt { chat, ids, ack, .. }, .. } = page.next().await else {
            panic!("a receipt was to come")
        };
        assert_eq!((chat, ids), (lid(BERT), vec!["A".to_owned()]));
        ladder.push((ack, start.elapsed().as_secs()));
    }
    assert_eq!(ladder, [(1, 1), (2, 5), (3, 10)]);
    assert!(departures(&cloud).iter().all(|departure| departure.acknowledged));
}

#[tokio::test(start_paused = true)]
async fn what_left_is_counted_per_id_and_delivered_once() {
    let cloud = cloud();
    let (mut bert, _) = Dialled::linked(&cloud, BERT).await;
    let (page, _) = Dialled::linked(&cloud, ANNA).await;
    page.send(1, &lid(BERT), "A", false);
    page.send(2, &lid(BERT), "A", true);
    page.send(3, &lid(BERT), "B", false);
    let left: Vec<_> = departures(&cloud).into_iter().map(|d| (d.id, d.handed_in, d.resent, d.to)).collect();
    assert_eq!(left, [("A".to_owned(), 2, 1, Some(number(BERT))), ("B".to_owned(), 1, 0, Some(number(BERT)))]);
    for expected in ["A", "B"] {
        let ToPage::Queued { item: Item::Message { message }, .. } = bert.next().await else { panic!("no message") };
        assert_eq!((message.id.as_str(), message.chat, message.from_me), (expected, lid(ANNA), false));
    }
    assert!(bert.says_nothing());
}

#[tokio::test(start_paused = true)]
async fn each_send_fault_does_what_it_says() {
    let cloud = cloud();
    let (page, secret) = Dialled::linked(&cloud, ANNA).await;
    page.hang_up();
    // The fault, whether the message leaves, whether the line is cut, and what the page hears.
    let cases = [
        (SendFault::Refuse { code: 500 }, false, false, Some(Some(500))),
        (SendFault::Delay { millis: 700 }, true, false, Some(None)),
        (SendFault::Swallow, true, false, None),
        (SendFault::CutAfter, true, true, None),
        (SendFault::CutBefore, false, true, None),
    ];
    for (number, (fault, leaves, is_cut, hears)) in cases.into_iter().enumerate() {
        let mut page = Dialled::logged_in(&cloud, &secret).await;
        cloud.change(|state, _| state.faults.next_sends(fault, 1));
        let id = format!("ID{number}");
        page.send(1, &Address::Number("4915199999999".parse().expect("a valid number")), &id, false);
        assert_eq!(departures(&cloud).iter().any(|departure| departure.id == id), leaves, "{fault:?}");
        assert_eq!(page.mode() == Mode::Cut, is_cut, "{fault:?}");
        advance(Duration::from_secs(1)).await;
        settle().await;
        let replies: Vec<_> = std::iter::from_fn(|| page.conversation.outbox.try_recv().ok())
            .filter_map(|frame| if let ToPage::Reply { error, .. } = frame { Some(error) } else { None })
            .collect();
        assert_eq!(replies, hears.into_iter().collect::<Vec<_>>(), "{fault:?}");
        page.hang_up();
    }
}

#[tokio::test(start_paused = true)]
async fn a_restricted_account_reaches_only_whom_it_knows() {
    let cloud = cloud();
    let (mut page, _) = Dialled::linked(&cloud, ANNA).await;
    let anna = Phone::of(&cloud, number(ANNA));
    anna.receive_text(BERT, "Bert", "hello");
    page.next().await;
    let group = Address::Group(anna.create_group("Gardeners", [CARLA]));
    page.next().await;
    cloud.change(|state, now| {
        let restriction = Restrict { until: now.unix() + 60, everybody: false, notice: true };
        state.restrict(&number(ANNA), Some(restriction));
    });
    assert!(matches!(page.next().await, ToPage::Restriction { restriction: Some(_) }));
    let carla = Address::Number(number(CARLA));
    let code_of = |to: &Address, everybody: bool| {
        cloud.change(|state, now| {
            state.restrict(&number(ANNA), Some(Restrict { until: now.unix() + 60, everybody, notice: true }));
        });
        page.send(1, to, &format!("{to}{everybody}"), false);
        cloud.look(|state| {
            state
                .record
                .refusals
                .iter()
                .find(|refusal| refusal.id == format!("{to}{everybody}"))
                .map(|refusal| refusal.code)
        })
    };
    assert_eq!([code_of(&carla, false), code_of(&lid(BERT), false), code_of(&group, false)], [Some(463), None, None]);
    assert_eq!([code_of(&lid(BERT), true), code_of(&group, true)], [Some(463), Some(463)]);
    anna.restrict(Restrict { until: 1, everybody: true, notice: false });
    page.send(2, &carla, "after its end", false);
    assert!(departures(&cloud).iter().any(|departure| departure.id == "after its end"));
}

#[tokio::test(start_paused = true)]
async fn the_other_devices_of_an_account_see_what_one_of_them_sends() {
    let cloud = cloud();
    let (mut first, _) = Dialled::linked(&cloud, ANNA).await;
    let (mut second, _) = Dialled::linked(&cloud, ANNA).await;
    first.send(1, &Address::Number(number(BERT)), "A", false);
    let ToPage::Queued { item: Item::Message { message }, .. } = second.next().await else { panic!("no copy came") };
    assert_eq!((message.id.as_str(), message.chat, message.from_me), ("A", lid(BERT), true));
    assert!(matches!(first.next().await, ToPage::Reply { q: 1, .. }), "the sender got a copy of its own message");
}

#[tokio::test(start_paused = true)]
async fn what_is_typed_on_the_phone_reaches_its_pages_as_their_own() {
    let cloud = cloud();
    let (mut page, _) = Dialled::linked(&cloud, ANNA).await;
    let id = Phone::of(&cloud, number(ANNA)).send_text(BERT, "from my phone");
    let ToPage::Queued { item: Item::Message { message }, .. } = page.next().await else { panic!("no message came") };
    assert_eq!((message.id, message.chat, message.from_me), (id, lid(BERT), true));
    assert!(departures(&cloud).is_empty(), "it did not leave a page");
}

#[tokio::test(start_paused = true)]
async fn a_group_message_names_its_author_to_every_member() {
    let cloud = cloud();
    let (page, _) = Dialled::linked(&cloud, ANNA).await;
    let (mut bert, _) = Dialled::linked(&cloud, BERT).await;
    let (mut carla, _) = Dialled::linked(&cloud, CARLA).await;
    let group = Address::Group(Phone::of(&cloud, number(ANNA)).create_group("Gardeners", [BERT, CARLA]));
    page.send(1, &group, "A", false);
    for member in [&mut bert, &mut carla] {
        assert!(matches!(member.next().await, ToPage::Queued { item: Item::Group { .. }, .. }));
        let ToPage::Queued { item: Item::Message { message }, .. } = member.next().await else { panic!("no message") };
        assert_eq!((&message.chat, message.sender, message.number), (&group, number(ANNA).lid(), number(ANNA)));
    }
}

#[tokio::test(start_paused = true)]
async fn reading_a_message_tells_its_writer() {
    let cloud = cloud();
    let (page, _) = Dialled::linked(&cloud, ANNA).await;
    let (mut bert, _) = Dialled::linked(&cloud, BERT).await;
    cloud.change(|state, _| state.faults.acks.delivered = None);
    bert.send(1, &lid(ANNA), "A", false);
    page.say(json!({ "t": "seen", "chat": lid(BERT), "ids": ["A"] }));
    let read = Item::Receipt { chat: lid(ANNA), ids: vec!["A".to_owned()], ack: 3, participant: None };
    assert_eq!(bert.next().await, ToPage::Queued { n: 1, item: read.clone() });
    Phone::of(&cloud, number(ANNA)).read("A").expect("Anna was sent this");
    assert_eq!(bert.next().await, ToPage::Queued { n: 2, item: read });
    assert_eq!(Phone::of(&cloud, number(CARLA)).read("A"), Err(ControlError::NoSuchMessage));
}

#[tokio::test(start_paused = true)]
async fn the_newer_connection_of_a_device_replaces_the_older() {
    let cloud = cloud();
    let (mut first, secret) = Dialled::linked(&cloud, ANNA).await;
    let mut second = Dialled::logged_in(&cloud, &secret).await;
    assert_eq!(first.next().await, ToPage::StreamError { code: 440 });
    first.hang_up();
    Phone::of(&cloud, number(ANNA)).receive_text(BERT, "Bert", "hello");
    assert!(matches!(second.next().await, ToPage::Queued { .. }), "the newer connection is no longer served");
}

#[tokio::test(start_paused = true)]
async fn an_unlinked_device_is_thrown_out_and_does_not_get_in_again() {
    let cloud = cloud();
    let (mut page, secret) = Dialled::linked(&cloud, ANNA).await;
    let phone = Phone::of(&cloud, number(ANNA));
    phone.unlink();
    assert_eq!(page.next().await, ToPage::StreamError { code: 401 });
    assert_eq!(Dialled::hello(&cloud, Some(&secret)).next().await, ToPage::Failure { code: 401, ban: None });
    assert!(phone.devices().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_banned_account_is_told_how_long_to_wait() {
    let cloud = cloud();
    let (page, secret) = Dialled::linked(&cloud, ANNA).await;
    Phone::of(&cloud, number(ANNA)).ban(101, 3600);
    assert_eq!(page.mode(), Mode::Cut);
    let ToPage::Failure { code: 402, ban: Some(ban) } = Dialled::hello(&cloud, Some(&secret)).next().await else {
        panic!("a banned account was let in")
    };
    assert!(ban.reason == 101 && (3590..=3600).contains(&ban.seconds), "{ban:?}");
}

#[tokio::test(start_paused = true)]
async fn a_number_nobody_has_is_not_found_and_never_gets_a_message() {
    let cloud = cloud();
    let (mut page, _) = Dialled::linked(&cloud, ANNA).await;
    cloud.change(|state, _| state.remove_number(&number(CARLA)));
    for (wid, exists) in [(format!("{BERT}@c.us"), true), (format!("{CARLA}@c.us"), false)] {
        page.say(json!({ "t": "exists", "q": 1, "wid": wid }));
        let ToPage::Reply { ok: Some(answer), .. } = page.next().await else { panic!("no answer") };
        assert_eq!(answer["exists"], exists, "{wid}");
    }
    page.send(2, &Address::Number(number(CARLA)), "A", false);
    assert!(matches!(page.next().await, ToPage::Reply { q: 2, ok: Some(_), .. }));
    advance(Duration::from_secs(60)).await;
    settle().await;
    assert!(page.says_nothing(), "a message to nobody was delivered");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_reads_nothing_any_more_is_cut_off_and_loses_nothing() {
    let cloud = cloud();
    let (page, secret) = Dialled::linked(&cloud, ANNA).await;
    let phone = Phone::of(&cloud, number(ANNA));
    phone.set_silent(true).expect("the page is connected");
    assert_eq!(page.mode(), Mode::Silent);
    for count in 0..10_050 {
        phone.receive_text(BERT, "Bert", &count.to_string());
    }
    assert_eq!(page.mode(), Mode::Cut);
    page.hang_up();
    let mut page = Dialled::hello(&cloud, Some(&secret));
    assert!(matches!(page.next().await, ToPage::Success { queued: 10_050, .. }));
}
