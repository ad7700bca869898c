//! Analysis of exchanges and connections: incidents, correlation of calls, distributions of durations.

pub mod histogram;

pub mod correlation;

pub mod detector;
