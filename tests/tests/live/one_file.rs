//! Results, recording and messages never share a file under any names.

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use tracer_tests::{guard, tracer::binary};

/// Runs a shell command, in which `$P` is a pidtap that attaches to a process and ends at once.
fn shell(script: &str) -> (Output, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("sub")).expect("ours");
    let program = binary().expect("pidtap");
    let attach = format!("{} {} --duration 1ms -o json", program.display(), std::process::id());
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", script])
        .current_dir(folder.path())
        .env("P", attach)
        .env("PIDTAP", &program)
        .stdin(Stdio::null())
        .output()
        .expect("bash starts");
    (output, folder)
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn two_writers_of_one_file_are_refused() {
    let _guard = guard::live();
    let results = "the results go there already; choose another file";
    let run = "$PIDTAP run -o json --output-file results";
    for (script, said) in [
        ("$P --record /dev/stdout | cat", results),
        ("$P --record - | cat", results),
        ("$P --record /proc/self/fd/1 > out", results),
        ("$P --record /dev/fd/1", results),
        ("$P --record out > out", results),
        ("$P --output-file out --record sub/../out", results),
        ("$P --output-file - --record -", results),
        ("ln -s .. sub/up; $P --output-file out --record sub/up/out", results),
        ("mkfifo p; exec 9<> p; $P --output-file p --record ./p 9>&-", results),
        ("$P --record /dev/stderr", "the messages of pidtap go there"),
        (&format!("{run} --record /dev/stdout -- true"), "the output of the command goes there"),
        (&format!("{run} --record /dev/stderr -- true"), "the messages of pidtap go there"),
    ] {
        let (Output { status, stderr, stdout }, _folder) = shell(script);
        let stderr = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(1), "{script}: {stderr}");
        assert!(stderr.contains(said) && stdout.is_empty(), "{script}: {stderr}");
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_recording_goes_to_standard_output_where_nothing_else_does() {
    let _guard = guard::live();
    for script in [
        "$P --output-file results --record - > it.tap",
        "$P --output-file results --record /dev/stdout | cat > it.tap",
        "$P --output-file /dev/null --record - > it.tap 2> /dev/null",
    ] {
        let (output, folder) = shell(&format!("{script}; $PIDTAP open it.tap -o json"));
        assert!(output.status.success(), "{script}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(r#""type":"attached""#), "{script}: {output:?}");
        drop(folder);
    }
}
