//! Resource limits (`ulimit`), looked at before anything needs them.
//!
//! What fails for want of a descriptor, a stack or memory fails at a place that nobody can foretell: in a library that panics, in
//! the allocator, in the kernel's verifier. So a soft limit that is too low is raised as far as the hard limit allows, and where
//! that does not suffice, one line names the limit before the first file is opened. The command of `run` gets back what its user
//! gave: [`Given`].

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

/// What the first thread needs. In a program built for debugging, the command line alone takes some 150 KiB; arguments and
/// environment lie on the stack as well.
const STACK: u64 = MIB;
/// Shells and system managers give so many descriptors without being asked.
const USUAL_FILES: u64 = 1024;

/// A limit that can be too low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Descriptors.
    Files,
    /// The first thread's stack.
    Stack,
    /// Memory of its own, stacks of threads included.
    Data,
    /// All that is mapped.
    AddressSpace,
    /// Threads of the user's.
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

    /// Its option of the shell's `ulimit`.
    fn option(self) -> char {
        match self {
            Self::Files => 'n',
            Self::Stack => 's',
            Self::Data => 'd',
            Self::AddressSpace => 'v',
            Self::Processes => 'u',
        }
    }

    /// `ulimit` counts memory in KiB.
    fn unit(self) -> u64 {
        match self {
            Self::Files | Self::Processes => 1,
            Self::Stack | Self::Data | Self::AddressSpace => KIB,
        }
    }

    /// `64 open files`.
    fn amount(self, amount: u64) -> String {
        match self {
            Self::Files => format!("{amount} open files"),
            Self::Stack => format!("{} KiB of stack", amount / KIB),
            Self::Data => format!("{} KiB of memory", amount / KIB),
            Self::AddressSpace => format!("{} KiB of address space", amount / KIB),
            Self::Processes => format!("{amount} processes and threads"),
        }
    }

    /// What is in use of it already.
    fn used(self) -> u64 {
        match self {
            Self::Files => open_files(),
            // The stack is looked at as a whole; of the user's other processes, `/proc` may hide some.
            Self::Stack | Self::Processes => 0,
            Self::AddressSpace => pages(0),
            Self::Data => pages(5),
        }
    }
}

/// What something needs beyond what is in use.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Who needs it.
    what: &'static str,
    files: u64,
    data: u64,
    address_space: u64,
    processes: u64,
}

impl Need {
    /// The command line, its help, and what needs no more than that.
    pub const WORDS: Self = Self { what: "pidtap", files: 1, data: 512 * KIB, address_space: 512 * KIB, processes: 0 };
    /// Looking at this machine.
    pub const LOOK: Self =
        Self { what: "`pidtap doctor`", files: 8, data: 16 * MIB, address_space: 48 * MIB, processes: 2 };
    /// Showing a recording. Each thread reserves 64 MiB of address space for its heap (`HEAP_MAX_SIZE` of glibc).
    pub const OPEN: Self =
        Self { what: "showing a recording", files: 24, data: 128 * MIB, address_space: 640 * MIB, processes: 7 };
    /// Tracing. Maps, programs and their links are a descriptor each.
    pub const TRACE: Self =
        Self { what: "tracing", files: 61, data: 256 * MIB, address_space: 1024 * MIB, processes: 14 };

    /// With a ring of this size, which is mapped twice.
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
    /// What is too low, and what is needed.
    pub fn found(&self) -> String {
        let used = match self.limit {
            Limit::Files => format!(", of which {} are open", self.used),
            Limit::Data | Limit::AddressSpace => format!(", of which {} are in use", self.used / KIB),
            Limit::Stack | Limit::Processes => String::new(),
        };
        format!(
            "a limit is too low: {} needs {}, and {} {} allowed{used}",
            self.what,
            self.limit.amount(self.needed),
            self.allowed / self.limit.unit(),
            if self.allowed / self.limit.unit() == 1 { "is" } else { "are" }
        )
    }

    /// How to raise it.
    pub fn remedy(&self) -> String {
        let (option, value) = (self.limit.option(), self.needed.div_ceil(self.limit.unit()));
        let all = if self.limit == Limit::Processes { "; it counts all of this user's" } else { "" };
        format!("raise it with `ulimit -{option} {value}`, as root where that is refused{all}")
    }
}

