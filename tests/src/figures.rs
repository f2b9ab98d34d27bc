//! Measurements of a fleet, for `wafleet-bench`. Nothing here passes or fails.

pub mod footprint;
pub mod handover;
pub mod load;
pub mod profile;
