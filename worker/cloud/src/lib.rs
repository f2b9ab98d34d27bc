#![doc = include_str!("../README.md")]

pub mod client;
pub mod fault;
pub mod message;
pub mod token;
pub mod webhook;
