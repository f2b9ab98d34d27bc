#![doc = include_str!("../README.md")]

mod answers;
mod listener;
mod state;
mod webhooks;

use std::sync::Arc;

use tokio::net::TcpListener;

pub use state::{Accepted, Fault, Upload};

use listener::Door;
use state::State;

/// The imitation. It ends when this is dropped.
pub struct Graph {
    state: Arc<State>,
    door: Door,
}

impl Graph {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let state = Arc::new(State::default());
        let door = Door::open(listener, answers::router(Arc::clone(&state)))?;
        Ok(Self { state, door })
    }

    /// The address for clients, without a version.
    pub fn url(&self) -> String {
        format!("http://{}/", self.door.address())
    }

    /// Adds a number, or gives it another token: the one before is expired from then on.
    pub fn number(&self, number: &str, token: &str) {
        self.state.lock().numbers.insert(number.to_owned(), token.to_owned());
    }

    /// Approves a template.
    pub fn template(&self, name: &str, language: &str) {
        self.state.lock().templates.insert((name.to_owned(), language.to_owned()));
    }

    /// The next request of a message meets this fault; several are met one after the other.
    pub fn next(&self, fault: Fault) {
        self.state.lock().next.push_back(fault);
    }

    /// The next upload meets this fault: a refusal or a gateway.
    pub fn next_upload(&self, fault: Fault) {
        self.state.lock().next_uploads.push_back(fault);
    }

    /// Everything that was uploaded so far.
    pub fn uploads(&self) -> Vec<Upload> {
        self.state.lock().uploads.clone()
    }

    /// Every request of a message meets this fault, until further notice.
    pub fn always(&self, fault: Option<Fault>) {
        self.state.lock().always = fault;
    }

    /// The next connection is cut before anything is read from it.
    pub fn cut_next_connection(&self) {
        self.door.cut_next();
    }

    /// Takes the API away: nobody listens.
    pub fn go_away(&mut self) {
        self.door.close();
    }

    /// The API is back, at the same address.
    ///
    /// # Errors
    /// When somebody else has taken the port.
    pub async fn come_back(&mut self) -> std::io::Result<()> {
        self.door.open_again(answers::router(Arc::clone(&self.state))).await
    }

    /// Everything that was accepted so far: these messages exist, whatever the sender was told.
    pub fn accepted(&self) -> Vec<Accepted> {
        self.state.lock().accepted.clone()
    }

    /// Requests of messages so far, whatever became of them.
    pub fn requests(&self) -> usize {
        self.state.lock().requests
    }

    /// The messages that were marked as read.
    pub fn read(&self) -> Vec<String> {
        self.state.lock().read.clone()
    }

    /// The webhook about an accepted message, as Meta would post it.
    ///
    /// # Panics
    /// When no such message was accepted.
    pub fn status_webhook(&self, message_id: &str, status: &str) -> serde_json::Value {
        webhooks::status(&self.state.lock(), message_id, status, None)
    }

    /// The webhook about an accepted message that failed after all.
    ///
    /// # Panics
    /// When no such message was accepted.
    pub fn failed_webhook(&self, message_id: &str, code: i64) -> serde_json::Value {
        webhooks::status(&self.state.lock(), message_id, "failed", Some(code))
    }

    /// The webhook about a text that somebody writes to a number; opens the 24 hours. Answers with the message's id too.
    pub fn message_webhook(&self, number: &str, from: &str, text: &str) -> (String, serde_json::Value) {
        webhooks::message(&mut self.state.lock(), number, from, text)
    }
}
