//! pidtap's project commands: the only interface that a person or CI calls.

mod bench;
mod command;
mod compile;
mod corpus;
mod dist;
mod fuzz;
mod kernels;
mod lint;
mod packages;
mod pictures;
mod record;
mod setup;
mod test;
mod times;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// pidtap's project commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install everything for building and testing. Quick when nothing is missing.
    Setup,
    /// Build `target/release/pidtap`, with probes.
    Build,
    /// Set up, build, and run `pidtap demo` (with sudo where not root).
    Demo {
        /// Arguments for `pidtap demo`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Set up and run the tests.
    Test(test::Options),
    /// Check the format, the order of modules, and clippy for every crate and feature set.
    Lint,
    /// Run the fuzz targets for a bounded time.
    Fuzz(fuzz::Options),
    /// Measure the cost of tracing, the screens and the punctuality of retries, and write docs/performance.md.
    Bench(bench::Options),
    /// Record the services again whose recordings the replay tests use.
    Record(record::Options),
    /// Take the pictures of the screens for the documentation again; needs no root.
    Pictures,
    /// Make a tar archive of the binary and its documentation in target/dist.
    Dist,
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            command::say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Setup => setup::everything(),
        Verb::Build => {
            setup::to_build()?;
            compile::release().map(drop)
        }
        Verb::Demo { arguments } => {
            setup::to_build()?;
            let binary = compile::release()?;
            command::say("starting the demo; Ctrl-C ends it");
            command::exec(command::as_root(binary).arg("demo").args(arguments))
        }
        Verb::Test(options) => test::run(&options),
        Verb::Lint => {
            setup::to_build()?;
            setup::to_fuzz()?;
            lint::run()
        }
        Verb::Fuzz(options) => {
            setup::to_fuzz()?;
            fuzz::run(&options)
        }
        Verb::Bench(options) => bench::run(&options),
        Verb::Record(options) => record::run(&options),
        Verb::Pictures => pictures::run(),
        Verb::Dist => {
            setup::to_build()?;
            dist::run()
        }
    }
}
