//! Who waits for what: answers to callers, events to subscribers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::oneshot;

use super::events::{CdpEvent, CdpEvents, Subscriber};

/// What Chromium said to a call.
#[derive(Debug)]
pub(super) enum Answer {
    Result(Value),
    Error { code: i64, message: String },
}

/// Both kinds of incoming messages; which one it is shows in the fields that are there.
#[derive(Deserialize)]
struct Incoming {
    id: Option<u64>,
    method: Option<String>,
    #[serde(rename = "sessionId")]
    session: Option<String>,
    #[serde(default)]
    params: Value,
    result: Option<Value>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    code: i64,
    message: String,
}

#[derive(Debug, Default)]
struct Waiting {
    closed: bool,
    calls: HashMap<u64, (Option<String>, oneshot::Sender<Answer>)>,
    subscribers: HashMap<Option<String>, Vec<Subscriber>>,
}

/// The lock is held for map operations only, never across an await.
#[derive(Debug, Default)]
pub(super) struct Router {
    waiting: Mutex<Waiting>,
    skipped: AtomicU64,
}

impl Router {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces a call; `None` when the connection is gone.
    pub(super) fn expect(self: &Arc<Self>, id: u64, session: Option<&str>) -> Option<Pending> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return None;
        }
        let (sender, answer) = oneshot::channel();
        waiting.calls.insert(id, (session.map(Into::into), sender));
        Some(Pending { id, answer, router: Arc::clone(self) })
    }

    pub(super) fn subscribe(&self, session: Option<&str>, methods: &'static [&'static str]) -> CdpEvents {
        let (subscriber, events) = Subscriber::channel(methods);
        let mut waiting = self.waiting();
        if !waiting.closed {
            let key = session.map(Into::into);
            waiting.subscribers.entry(key).or_default().push(subscriber);
        }
        events
    }

    /// Takes one message from Chromium to whoever waits for it.
    pub(super) fn route(&self, message: Vec<u8>) {
        match serde_json::from_slice::<Incoming>(&message) {
            Ok(Incoming { id: Some(id), result, error, .. }) => self.answer(id, result, error),
            Ok(Incoming { method: Some(method), session, params, .. }) => {
                self.publish(session, CdpEvent { method, params })
            }
            Ok(_) => self.skip("neither an answer nor an event"),
            Err(error) => self.skip(&error.to_string()),
        }
    }

    fn answer(&self, id: u64, result: Option<Value>, error: Option<Refusal>) {
        let Some((_, caller)) = self.waiting().calls.remove(&id) else {
            // Most often the late answer to a call that timed out.
            self.skip("nobody waits for this answer");
            return;
        };
        let answer = match error {
            Some(Refusal { code, message }) => Answer::Error { code, message },
            None => Answer::Result(result.unwrap_or_default()),
        };
        // The caller may have given up between the look-up and now; then nobody misses the answer.
        let _ = caller.send(answer);
    }

    fn publish(&self, session: Option<String>, event: CdpEvent) {
        if let Some(subscribers) = self.waiting().subscribers.get_mut(&session) {
            subscribers.retain(|subscriber| subscriber.offer(&event));
        }
        if event.method == "Target.detachedFromTarget"
            && let Some(detached) = event.params.get("sessionId").and_then(Value::as_str)
        {
            self.abandon(detached);
        }
    }

    /// Ends everything that waits for one target.
    pub(super) fn abandon(&self, session: &str) {
        let mut waiting = self.waiting();
        waiting.calls.retain(|_, (of, _)| of.as_deref() != Some(session));
        waiting.subscribers.remove(&Some(session.to_owned()));
    }

    /// Ends everything.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.calls.clear();
        waiting.subscribers.clear();
    }

    fn skip(&self, why: &str) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(why, "a message from the browser was skipped");
    }

    pub(super) fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }
}

/// A call that waits for its answer; dropping it gives the call up.
pub(super) struct Pending {
    id: u64,
    answer: oneshot::Receiver<Answer>,
    router: Arc<Router>,
}

impl Pending {
    /// The answer; `None` when connection or target went away first.
    pub(super) async fn answer(mut self) -> Option<Answer> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.router.waiting().calls.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::EVENT_QUEUE;
    use super::super::{CdpEventsEnd, frame};
    use super::*;
    use serde_json::json;

    fn event(session: Option<&str>, method: &str) -> Vec<u8> {
        let mut message = json!({ "method": method, "params": { "n": 1 } });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = frame::encode(&message);
        bytes.pop();
        bytes
    }

    #[tokio::test]
    async fn events_go_to_the_subscribers_of_their_target_and_method() {
        let router = Arc::new(Router::default());
        let mut tab = router.subscribe(Some("S1"), &["A.x", "A.y"]);
        let mut browser = router.subscribe(None, &["A.x"]);
        for (session, method) in [
            (Some("S1"), "A.x"),
            (Some("S2"), "A.x"),
            (None, "A.y"),
            (Some("S1"), "A.z"),
            (Some("S1"), "A.y"),
            (None, "A.x"),
        ] {
            router.route(event(session, method));
        }
        router.close();
        let mut seen = Vec::new();
        while let Ok(event) = tab.next().await {
            seen.push(event.method);
        }
        assert_eq!(seen, ["A.x", "A.y"]);
        assert_eq!(browser.next().await.expect("one").method, "A.x");
        assert_eq!(browser.next().await, Err(CdpEventsEnd::Gone));
    }

    #[tokio::test]
    async fn a_slow_reader_gets_what_was_queued_and_then_hears_of_the_loss() {
        let router = Arc::new(Router::default());
        let mut events = router.subscribe(None, &["A.x"]);
        for _ in 0..EVENT_QUEUE + 5 {
            router.route(event(None, "A.x"));
        }
        let mut seen = 0;
        let end = loop {
            match events.next().await {
                Ok(_) => seen += 1,
                Err(end) => break end,
            }
        };
        assert_eq!((seen, end), (EVENT_QUEUE, CdpEventsEnd::Overflow));
    }

    #[tokio::test]
    async fn a_detached_target_takes_its_calls_along_and_no_others() {
        let router = Arc::new(Router::default());
        let lost = router.expect(1, Some("S1")).expect("open");
        let kept = router.expect(2, Some("S2")).expect("open");
        let mut message =
            frame::encode(&json!({ "method": "Target.detachedFromTarget", "params": { "sessionId": "S1" } }));
        message.pop();
        router.route(message);
        assert!(lost.answer().await.is_none());
        router.route(b"{\"id\":2,\"result\":{\"ok\":1}}".to_vec());
        assert!(matches!(kept.answer().await, Some(Answer::Result(_))));
    }

    #[test]
    fn a_call_that_is_given_up_leaves_nothing_behind() {
        let router = Arc::new(Router::default());
        drop(router.expect(1, None));
        assert!(router.waiting().calls.is_empty());
        router.close();
        assert!(router.expect(2, None).is_none());
    }
}
