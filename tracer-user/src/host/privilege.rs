//! What pidtap may do here, and what this kernel can: asked before anything is loaded, so that the answer names what is
//! missing instead of an error number.

use std::{fmt, fs, path::Path};

use thiserror::Error;

use crate::host::process::ExitClass;

/// A capability, by its number in `include/uapi/linux/capability.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Enter a target's network namespace; reading any process's descriptors passes other checks.
    NetAdmin = 12,
    /// Read `/proc/PID/fd`, `exe` and `root` of other users' processes.
    SysPtrace = 19,
    /// Everything below on kernels before 5.8, and entering namespaces on all.
    SysAdmin = 21,
    /// Attach programs to raw tracepoints, read kernel memory from them.
    Perfmon = 38,
    /// Load programs and make maps.
    Bpf = 39,
}

impl Capability {
    /// The name that `setcap` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::NetAdmin => "cap_net_admin",
            Self::SysPtrace => "cap_sys_ptrace",
            Self::SysAdmin => "cap_sys_admin",
            Self::Perfmon => "cap_perfmon",
            Self::Bpf => "cap_bpf",
        }
    }

    /// What cannot be done without it.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::NetAdmin => "reading socket marks and options of other users",
            Self::SysPtrace => "reading descriptors, program and libraries of other users' processes",
            Self::SysAdmin => "looking into the network namespace of a container",
            Self::Perfmon => "attaching probes and reading the payloads of system calls",
            Self::Bpf => "loading the probes",
        }
    }
}

/// Effective capabilities of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Of pidtap itself; none where `/proc` does not tell.
    pub fn own() -> Self {
        Self(fs::read_to_string("/proc/self/status").ok().and_then(|text| parse_effective(&text)).unwrap_or(0))
    }

    /// Whether it has this one. `CAP_SYS_ADMIN` includes what was split off it in 5.8.
    pub fn has(self, capability: Capability) -> bool {
        let has = |capability: Capability| self.0 & (1 << capability as u32) != 0;
        let split_off = matches!(capability, Capability::Bpf | Capability::Perfmon);
        has(capability) || (split_off && has(Capability::SysAdmin))
    }

    /// Those of `wanted` that are missing.
    pub fn missing(self, wanted: &[Capability]) -> Vec<Capability> {
        wanted.iter().copied().filter(|&capability| !self.has(capability)).collect()
    }
}

/// The `CapEff` line of `/proc/PID/status`.
fn parse_effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Without these nothing can be traced.
pub const NEEDED: [Capability; 3] = [Capability::Bpf, Capability::Perfmon, Capability::SysPtrace];

/// Without these something is not seen.
pub const USEFUL: [Capability; 1] = [Capability::SysAdmin];

/// What is missing before anything can be traced.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PrivilegeError {
    /// Capabilities.
    #[error("not permitted to trace: {} {} missing ({}); {}", Names(missing), if missing.len() == 1 { "is" } else { "are" },
        purposes(missing), grant())]
    Capabilities {
        /// Which.
        missing: Vec<Capability>,
    },
    /// The program file has the setuid or setgid bit.
    #[error(
        "pidtap was started as {} and runs as {}: its file has the setuid or setgid bit, with which everybody who may start it \
         could read and write all that is of its owner; take the bit away (`sudo chmod ug-s PATH-OF-PIDTAP`) and {}", ids.0,
        ids.1, grant()
    )]
    SetId {
        /// Real and effective ids.
        ids: (String, String),
    },
    /// The kernel has no type information about itself.
    #[error(
        "this kernel ({kernel}) has no BTF: /sys/kernel/btf/vmlinux is missing, so the layout of its structures is not \
         known; use a kernel built with CONFIG_DEBUG_INFO_BTF=y (all current distributions' are)"
    )]
    NoBtf {
        /// Its release.
        kernel: String,
    },
    /// The kernel is from before what the probes need.
    #[error(
        "this kernel ({kernel}) is too old: pidtap's probes need Linux 5.17 or later (bpf_loop); use a newer kernel, \
         or trace on another host"
    )]
    TooOld {
        /// Its release.
        kernel: String,
    },
    /// The kernel refuses to let its memory be read.
    #[error(
        "this kernel is locked down (`confidentiality`): it refuses to let probes read memory, whatever is granted; \
         boot with `lockdown=integrity` or without Secure Boot"
    )]
    LockedDown,
}

