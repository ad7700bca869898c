//! Reduction of the privileges of each thread.
//!
//! Capabilities, `no_new_privs` and Landlock apply per thread, and new threads inherit them. Each thread drops the
//! privileges that it does not need before it handles the first untrusted byte. Threads share memory: this protects
//! against a file name, path or program in the wrong place, not against code that an attacker can run.
//!
//! Landlock (Linux 5.13) is used if available. A thread under Landlock may not inspect processes outside of it
//! (`hook_ptrace_access_check` in `security/landlock/task.c`), so the thread that inspects targets does not use it.

use std::{
    io,
    sync::mpsc::sync_channel,
    thread::{Builder, JoinHandle},
};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

/// Task of a thread, which determines its privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Uses only open files: results, recordings, signals, the command's output.
    Open,
    /// Uses the maps of the probes.
    Maps,
    /// Queries `/proc` and `sock_diag` about the traced processes.
    Look,
    /// Forwards signals to the command of `run`, which another user may own.
    Signal,
    /// Drives the screens, and saves files into the current directory.
    Screens,
    /// Waits until a named pipe has a reader, then opens the pipe.
    Pipe,
    /// Starts programs of the user (a pager).
    Programs,
}

/// First kernel that requires `CAP_BPF` only to create objects (commit c8644cd0efe7). Earlier kernels require it for
/// each use of a map if unprivileged BPF is disabled.
const MAPS_ARE_FREE: (u32, u32) = (5, 19);

const POSSIBLE_PROCESSORS: &str = "/sys/devices/system/cpu/possible";

impl Duty {
    /// All duties.
    pub const ALL: [Self; 7] =
        [Self::Look, Self::Maps, Self::Signal, Self::Pipe, Self::Open, Self::Screens, Self::Programs];

    /// Capabilities that a thread with this duty keeps, if it has them.
    pub fn keeps(self) -> CapabilitySet {
        match self {
            Self::Open | Self::Screens | Self::Programs => CapabilitySet::empty(),
            Self::Maps if maps_are_free() => CapabilitySet::empty(),
            Self::Maps => CapabilitySet::BPF,
            // In this order: access to processes of other users; their directories and files in /proc; network
            // namespaces.
            Self::Look => CapabilitySet::SYS_PTRACE | CapabilitySet::DAC_READ_SEARCH | CapabilitySet::SYS_ADMIN,
            Self::Signal => CapabilitySet::KILL,
            // Another user may own the directory.
            Self::Pipe => CapabilitySet::DAC_OVERRIDE,
        }
    }

    /// Names of the needed capabilities that the calling thread lacks, as in `capabilities(7)`; empty if none.
    pub fn missing(self) -> String {
        let had = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
        names(self.keeps() - had)
    }

    /// Permitted file accesses: path and rights below it. `None` for everything that the user may access.
    fn files(self) -> Option<Vec<(&'static str, BitFlags<AccessFs>)>> {
        match self {
            Self::Open | Self::Signal => Some(Vec::new()),
            // Each look-up in a per-CPU map reads the number of possible processors.
            Self::Maps => Some(vec![(POSSIBLE_PROCESSORS, AccessFs::ReadFile.into())]),
            Self::Screens => {
                let both = AccessFs::ReadFile | AccessFs::WriteFile;
                Some(vec![(".", AccessFs::MakeReg | AccessFs::WriteFile), ("/dev/tty", both), ("/dev/null", both)])
            }
            Self::Look | Self::Pipe | Self::Programs => None,
        }
    }
}

/// Names of the capabilities as in `capabilities(7)`, separated by commas.
pub fn names(capabilities: CapabilitySet) -> String {
    capabilities.iter_names().map(|(name, _)| format!("CAP_{name}")).collect::<Vec<_>>().join(", ")
}

