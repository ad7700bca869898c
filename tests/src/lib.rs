//! Test support for pidtap.

pub mod cli;
