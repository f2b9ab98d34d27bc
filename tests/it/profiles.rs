//! Sealed profiles: a session goes on where its profile was never seen, without a new code, and only from a whole one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wafleet_imitation::{Number, Options, Phone};
use wafleet_protocol::command::{Command, MessageSend, SessionStart};
use wafleet_protocol::event::{Cause, Envelope, Event, Outcome, SessionStatus};
use wafleet_tests::fleet::{Letter, Target, Worker, WorkerBuilder};
use wafleet_tests::stage::Stage;
use wafleet_tests::wait;

pub(crate) const DRAIN: Duration = Duration::from_secs(45);
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

const ANNA: &str = "4915112345678";
const BEN: &str = "4915187654321";
/// A text that stands in the page's database and must not stand in ours.
pub(crate) const SECRET: &str = "the-parcel-is-behind-the-green-door";

/// A fleet, the far end, and a session that is linked there.
pub(crate) struct Linked {
    pub(crate) stage: Stage,
    pub(crate) anna: Phone,
    pub(crate) target: Target,
}

impl Linked {
    /// Everything but a worker and the link.
    pub(crate) async fn set() -> Result<Self> {
        let stage = Stage::set(Options::default()).await?;
        let (anna, ben): (Number, Number) = (ANNA.parse()?, BEN.parse()?);
        let anna = stage.site.phone(&anna, "Anna");
        stage.site.phone(&ben, "Ben");
        Ok(Self { stage, anna, target: Target::new("shop")? })
    }

    /// With the session linked on the worker `a`.
    pub(crate) async fn new() -> Result<(Self, Worker)> {
        let linked = Self::set().await?;
        let worker = linked.link(linked.machine("a")).await?;
        Ok((linked, worker))
    }

    /// Starts the worker and links the session on it.
    pub(crate) async fn link(&self, worker: WorkerBuilder) -> Result<Worker> {
        let worker = self.start(worker).await?;
        self.stage.link(&self.target, &self.anna).await?;
        Ok(worker)
    }

    /// Starts the worker.
    pub(crate) async fn start(&self, worker: WorkerBuilder) -> Result<Worker> {
        let mut worker = worker.spawn()?;
        worker.wait_until_ready().await?;
        Ok(worker)
    }

    /// A worker on a machine of its own: nobody else has its disk.
    pub(crate) async fn worker(&self, name: &str) -> Result<Worker> {
        self.start(self.machine(name)).await
    }

    pub(crate) async fn worker_with_keys(&self, name: &str, keys: &Path) -> Result<Worker> {
        self.start(self.machine(name).env("WAFLEET_PROFILE_KEYS_FILE", keys.display().to_string())).await
    }

    /// A worker with a disk of its own, to be adjusted and started.
    pub(crate) fn machine(&self, name: &str) -> WorkerBuilder {
        let worker = self.stage.worker(name).env("WAFLEET_LEASE_TTL_SECS", "5");
        let worker = worker.env("WAFLEET_PROFILE_ROOT", self.disk(name).display().to_string());
        worker.env("WAFLEET_PROFILE_KEYS_FILE", self.stage.fleet.profile_keys_file().display().to_string())
    }

    /// The root of the profiles on that machine.
    pub(crate) fn disk(&self, name: &str) -> PathBuf {
        self.stage.fleet.scratch().join(name)
    }

    pub(crate) async fn code(&self, mark: usize) -> Result<String> {
        let journal = self.stage.host.events();
        let find =
            |event: &Event| if let Event::SessionQr(qr) = event { Some(qr.qr.as_str().to_owned()) } else { None };
        journal.wait_from(mark, "a code", PATIENCE, |envelope| find(&envelope.event)).await
    }

    /// Waits for a status after `mark`; returns its epoch.
    pub(crate) async fn status(&self, mark: usize, status: SessionStatus) -> Result<u64> {
        let what = format!("the status {}", status.as_str());
        let find = |event: &Event| matches!(event, Event::SessionStatus(told) if told.status == status);
        let journal = self.stage.host.events();
        journal.wait_from(mark, &what, PATIENCE, |envelope| find(&envelope.event).then_some(envelope.epoch)).await
    }

    pub(crate) fn codes(&self, mark: usize) -> usize {
        let entries = self.stage.host.events().entries();
        entries[mark..].iter().filter(|entry| matches!(entry.envelope.event, Event::SessionQr(_))).count()
    }

