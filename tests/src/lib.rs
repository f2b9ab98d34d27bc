//! The harness: private services for a run, a fleet of real workers for a test.
//!
//! Integration tests run the real RabbitMQ, Redis, MariaDB and Chromium and the real worker binary; only the far end is
//! imitated (`wafleet-imitation`). In reading order: [`services`] starts the servers once per run; [`fleet`] gives each test
//! its share of them, a host application and workers; [`invariants`] says what must hold whatever a test broke, by
//! [`proxy`], [`processes`] and servers of its own.

pub mod clocks;
pub mod figures;
pub mod file_server;
pub mod fleet;
pub mod invariants;
pub mod names;
pub mod object_store;
pub mod processes;
pub mod proxy;
pub mod services;
pub mod soak;
pub mod stage;
pub mod wait;
