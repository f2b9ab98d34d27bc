//! What breaks at profiles and snapshots.
