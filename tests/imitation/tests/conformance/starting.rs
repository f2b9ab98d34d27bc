//! How the page starts when it is slow or heavy: what wa-js then suffers from on the real page, it suffers from here.

use std::time::Duration;

use wafleet_imitation::{Imitation, Options, PageOptions};

use crate::library;
use crate::subject::{launch, scratch_directory};
use crate::tab::Tab;

/// A tab in a browser of its own does something with a page that starts like this.
async fn with_page<T>(purpose: &str, page: PageOptions, deed: impl AsyncFnOnce(&Tab, &str) -> T) -> T {
    let site = Imitation::start(Options { page, ..Options::default() }).await.expect("a loopback port is free");
    let directory = scratch_directory(purpose);
    let browser = launch(directory.clone()).await;
    let tab = Tab::open(browser.cdp(), false).await;
    let result = deed(&tab, &site.url()).await;
    browser.close().await;
    // Left behind in a temporary directory at worst.
    let _ = std::fs::remove_dir_all(directory);
    result
}

fn slow() -> PageOptions {
    PageOptions { bundle_pause_ms: 2_500, ..PageOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn wa_js_injected_before_the_last_bundle_never_becomes_ready() {
    with_page("early", slow(), async |tab, url| {
        tab.run_in_every_document(&library::wa_js()).await;
        tab.load(url).await;
        // It has settled on the modules of the first bundle by now, and given up on the others for good.
        tab.wait_for("WPP.isInjected === true", "the premature start of wa-js").await;
        tokio::time::sleep(Duration::from_secs(5)).await; // "never" cannot be awaited; on time it takes one second
        assert_eq!(tab.evaluate("WPP.isReady").await, Ok(false));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wa_js_injected_after_the_last_bundle_becomes_ready() {
    with_page("late", slow(), async |tab, url| {
        tab.load(url).await;
        tab.run(&library::wa_js()).await;
        tab.wait_for("WPP.isFullReady", "readiness").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heavy_page_makes_wa_js_execute_thousands_of_modules() {
    let page = PageOptions { filler_modules: PageOptions::REAL_MODULE_COUNT, ..PageOptions::default() };
    with_page("heavy", page, async |tab, url| {
        tab.load(url).await;
        tab.run(&library::wa_js()).await;
        tab.wait_for("WPP.isFullReady", "readiness").await;
        let executed = "Object.values(require('__debug').modulesMap).filter(({ module }) => module).length";
        let executed: u32 = tab.evaluate(executed).await.expect("a count");
        assert!(executed > 11_000, "wa-js executed {executed} modules");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_never_finishes_loading_has_a_runtime_and_no_application() {
    let page = PageOptions { never_ready: true, ..PageOptions::default() };
    with_page("never", page, async |tab, url| {
        tab.begin(url).await;
        tab.wait_for("'WAWebMsgKey' in require('__debug').modulesMap", "the first bundle").await;
        assert_eq!(tab.evaluate(library::PROBE).await, Ok(false));
    })
    .await;
}
