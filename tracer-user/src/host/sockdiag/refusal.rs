//! Messages about parts of the kernel's state that cannot be read.

use std::io;

use crate::host::confine::Duty;

/// Whether an error means that the process has exited.
pub(crate) fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// Message for a process whose network namespace cannot be entered.
pub(crate) fn unseen_namespace(pid: u32, error: &io::Error) -> String {
    format!(
        "cannot enter the network namespace of process {pid} ({error}){}: pidtap cannot query the kernel about its \
         connections, so the causes of hanging calls there remain unknown",
        why_refused(error)
    )
}

/// Suffix for a message with the reason why the kernel denied permission, if known.
pub(crate) fn why_refused(error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    match Duty::Look.missing() {
        none if none.is_empty() => "; a security module, or the container that pidtap runs in, denies it".to_owned(),
        missing => format!("; pidtap lacks {missing}"),
    }
}

/// Message on a part that could not be read, with a remedy.
pub(super) fn note(pid: u32, what: &str, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => "run pidtap with `sudo`",
        io::ErrorKind::NotFound if what.ends_with("connections") => "load the module tcp_diag (`modprobe tcp_diag`)",
        io::ErrorKind::NotFound if what.ends_with("sockets") => "load the module unix_diag (`modprobe unix_diag`)",
        io::ErrorKind::NotFound => "the process has ended",
        _ => "`pidtap doctor` checks this host",
    };
    format!(
        "process {pid}: cannot read {what} ({error}{}); existing connections have no addresses until they are used; \
         {advice}",
        why_refused(error)
    )
}
