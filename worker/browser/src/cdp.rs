//! The connection to one Chromium: NUL-separated JSON messages on two pipes.
//!
//! `--remote-debugging-pipe` makes Chromium read commands from its descriptor 3 and write
//! answers and events to its descriptor 4. No port and no socket exist, so there is no way in
//! for anybody else, and the end of the pipe tells Chromium that its worker is gone.
//!
//! Invariants: every call ends, by answer, by its own timeout or by the end of the connection;
//! the first read or write error ends the connection for good; what cannot be understood is
//! counted and skipped; every queue is bounded.

mod events;
mod frame;
mod router;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chromiumoxide_types::Command;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use events::{CdpEvent, CdpEvents, CdpEventsEnd};

use router::{Answer, Router};

/// Commands waiting for room in the pipe. Chromium drains it at once; a full queue means that it
/// has stopped, and then callers wait here within their own timeouts.
const OUTGOING_QUEUE: usize = 64;

/// A call over the connection gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CdpError {
    /// Chromium answered with an error.
    #[error("{method}: {message} ({code})")]
    Refused {
        /// The method that was called.
        method: String,
        /// Chromium's error code, as in JSON-RPC.
        code: i64,
        /// What it said.
        message: String,
    },
    /// No answer in time.
    #[error("{method}: no answer within {after:?}")]
    Timeout {
        /// The method that was called.
        method: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection, or the tab that the call was for, is gone.
    #[error("{method}: the connection is gone")]
    Gone {
        /// The method that was called.
        method: String,
    },
    /// The answer is not what this version of the protocol says.
    #[error("{method}: unexpected answer: {message}")]
    Malformed {
        /// The method that was called.
        method: String,
        /// What does not fit.
        message: String,
    },
}

/// A handle to the connection; clones share it. The connection ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Cdp {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    router: Arc<Router>,
    outgoing: mpsc::Sender<Vec<u8>>,
    next_id: AtomicU64,
    closed: CancellationToken,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

impl Cdp {
    /// Takes the worker's ends of the two pipes. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// When a descriptor is not a pipe of the right direction.
    pub(crate) fn new(commands: OwnedFd, answers: OwnedFd) -> std::io::Result<Self> {
        let commands = pipe::Sender::from_owned_fd(commands)?;
        let answers = pipe::Receiver::from_owned_fd(answers)?;
        let (outgoing, queue) = mpsc::channel(OUTGOING_QUEUE);
        let router = Arc::new(Router::default());
        let closed = CancellationToken::new();
        tokio::spawn(write(commands, queue, closed.clone()));
        tokio::spawn(read(answers, Arc::clone(&router), closed.clone()));
        Ok(Cdp { shared: Arc::new(Shared { router, outgoing, next_id: AtomicU64::new(1), closed }) })
    }

    /// Calls a method of the protocol: on one target, or with `session` = `None` on the browser.
    ///
    /// # Errors
    /// Always within `timeout`. Dropping the future gives the call up; Chromium may still run it.
    pub async fn call<C: Command>(
        &self,
        session: Option<&str>,
        command: C,
        timeout: Duration,
    ) -> Result<C::Response, CdpError> {
        let method = command.identifier();
        let params = serde_json::to_value(&command)
            .map_err(|error| CdpError::Malformed { method: method.to_string(), message: error.to_string() })?;
        let result = self.call_raw(session, &method, params, timeout).await?;
        C::response_from_value(result)
            .map_err(|error| CdpError::Malformed { method: method.into_owned(), message: error.to_string() })
    }

    /// [`call`](Self::call) without types, for parameters that the typed protocol does not know.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_raw(
        &self,
        session: Option<&str>,
        method: &str,
        params: Value,
        timeout: Duration,
    ) -> Result<Value, CdpError> {
        let gone = || CdpError::Gone { method: method.to_owned() };
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let pending = self.shared.router.expect(id, session).ok_or_else(gone)?;
        let exchange = async {
            self.shared.outgoing.send(frame::encode(&message)).await.map_err(|_| gone())?;
            match pending.answer().await {
                Some(Answer::Result(result)) => Ok(result),
                Some(Answer::Error { code, message }) => {
                    Err(CdpError::Refused { method: method.to_owned(), code, message })
                }
                None => Err(gone()),
            }
        };
        tokio::time::timeout(timeout, exchange)
            .await
            .unwrap_or_else(|_| Err(CdpError::Timeout { method: method.to_owned(), after: timeout }))
    }

    /// The events of one target, or with `None` of the browser, whose method is in `methods`.
    ///
    /// Events that came before this call are not seen.
    pub fn subscribe(&self, session: Option<&str>, methods: &'static [&'static str]) -> CdpEvents {
        self.shared.router.subscribe(session, methods)
    }

    /// Fails all calls that wait for this target with [`CdpError::Gone`] and ends its subscriptions.
    ///
    /// For a target whose process died: Chromium answers nothing that was in flight there.
    pub fn abandon(&self, session: &str) {
        self.shared.router.abandon(session);
    }

    /// Ends the connection for all its handles. The browser sees the end of its pipe and ends too.
    pub(crate) fn hang_up(&self) {
        self.shared.closed.cancel();
    }

    /// Waits until the connection is gone.
    pub async fn closed(&self) {
        self.shared.closed.cancelled().await;
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.is_cancelled()
    }

    /// How many messages from Chromium could not be understood and were skipped.
    pub fn skipped(&self) -> u64 {
        self.shared.router.skipped()
    }
}

