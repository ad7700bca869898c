//! A pidtap with file capabilities, started by an unprivileged user: it traces processes of that user alone.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, ensure};
use rustix::fs::{XattrFlags, setxattr};
use tracer_tests::{child::Guarded, guard, tracer::binary};

use crate::support::{peer, tracee_path};

/// The user `nobody`.
const USER: &str = "65534";
/// The command that becomes that user, without groups.
const AS_USER: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// A folder that every user may enter, with a pidtap that has file capabilities.
struct Granted(tempfile::TempDir);

impl Granted {
    fn new() -> anyhow::Result<Self> {
        let granted = Self(tempfile::tempdir()?);
        fs::set_permissions(granted.0.path(), fs::Permissions::from_mode(0o755))?;
        let program = granted.copy(&binary()?, "pidtap", 0o755)?;
        // cap_bpf,cap_perfmon,cap_sys_ptrace,cap_sys_admin+ep
        Self::grant(&program, 1 << 39 | 1 << 38 | 1 << 19 | 1 << 21)?;
        Ok(granted)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Copies the program by `cp`. If this process wrote the copy, a child that another test forks meanwhile would hold it open for
    /// writing, and nobody could execute it (ETXTBSY).
    fn copy(&self, from: &Path, name: &str, mode: u32) -> anyhow::Result<PathBuf> {
        let path = self.path().join(name);
        ensure!(Command::new("cp").arg(from).arg(&path).status()?.success(), "cannot copy {}", from.display());
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(path)
    }

    /// The attribute that `setcap` writes: `struct vfs_cap_data` of revision 2, effective.
    fn grant(program: &Path, capabilities: u64) -> anyhow::Result<()> {
        let words = [0x0200_0001, capabilities as u32, 0, (capabilities >> 32) as u32, 0];
        let value: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
        setxattr(program, "security.capability", &value, XattrFlags::empty()).context("no file capabilities here")
    }

    /// A pidtap command as the user.
    fn run(&self, arguments: &[&OsStr]) -> anyhow::Result<Output> {
        let mut command = Command::new(AS_USER[0]);
        command.args(&AS_USER[1..]).arg(self.path().join("pidtap")).args(arguments);
        command.current_dir(self.path()).stdin(Stdio::null()).output().context("pidtap does not start")
    }

    fn attach(&self, target: &str) -> anyhow::Result<Output> {
        self.run(&[target, "-o", "json", "--duration", "300ms"].map(OsStr::new))
    }

    /// A waiting process of the user or of root.
    fn waiting(&self, name: &str, as_user: bool) -> anyhow::Result<Guarded> {
        let path = self.path().join(name);
        if !path.exists() {
            self.copy(Path::new("/bin/cat"), name, 0o755)?;
        }
        let mut command = Command::new(AS_USER[0]);
        if as_user {
            command.args(&AS_USER[1..]);
        } else {
            command.arg("--clear-groups");
        }
        // The line says that the process has its identity.
        let mut process = Guarded::start(command.arg(&path))?;
        process.say("ready")?;
        process.expect("ready")?;
        Ok(process)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_user_traces_own_processes_and_no_others() {
    let _guard = guard::live();
    let granted = Granted::new().expect("a granted pidtap");
    let own = granted.waiting("pidtap-test-cat", true).expect("it waits");
    let roots = granted.waiting("pidtap-test-cat", false).expect("it waits");
    let output = granted.attach(&own.pid().to_string()).expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let output = granted.attach(&roots.pid().to_string()).expect("it runs");
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("belongs to root") && output.stdout.is_empty(), "{}", said(&output));
    let output = granted.run(&["doctor".as_ref(), roots.pid().to_string().as_ref()]).expect("it runs");
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("own namespaces: "), "nothing is looked at: {output:?}");
    // The command with which the doctor starts itself again refuses the same processes.
    for (process, expected) in [(&roots, false), (&own, true)] {
        let pid = process.pid().to_string();
        let output = granted.run(&["search-executable", &pid].map(OsStr::new)).expect("it runs");
        assert_eq!((output.status.success(), !output.stdout.is_empty()), (expected, expected), "{output:?}");
    }
    // A name selects only the permitted processes.
    let output = granted.attach("pidtap-test-cat").expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let json = String::from_utf8_lossy(&output.stdout);
    assert!(json.contains(&format!("\"pid\":{}", own.pid())), "{json}");
    assert!(!json.contains(&format!("\"pid\":{}", roots.pid())), "{json}");
    assert!(said(&output).contains("left out 1 of the processes named `pidtap-test-cat`"), "{}", said(&output));
}

/// Sets a name of bytes that are not UTF-8, and one that looks like another line.
const ODD_NAME: &str = "
import ctypes
ctypes.CDLL(None).prctl(15, b'\\xff)\\nUid:\\t0\\xfe', 0, 0, 0)
print('ready', flush=True)
input()
";

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_process_is_its_users_whatever_it_is_called() {
    let _guard = guard::live();
    let granted = Granted::new().expect("a granted pidtap");
    for (as_user, expected) in [(true, 0), (false, 4)] {
        let mut command = Command::new(AS_USER[0]);
        command.args(if as_user { &AS_USER[1..] } else { &AS_USER[3..] });
        let process = Guarded::start(command.args(["/usr/bin/python3", "-c", ODD_NAME])).expect("it starts");
        process.expect("ready").expect("it is ready");
        let output = granted.attach(&process.pid().to_string()).expect("it runs");
        assert_eq!(output.status.code(), Some(expected), "{}", said(&output));
        assert_eq!(said(&output).lines().count(), 1, "{}", said(&output));
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_setuid_program_is_traced_no_further() {
    let _guard = guard::live();
    let granted = Granted::new().expect("a granted pidtap");
    let (address, _log) = peer("127.0.0.1:0").expect("loopback");
    for (name, mode) in [("plain", 0o755), ("setuid", 0o4755), ("setgid", 0o2755), ("capable", 0o755)] {
        let path = granted.copy(Path::new(tracee_path()), name, mode).expect("a copy");
        if name == "capable" {
            // cap_net_bind_service+ep, the capability of servers without root.
            Granted::grant(&path, 1 << 10).expect("file capabilities");
        }
    }
    // The ids tell the calls of the processes apart.
    let call = |name: &str, id: u32| format!("printf 'go\\n' | TRUTH=/dev/null ./{name} scene one {address} {id}");
    let script = [call("setuid", 601), call("setgid", 602), call("capable", 604), call("plain", 603)].join("; ");
    for (options, follow) in [(&[][..], "with"), (&["--no-follow"], "without")] {
        let mut arguments: Vec<&OsStr> = vec!["run".as_ref(), "-o".as_ref(), "json".as_ref()];
        arguments.extend(options.iter().map(OsStr::new));
        let direct = format!("exec {}", call("setuid", 601).split_once("| ").expect("a pipe").1);
        let script = if follow == "with" { &script } else { &direct.replace("TRUTH=/dev/null ", "") };
        arguments.extend(["--", "sh", "-c", script].map(OsStr::new));
        let output = granted.run(&arguments).expect("it runs");
        let json = String::from_utf8_lossy(&output.stdout);
        assert!(said(&output).contains("is no longer traced"), "{follow}: {}", said(&output));
        assert!(!json.contains("\"type\":\"exchange\"") || follow == "with", "{json}");
        if follow == "with" {
            let calls = json.lines().filter(|line| line.contains("\"type\":\"exchange\"")).count();
            assert_eq!(calls, 1, "the plain program's alone: {json}");
            let refused = said(&output).matches("is no longer traced").count();
            assert_eq!(refused, 3, "{}", said(&output));
        }
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn the_command_of_a_pidtap_with_capabilities_has_none() {
    let _guard = guard::live();
    let granted = Granted::new().expect("a granted pidtap");
    let words = ["run", "-o", "json", "--", "grep", "-E", "^Cap(Inh|Prm|Eff|Amb):\\s+0+$", "/proc/self/status"];
    let output = granted.run(&words.map(OsStr::new)).expect("it runs");
    // Its output goes to standard error, as results go to standard output.
    let sets = said(&output).lines().filter(|line| line.starts_with("Cap")).count();
    assert_eq!((output.status.code(), sets), (Some(0), 4), "{}", said(&output));
}

/// Attaches as a user, in a mount namespace whose `/etc` holds only the files that the shell command `make` creates.
fn configured(granted: &Granted, make: &str, pid: u32) -> Output {
    let script = format!(
        "umask 022 && mount -t tmpfs none /etc && {make} && exec timeout -s KILL 60 {} ./pidtap {pid} -o json --duration 300ms",
        AS_USER.join(" "),
    );
    Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .current_dir(granted.path())
        .stdin(Stdio::null())
        .output()
        .expect("unshare starts")
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn root_allows_all_in_a_file_that_nobody_else_writes() {
    let _guard = guard::live();
    let granted = Granted::new().expect("a granted pidtap");
    let roots = granted.waiting("pidtap-test-any", false).expect("it waits");
    let own = granted.waiting("pidtap-test-any", true).expect("it waits");
    for (content, mode, owner, target, expected) in [
        ("any-user\n", "0644", "0", &roots, 0),
        ("# any-user\n", "0644", "0", &roots, 4),
        ("any-user\n", "0664", "0", &roots, 4),
        ("any-user\n", "0644", USER, &roots, 4),
        ("any-user\n", "0666", "0", &own, 4),
        ("anything\n", "0644", "0", &own, 4),
    ] {
        let make = format!(
            "printf '{content}' > /etc/pidtap.conf && chmod {mode} /etc/pidtap.conf && chown {owner} /etc/pidtap.conf"
        );
        let output = configured(&granted, &make, target.pid());
        assert_eq!(output.status.code(), Some(expected), "{content:?} {mode} {owner}: {}", said(&output));
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_configuration_that_is_odd_is_refused_at_once() {
    let _guard = guard::live();
    let granted = Granted::new().expect("a granted pidtap");
    let own = granted.waiting("pidtap-test-odd", true).expect("it waits");
    let named = "printf 'any-user\\n' > /etc/other &&";
    for (make, reason) in [
        (format!("{named} ln -s /etc/other /etc/pidtap.conf"), "cannot be opened"),
        ("ln -s /nowhere /etc/pidtap.conf".to_owned(), "cannot be opened"),
        ("mkfifo /etc/pidtap.conf".to_owned(), "not a regular file"),
        ("mkdir /etc/pidtap.conf".to_owned(), "not a regular file"),
        ("mknod /etc/pidtap.conf c 1 5".to_owned(), "not a regular file"),
        ("truncate -s 1G /etc/pidtap.conf".to_owned(), "larger than 65536 bytes"),
        ("printf 'any-user\\n\\377\\n' > /etc/pidtap.conf".to_owned(), "cannot be read"),
        ("printf 'any-user\\0\\n' > /etc/pidtap.conf".to_owned(), "line 1 is invalid"),
        ("printf 'any-user\\nmore\\n' > /etc/pidtap.conf".to_owned(), "line 2 is invalid"),
        ("printf '\\357\\273\\277any-user\\n' > /etc/pidtap.conf".to_owned(), "line 1 is invalid"),
        ("printf 'any-user\\n' > /etc/pidtap.conf && chmod 0600 /etc/pidtap.conf".to_owned(), "cannot be opened"),
    ] {
        let output = configured(&granted, &make, own.pid());
        assert_eq!(output.status.code(), Some(4), "{make}: {}", said(&output));
        assert!(
            said(&output).contains("cannot use /etc/pidtap.conf") && said(&output).contains(reason),
            "{make}: {}",
            said(&output)
        );
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_setuid_pidtap_does_nothing() {
    let _guard = guard::live();
    let granted = Granted::new().expect("a folder");
    let path = granted.path().join("pidtap");
    for mode in [0o4755, 0o2755] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
        let output = granted.run(&["run", "--", "touch", "made"].map(OsStr::new)).expect("it runs");
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
        assert!(said(&output).contains("setuid or setgid bit"), "{}", said(&output));
        assert!(!granted.path().join("made").exists());
    }
}
