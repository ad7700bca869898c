//! The terms of a trace: connections, exchanges, and how they end.

pub mod errno;

pub mod connection;

pub mod exchange;
