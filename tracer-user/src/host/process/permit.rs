//! Permission to trace processes, depending on the user who started pidtap.
//!
//! Root may trace all processes. Other users can start a program file with capabilities (`setcap`), and pidtap could
//! then read everybody's traffic. If the real user is not root, a target must therefore be a process that this user may
//! inspect without pidtap, by the rules of the kernel's `__ptrace_may_access` with the real IDs of the caller
//! (`kernel/ptrace.c`) and of `cap_ptrace_access_check` (`security/commoncap.c`). Root can lift the restriction in
//! [`CONFIGURATION`].

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use procfs::process::{Process, Status};
use rustix::fs::OFlags;

use super::{ProcessError, Target, read_lossy};

/// Configuration file. It is rejected if others than root can write it.
pub const CONFIGURATION: &str = "/etc/pidtap.conf";

/// Line in [`CONFIGURATION`] that permits all users to trace processes of all users.
const ANY_USER: &str = "any-user";

/// Maximum size of the configuration file in bytes.
const CONFIGURATION_LIMIT: u64 = 64 * 1024;

/// Set of processes that may be traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// All processes: root started pidtap, or root permits it, or pidtap has no capabilities and the kernel decides.
    Any,
    /// The processes of one user.
    Own {
        /// Real user ID of pidtap.
        uid: u32,
        /// Real group ID of pidtap.
        gid: u32,
    },
}

impl Permit {
    /// Determines the permit of this pidtap.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Configuration`] if [`CONFIGURATION`] exists and is not trustworthy.
    pub fn this() -> Result<Self, ProcessError> {
        let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
        if uid.is_root() || !has_capabilities() {
            return Ok(Self::Any);
        }
        let any = allows_any_user(Path::new(CONFIGURATION)).map_err(|reason| ProcessError::Configuration { reason })?;
        Ok(if any { Self::Any } else { Self::Own { uid: uid.as_raw(), gid: gid.as_raw() } })
    }

    /// User and group of all targets, if they must have one owner.
    pub fn owner(&self) -> Option<(u32, u32)> {
        match *self {
            Self::Any => None,
            Self::Own { uid, gid } => Some((uid, gid)),
        }
    }

    /// Checks whether a process may be traced. Called again once the process is a target of the probes; from then on
    /// the probes check each `exec`.
    ///
    /// # Errors
    ///
    /// [`ProcessError::OfAnother`] if it may not, also if the process has ended.
    pub fn check(&self, target: &Target) -> Result<(), ProcessError> {
        let Self::Own { uid, gid } = *self else { return Ok(()) };
        let refused =
            |owner: String| Err(ProcessError::OfAnother { pid: target.pid, name: target.name.clone(), owner, uid });
        let Some(status) = status(target.pid) else { return refused("no user any more".to_owned()) };
        if !is_owned(&status, uid, gid) {
            return refused(owner(&status));
        }
        // Files of a process that must not be dumped belong to root (`task_dump_owner` in `fs/proc/base.c`): its
        // program is not readable for its user, or it protects its memory.
        match fs::metadata(format!("/proc/{}/status", target.pid)) {
            Ok(meta) if meta.uid() == uid => Ok(()),
            _ => refused(format!("user {uid} but protects its memory")),
        }
    }
}

/// Whether all IDs of the process are those of the user and it has no capabilities.
fn is_owned(status: &Status, uid: u32, gid: u32) -> bool {
    [status.ruid, status.euid, status.suid] == [uid; 3]
        && [status.rgid, status.egid, status.sgid] == [gid; 3]
        && status.capprm == 0
}

/// Owner of the process, with the difference to the user.
fn owner(status: &Status) -> String {
    match (status.ruid, status.euid) {
        (0, 0) => "root".to_owned(),
        (real, effective) if real == effective && status.capprm != 0 => format!("user {real}, with capabilities"),
        (real, effective) if real == effective => format!("user {real}, group {}", status.egid),
        (real, effective) => format!("user {real} as user {effective}"),
    }
}

fn status(pid: u32) -> Option<Status> {
    // The name may contain any byte.
    read_lossy(pid, "status")
}

/// Whether pidtap has any capability; true if `/proc` is not readable.
fn has_capabilities() -> bool {
    Process::myself().and_then(|own| own.status()).map_or(true, |status| status.capeff != 0)
}

