use proptest::prelude::*;
use wafleet_protocol::timestamp::Timestamp;

use super::*;

fn page(mode: &str, registered: bool) -> PageStatus {
    let online = mode == "MAIN";
    PageStatus {
        stream_mode: Some(mode.to_owned()),
        stream_info: Some("NORMAL".to_owned()),
        socket_state: Some(if registered { "CONNECTED" } else { "UNPAIRED" }.to_owned()),
        registered,
        logged_in: online,
        me: online.then(|| Me { id: "4915112345678@c.us".to_owned(), lid: None, name: None, platform: None }),
        restricted: None,
        version: None,
    }
}

fn away() -> PageStatus {
    PageStatus { socket_state: Some("OPENING".to_owned()), ..page("MAIN", true) }
}

fn code(text: &str, first: bool) -> Input {
    Input::Qr { code: text.to_owned(), first }
}

fn passkey() -> Box<SessionPasskey> {
    let request = serde_json::from_value(serde_json::json!({ "challenge": "AAAA" })).expect("a request");
    let expires_at = Timestamp::from_unix_secs(1_795_000_600);
    Box::new(SessionPasskey { request_id: "1".to_owned(), request, origin: "https://x".to_owned(), expires_at })
}

/// Feeds inputs one second apart and returns all effects of the last one.
fn run(state: &mut State, start: Instant, inputs: impl IntoIterator<Item = Input>) -> Vec<Effect> {
    let mut effects = Vec::new();
    for (second, input) in inputs.into_iter().enumerate() {
        effects = state.step(input, start + Duration::from_secs(second as u64));
    }
    effects
}

fn started(linked: bool, now: Instant) -> State {
    let mut state = State::new(linked);
    assert_eq!(state.start(now), vec![Effect::Publish, Effect::Open]);
    assert_eq!(state.step(Input::Opened, now), vec![]);
    state
}

fn connected(now: Instant) -> State {
    let mut state = started(true, now);
    let effects = run(&mut state, now, [Input::Page(page("SYNCING", true)), Input::Page(page("MAIN", true))]);
    assert_eq!(effects, vec![Effect::Online, Effect::Publish]);
    assert_eq!(state.public().status, SessionStatus::Connected);
    state
}

#[test]
fn a_new_session_shows_codes_and_is_connected_only_after_the_tab_was_reopened() {
    let now = Instant::now();
    let mut state = started(false, now);
    assert_eq!(state.step(code("A", true), now), vec![Effect::AskQrPermit]);
    let shown = state.step(Input::QrPermit { granted: true, used: 1 }, now);
    let first = Effect::ShowQr { code: "A".to_owned(), generation: 1, attempt: 1, life: QR_FIRST_LIFE };
    assert_eq!(shown, vec![Effect::Publish, first]);
    assert_eq!(state.public().status, SessionStatus::QrRequired);
    let second = Effect::ShowQr { code: "B".to_owned(), generation: 1, attempt: 2, life: QR_NEXT_LIFE };
    assert_eq!(state.step(code("B", false), now), vec![second]);

    assert_eq!(state.step(Input::Page(page("SYNCING", true)), now), vec![Effect::Publish]);
    assert_eq!(state.public().status, SessionStatus::Authenticating);
    assert_eq!(state.step(Input::Page(page("MAIN", true)), now), vec![Effect::Reopen]);
    assert_eq!(state.step(Input::Page(page("MAIN", true)), now), vec![], "the old tab still talks");
    assert_eq!(state.public().status, SessionStatus::Authenticating);
    state.step(Input::Reopened, now);
    state.step(Input::Loading, now);
    assert_eq!(state.step(Input::Page(page("SYNCING", true)), now), vec![]);
    assert_eq!(state.step(Input::Page(page("MAIN", true)), now), vec![Effect::Online, Effect::Publish]);
    assert_eq!(state.public().status, SessionStatus::Connected);
}

