//! The user of the command that `pidtap run` starts.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    process::{Command, Stdio},
};

use tracer_tests::{guard, tracer::binary};

/// The command's own view of its identity.
const SCRIPT: &str = "grep -E '^(Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs):' /proc/self/status; \
                      echo home=$HOME user=$USER logname=$LOGNAME kept=$KEPT; touch made";

struct Ran {
    /// Its output, with single blanks.
    output: String,
    said: String,
    status: Option<i32>,
    /// The owner of the file that it created.
    owner: Option<(u32, u32)>,
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("ours");
    let output = Command::new(binary().expect("pidtap"))
        .arg("run")
        .args(arguments)
        .args(["-o", "json", "--output-file", "json", "--", "sh", "-c", SCRIPT])
        .current_dir(folder.path())
        .env_remove("SUDO_UID")
        .env_remove("SUDO_GID")
        .env_remove("SUDO_USER")
        .env("KEPT", "yes")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("pidtap starts");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    Ran {
        output: String::from_utf8_lossy(&output.stdout).lines().map(|line| words(line) + "\n").collect(),
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
        status: output.status.code(),
        owner: fs::metadata(folder.path().join("made")).ok().map(|meta| (meta.uid(), meta.gid())),
    }
}

/// The command has all four ids of the user, and no capability in any set. A setuid program that it starts still works.
fn assert_is(ran: &Ran, uid: u32, gid: u32) {
    assert_eq!(ran.status, Some(0), "{}", ran.said);
    for (name, id) in [("Uid", uid), ("Gid", gid)] {
        assert!(ran.output.contains(&format!("{name}: {id} {id} {id} {id}\n")), "{}", ran.output);
    }
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert!(ran.output.contains(&format!("{set}: 0000000000000000\n")), "{}", ran.output);
    }
    assert!(ran.output.contains("NoNewPrivs: 0\n"), "{}", ran.output);
    let own = fs::read_to_string("/proc/self/status").expect("there");
    let bounding = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("a line of it").trim();
    assert!(ran.output.contains(&format!("CapBnd: {bounding}\n")), "{}", ran.output);
    assert_eq!(ran.owner, Some((uid, gid)));
    assert!(ran.output.contains("kept=yes"), "the rest of the environment is kept: {}", ran.output);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn under_sudo_the_command_is_its_callers() {
    let _guard = guard::live();
    let ran = run(&[], &[("SUDO_UID", "65534"), ("SUDO_GID", "65534"), ("HOME", "/root"), ("USER", "root")]);
    assert_is(&ran, 65534, 65534);
    assert!(ran.said.contains("runs as nobody (user 65534), who ran sudo; use `--user root`"), "{}", ran.said);
    assert!(ran.output.contains("user=nobody logname=nobody") && !ran.output.contains("home=/root"), "{}", ran.output);
    // A user without an entry in the database.
    let ran = run(&[], &[("SUDO_UID", "43210"), ("SUDO_GID", "54321"), ("HOME", "/root")]);
    assert_is(&ran, 43210, 54321);
    assert!(ran.output.contains("Groups: 54321\n") && ran.output.contains("home=/ user=43210"), "{}", ran.output);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_user_can_be_named() {
    let _guard = guard::live();
    for name in ["nobody", "65534"] {
        let ran = run(&["--user", name], &[]);
        assert_is(&ran, 65534, 65534);
        assert!(ran.said.contains("`sh` runs as nobody (user 65534)\n"), "{}", ran.said);
    }
    // Under sudo, root must be requested by name, and the identity stays.
    let ran = run(&["--user", "root"], &[("SUDO_UID", "65534"), ("SUDO_GID", "65534")]);
    assert!(ran.output.contains("Uid: 0 0 0 0\n") && !ran.said.contains("runs as"), "{} {}", ran.output, ran.said);
    // Without sudo, the command runs as root.
    for environment in [&[][..], &[("SUDO_UID", "0"), ("SUDO_GID", "0")]] {
        let ran = run(&[], environment);
        assert!(ran.output.contains("Uid: 0 0 0 0\n") && !ran.said.contains("runs as"), "{} {}", ran.output, ran.said);
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn nothing_runs_as_a_user_that_is_not_known() {
    let _guard = guard::live();
    for wrong in ["", "-1", "4294967295", "1000x", "root"] {
        let ran = run(&[], &[("SUDO_UID", wrong), ("SUDO_GID", "65534")]);
        assert_eq!((ran.status, ran.owner), (Some(2), None), "{wrong:?}: {}", ran.said);
        assert!(ran.said.contains("SUDO_UID") && ran.said.contains("--user NAME"), "{}", ran.said);
        let ran = run(&[], &[("SUDO_UID", "65534"), ("SUDO_GID", wrong)]);
        assert_eq!((ran.status, ran.owner), (Some(2), None), "{wrong:?}: {}", ran.said);
    }
    let ran = run(&["--user", "no-such-user"], &[]);
    assert_eq!((ran.status, ran.owner), (Some(2), None), "{}", ran.said);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn variables_that_sudo_does_not_set_together_are_not_believed() {
    let _guard = guard::live();
    let user = [("SUDO_UID", "65534"), ("SUDO_GID", "65534")];
    for (odd, reason) in [
        // Ids of another user, of no user, and of root; names that are cut or invalid.
        (&[user[0], user[1], ("SUDO_USER", "root")][..], "is user 0"),
        (&[user[0], user[1], ("SUDO_USER", "no-such-user")], "is no user"),
        (&[user[0], user[1], ("SUDO_USER", "")], "is no user"),
        (&[("SUDO_UID", "0"), ("SUDO_GID", "0"), ("SUDO_USER", "nobody")], "is user 65534"),
        (&[("SUDO_UID", "43210"), ("SUDO_GID", "43210"), ("SUDO_USER", "root")], "is user 0"),
        // A group without the user: root's above all.
        (&[user[0], ("SUDO_GID", "0")], "is not in group 0"),
        (&[user[0], ("SUDO_GID", "54321")], "is not in group 54321"),
        (&[("SUDO_UID", "43210"), ("SUDO_GID", "0")], "SUDO_GID is the group of root"),
        (&[("SUDO_UID", "43210")], "SUDO_GID is missing"),
        // Half of the variables: the command must not run as root without a message.
        (&[user[1]], "SUDO_UID is missing"),
        (&[("SUDO_USER", "nobody")], "SUDO_UID is missing"),
    ] {
        let ran = run(&[], odd);
        assert_eq!((ran.status, ran.owner), (Some(2), None), "{odd:?}: {}", ran.said);
        assert!(ran.said.contains(reason) && ran.said.contains("--user NAME"), "{odd:?}: {}", ran.said);
        // An explicit user needs no variables.
        let ran = run(&["--user", "nobody"], odd);
        assert_is(&ran, 65534, 65534);
    }
    let ran = run(&[], &[user[0], user[1], ("SUDO_USER", "nobody")]);
    assert_is(&ran, 65534, 65534);
    let ran = run(&[], &[("SUDO_UID", "0"), ("SUDO_GID", "0"), ("SUDO_USER", "root")]);
    assert!(ran.output.contains("Uid: 0 0 0 0\n"), "{} {}", ran.output, ran.said);
}
