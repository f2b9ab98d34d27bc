//! The harness: private services for a run, a fleet of real workers for a test.
//!
//! Integration tests run the real RabbitMQ, Redis, MariaDB and Chromium and the real worker binary; only the far end is
//! imitated (`wafleet-imitation`). In reading order: [`services`] starts the servers once per run; [`fleet`] gives each test
//! its share of them, a host application and workers.

pub mod fleet;
pub mod processes;
pub mod proxy;
pub mod services;
pub mod stage;
pub mod wait;
