//! Measurements of a fleet, for `wafleet-bench`. Nothing here passes or fails.

use std::time::Duration;

use wafleet_imitation::{AckTimes, Options};

pub mod campaign;
pub mod footprint;
pub mod handover;
pub mod load;
mod memory;
pub mod past;
pub mod profile;
mod results;
pub mod traffic;

/// A far end that acknowledges at once and tells of no receipts, so that only the fleet takes time.
#[must_use]
pub fn instant_acks() -> Options {
    let acks = AckTimes { server: Duration::ZERO, delivered: None, read: None };
    Options { acks, ..Options::default() }
}
