//! What holds after every story, whatever was broken in it.
//!
//! - Every command that the broker took has exactly one final result, or is a dead letter.
//! - What succeeded left once, what failed did not leave, what is unknown left at most once, and nothing else left.
//! - At no sampled moment a session had two live browsers.
//! - Fences strictly increase, each has one owner, and under each `seq` counts without gaps.
//! - After the last worker nothing is left: no process, no lease, no half-made directory, no message in a queue.
//!
//! ```no_run
//! # async fn example(stage: &wafleet_tests::stage::Stage) -> anyhow::Result<()> {
//! let story = wafleet_tests::invariants::Story::begin(stage)?;
//! let worker = stage.worker("w1").spawn()?;
//! // … commands, faults …
//! story.end(vec![worker]).await?;
//! # Ok(())
//! # }
//! ```

mod browsers;
mod commands;
mod leftovers;
mod ownership;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use wafleet_protocol::event::{Event, Outcome};

use crate::fleet::Worker;
use crate::stage::Stage;
use browsers::Watch;
use commands::Answer;

/// How long commands may take to end after the last fault is over: retries come after up to two minutes, and a takeover
/// with a browser's start may lie before them.
const ENDS_WITHIN: Duration = Duration::from_secs(180);
/// How long a worker may take to drain.
const DRAINS_WITHIN: Duration = Duration::from_secs(90);
/// Looks in a row that find nothing: the broker's numbers lag behind, and a message may be between two queues.
const CALM_LOOKS: u32 = 2;
/// Pause between two looks at what is still open.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A story that is being watched.
pub struct Story<'a> {
    stage: &'a Stage,
    browsers: Watch,
    ends_within: Duration,
}

/// How a story ended, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Commands by how they ended.
    pub ends: BTreeMap<&'static str, usize>,
    /// Messages that left.
    pub departures: usize,
    /// Ownerships: pairs of session and epoch.
    pub ownerships: usize,
    /// How often the browsers were counted.
    pub samples: u64,
}

/// The rules that were broken, one line each.
#[derive(Debug)]
pub struct Violations {
    /// What was broken, and how.
    pub broken: Vec<String>,
    /// What was counted all the same.
    pub tally: Tally,
}

impl std::error::Error for Violations {}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rule(s) broken:", self.broken.len())?;
        self.broken.iter().try_for_each(|line| write!(f, "\n  - {line}"))
    }
}

impl<'a> Story<'a> {
    /// Begins to count browsers. Call it before the first worker starts.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn begin(stage: &'a Stage) -> std::io::Result<Self> {
        Ok(Self { stage, browsers: Watch::start(stage.fleet.scratch())?, ends_within: ENDS_WITHIN })
    }

    /// Gives commands more or less time to end.
    #[must_use]
    pub fn ending_within(mut self, limit: Duration) -> Self {
        self.ends_within = limit;
        self
    }

    /// Waits until every command has ended, ends the workers that still run, and checks every rule. Whatever was stopped,
    /// closed or paused has to be on its way again before.
    ///
    /// # Errors
    /// [`Violations`], or a service that does not answer.
    pub async fn end(self, workers: Vec<Worker>) -> anyhow::Result<Tally> {
        let verdict = self.verdict(workers).await?;
        if verdict.broken.is_empty() {
            return Ok(verdict.tally);
        }
        eprintln!("events of this story:\n{}", self.stage.host.events().describe());
        eprintln!("what left:\n{:#?}", self.stage.site.sent());
        Err(verdict.into())
    }

    /// As [`end`](Self::end), for a caller that reports what is broken by itself.
    ///
    /// # Errors
    /// When a service does not answer.
    pub async fn verdict(&self, workers: Vec<Worker>) -> anyhow::Result<Violations> {
        let (mut broken, mut tally) = (Vec::new(), Tally::default());
        let stage = self.stage;
        let (started, mut calm, mut left) = (Instant::now(), 0, Vec::new());
        while calm < CALM_LOOKS && started.elapsed() < self.ends_within {
            let open = commands::open(&stage.host.posted(), &self.answers(), &self.dead().await?);
            left = leftovers::waiting(stage).await?;
            calm = if open.is_empty() && left.is_empty() { calm + 1 } else { 0 };
            tokio::time::sleep(LOOK_EVERY).await; // between two looks
        }
        for waiting in left {
            broken.push(format!("after {:?} there is still {waiting}", self.ends_within));
        }
        for mut worker in workers {
            if !worker.is_running()? {
                continue;
            }
            match worker.terminate(DRAINS_WITHIN).await {
                Ok(status) if status.success() => {}
                Ok(status) => broken.push(format!("worker {} drained with {status}", worker.name())),
                Err(error) => broken.push(format!("{error:#}")),
            }
        }
        let departures = stage.site.sent();
        let answers = self.answers();
        let (ends, complaints) = commands::judge(&stage.host.posted(), &answers, &self.dead().await?, &departures)?;
        broken.extend(complaints);
        tally.ends = ends;
        tally.departures = departures.len();
        let (ownerships, complaints) =
            ownership::judge(&stage.host.events().entries(), &stage.fleet.database().sessions().await?);
        tally.ownerships = ownerships;
        broken.extend(complaints);
        if let Err(error) = stage.host.events().check_order() {
            // What follows the first line is the list of all events.
            broken.push(error.to_string().lines().next().unwrap_or_default().to_owned());
        }
        broken.extend(leftovers::left_behind(stage).await?);
        let (samples, doubles) = self.browsers.counted();
        tally.samples = samples;
        broken.extend(doubles);
        Ok(Violations { broken, tally })
    }

    /// The moments, so far, at which a session had two live browsers.
    pub fn two_browsers(&self) -> Vec<String> {
        self.browsers.counted().1
    }

    /// The commands, so far, that have no end.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open_commands(&self) -> anyhow::Result<Vec<String>> {
        Ok(commands::open(&self.stage.host.posted(), &self.answers(), &self.dead().await?))
    }

    /// Every final answer the host application has received.
    fn answers(&self) -> Vec<Answer> {
        let answer = |entry: crate::fleet::Entry| match entry.envelope.event {
            Event::CommandResult(result) if result.outcome != Outcome::Deferred => Some(Answer {
                command: result.command_id.to_string(),
                event: entry.envelope.id.to_string(),
                outcome: result.outcome,
                code: result.error.map(|error| error.code),
            }),
            _ => None,
        };
        self.stage.host.events().entries().into_iter().filter_map(answer).collect()
    }

    /// The commands in the archive of dead letters.
    async fn dead(&self) -> anyhow::Result<BTreeSet<String>> {
        self.stage.fleet.database().dead_commands().await
    }
}
