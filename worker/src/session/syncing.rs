//! A session's past: its chats, their messages and its groups, told beside everything else that the session does.
//!
//! It comes last of all: one call into the page at a time, and none while a command is executed, while the spool has no room
//! for everything, or in the pause that follows each call. No event follows before the broker has the one before, so what
//! comes in never waits behind more than one of these. The row of `wafleet_syncs` is the cursor: it moves when what it stands
//! for is confirmed, so that nothing is left out when a worker dies, and at most one chat's messages are told again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use wafleet_browser::{CallError, Page};
use wafleet_protocol::command::SessionSync;
use wafleet_protocol::event::{
    ChatSummary, Event, GroupInfo, GroupPage, SyncChats, SyncGroups, SyncMessages, SyncProgress, SyncState,
};
use wafleet_protocol::id::{EventId, SessionId, WorkspaceId};
use wafleet_protocol::metadata::Metadata;
use wafleet_protocol::timestamp::Timestamp;

use super::Activity;
use super::acting::history_page;
use crate::broker::outbox::Room;
use crate::broker::publisher::PublishError;
use crate::database::{DatabaseError, NewSync, Reached, SyncRow};
use crate::events::{Correlation, EmitError, EventSink};
use crate::lease::{Fenced, Lease};
use crate::logging::chain;
use crate::world::World;

/// Chats of one `sync.chats`.
const BATCH: usize = 50;
/// Messages, or groups, asked for at once.
const PAGE: u64 = 50;
/// Bytes of groups after which an event is told: a group may have 1,024 people in it.
const GROUPS_BYTES: usize = 192 * 1024;
/// How often the page is asked for one chat or group before it is left out.
const TRIES: u32 = 3;
/// Pause before a service or a page is asked again that gave no answer.
const AWAY_PAUSE: Duration = Duration::from_secs(5);

