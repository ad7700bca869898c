//! Test support for pidtap: programs that log what they send and receive, and the comparison with pidtap's report.
//!
//! This crate has its own code for HTTP and its own JSON types: shared code would hide its own faults.

pub mod child;
pub mod cli;
pub mod compare;
pub mod descriptors;
pub mod driver;
pub mod flaky;
pub mod greedy;
pub mod guard;
pub mod hostile;
pub mod keep;
pub mod load;
pub mod peer;
pub mod picture;
pub mod pipe;
pub mod privileges;
pub mod replayed;
pub mod report;
pub mod retries;
pub mod scripted;
pub mod service;
pub mod terminal;
pub mod tmux;
pub mod tracer;
pub mod transport;
pub mod truth;
pub mod wire;
