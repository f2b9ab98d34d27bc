//! What breaks at the database.
