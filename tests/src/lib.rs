//! Test support for pidtap.