impl PrivilegeError {
    /// What it means for the exit status.
    pub fn exit_class(&self) -> ExitClass {
        match self {
            Self::Capabilities { .. } | Self::SetId { .. } => ExitClass::NotPermitted,
            Self::NoBtf { .. } | Self::TooOld { .. } | Self::LockedDown => ExitClass::NotSupported,
        }
    }
}

/// Names of capabilities, with commas.
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

/// How to get what is missing: both ways, the second for those who may not use `sudo` each time. Whoever may start a file with
/// capabilities has them, so the advice has a group for it. In this order: a change of owner or group takes capabilities away
/// (`should_remove_suid` and `security_inode_need_killpriv` in the kernel).
pub fn grant() -> String {
    let program = fs::read_link("/proc/self/exe")
        .map_or_else(|_| "\"$(command -v pidtap)\"".to_owned(), |path| quoted(&path.to_string_lossy()));
    let all: Vec<&str> = NEEDED.iter().chain(&USEFUL).map(|capability| capability.name()).collect();
    format!(
        "run it with `sudo`; or, once, let the members of a group run it: `sudo groupadd -f pidtap && sudo chgrp pidtap \
         {program} && sudo chmod 0750 {program} && sudo setcap {}+ep {program}` (setcap last: chgrp takes capabilities away); \
         each of them may then trace processes of their own",
        all.join(",")
    )
}

/// As a shell takes it.
fn quoted(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    if path.bytes().all(is_plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

/// What this kernel is and allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// Whether it describes its own types.
    pub btf: bool,
    /// `none`, `integrity` or `confidentiality`; `None` where it does not tell (no lockdown, or securityfs not mounted).
    pub lockdown: Option<String>,
    /// `kernel.unprivileged_bpf_disabled`; for information, as pidtap's programs always need privilege.
    pub unprivileged_bpf_disabled: Option<String>,
}

impl Kernel {
    /// Of this machine.
    pub fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        Self {
            release: rustix::system::uname().release().to_string_lossy().into_owned(),
            btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            lockdown: read("/sys/kernel/security/lockdown").and_then(|text| parse_lockdown(&text)),
            unprivileged_bpf_disabled: read("/proc/sys/kernel/unprivileged_bpf_disabled"),
        }
    }

    /// Major and minor version, where the release begins with them.
    pub fn version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.release.split(|byte: char| !byte.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }

    /// Whether it has all that the probes call: the ring buffer (Linux 5.8), atomic operations that return a value
    /// (5.12), `bpf_loop` (5.17). An unknown version is tried.
    pub fn has_what_probes_need(&self) -> bool {
        self.version().is_none_or(|version| version >= (5, 17))
    }

    /// Whether it refuses to let programs read memory at all.
    pub fn is_confidential(&self) -> bool {
        self.lockdown.as_deref() == Some("confidentiality")
    }
}

/// The word in brackets of `none [integrity] confidentiality`.
fn parse_lockdown(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

/// Whether tracing can be tried at all.
///
/// # Errors
///
/// [`PrivilegeError`] naming what is missing. What the kernel lacks comes before what pidtap was not granted: granting
/// would not help.
pub fn check() -> Result<(), PrivilegeError> {
    judge(&Kernel::this(), Capabilities::own())
}

/// Whether pidtap runs with the ids of whoever started it. With others it does nothing at all: a command that it starts, a file
/// that it writes would be of a user who did not ask for it.
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
