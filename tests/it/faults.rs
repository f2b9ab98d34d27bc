//! What breaks on purpose, and what must hold all the same.

mod ownership;
