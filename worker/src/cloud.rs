//! Meta's Cloud API as a session's provider: the client, the numbers' tokens, the limits, the breakers, and the choice.
//!
//! ```text
//! command ─▶ choice: web | cloud | wait ─▶ limits ─▶ ledger: begun by cloud ─▶ Meta ─▶ accepted  ─▶ succeeded
//!                                                                                ├─▶ proven: nothing went out ─▶ ledger: open again
//!                                                                                └─▶ unknown, for good, until a webhook tells
//! ```
//! A message that the ledger says was begun by one provider is never gone on with by the other.

mod acting;
pub(crate) mod breaker;
pub(crate) mod choice;
mod content;
pub(crate) mod limits;
pub(crate) mod sending;
pub(crate) mod tokens;
pub(crate) mod webhook;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use redis::aio::ConnectionManager;
use wafleet_cloud::client::{Account, ClientError, Graph};
use wafleet_cloud::fault::Fault;
use wafleet_cloud::token::{MetaId, Token};
use wafleet_profile::keys::Ring;

use crate::config::Config;
use crate::database::CloudNumber;
use breaker::Breaker;
use limits::Limits;
use tokens::TokenError;

/// Breakers remembered at most: one for each number and each session that sends here.
const BREAKERS: usize = 4096;

/// What a worker needs to send by Meta.
pub(crate) struct Cloud {
    pub(crate) graph: Graph,
    pub(crate) limits: Limits,
    ring: Option<Arc<Ring>>,
    settings: (u32, std::time::Duration),
    breakers: Mutex<HashMap<String, Breaker>>,
    /// Sessions whose sends met a fault of their number.
    suspects: Mutex<HashSet<String>>,
}

/// A number with its token open.
pub(crate) struct Caller {
    pub(crate) token: Token,
    pub(crate) number: MetaId,
}

impl Cloud {
    /// Prepares everything; nothing is connected.
    ///
    /// # Errors
    /// TLS cannot be prepared.
    pub(crate) fn new(config: &Config, redis: (ConnectionManager, Arc<str>)) -> Result<Self, ClientError> {
        let cloud = &config.cloud;
        Ok(Self {
            graph: Graph::new(&cloud.url, &cloud.version, cloud.limit)?,
            limits: Limits::new(redis, cloud.pair_pause, cloud.pair_burst),
            ring: config.profile_keys.clone(),
            settings: (cloud.breaker_failures, cloud.breaker_pause),
            breakers: Mutex::default(),
            suspects: Mutex::default(),
        })
    }

    /// Opens a number's token.
    ///
    /// # Errors
    /// [`TokenError`].
    pub(crate) fn caller(&self, number: &CloudNumber) -> Result<Caller, TokenError> {
        let ring = self.ring.as_ref().ok_or(TokenError::NoRing)?;
        let id: MetaId = number.number_id.parse().map_err(|_| TokenError::Foreign)?;
        Ok(Caller { token: tokens::open(ring, number.workspace_id, &id, &number.token)?, number: id })
    }

    /// Asks Meta for a number.
    ///
    /// # Errors
    /// [`Fault`]; a token that does not open is `None`.
    pub(crate) async fn account(&self, number: &CloudNumber) -> Result<Account, Option<Fault>> {
        let caller = self.caller(number).map_err(|error| {
            tracing::error!(error = %crate::logging::chain(&error), "the token of a Cloud API number cannot be used");
            None
        })?;
        let answer = self.graph.account(&caller.token, &caller.number).await;
        let name = breaker_of_number(&number.number_id);
        match &answer {
            Err(fault) if fault.is_outage() => self.failed(&name),
            _ => self.succeeded(&name),
        }
        answer.map_err(Some)
    }

    /// A send of this session met a fault that says something of its number: Meta is to be asked.
    pub(crate) fn suspect(&self, session_id: &str) {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner).insert(session_id.to_owned());
    }

    /// Whether Meta is to be asked for the session's number.
    pub(crate) fn suspects(&self, session_id: &str) -> bool {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner).contains(session_id)
    }

    /// Meta was asked.
    pub(crate) fn trust(&self, session_id: &str) {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner).remove(session_id);
    }

    /// Whether something may be tried that this breaker guards.
    pub(crate) fn lets(&self, name: &str) -> bool {
        self.breaker(name, |breaker| breaker.lets(Instant::now()))
    }

    /// It went well.
    pub(crate) fn succeeded(&self, name: &str) {
        self.breaker(name, Breaker::succeeded);
    }

    /// It failed in a way that says something of the provider.
    pub(crate) fn failed(&self, name: &str) {
        if self.breaker(name, |breaker| breaker.failed(Instant::now())) {
            tracing::warn!(breaker = name, "a provider fails again and again; it is left alone for a while");
        }
    }

    fn breaker<T>(&self, name: &str, act: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        if breakers.len() >= BREAKERS && !breakers.contains_key(name) {
            breakers.retain(|_, breaker| !breaker.is_quiet());
        }
        let (failures, pause) = self.settings;
        act(breakers.entry(name.to_owned()).or_insert_with(|| Breaker::new(failures, pause)))
    }
}

/// The breaker of a number at Meta.
pub(crate) fn breaker_of_number(number_id: &str) -> String {
    format!("cloud:{number_id}")
}

/// The breaker of a session's browser.
pub(crate) fn breaker_of_browser(session_id: &str) -> String {
    format!("web:{session_id}")
}
