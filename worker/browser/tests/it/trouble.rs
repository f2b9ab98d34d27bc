//! What goes wrong, and how soon it is known.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use wafleet_browser::{
    CRASH_NOTICED_WITHIN, CallError, CdpError, Chromium, DETACHED_NOTICED_WITHIN, HANG_NOTICED_WITHIN, Page, PageError,
    PageEvent, PageOptions,
};

use crate::session::{BERT, Session, quick, text};
use crate::support::{PATIENCE, SECOND, SessionDir, attach, group_of, site};

/// How much later than stated a busy machine may be.
const SLACK: Duration = Duration::from_secs(5);

fn detached(event: &PageEvent) -> Option<()> {
    matches!(event, PageEvent::Detached).then_some(())
}

#[tokio::test]
async fn a_crashed_tab_is_reported_fails_calls_and_comes_back() {
    let mut session = Session::linked(quick()).await;
    let tab = attach(&session.chromium).await;
    let cdp = session.chromium.cdp().clone();
    let begun = Instant::now();
    let crash = tokio::spawn(async move { cdp.call_raw(Some(&tab), "Page.crash", json!({}), 2 * SECOND).await });
    session.wait("a crash", |event| matches!(event, PageEvent::Crashed { .. }).then_some(())).await;
    assert!(begun.elapsed() < CRASH_NOTICED_WITHIN + SLACK, "{:?}", begun.elapsed());
    assert_eq!(session.page.status().await, Err(CallError::NotReady));
    crash.abort();
    session.page.reload().await.expect("reloading");
    session.online().await;
    session.ready().await;
    session.page.send(&text(BERT, 20, "after the crash")).await.expect("sent");
    session.close().await;
}

#[tokio::test]
async fn a_tab_that_was_closed_is_reported_and_a_new_one_replaces_it() {
    let mut session = Session::open(quick()).await;
    session.qr().await;
    let cdp = session.chromium.cdp().clone();
    let call = |method: &'static str, params| cdp.call_raw(None, method, params, PATIENCE);
    let targets = call("Target.getTargets", json!({})).await.expect("targets");
    let page = targets["targetInfos"][0]["targetId"].clone();
    // The browser would end with its last tab.
    call("Target.createTarget", json!({ "url": "about:blank" })).await.expect("another");
    call("Target.closeTarget", json!({ "targetId": page })).await.expect("closed");
    session.wait("a crash", |event| (*event == PageEvent::Crashed { reason: "closed".into() }).then_some(())).await;
    assert_eq!(session.page.status().await, Err(CallError::NotReady));
    session.page.reopen().await.expect("reopened");
    session.qr().await;
    session.close().await;
}

#[tokio::test]
async fn a_page_in_an_endless_loop_is_freed_and_works_on() {
    let mut session = Session::linked(quick()).await;
    let tab = attach(&session.chromium).await;
    let cdp = session.chromium.cdp().clone();
    let begun = Instant::now();
    let endless = json!({ "expression": "for (;;) {}" });
    let spinning = tokio::spawn(async move { cdp.call_raw(Some(&tab), "Runtime.evaluate", endless, PATIENCE).await });
    session
        .wait("a freed page", |event| match event {
            PageEvent::Fault { what } if what.contains("did not answer") => Some(()),
            _ => None,
        })
        .await;
    assert!(begun.elapsed() < HANG_NOTICED_WITHIN + SLACK, "{:?}", begun.elapsed());
    let ended = spinning.await.expect("no panic");
    assert!(matches!(&ended, Err(CdpError::Refused { message, .. }) if message.contains("terminated")), "{ended:?}");
    assert!(!session.seen.contains(&PageEvent::Hung));
    session.page.send(&text(BERT, 21, "after the loop")).await.expect("sent");
    session.close().await;
}

#[tokio::test]
async fn a_stopped_tab_is_reported_as_hung_and_a_new_one_replaces_it() {
    let mut session = Session::open(quick()).await;
    session.qr().await;
    let renderer = renderer_of(&session.chromium);
    let begun = Instant::now();
    kill_process(renderer, Signal::STOP).expect("stopped");
    session.wait("hung", |event| matches!(event, PageEvent::Hung).then_some(())).await;
    assert!(begun.elapsed() < HANG_NOTICED_WITHIN + SLACK, "{:?}", begun.elapsed());
    // Left stopped it would never end; the worker would kill the group or reopen.
    kill_process(renderer, Signal::KILL).expect("killed");
    session.wait("a crash", |event| matches!(event, PageEvent::Crashed { .. }).then_some(())).await;
    session.page.reopen().await.expect("reopened");
    session.qr().await;
    session.close().await;
}

