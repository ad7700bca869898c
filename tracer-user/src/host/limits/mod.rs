//! Resource limits (`ulimit`), checked before they are needed.
//!
//! A lack of descriptors, stack or memory would fail in unpredictable places: a library that panics, the allocator, the
//! kernel's verifier. pidtap therefore raises a soft limit that is too low up to the hard limit. If that does not
//! suffice, an error names the limit before the first file is opened. The command of `run` gets the original limits
//! back: [`Given`].

mod advice;
mod given;

use std::{fs, io, panic, thread};

use rustix::{
    process::{Resource, Rlimit, getrlimit, getuid, setrlimit},
    thread::{CapabilitySet, capabilities},
};
use thiserror::Error;

pub use self::{advice::advice, advice::is_shortage, given::Given};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Stack in bytes that the first thread needs. In a debug build the command line alone takes about 150 KiB; arguments
/// and environment are on the stack as well.
const STACK: u64 = MIB;
/// Number of descriptors that shells and system managers permit by default.
const USUAL_FILES: u64 = 1024;

/// A resource limit that can be too low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Open file descriptors.
    Files,
    /// Stack of the first thread.
    Stack,
    /// Private memory, including the stacks of threads.
    Data,
    /// Mapped address space.
    AddressSpace,
    /// Threads of the user.
    Processes,
}

impl Limit {
    const ALL: [Self; 5] = [Self::Files, Self::Stack, Self::Data, Self::AddressSpace, Self::Processes];

    fn resource(self) -> Resource {
        match self {
            Self::Files => Resource::Nofile,
            Self::Stack => Resource::Stack,
            Self::Data => Resource::Data,
            Self::AddressSpace => Resource::As,
            Self::Processes => Resource::Nproc,
        }
    }

    /// Option of the shell's `ulimit`.
    fn option(self) -> char {
        match self {
            Self::Files => 'n',
            Self::Stack => 's',
            Self::Data => 'd',
            Self::AddressSpace => 'v',
            Self::Processes => 'u',
        }
    }

    /// Unit of `ulimit`, which counts memory in KiB.
    fn unit(self) -> u64 {
        match self {
            Self::Files | Self::Processes => 1,
            Self::Stack | Self::Data | Self::AddressSpace => KIB,
        }
    }

    /// An amount in words, such as `64 open files`.
    fn amount(self, amount: u64) -> String {
        match self {
            Self::Files => format!("{amount} open files"),
            Self::Stack => format!("{} KiB of stack", amount / KIB),
            Self::Data => format!("{} KiB of memory", amount / KIB),
            Self::AddressSpace => format!("{} KiB of address space", amount / KIB),
            Self::Processes => format!("{amount} processes and threads"),
        }
    }

    /// Amount that is in use now.
    fn used(self) -> u64 {
        match self {
            Self::Files => open_files(),
            // The stack is checked as a whole. `/proc` may hide other processes of the user.
            Self::Stack | Self::Processes => 0,
            Self::AddressSpace => pages(0),
            Self::Data => pages(5),
        }
    }
}

/// Resources that an operation needs in addition to those in use.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Name of the operation, for the message.
    what: &'static str,
    files: u64,
    data: u64,
    address_space: u64,
    processes: u64,
}

impl Need {
    /// Command line, help, and commands that need no more than these.
    pub const WORDS: Self = Self { what: "pidtap", files: 1, data: 512 * KIB, address_space: 512 * KIB, processes: 0 };
    /// `pidtap doctor`.
    pub const LOOK: Self =
        Self { what: "`pidtap doctor`", files: 8, data: 16 * MIB, address_space: 48 * MIB, processes: 2 };
    /// Showing a recording. Each thread reserves 64 MiB of address space for its heap (`HEAP_MAX_SIZE` of glibc).
    pub const OPEN: Self =
        Self { what: "showing a recording", files: 24, data: 128 * MIB, address_space: 640 * MIB, processes: 7 };
    /// Tracing. Each map, program and link takes a descriptor.
    pub const TRACE: Self =
        Self { what: "tracing", files: 61, data: 256 * MIB, address_space: 1024 * MIB, processes: 14 };