#[test]
fn a_passkey_is_asked_for_and_the_session_is_linked_when_its_answer_is_taken() {
    let now = Instant::now();
    let mut state = started(false, now);
    run(&mut state, now, [code("A", true), Input::QrPermit { granted: true, used: 1 }]);
    let asked = state.step(Input::Passkey(passkey()), now);
    assert_eq!(asked, vec![Effect::Publish, Effect::ShowPasskey(passkey())]);
    assert_eq!((state.public().status, state.public().cause), (SessionStatus::PasskeyRequired, Cause::PasskeyRequired));
    assert_eq!(state.step(Input::PasskeyAnswered, now), vec![Effect::Publish]);
    assert_eq!(state.step(Input::PasskeyAnswered, now), vec![], "told once");
    assert_eq!(state.public().status, SessionStatus::Authenticating);
    state.step(Input::Page(page("SYNCING", true)), now);
    assert_eq!(state.step(Input::Page(page("MAIN", true)), now), vec![Effect::Reopen]);
}

#[test]
fn a_code_after_the_answer_says_that_the_passkey_was_refused_and_the_next_code_says_nothing_new() {
    let now = Instant::now();
    let mut state = started(false, now);
    let granted = || Input::QrPermit { granted: true, used: 1 };
    run(&mut state, now, [code("A", true), granted(), Input::Passkey(passkey()), Input::PasskeyAnswered]);
    let shown = state.step(code("B", false), now);
    assert!(matches!(shown[..], [Effect::Publish, Effect::ShowQr { .. }]), "{shown:?}");
    assert_eq!((state.public().status, state.public().cause), (SessionStatus::QrRequired, Cause::PasskeyRefused));
    assert!(matches!(state.step(code("C", false), now)[..], [Effect::ShowQr { .. }]));

    // Unanswered, and the page shows codes again: nothing was refused.
    state.step(Input::Passkey(passkey()), now);
    state.step(code("D", false), now);
    assert_eq!((state.public().status, state.public().cause), (SessionStatus::QrRequired, Cause::LinkRequired));
}

#[test]
fn a_person_has_time_to_answer_and_a_linked_session_is_not_disturbed() {
    let now = Instant::now();
    let mut state = started(false, now); // the page still loads
    state.step(Input::Passkey(passkey()), now);
    assert_eq!(state.deadline(), Some(now + PASSKEY_LIMIT));
    let mut state = connected(now);
    assert_eq!(state.step(Input::Passkey(passkey()), now), vec![]);
}

#[test]
fn codes_go_on_until_the_budget_is_used_up_and_then_the_end_is_clear() {
    let now = Instant::now();
    let mut state = started(false, now);
    state.step(code("A", true), now);
    state.step(Input::QrPermit { granted: true, used: 1 }, now);
    assert_eq!(state.step(Input::QrIdle, now), vec![Effect::AskQrPermit]);
    assert_eq!(state.step(Input::QrPermit { granted: true, used: 2 }, now), vec![Effect::RefreshQr]);
    let shown = Effect::ShowQr { code: "G".to_owned(), generation: 2, attempt: 1, life: QR_FIRST_LIFE };
    assert_eq!(state.step(code("G", true), now), vec![shown]);
    state.step(Input::QrIdle, now);
    let end = state.step(Input::QrPermit { granted: false, used: 2 }, now);
    assert_eq!(end, vec![Effect::Publish, Effect::StopWanting, Effect::Close { politely: true }]);
    assert_eq!((state.public().status, state.public().cause), (SessionStatus::Failed, Cause::LinkAttemptsExhausted));
}

#[test]
fn a_short_absence_of_the_socket_is_not_told_and_a_long_one_is_told_once() {
    let now = Instant::now();
    let mut state = connected(now);
    assert_eq!(state.step(Input::Page(away()), now), vec![Effect::Offline]);
    assert_eq!(state.step(Input::Page(page("MAIN", true)), now), vec![Effect::Online]);
    assert_eq!(state.public().status, SessionStatus::Connected, "nobody was told");

    state.step(Input::Page(away()), now);
    let due = state.deadline().expect("it waits before it tells");
    assert_eq!(due, now + DISCONNECTED_AFTER);
    assert_eq!(state.step(Input::Deadline, due), vec![Effect::Publish]);
    assert_eq!(state.step(Input::Page(away()), due), vec![], "told once");
    assert_eq!((state.public().status, state.public().cause), (SessionStatus::Disconnected, Cause::ConnectionLost));
    assert_eq!(state.step(Input::Page(page("MAIN", true)), due), vec![Effect::Online, Effect::Publish]);
}

