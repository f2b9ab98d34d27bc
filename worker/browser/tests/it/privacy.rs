//! Nothing of a session goes anywhere but to its site.

use serde_json::json;
use wafleet_browser::CdpEventsEnd;

use crate::session::{BERT, Session, quick, text};
use crate::support::{PATIENCE, attach};

#[tokio::test]
async fn nobody_but_the_site_is_asked_for_anything() {
    let mut session = Session::open(quick()).await;
    let code = session.qr().await;
    let cdp = session.chromium.cdp().clone();
    let tab = attach(&session.chromium).await;
    let mut requests = cdp.subscribe(Some(&tab), &["Network.requestWillBeSent", "Network.webSocketCreated"]);
    cdp.call_raw(Some(&tab), "Network.enable", json!({}), PATIENCE).await.expect("enabled");
    session.anna.scan(&code).await.expect("scanned");
    session.online().await;
    session.ready().await;
    // wa-js would ask a preview server about the link, and tell an analytics service about the call.
    session.page.send(&text(BERT, 30, "see https://example.com/ and reply")).await.expect("sent");
    session.page.messages_since(0, None, 10).await.expect("read");
    session.page.reload().await.expect("reloading");
    session.online().await;
    session.ready().await;
    let site = session.site.url();
    session.close().await;
    let mut asked = 0;
    let end = loop {
        match requests.next().await {
            Ok(event) => {
                let url = event.params.pointer("/request/url").unwrap_or(&event.params["url"]).as_str();
                let url = url.expect("a URL").replacen("ws://", "http://", 1);
                assert!(url.starts_with(&site) || url.starts_with("data:") || url.starts_with("blob:"), "{url}");
                asked += 1;
            }
            Err(end) => break end,
        }
    };
    assert_eq!(end, CdpEventsEnd::Gone);
    assert!(asked > 5, "the page itself asks its site: {asked}");
}

#[tokio::test]
async fn a_page_that_forbids_eval_and_foreign_scripts_gets_the_adapter_all_the_same() {
    // The policy is put on the site's document on its way into the tab.
    let mut session = Session::open(quick()).await;
    let cdp = session.chromium.cdp().clone();
    let tab = attach(&session.chromium).await;
    let mut paused = cdp.subscribe(Some(&tab), &["Fetch.requestPaused"]);
    let documents = json!({ "patterns": [{ "resourceType": "Document", "requestStage": "Response" }] });
    cdp.call_raw(Some(&tab), "Fetch.enable", documents, PATIENCE).await.expect("enabled");
    let policy = tokio::spawn({
        let (cdp, tab) = (cdp.clone(), tab.clone());
        async move {
            while let Ok(event) = paused.next().await {
                let mut headers = event.params["responseHeaders"].clone();
                headers.as_array_mut().expect("headers").push(json!({
                    "name": "Content-Security-Policy", "value": "default-src 'self'; script-src 'self'; connect-src *"
                }));
                let go_on =
                    json!({ "requestId": event.params["requestId"], "responseCode": 200, "responseHeaders": headers });
                let _ = cdp.call_raw(Some(&tab), "Fetch.continueResponse", go_on, PATIENCE).await;
            }
        }
    });
    session.page.reload().await.expect("reloading");
    session.wait("the load", |event| matches!(event, wafleet_browser::PageEvent::Loading).then_some(())).await;
    session.seen.clear();
    let code = session.qr().await;
    let eval = json!({ "expression": "(() => { try { return new Function('return 1')() } catch (e) { return e.name } })()", "allowUnsafeEvalBlockedByCSP": false });
    let denied = cdp.call_raw(Some(&tab), "Runtime.evaluate", eval, PATIENCE).await.expect("an answer");
    assert_eq!(denied["result"]["value"], "EvalError");
    session.anna.scan(&code).await.expect("scanned");
    session.online().await;
    assert!(session.ready().await.missing.is_empty());
    session.page.send(&text(BERT, 31, "under a strict policy")).await.expect("sent");
    policy.abort();
    session.close().await;
}
