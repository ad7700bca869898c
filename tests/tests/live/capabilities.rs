//! pidtap needs every capability that it keeps: without one, an operation fails with a message.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::{
    fs::Mode,
    process::{Pid, Signal, kill_process},
};
use tracer_tests::{
    child::{Guarded, PATIENCE, wait_for},
    guard,
    tracer::binary,
};

use crate::support::NEVER_ANSWERS;

/// The command that becomes an unprivileged user.
const AS_USER: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// pidtap, started by root without one capability (`none`: with all). Its results and messages are in files of a folder.
struct Lacking {
    folder: tempfile::TempDir,
    child: Child,
}

impl Lacking {
    fn start(capability: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| fs::File::create(folder.path().join(name)).expect("made");
        let mut command = Command::new("setpriv");
        if capability != "none" {
            command.arg(format!("--bounding-set=-{capability}"));
        }
        command.arg(binary().expect("pidtap")).args(arguments);
        command.stdin(Stdio::null()).stdout(file("json")).stderr(file("said"));
        let child = command.spawn().expect("setpriv starts");
        Self { folder, child }
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join(name)).expect("there")).into_owned()
    }

    /// Waits until a file has this text.
    fn wait(&self, name: &str, text: &str) {
        let found = wait_for(text, PATIENCE, || self.read(name).contains(text).then_some(()));
        found.unwrap_or_else(|error| panic!("{error}: {} {}", self.read("said"), self.read("json")));
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id() as i32).expect("a process"), signal).expect("ours");
    }

    fn end(mut self) -> (Option<i32>, String, String) {
        let status = self.child.wait().expect("ours").code();
        (status, self.read("said"), self.read("json"))
    }
}

