//! pidtap: attach to a running process, rebuild the HTTP exchanges of its socket calls, and show what goes wrong.
//!
//! Modules stand in the order in which data flows; a module uses only what stands before it. The core (from `event`
//! to `output`) has no clock, thread, file or socket: it is fed events and asked for updates, live and from a
//! recording alike. `live` modules touch the machine; only `app` sees everything.
// The build without features is the core; there clippy.toml's list of clocks, files, sockets and threads is forbidden.
#![cfg_attr(
    all(not(feature = "live"), not(test)),
    warn(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)
)]

// A line between each two, or rustfmt sorts them by name.

pub mod event;

pub mod recording;

pub mod connection;

pub mod exchange;

pub mod visible;

pub mod measure;

pub mod clock;

pub mod errno;

pub mod histogram;

pub mod reassembly;

pub mod protocol;

pub mod content;

pub mod redact;

pub mod url;

pub mod body;

pub mod curl;

pub mod cause;

pub mod detector;

pub mod engine;

pub mod filter;

pub mod store;

pub mod output;

#[cfg(test)]
mod fixture;

#[cfg(feature = "tui")]
pub mod tui;

#[cfg(feature = "live")]
pub mod file;

#[cfg(feature = "live")]
pub mod confine;

#[cfg(feature = "live")]
pub mod limits;

#[cfg(feature = "live")]
pub mod capture;

#[cfg(feature = "live")]
pub mod process;

#[cfg(feature = "live")]
pub mod privilege;

#[cfg(feature = "live")]
pub mod sockdiag;

#[cfg(feature = "live")]
pub mod thread;

#[cfg(feature = "live")]
pub mod identity;

#[cfg(feature = "live")]
pub mod launch;

#[cfg(feature = "live")]
pub mod doctor;

#[cfg(feature = "live")]
pub mod demo;

#[cfg(feature = "live")]
pub mod cli;

#[cfg(feature = "live")]
pub mod app;