/// Why it does not go on just now.
#[derive(Debug, thiserror::Error)]
enum Halt {
    /// Whoever is online next goes on.
    #[error("the page went away")]
    PageGone,
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// Another sync took its place.
    #[error("another sync took its place")]
    Superseded,
    #[error("the page cannot do it")]
    Page(#[source] CallError),
    #[error("the page's answer has an unknown shape")]
    Shape(#[from] serde_json::Error),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Emit(#[from] EmitError),
    #[error("the broker has not confirmed an event")]
    Unconfirmed(#[from] PublishError),
}

impl From<CallError> for Halt {
    fn from(error: CallError) -> Self {
        match &error {
            CallError::Gone | CallError::NotReady => Self::PageGone,
            CallError::Page { code, .. } if code.as_deref() == Some("not_owner") => Self::PageGone,
            CallError::Page { .. } | CallError::Timeout => Self::Page(error),
        }
    }
}

/// The past of one session, for its owner, as long as its page is connected.
pub(super) struct Syncer {
    pub(super) world: World,
    pub(super) sink: Arc<EventSink>,
    pub(super) lease: Lease,
    pub(super) workspace: WorkspaceId,
    pub(super) session: SessionId,
    pub(super) page: Page,
    /// Whether a command is being executed.
    pub(super) activity: watch::Receiver<Activity>,
    /// Somebody asked for a sync.
    pub(super) news: Arc<Notify>,
}

#[derive(Deserialize)]
struct PlanAnswer {
    chats: Vec<String>,
}

#[derive(Deserialize)]
struct ChatsAnswer {
    chats: Vec<ChatSummary>,
}

impl Syncer {
    /// Tells what is asked for, until the page is gone or the session is not ours any more.
    pub(super) async fn run(self) {
        loop {
            let next = match self.next().await {
                Ok(Some(sync)) => self.tell(sync).await,
                Ok(None) => {
                    self.news.notified().await;
                    continue;
                }
                Err(halt) => Err(halt),
            };
            match next {
                Ok(()) | Err(Halt::Superseded) => {}
                Err(Halt::PageGone | Halt::Fenced(_) | Halt::Emit(EmitError::Fenced(_))) => return,
                Err(halt) => {
                    tracing::warn!(error = %chain(&halt), "the session's past waits");
                    tokio::time::sleep(AWAY_PAUSE).await;
                }
            }
        }
    }

    /// What is to be told now: a sync that goes on, or the first one after linking.
    async fn next(&self) -> Result<Option<SyncRow>, Halt> {
        self.lease.prove()?;
        let (session, fence) = (self.session.as_str(), self.lease.fence());
        if let Some(sync) = self.world.database.take_sync(session, fence).await? {
            return Ok(Some(sync));
        }
        if !self.world.config.sync_after_linking {
            return Ok(None);
        }
        let sync_id = EventId::random(self.world.clock.unix_ms(), rand::random()).to_string();
        let new = NewSync {
            workspace_id: self.workspace.get(),
            session_id: session,
            sync_id: &sync_id,
            by_command: false,
            metadata: None,
            wanted: SessionSync::default(),
        };
        let is_first = self.world.database.first_sync(&new, fence).await?;
        if is_first { Ok(self.world.database.take_sync(session, fence).await?) } else { Ok(None) }
    }

    async fn tell(&self, mut sync: SyncRow) -> Result<(), Halt> {
        let mut plan = match sync.plan.take() {
            Some(plan) => plan,
            None => {
                let plan = self.plan(&sync).await?;
                self.note_plan(&sync, &plan).await?;
                plan
            }
        };
        tracing::info!(chats = plan.len(), done = sync.reached.chats_done, "the session's past is told");
        self.progress(&sync, plan.len(), SyncState::Running).await?;
        loop {
            self.chats(&mut sync, &plan).await?;
            // Chats that have appeared meanwhile: a phone hands its history over bit by bit.
            let known: std::collections::HashSet<&str> = plan.iter().map(String::as_str).collect();
            let most = usize::try_from(sync.wanted.chats.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
            let new = self.plan(&sync).await?.into_iter().filter(|chat| !known.contains(chat.as_str()));
            let new: Vec<String> = new.take(most.saturating_sub(plan.len())).collect();
            if new.is_empty() {
                break;
            }
            plan.extend(new);
            self.note_plan(&sync, &plan).await?;
        }
        if sync.wanted.groups {
            self.groups(&mut sync).await?;
        }
        self.progress(&sync, plan.len(), SyncState::Done).await?;
        self.world.database.end_sync(self.session.as_str(), &sync.sync_id, self.lease.fence()).await?;
        self.world.counters.count("syncs", "done");
        tracing::info!(
            chats = plan.len(),
            messages = sync.reached.messages,
            groups = sync.reached.groups,
            "the session's past was told"
        );
        Ok(())
    }

    async fn plan(&self, sync: &SyncRow) -> Result<Vec<String>, Halt> {
        let day = |days: u64| days.saturating_mul(24 * 3600);
        let since = sync.wanted.days.map(|days| (sync.started_unix_ms / 1000).saturating_sub(day(days)));
        let asked = json!({ "chats": sync.wanted.chats, "since": since });
        let PlanAnswer { chats } = serde_json::from_value(self.ask("sync.plan", asked).await?)?;
        Ok(chats)
    }

    async fn note_plan(&self, sync: &SyncRow, plan: &[String]) -> Result<(), Halt> {
        let (session, fence) = (self.session.as_str(), self.lease.fence());
        let ours = self.world.database.plan_sync(session, &sync.sync_id, fence, plan).await?;
        if ours { Ok(()) } else { Err(Halt::Superseded) }
    }

    /// Notes that everything before this was confirmed.
    async fn note(&self, sync: &SyncRow) -> Result<(), Halt> {
        let (session, fence) = (self.session.as_str(), self.lease.fence());
        let ours = self.world.database.move_sync(session, &sync.sync_id, fence, &sync.reached).await?;
        if ours { Ok(()) } else { Err(Halt::Superseded) }
    }

    /// The rest of the plan, a batch at a time: the chats, then the messages of each.
    async fn chats(&self, sync: &mut SyncRow, plan: &[String]) -> Result<(), Halt> {
        loop {
            let (told, done) = (position(sync.reached.chats_told), position(sync.reached.chats_done));
            let Some(next) = plan.get(done) else { return Ok(()) };
            if done < told {
                sync.reached.messages += self.messages(sync, next).await?;
                sync.reached.chats_done += 1;
                self.note(sync).await?;
                if done + 1 == told {
                    self.progress(sync, plan.len(), SyncState::Running).await?;
                }
                continue;
            }
            let batch = &plan[done..plan.len().min(done + BATCH)];
            let ChatsAnswer { chats } =
                serde_json::from_value(self.ask("sync.chats", json!({ "chats": batch })).await?)?;
            if !chats.is_empty() {
                self.emit(sync, Event::SyncChats(SyncChats { sync_id: sync.sync_id.clone(), chats })).await?;
            }
            sync.reached.chats_told += batch.len() as u64;
            self.note(sync).await?;
        }
    }

    /// The newest messages of one chat, newest page first; answers how many there were.
    async fn messages(&self, sync: &SyncRow, chat: &str) -> Result<u64, Halt> {
        let (mut told, mut cursor) = (0, None);
        while told < sync.wanted.messages {
            let limit = PAGE.min(sync.wanted.messages - told);
            let asked = json!({ "chat": chat, "limit": limit, "cursor": cursor });
            let Some(answer) = self.ask_or_leave_out("chat.history", asked).await? else { break };
            let page = history_page(answer)?;
            told += page.messages.len() as u64;
            cursor = page.cursor.map(|cursor| cursor.as_str().to_owned());
            if !page.messages.is_empty() {
                let part =
                    SyncMessages { sync_id: sync.sync_id.clone(), chat_id: chat.into(), messages: page.messages };
                self.emit(sync, Event::SyncMessages(part)).await?;
            }
            if cursor.is_none() {
                break;
            }
        }
        Ok(told)
    }

    /// The groups behind the cursor, with those who are in them.
    async fn groups(&self, sync: &mut SyncRow) -> Result<(), Halt> {
        loop {
            let asked = json!({ "limit": PAGE, "cursor": sync.reached.group_cursor });
            let GroupPage { groups, cursor } = serde_json::from_value(self.ask("group.list", asked).await?)?;
            let mut ready: (Vec<GroupInfo>, usize) = (Vec::new(), 0);
            let last = groups.len();
            for (number, group) in groups.into_iter().enumerate() {
                let chat_id = group.chat_id.as_str().to_owned();
                if let Some(answer) = self.ask_or_leave_out("group.info", json!({ "group": chat_id })).await? {
                    ready.1 += answer.to_string().len();
                    ready.0.push(serde_json::from_value(answer)?);
                }
                if ready.1 > GROUPS_BYTES || number + 1 == last {
                    let (groups, _) = std::mem::take(&mut ready);
                    let count = groups.len() as u64;
                    if count > 0 {
                        self.emit(sync, Event::SyncGroups(SyncGroups { sync_id: sync.sync_id.clone(), groups }))
                            .await?;
                    }
                    sync.reached.groups += count;
                    sync.reached.group_cursor = Some(chat_id);
                    self.note(sync).await?;
                }
            }
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    async fn progress(&self, sync: &SyncRow, total: usize, state: SyncState) -> Result<(), Halt> {
        self.emit(sync, Event::SyncProgress(progress(sync, total as u64, state))).await
    }

    /// Tells something and waits until the broker has it.
    async fn emit(&self, sync: &SyncRow, event: Event) -> Result<(), Halt> {
        let id = event_id(&self.session, sync, &event)?;
        self.sink.emit(id, event, correlation(sync))?.wait().await?;
        Ok(())
    }

    /// As [`ask`](Self::ask); what the page cannot give, though asked several times, is left out.
    async fn ask_or_leave_out(&self, what: &str, asked: Value) -> Result<Option<Value>, Halt> {
        for _ in 1..TRIES {
            match self.ask(what, asked.clone()).await {
                Ok(answer) => return Ok(Some(answer)),
                Err(Halt::Page(CallError::Page { code: Some(code), .. })) if code == "chat_not_found" => {
                    return Ok(None);
                }
                Err(Halt::Page(error)) => {
                    tracing::debug!(error = %chain(&error), "a part of the session's past is asked for again");
                    tokio::time::sleep(AWAY_PAUSE).await;
                }
                Err(halt) => return Err(halt),
            }
        }
        match self.ask(what, asked).await {
            Err(Halt::Page(error)) => {
                tracing::warn!(error = %chain(&error), what, "a part of the session's past is left out");
                self.world.counters.count("syncs", "left_out");
                Ok(None)
            }
            answer => answer.map(Some),
        }
    }

    /// Asks the page when nobody else wants anything of it, and then leaves it alone for as long as that took.
    async fn ask(&self, what: &str, asked: Value) -> Result<Value, Halt> {
        let mut activity = self.activity.clone();
        let mut room = self.world.publisher.room();
        loop {
            // Their other ends live as long as this worker and this session.
            let _ = room.wait_for(|room| *room == Room::Free).await;
            let _ = activity.wait_for(|activity| !activity.busy).await;
            if *room.borrow() == Room::Free {
                break;
            }
        }
        self.lease.prove()?;
        let begun = Instant::now();
        let answer = self.page.act(what, asked).await;
        tokio::time::sleep(begun.elapsed().max(self.world.config.sync_pause)).await;
        Ok(answer?)
    }
}

fn position(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// How a sync stands.
fn progress(sync: &SyncRow, total: u64, state: SyncState) -> SyncProgress {
    let Reached { chats_done, messages, groups, .. } = sync.reached;
    SyncProgress {
        sync_id: sync.sync_id.clone(),
        state,
        chats: chats_done,
        chats_total: total,
        messages,
        groups,
        started_at: Timestamp::from_unix_ms(sync.started_unix_ms),
    }
}

/// What takes the place of a sync that goes on tells its end first.
///
/// # Errors
/// The event could not be told; the sync goes on.
pub(super) async fn superseded(sink: &EventSink, session: &SessionId, sync: &SyncRow) -> Result<(), EmitError> {
    let total = sync.plan.as_ref().map_or(0, |plan| plan.len() as u64);
    let event = Event::SyncProgress(progress(sync, total, SyncState::Superseded));
    let id = event_id(session, sync, &event).unwrap_or_else(|_| sink.fresh_id());
    Ok(sink.emit(id, event, correlation(sync))?.wait().await?)
}

/// The same words have the same id; a chat that looks different when it is told again has another one.
fn event_id(session: &SessionId, sync: &SyncRow, event: &Event) -> Result<EventId, serde_json::Error> {
    let words = serde_json::to_string(event)?;
    Ok(EventId::derive(sync.started_unix_ms, &[event.type_name(), session.as_str(), &sync.sync_id, &words]))
}

fn correlation(sync: &SyncRow) -> Correlation {
    let metadata = sync.metadata.as_deref().and_then(|metadata| Metadata::parse(metadata).ok());
    Correlation { command: sync.sync_id.parse().ok().filter(|_| sync.by_command), metadata }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sync() -> SyncRow {
        SyncRow {
            sync_id: "01KAPW7T00ABCDEFGHJKMNPQRS".to_owned(),
            by_command: true,
            metadata: Some(r#"{"for":"17"}"#.to_owned()),
            wanted: SessionSync::default(),
            plan: None,
            reached: Reached { chats_told: 50, chats_done: 3, messages: 7, groups: 0, group_cursor: None },
            started_unix_ms: 1_795_000_000_000,
        }
    }

    #[test]
    fn the_same_words_have_one_id_and_others_have_another() {
        let session: SessionId = "s1".parse().expect("a session");
        let told = |done| {
            let sync = SyncRow { reached: Reached { chats_done: done, ..sync().reached }, ..sync() };
            event_id(&session, &sync, &Event::SyncProgress(progress(&sync, 120, SyncState::Running))).expect("JSON")
        };
        assert_eq!(told(3), told(3));
        assert_ne!(told(3), told(4));
    }

    #[test]
    fn a_sync_answers_its_command_and_one_after_linking_answers_nobody() {
        let of_a_command = correlation(&sync());
        assert_eq!(of_a_command.command.map(|id| id.to_string()).as_deref(), Some("01KAPW7T00ABCDEFGHJKMNPQRS"));
        assert_eq!(
            of_a_command.metadata.map(|metadata| metadata.as_str().to_owned()).as_deref(),
            Some(r#"{"for":"17"}"#)
        );
        let after_linking = SyncRow { by_command: false, metadata: None, ..sync() };
        assert_eq!(correlation(&after_linking).command, None);
    }
}
