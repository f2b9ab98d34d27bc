//! The wire contract of wafleet: signed commands in, signed events out.
