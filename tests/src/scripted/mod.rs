//! Scripted recordings for the screens. They need no root, and every run makes the same bytes.
//!
//! `cargo xtask record --scripted` writes them into `tests/recordings`. A replay test compares them.

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

/// Name and contents of each recording.
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
