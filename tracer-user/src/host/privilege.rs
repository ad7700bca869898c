//! Privileges of pidtap and features of the kernel. They are checked before anything is loaded, so that an error names
//! the missing capability or feature.

use std::{fmt, fs, path::Path};

use strum::IntoStaticStr;
use thiserror::Error;

use crate::host::process::ExitClass;

/// A capability; the value is its number in `include/uapi/linux/capability.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case", prefix = "cap_")]
pub enum Capability {
    /// Read `/proc/PID/fd`, `exe` and `root` of other users' processes.
    SysPtrace = 19,
    /// Enter namespaces; before Linux 5.8 it also covers the capabilities below.
    SysAdmin = 21,
    /// Attach programs to raw tracepoints and read kernel memory in them.
    Perfmon = 38,
    /// Load programs and create maps.
    Bpf = 39,
}

impl Capability {
    /// Name that `setcap` accepts.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Operation that needs the capability.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::SysPtrace => "read the descriptors, program and libraries of other users' processes",
            Self::SysAdmin => "inspect the network namespace of a container",
            Self::Perfmon => "attach probes and read the payloads of system calls",
            Self::Bpf => "load the probes",
        }
    }
}

/// Effective capabilities of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Capabilities of pidtap; none if `/proc` does not report them.
    pub fn own() -> Self {
        Self(fs::read_to_string("/proc/self/status").ok().and_then(|text| parse_effective(&text)).unwrap_or(0))
    }

    /// Whether the process has the capability. `CAP_SYS_ADMIN` includes those that were split off in Linux 5.8.
    pub fn has(self, capability: Capability) -> bool {
        let has = |capability: Capability| self.0 & (1 << capability as u32) != 0;
        let split_off = matches!(capability, Capability::Bpf | Capability::Perfmon);
        has(capability) || (split_off && has(Capability::SysAdmin))
    }

    /// Capabilities of `wanted` that are missing.
    pub fn missing(self, wanted: &[Capability]) -> Vec<Capability> {
        wanted.iter().copied().filter(|&capability| !self.has(capability)).collect()
    }
}

/// Parses the `CapEff` line of `/proc/PID/status`.
fn parse_effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Capabilities without which tracing is impossible.
pub const NEEDED: [Capability; 3] = [Capability::Bpf, Capability::Perfmon, Capability::SysPtrace];

/// Capabilities without which some traffic is invisible.
pub const USEFUL: [Capability; 1] = [Capability::SysAdmin];

/// Reason why tracing is impossible.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PrivilegeError {
    /// Capabilities are missing.
    #[error("cannot trace: {} {} missing (needed to {}); {}", Names(missing), if missing.len() == 1 { "is" } else { "are" },
        purposes(missing), grant())]
    Capabilities {
        /// The missing capabilities.
        missing: Vec<Capability>,
    },
    /// The program file has the setuid or setgid bit.
    #[error(
        "refusing to run: pidtap was started as {} but runs as {}, because its file has the setuid or setgid bit; \
         with that bit, everyone who may start it could read and write all files of its owner; remove the bit (`sudo \
         chmod ug-s PATH-OF-PIDTAP`) and {}", ids.0,
        ids.1, grant()
    )]
    SetId {
        /// Real and effective IDs, as text.
        ids: (String, String),
    },
    /// The kernel has no BTF.
    #[error(
        "cannot trace on this kernel ({kernel}): it has no BTF (/sys/kernel/btf/vmlinux is missing), so the layout of \
         its data structures is unknown; use a kernel built with CONFIG_DEBUG_INFO_BTF=y (standard in all current \
         distributions)"
    )]
    NoBtf {
        /// Kernel release.
        kernel: String,
    },
    /// The kernel is older than the probes need.
    #[error(
        "cannot trace on this kernel ({kernel}): it is too old, the probes require Linux 5.17 or later (bpf_loop); \
         use a newer kernel, or trace on another host"
    )]
    TooOld {
        /// Kernel release.
        kernel: String,
    },
    /// Kernel lockdown prevents reading memory.
    #[error(
        "cannot trace on this kernel: it is locked down (`confidentiality`) and does not let probes read memory, \
         regardless of privileges; boot with `lockdown=integrity`, or without Secure Boot"
    )]
    LockedDown,
}