/// Lets the socket stay away until the session has ended: the rungs climbed, and the state.
fn climb(may_leave: bool) -> (Vec<&'static str>, State) {
    let mut now = Instant::now();
    let mut state = connected(now);
    state.set_may_leave(may_leave);
    state.step(Input::Page(away()), now);
    let mut rungs = Vec::new();
    for _ in 0..50 {
        let Some(deadline) = state.deadline() else { break };
        now = deadline;
        for effect in state.step(Input::Deadline, now) {
            match effect {
                Effect::Reload => rungs.push("reload"),
                Effect::Restart { .. } => {
                    rungs.push("restart");
                    state.step(Input::Opened, now);
                }
                Effect::GoBack { doubtful: true } => {
                    rungs.push("older profile");
                    state.step(Input::Opened, now); // the site is away for everybody
                }
                Effect::StopWanting => rungs.push("no longer wanted"),
                Effect::Close { .. } => {
                    rungs.push("close");
                    state.step(Input::Closed, now);
                }
                _ => {}
            }
        }
    }
    (rungs, state)
}

#[test]
fn a_socket_that_stays_away_is_reloaded_and_then_restarted_and_then_given_up() {
    let (rungs, state) = climb(false);
    assert_eq!(rungs, ["reload", "restart", "older profile", "no longer wanted", "close"]);
    assert_eq!((state.ended(), state.public().status), (Some(End::Failed), SessionStatus::Failed));
}

#[test]
fn another_worker_tries_before_a_session_is_given_up_for_what_may_be_this_machines_fault() {
    let (rungs, state) = climb(true);
    assert_eq!(rungs, ["reload", "restart", "older profile", "close"], "it stays wanted");
    assert_eq!((state.ended(), state.public().status), (Some(End::Elsewhere), SessionStatus::Disconnected));

    let now = Instant::now();
    let mut state = started(true, now);
    state.set_may_leave(true);
    state.step(Input::Page(page("TOS_BLOCK", true)), now);
    assert_eq!(state.public().status, SessionStatus::Failed, "a ban is the same everywhere");
}

#[test]
fn a_gone_browser_is_restarted_without_a_reload() {
    let now = Instant::now();
    let mut state = connected(now);
    let effects = state.step(Input::Broken { cause: Cause::BrowserExited }, now);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Restart { .. })), "{effects:?}");
    assert!(!effects.contains(&Effect::Reload));
}

#[test]
fn an_unlinked_device_is_believed_after_a_moment_and_at_once_when_it_shows_a_code() {
    let now = Instant::now();
    let mut state = connected(now);
    state.step(Input::Page(page("SYNCING", false)), now);
    let due = state.deadline().expect("it waits before it believes");
    assert!(due <= now + UNLINKED_AFTER);
    state.step(Input::Deadline, now + UNLINKED_AFTER);
    assert_eq!((state.public().status, state.public().cause), (SessionStatus::LoggedOut, Cause::Unlinked));

    let mut state = started(true, now);
    state.step(Input::Page(page("SYNCING", true)), now);
    state.step(Input::Page(page("MAIN", true)), now);
    state.step(Input::Page(page("SYNCING", false)), now);
    state.step(Input::Loading, now);
    let effects = state.step(code("A", true), now);
    assert_eq!(effects, vec![Effect::Publish, Effect::StopWanting, Effect::Close { politely: true }]);
    assert_eq!(state.public().status, SessionStatus::LoggedOut);
}

#[test]
fn a_code_from_a_profile_that_should_be_linked_is_believed_when_no_saved_profile_knows_better() {
    let now = Instant::now();
    let mut state = started(true, now);
    for _ in 0..GOING_BACK {
        assert_eq!(state.step(code("A", true), now), vec![Effect::GoBack { doubtful: false }]);
        state.step(Input::OpenedOlder, now);
        assert_eq!((state.public().status, state.public().cause), (SessionStatus::Disconnected, Cause::ProfileDamaged));
    }
    state.step(code("A", true), now);
    assert_eq!((state.public().status, state.public().cause), (SessionStatus::LoggedOut, Cause::Unlinked));

    let mut nothing_saved = started(true, now);
    nothing_saved.step(code("A", true), now);
    nothing_saved.step(Input::NothingSaved, now);
    assert_eq!(nothing_saved.public().status, SessionStatus::LoggedOut);

    let mut saved = started(true, now);
    let inputs = [code("A", true), Input::OpenedOlder, Input::Page(page("MAIN", true))];
    assert_eq!(run(&mut saved, now, inputs), vec![Effect::Online, Effect::Publish]);
    assert_eq!(saved.public().status, SessionStatus::Connected);
}

