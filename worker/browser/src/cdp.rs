//! The connection to one Chromium: NUL-separated JSON messages on two pipes.

use std::time::Duration;

/// A call over the connection gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CdpError {
    /// Chromium answered with an error.
    #[error("{method}: {message} ({code})")]
    Refused {
        /// The method that was called.
        method: String,
        /// Chromium's error code, as in JSON-RPC.
        code: i64,
        /// What it said.
        message: String,
    },
    /// No answer in time.
    #[error("{method}: no answer within {after:?}")]
    Timeout {
        /// The method that was called.
        method: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection, or the tab that the call was for, is gone.
    #[error("{method}: the connection is gone")]
    Gone {
        /// The method that was called.
        method: String,
    },
    /// The answer is not what this version of the protocol says.
    #[error("{method}: unexpected answer: {message}")]
    Malformed {
        /// The method that was called.
        method: String,
        /// What does not fit.
        message: String,
    },
}

/// One event of the protocol, as it came.
#[derive(Debug, Clone)]
pub struct CdpEvent {
    /// `Domain.event`.
    pub method: String,
    /// Its payload.
    pub params: serde_json::Value,
}

/// Why a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CdpEventsEnd {
    /// The connection is gone.
    Gone,
    /// The reader was too slow and its bounded queue ran over: events were lost.
    Overflow,
}

/// The events of one target.
#[derive(Debug)]
pub struct CdpEvents {}

/// A handle to the connection; clones share it.
#[derive(Debug, Clone)]
pub struct Cdp {}
