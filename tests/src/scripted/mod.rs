//! Recordings made by script: what screens must be able to show, to the byte the same whenever they are made, and made
//! without root.
//!
//! `cargo xtask record --scripted` writes them into `tests/recordings`; a replay test compares.

mod bodies;
mod busy;
mod chance;
mod empty;
pub mod http;
pub mod line;
mod live;
mod malicious;
mod secrets;
pub mod stage;

pub use malicious::large_header;

/// Name and content of each.
pub fn recordings() -> [(&'static str, Vec<u8>); 7] {
    [
        ("screen_empty", empty::recording()),
        ("screen_busy", busy::recording()),
        ("screen_live", live::recording()),
        ("screen_secrets", secrets::recording()),
        ("screen_bodies", bodies::recording()),
        ("malicious", malicious::recording()),
        ("malicious_incidents", malicious::incidents()),
    ]
}