async fn write(mut commands: pipe::Sender, mut queue: mpsc::Receiver<Vec<u8>>, closed: CancellationToken) {
    loop {
        let message = tokio::select! {
            biased;
            () = closed.cancelled() => break,
            message = queue.recv() => message,
        };
        let Some(message) = message else { break };
        let written = tokio::select! {
            biased;
            () = closed.cancelled() => break,
            written = commands.write_all(&message) => written,
        };
        if let Err(error) = written {
            tracing::debug!(%error, "the command pipe ended");
            break;
        }
    }
    closed.cancel();
}

async fn read(answers: pipe::Receiver, router: Arc<Router>, closed: CancellationToken) {
    let mut frames = frame::Frames::new(answers);
    loop {
        let message = tokio::select! {
            biased;
            () = closed.cancelled() => break,
            message = frames.next() => message,
        };
        match message {
            Ok(Some(message)) => router.route(message),
            Ok(None) => break,
            Err(error) => {
                tracing::debug!(%error, "the answer pipe ended");
                break;
            }
        }
    }
    router.close();
    closed.cancel();
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use chromiumoxide_cdp::cdp::browser_protocol::browser::GetVersionParams;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A connection whose far end is in the test's hands.
    fn connection() -> (Cdp, std::fs::File, std::fs::File) {
        let (their_commands, our_commands) = rustix::pipe::pipe().expect("a pipe");
        let (our_answers, their_answers) = rustix::pipe::pipe().expect("a pipe");
        let cdp = Cdp::new(our_commands, our_answers).expect("pipes are pipes");
        (cdp, their_commands.into(), their_answers.into())
    }

    fn version(id: u64) -> Vec<u8> {
        frame::encode(&json!({ "id": id, "result": {
            "protocolVersion": "1.3", "product": "Chrome/1", "revision": "r", "userAgent": "u", "jsVersion": "j"
        }}))
    }

    #[tokio::test]
    async fn a_call_is_one_message_out_and_its_answer_back() {
        let (cdp, mut commands, mut answers) = connection();
        let call = tokio::spawn(async move { cdp.call(Some("S1"), GetVersionParams::default(), SECOND).await });
        let sent = tokio::task::spawn_blocking(move || {
            let mut sent = vec![0; 4096];
            let n = commands.read(&mut sent).expect("a command");
            sent.truncate(n);
            sent
        })
        .await
        .expect("no panic");
        assert_eq!(sent.last(), Some(&0));
        let sent: Value = serde_json::from_slice(&sent[..sent.len() - 1]).expect("JSON");
        assert_eq!(sent["method"], "Browser.getVersion");
        assert_eq!(sent["sessionId"], "S1");
        answers.write_all(&version(1)).expect("written");
        assert_eq!(call.await.expect("no panic").expect("an answer").product, "Chrome/1");
    }

    #[tokio::test]
    async fn garbage_is_skipped_and_counted() {
        let (cdp, _commands, mut answers) = connection();
        for garbage in
            [&b"not json\0"[..], b"\0", b"[1]\0", b"{\"id\":\"x\"}\0", b"{\"id\":99,\"result\":{}}\0", b"\xff\xfe\0"]
        {
            answers.write_all(garbage).expect("written");
        }
        let call = tokio::spawn({
            let cdp = cdp.clone();
            async move { cdp.call(None, GetVersionParams::default(), SECOND).await }
        });
        tokio::task::yield_now().await;
        answers.write_all(&version(1)).expect("written");
        call.await.expect("no panic").expect("an answer");
        assert_eq!(cdp.skipped(), 6);
        assert!(!cdp.is_closed());
    }

    #[tokio::test]
    async fn the_end_of_the_pipe_fails_every_waiting_and_every_later_call() {
        let (cdp, _commands, answers) = connection();
        let waiting = cdp.clone();
        let waiting = tokio::spawn(async move { waiting.call(None, GetVersionParams::default(), 60 * SECOND).await });
        let mut events = cdp.subscribe(None, &["Target.targetCrashed"]);
        tokio::task::yield_now().await;
        drop(answers);
        let gone = |error: &CdpError| matches!(error, CdpError::Gone { .. });
        assert!(gone(&waiting.await.expect("no panic").expect_err("gone")));
        cdp.closed().await;
        assert!(gone(&cdp.call(None, GetVersionParams::default(), 60 * SECOND).await.expect_err("gone")));
        assert_eq!(events.next().await.expect_err("the end"), CdpEventsEnd::Gone);
    }

    #[tokio::test]
    async fn a_refusal_carries_code_and_text() {
        let (cdp, _commands, mut answers) = connection();
        let call = tokio::spawn(async move { cdp.call(None, GetVersionParams::default(), SECOND).await });
        tokio::task::yield_now().await;
        answers.write_all(b"{\"id\":1,\"error\":{\"code\":-32000,\"message\":\"no\"}}\0").expect("written");
        assert_eq!(
            call.await.expect("no panic").expect_err("refused"),
            CdpError::Refused { method: "Browser.getVersion".into(), code: -32000, message: "no".into() }
        );
    }
}
