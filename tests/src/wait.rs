//! Waiting for a fact that nothing announces: it is asked for again and again until it holds.

use std::time::{Duration, Instant};

use anyhow::ensure;

/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until there is an answer.
///
/// # Errors
/// When there is none within the time, naming `what`; or what `ask` fails with, at once.
pub async fn until<T>(
    what: &str,
    within: Duration,
    mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        ensure!(started.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(PAUSE).await; // between two questions
    }
}
