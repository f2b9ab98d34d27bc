//! Whether workers grow: the memory of every worker process over its life.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::processes::Process;

/// Between two samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(2);
/// A worker that has just started takes sessions over, and fills its caches and pools: in soaks it came from 25 to 37 MB in
/// five minutes, and had no more after twenty.
const WARMS_UP: Duration = Duration::from_secs(300);
/// A worker that lived for less says nothing.
const LIVES_FOR: Duration = Duration::from_secs(900);
/// Growth that is told as a fault, in MB per minute.
const LIMIT: f64 = 1.0;
/// Runs shorter than this say nothing about growth.
const SAYS_SOMETHING_FROM: Duration = Duration::from_secs(900);

/// Samples of all workers.
pub(super) struct Growth {
    watched: Arc<Mutex<Vec<Watched>>>,
    stop: Arc<AtomicBool>,
}

struct Watched {
    name: String,
    /// By its start too: a process id is given out again.
    process: Option<Process>,
    since: Instant,
    /// Seconds since the start, and megabytes.
    samples: Vec<(f64, f64)>,
}

/// What was found.
pub(super) struct Slope {
    /// Over all processes, in MB per minute; `None` when nothing lived long enough.
    pub(super) mb_per_minute: Option<f64>,
    /// The largest worker, in MB.
    pub(super) peak_mb: f64,
    judged: bool,
}

impl Slope {
    /// The rule that was broken, if it was.
    pub(super) fn broken(&self) -> Option<String> {
        let slope = self.mb_per_minute.filter(|slope| self.judged && *slope > LIMIT)?;
        Some(format!("workers grow by {slope:.2} MB a minute, and {LIMIT} is allowed"))
    }
}

impl Growth {
    pub(super) fn new() -> Self {
        let (watched, stop) = (Arc::<Mutex<Vec<Watched>>>::default(), Arc::new(AtomicBool::new(false)));
        let (seen, stopped) = (Arc::clone(&watched), Arc::clone(&stop));
        tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                for worker in seen.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
                    if let Some(memory) = worker.process.as_ref().and_then(allocated_mb) {
                        worker.samples.push((worker.since.elapsed().as_secs_f64(), memory));
                    }
                }
                tokio::time::sleep(SAMPLE_EVERY).await; // between two samples
            }
        });
        Self { watched, stop }
    }

    /// From now on this process is measured, for as long as it lives.
    pub(super) fn watch(&self, name: &str, process: u32) {
        let worker = Watched {
            name: name.to_owned(),
            process: Process::of(process),
            since: Instant::now(),
            samples: Vec::new(),
        };
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
    }

    /// Every sample, one a line: worker, seconds of its life, megabytes.
    pub(super) fn write(&self, file: &Path) -> std::io::Result<()> {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = "worker,seconds,megabytes\n".to_owned();
        for worker in watched.iter() {
            for (at, memory) in &worker.samples {
                text.push_str(&format!("{},{at:.0},{memory:.1}\n", worker.name));
            }
        }
        std::fs::write(file, text)
    }

    /// What was found, after a run of this length.
    pub(super) fn judge(&self, lasted: Duration) -> Slope {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let peak = |worker: &Watched| worker.samples.iter().map(|(_, memory)| *memory).fold(0.0, f64::max);
        for worker in watched.iter() {
            eprintln!("soak: {} had {:.0} MB at most, in {} samples", worker.name, peak(worker), worker.samples.len());
        }
        let all: Vec<Vec<(f64, f64)>> = watched
            .iter()
            .filter(|worker| worker.samples.last().is_some_and(|(at, _)| *at > LIVES_FOR.as_secs_f64()))
            .map(|worker| worker.samples.iter().copied().filter(|(at, _)| *at > WARMS_UP.as_secs_f64()).collect())
            .collect();
        Slope {
            mb_per_minute: slope(&all).map(|per_second| per_second * 60.0),
            peak_mb: watched.iter().map(peak).fold(0.0, f64::max),
            judged: lasted >= SAYS_SOMETHING_FROM,
        }
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// How fast processes grow, each from the median of its first third to that of its last, the longer-lived counting more.
/// Medians, because a worker that restarts ten browsers at once is large for some seconds and then small again.
fn slope(lines: &[Vec<(f64, f64)>]) -> Option<f64> {
    let (mut grown, mut lasted) = (0.0, 0.0);
    for line in lines {
        let third = line.len() / 3;
        let (Some(first), Some(last)) = (line.get(..third), line.get(line.len() - third..)) else { continue };
        if let (Some((from, before)), Some((to, after))) = (middle(first), middle(last)) {
            grown += after - before;
            lasted += to - from;
        }
    }
    (lasted > 0.0).then(|| grown / lasted)
}

/// The median of the times and that of the values.
fn middle(samples: &[(f64, f64)]) -> Option<(f64, f64)> {
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    Some((median(samples.iter().map(|one| one.0).collect())?, median(samples.iter().map(|one| one.1).collect())?))
}

/// `RssAnon` of a living process: what it has allocated. Pages of the program's own file, which a backtrace reads by the
/// hundred megabytes in a debug build, belong to nobody.
fn allocated_mb(process: &Process) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id)).ok()?;
    if !process.is_alive() {
        return None;
    }
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_each_process_and_not_of_their_succession_nor_of_a_moment() {
        let line =
            |start: f64, per_second: f64| (0..60).map(move |at| (f64::from(at), start + per_second * f64::from(at)));
        let found = slope(&[line(10.0, 0.5).collect(), line(90.0, 0.5).collect()]).expect("there are samples");
        assert!((found - 0.5).abs() < 1e-9, "{found}");
        let flat = slope(&[line(10.0, 0.0).collect(), line(90.0, 0.0).collect()]).expect("there are samples");
        assert!(flat.abs() < 1e-9, "{flat}");
        let peak = line(10.0, 0.0).map(|(at, memory)| (at, if at > 55.0 { memory * 20.0 } else { memory }));
        let found = slope(&[peak.collect()]).expect("there are samples");
        assert!(found.abs() < 1e-9, "{found}");
        assert_eq!(slope(&[vec![(1.0, 1.0)]]), None);
    }

    #[test]
    fn only_a_long_run_is_judged() {
        let slope = |judged, mb_per_minute| Slope { mb_per_minute: Some(mb_per_minute), peak_mb: 1.0, judged };
        assert!(slope(true, 1.5).broken().is_some());
        assert!(slope(true, 0.5).broken().is_none());
        assert!(slope(false, 1.5).broken().is_none());
    }
}