fn maps_are_free() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    version(&release).is_some_and(|version| version >= MAPS_ARE_FREE)
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|char: char| !char.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Permanently drops all privileges of the calling thread that the duty does not need.
///
/// # Errors
///
/// The error of the kernel if it refuses.
pub fn enter(duty: Duty) -> io::Result<()> {
    let keeps = duty.keeps();
    clear_bounding_set();
    // Kernels before 4.3 have no ambient set.
    let _ = clear_ambient_capability_set();
    set_no_new_privs(true)?;
    if let Some(files) = duty.files() {
        // If Landlock is refused (by seccomp in a container, or beyond 16 layers), the other restrictions still hold,
        // as on a kernel without Landlock. `doctor` reports it.
        let _ = restrict(&files);
    }
    let kept = capabilities(None)?.permitted & keeps;
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() })?;
    Ok(())
}

/// Clears the capabilities that an `exec` could grant. This needs `CAP_SETPCAP`; without it, `no_new_privs` has the
/// same effect. [`enter`] calls this function; only a thread that drops root before `enter` calls it directly.
pub fn clear_bounding_set() {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(capability) {
            Ok(true) => {
                if remove_capability_from_bounding_set(capability).is_err() {
                    return;
                }
            }
            Ok(false) => {}
            // Past the last capability.
            Err(_) => return,
        }
    }
}

