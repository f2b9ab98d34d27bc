//! The page that says how a run went.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use wafleet_protocol::event::{Event, Outcome};

use super::Plan;
use super::faults::Fault;
use super::growth::Slope;
use crate::fleet::Posting;
use crate::invariants::Tally;
use crate::stage::Stage;

/// Everything worth knowing about one run.
#[derive(Debug)]
pub struct Report {
    /// The rules that were broken; empty for a clean run.
    pub broken: Vec<String>,
    text: String,
}

impl Report {
    #[expect(clippy::too_many_arguments, reason = "one page about everything there was")]
    pub(super) fn new(
        plan: &Plan,
        took: Duration,
        tally: Tally,
        broken: Vec<String>,
        faults: &[(Fault, Duration)],
        growth: &Slope,
        posted: &[Posting],
        received: usize,
        stage: &Stage,
    ) -> Self {
        let mut kinds: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
        for (fault, lasted) in faults {
            let kind = kinds.entry(fault.kind()).or_default();
            *kind = (kind.0 + 1, kind.1 + *lasted);
        }
        let ends: Vec<String> = tally.ends.iter().map(|(end, count)| format!("{count} {end}")).collect();
        let mut waits = waits(posted, stage);
        waits.sort();
        let wait = |part: f64| {
            waits.get(((waits.len().saturating_sub(1)) as f64 * part) as usize).copied().unwrap_or_default()
        };
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let verdict = if broken.is_empty() { "CLEAN".to_owned() } else { format!("{} RULE(S) BROKEN", broken.len()) };
        let mut text = format!(
            "soak, seed {}: {verdict}\n\n\
             {} s of faults ({} s in all), {} workers, {} sessions, load at the end {}\n\
             commands: {}; messages that left: {}; messages that came in: {received}\n\
             ownerships: {}; browsers counted {} times\n\
             command taken → final result: p50 {:.1} s, p99 {:.1} s, longest {:.1} s\n\
             worker memory: {}, largest {:.0} MB\n\n\
             {:>4} fault(s), in the order of their names:\n",
            plan.seed,
            plan.lasts.as_secs(),
            took.as_secs(),
            plan.workers,
            plan.sessions,
            load.split(' ').next().unwrap_or_default(),
            ends.join(", "),
            tally.departures,
            tally.ownerships,
            tally.samples,
            wait(0.5).as_secs_f64(),
            wait(0.99).as_secs_f64(),
            wait(1.0).as_secs_f64(),
            growth.mb_per_minute.map_or("too short to say".to_owned(), |slope| format!("{slope:+.2} MB a minute")),
            growth.peak_mb,
            faults.len(),
        );
        for (kind, (count, lasted)) in kinds {
            text.push_str(&format!("{count:>4} × {kind}, {:.0} s in all\n", lasted.as_secs_f64()));
        }
        for rule in &broken {
            text.push_str(&format!("\nBROKEN: {rule}"));
        }
        Self { broken, text }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.trim_end())
    }
}

/// From the broker's confirm of each command to its first final result.
fn waits(posted: &[Posting], stage: &Stage) -> Vec<Duration> {
    let mut ends = BTreeMap::new();
    for entry in stage.host.events().entries() {
        if let Event::CommandResult(result) = &entry.envelope.event
            && result.outcome != Outcome::Deferred
        {
            ends.entry(result.command_id.to_string()).or_insert(entry.at);
        }
    }
    posted.iter().filter_map(|one| Some(ends.get(&one.id)?.saturating_duration_since(one.at))).collect()
}
