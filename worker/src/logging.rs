//! What a log line looks like, and how an error is written in one.

use std::error::Error;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging to standard error.
///
/// `format` is `json` (one object a line, for collectors) or `text`.
///
/// # Errors
/// A filter that does not parse, an unknown format, or a second call.
pub fn start(filter: &str, format: &str) -> Result<(), String> {
    // The AMQP client logs each broken connection at error level itself; our own line about it is the one to read.
    let filter = EnvFilter::try_new(format!("lapin=off,{filter}")).map_err(|error| format!("log: {error}"))?;
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        "json" => registry.with(layer.json().flatten_event(true)).try_init(),
        "text" => registry.with(layer).try_init(),
        other => return Err(format!("log_format must be json or text, not {other:?}")),
    }
    .map_err(|error| error.to_string())
}

/// An error with its causes, outermost first, on one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}
