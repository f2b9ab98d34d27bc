//! `wafleet session …`, `wafleet send …`, `wafleet events`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use wafleet_protocol::command::{Command, Content, MessageSend, SessionLinkCode, SessionStart};
use wafleet_protocol::event::{Envelope, Event, Outcome, SessionStatus};
use wafleet_protocol::id::{CommandId, PhoneNumber, SessionId, WorkspaceId};
use wafleet_protocol::lane::Lane;

use super::client::{Client, Events};
use super::{Target, Waiting};
use crate::config::Settings;
use crate::story::{qr_picture, sentence};

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
        SessionCommand::Start { target, show_qr, pairing_phone, waiting } => {
            let until = if show_qr || pairing_phone.is_some() { Until::Linked { show_qr } } else { Until::Result };
            (target, waiting, Command::SessionStart(SessionStart { pairing_phone }), until)
        }
        SessionCommand::Status { target, waiting } => (target, waiting, Command::SessionStatus, Until::Result),
        SessionCommand::Stop { target, waiting } => (target, waiting, Command::SessionStop, Until::Result),
        SessionCommand::Logout { target, waiting } => (target, waiting, Command::SessionLogout, Until::Result),
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
        to: to.parse().context("--to")?,
        content: Content::Text { text: text.try_into().context("--text")? },
        reference: reference.map(TryInto::try_into).transpose().context("--reference")?,
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
enum Until {
    /// The command's final result.
    Result,
    /// The session is connected, or has given up.
    Linked { show_qr: bool },
}

async fn follow(events: &mut Events<'_>, id: &CommandId, waiting: &Waiting, until: Until) -> anyhow::Result<ExitCode> {
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
    }
}

/// The exit code, if this event is the end.
fn ends(envelope: &Envelope, id: &CommandId, until: Until) -> Option<ExitCode> {
    match (&envelope.event, until) {
        (Event::CommandResult(result), until) if result.command_id == *id => match (result.outcome, until) {
            (Outcome::Succeeded, Until::Result) => Some(ExitCode::SUCCESS),
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
