//! A loaded document with the adapter in it, and calls to the adapter.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chromiumoxide_cdp::cdp::js_protocol::runtime::{
    CallArgument, CallFunctionOnParams, EvaluateParams, ExceptionDetails, RemoteObjectId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{CallError, wire};
use crate::{Cdp, CdpError};

/// Evaluating the bundle takes a few milliseconds, most of them for its half megabyte to be parsed.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(20);

/// A call's own time limit runs in the page; only when nothing comes back at all does this one count.
const ANSWER_SLACK: Duration = Duration::from_secs(2);

/// The adapter in one document: an object of the page that only the debugging session holds.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) cdp: Cdp,
    pub(super) session: Arc<str>,
    adapter: Arc<str>,
}

/// What a document is to be given.
#[derive(Debug, Clone)]
pub(super) struct Installation {
    pub(super) cdp: Cdp,
    pub(super) session: String,
    /// The execution context, unique over the life of the browser.
    pub(super) context: String,
    pub(super) bundle: Arc<str>,
    pub(super) binding: String,
    pub(super) quiet: Duration,
    pub(super) stalled: Duration,
    pub(super) owned_until: SystemTime,
}

impl Installation {
    /// Evaluates the bundle and keeps what its `install` returns.
    pub(super) async fn run(self) -> Result<Document, String> {
        let quiet_ms = u64::try_from(self.quiet.as_millis()).unwrap_or(u64::MAX);
        let stalled_ms = u64::try_from(self.stalled.as_millis()).unwrap_or(u64::MAX);
        let options = json!({
            "binding": self.binding,
            "quiet_ms": quiet_ms,
            "stalled_ms": stalled_ms,
            "owned_until": unix_millis(self.owned_until),
        });
        let expression = format!("(function () {{ {}\nreturn wafleetAdapter.install({options}); }})()", self.bundle);
        let mut evaluate = EvaluateParams::new(expression);
        evaluate.unique_context_id = Some(self.context);
        // The page's policy may forbid `eval`, later if not now; the adapter does without.
        evaluate.allow_unsafe_eval_blocked_by_csp = Some(false);
        let answer = self
            .cdp
            .call(Some(&self.session), evaluate, INSTALL_TIMEOUT)
            .await
            .map_err(|error| format!("the adapter could not be evaluated: {error}"))?;
        if let Some(exception) = answer.exception_details {
            return Err(format!("the adapter failed to start: {}", words(&exception)));
        }
        let adapter = answer.result.object_id.ok_or("the bundle's install returned no object")?;
        Ok(Document { cdp: self.cdp, session: self.session.into(), adapter: String::from(adapter).into() })
    }
}

