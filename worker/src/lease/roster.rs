//! Who else is there, and which of them is meant to take a session that was just released.
//!
//! The roster is one hash: each worker writes its own line at every tick, with a life after which the others strike it
//! off. It decides how sessions are spread and nothing else, so a flush of Redis costs a tick, never a session.
//!
//! Beside it stands the *era*: since when this Redis has known the fleet. A lease that is missing has ended only if Redis
//! is older than a lease's life; in a younger one, after a flush or a fail-over, it may merely be forgotten, and its owner
//! has a browser running.

use std::time::Duration;

use redis::{AsyncCommands, Script};
use serde::{Deserialize, Serialize};

use super::{Lease, Leases, RedisError};
use crate::spread::Member;

/// How long a released session is left to the worker it was released for. If that one does not come, anybody may.
pub(crate) const HINT_LIFE: Duration = Duration::from_secs(10);

/// Writes our line, or strikes it off if it is empty, and answers with the era's age in milliseconds and all lines that are
/// alive. Redis' own clock counts.
const MEET: &str = "local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[1] ~= '' then
  if ARGV[2] == '' then redis.call('HDEL', KEYS[1], ARGV[1])
  else redis.call('HSET', KEYS[1], ARGV[1], string.format('%d', now + ARGV[3]) .. ' ' .. ARGV[2]) end
end
redis.call('SET', KEYS[2], string.format('%d', now), 'NX')
local alive = {string.format('%d', now - tonumber(redis.call('GET', KEYS[2])))}
local lines = redis.call('HGETALL', KEYS[1])
for i = 1, #lines, 2 do
  local until_ms, says = string.match(lines[i + 1], '^(%d+) (.*)$')
  if until_ms == nil or tonumber(until_ms) < now then redis.call('HDEL', KEYS[1], lines[i])
  else alive[#alive + 1] = lines[i]; alive[#alive + 1] = says end
end
return alive";

/// What a worker says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    capacity: u32,
    load: u32,
}

/// What a worker learns at each tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meeting {
    /// Who is there, sorted by id.
    pub(crate) members: Vec<Member>,
    /// Redis has known the fleet for longer than a lease lives: a lease that is missing has ended.
    pub(crate) remembers: bool,
}

/// How a session stands in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Somebody holds its lease.
    Held,
    /// Nobody holds it, and another worker is meant to take it.
    LeftToAnother,
    /// It was released for us.
    LeftToUs,
    /// Nobody holds it.
    Free,
}

impl Leases {
    /// Tells the others what we own, and learns who they are, ourselves among them, sorted by id.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn meet(&self, capacity: u32, load: u32) -> Result<Meeting, RedisError> {
        let line = serde_json::to_string(&Line { capacity, load }).expect("two numbers always serialise");
        self.roster_with(&self.worker_id, &line).await
    }

    /// Takes ourselves off the roster: the others may have what is ours.
    ///
    /// # Errors
    /// Redis is away; then the line ends with its life.
    pub(crate) async fn leave(&self) -> Result<(), RedisError> {
        self.roster_with(&self.worker_id, "").await.map(drop)
    }

    /// Who is there, sorted by id.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn roster(&self) -> Result<Vec<Member>, RedisError> {
        Ok(self.roster_with("", "").await?.members)
    }

    async fn roster_with(&self, me: &str, line: &str) -> Result<Meeting, RedisError> {
        let said: Vec<String> = Script::new(MEET)
            .key(format!("{}:workers", self.prefix))
            .key(format!("{}:era", self.prefix))
            .arg(me)
            .arg(line)
            .arg(self.presence.as_millis() as u64)
            .invoke_async(&mut self.redis.clone())
            .await?;
        let era = said.first().and_then(|age| age.parse().ok()).map_or(Duration::ZERO, Duration::from_millis);
        let mut members: Vec<Member> = said
            .get(1..)
            .unwrap_or_default()
            .chunks_exact(2)
            .filter_map(|line| {
                // A line of another release may say more, never less.
                let says: Line = serde_json::from_str(&line[1]).ok()?;
                Some(Member { id: line[0].clone(), capacity: says.capacity.max(1), load: says.load })
            })
            .collect();
        members.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(Meeting { members, remembers: era >= self.ttl })
    }

    /// Of the sessions given, how each stands. One answer of Redis: a lease that is gone cannot hide for whom.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn standing(&self, session_ids: &[String]) -> Result<Vec<Standing>, RedisError> {
        if session_ids.is_empty() {
            return Ok(Vec::new());
        }
        let leases = session_ids.iter().map(|session_id| self.key(session_id));
        let keys: Vec<String> = leases.chain(session_ids.iter().map(|session_id| self.hint(session_id))).collect();
        let values: Vec<Option<String>> = self.redis.clone().mget(keys).await?;
        let (owners, takers) = values.split_at(session_ids.len().min(values.len()));
        Ok(owners
            .iter()
            .zip(takers)
            .map(|(owner, taker)| match (owner, taker.as_deref()) {
                (Some(_), _) => Standing::Held,
                (None, Some(taker)) if taker == &*self.worker_id => Standing::LeftToUs,
                (None, Some(_)) => Standing::LeftToAnother,
                (None, None) => Standing::Free,
            })
            .collect())
    }

    /// Gives a session back so that one certain worker takes it: for [`HINT_LIFE`] the others leave it alone.
    pub(crate) async fn release_to(&self, lease: &Lease, taker: &str) {
        if lease.prove().is_ok() {
            let life = HINT_LIFE.as_secs();
            // Before the lease goes: nobody sees a session that is free and does not see for whom.
            let hinted: Result<(), _> = self.redis.clone().set_ex(self.hint(lease.session_id()), taker, life).await;
            if let Err(error) = hinted {
                tracing::warn!(session_id = lease.session_id(), %error, "the session goes to whoever is first");
            }
        }
        self.release(lease).await;
    }

    /// The session has been taken by whom it was meant for.
    pub(super) async fn forget_hint(&self, session_id: &str) {
        // If this fails the hint ends with its life.
        let _: Result<(), _> = self.redis.clone().del(self.hint(session_id)).await;
    }

    fn hint(&self, session_id: &str) -> String {
        format!("{}:taker:{session_id}", self.prefix)
    }
}
