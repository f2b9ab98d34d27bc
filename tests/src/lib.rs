//! The harness: private services for a run, a fleet of real workers for a test.
//!
//! Integration tests run the real RabbitMQ, Redis, MariaDB and Chromium and the real worker binary; only the far end is
//! imitated (`wafleet-imitation`). In reading order: [`services`] starts the servers once per run.

pub mod services;