#[tokio::test]
async fn a_stopped_browser_is_reported_as_hung() {
    let mut session = Session::open(quick()).await;
    session.qr().await;
    let browser = Pid::from_raw(i32::try_from(session.chromium.pid()).expect("a pid")).expect("not 0");
    let begun = Instant::now();
    kill_process(browser, Signal::STOP).expect("stopped");
    session.wait("hung", |event| matches!(event, PageEvent::Hung).then_some(())).await;
    assert!(begun.elapsed() < HANG_NOTICED_WITHIN + SLACK, "{:?}", begun.elapsed());
    session.chromium.kill();
    session.wait("detached", detached).await;
    session.close().await;
}

#[tokio::test]
async fn a_browser_that_dies_ends_calls_and_events_at_once() {
    let mut session = Session::linked(quick()).await;
    let begun = Instant::now();
    session.chromium.kill();
    session.wait("detached", detached).await;
    assert!(begun.elapsed() < DETACHED_NOTICED_WITHIN + SLACK, "{:?}", begun.elapsed());
    assert_eq!(session.page.status().await, Err(CallError::NotReady));
    assert_eq!(session.page.reload().await, Err(CallError::Gone));
    session.close().await;
}

#[tokio::test]
async fn a_dropped_connection_shows_and_heals() {
    let mut session = Session::linked(quick()).await;
    session.anna.drop_connection().expect("dropped");
    session.state("offline", |status| status.socket_state.as_deref() != Some("CONNECTED")).await;
    session.online().await;
    session.close().await;
}

#[tokio::test]
async fn a_conflict_with_another_window_shows() {
    let mut session = Session::linked(quick()).await;
    session.anna.conflict().expect("told");
    session.state("a conflict", |status| status.stream_mode.as_deref() == Some("CONFLICT")).await;
    session.close().await;
}

#[tokio::test]
async fn a_page_that_never_gets_ready_is_loaded_again() {
    let mut options = quick();
    options.page.never_ready = true;
    let mut session = Session::open(options).await;
    session.wait("a load", |event| matches!(event, PageEvent::Loading).then_some(())).await;
    session.site.page_options(|page| page.never_ready = false);
    session.quiet(SECOND).await;
    assert_eq!(session.seen.len(), 1, "{:?}", session.seen);
    // Nobody waits for a minute here: the clock of the driver is moved.
    tokio::time::pause();
    tokio::time::advance(61 * SECOND).await;
    tokio::time::resume();
    session
        .wait("the watchdog", |event| match event {
            PageEvent::Fault { what } if what.contains("not ready") => Some(()),
            _ => None,
        })
        .await;
    session.qr().await;
    session.close().await;
}

#[tokio::test]
async fn a_dialog_does_not_stop_the_page() {
    let dir = SessionDir::new();
    let address = site("<script>alert('hello'); document.title = 'went on'</script>").await;
    let chromium = Chromium::launch(&dir.options()).await.expect("launched");
    let options = PageOptions::new(format!("http://{address}/").parse().expect("a URL"));
    let (_page, mut events) = Page::open(&chromium, options).await.expect("opened");
    assert_eq!(events.recv().await, Some(PageEvent::Loading));
    let tab = attach(&chromium).await;
    let title = json!({ "expression": "document.title", "returnByValue": true });
    crate::support::until_async("the script went on", async || {
        let answer = chromium.cdp().call_raw(Some(&tab), "Runtime.evaluate", title.clone(), PATIENCE).await;
        answer.expect("an answer")["result"]["value"] == "went on"
    })
    .await;
    chromium.close().await;
}

#[tokio::test]
async fn an_address_that_cannot_be_loaded_is_an_error() {
    let dir = SessionDir::new();
    let chromium = Chromium::launch(&dir.options()).await.expect("launched");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let options = PageOptions::new(format!("http://{nobody}/").parse().expect("a URL"));
    let error = Page::open(&chromium, options).await.expect_err("nobody there");
    assert!(matches!(&error, PageError::Navigation(text) if text.contains("ERR_CONNECTION_REFUSED")), "{error}");
    chromium.close().await;
}

