//! Many exchanges per second, and a terminal that takes nothing.

use std::path::Path;

use tracer_tests::{
    cli::Dir,
    load::{piped, reported, run},
};

const LOAD: &str = env!("CARGO_BIN_EXE_load");

#[test]
fn a_terminal_that_takes_nothing_holds_up_nobody_else() -> anyhow::Result<()> {
    /// Exchanges per second, and seconds.
    const FEW: (u64, u64) = (10_000, 2);
    /// A reader that is never later than this keeps up.
    const LATE_MS: u64 = 1_000;
    let dir = Dir::new()?;
    let report = dir.path("report");
    let mut terminal = piped(Path::new(LOAD), FEW.0, FEW.1, &report)?;
    terminal.hold(true);
    let said = reported(&report)?;
    assert_eq!(said["exchanges"], FEW.0 * FEW.1);
    assert!(said["late_ms"].as_u64().is_some_and(|late| late < LATE_MS), "the load was held up: {said}");
    terminal.hold(false);
    terminal.wait_for(&format!(" {} calls", FEW.0 * FEW.1))?;
    assert!(terminal.text().contains("lost 0"), "{}", terminal.text());
    terminal.press("q")?;
    assert!(terminal.end()?.success());
    terminal.is_restored()
}

/// `cargo xtask bench` measures how quick the screens are meanwhile.
#[test]
fn under_load_nothing_is_lost_and_memory_is_bounded() -> anyhow::Result<()> {
    run(Path::new(LOAD))?;
    Ok(())
}