impl PrivilegeError {
    /// Class of the error for the exit status.
    pub fn exit_class(&self) -> ExitClass {
        match self {
            Self::Capabilities { .. } | Self::SetId { .. } => ExitClass::NotPermitted,
            Self::NoBtf { .. } | Self::TooOld { .. } | Self::LockedDown => ExitClass::NotSupported,
        }
    }
}

/// Names of capabilities, separated by commas.
struct Names<'a>(&'a [Capability]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, capability) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}", capability.name().to_uppercase())?;
        }
        Ok(())
    }
}

fn purposes(missing: &[Capability]) -> String {
    missing.iter().map(|capability| capability.purpose()).collect::<Vec<_>>().join("; ")
}

/// Advice on getting the missing capabilities: `sudo`, or file capabilities for users without it. Every user who may
/// execute a file with capabilities gets them, so the advice restricts the file to a group. `setcap` comes last, as a
/// change of owner or group removes capabilities (`should_remove_suid` and `security_inode_need_killpriv` in the
/// kernel).
pub fn grant() -> String {
    let program = fs::read_link("/proc/self/exe")
        .map_or_else(|_| "\"$(command -v pidtap)\"".to_owned(), |path| quoted(&path.to_string_lossy()));
    let all: Vec<&str> = NEEDED.iter().chain(&USEFUL).map(|capability| capability.name()).collect();
    format!(
        "run it with `sudo`; or allow the members of a group to run it, once: `sudo groupadd -f pidtap && sudo chgrp \
         pidtap {program} && sudo chmod 0750 {program} && sudo setcap {}+ep {program}` (setcap must come last, \
         because chgrp removes capabilities); each member can then trace their own processes",
        all.join(",")
    )
}

/// Quotes a path for a shell.
fn quoted(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    if path.bytes().all(is_plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

/// Properties of the running kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Kernel release (`uname -r`).
    pub release: String,
    /// Whether the kernel has BTF.
    pub btf: bool,
    /// `none`, `integrity` or `confidentiality`; `None` if unknown (no lockdown, or securityfs is not mounted).
    pub lockdown: Option<String>,
    /// Value of `kernel.unprivileged_bpf_disabled`; informational, as pidtap's programs always need privileges.
    pub unprivileged_bpf_disabled: Option<String>,
}

impl Kernel {
    /// Reads the properties of this machine's kernel.
    pub fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        Self {
            release: rustix::system::uname().release().to_string_lossy().into_owned(),
            btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            lockdown: read("/sys/kernel/security/lockdown").and_then(|text| parse_lockdown(&text)),
            unprivileged_bpf_disabled: read("/proc/sys/kernel/unprivileged_bpf_disabled"),
        }
    }

    /// Major and minor version, if the release begins with them.
    pub fn version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.release.split(|byte: char| !byte.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }

    /// Whether the kernel has the features that the probes use: ring buffer (Linux 5.8), atomic operations that return
    /// a value (5.12), `bpf_loop` (5.17). An unknown version passes.
    pub fn has_what_probes_need(&self) -> bool {
        self.version().is_none_or(|version| version >= (5, 17))
    }

    /// Whether lockdown prevents programs from reading memory.
    pub fn is_confidential(&self) -> bool {
        self.lockdown.as_deref() == Some("confidentiality")
    }
}

