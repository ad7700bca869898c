//! Errors of starting a capture.

use std::io;

use thiserror::Error;

use super::{btf::BtfError, refusal::VerifierLog};
use crate::host::limits;

/// The probes could not be loaded or attached. Each message states the operation, the failure and the remedy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The binary carries no probes.
    #[error(
        "cannot load the probes: this pidtap was built without them because bpf-linker was missing; build it with \
         `cargo xtask build`"
    )]
    NoProbes,
    /// No target was given.
    #[error("cannot start tracing: no process was given; specify a PID or a name")]
    NoTarget,
    /// The size of the ring is out of range.
    #[error("cannot create a ring buffer of {0} bytes: the size must be a power of two and at least 4096")]
    RingSize(u32),
    /// The kernel's type information cannot be read.
    #[error(
        "cannot read the kernel's type information from /sys/kernel/btf/vmlinux: {source}; pidtap requires a kernel \
         built with CONFIG_DEBUG_INFO_BTF and a mounted /sys"
    )]
    NoBtf {
        /// Error of reading the file.
        source: io::Error,
    },
    /// The kernel's type information lacks a structure or member.
    #[error(
        "cannot find the fields that the probes read in /sys/kernel/btf/vmlinux: {source}; this version of pidtap \
         does not support the data layout of this kernel; please report it with the output of `uname -r`"
    )]
    Btf {
        /// The missing part.
        source: BtfError,
    },
    /// The kernel denied permission.
    #[error(
        "cannot {operation}: permission denied by the kernel (missing: {missing}); run pidtap with `sudo`, or grant \
         it the capabilities that `pidtap doctor` lists"
    )]
    Permission {
        /// Operation that was denied.
        operation: String,
        /// Capabilities that this process lacks, or another possible reason.
        missing: String,
    },
    /// The ring buffer could not be created.
    #[error(
        "cannot create a ring buffer of {size} bytes: {source}; pidtap requires Linux 5.17 or later and enough memory \
         for the ring buffer (try a smaller --ring-size)"
    )]
    NoRingBuffer {
        /// Requested size in bytes.
        size: u32,
        /// Error from the kernel.
        source: io::Error,
    },
    /// Descriptors or memory are exhausted.
    #[error("cannot {operation}: {source}; {}", limits::advice(source).unwrap_or("check the limits (`ulimit -a`)"))]
    Shortage {
        /// Operation that failed.
        operation: String,
        /// Error from the kernel.
        source: io::Error,
    },
    /// The verifier rejected a program.
    #[error(
        "cannot load the probe {program}: the kernel's verifier rejected it ({source}); this is a bug in pidtap on \
         this kernel; please report it with the output of `uname -r` and the verifier's log, {log}"
    )]
    Verifier {
        /// Name of the program.
        program: &'static str,
        /// Error from the kernel.
        source: io::Error,
        /// Log of the verifier.
        log: VerifierLog,
    },
    /// A required tracepoint is missing.
    #[error(
        "cannot attach to the raw tracepoint {tracepoint}: {source}; pidtap requires a kernel with tracepoints for \
         system calls and processes (CONFIG_FTRACE_SYSCALLS)"
    )]
    NoTracepoint {
        /// Name of the tracepoint.
        tracepoint: &'static str,
        /// Error from the kernel.
        source: io::Error,
    },
    /// Loading failed for another reason.
    #[error("cannot {operation}: {reason}; run `pidtap doctor` to check this machine")]
    Load {
        /// Operation that failed.
        operation: String,
        /// Error with its causes.
        reason: String,
    },
    /// The drain thread cannot wait for events.
    #[error("cannot wait for events from the ring buffer: {source}; check the limit on open files (`ulimit -n`)")]
    Wait {
        /// Error from the kernel.
        source: io::Error,
    },
    /// The drain thread cannot be started.
    #[error("cannot start the thread that reads events: {source}; check the limit on processes (`ulimit -u`)")]
    Thread {
        /// Error from the operating system.
        source: io::Error,
    },
}

impl CaptureError {
    pub(super) fn wait(error: rustix::io::Errno) -> Self {
        Self::Wait { source: error.into() }
    }
}
