//! Test support for pidtap: programs that log what they really sent and received, and the comparison with what pidtap
//! says of them.
//!
//! Nothing here uses pidtap's own code for HTTP or JSON types: a mistake must not be made twice in the same way.

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
