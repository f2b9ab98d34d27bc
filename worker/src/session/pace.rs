//! A session's pace: whether a message may go now, what it costs, and what the actor does meanwhile.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use wafleet_browser::{Message as PageMessage, Page, Status as PageStatus};
use wafleet_protocol::command::MessageSend;
use wafleet_protocol::error::ErrorCode;
use wafleet_protocol::event::{Cause, CommandError, ResultData};
use wafleet_protocol::id::{ChatKind, MessageId};
use wafleet_protocol::timestamp::Timestamp;

use super::execute::{Done, Follow, Job};
use super::lanes::{PARKED_AT_MOST, Tier};
use super::score::Send;
use super::typing;
use super::{Happening, RETRY_PAUSE, SessionActor};
use crate::budget::{BudgetError, SessionBudget};
use crate::database::ContactKey;
use crate::intake::{IntakeError, Order};
use crate::logging::chain;
use crate::pacing::{Ask, Limits, Refund, Restricted, Ticket, Verdict, Why};
use crate::settle::{Outcome, tell_deferred};

/// A wait for the session's budget that is longer is told to the sender of the command at the head.
const TOLD_FROM: Duration = Duration::from_secs(60);
/// How long a session leaves its workspace's campaigns to others after one message that it could not send.
const OTHERS_FIRST_MS: u64 = 30_000;
/// The restriction of whom an account may write to, in WhatsApp's own word.
const TIMELOCK: &str = "reachout_timelock";
/// Contacts that a session remembers to have noted, so that it does not note them at every message.
const REMEMBERED_CONTACTS: usize = 4096;

/// What a job learned about the pace, for the actor.
#[derive(Default)]
pub(super) struct Pace(Mutex<Learned>);

#[derive(Default)]
struct Learned {
    /// Counted, and not yet known to have been sent.
    ticket: Option<Ticket>,
    contact: Option<ContactKey>,
    /// The contact is new to the session.
    stranger: bool,
    /// Unix milliseconds before which nothing that is not urgent goes, and nothing of a campaign.
    next: Option<(u64, u64)>,
    /// It is typed for so long first.
    typing: Duration,
    /// When the send began, and how it went.
    began: Option<Instant>,
    send: Option<Send>,
}

