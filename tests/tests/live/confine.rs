//! The privileges of each thread of pidtap while it traces. They suffice for everything.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tracer_tests::{
    child::{Guarded, PATIENCE, wait_for},
    descriptors::sleeper,
    guard,
    privileges::{Privileges, of_process, of_threads},
    terminal::Terminal,
    tracer::{Tracer, binary},
};

use crate::support::{NEVER_ANSWERS, Tracee, peer};

const KILL: u64 = 1 << 5;
const SYS_PTRACE: u64 = 1 << 19;
const DAC_READ_SEARCH: u64 = 1 << 2;
const SYS_ADMIN: u64 = 1 << 21;
const BPF: u64 = 1 << 39;
/// An unprivileged user.
const USER: u32 = 65_534;

/// Checks that each thread has exactly the privileges in SECURITY.md. `first` has those of the first thread.
fn assert_confined(pid: u32, first: u64) -> BTreeMap<String, Privileges> {
    let expected = |name: &str| match name {
        "pidtap-probe" => SYS_PTRACE | DAC_READ_SEARCH | SYS_ADMIN,
        "pidtap-drain" | "pidtap-engine" if before_5_19() => BPF,
        "pidtap" | "run-wait" => first,
        _ => 0,
    };
    let is_done = |threads: &BTreeMap<String, Privileges>| {
        threads.iter().all(|(name, thread)| thread.no_new && thread.permitted == expected(name))
    };
    // The last threads start while pidtap prints `attached`.
    let last = wait_for("all threads are confined", PATIENCE, || of_threads(pid).ok().filter(is_done));
    let threads = last.unwrap_or_else(|_| panic!("{:#?}", of_threads(pid)));
    for (name, thread) in &threads {
        assert_eq!(
            (thread.effective, thread.bounding, thread.inherited),
            (thread.permitted, 0, 0),
            "{name}: {thread:?}"
        );
    }
    for name in ["pidtap", "pidtap-drain", "pidtap-engine", "pidtap-probe"] {
        assert!(threads.contains_key(name), "{name} in {threads:?}");
    }
    threads
}

