//! Checks of the machine.

use super::{Check, DoctorOptions, Status};
use crate::host::{
    confine::{Duty, names, try_restricting},
    limits::{self, Need, Shortage},
    privilege::{Capabilities, Capability, Kernel, NEEDED, USEFUL, grant},
    process::{ExitClass, check_initial_pid_namespace},
};

const LACKS: Status = Status::Fail(ExitClass::NotSupported);

pub(super) fn checks(options: &DoctorOptions<'_>) -> Vec<Check> {
    let kernel = Kernel::this();
    let mut checks = vec![kernel_version(&kernel), btf(&kernel), lockdown(&kernel)];
    checks.extend(capabilities(Capabilities::own()));
    checks.push(Check::info("kept", kept()));
    checks.extend(limits(&limits::lacking(Need::TRACE.with_ring(options.ring_size))));
    checks.push(landlock(try_restricting()));
    checks.push(match check_initial_pid_namespace() {
        Ok(()) => Check::ok("PID namespace", "initial namespace"),
        Err(error) => Check::new("PID namespace", LACKS, error.to_string(), ""),
    });
    checks.push(if options.carries_probes {
        Check::ok("probes", "included in this binary")
    } else {
        let remedy = "build pidtap with `cargo xtask build`, which installs the required linker";
        Check::new("probes", LACKS, "this binary was built without the probes", remedy)
    });
    if let Some(setting) = &kernel.unprivileged_bpf_disabled {
        let found = format!("kernel.unprivileged_bpf_disabled = {setting} (not relevant: pidtap runs with privileges)");
        checks.push(Check::info("unprivileged BPF", found));
    }
    let hopeful = checks.iter().all(|check| !matches!(check.status, Status::Fail(_)));
    if let Some(trial) = options.trial {
        // Only a trial load shows whether raw tracepoints and the ring buffer are available.
        checks.push(match hopeful.then(trial) {
            None => Check::info("trial load", "skipped: the requirements above are not met"),
            Some(Ok(found)) => Check::ok("trial load", found),
            Some(Err(error)) => Check::new("trial load", LACKS, error, ""),
        });
    }
    checks
}

/// Checks the resource limits.
fn limits(lacking: &[Shortage]) -> Vec<Check> {
    if lacking.is_empty() {
        return vec![Check::ok("limits", "open files, memory, stack and processes are sufficient")];
    }
    lacking.iter().map(|shortage| Check::new("limits", LACKS, shortage.found(), shortage.remedy())).collect()
}

/// Describes the capabilities that pidtap keeps while it traces, and the threads that have them. A new duty does not
/// compile without an entry here.
fn kept() -> String {
    let who = |duty: Duty| match duty {
        Duty::Look => Some("the thread that inspects processes"),
        Duty::Maps => Some("the threads that access the BPF maps"),
        Duty::Signal => Some("the main thread of `run`"),
        Duty::Pipe => Some("a thread that waits for a named pipe to get a reader"),
        Duty::Open | Duty::Screens | Duty::Programs => None,
    };
    let kept = Duty::ALL.into_iter().filter(|duty| !duty.keeps().is_empty()).map(|duty| {
        let who = who(duty).unwrap_or("others");
        format!("{} by {who}", names(duty.keeps()).to_lowercase())
    });
    format!("capabilities while tracing: {}; all other threads keep none", kept.collect::<Vec<_>>().join("; "))
}

/// Checks whether Landlock keeps threads from opening files.
fn landlock(tried: Result<(), String>) -> Check {
    match tried {
        Ok(()) => Check::ok("Landlock", "threads of pidtap that need no files cannot open any"),
        Err(reason) => Check::info(
            "Landlock",
            format!("not used: {reason}. Threads without capabilities can open files that belong to pidtap's user"),
        ),
    }
}

fn kernel_version(kernel: &Kernel) -> Check {
    if kernel.has_what_probes_need() {
        return Check::ok("kernel", format!("{} (new enough for the probes)", kernel.release));
    }
    Check::new("kernel", LACKS, &kernel.release, "the probes require Linux 5.17 or later (ring buffer, bpf_loop)")
}

fn btf(kernel: &Kernel) -> Check {
    if kernel.btf {
        return Check::ok("BTF", "/sys/kernel/btf/vmlinux");
    }
    let remedy = "use a kernel built with CONFIG_DEBUG_INFO_BTF=y (standard in all current distributions)";
    Check::new("BTF", LACKS, "/sys/kernel/btf/vmlinux is missing", remedy)
}

fn lockdown(kernel: &Kernel) -> Check {
    match kernel.lockdown.as_deref() {
        Some("confidentiality") => Check::new(
            "lockdown",
            LACKS,
            "confidentiality mode: probes cannot read memory",
            "boot with `lockdown=integrity`, or without Secure Boot",
        ),
        Some("integrity") => Check::ok("lockdown", "integrity mode (does not restrict pidtap)"),
        Some(mode) => Check::ok("lockdown", mode),
        None => Check::info("lockdown", "unknown (the kernel has no lockdown, or securityfs is not mounted)"),
    }
}

fn capabilities(own: Capabilities) -> Vec<Check> {
    let needed = NEEDED.into_iter().map(|capability| (capability, Status::Fail(ExitClass::NotPermitted)));
    let useful = USEFUL.into_iter().map(|capability| (capability, Status::Warn));
    let check = |(capability, missing): (Capability, Status)| {
        if own.has(capability) {
            return Check::ok("capability", format!("{}: {}", capability.name(), capability.purpose()));
        }
        let found = format!("{} is missing: {}", capability.name(), capability.purpose());
        Check::new("capability", missing, found, grant())
    };
    needed.chain(useful).map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_any_thread_keeps_is_named() {
        let text = kept();
        for duty in Duty::ALL {
            assert!(text.contains(&names(duty.keeps()).to_lowercase()), "{duty:?}: {text}");
        }
        assert!(
            text.contains("cap_dac_override by a thread that waits for a named pipe to get a reader")
                && !text.contains("others"),
            "{text}"
        );
    }

    #[test]
    fn a_machine_without_landlock_is_no_worse_than_one() {
        let check = landlock(Err("a container blocks it".to_owned()));
        assert_eq!(check.status, Status::Info);
        assert!(check.found.contains("a container blocks it"), "{check:?}");
    }
}
