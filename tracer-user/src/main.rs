//! pidtap.

use std::process::ExitCode;

use clap::Parser as _;
use pidtap::{app, cli::Cli};

fn main() -> ExitCode {
    app::run(Cli::parse()).into()
}