/// Returns the word in brackets of `none [integrity] confidentiality`.
fn parse_lockdown(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

/// Checks whether tracing is possible.
///
/// # Errors
///
/// [`PrivilegeError`] with the missing parts. Missing kernel features take precedence over missing capabilities, as
/// granting capabilities would not help.
pub fn check() -> Result<(), PrivilegeError> {
    judge(&Kernel::this(), Capabilities::own())
}

/// Checks that pidtap runs with the IDs of the user who started it. Otherwise commands and files that pidtap creates
/// would belong to a user who did not start it.
///
/// # Errors
///
/// [`PrivilegeError::SetId`].
pub fn check_ids() -> Result<(), PrivilegeError> {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    let ids = |uid: u32, gid: u32| format!("user {uid}, group {gid}");
    if (getuid(), getgid()) == (geteuid(), getegid()) {
        return Ok(());
    }
    let real = ids(getuid().as_raw(), getgid().as_raw());
    Err(PrivilegeError::SetId { ids: (real, ids(geteuid().as_raw(), getegid().as_raw())) })
}

fn judge(kernel: &Kernel, capabilities: Capabilities) -> Result<(), PrivilegeError> {
    if !kernel.has_what_probes_need() {
        return Err(PrivilegeError::TooOld { kernel: kernel.release.clone() });
    }
    if !kernel.btf {
        return Err(PrivilegeError::NoBtf { kernel: kernel.release.clone() });
    }
    if kernel.is_confidential() {
        return Err(PrivilegeError::LockedDown);
    }
    let missing = capabilities.missing(&NEEDED);
    if missing.is_empty() { Ok(()) } else { Err(PrivilegeError::Capabilities { missing }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Capabilities = Capabilities(0x1ff_ffff_ffff);

    fn kernel(release: &str) -> Kernel {
        let release = release.to_owned();
        Kernel { release, btf: true, lockdown: Some("integrity".to_owned()), unprivileged_bpf_disabled: None }
    }

    #[test]
    fn capabilities_are_read_from_status() {
        let status = "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000000c000080000\nCapBnd:\t000001ffffffffff\n";
        let capabilities = Capabilities(parse_effective(status).expect("a line CapEff"));
        assert_eq!(capabilities.missing(&NEEDED), []);
        assert_eq!(capabilities.missing(&USEFUL), [Capability::SysAdmin]);
        assert_eq!(parse_effective("Name:\tx\n"), None);
    }

    #[test]
    fn sys_admin_includes_bpf_and_perfmon() {
        assert_eq!(Capabilities(1 << 21).missing(&NEEDED), [Capability::SysPtrace]);
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(judge(&kernel("6.1.0-13-amd64"), ALL), Ok(()));
        let error = judge(&kernel("6.1.0"), Capabilities(0)).expect_err("nothing is granted");
        assert_eq!(error.exit_class(), ExitClass::NotPermitted);
        let text = error.to_string();
        assert!(text.contains("CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE are missing"), "{text}");
        assert!(text.find("chgrp pidtap") < text.find("chmod 0750"), "{text}");
        assert!(text.find("chmod 0750") < text.find("setcap"), "{text}");
        assert!(text.contains("setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_sys_admin+ep"), "{text}");
        let old = judge(&kernel("5.4.0-generic"), Capabilities(0)).expect_err("too old");
        assert_eq!(old, PrivilegeError::TooOld { kernel: "5.4.0-generic".to_owned() });
        let without = Kernel { btf: false, ..kernel("6.1") };
        assert_eq!(judge(&without, ALL).map_err(|error| error.exit_class()), Err(ExitClass::NotSupported));
        let locked = Kernel { lockdown: Some("confidentiality".to_owned()), ..kernel("6.1") };
        assert_eq!(judge(&locked, ALL), Err(PrivilegeError::LockedDown));
    }

    #[test]
    fn paths_in_advice_are_quoted() {
        assert_eq!(quoted("/usr/bin/pidtap-1.0"), "/usr/bin/pidtap-1.0");
        assert_eq!(quoted("/home/a b/it's;x"), r"'/home/a b/it'\''s;x'");
    }

    #[test]
    fn versions_and_lockdown_are_parsed() {
        assert_eq!(kernel("5.15.0-91-generic").version(), Some((5, 15)));
        assert_eq!(kernel("6.18-rc1").version(), Some((6, 18)));
        assert_eq!(kernel("strange").version(), None);
        assert_eq!(parse_lockdown("none [integrity] confidentiality"), Some("integrity".to_owned()));
        assert_eq!(parse_lockdown(""), None);
    }
}
