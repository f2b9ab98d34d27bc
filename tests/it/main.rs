//! Integration tests on real services. One binary; one module per behaviour.
//!
//! `make test` runs them. They find the services of their run by the environment and keep out of each other's way by a
//! virtual host, a Redis prefix and a database each.

mod actions;
mod bad_input;
mod calls;
mod campaign;
mod cloud;
mod command_line;
mod control;
mod dlq;
mod faults;
mod features;
mod groups;
mod harness;
mod kinds;
mod labels;
mod linking;
mod main_job;
mod manifests;
mod media;
mod migrations;
mod no_way_in;
mod object_store;
mod pacing;
mod passkey;
mod profile_keys;
mod profiles;
mod recovery;
mod stories;
mod sync;
mod tls;
