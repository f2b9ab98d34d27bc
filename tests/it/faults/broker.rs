//! What breaks at the broker.
