//! Object that a thread's system call waits on.

use std::fs;

use rustc_hash::FxHashSet;
use syscalls::Sysno;

use super::{memory::Memory, thread};
use crate::{
    event::wire::{ThreadEvent, waits_on},
    host::sockdiag::descriptor::parse_socket,
};

/// Maximum number of descriptors inspected of one `poll` or `select`. Calls with more belong to event loops, for which
/// further descriptors add no information.
const MAX_POLLED: usize = 32;
/// Size in bytes of `struct pollfd`: descriptor, events, returned events.
const POLLFD: usize = 8;

/// Form of a call's arguments, as far as they name an object to wait on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The first argument is a descriptor.
    Descriptor,
    /// `poll(fds, count)`.
    Poll,
    /// `select(highest, reads, writes)`.
    Select,
    Futex,
    /// The call waits for a child process.
    Child,
    Other,
}

fn form(call: Sysno) -> Form {
    match call.name() {
        "read" | "pread64" | "readv" | "preadv" | "preadv2" | "write" | "pwrite64" | "writev" | "pwritev"
        | "pwritev2" | "recvfrom" | "recvmsg" | "recvmmsg" | "sendto" | "sendmsg" | "sendmmsg" | "connect"
        | "accept" | "accept4" | "shutdown" | "close" | "ioctl" | "fcntl" | "flock" | "fsync" | "fdatasync"
        | "sendfile" | "splice" | "epoll_wait" | "epoll_pwait" | "epoll_pwait2" | "io_uring_enter" => Form::Descriptor,
        "poll" | "ppoll" => Form::Poll,
        "select" | "pselect6" => Form::Select,
        "futex" | "futex_wait" => Form::Futex,
        "wait4" | "waitid" => Form::Child,
        _ => Form::Other,
    }
}

/// Whether the call waits for input.
pub(super) fn receives(call: i32) -> bool {
    let name = usize::try_from(call).ok().and_then(Sysno::new).map(|call| call.name());
    matches!(name, Some("recvfrom" | "recvmsg" | "recvmmsg" | "read" | "poll" | "ppoll" | "select" | "pselect6"))
}

/// Process ID of the child that a thread waits for.
pub(super) fn child(event: &ThreadEvent) -> Option<u32> {
    let call = usize::try_from(event.call).ok().and_then(Sysno::new)?;
    (form(call) == Form::Child && event.argument != 0).then_some(event.argument as u32)
}

/// Fills in the name of the call and the object that it waits on.
pub(super) fn explain(event: &mut ThreadEvent, pid: u32, wanted: &FxHashSet<u64>, memory: &mut Option<Memory>) {
    let Some(call) = usize::try_from(event.call).ok().and_then(Sysno::new) else { return };
    event.call_name = thread::padded(call.name().as_bytes());
    match form(call) {
        Form::Descriptor => {
            (event.waits_on, event.connection) = descriptor(pid, event.argument as i32);
        }
        Form::Poll | Form::Select => {
            let descriptors = polled(pid, event.header.tid, form(call), memory).unwrap_or_default();
            several(event, pid, &descriptors, wanted);
        }
        Form::Futex => {
            // `futex(address, operation, value, timeout)`: the timeout is an address or null.
            let timed = thread::arguments(pid, event.header.tid).is_some_and(|arguments| arguments[3] != 0);
            event.timed = timed.into();
        }
        // `waitid(P_PID, pid)` names a process; other ID types do not.
        Form::Child if call.name() == "waitid" => {
            let [kind, child, ..] = thread::arguments(pid, event.header.tid).unwrap_or_default();
            event.argument = if kind == 1 { child } else { 0 };
        }
        // `wait4(pid)` waits for any child if `pid` is not positive.
        Form::Child if (event.argument as i32) <= 0 => event.argument = 0,
        Form::Child | Form::Other => {}
    }
    if matches!(form(call), Form::Child) && event.argument == 0 {
        event.argument = thread::only_child(pid, event.header.tid).unwrap_or(0).into();
    }
}