    /// The public statuses that were told since `mark`.
    pub(crate) fn statuses(&self, mark: usize) -> Vec<String> {
        let word = |event: &Event| match event {
            Event::SessionStatus(told) => Some(format!("{} {:?}", told.status.as_str(), told.cause)),
            _ => None,
        };
        self.stage.host.events().entries()[mark..].iter().filter_map(|entry| word(&entry.envelope.event)).collect()
    }

    /// Waits until Anna has received a text, as an event.
    pub(crate) async fn received(&self, mark: usize, text: &str) -> Result<()> {
        let find = |event: &Event| match event {
            Event::MessageReceived(message) => {
                message.text.as_ref().is_some_and(|found| found.as_str() == text).then_some(())
            }
            _ => None,
        };
        self.stage.host.events().wait_from(mark, text, PATIENCE, |envelope| find(&envelope.event)).await
    }

    /// Sends [`SECRET`] to Ben and returns the command as it was published.
    pub(crate) async fn send(&self) -> Result<Letter> {
        let letter = self.letter(SECRET)?;
        ensure!(self.post(&letter).await? == Outcome::Succeeded);
        Ok(letter)
    }

    /// A command that sends a text to Ben.
    pub(crate) fn letter(&self, text: &str) -> Result<Letter> {
        let send = Command::MessageSend(MessageSend::text(BEN.parse()?, text.to_owned().try_into()?));
        self.stage.host.letter(&self.target, &send)
    }

    pub(crate) async fn post(&self, letter: &Letter) -> Result<Outcome> {
        let mark = self.stage.host.events().len();
        self.stage.host.post(letter).await?;
        self.result(mark, letter).await
    }

    /// Waits for the result of a command that was posted after `mark`.
    pub(crate) async fn result(&self, mark: usize, letter: &Letter) -> Result<Outcome> {
        let id = letter.message_id.clone().context("a command has an id")?;
        let find = |event: &Event| match event {
            Event::CommandResult(result) if result.command_id.to_string() == id => Some(result.outcome),
            _ => None,
        };
        self.stage.host.events().wait_from(mark, "the result", PATIENCE, |envelope| find(&envelope.event)).await
    }

    /// `generation:state`, oldest first.
    pub(crate) async fn generations(&self) -> Result<Vec<String>> {
        let select = "SELECT CONCAT(generation, ':', state, IF(unlinked_at IS NULL, '', ' unlinked')) FROM wafleet_snapshots ORDER BY id";
        Ok(sqlx::query_scalar(select).fetch_all(self.stage.fleet.database().pool()).await?)
    }

    pub(crate) async fn wait_for_generations(&self, expected: &[&str]) -> Result<()> {
        self.wait_until_generations(&format!("{expected:?}"), |found| found == expected).await
    }

    pub(crate) async fn wait_until_generations(&self, what: &str, holds: impl Fn(&[String]) -> bool) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let found = self.generations().await?;
            if holds(&found) {
                return Ok(());
            }
            ensure!(Instant::now() < until, "{found:?}, not {what}");
            tokio::time::sleep(Duration::from_millis(20)).await; // between two questions
        }
    }

    pub(crate) async fn end(self) {
        self.stage.site.stop().await;
    }
}

/// Waits until the worker's heartbeat says that it has counted one of these.
pub(crate) async fn counted(worker: &Worker, name: &str) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while worker.count(name)? != 1 {
        ensure!(Instant::now() < until, "{name} is {}", worker.count(name)?);
        tokio::time::sleep(Duration::from_millis(50)).await; // between two questions
    }
    Ok(())
}

/// Whether a text stands anywhere below a directory.
pub(crate) fn stands_in(directory: &Path, text: &str) -> Result<bool> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let found =
            if path.is_dir() { stands_in(&path, text)? } else { path.is_file() && holds(&std::fs::read(&path)?, text) };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether bytes hold a text, one byte or two a character as a browser's databases write it.
fn holds(bytes: &[u8], text: &str) -> bool {
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [text.as_bytes(), &wide].into_iter().any(|text| bytes.windows(text.len()).any(|window| window == text))
}