#[tokio::test]
async fn a_broken_bundle_is_a_fault_and_not_an_end() {
    let dir = SessionDir::new();
    let address = site("<title>page</title>").await;
    let chromium = Chromium::launch(&dir.options()).await.expect("launched");
    for (bundle, wanted) in [
        ("syntax error(", "failed to start"),
        ("var wafleetAdapter = { install() { throw new Error('broken') } };", "broken"),
        ("var wafleetAdapter = { install() { return 7 } };", "no object"),
    ] {
        let mut options = PageOptions::new(format!("http://{address}/").parse().expect("a URL"));
        options.bundle = bundle.into();
        let (page, mut events) = Page::open(&chromium, options).await.expect("opened");
        assert_eq!(events.recv().await, Some(PageEvent::Loading));
        let fault = events.recv().await;
        assert!(matches!(&fault, Some(PageEvent::Fault { what }) if what.contains(wanted)), "{fault:?}");
        assert_eq!(page.status().await, Err(CallError::NotReady));
    }
    chromium.close().await;
}

#[tokio::test]
async fn a_reader_that_is_too_slow_hears_of_the_loss_and_gets_a_new_load() {
    let dir = SessionDir::new();
    let address = site("<title>page</title>").await;
    let chromium = Chromium::launch(&dir.options()).await.expect("launched");
    let mut options = PageOptions::new(format!("http://{address}/").parse().expect("a URL"));
    // More events at once than all queues together hold.
    options.bundle = "var wafleetAdapter = { install({ binding }) {
        const send = globalThis[binding];
        for (let seq = 1; seq <= 20000; seq++) send(JSON.stringify({ v: 1, seq, events: [{ type: 'qr_idle' }] }));
        return { beat() {} };
    } };"
        .into();
    let (_page, mut events) = Page::open(&chromium, options).await.expect("opened");
    let mut seen = 0;
    loop {
        match events.recv().await.expect("events") {
            PageEvent::Fault { what } if what.contains("lost") => break,
            PageEvent::QrIdle => {
                // The reader takes its time over the first one.
                if seen == 0 {
                    tokio::time::sleep(SECOND).await;
                }
                seen += 1;
            }
            _ => {}
        }
    }
    assert!(seen < 20_000, "{seen}");
    while events.recv().await.expect("events") != PageEvent::Loading {}
    chromium.close().await;
}

#[tokio::test]
async fn the_page_sees_an_ordinary_chromium_and_nothing_of_the_adapter() {
    let mut session = Session::linked(quick()).await;
    session.quiet(Duration::from_millis(200)).await;
    let tab = attach(&session.chromium).await;
    let look = "(async () => {
        const high = await navigator.userAgentData.getHighEntropyValues(['fullVersionList', 'architecture', 'bitness']);
        const own = Object.getOwnPropertyNames(window).filter((name) => /^b[0-9a-f]{16}$|wafleet|^WPP$/i.test(name));
        return [navigator.userAgent, navigator.webdriver, high.fullVersionList.map((b) => b.brand),
                navigator.userAgentData.brands.map((b) => b.brand), high.architecture, high.bitness, own];
    })()";
    let look = json!({ "expression": look, "awaitPromise": true, "returnByValue": true });
    let seen =
        session.chromium.cdp().call_raw(Some(&tab), "Runtime.evaluate", look, PATIENCE).await.expect("an answer");
    let seen = &seen["result"]["value"];
    assert!(!seen[0].as_str().expect("a user agent").contains("Headless"), "{seen}");
    assert_eq!(seen[1], false);
    assert_eq!(seen[2], seen[3], "the same brands in both lists");
    assert_eq!((&seen[4], &seen[5]), (&json!("x86"), &json!("64")));
    assert_eq!(seen[6], json!([]));
    session.close().await;
}

/// The process that runs the page.
fn renderer_of(chromium: &Chromium) -> Pid {
    let is_renderer = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("--type=renderer")
    };
    let pid = group_of(chromium.pid()).into_iter().find(is_renderer).expect("a renderer");
    Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("not 0")
}
