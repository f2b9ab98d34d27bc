//! `wafleet session …`, `wafleet send …`, `wafleet events`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use wafleet_protocol::command::{
    Calls, Command, MessageSend, SessionLinkCode, SessionMove, SessionSettings, SessionStart,
};
use wafleet_protocol::event::{Envelope, Event, Outcome, ResultData, SessionStatus};
use wafleet_protocol::id::{CommandId, PhoneNumber, SessionId, WorkerId, WorkspaceId};
use wafleet_protocol::lane::Lane;

use super::client::{Client, Events};
use super::limits::LimitOptions;
use super::{Target, Waiting};
use crate::config::{Config, Erasing, Settings};
use crate::database::{Database, Erasure};
use crate::lease::Leases;
use crate::logging::chain;
use crate::media;
use crate::objects::Objects;
use crate::snapshot;
use crate::story::{qr_picture, sentence};

/// An erasure claims nothing; this is only what a lease would be given.
const ERASE_LEASE: Duration = Duration::from_secs(15);

#[derive(Debug, clap::Subcommand)]
pub(super) enum SessionCommand {
    /// Keep a session running; link it if it is not linked.
    #[command(
        after_help = "Link a phone from the terminal:\n  wafleet session start shop --workspace 1 --show-qr --wait 600\n\
                            then on the phone: WhatsApp > Linked devices > Link a device"
    )]
    Start {
        #[command(flatten)]
        target: Target,
        /// Draw each QR code in the terminal until the session is connected or gives up.
        #[arg(long)]
        show_qr: bool,
        /// Link by a code typed into this phone instead (digits with country code).
        #[arg(long, value_name = "PHONE")]
        pairing_phone: Option<PhoneNumber>,
        /// What becomes of calls: `ring` or `reject` (default: as it was).
        #[arg(long, value_name = "WORD")]
        calls: Option<Calls>,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Tell how a session stands.
    Status {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Close a session's browser and keep its credentials.
    Stop {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Unlink the device. The phone has to link again afterwards.
    Logout {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Hand a running session over to another worker, and wait until it is connected there. Its messages wait meanwhile.
    #[command(after_help = "Examples:\n  wafleet session move shop --workspace 1\n  \
                            wafleet session move shop --workspace 1 --to prod/wafleet-1")]
    Move {
        #[command(flatten)]
        target: Target,
        /// The worker that shall own it, by the `worker_id` of its events (default: the one with most room).
        #[arg(long, value_name = "WORKER")]
        to: Option<WorkerId>,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Give a session limits of its own in place of those it had, and tell what it has sent of them. Without options it
    /// follows the fleet's settings again.
    #[command(
        after_help = "Example:\n  wafleet session limits shop --workspace 1 --per-minute 10 --cold-per-day 20 --warm-up-days 0"
    )]
    Limits {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        limits: LimitOptions,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Say how a session behaves by itself, from now on and whoever owns it.
    #[command(after_help = "Example:\n  wafleet session settings shop --workspace 1 --calls reject")]
    Settings {
        #[command(flatten)]
        target: Target,
        /// What becomes of calls: `ring` or `reject`.
        #[arg(long, value_name = "WORD")]
        calls: Calls,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Erase what was saved of a stopped session: its own key is destroyed, which makes every copy of its profiles
    /// unreadable, and its snapshots, their objects and its directory on this machine are deleted. Other machines delete
    /// theirs when a worker starts there. Cannot be undone; the phone has to link again.
    ///
    /// A backup of the database that holds the key's row can still be read with the ring: it has to expire as well.
    #[command(after_help = "Example:\n  wafleet session erase shop --workspace 1 --why 'request 4711' --by anna")]
    Erase {
        #[command(flatten)]
        target: Target,
        /// Why; goes into the ledger of erasures, so name no person.
        #[arg(long)]
        why: String,
        /// Who asks for it.
        #[arg(long, env = "USER", default_value = "operator")]
        by: String,
    },
    /// Ask for a code to type into the phone instead of scanning the QR.
    LinkCode {
        #[command(flatten)]
        target: Target,
        /// The phone, in digits with country code.
        #[arg(long)]
        phone: PhoneNumber,
        #[command(flatten)]
        waiting: Waiting,
    },
}

pub(super) async fn run(command: SessionCommand, settings: &Settings) -> anyhow::Result<ExitCode> {
    let (target, waiting, command, until) = match command {
        SessionCommand::Erase { target, why, by } => return erase(settings, &target, &why, &by).await,
        SessionCommand::Start { target, show_qr, pairing_phone, calls, waiting } => {
            let until = if show_qr || pairing_phone.is_some() { Until::Linked { show_qr } } else { Until::Result };
            (target, waiting, Command::SessionStart(SessionStart { pairing_phone, calls }), until)
        }
        SessionCommand::Status { target, waiting } => (target, waiting, Command::SessionStatus, Until::Result),
        SessionCommand::Settings { target, calls, waiting } => {
            (target, waiting, Command::SessionSettings(SessionSettings { calls }), Until::Result)
        }
        SessionCommand::Limits { target, limits, waiting } => {
            (target, waiting, Command::SessionLimits(limits.into()), Until::Result)
        }
        SessionCommand::Stop { target, waiting } => (target, waiting, Command::SessionStop, Until::Result),
        SessionCommand::Logout { target, waiting } => (target, waiting, Command::SessionLogout, Until::Result),
        SessionCommand::Move { target, to, waiting } => {
            (target, waiting, Command::SessionMove(SessionMove { to }), Until::Moved)
        }
        SessionCommand::LinkCode { target, phone, waiting } => {
            (target, waiting, Command::SessionLinkCode(SessionLinkCode { phone }), Until::Result)
        }
    };
    let client = Client::connect(settings).await?;
    let mut events = client.events(Some(target.workspace), Some(&target.session)).await?;
    let id = client.publish(target.workspace, &target.session, &command, Lane::Normal, waiting.id.as_deref()).await?;
    follow(&mut events, &id, &waiting, until).await
}

/// `wafleet send`
pub(super) async fn send(
    settings: &Settings,
    target: &Target,
    to: &str,
    text: &str,
    reference: Option<String>,
    lane: Lane,
    waiting: &Waiting,
) -> anyhow::Result<ExitCode> {
    let command = Command::MessageSend(MessageSend {
        reference: reference.map(TryInto::try_into).transpose().context("--reference")?,
        ..MessageSend::text(to.parse().context("--to")?, text.try_into().context("--text")?)
    });
    let client = Client::connect(settings).await?;
    let mut events = client.events(Some(target.workspace), Some(&target.session)).await?;
    let id = client.publish(target.workspace, &target.session, &command, lane, waiting.id.as_deref()).await?;
    follow(&mut events, &id, waiting, Until::Result).await
}

/// `wafleet events`
pub(super) async fn events(
    settings: &Settings,
    workspace: Option<WorkspaceId>,
    session: Option<&SessionId>,
    count: Option<u64>,
) -> anyhow::Result<ExitCode> {
    let client = Client::connect(settings).await?;
    let mut events = client.events(workspace, session).await?;
    let mut seen = 0;
    while count.is_none_or(|count| seen < count) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            event = events.next(None) => {
                if let Some(envelope) = event? {
                    println!("{}", String::from_utf8_lossy(&envelope.to_bytes()));
                    seen += 1;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What ends the waiting.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    /// The command's final result.
    Result,
    /// The session is connected, or has given up.
    Linked { show_qr: bool },
    /// It has arrived at another worker, and is connected there or has given up.
    Moved,
}

pub(super) async fn follow(
    events: &mut Events<'_>,
    id: &CommandId,
    waiting: &Waiting,
    mut until: Until,
) -> anyhow::Result<ExitCode> {
    let deadline = Instant::now() + Duration::from_secs(waiting.wait);
    if !waiting.json {
        eprintln!("command {id} is in its queue");
    }
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Some(envelope) = events.next(Some(left)).await? else {
            eprintln!(
                "no end after {} s; the command goes on without us (watch it with `wafleet events`, or ask again with --id {id})",
                waiting.wait
            );
            return Ok(ExitCode::FAILURE);
        };
        if waiting.json {
            println!("{}", String::from_utf8_lossy(&envelope.to_bytes()));
        } else {
            println!("{}", sentence(&envelope));
        }
        if let (Event::SessionQr(qr), Until::Linked { show_qr: true }, false) = (&envelope.event, until, waiting.json)
            && let Some(picture) = qr_picture(qr.qr.as_str())
        {
            println!("{picture}");
        }
        if let Some(code) = ends(&envelope, id, until) {
            return Ok(code);
        }
        if let (Event::CommandResult(result), Until::Moved) = (&envelope.event, until)
            && result.command_id == *id
            && result.outcome == Outcome::Succeeded
        {
            until = Until::Linked { show_qr: false };
        }
    }
}

async fn erase(settings: &Settings, target: &Target, why: &str, by: &str) -> anyhow::Result<ExitCode> {
    ensure!(!why.is_empty() && why.chars().count() <= 512, "--why needs 1 to 512 characters");
    ensure!(!by.is_empty() && by.chars().count() <= 100, "--by needs 1 to 100 characters");
    let Erasing { database_url, redis, profile_root, object_store } = Config::for_erasure(settings)?;
    let (workspace, session) = (target.workspace.get(), target.session.as_str());
    let database = Database::new(&database_url)?;
    // A worker that was killed leaves its name in the database, and in Redis a lease that ends by itself.
    let leases = Leases::new(&redis, database.clone(), by, ERASE_LEASE, ERASE_LEASE)?;
    let free = leases.free(&[session.to_owned()]).await.context("cannot see whether a worker holds the session")?;
    if free != [true] {
        bail!(
            "a worker holds session {session}: run `wafleet session stop {session} --workspace {workspace}` first; the lease \
             of a worker that was killed ends by itself within the TTL of leases"
        );
    }
    let snapshots = match database.erase_session(workspace, session, by, why).await? {
        Erasure::Erased { snapshots } => snapshots,
        Erasure::Unknown => bail!("workspace {workspace} has no session {session}"),
        Erasure::InUse => bail!(
            "session {session} is to be running: run `wafleet session stop {session} --workspace {workspace}` first"
        ),
    };
    println!("session {session} of workspace {workspace}: its key is destroyed, {snapshots} saved profile(s) deleted");
    match object_store.as_ref().map(Objects::new).transpose()? {
        Some(objects) => match snapshot::clean_objects(&objects, &database).await {
            Ok(deleted) => {
                let files = media::clean(&objects, &database)
                    .await
                    .context("files of received messages are still in the store; a worker deletes them")?;
                println!("deleted {deleted} object(s) and {files} file(s) of received messages from the object store");
            }
            Err(error) => {
                eprintln!("objects are still in the store, unreadable; a worker deletes them: {}", chain(&error))
            }
        },
        None if snapshots > 0 => println!("objects of it, if there is an object store, are deleted by the next worker"),
        None => {}
    }
    let directory = profile_root.join(workspace.to_string()).join(session);
    match std::fs::remove_dir_all(&directory) {
        Ok(()) => println!("deleted {}", directory.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => println!("no directory of it on this machine"),
        Err(error) => return Err(error).with_context(|| format!("cannot delete {}", directory.display())),
    }
    Ok(ExitCode::SUCCESS)
}

/// The exit code, if this event is the end.
fn ends(envelope: &Envelope, id: &CommandId, until: Until) -> Option<ExitCode> {
    match (&envelope.event, until) {
        (Event::CommandResult(result), until) if result.command_id == *id => match (result.outcome, until) {
            (Outcome::Succeeded, Until::Result) => Some(ExitCode::SUCCESS),
            (Outcome::Succeeded, Until::Moved) => match &result.data {
                Some(ResultData::Session(told)) if told.status == SessionStatus::Connected => Some(ExitCode::SUCCESS),
                _ => None,
            },
            (Outcome::Failed | Outcome::Unknown, _) => Some(ExitCode::FAILURE),
            (Outcome::Succeeded | Outcome::Deferred, _) => None,
        },
        (Event::SessionStatus(told), Until::Linked { .. }) => match told.status {
            SessionStatus::Connected => Some(ExitCode::SUCCESS),
            SessionStatus::LoggedOut | SessionStatus::Failed | SessionStatus::Stopped => Some(ExitCode::FAILURE),
            _ => None,
        },
        _ => None,
    }
}