    /// Adds a ring of `bytes` bytes, which is mapped twice.
    #[must_use]
    pub fn with_ring(self, bytes: u32) -> Self {
        Self { address_space: self.address_space + 2 * u64::from(bytes), ..self }
    }

    fn of(self, limit: Limit) -> u64 {
        match limit {
            Limit::Files => self.files,
            Limit::Stack => STACK,
            Limit::Data => self.data,
            Limit::AddressSpace => self.address_space,
            Limit::Processes => self.processes,
        }
    }
}

/// A limit that is too low.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}; {}", self.found(), self.remedy())]
pub struct Shortage {
    what: &'static str,
    limit: Limit,
    allowed: u64,
    used: u64,
    needed: u64,
}

impl Shortage {
    /// Describes the limit and the need.
    pub fn found(&self) -> String {
        let used = match self.limit {
            Limit::Files => format!(", of which {} are open", self.used),
            Limit::Data | Limit::AddressSpace => format!(", of which {} are in use", self.used / KIB),
            Limit::Stack | Limit::Processes => String::new(),
        };
        format!(
            "a resource limit is too low: {} needs {}, but only {} {} allowed{used}",
            self.what,
            self.limit.amount(self.needed),
            self.allowed / self.limit.unit(),
            if self.allowed / self.limit.unit() == 1 { "is" } else { "are" }
        )
    }

    /// Describes how to raise the limit.
    pub fn remedy(&self) -> String {
        let (option, value) = (self.limit.option(), self.needed.div_ceil(self.limit.unit()));
        let all = if self.limit == Limit::Processes {
            "; the limit counts all processes and threads of this user"
        } else {
            ""
        };
        format!("raise it with `ulimit -{option} {value}`, as root if that is refused{all}")
    }
}

/// Runs first in the program. Raises the soft limit of the stack, which grows with use, and checks that memory suffices
/// for the command line. Also installs an empty handler, so that a file that reaches `ulimit -f` fails the write
/// instead of ending the process. `exec` removes a handler, while an ignored signal would stay ignored in the command
/// of `run`.
///
/// # Errors
///
/// [`Shortage`] of memory.
pub fn at_first() -> Result<Given, Shortage> {
    let file_size = rustix::process::Signal::XFSZ.as_raw();
    // Registration cannot fail for a valid signal number.
    let _ = signal_hook::flag::register(file_size, std::sync::Arc::default());
    let mut given = Given::default();
    given.raise(Limit::Stack, STACK);
    for limit in [Limit::Data, Limit::AddressSpace] {
        meet(limit, Need::WORDS, &mut given)?;
    }
    Ok(given)
}

/// Runs `work` with a stack of usual size: on a new thread if the first thread's stack is too small.
///
/// # Errors
///
/// [`Shortage`] if the thread cannot be created.
pub fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Shortage> {
    let Some(allowed) = soft(Limit::Stack).filter(|&allowed| allowed < STACK) else { return Ok(work()) };
    thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(STACK as usize);
        let thread = builder.spawn_scoped(scope, work).map_err(|_| shortage(Limit::Stack, Need::WORDS, allowed, 0))?;
        Ok(thread.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked)))
    })
}

/// Raises soft limits to the need, as far as the hard limits permit.
///
/// # Errors
///
/// The first [`Shortage`] that remains.
pub fn prepare(need: Need, given: &mut Given) -> Result<(), Shortage> {
    Limit::ALL.into_iter().try_for_each(|limit| meet(limit, need, given))
}

/// Limits that would be too low for the need.
pub fn lacking(need: Need) -> Vec<Shortage> {
    // Discarded, as the caller starts no command that needs the original limits.
    let mut given = Given::default();
    Limit::ALL.into_iter().filter_map(|limit| meet(limit, need, &mut given).err()).collect()
}

