//! Completions and the manual page: well-formed, and printed without privileges.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use tracer_tests::cli::Dir;

/// Commands and options that completions and the manual page must have.
const WORDS: [&str; 13] = [
    "attach",
    "run",
    "open",
    "demo",
    "doctor",
    "detectors",
    "completions",
    "--filter",
    "--show-secrets",
    "--detector",
    "--record",
    "--ring-size",
    "--user",
];
/// Internal commands, with which pidtap starts itself.
const HIDDEN: [&str; 3] = ["hold-and-exec", "__demo-role", "search-executable"];

fn printed(arguments: &[&str]) -> anyhow::Result<String> {
    let dir = Dir::new()?;
    let output = dir.pidtap(arguments).command().output()?;
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{arguments:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs a shell's own check of a script; `None` if the shell is not installed.
fn check(shell: &str, arguments: &[&str], script: &str) -> anyhow::Result<Option<String>> {
    let started =
        Command::new(shell).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = started else { return Ok(None) };
    child.stdin.take().expect("a pipe").write_all(script.as_bytes())?;
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(Some(String::from_utf8(output.stdout)?))
}

#[test]
fn completions_know_all_commands_and_options() -> anyhow::Result<()> {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell])?;
        for word in WORDS {
            // fish lists options without their dashes.
            assert!(script.contains(word.trim_start_matches('-')), "{shell}: {word}");
        }
        for word in HIDDEN {
            assert!(!script.contains(word), "{shell}: {word}");
        }
        if ["zsh", "fish"].contains(&shell) {
            check(shell, &["-n"], &script)?;
        }
    }
    Ok(())
}

#[test]
fn bash_completes_options() -> anyhow::Result<()> {
    let script = printed(&["completions", "bash"])?;
    let ask = "\nCOMP_WORDS=(pidtap open --sh); COMP_CWORD=2; _pidtap pidtap --sh open; echo \"${COMPREPLY[@]}\"\n";
    let said = check("bash", &[], &(script + ask))?.expect("bash is installed");
    assert_eq!(said.trim(), "--show-secrets");
    Ok(())
}

#[test]
fn the_manual_page_has_all_commands_and_options() -> anyhow::Result<()> {
    let page = printed(&["man"])?;
    assert!(page.contains(".TH pidtap 1"), "{page}");
    // The manual page escapes dashes, so that options can be copied.
    let plain = page.replace("\\-", "-");
    for word in WORDS {
        assert!(plain.contains(word), "{word}");
    }
    for word in HIDDEN {
        assert!(!plain.contains(word), "{word}");
    }
    assert!(plain.contains(".SH \"PIDTAP RUN\"") && plain.contains("Exit status: 0"), "{plain}");
    Ok(())
}

#[test]
fn a_shell_that_is_none_is_refused() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let output = dir.pidtap(&["completions", "csh"]).command().output()?;
    let said = String::from_utf8(output.stderr)?;
    assert!(output.status.code() == Some(2) && said.contains("bash"), "{said}");
    Ok(())
}
