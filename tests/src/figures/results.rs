//! Waiting for the results of many commands.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use wafleet_protocol::event::{Event, Outcome};
use wafleet_protocol::id::CommandId;

use crate::fleet::Host;

/// Bound on the wait for all of them.
const PATIENCE: Duration = Duration::from_secs(600);

/// The final results of so many commands, by command, and when each came.
pub(super) async fn results(host: &Host, mark: usize, count: usize) -> anyhow::Result<HashMap<CommandId, Instant>> {
    let mut seen: HashMap<CommandId, Instant> = HashMap::new();
    let mut failed = None;
    host.events()
        .wait_from(mark, "every result", PATIENCE, |envelope| {
            let Event::CommandResult(result) = &envelope.event else { return None };
            match result.outcome {
                Outcome::Succeeded => drop(seen.insert(result.command_id.clone(), Instant::now())),
                Outcome::Deferred => {}
                _ => failed = Some(format!("{result:?}")),
            }
            (failed.is_some() || seen.len() == count).then_some(())
        })
        .await?;
    if let Some(failed) = failed {
        anyhow::bail!("a message was not sent: {failed}");
    }
    Ok(seen)
}
