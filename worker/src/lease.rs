//! Ownership: a lease in Redis says who may try, a fence from MySQL says who is right.
//!
//! ```text
//! claim: SET lease NX PX ttl ──ok──▶ fence = fence + 1 in MySQL, if it is still the one seen ──ok──▶ Lease   (either fails: no claim)
//! keeper, every ttl/3: one script renews all leases ──▶ renewed | lost | missing, for each
//! a lease that is not proven within 2/3 of its life is over for us, before it is over for Redis
//! ```
//! A [`Lease`] value is the proof of ownership: [`Lease::prove`] is asked before every side effect, on a clock that counts
//! suspended time, so that a process which was stopped and continued finds its deadline passed before it does anything.

#[cfg(test)]
mod interleaving;
mod roster;
mod rules;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, Script, TlsCertificates};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::boottime::BootInstant;
use crate::config;
use crate::database::{Database, DatabaseError};
use crate::leash::Leash;
use rules::Verdict;

pub(crate) use roster::{HINT_LIFE, Meeting, Standing};

/// Bound on one answer from Redis: well below the shortest renewal interval.
const RESPONSE_LIMIT: Duration = Duration::from_millis(800);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// A renewal that failed is tried again this many times as often.
const RETRIES_PER_INTERVAL: u32 = 10;

/// Deletes a key only while it holds our value.
const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";
/// Renews every key that holds our value: 1 renewed, 0 missing, -1 somebody else's.
const RENEW: &str = "local answers = {}
for i, key in ipairs(KEYS) do
  local owner = redis.call('GET', key)
  if owner == ARGV[1] then redis.call('PEXPIRE', key, ARGV[2]); answers[i] = 1
  elseif owner == false then answers[i] = 0
  else answers[i] = -1 end
end
return answers";
/// Counts one use in a fixed window: the new count, and the milliseconds until the window ends.
const COUNT: &str = "local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}";

/// Redis is away, slow, or refused a command.
#[derive(Debug, thiserror::Error)]
#[error("redis failed")]
pub(crate) struct RedisError(#[from] redis::RedisError);

/// Why a claim did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// The lease is over, or may be: nothing may be done under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease of this session cannot be proven any more")]
pub(crate) struct Fenced;

/// Ownership of one session. Clones share one truth.
#[derive(Clone)]
pub(crate) struct Lease(Arc<Inner>);

struct Inner {
    session_id: String,
    fence: u64,
    /// Boot-time milliseconds until which ownership is proven.
    proven_until: AtomicU64,
    lost: CancellationToken,
}

impl Lease {
    fn new(session_id: &str, fence: u64, proven_until: BootInstant) -> Self {
        Self(Arc::new(Inner {
            session_id: session_id.to_owned(),
            fence,
            proven_until: AtomicU64::new(proven_until.as_millis()),
            lost: CancellationToken::new(),
        }))
    }

    /// The session owned.
    pub(crate) fn session_id(&self) -> &str {
        &self.0.session_id
    }

    /// The fence: `epoch` in events, guard of durable writes.
    pub(crate) fn fence(&self) -> u64 {
        self.0.fence
    }

    /// Asked before every side effect.
    ///
    /// # Errors
    /// [`Fenced`]: the deadline has passed or the lease was lost; do nothing.
    pub(crate) fn prove(&self) -> Result<(), Fenced> {
        let in_time = BootInstant::now().as_millis() < self.0.proven_until.load(Ordering::Acquire);
        if in_time && !self.0.lost.is_cancelled() { Ok(()) } else { Err(Fenced) }
    }

    /// How long ownership is still proven; zero when it is not.
    pub(crate) fn remaining(&self) -> Duration {
        let until = self.0.proven_until.load(Ordering::Acquire);
        let left = Duration::from_millis(until.saturating_sub(BootInstant::now().as_millis()));
        if self.0.lost.is_cancelled() { Duration::ZERO } else { left }
    }

    /// Waits until the lease is lost. Cancel-safe.
    pub(crate) async fn lost(&self) {
        self.0.lost.cancelled().await;
    }

    /// Until when ownership is proven; the beginning of time once it is lost.
    pub(crate) fn proven_until(&self) -> BootInstant {
        let until = if self.0.lost.is_cancelled() { 0 } else { self.0.proven_until.load(Ordering::Acquire) };
        BootInstant::from_millis(until)
    }

    fn extend(&self, proven_until: BootInstant) {
        self.0.proven_until.fetch_max(proven_until.as_millis(), Ordering::AcqRel);
    }
}

/// What a renewal found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renewal {
    Renewed,
    Missing,
    Lost,
}

