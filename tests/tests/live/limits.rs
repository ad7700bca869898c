//! Limits that only root can set or raise: pidtap's own soft limits, those of the command of `run`, the processes of a user.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output, Stdio},
};

use anyhow::ensure;
use tracer_tests::{
    cli::{Dir, PAIR, recording, text},
    guard,
    tracer::binary,
};

/// Prints a shell's own soft and hard limits.
const SCRIPT: &str = "for limit in n s d v; do echo $limit $(ulimit -S$limit) $(ulimit -H$limit); done";

fn run(limits: &[&str], words: &[&str]) -> Output {
    Command::new("prlimit")
        .args(limits)
        .arg(binary().expect("pidtap"))
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("prlimit starts")
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn soft_limits_are_raised_and_the_command_has_its_own() {
    let _guard = guard::live();
    let folder = tempfile::tempdir().expect("a folder");
    let results = folder.path().join("json");
    let results = results.to_str().expect("text");
    let command = ["run", "-o", "json", "--output-file", results, "--", "bash", "-c", SCRIPT];
    let limits =
        ["--nofile=20:100", "--stack=131072:8388608", "--data=33554432:1073741824", "--as=268435456:4294967296"];
    let Output { status, stdout, stderr } = run(&limits, &command);
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{said}");
    assert!(said.contains("attached to"), "{said}");
    assert_eq!(String::from_utf8_lossy(&stdout), "n 20 100\ns 128 8192\nd 32768 1048576\nv 262144 4194304\n", "{said}");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn locked_memory_and_size_of_files_do_not_matter_to_the_probes() {
    let _guard = guard::live();
    let Output { status, stderr, .. } = run(&["--memlock=0:0", "--fsize=0:0"], &["run", "-o", "json", "--", "true"]);
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{status}: {said}");
    assert!(said.contains("attached to") && !said.contains("bug in pidtap"), "{said}");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_user_with_few_processes_is_told() -> anyhow::Result<()> {
    let _guard = guard::live();
    let dir = Dir::new()?;
    let tap = dir.write("a.tap", &recording([PAIR])?)?;
    fs::set_permissions(&tap, fs::Permissions::from_mode(0o644))?;
    let program = dir.program_for_all()?;
    let nobody = ["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", "--"];
    let words = [&["--nproc=3:3"], &nobody[..], &[text(&program), "open", text(&tap), "-o", "line"]].concat();
    let ended = dir.run("prlimit", &words).end()?.orderly("--nproc=3")?;
    ensure!(ended.status == Some(5) && ended.stderr.contains("ulimit -u "), "{ended:?}");
    Ok(())
}
