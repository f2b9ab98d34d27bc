//! Texts that go out and come in while things break.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;
use wafleet_imitation::Phone;
use wafleet_protocol::event::Event;
use wafleet_protocol::lane::Lane;

use super::FRIEND;
use crate::fleet::Target;
use crate::stage::{Stage, text};

/// Seconds between two texts of a session, each way.
const EVERY_SECS: std::ops::Range<f64> = 2.0..7.0;
/// Pause between two looks at what was told.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What came in, and what went wrong with sending.
#[derive(Default)]
pub(super) struct Traffic {
    /// Session and message id.
    received: Mutex<Vec<(String, String)>>,
    refused: Mutex<Vec<String>>,
}

impl Traffic {
    /// Sends and receives until `stop`.
    pub(super) async fn flow(&self, stage: &Stage, phones: &[(Target, Phone)], seed: u64, stop: &CancellationToken) {
        let sessions = phones.iter().enumerate().map(|(number, (target, phone))| {
            let random = |way: u64| StdRng::seed_from_u64(seed ^ (number as u64 * 2 + way + 1));
            futures::future::join(
                self.send(stage, target, random(0), stop),
                self.receive(target, phone, random(1), stop),
            )
        });
        join_all(sessions).await;
    }

    async fn send(&self, stage: &Stage, target: &Target, mut random: StdRng, stop: &CancellationToken) {
        for number in 0.. {
            if stopped_within(stop, random.random_range(EVERY_SECS)).await {
                return;
            }
            let lane = match random.random_range(0..4) {
                0 => Lane::Urgent,
                1 => Lane::High,
                2 => Lane::Campaign,
                _ => Lane::Normal,
            };
            let sent = match text(FRIEND, &format!("{} says {number}", target.session)) {
                Ok(command) => stage.host.send_on(lane, target, &command).await.map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                refused.push(format!("{} could not send: {error:#}", target.session));
            }
        }
    }

    async fn receive(&self, target: &Target, phone: &Phone, mut random: StdRng, stop: &CancellationToken) {
        for number in 0.. {
            if stopped_within(stop, random.random_range(EVERY_SECS)).await {
                return;
            }
            let id = phone.receive_text(FRIEND, "Friend", &format!("{} hears {number}", target.session));
            let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
            received.push((target.session.to_string(), id));
        }
    }

    /// How many messages came in.
    pub(super) fn received(&self) -> usize {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until every message that came in was told, and says which were not, or under two event ids.
    pub(super) async fn untold(&self, stage: &Stage, within: Duration) -> Vec<String> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let started = Instant::now();
        loop {
            let told = told(stage);
            let missing: Vec<&(String, String)> = received.iter().filter(|one| !told.contains_key(*one)).collect();
            if !missing.is_empty() && started.elapsed() < within {
                tokio::time::sleep(LOOK_EVERY).await; // between two looks
                continue;
            }
            let mut broken = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
            broken.extend(
                missing.iter().map(|(session, id)| format!("{session}: message {id} came in and was not told")),
            );
            let twice = told.iter().filter(|(_, ids)| ids.len() > 1);
            broken.extend(twice.map(|((session, id), ids)| format!("{session}: message {id} was told under {ids:?}")));
            return broken;
        }
    }
}

/// The event ids of every message that was told, by session and message id.
fn told(stage: &Stage) -> BTreeMap<(String, String), BTreeSet<String>> {
    let mut told: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for entry in stage.host.events().entries() {
        if let Event::MessageReceived(message) = &entry.envelope.event {
            let key = (entry.envelope.session_id.to_string(), message.id.clone());
            told.entry(key).or_default().insert(entry.envelope.id.to_string());
        }
    }
    told
}

/// Waits, and says whether it was told to stop meanwhile.
async fn stopped_within(stop: &CancellationToken, secs: f64) -> bool {
    tokio::time::timeout(Duration::from_secs_f64(secs), stop.cancelled()).await.is_ok()
}