#[tokio::test]
async fn a_session_moves_to_an_empty_disk_without_a_code_and_with_all_it_knew() -> Result<()> {
    let (linked, mut a) = Linked::new().await?;
    linked.wait_for_generations(&["1:complete"]).await.context("saved right after pairing")?;
    let letter = linked.send().await?;
    ensure!(a.terminate(DRAIN).await?.success());
    ensure!(linked.generations().await? == ["1:complete", "2:complete"], "{:?}", linked.generations().await?);

    // What lies in the database can be read by nobody, though what it was made from can.
    let profile = linked.stage.fleet.scratch().join("a/1/shop/profile/Default");
    let chunks: Vec<Vec<u8>> = sqlx::query_scalar("SELECT data FROM wafleet_snapshot_chunks")
        .fetch_all(linked.stage.fleet.database().pool())
        .await?;
    for secret in [SECRET, ANNA] {
        ensure!(stands_in(&profile, secret)?, "{secret} is not in the profile: this proves nothing");
        ensure!(!chunks.iter().any(|chunk| holds(chunk, secret)), "{secret} can be read in the database");
    }

    let mark = linked.stage.host.events().len();
    let b = linked.worker("b").await?;
    ensure!(linked.status(mark, SessionStatus::Connected).await? == 2, "another owner");
    ensure!(linked.codes(mark) == 0, "a moved session needs no code");
    ensure!(linked.stage.fleet.scratch().join("b/1/shop/profile/Default/IndexedDB").is_dir());
    counted(&b, "snapshots.restored").await?;

    // The same command again: answered from the ledger, and where the ledger does not know, by looking into the chat.
    ensure!(linked.post(&letter).await? == Outcome::Succeeded);
    let forget = "UPDATE wafleet_commands SET state = 'attempting', result = NULL WHERE type = 'message.send'";
    linked.stage.fleet.database().execute(forget).await?;
    ensure!(linked.post(&letter).await? == Outcome::Succeeded);
    let sent = linked.stage.site.sent();
    ensure!(sent.len() == 1 && sent[0].copies() == 1, "not exactly one message left: {sent:?}");

    linked.anna.receive_text(BEN, "Ben", "it has arrived");
    let received = |event: &Event| matches!(event, Event::MessageReceived(_)).then_some(());
    linked.stage.host.events().wait_from(mark, "a message", PATIENCE, |envelope| received(&envelope.event)).await?;
    drop(b);
    linked.end().await;
    Ok(())
}

#[tokio::test]
async fn what_was_saved_before_a_logout_is_never_restored() -> Result<()> {
    let (linked, a) = Linked::new().await?;
    let mark = linked.stage.host.events().len();
    linked.stage.host.send(&linked.target, &Command::SessionLogout).await?;
    linked.status(mark, SessionStatus::LoggedOut).await?;
    linked.wait_for_generations(&["1:complete unlinked"]).await?;
    drop(a);

    let mark = linked.stage.host.events().len();
    let b = linked.worker("b").await?;
    linked.stage.host.send(&linked.target, &Command::SessionStart(SessionStart::default())).await?;
    let code = linked.code(mark).await?;
    linked.anna.scan(&code).await?;
    linked.status(mark, SessionStatus::Connected).await?;
    ensure!(linked.generations().await? == ["1:complete unlinked", "2:complete"], "{:?}", linked.generations().await?);
    drop(b);
    linked.end().await;
    Ok(())
}

