//! The crate against real Chromium. Every test has a profile of its own; none leaves a process.

mod chromium;
mod support;
