//! A user's session with the demo in a real terminal, from the overview to a copied command.

use std::ffi::OsStr;

use tracer_tests::{
    child::{PATIENCE, wait_for},
    guard,
    tmux::Tmux,
    tracer::binary,
};

/// Rows of exchanges, which have a direction.
fn exchanges(screen: &str) -> Vec<&str> {
    screen.lines().filter(|line| line.contains("→ ") || line.contains("← ")).collect()
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_person_finds_out_what_is_wrong_with_the_demo() {
    let _guard = guard::live();
    session().unwrap_or_else(|error| panic!("{error:?}"));
}

fn session() -> anyhow::Result<()> {
    let program = binary()?;
    // The command after it in the same window shows the restored terminal.
    let script = r#""$0" demo -o tui; echo "left with $?"; exec cat"#;
    let tmux = Tmux::start((160, 45), &[OsStr::new("sh"), OsStr::new("-c"), OsStr::new(script), program.as_os_str()])?;

    // Without a key, the screen shows the targets, no loss, a retry with its countdown, and a call that hangs.
    let first = tmux.wait_for(&["pidtap payments (", "lost 0", "[1 Overview]", "▲ retry", "next in", "▲ hang"])?;
    assert!(first.contains("ongoing") && exchanges(&first).len() > 5, "{first}");
    assert!(first.contains("/v1/settlements") && first.contains("/v1/charges"), "{first}");

    // The worst incident.
    tmux.types("i")?;
    tmux.presses("Enter")?;
    let incident = tmux.wait_for(&["── Problem ──", "ongoing", "to scale", "confidence"])?;
    assert!(incident.contains("hang") || incident.contains("retry"), "{incident}");
    tmux.presses("Escape")?;
    tmux.wait_for(&["[1 Overview]"])?;

    // Back to the calls: only failures at the gateway.
    tmux.types("i")?;
    tmux.types("/status=503 host~gateway")?;
    tmux.presses("Enter")?;
    let failed = tmux.wait("only exchanges that failed", |screen| {
        let rows: Vec<&str> =
            exchanges(screen).into_iter().filter(|row| !row.contains('▲') && !row.contains('▼')).collect();
        screen.contains("filter: status=503") && !rows.is_empty() && rows.iter().all(|row| row.contains("503"))
    })?;
    assert!(failed.contains("gateway.internal"), "{failed}");

    // One call, and its copy as a command.
    tmux.presses("Enter")?;
    let exchange = tmux.wait_for(&["── Request ──", "── Response ──", "POST /v1/charges HTTP/1.1", "503", "Host"])?;
    assert!(exchange.contains("***") && !exchange.contains("not-a-real-token"), "secrets are masked: {exchange}");
    tmux.types("y")?;
    tmux.wait_for(&["copied"])?;
    let copied = wait_for("a copy", PATIENCE, || tmux.run(&["show-buffer"]).ok())?;
    assert!(copied.starts_with("curl ") && copied.contains("/v1/charges") && copied.contains("--data"), "{copied}");
    assert!(!copied.contains("not-a-real-token"), "{copied}");

    // Help, and the end.
    tmux.types("?")?;
    tmux.wait_for(&["Keys", "copy as a curl command", "quit"])?;
    tmux.types("?")?;
    tmux.wait("the exchange again", |screen| !screen.contains(" Keys ") && screen.contains("── Request ──"))?;
    tmux.types("q")?;
    let end = tmux.wait_for(&["left with 0"])?;
    assert!(!end.contains("Overview"), "the screens are gone: {end}");
    for (flag, expected) in [("alternate_on", "0"), ("mouse_any_flag", "0"), ("cursor_flag", "1")] {
        assert_eq!(tmux.flag(flag)?, expected, "{flag}");
    }
    Ok(())
}