/// The first thing that the program does. Raises the soft limit of the stack, which grows as it is used, and looks whether there
/// is room for the command line. From now on a file that reaches `ulimit -f` ends a write, not the process: a handler does
/// nothing; `exec` takes it away, and a signal that is ignored would reach the command of `run`.
///
/// # Errors
///
/// [`Shortage`] of memory.
pub fn at_first() -> Result<Given, Shortage> {
    let file_size = rustix::process::Signal::XFSZ.as_raw();
    // It cannot fail for a number that is a signal's.
    let _ = signal_hook::flag::register(file_size, std::sync::Arc::default());
    let mut given = Given::default();
    given.raise(Limit::Stack, STACK);
    for limit in [Limit::Data, Limit::AddressSpace] {
        meet(limit, Need::WORDS, &mut given)?;
    }
    Ok(given)
}

/// Does what needs a stack of the usual size: on a thread that has one, where the first thread has not.
///
/// # Errors
///
/// [`Shortage`] where there can be no such thread.
pub fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Shortage> {
    let Some(allowed) = soft(Limit::Stack).filter(|&allowed| allowed < STACK) else { return Ok(work()) };
    thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(STACK as usize);
        let thread = builder.spawn_scoped(scope, work).map_err(|_| shortage(Limit::Stack, Need::WORDS, allowed, 0))?;
        Ok(thread.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked)))
    })
}

/// Raises soft limits to what is needed, as far as the hard limits allow.
///
/// # Errors
///
/// The first [`Shortage`] that is left.
pub fn prepare(need: Need, given: &mut Given) -> Result<(), Shortage> {
    Limit::ALL.into_iter().try_for_each(|limit| meet(limit, need, given))
}

/// What would be too low, were it needed.
pub fn lacking(need: Need) -> Vec<Shortage> {
    // Nothing that is restored later: whoever asks starts no command.
    let mut given = Given::default();
    Limit::ALL.into_iter().filter_map(|limit| meet(limit, need, &mut given).err()).collect()
}

fn meet(limit: Limit, need: Need, given: &mut Given) -> Result<(), Shortage> {
    if limit == Limit::Processes && has_no_limit_of_processes() {
        return Ok(());
    }
    if limit == Limit::Files {
        // Counting needs one, too.
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

/// The soft limit; `None` where there is none.
fn soft(limit: Limit) -> Option<u64> {
    getrlimit(limit.resource()).current
}

/// Sets the soft limit alone.
fn set(limit: Limit, value: Option<u64>) -> io::Result<()> {
    let maximum = getrlimit(limit.resource()).maximum;
    Ok(setrlimit(limit.resource(), Rlimit { current: value, maximum })?)
}

/// `copy_process` of `kernel/fork.c` counts neither for root nor for these capabilities.
fn has_no_limit_of_processes() -> bool {
    let exempt = CapabilitySet::SYS_RESOURCE | CapabilitySet::SYS_ADMIN;
    getuid().is_root() || capabilities(None).is_ok_and(|sets| sets.effective.intersects(exempt))
}

/// Open descriptors, without the one by which they are counted. All that there may be, where not even that can be opened.
fn open_files() -> u64 {
    match fs::read_dir("/proc/self/fd") {
        Ok(entries) => {
            // Those above the limit take no room below it.
            let allowed = soft(Limit::Files).unwrap_or(u64::MAX);
            let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse::<u64>().ok();
            (entries.filter_map(number).filter(|&number| number < allowed).count() as u64).saturating_sub(1)
        }
        Err(error) if is_shortage(&error) => soft(Limit::Files).unwrap_or(0),
        // Without `/proc`: the standard streams.
        Err(_) => 3,
    }
}

/// A number of pages in `/proc/self/statm` (`proc_pid_statm` of `fs/proc/array.c`), in bytes.
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
            "a limit is too low: tracing needs 64 open files, and 20 are allowed, of which 3 are open; raise it with \
             `ulimit -n 64`, as root where that is refused"
        );
        let stack = shortage(Limit::Stack, Need::WORDS, 64 * KIB, 0);
        assert_eq!(
            stack.to_string(),
            "a limit is too low: pidtap needs 1024 KiB of stack, and 64 are allowed; raise it with `ulimit -s 1024`, as \
             root where that is refused"
        );
    }

    #[test]
    fn what_is_in_use_is_counted() {
        let before = open_files();
        let file = fs::File::open("/dev/null").expect("there");
        // Other tests open files, too.
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
