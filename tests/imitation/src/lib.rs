//! An imitation of WhatsApp Web for tests: a page that unmodified wa-js takes for the real one.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use wafleet_imitation::{Imitation, Options};
//!
//! let site = Imitation::start(Options::default()).await?;
//! let anna = site.phone("4915112345678", "Anna");
//! // … a browser opens `site.url()` …
//! let code = site.wait_for_qr(std::time::Duration::from_secs(30)).await?;
//! anna.scan(&code).await?;
//! let id = anna.receive_text("4915187654321", "Bert", "hello");
//! # let _ = id;
//! # Ok(())
//! # }
//! ```
//!
//! Reading order: `options` what can be chosen, `wire` what page and cloud say to each other, `cloud` the far end,
//! `faults` what goes wrong on purpose, `record` what left, `phone` and `control` the two ways to act as the far end,
//! `server` and `page` how it reaches a browser.

mod cloud;
mod control;
mod faults;
mod ids;
mod media;
mod options;
mod page;
mod passkey;
mod phone;
mod qr;
mod record;
mod server;
mod wire;

use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::RngCore;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub use cloud::{ControlError, DeviceId, Restrict};
pub use faults::{Faults, SendFault};
pub use ids::{Address, GroupId, InvalidId, Lid, Number};
pub use options::{AckTimes, Options, PageOptions, PairingCodeTimes, PasskeyGate, QrTimes};
pub use passkey::Passkey;
pub use phone::{Phone, Written};
pub use record::{Chatstate, Departure, Refusal, Setting};

use cloud::{Cloud, State};
use ids::written;

/// How long the control API waits for something that should happen soon.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