impl Pace {
    fn learned<T>(&self, look: impl FnOnce(&mut Learned) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether a command may be carried out now.
pub(super) enum Gate {
    /// It may; what it costs is counted.
    Open,
    /// It waits in its lane.
    Closed(Follow),
    /// It waits elsewhere, or has ended.
    Ends(Outcome),
}

impl Job {
    fn budget(&self) -> SessionBudget {
        SessionBudget::new(self.world.leases.clone(), self.session.clone(), self.lease.fence())
    }

    /// Whether the session may still look somebody up.
    pub(super) async fn look_up_allowed(&self) -> Result<(), Outcome> {
        let unknown = |error: &dyn std::error::Error| {
            tracing::warn!(error = %chain(error), "the session's budget is not known; the look-up waits");
            Outcome::Wait
        };
        let known = self.world.database.acquaintance(self.session.as_str(), None).await.map_err(|e| unknown(&e))?;
        let limits = self.world.config.limits.with(&known.limits).warmed(known.linked_for_secs);
        let until = self.budget().look_up(&limits, self.world.clock.unix_ms()).await.map_err(|e| unknown(&e))?;
        let Some(until) = until else { return Ok(()) };
        self.world.counters.count("messages.deferred", Why::Checks.as_str());
        let (code, message) = reason(Why::Checks, &limits);
        Err(Outcome::Deferred(CommandError::new(code, message), Timestamp::from_unix_secs(until.div_ceil(1000))))
    }

    /// Asked before a message is recorded as begun.
    ///
    /// # Errors
    /// [`IntakeError`]: nothing is known, and the delivery is still unacknowledged.
    pub(super) async fn gate(&self, order: &Order, page: &Page, message: &MessageSend) -> Result<Gate, IntakeError> {
        let to = &message.to;
        if order.attempted {
            // What the page has already was counted when it was sent.
            let id = MessageId::for_command(&order.verified.message_id, &self.session);
            if let Ok(Some(_)) = page.find_message(to.as_ref(), id.as_str()).await {
                return Ok(Gate::Open);
            }
        }
        let contact = ContactKey::new(self.workspace, to.as_str());
        let known = self.world.database.acquaintance(self.session.as_str(), Some(&contact)).await?;
        let limits = self.world.config.limits.with(&known.limits).warmed(known.linked_for_secs);
        let cold = !known.met && !matches!(to.kind(), ChatKind::Group | ChatKind::Status);
        let urgent = self.tier == Tier::Urgent;
        // A chat that is only made by the message shows nothing, and what was begun before was typed before.
        let characters = if urgent || cold || order.attempted { 0 } else { typing::characters(message) };
        let typing_ms = limits.typing_ms(characters, rand::random::<f64>());
        let ask =
            Ask { urgent, contact: contact.short(), cold, checked: cold && to.kind() == ChatKind::Contact, typing_ms };
        let now = self.world.clock.unix_ms();
        let decided = match self.budget().take(&limits, &ask, now).await {
            Ok(decided) => decided,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the session's budget is not known; the message waits");
                return Ok(self.closed(now + u64::try_from(RETRY_PAUSE.as_millis()).unwrap_or(0)));
            }
        };
        match decided.verdict {
            Verdict::Go(ticket) => {
                // What takes longer has to be told, and that is done by the next message itself: it is let through to here.
                let told_from = now + u64::try_from(TOLD_FROM.as_millis()).unwrap_or(0);
                let next = Some(decided.spent.next_at(&limits, now)).filter(|next| *next <= told_from).unwrap_or(now);
                let campaign = now + decided.spent.campaign_gap(&limits, self.status.health.score, now);
                self.pace.learned(|learned| {
                    *learned = Learned {
                        ticket: Some(ticket),
                        contact: Some(contact),
                        stranger: !known.met,
                        next: Some((next, if self.tier == Tier::Campaign { next.max(campaign) } else { next })),
                        typing: Duration::from_millis(typing_ms),
                        began: Some(Instant::now()),
                        send: None,
                    };
                });
                Ok(Gate::Open)
            }
            Verdict::Wait { until, why } => self.wait(order, &limits, until, why, now).await,
        }
    }

    /// The message may not go yet.
    async fn wait(&self, order: &Order, limits: &Limits, until: u64, why: Why, now: u64) -> Result<Gate, IntakeError> {
        self.world.counters.count("messages.deferred", why.as_str());
        let (code, message) = reason(why, limits);
        let error = CommandError::new(code, message);
        let moment = Timestamp::from_unix_secs(until.div_ceil(1000));
        if why.holds_the_session() && self.tier != Tier::Urgent {
            if until.saturating_sub(now) > u64::try_from(TOLD_FROM.as_millis()).unwrap_or(u64::MAX) {
                tell_deferred(&self.world, &self.sink, order, error, moment).await?;
            }
            return Ok(self.closed(until));
        }
        if order.any {
            // Another session may have what this one lacks: it leaves the queue to them for a while.
            self.pace.learned(|learned| learned.next = Some((now, now + OTHERS_FIRST_MS)));
        }
        Ok(Gate::Ends(Outcome::Deferred(error, moment)))
    }

    /// Nothing of this tier before that moment. The urgent lane stays open for control: there the message waits elsewhere.
    fn closed(&self, until: u64) -> Gate {
        if self.tier == Tier::Urgent { Gate::Ends(Outcome::Wait) } else { Gate::Closed(Follow::Park { until }) }
    }

    /// Reports what became of a message that was counted.
    pub(super) async fn account(&self, order: &Order, outcome: &Outcome) {
        let (ticket, contact, stranger) =
            self.pace.learned(|learned| (learned.ticket.take(), learned.contact.take(), learned.stranger));
        let Some(ticket) = ticket else { return };
        self.pace
            .learned(|learned| learned.send = learned.began.and_then(|began| how_it_went(outcome, began.elapsed())));
        if let Some(refund) = refund(outcome)
            && let Err(error) = self.budget().give_back(&ticket, refund).await
        {
            tracing::warn!(error = %chain(&error), "a message that was not sent stays counted");
        }
        if let (Outcome::Succeeded(Some(ResultData::Message(sent))), true) = (outcome, stranger) {
            // WhatsApp may know the chat by another name than the command did.
            let chat = ContactKey::new(self.workspace, sent.chat_id.as_str());
            let met: Vec<ContactKey> = contact.into_iter().chain([chat]).collect();
            if let Err(error) = self.world.database.met(self.workspace, self.session.as_str(), &met).await {
                tracing::warn!(command_id = order.record.command_id, error = %chain(&error), "that a contact was met is not recorded");
            }
        }
    }

    /// Types before the message, for as long as was decided. False: somebody more urgent waits, and nothing is counted.
    pub(super) async fn type_first(&self, page: &Page, message: &MessageSend) -> bool {
        let time = self.pace.learned(|learned| std::mem::take(&mut learned.typing));
        let typed = self.typist.type_for(page, message.to.as_ref(), time).await;
        if typed {
            self.pace.learned(|learned| learned.began = Some(Instant::now()));
        } else {
            self.world.counters.count("messages.overtaken", "typing");
            self.give_up().await;
            self.pace.learned(|learned| learned.next = None);
        }
        typed
    }

    /// Gives back what was counted for a message whose execution came to nothing.
    pub(super) async fn give_up(&self) {
        if let Some(ticket) = self.pace.learned(|learned| learned.ticket.take())
            && let Err(error) = self.budget().give_back(&ticket, Refund::All).await
        {
            tracing::warn!(error = %chain(&error), "a message that was not sent stays counted");
        }
    }
}

/// What is given back after this outcome; nothing if a message went out, or may have.
fn refund(outcome: &Outcome) -> Option<Refund> {
    match outcome {
        Outcome::Succeeded(_) | Outcome::Unknown(_) => None,
        Outcome::Wait | Outcome::Aside | Outcome::Deferred(..) => Some(Refund::All),
        Outcome::Failed(error) => match error.code {
            ErrorCode::RecipientNotFound => Some(Refund::NotTheCheck),
            ErrorCode::MessageRefused => None, // WhatsApp was asked, and counts itself
            _ => Some(Refund::All),
        },
        Outcome::Retry(error) => match error.code {
            ErrorCode::AckTimeout | ErrorCode::Interrupted => None,
            _ => Some(Refund::All),
        },
    }
}

/// What a send says of the session's health; nothing if it is not the session's doing.
fn how_it_went(outcome: &Outcome, took: Duration) -> Option<Send> {
    match outcome {
        Outcome::Succeeded(_) => Some(Send::Acknowledged(took)),
        Outcome::Wait | Outcome::Aside | Outcome::Deferred(..) => None,
        Outcome::Failed(error) => (error.code == ErrorCode::MessageRefused).then_some(Send::Failed),
        Outcome::Retry(_) | Outcome::Unknown(_) => Some(Send::Failed),
    }
}

fn reason(why: Why, limits: &Limits) -> (ErrorCode, String) {
    let used = |limit: u32, what: &str| format!("the session has used up its {limit} {what}");
    match why {
        Why::Restricted => {
            let message = "WhatsApp restricts the account: contacts it has not exchanged messages with have to wait";
            (ErrorCode::AccountRestricted, message.to_owned())
        }
        Why::Minute | Why::Delay => (ErrorCode::RateLimited, used(limits.per_minute, "messages of this minute")),
        Why::Hour => (ErrorCode::RateLimited, used(limits.per_hour, "messages of this hour")),
        Why::Day => (ErrorCode::RateLimited, used(limits.per_day, "messages of this day")),
        Why::Cold => (ErrorCode::RateLimited, used(limits.cold_per_day, "first messages of this day to new contacts")),
        Why::Checks => (ErrorCode::RateLimited, used(limits.checks_per_hour, "look-ups of numbers of this hour")),
        Why::Contact => {
            (ErrorCode::RateLimited, used(limits.contact_per_minute, "messages of this minute to this contact"))
        }
    }
}

impl SessionActor {
    /// What a job learned about when the next message may go.
    pub(super) fn keep_pace(&mut self, done: &Done) {
        if let Some((next, campaign)) = done.pace.learned(|learned| learned.next) {
            self.slow_down(Tier::Paced, next);
            self.slow_down(Tier::Campaign, campaign);
        }
        if let Some(send) = done.pace.learned(|learned| learned.send) {
            self.score.sent(send, Instant::now());
            self.look_at_health();
        }
    }