/// Restricts the thread to these files, as far as the kernel's Landlock supports it. Returns whether any restriction is
/// enforced.
fn restrict(files: &[(&str, BitFlags<AccessFs>)]) -> Result<bool, landlock::RulesetError> {
    // ABI 4, as ABI 5 also restricts `ioctl` on the terminal, which is needed.
    let all = AccessFs::from_all(ABI::V4);
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(all)?;
    let mut ruleset = ruleset.create()?;
    for (path, access) in files {
        // A path that does not exist or is not reachable is not needed.
        if let Ok(path) = PathFd::new(path) {
            ruleset = ruleset.add_rule(PathBeneath::new(path, *access))?;
        }
    }
    Ok(ruleset.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

/// Tries in a temporary thread whether Landlock keeps threads from opening files.
///
/// # Errors
///
/// The reason why it does not.
pub fn try_restricting() -> Result<(), String> {
    let tried = std::thread::spawn(|| {
        let result = set_no_new_privs(true).map_err(|error| error.to_string());
        let result = result.and_then(|()| restrict(&[]).map_err(|error| in_full(&error)));
        let is_there = result?;
        match std::fs::File::open("/proc/self/status") {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            _ if is_there => Err("the kernel supports it but does not enforce it".to_owned()),
            _ => Err("this kernel does not support it (older than 5.13, or not listed in `lsm=`), or a container \
                      blocks it"
                .to_owned()),
        }
    });
    tried.join().unwrap_or_else(|_| Err("the thread of the trial panicked".to_owned()))
}

/// Text of an error with its causes, each once.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| cause.source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Starts a thread for a duty. After the return, the thread has dropped its other privileges.
///
/// # Errors
///
/// The error if the thread cannot be started or cannot drop its privileges.
pub fn spawn(name: &str, duty: Duty, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let (sender, entered) = sync_channel(1);
    let thread = Builder::new().name(name.to_owned()).spawn(move || {
        let result = enter(duty);
        let is_confined = result.is_ok();
        // The receiver waits until this message arrives.
        let _ = sender.send(result);
        if is_confined {
            work();
        }
    })?;
    entered.recv().map_err(|_| io::Error::other("the thread ended early"))??;
    Ok(thread)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Text of `/proc/thread-self/status` in a thread that has entered a duty.
    fn status(duty: Duty) -> String {
        std::thread::spawn(move || {
            // Opened first, as some duties may open no files.
            let mut file = fs::File::open("/proc/thread-self/status").expect("there");
            enter(duty).expect("nothing refuses it");
            let mut text = String::new();
            io::Read::read_to_string(&mut file, &mut text).expect("readable");
            text
        })
        .join()
        .expect("no panic")
    }

    fn set(status: &str, name: &str) -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of it");
        u64::from_str_radix(line.trim_start_matches(':').trim(), 16).expect("a number")
    }

    #[test]
    fn each_duty_leaves_what_it_needs_and_no_more() {
        let had = capabilities(None).expect("own").permitted;
        for duty in Duty::ALL {
            let status = status(duty);
            let kept = (had & duty.keeps()).bits();
            for name in ["CapEff", "CapPrm"] {
                assert_eq!(set(&status, name), kept, "{duty:?}: {name}");
            }
            assert_eq!((set(&status, "CapInh"), set(&status, "CapAmb")), (0, 0), "{duty:?}");
            assert_eq!(set(&status, "NoNewPrivs"), 1, "{duty:?}");
            if had.contains(CapabilitySet::SETPCAP) {
                assert_eq!(set(&status, "CapBnd"), 0, "{duty:?}");
            }
        }
        // Other threads keep their capabilities.
        assert_eq!(capabilities(None).expect("own").permitted, had);
    }

    #[test]
    fn with_landlock_a_thread_opens_no_other_file_than_it_needs() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_str().expect("text").to_owned();
        std::thread::spawn(move || {
            let files = [(path.as_str(), AccessFs::MakeReg | AccessFs::WriteFile)];
            if !restrict(&files).expect("nothing refuses it") {
                return;
            }
            fs::write(format!("{path}/new"), b"x").expect("made for this");
            fs::read(format!("{path}/new")).expect_err("it does not read");
            fs::read("/etc/passwd").expect_err("it does not read");
            fs::write("/tmp/pidtap-must-not-be-there", b"x").expect_err("it writes nowhere else");
            std::process::Command::new("/bin/true").spawn().expect_err("it executes nothing");
        })
        .join()
        .expect("no panic");
    }

    #[test]
    fn each_duty_opens_what_it_needs_and_no_more() {
        if try_restricting().is_err() {
            return;
        }
        for duty in Duty::ALL {
            let opens = std::thread::spawn(move || {
                enter(duty).expect("nothing refuses it");
                ["/etc/passwd", POSSIBLE_PROCESSORS, "/dev/null", "/proc/self/status"]
                    .map(|path| fs::File::open(path).is_ok())
            });
            let expected = match duty {
                Duty::Open | Duty::Signal => [false; 4],
                Duty::Maps => [false, true, false, false],
                Duty::Screens => [false, false, true, false],
                Duty::Look | Duty::Pipe | Duty::Programs => [true; 4],
            };
            assert_eq!(opens.join().expect("no panic"), expected, "{duty:?}");
        }
    }

    #[test]
    fn a_started_thread_is_confined_before_it_works() {
        let (sender, receiver) = sync_channel(1);
        let work = move || {
            let _ = sender.send(capabilities(None).map(|sets| sets.permitted.is_empty()));
        };
        spawn("test", Duty::Open, work).expect("it starts").join().expect("no panic");
        assert_eq!(receiver.recv().expect("it said so"), Ok(true));
    }

    #[test]
    fn what_is_missing_is_named() {
        let keeps = Duty::Look.keeps();
        assert_eq!(names(keeps), "CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_SYS_ADMIN");
        let lacks = std::thread::spawn(|| {
            enter(Duty::Open).expect("nothing refuses it");
            (Duty::Look.missing(), Duty::Open.missing())
        });
        assert_eq!(lacks.join().expect("no panic"), (names(keeps), String::new()));
    }

    #[test]
    fn trying_touches_no_other_thread() {
        let _ = try_restricting();
        std::fs::File::open("/proc/self/status").expect("this thread opens what it did");
    }

    #[test]
    fn kernels_are_compared_by_their_numbers() {
        assert_eq!(version("5.18.0-1-amd64"), Some((5, 18)));
        assert!(version("6.1.0").is_some_and(|version| version >= MAPS_ARE_FREE));
        assert_eq!(version("odd"), None);
    }
}
