//! One tab of Chromium: navigate, evaluate, and answer the page when it asks for the far end.

use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wafleet_browser::{Cdp, CdpEvents};

use crate::library;

const SOON: Duration = Duration::from_secs(30);

/// A tab we are attached to.
#[derive(Clone, Debug)]
pub(crate) struct Tab {
    cdp: Cdp,
    session: String,
}

impl Tab {
    /// A new tab; in a context of its own it shares nothing with the others.
    pub(crate) async fn open(cdp: &Cdp, own_context: bool) -> Self {
        let call = |method, params| cdp.call_raw(None, method, params, SOON);
        let mut target = json!({ "url": "about:blank" });
        if own_context {
            let context = call("Target.createBrowserContext", json!({})).await.expect("contexts can be made");
            target["browserContextId"] = context["browserContextId"].clone();
        }
        let target = call("Target.createTarget", target).await.expect("tabs can be made");
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = call("Target.attachToTarget", attach).await.expect("we can attach to our tab");
        let session = session["sessionId"].as_str().expect("a session has an id").to_owned();
        let tab = Self { cdp: cdp.clone(), session };
        tab.call("Page.enable", json!({})).await;
        tab.call("Runtime.enable", json!({})).await;
        tab.call("Runtime.addBinding", json!({ "name": "conformanceFarEnd" })).await;
        let version = call("Browser.getVersion", json!({})).await.expect("the browser knows its version");
        let agent = version["userAgent"].as_str().unwrap_or_default().replace("Headless", "");
        tab.call("Emulation.setUserAgentOverride", json!({ "userAgent": agent })).await;
        tab
    }

    /// The calls of the page's binding.
    pub(crate) fn bindings(&self) -> CdpEvents {
        self.cdp.subscribe(Some(&self.session), &["Runtime.bindingCalled"])
    }

    /// Begins to load a page.
    pub(crate) async fn begin(&self, url: &str) {
        self.call("Page.navigate", json!({ "url": url })).await;
    }

    /// Loads a page and waits until its core modules are there.
    pub(crate) async fn load(&self, url: &str) {
        self.begin(url).await;
        self.wait_for(library::PROBE, "the core modules").await;
    }

    /// Has a script run in every document before any script of the document.
    pub(crate) async fn run_in_every_document(&self, script: &str) {
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await;
    }

    /// Leaves the page.
    pub(crate) async fn leave(&self) {
        self.call("Page.navigate", json!({ "url": "about:blank" })).await;
        self.wait_for("location.href === 'about:blank'", "the empty page").await;
    }

    /// Waits until an expression is true.
    pub(crate) async fn wait_for(&self, expression: &str, what: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        // While a page is being replaced there is nobody to ask; that is not an answer.
        while self.evaluate::<bool>(expression).await != Ok(true) {
            assert!(Instant::now() < end, "{what} did not come within a minute");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Evaluates an expression that gives plain data, or a promise of it.
    pub(crate) async fn evaluate<T: DeserializeOwned>(&self, expression: &str) -> Result<T, String> {
        self.evaluate_within(expression, SOON).await
    }

    pub(crate) async fn evaluate_within<T: DeserializeOwned>(
        &self,
        expression: &str,
        within: Duration,
    ) -> Result<T, String> {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.cdp.call_raw(Some(&self.session), "Runtime.evaluate", params, within).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if let Some(exception) = answer.get("exceptionDetails") {
            return Err(exception["exception"]["description"].as_str().unwrap_or("an exception").to_owned());
        }
        serde_json::from_value(answer["result"]["value"].clone()).map_err(|error| error.to_string())
    }

    /// Evaluates a script for its effect.
    pub(crate) async fn run(&self, script: &str) {
        let result: Result<Value, _> = self.evaluate(script).await;
        result.expect("the script runs");
    }

    async fn call(&self, method: &str, params: Value) {
        self.cdp.call_raw(Some(&self.session), method, params, SOON).await.expect("the tab answers");
    }
}
