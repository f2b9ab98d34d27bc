//! Measurements of a fleet, for `wafleet-bench`. Nothing here passes or fails.

pub mod campaign;
pub mod footprint;
pub mod handover;
pub mod load;
mod memory;
pub mod past;
pub mod profile;
mod results;
pub mod traffic;