fn meet(limit: Limit, need: Need, given: &mut Given) -> Result<(), Shortage> {
    if limit == Limit::Processes && has_no_limit_of_processes() {
        return Ok(());
    }
    if limit == Limit::Files {
        // Counting the open files also needs a descriptor.
        given.raise(limit, USUAL_FILES);
    }
    let Some(allowed) = soft(limit) else { return Ok(()) };
    let used = limit.used();
    let needed = used.saturating_add(need.of(limit));
    if allowed >= needed || given.raise(limit, needed) >= Some(needed) {
        return Ok(());
    }
    Err(shortage(limit, need, soft(limit).unwrap_or(allowed), used))
}

fn shortage(limit: Limit, need: Need, allowed: u64, used: u64) -> Shortage {
    Shortage { what: need.what, limit, allowed, used, needed: used.saturating_add(need.of(limit)) }
}

/// The soft limit; `None` if unlimited.
fn soft(limit: Limit) -> Option<u64> {
    getrlimit(limit.resource()).current
}

/// Sets the soft limit and keeps the hard limit.
fn set(limit: Limit, value: Option<u64>) -> io::Result<()> {
    let maximum = getrlimit(limit.resource()).maximum;
    Ok(setrlimit(limit.resource(), Rlimit { current: value, maximum })?)
}

/// The kernel does not enforce the limit for root or with these capabilities (`copy_process` in `kernel/fork.c`).
fn has_no_limit_of_processes() -> bool {
    let exempt = CapabilitySet::SYS_RESOURCE | CapabilitySet::SYS_ADMIN;
    getuid().is_root() || capabilities(None).is_ok_and(|sets| sets.effective.intersects(exempt))
}

/// Number of open descriptors, without the one used for counting. Returns the limit if not even that one can be opened.
fn open_files() -> u64 {
    match fs::read_dir("/proc/self/fd") {
        Ok(entries) => {
            // Descriptors above the limit take no room below it.
            let allowed = soft(Limit::Files).unwrap_or(u64::MAX);
            let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse::<u64>().ok();
            (entries.filter_map(number).filter(|&number| number < allowed).count() as u64).saturating_sub(1)
        }
        Err(error) if is_shortage(&error) => soft(Limit::Files).unwrap_or(0),
        // Without `/proc`, assume the standard streams.
        Err(_) => 3,
    }
}

/// A field of `/proc/self/statm` in bytes (`proc_pid_statm` in `fs/proc/array.c`).
fn pages(field: usize) -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split_ascii_whitespace().nth(field).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages.saturating_mul(rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_says_what_is_needed_and_what_to_do() {
        let files = shortage(Limit::Files, Need::TRACE, 20, 3);
        assert_eq!(
            files.to_string(),
            "a resource limit is too low: tracing needs 64 open files, but only 20 are allowed, of which 3 are open; raise \
             it with `ulimit -n 64`, as root if that is refused"
        );
        let stack = shortage(Limit::Stack, Need::WORDS, 64 * KIB, 0);
        assert_eq!(
            stack.to_string(),
            "a resource limit is too low: pidtap needs 1024 KiB of stack, but only 64 are allowed; raise it with `ulimit \
             -s 1024`, as root if that is refused"
        );
    }

    #[test]
    fn what_is_in_use_is_counted() {
        let before = open_files();
        let file = fs::File::open("/dev/null").expect("there");
        // Other tests open files as well.
        assert!(before >= 3 && open_files() >= 4, "{before}");
        drop(file);
        assert!(pages(0) > pages(5) && pages(5) > 0);
    }

    #[test]
    fn work_gets_its_result_through() {
        assert_eq!(with_stack(|| 7), Ok(7));
    }

    #[test]
    fn this_machine_can_do_without_more() {
        assert_eq!(lacking(Need::WORDS), []);
        assert_eq!(Need::TRACE.with_ring(1 << 30).of(Limit::AddressSpace), 3072 * MIB);
    }
}
