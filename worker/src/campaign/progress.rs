//! `campaign.progress`, at a bearable rate: once in an interval for each campaign in which something ended, whichever workers
//! send its messages.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wafleet_protocol::event::Event;
use wafleet_protocol::id::{CampaignId, SessionId, WorkspaceId};

use crate::events::{Correlation, EventSink};
use crate::logging::chain;
use crate::world::World;

/// How often one campaign is told of.
const INTERVAL: Duration = Duration::from_secs(10);
/// How often it is looked whether something has changed.
const LOOK: Duration = Duration::from_secs(2);

/// The campaigns in which something has ended since they were told of last.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<HashSet<(WorkspaceId, CampaignId)>>);

impl Progress {
    /// Something has changed.
    pub(crate) fn touch(&self, workspace: WorkspaceId, campaign: CampaignId) {
        self.changed().insert((workspace, campaign));
    }

    /// Tells what has changed, until `stop`, and once more then.
    pub(crate) async fn tell(world: World, stop: CancellationToken) {
        loop {
            let last = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            let changed: Vec<_> = world.progress.changed().drain().collect();
            for (workspace, campaign) in changed {
                if let Err(error) = tell_one(&world, workspace, &campaign, last).await {
                    tracing::warn!(error = %format!("{error:#}"), "the progress of a campaign could not be told; trying again");
                    world.progress.touch(workspace, campaign);
                }
            }
            if last {
                return;
            }
        }
    }

    fn changed(&self) -> std::sync::MutexGuard<'_, HashSet<(WorkspaceId, CampaignId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells of a campaign unless another worker just did; then it stays changed, and its turn comes.
async fn tell_one(world: &World, workspace: WorkspaceId, campaign: &CampaignId, last: bool) -> anyhow::Result<()> {
    if !last {
        let spent = world.leases.spend(&format!("progress:{workspace}:{campaign}"), 1, INTERVAL).await?;
        if !spent.granted {
            world.progress.touch(workspace, campaign.clone());
            return Ok(());
        }
    }
    let Some(progress) = world.database.progress(workspace, campaign).await? else { return Ok(()) };
    let sink = EventSink::of_bystander(world.clone(), workspace, SessionId::any());
    if let Err(error) = sink.emit(sink.fresh_id(), Event::CampaignProgress(progress), Correlation::default()) {
        tracing::warn!(error = %chain(&error), "the progress of a campaign is not told");
    }
    Ok(())
}
