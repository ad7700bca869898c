//! Every detector has its scenarios.
