//! Scenarios of hanging calls.