/// The leases of this worker, and the budgets that live beside them in Redis. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Leases {
    client: redis::Client,
    redis: ConnectionManager,
    database: Database,
    prefix: Arc<str>,
    worker_id: Arc<str>,
    ttl: Duration,
    /// How long the others count us without hearing from us.
    presence: Duration,
    held: Arc<Mutex<HashMap<String, Lease>>>,
    changed: Arc<Notify>,
}

impl Leases {
    /// Prepares the connection; it is made, and made again, when needed.
    ///
    /// # Errors
    /// The URL or the certificate authority does not parse.
    pub(crate) fn new(
        redis: &config::Redis,
        database: Database,
        worker_id: &str,
        ttl: Duration,
        claim_interval: Duration,
    ) -> Result<Self, RedisError> {
        let client = match &redis.ca_pem {
            None => redis::Client::open(redis.url.as_str())?,
            Some(ca) => {
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(ca.clone()) };
                redis::Client::build_with_tls(redis.url.as_str(), certificates)?
            }
        };
        let settings = ConnectionManagerConfig::new()
            .set_response_timeout(Some(RESPONSE_LIMIT))
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_number_of_retries(1);
        let connection = client.get_connection_manager_lazy(settings)?;
        Ok(Self {
            client,
            redis: connection,
            database,
            prefix: redis.prefix.as_str().into(),
            worker_id: worker_id.into(),
            ttl,
            // A worker that died is off the roster before its leases end, so nobody waits for it to take its share.
            presence: (ttl * 2 / 3).max(claim_interval * 3),
            held: Arc::default(),
            changed: Arc::default(),
        })
    }

    /// Asks for an answer.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn check(&self) -> Result<(), RedisError> {
        let _: String = self.redis.clone().ping().await?;
        Ok(())
    }

    /// What Redis takes the time to be, as time since the Unix epoch.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn time(&self) -> Result<Duration, RedisError> {
        let (secs, micros): (u64, u32) = redis::cmd("TIME").query_async(&mut self.redis.clone()).await?;
        Ok(Duration::from_secs(secs) + Duration::from_micros(micros.into()))
    }

    /// Of the sessions given, those that nobody holds a lease for.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn free(&self, session_ids: &[String]) -> Result<Vec<bool>, RedisError> {
        Ok(self.standing(session_ids).await?.into_iter().map(|standing| standing != Standing::Held).collect())
    }

    /// Claims a session whose row said `seen` for its fence. `None` when somebody else has it or nobody wants it to run.
    ///
    /// # Errors
    /// Redis or the database is away; then nothing is claimed.
    pub(crate) async fn claim(&self, session_id: &str, seen: u64) -> Result<Option<Lease>, ClaimError> {
        let began = BootInstant::now();
        let options = redis::SetOptions::default()
            .conditional_set(redis::ExistenceCheck::NX)
            .with_expiration(redis::SetExpiry::PX(self.ttl.as_millis() as u64));
        let set: Result<Option<String>, _> =
            self.redis.clone().set_options(self.key(session_id), &*self.worker_id, options).await;
        if set.map_err(RedisError)?.is_none() {
            return Ok(None);
        }
        self.forget_hint(session_id).await;
        match self.database.next_fence(session_id, &self.worker_id, seen).await {
            // From here to the return nothing is waited for: a lease that is held has a session.
            Ok(Some(fence)) => {
                let lease = Lease::new(session_id, fence, began + self.provable());
                self.held().insert(session_id.to_owned(), lease.clone());
                self.changed.notify_one();
                Ok(Some(lease))
            }
            Ok(None) => {
                self.delete(session_id).await?;
                Ok(None)
            }
            Err(error) => {
                // If this fails too, the key ends with its TTL.
                let _ = self.delete(session_id).await;
                Err(error.into())
            }
        }
    }

    /// Gives a session back: the last act of an owner, after the browser is gone and the channel is closed.
    pub(crate) async fn release(&self, lease: &Lease) {
        self.held().remove(lease.session_id());
        if lease.prove().is_err() {
            return; // it is not ours to give
        }
        if let Err(error) = self.database.released(lease.session_id(), lease.fence()).await {
            tracing::warn!(session_id = lease.session_id(), error = %crate::logging::chain(&error), "the release was not recorded");
        }
        if let Err(error) = self.delete(lease.session_id()).await {
            tracing::warn!(session_id = lease.session_id(), error = %crate::logging::chain(&error), "the lease is left to expire");
        }
        self.nudge(lease.session_id()).await;
    }

    /// Renews all leases every third of their life, until `stop`, and lets the leash know. A lease that is lost, or cannot
    /// be proven in time, is cancelled here.
    pub(crate) async fn keep(&self, leash: &Leash, stop: CancellationToken) {
        let interval = self.ttl / 3;
        loop {
            let mut pause = interval;
            let began = BootInstant::now();
            let leases: Vec<Lease> = self.held().values().cloned().collect();
            if !leases.is_empty() {
                match self.renew(&leases).await {
                    Ok(renewals) => {
                        for (lease, renewal) in leases.iter().zip(renewals) {
                            self.settle(lease, renewal, began).await;
                        }
                    }
                    Err(error) => {
                        pause = interval / RETRIES_PER_INTERVAL;
                        tracing::warn!(leases = leases.len(), error = %crate::logging::chain(&error), "leases could not be renewed");
                    }
                }
                for lease in &leases {
                    if lease.prove().is_err() {
                        self.lose(lease, "not proven in time");
                    }
                }
                leash.renewed();
            }
            // An unproven lease must be cancelled at its deadline, not at the next renewal.
            let deadline = self.held().values().map(|lease| lease.0.proven_until.load(Ordering::Acquire)).min();
            let until_deadline =
                deadline.map(|at| Duration::from_millis(at.saturating_sub(BootInstant::now().as_millis())));
            let pause = until_deadline.unwrap_or(pause).min(pause).max(Duration::from_millis(20));
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Gives every session up at once, because its browser could not be stopped in time if this worker were.
    pub(crate) fn lose_all(&self, why: &'static str) {
        let leases: Vec<Lease> = self.held().values().cloned().collect();
        for lease in leases {
            self.lose(&lease, why);
        }
    }

    /// How many leases are held.
    pub(crate) fn count(&self) -> usize {
        self.held().len()
    }

    /// Uses up one unit of a budget; answers whether it was within `limit`, and when the window ends otherwise.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn spend(&self, budget: &str, limit: u32, window: Duration) -> Result<Spent, RedisError> {
        let (count, left_ms): (u32, i64) = Script::new(COUNT)
            .key(format!("{}:budget:{budget}", self.prefix))
            .arg(window.as_millis() as u64)
            .invoke_async(&mut self.redis.clone())
            .await?;
        Ok(Spent {
            granted: count <= limit,
            used: count.min(limit),
            frees_in: Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)),
        })
    }

    /// The connection and the prefix of every key, for what else lives in Redis.
    pub(crate) fn redis(&self) -> (ConnectionManager, Arc<str>) {
        (self.redis.clone(), Arc::clone(&self.prefix))
    }

    /// Where the budget of a session is kept.
    pub(crate) fn budget_of(&self, session_id: &str) -> (ConnectionManager, String) {
        (self.redis.clone(), format!("{}:sent:{session_id}", self.prefix))
    }

    /// Shortens the wait of every worker's claim loop.
    pub(crate) async fn nudge(&self, session_id: &str) {
        let published: Result<u32, _> = self.redis.clone().publish(self.nudge_channel(), session_id).await;
        if let Err(error) = published {
            tracing::debug!(error = %error, "no nudge; the next tick comes anyway");
        }
    }

    /// Calls `on_nudge` for each nudge until the connection breaks.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn nudges(&self, on_nudge: &Notify) -> Result<(), RedisError> {
        let mut subscription = self.client.get_async_pubsub().await?;
        subscription.subscribe(self.nudge_channel()).await?;
        let mut messages = subscription.into_on_message();
        while futures::StreamExt::next(&mut messages).await.is_some() {
            on_nudge.notify_one();
        }
        Ok(())
    }

    async fn renew(&self, leases: &[Lease]) -> Result<Vec<Renewal>, RedisError> {
        let script = Script::new(RENEW);
        let mut call = script.prepare_invoke();
        for lease in leases {
            call.key(self.key(lease.session_id()));
        }
        let answers: Vec<i64> =
            call.arg(&*self.worker_id).arg(self.ttl.as_millis() as u64).invoke_async(&mut self.redis.clone()).await?;
        Ok(answers
            .into_iter()
            .map(|answer| match answer {
                1 => Renewal::Renewed,
                0 => Renewal::Missing,
                _ => Renewal::Lost,
            })
            .collect())
    }

    async fn settle(&self, lease: &Lease, renewal: Renewal, began: BootInstant) {
        match rules::verdict(renewal) {
            Verdict::Extend => lease.extend(began + self.provable()),
            Verdict::Lose => self.lose(lease, "another worker holds it"),
            Verdict::Reassert => match self.reassert(lease).await {
                Ok(true) => lease.extend(began + self.provable()),
                Ok(false) => self.lose(lease, "it was gone from redis and is not ours any more"),
                Err(error) => {
                    tracing::warn!(session_id = lease.session_id(), error = %crate::logging::chain(&error), "a missing lease could not be taken again");
                }
            },
        }
    }

    /// Redis forgot the lease (a flush, a fail-over): take it again only while MySQL says that no fence is newer than ours.
    async fn reassert(&self, lease: &Lease) -> Result<bool, ClaimError> {
        let newest = self.database.still_owner(lease.session_id(), &self.worker_id, lease.fence()).await?;
        if !rules::may_reassert(lease.prove().is_ok(), newest) {
            return Ok(false);
        }
        let options = redis::SetOptions::default()
            .conditional_set(redis::ExistenceCheck::NX)
            .with_expiration(redis::SetExpiry::PX(self.ttl.as_millis() as u64));
        let set: Result<Option<String>, _> =
            self.redis.clone().set_options(self.key(lease.session_id()), &*self.worker_id, options).await;
        Ok(set.map_err(RedisError)?.is_some())
    }

    fn lose(&self, lease: &Lease, why: &'static str) {
        tracing::warn!(session_id = lease.session_id(), epoch = lease.fence(), why, "lease lost");
        self.held().remove(lease.session_id());
        lease.0.lost.cancel();
    }

    async fn delete(&self, session_id: &str) -> Result<(), RedisError> {
        let mut redis = self.redis.clone();
        let _: i64 =
            Script::new(RELEASE).key(self.key(session_id)).arg(&*self.worker_id).invoke_async(&mut redis).await?;
        Ok(())
    }

    fn provable(&self) -> Duration {
        rules::provable(self.ttl)
    }

    fn key(&self, session_id: &str) -> String {
        format!("{}:lease:{session_id}", self.prefix)
    }

    fn nudge_channel(&self) -> String {
        format!("{}:nudge", self.prefix)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<String, Lease>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One unit of a budget.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    /// It was within the limit.
    pub(crate) granted: bool,
    /// Units used in this window, at most the limit.
    pub(crate) used: u32,
    /// Time until the window ends.
    pub(crate) frees_in: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_proves_nothing_after_its_deadline_or_its_loss() {
        let lease = Lease::new("s1", 7, BootInstant::now() + Duration::from_secs(60));
        assert_eq!(lease.prove(), Ok(()));
        lease.0.lost.cancel();
        assert_eq!(lease.prove(), Err(Fenced));
        let late = Lease::new("s1", 8, BootInstant::now());
        assert_eq!(late.prove(), Err(Fenced));
        late.extend(BootInstant::now() + Duration::from_secs(60));
        assert_eq!(late.prove(), Ok(()));
    }
}