#[tokio::test]
async fn a_machine_that_dies_costs_a_session_no_more_than_what_came_after_its_last_safety_copy() -> Result<()> {
    let linked = Linked::set().await?;
    let mut a = linked.link(linked.machine("a").env("WAFLEET_SAFETY_COPY_SECS", "8")).await?;
    let mark = linked.stage.host.events().len();
    let letter = linked.send().await?;
    let copied =
        |found: &[String]| found.last().is_some_and(|last| last != "1:complete" && last.ends_with(":complete"));
    linked.wait_until_generations("a safety copy", copied).await?;

    // The next one takes its time, because the database does. What is wanted and what comes meanwhile waits.
    let mut lock = linked.stage.fleet.database().pool().begin().await?;
    sqlx::query("SELECT 1 FROM wafleet_snapshot_chunks WHERE snapshot_id > 0 FOR UPDATE").fetch_all(&mut *lock).await?;
    let copying = |found: &[String]| found.last().is_some_and(|last| last.ends_with(":writing"));
    linked.wait_until_generations("a safety copy that is being written", copying).await?;
    let meanwhile = linked.letter("sent while the browser was closed for its copy")?;
    linked.stage.host.post(&meanwhile).await?;
    linked.anna.receive_text(BEN, "Ben", "came while the browser was closed for its copy");
    lock.rollback().await?;
    ensure!(linked.result(mark, &meanwhile).await? == Outcome::Succeeded);
    linked.received(mark, "came while the browser was closed for its copy").await?;
    linked.wait_until_generations("the copy is complete", copied).await?;
    ensure!(linked.statuses(mark).is_empty(), "a planned pause is nobody's business: {:?}", linked.statuses(mark));

    // What was said is recorded a moment later; a message that the older profile cannot know must not be asked for again.
    let open = "SELECT COUNT(*) FROM wafleet_commands WHERE state = 'attempting'";
    let until = Instant::now() + PATIENCE;
    while sqlx::query_scalar::<_, i64>(open).fetch_one(linked.stage.fleet.database().pool()).await? > 0 {
        ensure!(Instant::now() < until, "the result is not recorded");
        tokio::time::sleep(Duration::from_millis(10)).await; // between two questions
    }
    a.kill()?;
    let browsers_end = Instant::now() + PATIENCE;
    while std::fs::remove_dir_all(linked.disk("a")).is_err() {
        ensure!(Instant::now() < browsers_end, "the disk of the dead machine stays in use");
        tokio::time::sleep(Duration::from_millis(50)).await; // between two tries
    }
    let mark = linked.stage.host.events().len();
    let b = linked.worker("b").await?;
    ensure!(linked.status(mark, SessionStatus::Connected).await? == 2, "another owner");
    ensure!(linked.codes(mark) == 0, "the machine is gone, the link is not");
    ensure!(linked.post(&letter).await? == Outcome::Succeeded && linked.post(&meanwhile).await? == Outcome::Succeeded);
    let sent = linked.stage.site.sent();
    ensure!(sent.len() == 2 && sent.iter().all(|departure| departure.copies() == 1), "{sent:?}");
    linked.stage.host.events().check_order()?;
    drop(b);
    linked.end().await;
    Ok(())
}

#[tokio::test]
async fn a_session_over_its_quota_loses_its_caches_and_keeps_its_link() -> Result<()> {
    let linked = Linked::set().await?;
    let worker = linked.machine("a").env("WAFLEET_SAFETY_COPY_SECS", "6").env("WAFLEET_PROFILE_QUOTA_MB", "20");
    let a = linked.link(worker).await?;
    let mark = linked.stage.host.events().len();
    let profile = linked.disk("a").join("1/shop/profile/Default");
    let cache = profile.join("Code Cache/ballast");
    std::fs::create_dir_all(profile.join("Code Cache"))?;
    std::fs::write(&cache, vec![0; 30_000_000])?;
    let gone = async || Ok((!cache.exists()).then_some(()));
    wait::until("the caches are pruned while the browser is closed", PATIENCE, gone).await?;
    let degraded = |event: &Event| match event {
        Event::SessionStatus(told) if told.cause == Cause::Health => Some(told.health.degraded),
        _ => None,
    };
    let told = |mark: usize| {
        linked.stage.host.events().entries()[mark..].iter().find_map(|entry| degraded(&entry.envelope.event))
    };
    ensure!(told(mark).is_none(), "without its caches it is small enough");

    // What belongs to the link is not touched, however much it is; it is told, saved, and restored elsewhere.
    let mut noise = vec![0; 25_000_000];
    rand::fill(&mut noise[..]);
    std::fs::write(profile.join("IndexedDB/ballast"), &noise)?;
    let journal = linked.stage.host.events();
    let over = journal.wait_from(mark, "over its quota", PATIENCE, |envelope| degraded(&envelope.event)).await?;
    ensure!(over && std::fs::read(profile.join("IndexedDB/ballast"))? == noise);
    let large = "SELECT COUNT(*) FROM wafleet_snapshots WHERE state = 'complete' AND bytes > 25000000";
    let saved = async || {
        let count: i64 = sqlx::query_scalar(large).fetch_one(linked.stage.fleet.database().pool()).await?;
        Ok((count > 0).then_some(()))
    };
    wait::until("a profile over its quota is saved", PATIENCE, saved).await?;
    drop(a);
    let mark = linked.stage.host.events().len();
    let b = linked.worker("b").await?;
    // What the killed worker left behind may be published after the mark: only the new owner's word counts.
    let connected = |envelope: &Envelope| match &envelope.event {
        Event::SessionStatus(told) if envelope.worker_id.as_str() == "b" => {
            (told.status == SessionStatus::Connected).then_some(())
        }
        _ => None,
    };
    journal.wait_from(mark, "connected on the other worker", 2 * PATIENCE, connected).await?;
    ensure!(
        linked.codes(mark) == 0
            && std::fs::read(linked.disk("b").join("1/shop/profile/Default/IndexedDB/ballast"))? == noise
    );
    drop(b);
    linked.end().await;
    Ok(())
}
