//! The crate against real Chromium. Every test has a profile of its own; none leaves a process.

mod chromium;
mod linking;
mod messages;
mod privacy;
mod session;
mod sockets;
mod support;
mod trouble;
