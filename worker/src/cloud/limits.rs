//! Meta's limits, kept across all workers: messages a second of a number, messages to one recipient, and the 24 hours.
//!
//! Both limits are token buckets of the form of a "theoretical arrival time": one key each, one script for both, so that
//! nothing is taken from one when the other is empty. The clock is Redis'. Recipients are hashed.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionManager;
use redis::{AsyncCommands, Script};
use sha2::{Digest, Sha256};

use crate::lease::RedisError;

/// After a message came in, free-form messages may be sent for so long.
pub(crate) const WINDOW: Duration = Duration::from_secs(24 * 3600);
/// How long a refusal for the rate to one recipient is remembered, to wait longer after the next.
const PAIR_MEMORY: Duration = Duration::from_secs(3600);
/// The longest wait after such refusals: 4^6 seconds.
const PAIR_STEPS: u32 = 6;

/// Takes one message from both buckets, or says how many milliseconds that has to wait.
/// For each key: microseconds between two messages, and how many may go at once. 0 microseconds: no limit.
const TAKE: &str = "local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local wait, arrivals = 0, {}
for i, key in ipairs(KEYS) do
  local gap, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local arrival = math.max(now, tonumber(redis.call('GET', key) or 0))
  wait = math.max(wait, arrival - (burst - 1) * gap - now)
  arrivals[i] = arrival + gap
end
if wait > 0 then return math.ceil(wait / 1000) end
for i, key in ipairs(KEYS) do
  local life = math.ceil((arrivals[i] - now) / 1000)
  if life > 0 then redis.call('SET', key, string.format('%.0f', arrivals[i]), 'PX', life) end
end
return 0";

/// Counts a refusal for the rate to one recipient and closes its bucket for 4^n seconds: the answer, in seconds.
const CLOSE: &str = "local n = redis.call('INCR', KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
local wait = 4 ^ math.min(n, tonumber(ARGV[2]))
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local open = now + wait * 1000000 + (tonumber(ARGV[4]) - 1) * tonumber(ARGV[3])
redis.call('SET', KEYS[2], string.format('%.0f', open), 'PX', math.ceil((open - now) / 1000))
return wait";

/// The limits of all numbers.
pub(crate) struct Limits {
    redis: ConnectionManager,
    prefix: Arc<str>,
    pair_gap_us: u64,
    pair_burst: u32,
}

impl Limits {
    pub(crate) fn new((redis, prefix): (ConnectionManager, Arc<str>), pair_pause: Duration, pair_burst: u32) -> Self {
        let pair_gap_us = u64::try_from(pair_pause.as_micros()).unwrap_or(u64::MAX);
        Self { redis, prefix, pair_gap_us, pair_burst }
    }

    /// Takes the right to send one message. `None` is the right; else how long to wait.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn take(
        &self,
        number: &str,
        per_second: u32,
        recipient: &str,
    ) -> Result<Option<Duration>, RedisError> {
        let per_second = u64::from(per_second.max(1));
        let wait_ms: u64 = Script::new(TAKE)
            .key(self.key("rate", number, None))
            .key(self.key("pair", number, Some(recipient)))
            .arg(1_000_000 / per_second)
            .arg(per_second)
            .arg(self.pair_gap_us)
            .arg(self.pair_burst)
            .invoke_async(&mut self.redis.clone())
            .await?;
        Ok((wait_ms > 0).then(|| Duration::from_millis(wait_ms)))
    }

    /// Meta refused a message for the rate to one recipient: how long nothing goes there.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn refused_for_rate(&self, number: &str, recipient: &str) -> Result<Duration, RedisError> {
        let secs: u64 = Script::new(CLOSE)
            .key(self.key("refused", number, Some(recipient)))
            .key(self.key("pair", number, Some(recipient)))
            .arg(PAIR_MEMORY.as_millis() as u64)
            .arg(PAIR_STEPS)
            .arg(self.pair_gap_us)
            .arg(self.pair_burst)
            .invoke_async(&mut self.redis.clone())
            .await?;
        Ok(Duration::from_secs(secs))
    }

    /// Somebody has written this message to a number, and so long of the 24 hours is left.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn heard(
        &self,
        number: &str,
        from: &str,
        message_id: &str,
        left: Duration,
    ) -> Result<(), RedisError> {
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(0);
        let key = self.key("window", number, Some(from));
        // An older webhook that comes late does not shorten what a newer one opened.
        let open_ms: i64 = self.redis.clone().pttl(&key).await?;
        if left_ms > 0 {
            let of_message = self.key("message", number, Some(message_id));
            let () = self.redis.clone().pset_ex(&of_message, from, left_ms).await?;
        }
        if left_ms > 0 && u64::try_from(open_ms).unwrap_or(0) < left_ms {
            let () = self.redis.clone().pset_ex(&key, message_id, left_ms).await?;
        }
        Ok(())
    }

    /// Whether somebody is known to have written to a number within 24 hours. Forgotten with Redis: then a template is needed.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn is_open(&self, number: &str, recipient: &str) -> Result<bool, RedisError> {
        Ok(self.redis.clone().exists(self.key("window", number, Some(recipient))).await?)
    }

    /// The newest message of somebody who has written within 24 hours.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn last_of(&self, number: &str, from: &str) -> Result<Option<String>, RedisError> {
        let id: Option<String> = self.redis.clone().get(self.key("window", number, Some(from))).await?;
        Ok(id.filter(|id| id.starts_with("wamid.")))
    }

    /// Who wrote a message that came in within 24 hours.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn writer_of(&self, number: &str, message_id: &str) -> Result<Option<String>, RedisError> {
        Ok(self.redis.clone().get(self.key("message", number, Some(message_id))).await?)
    }

    fn key(&self, what: &str, number: &str, recipient: Option<&str>) -> String {
        let prefix = &self.prefix;
        match recipient {
            None => format!("{prefix}:cloud:{what}:{number}"),
            Some(recipient) => {
                let hash = Sha256::new().chain_update(number).chain_update([0]).chain_update(recipient).finalize();
                let hash: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
                format!("{prefix}:cloud:{what}:{number}:{hash}")
            }
        }
    }
}
