//! `wafleet campaign …` and `wafleet optout …`: commands about a workspace.

use std::process::ExitCode;

use wafleet_protocol::command::{CampaignControl, Command, OptOut};
use wafleet_protocol::id::{CampaignId, PhoneNumber, SessionId, WorkspaceId};
use wafleet_protocol::lane::Lane;

use super::Waiting;
use super::client::Client;
use super::session::{Until, follow};
use crate::config::Settings;

#[derive(Debug, clap::Subcommand)]
pub(super) enum CampaignCommand {
    /// Tell how a campaign goes: how many of its messages the fleet has seen, and what became of them.
    Status(Which),
    /// Let a campaign's messages wait.
    Pause(Which),
    /// Let them go on.
    Resume(Which),
    /// Let those that have not gone out fail. Cannot be undone.
    Cancel(Which),
}

#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The campaign, as its messages name it.
    campaign: CampaignId,
    /// The workspace id of the host application.
    #[arg(long)]
    workspace: WorkspaceId,
    #[command(flatten)]
    waiting: Waiting,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum OptOutCommand {
    /// These phones get no campaign of the workspace any more.
    Add(Phones),
    /// They may again.
    Remove(Phones),
}

#[derive(Debug, clap::Args)]
pub(super) struct Phones {
    /// Phone numbers in digits with country code.
    #[arg(required = true, num_args = 1..=OptOut::MOST)]
    phones: Vec<PhoneNumber>,
    /// The workspace id of the host application.
    #[arg(long)]
    workspace: WorkspaceId,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) async fn run(command: CampaignCommand, settings: &Settings) -> anyhow::Result<ExitCode> {
    let (which, make): (_, fn(CampaignControl) -> Command) = match command {
        CampaignCommand::Status(which) => (which, Command::CampaignStatus),
        CampaignCommand::Pause(which) => (which, Command::CampaignPause),
        CampaignCommand::Resume(which) => (which, Command::CampaignResume),
        CampaignCommand::Cancel(which) => (which, Command::CampaignCancel),
    };
    let Which { campaign, workspace, waiting } = which;
    ask(settings, workspace, &make(CampaignControl { campaign }), &waiting).await
}

pub(super) async fn opt_out(command: OptOutCommand, settings: &Settings) -> anyhow::Result<ExitCode> {
    let (phones, make): (_, fn(OptOut) -> Command) = match command {
        OptOutCommand::Add(phones) => (phones, Command::OptOutAdd),
        OptOutCommand::Remove(phones) => (phones, Command::OptOutRemove),
    };
    let Phones { phones, workspace, waiting } = phones;
    ask(settings, workspace, &make(OptOut { phones }), &waiting).await
}

async fn ask(
    settings: &Settings,
    workspace: WorkspaceId,
    command: &Command,
    waiting: &Waiting,
) -> anyhow::Result<ExitCode> {
    let (client, anywhere) = (Client::connect(settings).await?, SessionId::any());
    let mut events = client.events(Some(workspace), Some(&anywhere)).await?;
    let id = client.publish(workspace, &anywhere, command, Lane::Normal, waiting.id.as_deref()).await?;
    follow(&mut events, &id, waiting, Until::Result).await
}
