//! pidtap: attach to a running process, rebuild the HTTP exchanges of its socket calls, and show what goes wrong.
//!
//! Modules form wings that stand in the order in which data flows. A module uses only what stands before it in the wing's
//! list and in this one; `cargo xtask lint` checks that. The core (from `event` to `output`) has no clock, thread, file
//! or socket: it takes events and gives updates, live and from a recording alike. `host` touches the machine; only `app`
//! uses every other module.
// The build without features is the core; there clippy.toml forbids clocks, files, sockets and threads.
#![cfg_attr(
    all(not(feature = "live"), not(test)),
    warn(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)
)]

// An empty line between each two: rustfmt sorts adjacent modules by name.

pub mod event;

pub mod recording;

pub mod model;

pub mod stream;

pub mod protocol;

pub mod text;

pub mod payload;

pub mod analysis;

pub mod engine;

pub mod filter;

pub mod store;

pub mod view;

#[cfg(test)]
mod fixture;

pub mod output;

#[cfg(feature = "tui")]
pub mod tui;

#[cfg(feature = "live")]
pub mod host;

#[cfg(feature = "live")]
pub mod demo;

#[cfg(feature = "live")]
pub mod cli;

#[cfg(feature = "live")]
pub mod app;
