//! What breaks around a send: the worker between two steps, the lane, the copies of a command.