fn before_5_19() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|char: char| !char.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next(), numbers.next()) < (Some(5), Some(19))
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn each_thread_keeps_what_it_needs() {
    let _guard = guard::live();
    let folder = tempfile::tempdir().expect("a folder");
    let recording = folder.path().join("trace.tap");
    let (address, _log) = peer("127.0.0.1:0").expect("loopback");
    let mut tracee = Tracee::start(&["client", "plain", &address, "kinds", "1"]).expect("the tracee starts");
    let options = ["--record", recording.to_str().expect("text")];
    let trace = Tracer::attach(&[tracee.pid()], &options).expect("pidtap attaches");
    let threads = assert_confined(trace.pid(), 0);
    assert!(threads.contains_key("pidtap-output") && threads.contains_key("pidtap-record"), "{threads:?}");
    tracee.work().expect("the tracee works");
    let report = trace.stop().expect("pidtap ends");
    assert!(!report.exchanges.is_empty());
    let replayed = Command::new(binary().expect("pidtap")).arg("open").arg(&recording).args(["-o", "json"]).output();
    let replayed = replayed.expect("pidtap starts");
    assert!(replayed.status.success() && !replayed.stdout.is_empty(), "{replayed:?}");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_signal_reaches_a_command_of_another_user() {
    let _guard = guard::live();
    let trace = Tracer::run(&["--user", "nobody"], &["sleep".as_ref(), "60".as_ref()]).expect("pidtap runs it");
    let command = sleeper(trace.pid()).expect("the command runs");
    assert_confined(trace.pid(), KILL);
    let of_command = of_process(command).expect("it runs");
    assert_eq!(
        (of_command.users.as_str(), of_command.permitted, of_command.no_new),
        ("65534 65534 65534 65534", 0, false)
    );
    kill_process(Pid::from_raw(trace.pid() as i32).expect("a process"), Signal::TERM).expect("ours");
    let error = trace.finish().expect_err("its status is that of the command").to_string();
    assert!(error.contains("143"), "{error}");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn what_passes_on_the_output_of_a_command_has_no_privilege() {
    let _guard = guard::live();
    let mut command = Command::new(binary().expect("pidtap"));
    command.args(["run", "--user", "nobody", "-o", "tui", "--", "sh", "-c", "echo begun; exec sleep 60"]);
    let terminal = Terminal::start((120, 40), &command).expect("a terminal");
    terminal.wait_for("[1 Overview]").expect("screens");
    terminal.press_for("4", "begun").expect("what the command says");
    let threads = assert_confined(pidtap_below(terminal.pid()), KILL);
    for name in ["pidtap-relay", "pidtap-screen", "pidtap-user", "run-wait"] {
        assert!(threads.contains_key(name), "{name} in {threads:?}");
    }
    terminal.signal(Signal::TERM).expect("it is there");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_call_of_another_users_process_hangs_and_its_threads_are_looked_at() {
    let _guard = guard::live();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", NEVER_ANSWERS]);
    let mut tracee = Guarded::start(&mut command).expect("it starts");
    tracee.expect("ready").expect("it is ready");
    let trace = Tracer::attach(&[tracee.pid()], &["--hang-after", "500ms"]).expect("pidtap attaches");
    assert_confined(trace.pid(), 0);
    tracee.say("go").expect("it waits");
    trace.wait_for_output(r#""kind":"hang""#).unwrap_or_else(|error| panic!("{error}: {}", trace.output()));
    // Only its user may read the files with its system call and its wait channel.
    let looked = wait_for("a thread in a call", PATIENCE, || {
        let json = trace.output();
        (json.contains(r#""call":"recvfrom","wait_channel":""#) && json.contains(r#""reason":"not_served""#))
            .then_some(())
    });
    looked.unwrap_or_else(|error| panic!("{error}: {}", trace.output()));
    trace.stop().expect("pidtap ends");
}

/// A folder that every user may enter.
fn folder_for_all() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    folder
}

/// pidtap with screens in a folder; the traced process works once.
fn screens(folder: &Path, environment: &[(&str, &str)]) -> (Terminal, Tracee) {
    let (address, _log) = peer("127.0.0.1:0").expect("loopback");
    let mut tracee = Tracee::start(&["client", "plain", &address, "kinds", "1"]).expect("the tracee starts");
    let mut command = Command::new(binary().expect("pidtap"));
    command.arg(tracee.pid().to_string()).args(["-o", "tui"]).current_dir(folder);
    command.env_remove("SUDO_UID").env_remove("SUDO_GID").envs(environment.iter().copied());
    let terminal = Terminal::start((160, 45), &command).expect("a terminal");
    terminal.wait_for("[1 Overview]").expect("screens");
    tracee.work().expect("the tracee works");
    terminal.wait_for(" calls").expect("calls");
    (terminal, tracee)
}

/// The process in the terminal: pidtap, below the `setsid` that started it.
fn pidtap_below(pid: u32) -> u32 {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if name.trim() == "pidtap" { pid } else { sleeper(pid).unwrap_or(pid) }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_pager_has_no_privilege_and_files_are_saved_without_any() {
    let _guard = guard::live();
    for (caller, folder_owner, file_owner) in [(None, 0, 0), (Some(USER), USER, USER), (Some(USER), 0, 0)] {
        let folder = folder_for_all();
        chown(folder.path(), Some(folder_owner), Some(folder_owner)).expect("root may");
        let id = USER.to_string();
        let mut environment = vec![("PAGER", "exec sleep 60")];
        if caller.is_some() {
            environment.extend([("SUDO_UID", id.as_str()), ("SUDO_GID", id.as_str())]);
        }
        let (mut terminal, _tracee) = screens(folder.path(), &environment);
        let pid = pidtap_below(terminal.pid());
        let threads = assert_confined(pid, 0);
        assert_eq!(threads["pidtap-user"].users, "65534 65534 65534 65534");
        assert!(threads.contains_key("pidtap-screen"), "{threads:?}");

        terminal.press_for("s", "saved").expect("a recording");
        let saved = fs::metadata(folder.path().join("pidtap.tap")).expect("it is there");
        assert_eq!((saved.uid(), saved.mode() & 0o777), (file_owner, 0o600));

        terminal.press_for("g\r", "── Request ──").expect("an exchange");
        // An exchange with a body, for the pager.
        while !terminal.text().contains("POST /echo/") {
            let before = terminal.text();
            terminal.press("]").expect("keys");
            terminal.wait("the next exchange", |screen| screen.contents() != before).expect("there is one with a body");
        }
        terminal.press("d").expect("keys");
        let pager = sleeper(pid).unwrap_or_else(|error| panic!("{error}: {}", terminal.text()));
        let privileges = of_process(pager).expect("it runs");
        assert_eq!(privileges.users, "65534 65534 65534 65534", "nobody, or who called sudo");
        assert_eq!(
            (privileges.permitted, privileges.effective, privileges.bounding, privileges.no_new),
            (0, 0, 0, true)
        );
        kill_process(Pid::from_raw(pager as i32).expect("a process"), Signal::TERM).expect("root may");
        terminal.wait_for("── Request ──").expect("the screens again");
        terminal.press("q").expect("keys");
        assert!(terminal.end().expect("it ends").success());
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn opening_a_recording_as_root_needs_no_privilege() {
    let _guard = guard::live();
    // No byte comes through the pipe: the reader waits.
    let mut command = Command::new(binary().expect("pidtap"));
    let name = "recordings/screen_busy.tap";
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("a committed recording");
    let mut child = command
        .args(["open", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut input = child.stdin.take().expect("piped");
    std::io::Write::write_all(&mut input, &bytes[..bytes.len() / 2]).expect("it reads");
    let free = wait_for("no thread has a capability", PATIENCE, || {
        let threads = of_threads(child.id()).ok()?;
        let is_free = threads.values().all(|thread| thread.permitted == 0 && thread.bounding == 0 && thread.no_new);
        (is_free && threads.len() > 2).then_some(())
    });
    free.unwrap_or_else(|error| panic!("{error}: {:#?}", of_threads(child.id())));
    drop(input);
    child.wait().expect("it ends");
}
