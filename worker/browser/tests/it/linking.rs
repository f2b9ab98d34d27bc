//! From an empty profile to a linked session, and out again.

use std::time::Duration;

use serde_json::json;
use wafleet_browser::{CallError, PageEvent};
use wafleet_imitation::Options;

use crate::session::{ANNA, BERT, Session, quick};
use crate::support::{PATIENCE, attach};

#[tokio::test]
async fn the_code_is_shown_without_wa_js_and_is_the_one_that_the_page_shows() {
    let mut session = Session::open(quick()).await;
    let code = session.qr().await;
    assert_eq!(session.site.current_qr(), Some(code.clone()));
    assert_eq!(code.split(',').count(), 4);
    assert!(session.seen.contains(&PageEvent::Qr { code, first: true }));
    session.quiet(Duration::from_millis(500)).await;
    assert!(!session.seen.iter().any(|event| matches!(event, PageEvent::Ready(_))), "wa-js was not needed");
    let status = session.page.status().await.expect("a status");
    assert_eq!(status.stream_mode.as_deref(), Some("QR"));
    assert!(!status.registered && status.me.is_none());
    session.close().await;
}

#[tokio::test]
async fn a_scan_leads_to_ready_and_to_the_own_number() {
    let mut session = Session::open(quick()).await;
    let code = session.qr().await;
    session.anna.scan(&code).await.expect("scanned");
    let status = session.online().await;
    let me = status.me.expect("known");
    assert_eq!(me.id, format!("{ANNA}@c.us"));
    assert!(me.lid.is_some_and(|lid| lid.ends_with("@lid")));
    assert_eq!(me.name.as_deref(), Some("Anna"));
    assert_eq!(status.version.as_deref(), Some("2.3000.1044822804"));
    let capabilities = session.ready().await;
    assert_eq!(capabilities.missing, Vec::<String>::new());
    assert_eq!(capabilities.library.as_deref(), Some("4.6.0"));
    assert!(session.page.status().await.expect("a status").is_online());
    session.close().await;
}

#[tokio::test]
async fn codes_rotate_run_out_and_begin_anew() {
    let mut options = quick();
    options.qr.first = Duration::from_millis(400);
    options.qr.next = Duration::from_millis(200);
    options.qr.count = 3;
    let mut session = Session::open(options).await;
    session.wait("idle", |event| matches!(event, PageEvent::QrIdle).then_some(())).await;
    let firsts = |events: &[PageEvent]| -> Vec<bool> {
        events
            .iter()
            .filter_map(|event| match event {
                PageEvent::Qr { first, .. } => Some(*first),
                _ => None,
            })
            .collect()
    };
    assert_eq!(firsts(&session.seen), [true, false, false]);
    session.seen.clear();
    session.page.refresh_qr().await.expect("asked");
    session.qr().await;
    assert_eq!(firsts(&session.seen), [true]);
    session.close().await;
}

#[tokio::test]
async fn a_pairing_code_links_too() {
    let mut session = Session::open(quick()).await;
    session.qr().await;
    let code = session.page.link_code(ANNA).await.expect("a code");
    assert_eq!(code.len(), 8, "{code}");
    let told = session
        .wait("the code", |event| match event {
            PageEvent::LinkCode { code, expires_at } => Some((code.clone(), *expires_at)),
            _ => None,
        })
        .await;
    assert_eq!(told.0, code);
    assert!(told.1.is_some());
    session.anna.enter_code(&code).await.expect("entered");
    session.online().await;
    let again = session.page.link_code(ANNA).await.expect_err("linked already");
    assert!(
        matches!(&again, CallError::Page { code: Some(code), .. } if code == "cannot_get_code_for_already_authenticated"),
        "{again:?}"
    );
    session.close().await;
}

#[tokio::test]
async fn a_page_that_registers_its_modules_in_two_bursts_gets_ready() {
    let mut options = quick();
    // Document-start injection of wa-js never gets ready on such a page.
    options.page.bundle_pause_ms = 2500;
    options.page.filler_modules = 2000;
    let session = Session::linked(options).await;
    session.close().await;
}

#[tokio::test]
async fn a_reopened_tab_saves_the_session_from_a_kill() {
    let mut session = Session::linked(quick()).await;
    session.seen.clear();
    // Killed as soon as it has returned: the credentials are on disk by then.
    session.page.reopen().await.expect("reopened");
    let mut session = session.kill_and_reopen().await;
    let status = session.online().await;
    assert_eq!(status.me.expect("known").id, format!("{ANNA}@c.us"));
    assert!(!session.seen.iter().any(|event| matches!(event, PageEvent::Qr { .. })), "no new scan");
    session.close().await;
}

#[tokio::test]
async fn a_logout_from_the_phone_leads_back_to_a_code() {
    let mut session = Session::linked(quick()).await;
    session.anna.unlink();
    session.state("unlinked", |status| !status.registered).await;
    session.qr().await;
    session.close().await;
}

#[tokio::test]
async fn an_own_logout_unlinks_the_device_and_leads_back_to_a_code() {
    let mut session = Session::linked(Options::default()).await;
    session.page.logout().await.expect("logged out");
    assert!(session.anna.devices().is_empty());
    session.qr().await;
    session.page.logout().await.expect("nothing to do");
    session.close().await;
}

#[tokio::test]
async fn what_a_version_of_the_page_lacks_is_named_and_the_session_goes_on() {
    let mut session = Session::open(quick()).await;
    let code = session.qr().await;
    let tab = attach(&session.chromium).await;
    let remove = "for (const id of ['WAWebAltDeviceLinkingApi', 'WAWebChatMessageSearch'])
        delete require('__debug').modulesMap[id];";
    let remove = json!({ "expression": remove });
    session.chromium.cdp().call_raw(Some(&tab), "Runtime.evaluate", remove, PATIENCE).await.expect("removed");
    session.anna.scan(&code).await.expect("scanned");
    session.online().await;
    let mut missing = session.ready().await.missing;
    missing.sort();
    assert_eq!(missing, ["getSearchContext", "initializeAltDeviceLinking"]);
    session.anna.receive_text(BERT, "Bert", "still there");
    session.message("still there").await;
    session.close().await;
}