#[test]
fn only_what_a_profile_can_be_to_blame_for_leads_back_to_an_older_one() {
    let now = Instant::now();
    for (cause, back) in [
        (Cause::StartFailed, true),
        (Cause::PageTimeout, true),
        (Cause::BrowserExited, true),
        (Cause::PageHung, false),
        (Cause::ConnectionLost, false),
    ] {
        let mut state = connected(now);
        let mut last = Vec::new();
        for _ in 0..RECOVERIES {
            last = state.step(Input::Broken { cause }, now);
            state.step(Input::Opened, now);
        }
        assert_eq!(last.contains(&Effect::GoBack { doubtful: true }), back, "{cause:?}: {last:?}");
    }
}

#[test]
fn a_logout_by_command_is_not_taken_for_one_on_the_phone() {
    let now = Instant::now();
    let later = now + UNLINKED_AFTER + DISCONNECTED_AFTER;
    let signs = || [Input::Page(page("SYNCING", false)), Input::Deadline, Input::Loading, code("A", true)];
    let mut state = connected(now);
    state.step(Input::Unlinking, now);
    for input in signs() {
        let effects = state.step(input.clone(), later);
        assert!(!effects.contains(&Effect::Publish), "{input:?}: {effects:?}");
    }
    state.step(Input::LoggedOut, later);
    assert_eq!((state.public().status, state.public().cause), (SessionStatus::LoggedOut, Cause::Command));

    let mut state = connected(now);
    for input in [Input::Unlinking, Input::StillLinked, code("A", true)] {
        state.step(input, now);
    }
    assert_eq!((state.public().status, state.public().cause), (SessionStatus::LoggedOut, Cause::Unlinked));
}

#[test]
fn a_lost_lease_tells_nothing_and_kills_the_browser() {
    let now = Instant::now();
    for mut state in [started(false, now), connected(now)] {
        let effects = state.step(Input::LeaseLost, now);
        assert!(!effects.contains(&Effect::Publish), "{effects:?}");
        assert!(effects.contains(&Effect::Close { politely: false }));
        assert_eq!(state.step(Input::Closed, now), vec![]);
        assert_eq!(state.ended(), Some(End::Fenced));
    }
}

#[test]
fn a_refused_page_version_ends_the_session_with_its_reason() {
    let now = Instant::now();
    for (word, cause) in [("DEPRECATED_VERSION", Cause::Outdated), ("TOS_BLOCK", Cause::Banned)] {
        let mut state = started(true, now);
        state.step(Input::Page(page(word, true)), now);
        assert_eq!((state.public().status, state.public().cause), (SessionStatus::Failed, cause));
    }
}

#[test]
fn a_pause_for_a_safety_copy_is_not_told_and_its_failure_climbs_the_ladder() {
    let now = Instant::now();
    let mut state = connected(now);
    assert_eq!(state.step(Input::CopyDue, now), vec![Effect::Offline, Effect::Copy]);
    for last_word in
        [Input::Page(away()), Input::Loading, Input::Broken { cause: Cause::BrowserExited }, Input::CopyDue]
    {
        assert_eq!(state.step(last_word, now), vec![]);
    }
    assert!(state.deadline().is_some_and(|at| at == now + PAUSE_TOLD_AFTER), "a long pause is told");
    let later = now + Duration::from_secs(30);
    let back = [Input::Reopened, Input::Page(page("SYNCING", true)), Input::Page(page("MAIN", true))];
    assert_eq!(run(&mut state, later, back), vec![Effect::Online]);
    assert_eq!(state.public().status, SessionStatus::Connected);
    // The next absence is told as early as any other.
    state.step(Input::Page(away()), later);
    assert_eq!(state.deadline(), Some(later + DISCONNECTED_AFTER));

    let mut state = connected(now);
    state.step(Input::CopyDue, now);
    let effects = state.step(Input::OpenFailed { cause: Cause::StartFailed }, now);
    assert_eq!(effects, vec![Effect::Restart { after: restart_pause(1) }]);
    state.step(Input::Deadline, now + PAUSE_TOLD_AFTER);
    assert_eq!(state.public().status, SessionStatus::Disconnected);
}