/// The imitation could not listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on the loopback port {port}")]
pub struct StartError {
    /// The port that was asked for.
    pub port: u16,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

/// A running imitation. Dropping it ends it and cuts every connection.
#[derive(Debug)]
pub struct Imitation {
    cloud: Cloud,
    address: SocketAddr,
    stop: Arc<Notify>,
    tasks: JoinSet<()>,
}

impl Imitation {
    /// Starts on a loopback port.
    ///
    /// # Errors
    /// When the port cannot be bound.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let port = options.port;
        let failed = |source| StartError { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let cloud = Cloud::new(State::new(options, rand::rng().next_u64()));
        let stop = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(cloud.clone().run_clock());
        let serving = server::serve(listener, cloud.clone(), Arc::clone(&stop));
        tasks.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the imitation stopped serving");
            }
        });
        tracing::info!(%address, "the imitation is up");
        Ok(Self { cloud, address, stop, tasks })
    }

    /// Where the page is: what a worker gets as its site.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Somebody with a phone. Asking again for the same number gives another handle on the same phone.
    ///
    /// # Panics
    /// When `number` is text that is no phone number.
    pub fn phone(&self, number: impl TryInto<Number, Error: Debug>, name: &str) -> Phone {
        let number: Number = written(number);
        self.cloud.change(|state, _| state.introduce(&number).name = Some(name.to_owned()));
        Phone::of(&self.cloud, number)
    }

    /// From now on this number is not on WhatsApp. All others are.
    ///
    /// # Panics
    /// When `number` is text that is no phone number.
    pub fn nobody(&self, number: impl TryInto<Number, Error: Debug>) {
        let number: Number = written(number);
        self.cloud.change(|state, _| state.remove_number(&number));
    }

    /// The QR code of the page that dialled last, if one is on display.
    pub fn current_qr(&self) -> Option<String> {
        self.cloud.look(|state| state.qr_codes().pop())
    }

    /// The QR codes of all pages that wait to be linked, oldest connection first.
    pub fn qr_codes(&self) -> Vec<String> {
        self.cloud.look(State::qr_codes)
    }

    /// Waits until a page shows a QR code.
    ///
    /// # Errors
    /// [`ControlError::Timeout`].
    pub async fn wait_for_qr(&self, within: Duration) -> Result<String, ControlError> {
        self.cloud.wait_for("a QR code", within, |state| state.qr_codes().pop()).await
    }

    /// Every page that waits to be linked shows its next code now.
    pub fn rotate_qr(&self) {
        self.cloud.change(|state, now| state.rotate_qr(now));
    }

    /// Every page that waits to be linked runs out of codes now and goes idle.
    pub fn expire_qr(&self) {
        self.cloud.change(|state, now| state.expire_qr(now));
    }

    /// Every message that left a page, in order, with its counts.
    pub fn sent(&self) -> Vec<Departure> {
        self.cloud.look(|state| state.record.departures().to_vec())
    }

    /// Every message the cloud refused.
    pub fn refused(&self) -> Vec<Refusal> {
        self.cloud.look(|state| state.record.refusals.clone())
    }

    /// Every typing state a page showed.
    pub fn chatstates(&self) -> Vec<Chatstate> {
        self.cloud.look(|state| state.record.chatstates.clone())
    }

    /// Everything that a page set in its account, in order.
    pub fn settings(&self) -> Vec<Setting> {
        self.cloud.look(|state| state.record.settings.clone())
    }

    /// The names of all groups, in the order in which they were made.
    pub fn groups(&self) -> Vec<String> {
        self.cloud.look(|state| state.groups.values().map(|group| group.subject.clone()).collect())
    }

    /// The picture of a group as two `data:` URLs, small and large, if it has one.
    pub fn picture_of(&self, group: &GroupId) -> Option<(String, String)> {
        self.cloud.look(|state| state.groups.get(group).and_then(|group| group.picture.clone()))
    }

    /// Waits until a message that satisfies `wanted` has left.
    ///
    /// # Errors
    /// [`ControlError::Timeout`].
    pub async fn wait_for_departure(
        &self,
        within: Duration,
        mut wanted: impl FnMut(&Departure) -> bool,
    ) -> Result<Departure, ControlError> {
        let find = |state: &State| state.record.departures().iter().find(|departure| wanted(departure)).cloned();
        self.cloud.wait_for("the departure of a message", within, find).await
    }

    /// Puts a file on the media server, encrypted, and gives what a message says of it, for messages that phones write.
    pub fn upload(&self, kind: &str, mimetype: &str, file: &[u8]) -> Value {
        self.cloud.change(|state, _| state.shelf.seal(kind, mimetype, file, rand::random()))
    }

    /// The file that a message of this kind and content carries, decrypted as its recipient would; `None` when there is none
    /// or it does not fit its hashes.
    pub fn file_of(&self, kind: &str, content: &Value) -> Option<Vec<u8>> {
        self.cloud.look(|state| state.shelf.open(kind, content))
    }

    /// How often a page has asked the media server for a file.
    pub fn media_asked(&self) -> u64 {
        self.cloud.look(|state| state.shelf.asked())
    }

    /// Waits until the media server has refused a file.
    ///
    /// # Errors
    /// [`ControlError::Timeout`].
    pub async fn wait_for_refused_upload(&self, within: Duration) -> Result<(), ControlError> {
        let refused = |state: &State| (state.shelf.refused() > 0).then_some(());
        self.cloud.wait_for("the refusal of a file", within, refused).await
    }

    /// The media server forgets every file.
    pub fn forget_media(&self) {
        self.cloud.change(|state, _| state.shelf.forget());
    }

    /// Changes what goes wrong from now on.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        self.cloud.change(|state, _| change(&mut state.faults));
    }

    /// Changes how the page behaves, from its next load on.
    pub fn page_options(&self, change: impl FnOnce(&mut PageOptions)) {
        self.cloud.change(|state, _| change(&mut state.options.page));
    }

    /// Does what `POST /control/<verb>` does, for programs that have their requests as data.
    ///
    /// # Errors
    /// What the HTTP answer would say.
    pub async fn control(&self, verb: &str, fields: Map<String, Value>) -> Result<Value, String> {
        let command = control::parse(verb, fields).map_err(|error| error.to_string())?;
        control::perform(&self.cloud, command).await.map_err(|error| error.to_string())
    }

    /// Ends the site: no new connections, and every existing one is cut.
    pub async fn stop(mut self) {
        self.end();
        self.tasks.shutdown().await;
    }

    fn end(&self) {
        self.stop.notify_one();
        self.cloud.change(|state, _| {
            state.faults.refuse_connections = true;
            state.cut_everybody();
        });
    }

    /// Runs until the process ends.
    pub async fn run(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Drop for Imitation {
    fn drop(&mut self) {
        self.end();
    }
}