impl Drop for Lacking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process of another user, whose call hangs after the test's signal; optionally in a network namespace of its own.
fn hanging(network: bool) -> Guarded {
    let mut command = Command::new(if network { "unshare" } else { AS_USER[0] });
    if network {
        command.args(["--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]).args(AS_USER);
    } else {
        command.args(&AS_USER[1..]);
    }
    let process = Guarded::start(command.args(["/usr/bin/python3", "-c", NEVER_ANSWERS])).expect("it starts");
    process.expect("ready").expect("it is ready");
    process
}

/// Traces a call that hangs up to its verdict. Returns the messages and the results.
fn hang_without(capability: &str, network: bool) -> (String, String) {
    let mut process = hanging(network);
    let pid = process.pid().to_string();
    let pidtap = Lacking::start(capability, &[&pid, "-o", "json", "--hang-after", "300ms", "--duration", "30s"]);
    pidtap.wait("said", "attached to");
    process.say("go").expect("it waits");
    pidtap.wait("json", r#""kind":"hang""#);
    if capability != "dac_read_search" {
        pidtap.wait("json", r#""call":"recvfrom""#);
    }
    pidtap.signal(Signal::INT);
    let (status, said, json) = pidtap.end();
    assert_eq!(status, Some(0), "{said}");
    (said, json)
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn each_capability_that_looking_needs_is_named_where_it_is_missing() {
    let _guard = guard::live();
    let process = hanging(false);
    let pid = process.pid().to_string();
    let (status, said, _) = Lacking::start("sys_ptrace", &[&pid, "--duration", "1s", "-o", "json"]).end();
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("CAP_SYS_PTRACE is missing"), "{said}");
    // The trace does not begin. A program that reads the same files shows the failure of a later query.
    for (options, expected) in [(&["--bounding-set=-sys_ptrace"][..], false), (&[], true)] {
        let path = format!("/proc/{pid}/task/{pid}/syscall");
        let output = Command::new("setpriv").args(options).args(["cat", &path]).output().expect("setpriv starts");
        assert_eq!(output.status.success(), expected, "{output:?}");
    }

    let (said, json) = hang_without("dac_read_search", false);
    assert!(
        said.contains("cannot read the thread states of process") && said.contains("pidtap lacks CAP_DAC_READ_SEARCH"),
        "{said}"
    );
    assert!(!json.contains(r#""call":"recvfrom""#), "{json}");

    let (said, json) = hang_without("sys_admin", true);
    assert!(
        said.contains("cannot read its network namespace") && said.contains("pidtap lacks CAP_SYS_ADMIN"),
        "{said}"
    );
    assert!(json.contains(r#""reason":"unknown""#), "{json}");

    // With all capabilities, there is no message.
    for network in [false, true] {
        let (said, json) = hang_without("none", network);
        assert!(!said.contains("lacks") && !said.contains("cannot"), "{said}");
        assert!(json.contains(r#""call":"recvfrom""#), "{json}");
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_signal_that_cannot_be_passed_on_is_said() {
    let _guard = guard::live();
    let arguments = ["run", "--user", "nobody", "-o", "json", "--", "sleep", "60"];
    let pidtap = Lacking::start("kill", &arguments);
    pidtap.wait("said", "attached to");
    // The command starts a moment after that line. A signal before that moment ends pidtap itself.
    pidtap.wait("said", "runs as nobody");
    let running = format!("/proc/{}/task/{}/children", pidtap.child.id(), pidtap.child.id());
    let child = wait_for("the command runs", PATIENCE, || {
        let child: u32 = fs::read_to_string(&running).ok()?.trim().parse().ok()?;
        (fs::read_to_string(format!("/proc/{child}/comm")).ok()? == "sleep\n").then_some(child)
    });
    let child = child.expect("it runs");
    pidtap.signal(Signal::TERM);
    pidtap.wait("said", "cannot forward the signal to `sleep`");
    pidtap.wait("said", "pidtap lacks CAP_KILL");
    pidtap.signal(Signal::TERM);
    let (_, said, _) = pidtap.end();
    assert!(said.contains("keeps running"), "{said}");
    kill_process(Pid::from_raw(child as i32).expect("a process"), Signal::KILL).expect("root may");
}

/// A named pipe of another user, which only its owner may open, in a folder of root's.
fn pipe_of_another(folder: &Path) -> PathBuf {
    let path = folder.join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::from_raw_mode(0o600)).expect("made");
    chown(&path, Some(65534), Some(65534)).expect("root may");
    path
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_pipe_of_another_user_needs_the_right_to_pass_over_modes() {
    let _guard = guard::live();
    let process = hanging(false);
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let pipe = pipe_of_another(folder.path());
    let (pid, path) = (process.pid().to_string(), pipe.to_str().expect("text"));
    let arguments = [pid.as_str(), "-o", "json", "--output-file", path, "--force", "--duration", "30s"];
    // With the capability, the reader may come late.
    let pidtap = Lacking::start("none", &arguments);
    pidtap.wait("said", "attached to");
    let mut reader = Command::new(AS_USER[0]).args(&AS_USER[1..]).arg("cat").arg(&pipe).stdout(Stdio::piped()).spawn();
    let reader = reader.as_mut().expect("cat starts");
    let mut line = String::new();
    let output = reader.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).expect("it reads");
    assert!(line.contains("\"type\""), "{line}");
    pidtap.signal(Signal::INT);
    let (status, said, _) = pidtap.end();
    assert_eq!(status, Some(0), "{said}");
    let _ = reader.kill();
    reader.wait().expect("ours");

    let (status, said, _) = Lacking::start("dac_override,-dac_read_search", &arguments).end();
    assert_ne!(status, Some(0), "{said}");
    assert!(said.contains("Permission denied") && said.contains("pidtap lacks CAP_DAC_OVERRIDE"), "{said}");
}

/// Installs a seccomp filter that makes some system calls fail, and executes the rest of its arguments.
const WITHOUT_LANDLOCK: &str = "
import ctypes, os, struct, sys
code = lambda op, true, false, value: struct.pack('HBBI', op, true, false, value)
error = 0x00050000 | int(sys.argv[1])
program = code(0x20, 0, 0, 0) + code(0x35, 0, 2, 444) + code(0x25, 1, 0, 446) + code(0x06, 0, 0, error) + code(0x06, 0, 0, 0x7fff0000)
buffer = ctypes.create_string_buffer(program)
filter = struct.pack('HxxxxxxQ', 5, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, filter, 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[2], sys.argv[2:])
";

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn without_landlock_all_works_and_the_doctor_says_so() {
    let _guard = guard::live();
    let program = binary().expect("pidtap");
    let doctor = |error: Option<u32>| {
        let mut command = match error {
            Some(error) => {
                let mut command = Command::new("/usr/bin/python3");
                command.args(["-c", WITHOUT_LANDLOCK, &error.to_string()]).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        let output = command.arg("doctor").output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
        text
    };
    // EPERM and ENOSYS: the errors of container engines' filters.
    for error in [1, 38] {
        let text = doctor(Some(error));
        assert!(text.contains("Landlock         not used: "), "{text}");
        let process = hanging(false);
        let output = Command::new("/usr/bin/python3")
            .args(["-c", WITHOUT_LANDLOCK, &error.to_string()])
            .arg(&program)
            .args([process.pid().to_string().as_str(), "-o", "json", "--duration", "200ms"])
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(doctor(None).contains("Landlock"));
}
