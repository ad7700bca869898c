//! pidtap.

use std::process::ExitCode;

use pidtap::{
    app,
    cli::{self, Cli},
};

fn main() -> ExitCode {
    app::show_panics_harmless();
    let words: Vec<_> = std::env::args_os().collect();
    app::run(Cli::from_words(&words).unwrap_or_else(|error| cli::refuse(&error, &words))).into()
}