    /// Nothing of this tier before this moment, in unix milliseconds. What is in hand stays there if that is soon.
    fn slow_down(&mut self, tier: Tier, until: u64) {
        let wait = Duration::from_millis(until.saturating_sub(self.world.clock.unix_ms())).min(PARKED_AT_MOST);
        if self.lanes.wait(tier, Instant::now() + wait) {
            self.open_reader(tier, wait);
        }
    }

    /// As [`slow_down`](Self::slow_down), and what is in hand goes back now, however soon that is.
    pub(super) fn park(&mut self, tier: Tier, until: u64) {
        let wait = Duration::from_millis(until.saturating_sub(self.world.clock.unix_ms())).min(PARKED_AT_MOST);
        self.reopen(tier, wait);
        self.lanes.wait(tier, Instant::now() + wait);
    }

    /// Closes a tier and opens it again: what it held goes back in order.
    pub(super) fn reopen(&mut self, tier: Tier, after: Duration) {
        self.lanes.drop_reader(tier);
        if self.reads(tier) {
            self.open_reader(tier, after);
        }
    }

    /// WhatsApp's restriction, or its end, is told and kept where the next owner finds it. A page that is not connected does
    /// not know yet.
    pub(super) fn look_whether_restricted(&mut self, status: &PageStatus) {
        let Some(restricted) = status.restricted.filter(|_| status.is_online()) else { return };
        let now = restricted.then(|| Restricted { kind: TIMELOCK.to_owned(), until: None });
        let budget = SessionBudget::new(self.world.leases.clone(), self.session.clone(), self.lease.fence());
        if self.restriction_noted && now == self.restricted {
            return;
        }
        self.restriction_noted = true;
        if now != self.restricted {
            tracing::warn!(restricted, "WhatsApp restricts the account, or no longer does");
            self.restricted = now.clone();
            self.tell_health_because(Cause::Restricted);
        }
        self.work.spawn(async move {
            while let Err(error) = budget.restrict(now.clone()).await {
                if matches!(error, BudgetError::NewerOwner) {
                    break;
                }
                tracing::warn!(error = %chain(&error), "the restriction is not noted yet; trying again");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Happening::Nothing
        });
    }

    /// Remembers with whom this message was exchanged.
    pub(super) fn meet(&mut self, message: &PageMessage) {
        if message.chat_id.ends_with("@g.us") {
            return; // who writes in a group has not written to us
        }
        let names = [message.sender_phone.as_deref(), message.sender_lid.as_deref()];
        let names = names.into_iter().flatten().filter(|_| !message.from_me);
        let keys: Vec<ContactKey> = names
            .chain([message.chat_id.as_str()])
            .map(|address| ContactKey::new(self.workspace, address))
            .filter(|key| !self.met.contains(key))
            .collect();
        if keys.is_empty() {
            return;
        }
        if self.met.len() > REMEMBERED_CONTACTS {
            self.met.clear();
        }
        self.met.extend(keys.iter().copied());
        let (database, workspace, session) = (self.world.database.clone(), self.workspace, self.session.clone());
        self.work.spawn(async move {
            if let Err(error) = database.met(workspace, session.as_str(), &keys).await {
                tracing::warn!(error = %chain(&error), "that a contact was met is not recorded");
            }
            Happening::Nothing
        });
    }
}
