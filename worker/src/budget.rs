//! The budgets of sessions, in Redis: so they outlive a worker, and are where the next owner looks.
//!
//! What a session has sent is one small value. [`Spent::decide`](crate::pacing::Spent::decide) says whether one more may go;
//! one script puts the new value in the place of the one that was read, or answers that somebody was faster, or that the
//! asker's fence is not the newest: checked and taken in one step, with the rules where they can be tested.

use redis::{AsyncCommands, Script};
use wafleet_protocol::id::SessionId;

use crate::lease::{Leases, RedisError};
use crate::pacing::{Ask, Limits, Refund, Restricted, Spent, Ticket, Verdict};

/// 1: replaced. 0: somebody was faster. -1: a newer owner has written.
const REPLACE: &str = "local kept = redis.call('HMGET', KEYS[1], 'version', 'fence')
if kept[2] and tonumber(kept[2]) > tonumber(ARGV[2]) then return -1 end
if (kept[1] or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', string.format('%d', ARGV[1] + 1), 'fence', ARGV[2], 'spent', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1";
/// The longest window is a day; a restriction may last longer and is told again by the page.
const LIFE_MS: u64 = 2 * 24 * 3600 * 1000;
/// One session has one owner, so somebody is faster only while it changes hands.
const TRIES: u32 = 5;

/// Why a budget was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BudgetError {
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The session has a newer owner.
    #[error("a newer owner keeps the session's budget")]
    NewerOwner,
    /// What is kept was changed again and again while it was looked at.
    #[error("the session's budget is being changed by somebody else")]
    Contended,
}

/// What was decided, and what the session has spent now.
#[derive(Debug, Clone)]
pub(crate) struct Decided {
    pub(crate) verdict: Verdict,
    pub(crate) spent: Spent,
}

/// The budget of one session, as its owner keeps it.
#[derive(Clone)]
pub(crate) struct SessionBudget {
    leases: Leases,
    session: SessionId,
    fence: u64,
}

impl SessionBudget {
    pub(crate) fn new(leases: Leases, session: SessionId, fence: u64) -> Self {
        Self { leases, session, fence }
    }

    /// Counts a message, if it may go now.
    ///
    /// # Errors
    /// [`BudgetError`]: nothing was counted, and nothing may be sent.
    pub(crate) async fn take(&self, limits: &Limits, ask: &Ask, now: u64) -> Result<Decided, BudgetError> {
        let dice = rand::random::<f64>();
        let (verdict, spent) = self.change(|spent| spent.decide(limits, ask, now, dice)).await?;
        Ok(Decided { verdict, spent })
    }

    /// Counts a look-up of a number, if it may be made now; else when.
    ///
    /// # Errors
    /// [`BudgetError`]: nothing was counted, and nothing may be looked up.
    pub(crate) async fn look_up(&self, limits: &Limits, now: u64) -> Result<Option<u64>, BudgetError> {
        Ok(self.change(|spent| spent.look_up(limits, now)).await?.0)
    }

    /// Gives a message back that did not go out.
    ///
    /// # Errors
    /// [`BudgetError`]: it stays counted.
    pub(crate) async fn give_back(&self, ticket: &Ticket, refund: Refund) -> Result<(), BudgetError> {
        self.change(|spent| spent.refund(ticket, refund)).await?;
        Ok(())
    }

    /// Notes WhatsApp's restriction, or its end. Whether that is news.
    ///
    /// # Errors
    /// [`BudgetError`]: it is not noted.
    pub(crate) async fn restrict(&self, restricted: Option<Restricted>) -> Result<bool, BudgetError> {
        Ok(self.change(|spent| spent.restrict(restricted.clone())).await?.0)
    }

    /// Changes what is kept; a change that changes nothing is not written.
    async fn change<T>(&self, mut change: impl FnMut(&mut Spent) -> T) -> Result<(T, Spent), BudgetError> {
        let (mut redis, key) = self.leases.budget_of(self.session.as_str());
        for _ in 0..TRIES {
            let (version, before) = read(&mut redis, &key).await?;
            let mut spent = before.clone();
            let answer = change(&mut spent);
            if spent == before {
                return Ok((answer, spent));
            }
            let text = serde_json::to_string(&spent).expect("numbers and words always serialise");
            let replaced: i64 = Script::new(REPLACE)
                .key(&key)
                .arg(version)
                .arg(self.fence)
                .arg(text)
                .arg(LIFE_MS)
                .invoke_async(&mut redis)
                .await
                .map_err(RedisError::from)?;
            match replaced {
                1 => return Ok((answer, spent)),
                0 => {}
                _ => return Err(BudgetError::NewerOwner),
            }
        }
        Err(BudgetError::Contended)
    }
}

/// What a session has spent, for anybody who asks.
///
/// # Errors
/// Redis is away.
pub(crate) async fn spent(leases: &Leases, session: &str) -> Result<Spent, RedisError> {
    let (mut redis, key) = leases.budget_of(session);
    Ok(read(&mut redis, &key).await?.1)
}

async fn read(redis: &mut redis::aio::ConnectionManager, key: &str) -> Result<(u64, Spent), RedisError> {
    let (version, text): (Option<u64>, Option<String>) = redis.hmget(key, &["version", "spent"]).await?;
    // What an other release wrote and this one cannot read counts as nothing spent; the windows fill again.
    let spent = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    Ok((version.unwrap_or(0), spent))
}
