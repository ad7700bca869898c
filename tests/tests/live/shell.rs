//! pidtap traces the shell that started it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use tracer_tests::{guard, tracer::binary};

use crate::support::peer;

/// The typed lines: pidtap for this shell, a call, the end.
const SCRIPT: &str = r#"
# Waits with builtins alone: a program would be a child of the shell as well.
exec {never}<> <(:)
wait_for() {
    until [[ -e json ]] && { read -r -d '' text < json; [[ $text == *"$1"* ]]; }; do
        kill -0 $! || exit 7
        read -r -t 0.02 -u $never
    done
}
$STARTER "$PIDTAP" $$ -o json --output-file json 2> said &
wait_for '"type":"attached"'
curl -s -o /dev/null --max-time 60 "http://$ADDRESS/from-the-shell?id=1"
wait_for from-the-shell
# All of its job: the starter, where there is one, and pidtap.
read -r pid < <(pgrep -x -P $! pidtap || echo $!)
kill -INT "$pid"
wait $!
echo "shell=$$ pidtap=$pid"
"#;

fn shell(starter: &str) {
    let (address, _log) = peer("127.0.0.1:0").expect("loopback");
    let folder = tempfile::tempdir().expect("a folder");
    let sudo = folder.path().join("sudo");
    // A stand-in for sudo: a process of this name between the shell and pidtap.
    fs::write(&sudo, "#!/bin/sh\n\"$@\"\n").expect("ours");
    fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755)).expect("ours");
    let output = Command::new("bash")
        .args(["-c", SCRIPT])
        .current_dir(folder.path())
        .env("PIDTAP", binary().expect("pidtap"))
        .env("STARTER", starter)
        .env("ADDRESS", address)
        .stdin(Stdio::null())
        .output()
        .expect("bash starts");
    let said = fs::read_to_string(folder.path().join("said")).unwrap_or_default();
    assert!(output.status.success(), "{output:?}: {said}");
    let printed = String::from_utf8_lossy(&output.stdout);
    let number = |name: &str| -> u32 {
        let (_, rest) = printed.split_once(name).expect("printed");
        rest.split_whitespace().next().expect("a number").parse().expect("a number")
    };
    let (shell, pidtap) = (number("shell="), number("pidtap="));
    assert!(said.contains(&format!("attached to bash ({shell}); press Ctrl-C to stop")), "without a child: {said}");
    let json = fs::read_to_string(folder.path().join("json")).expect("results");
    assert!(json.contains("/from-the-shell"), "children of the shell are followed: {json}");
    assert!(!json.contains(&format!("\"pid\":{pidtap},")), "{json}");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn pidtap_is_no_child_of_the_shell_that_it_traces() {
    let _guard = guard::live();
    shell("");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn nor_is_what_gave_it_root() {
    let _guard = guard::live();
    shell("./sudo");
}