/// Selects one of several descriptors: a wanted socket, otherwise the first socket.
fn several(event: &mut ThreadEvent, pid: u32, descriptors: &[i32], wanted: &FxHashSet<u64>) {
    let all: Vec<(u8, u64)> = descriptors.iter().map(|fd| descriptor(pid, *fd)).collect();
    (event.waits_on, event.connection) = match all.as_slice() {
        [] => (waits_on::NOTHING, 0),
        [only] => *only,
        _ => {
            let sockets = || all.iter().map(|(_, connection)| *connection).filter(|connection| *connection != 0);
            let named = sockets().find(|connection| wanted.contains(connection)).or_else(|| sockets().next());
            (waits_on::SEVERAL, named.unwrap_or(0))
        }
    };
}

/// Kind of object that a descriptor names, and the inode number if it is a socket.
fn descriptor(pid: u32, fd: i32) -> (u8, u64) {
    let Ok(link) = fs::read_link(format!("/proc/{pid}/fd/{fd}")) else { return (waits_on::NOTHING, 0) };
    let link = link.as_os_str().as_encoded_bytes();
    if let Some(inode) = parse_socket(link) {
        return (waits_on::SOCKET, inode.into());
    }
    let kind = match link {
        b"anon_inode:[eventpoll]" => waits_on::EPOLL,
        _ if link.starts_with(b"pipe:") => waits_on::PIPE,
        _ if link.starts_with(b"/") => waits_on::FILE,
        _ => waits_on::OTHER,
    };
    (kind, 0)
}

/// Reads the descriptors of a `poll` or `select` from the process's memory.
fn polled(pid: u32, tid: u32, form: Form, memory: &mut Option<Memory>) -> Option<Vec<i32>> {
    let [first, second, third, ..] = thread::arguments(pid, tid)?;
    if memory.is_none() {
        *memory = Some(Memory::open(pid).ok()?);
    }
    let memory = memory.as_ref()?;
    if form == Form::Poll {
        let mut bytes = vec![0; POLLFD * (second as usize).min(MAX_POLLED)];
        memory.read(&mut bytes, first)?;
        return Some(of_poll(&bytes));
    }
    // `fd_set` consists of whole words.
    let mut sets = [[0; 128]; 2];
    let length = (first as usize).div_ceil(64).saturating_mul(8).min(sets[0].len());
    for (set, address) in sets.iter_mut().zip([second, third]) {
        if address != 0 {
            memory.read(&mut set[..length], address)?;
        }
    }
    Some(of_select(&sets[0], &sets[1]))
}

fn of_poll(bytes: &[u8]) -> Vec<i32> {
    let (entries, _) = bytes.as_chunks::<POLLFD>();
    // `poll` ignores negative descriptors.
    entries.iter().map(|[a, b, c, d, ..]| i32::from_ne_bytes([*a, *b, *c, *d])).filter(|fd| *fd >= 0).collect()
}

fn of_select(reads: &[u8], writes: &[u8]) -> Vec<i32> {
    // The bytes of a set are in bit order on little-endian machines, as all supported ones are.
    let bits = reads.iter().zip(writes).map(|(read, write)| read | write).enumerate();
    bits.flat_map(|(index, byte)| {
        (0..8).filter(move |bit| byte >> bit & 1 != 0).map(move |bit| (index * 8 + bit) as i32)
    })
    .take(MAX_POLLED)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_descriptors_are_read() {
        let mut bytes = Vec::new();
        for fd in [7_i32, -1, 9] {
            bytes.extend(fd.to_ne_bytes());
            bytes.extend([1, 0, 0, 0]);
        }
        assert_eq!(of_poll(&bytes), [7, 9]);
        let (mut reads, mut writes) = ([0; 128], [0; 128]);
        reads[0] = 0b1000;
        writes[1] = 0b10;
        assert_eq!(of_select(&reads, &writes), [3, 9]);
    }

    #[test]
    fn descriptors_are_told_apart() {
        use std::os::fd::AsRawFd as _;
        let own = std::process::id();
        let (socket, _peer) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let (pipe, _writer) = std::io::pipe().expect("a pipe");
        let file = fs::File::open("/proc/self/stat").expect("there");
        assert!(matches!(descriptor(own, socket.as_raw_fd()), (waits_on::SOCKET, 1..)));
        assert_eq!(descriptor(own, pipe.as_raw_fd()), (waits_on::PIPE, 0));
        assert_eq!(descriptor(own, file.as_raw_fd()), (waits_on::FILE, 0));
        assert_eq!(descriptor(own, -1), (waits_on::NOTHING, 0));
    }
}