impl Document {
    /// Calls the adapter by name; `timeout` is the page's own limit.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        name: &str,
        arguments: impl Serialize,
        timeout: Duration,
    ) -> Result<T, CallError> {
        let arguments = serde_json::to_value(arguments).unwrap_or_default();
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let answer = self
            .on_adapter(
                "function (name, args, timeout) { return this.call(name, args, timeout); }",
                &[json!(name), arguments, json!(millis)],
                timeout + ANSWER_SLACK,
            )
            .await
            .map_err(|error| call_error(&error))??;
        wire::answer(answer)
    }

    /// Tells the page until when the session is owned. The answer proves that the page is alive.
    pub(super) async fn beat(&self, owned_until: SystemTime, timeout: Duration) -> Result<(), CdpError> {
        let until = json!(unix_millis(owned_until));
        self.on_adapter("function (until) { return this.beat(until); }", &[until], timeout).await.map(drop)
    }

    /// Calls a function on the adapter whose answer stays in the page. What the adapter refuses comes as an error.
    pub(super) async fn by_reference(
        &self,
        function: &str,
        arguments: &[Value],
        timeout: Duration,
    ) -> Result<RemoteObjectId, CallError> {
        let mut call = CallFunctionOnParams::new(function);
        call.object_id = Some(self.adapter.to_string().into());
        call.arguments = Some(arguments.iter().cloned().map(argument).collect());
        call.await_promise = Some(true);
        let answer = self.cdp.call(Some(&self.session), call, timeout + ANSWER_SLACK).await;
        let answer = answer.map_err(|error| call_error(&error))?;
        let adapter_error = |message: String| CallError::Page { name: "AdapterError".into(), code: None, message };
        if let Some(exception) = answer.exception_details {
            return Err(adapter_error(words(&exception)));
        }
        let object = answer.result.object_id.ok_or_else(|| adapter_error("no object".into()))?;
        // The adapter answers with a plain object where it has nothing to give.
        if answer.result.class_name.as_deref() == Some("Object") {
            let told = self.on_object(&object, "function () { return this; }", ANSWER_SLACK).await?;
            return Err(wire::answer::<Value>(told).err().unwrap_or_else(|| adapter_error("a plain object".into())));
        }
        Ok(object)
    }

    /// Calls a function on an object of the page; its answer comes by value.
    pub(super) async fn on_object(
        &self,
        object: &RemoteObjectId,
        function: &str,
        timeout: Duration,
    ) -> Result<Value, CallError> {
        let mut call = CallFunctionOnParams::new(function);
        call.object_id = Some(object.clone());
        call.return_by_value = Some(true);
        let answer = self.cdp.call(Some(&self.session), call, timeout).await.map_err(|error| call_error(&error))?;
        Ok(answer.result.value.unwrap_or_default())
    }

    async fn on_adapter(
        &self,
        function: &str,
        arguments: &[Value],
        timeout: Duration,
    ) -> Result<Result<Value, CallError>, CdpError> {
        let mut call = CallFunctionOnParams::new(function);
        call.object_id = Some(self.adapter.to_string().into());
        call.arguments = Some(arguments.iter().cloned().map(argument).collect());
        call.await_promise = Some(true);
        call.return_by_value = Some(true);
        let answer = self.cdp.call(Some(&self.session), call, timeout).await?;
        Ok(match answer.exception_details {
            // The adapter turns every error into an answer; what still throws is its own fault, or
            // the page was told to stop what it ran.
            Some(exception) => {
                Err(CallError::Page { name: "AdapterError".into(), code: None, message: words(&exception) })
            }
            None => Ok(answer.result.value.unwrap_or_default()),
        })
    }
}

fn argument(value: Value) -> CallArgument {
    CallArgument { value: Some(value), unserializable_value: None, object_id: None }
}

fn words(exception: &ExceptionDetails) -> String {
    let thrown = exception.exception.as_ref().and_then(|thrown| thrown.description.as_deref());
    thrown.unwrap_or(&exception.text).lines().next().unwrap_or_default().to_owned()
}

fn unix_millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Whether a call that failed may have had its effect decides what it is called.
pub(super) fn call_error(error: &CdpError) -> CallError {
    match error {
        CdpError::Timeout { .. } => CallError::Timeout,
        // Chromium looks for the adapter before it runs anything: the document is gone already.
        CdpError::Refused { message, .. } if message.starts_with("Cannot find context") => CallError::NotReady,
        CdpError::Refused { .. } | CdpError::Gone { .. } | CdpError::Malformed { .. } => CallError::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_call_that_cannot_have_run_is_called_not_ready() {
        let refused = |message: &str| CdpError::Refused { method: "m".into(), code: -32000, message: message.into() };
        for (error, expected) in [
            (refused("Cannot find context with specified id"), CallError::NotReady),
            (refused("Execution context was destroyed."), CallError::Gone),
            (refused("Inspected target navigated or closed"), CallError::Gone),
            (refused("Promise was collected"), CallError::Gone),
            (CdpError::Gone { method: "m".into() }, CallError::Gone),
            (CdpError::Timeout { method: "m".into(), after: Duration::ZERO }, CallError::Timeout),
        ] {
            assert_eq!(call_error(&error), expected, "{error}");
        }
    }
}