#[test]
fn a_session_that_is_not_well_is_not_paused_for_a_copy() {
    let now = Instant::now();
    let mut offline = connected(now);
    offline.step(Input::Page(away()), now);
    let mut unlinking = connected(now);
    unlinking.step(Input::Unlinking, now);
    for mut state in [started(true, now), offline, unlinking] {
        assert_eq!(state.step(Input::CopyDue, now), vec![]);
        assert!(!state.is_pausing());
    }
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        4 => any::<(bool, u8)>().prop_map(|(registered, mode)| {
            Input::Page(page(["QR", "SYNCING", "MAIN", "CONFLICT"][usize::from(mode) % 4], registered))
        }),
        2 => Just(Input::Page(away())),
        3 => any::<bool>().prop_map(|first| code("X", first)),
        2 => (any::<bool>(), 1..6u32).prop_map(|(granted, used)| Input::QrPermit { granted, used }),
        2 => Just(Input::Opened),
        1 => Just(Input::OpenFailed { cause: Cause::StartFailed }),
        1 => Just(Input::Broken { cause: Cause::PageCrashed }),
        1 => Just(Input::Loading),
        1 => Just(Input::QrIdle),
        1 => Just(Input::Passkey(passkey())),
        1 => Just(Input::PasskeyAnswered),
        2 => Just(Input::Reopened),
        2 => Just(Input::CopyDue),
        2 => Just(Input::OpenedOlder),
        1 => Just(Input::NothingSaved),
        3 => Just(Input::Deadline),
        1 => Just(Input::Stop),
        1 => Just(Input::Drain),
        1 => Just(Input::Unlinking),
        1 => Just(Input::StillLinked),
        1 => Just(Input::LoggedOut),
        1 => Just(Input::LeaseLost),
        2 => Just(Input::Closed),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_world_is_told_each_change_once_and_an_end_is_final(
        linked: bool,
        inputs in prop::collection::vec((any_input(), 0..30u64), 0..80),
    ) {
        let mut now = Instant::now();
        let mut state = State::new(linked);
        state.start(now);
        let (mut online, mut closing) = (false, false);
        for (input, pause) in inputs {
            now += Duration::from_secs(pause);
            let before = state.public().clone();
            let was_ended = state.ended();
            let input = if input == Input::Deadline { now = state.deadline().unwrap_or(now).max(now); input } else { input };
            let effects = state.step(input, now);

            let published = effects.iter().filter(|effect| **effect == Effect::Publish).count();
            prop_assert!(published <= 1, "one event per change: {effects:?}");
            if published == 0 {
                prop_assert_eq!(before.status, state.public().status, "a change is told");
            } else {
                prop_assert_ne!(&before, state.public(), "what is told is a change");
                prop_assert_eq!(state.public().previous, Some(before.status));
            }
            for effect in &effects {
                match effect {
                    Effect::Online => { prop_assert!(!online && !closing); online = true; }
                    Effect::Offline => { prop_assert!(online); online = false; }
                    Effect::Close { .. } => { prop_assert!(!closing, "closed once"); closing = true; }
                    Effect::Open | Effect::Restart { .. } | Effect::GoBack { .. } | Effect::Reload | Effect::Reopen | Effect::Copy | Effect::ShowQr { .. } => {
                        prop_assert!(!closing, "nothing is begun on the way out: {effects:?}");
                    }
                    _ => {}
                }
            }
            prop_assert_eq!(online, state.is_online());
            prop_assert!(state.public().attempt <= RECOVERIES + 1);
            if let Some(end) = was_ended {
                prop_assert_eq!(state.ended(), Some(end));
                prop_assert!(effects.is_empty());
            }
        }
    }

    #[test]
    fn connected_is_never_told_of_a_fresh_pairing_before_the_tab_was_reopened(
        inputs in prop::collection::vec(any_input(), 0..60),
    ) {
        let now = Instant::now();
        let mut state = started(false, now);
        state.step(code("A", true), now);
        let mut reopened = false;
        for input in inputs {
            // A new browser or document reads its credentials from the disk, which proves as much.
            reopened |= matches!(input, Input::Reopened | Input::Opened | Input::OpenedOlder | Input::Loading);
            state.step(input, now);
            prop_assert!(reopened || state.public().status != SessionStatus::Connected);
        }
    }
}
