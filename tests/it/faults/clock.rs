//! What breaks with clocks.
