//! A fleet worker that keeps WhatsApp Web sessions alive for Laravel applications.
//!
//! Reading order: [`worker`] is the life of the process; `supervisor` claims sessions; `session` runs one; `session/state`
//! decides; `intake` lets commands in and `settle` ends them; `events` tells; `lease` and `database` hold the truth.

pub mod cli;
pub mod config;
pub mod health;
pub mod logging;
pub mod story;
pub mod worker;

mod archivist;
mod boottime;
mod broker;
mod budget;
mod campaign;
mod checked;
mod clock;
mod cloud;
mod control;
mod counters;
mod database;
mod dead_letter;
mod events;
mod intake;
mod lease;
mod leash;
mod letter;
mod media;
mod objects;
mod pacing;
mod session;
mod settle;
mod snapshot;
mod spool;
mod spread;
mod supervisor;
mod world;
