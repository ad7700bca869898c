//! pidtap.

use std::process::ExitCode;

use pidtap::{app, cli::Cli};

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    app::run(Cli::from_words(&words).unwrap_or_else(|error| error.exit())).into()
}
