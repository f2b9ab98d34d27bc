#![doc = include_str!("../README.md")]

pub mod id;
pub mod personal;
pub mod provider;
pub mod timestamp;

pub mod rejection;
pub mod signing;

pub mod command;
pub mod lane;
pub mod metadata;

pub mod error;
pub mod event;

pub mod topology;

pub mod schema;

mod json;
