//! pidtap.

use std::process::ExitCode;

use pidtap::{
    app,
    cli::{self, Cli},
    host::limits::{self, Given},
};

fn main() -> ExitCode {
    // Before anything else: what follows may need more than there is. Its stack is asked for when it is called.
    match limits::at_first() {
        Ok(given) => begin(given),
        Err(shortage) => app::refuse(&shortage).into(),
    }
}

#[inline(never)]
fn begin(given: Given) -> ExitCode {
    app::show_panics_harmless();
    let words: Vec<_> = std::env::args_os().collect();
    let parse = || Box::new(Cli::from_words(&words).unwrap_or_else(|error| cli::refuse(&error, &words)));
    match limits::with_stack(parse) {
        Ok(cli) => app::run(&cli, given).into(),
        Err(shortage) => app::refuse(&shortage).into(),
    }
}
