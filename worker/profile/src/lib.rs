#![doc = include_str!("../README.md")]

pub mod archive;
pub mod container;
pub mod keys;
pub mod record;
mod wrap;