/// Whether the configuration contains the line. The check uses the descriptor that is then read.
fn allows_any_user(path: &Path) -> Result<bool, String> {
    let flags = (OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK).bits();
    let file = match OpenOptions::new().read(true).custom_flags(flags as i32).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(format!("it cannot be opened ({error})")),
    };
    judge(&file, 0)?;
    let mut text = String::new();
    file.take(CONFIGURATION_LIMIT).read_to_string(&mut text).map_err(|error| format!("it cannot be read ({error})"))?;
    parse(&text)
}

/// Checks that only the owner can have written the file.
fn judge(file: &File, owner: u32) -> Result<(), String> {
    let meta = file.metadata().map_err(|error| format!("it cannot be examined ({error})"))?;
    if !meta.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    if meta.uid() != owner {
        return Err(format!("it belongs to user {}, not to root", meta.uid()));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(format!("users other than root can write to it (mode {:o})", meta.mode() & 0o7777));
    }
    if meta.len() > CONFIGURATION_LIMIT {
        return Err(format!("it is larger than {CONFIGURATION_LIMIT} bytes"));
    }
    Ok(())
}

/// Parses lines with one word, blank lines, and comments after `#`.
fn parse(text: &str) -> Result<bool, String> {
    let mut any = false;
    for (number, line) in (1..).zip(text.lines()) {
        match line.split('#').next().unwrap_or_default().trim() {
            "" => {}
            ANY_USER => any = true,
            _ => return Err(format!("line {number} is invalid; the only valid line is `{ANY_USER}`")),
        }
    }
    Ok(any)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn own_status() -> Status {
        status(std::process::id()).expect("this process is there")
    }

    #[test]
    fn all_ids_must_be_the_users() {
        let mut status = own_status();
        status.capprm = 0;
        for id in [&mut status.ruid, &mut status.euid, &mut status.suid] {
            *id = 1000;
        }
        for id in [&mut status.rgid, &mut status.egid, &mut status.sgid] {
            *id = 100;
        }
        assert!(is_owned(&status, 1000, 100));
        assert!(!is_owned(&status, 1001, 100) && !is_owned(&status, 1000, 101));
        // A setuid program, one that can become root again, a setgid program, one with file capabilities.
        let changes: [fn(&mut Status); 4] =
            [|status| status.euid = 0, |status| status.suid = 0, |status| status.egid = 42, |status| status.capprm = 1];
        for change in changes {
            let mut other = status.clone();
            change(&mut other);
            assert!(!is_owned(&other, 1000, 100), "{other:?}");
        }
    }

    #[test]
    fn a_process_of_another_user_is_refused_and_named() {
        let target = Target { pid: std::process::id(), name: "test".into(), start_time: 0, parent: 0 };
        let status = own_status();
        let permit = Permit::Own { uid: status.ruid + 1, gid: status.rgid };
        let error = permit.check(&target).expect_err("another user's").to_string();
        assert!(error.contains("test") && error.contains(CONFIGURATION), "{error}");
        Permit::Any.check(&target).expect("allowed");
    }

    #[test]
    fn the_configuration_is_strict() {
        assert_eq!(parse(""), Ok(false));
        assert_eq!(parse("# any-user\n\n"), Ok(false));
        assert_eq!(parse("# Whoever is in the group may.\n  any-user  # all\n"), Ok(true));
        assert_eq!(parse("# of another system\r\nany-user\r\n"), Ok(true));
        assert!(parse("any-user yes").is_err() && parse("any-users").is_err());
    }

    #[test]
    fn a_configuration_that_others_could_write_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pidtap.conf");
        assert_eq!(allows_any_user(&path), Ok(false), "none is there");
        fs::write(&path, "any-user\n").expect("written");
        let own = rustix::process::getuid().as_raw();
        let opened = || File::open(&path).expect("there");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
        judge(&opened(), own).expect("only its owner writes it");
        assert!(judge(&opened(), own + 1).is_err());
        for mode in [0o664, 0o646, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
            assert!(judge(&opened(), own).is_err(), "{mode:o}");
        }
        judge(&File::open(folder.path()).expect("there"), own).expect_err("a folder");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        allows_any_user(&link).expect_err("a link is not followed");
    }
}
