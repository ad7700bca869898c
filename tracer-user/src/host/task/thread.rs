//! Parsers of `/proc/PID/task/TID`: state, name, CPU time, system call.

use std::fs;

use zerocopy::FromZeros as _;

use crate::event::{
    Timestamp,
    wire::{EventHeader, ThreadEvent},
};

/// Reads the state of a thread, without the object that it waits on. `None` if the thread has ended.
pub(super) fn read(pid: u32, tid: u32, time: Timestamp) -> Option<ThreadEvent> {
    let file = |name: &str| fs::read(format!("/proc/{pid}/task/{tid}/{name}"));
    let stat = file("stat").ok()?;
    let (name, state) = parse_stat(&stat)?;
    let mut event = ThreadEvent {
        header: EventHeader { time_ns: time.0, kind: 0, flags: 0, length: 0, tgid: pid, tid },
        state,
        call: -1,
        name: padded(name),
        ..ThreadEvent::new_zeroed()
    };
    if let Ok(bytes) = file("schedstat") {
        (event.cpu_ns, event.runs) = parse_schedstat(&bytes);
    }
    if let Some((call, argument)) = file("syscall").ok().and_then(|bytes| parse_syscall(&bytes)) {
        (event.call, event.argument) = (call, argument);
        // Without permission, and while the thread runs, the file contains 0.
        event.wait_channel = file("wchan").ok().filter(|name| name != b"0").map_or([0; 32], |name| padded(&name));
    }
    Some(event)
}

/// Parses name and state of `12 (a name) S ...`. The name may contain any byte, also parentheses.
fn parse_stat(stat: &[u8]) -> Option<(&[u8], u8)> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    Some((stat.get(open + 1..close)?, *stat.get(close + 2)?))
}

/// Parses CPU time in nanoseconds and the number of times the thread was scheduled. Both are 0 if the kernel does not
/// count them.
fn parse_schedstat(text: &[u8]) -> (u64, u64) {
    let mut numbers = std::str::from_utf8(text).unwrap_or_default().split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(cpu_ns)), Some(Ok(_waiting)), Some(Ok(runs))) => (cpu_ns, runs),
        _ => (0, 0),
    }
}

/// Parses call number and first argument. `None` if the thread runs or waits outside of a call (`-1`).
fn parse_syscall(text: &[u8]) -> Option<(i32, u64)> {
    let mut words = std::str::from_utf8(text).ok()?.split_whitespace();
    let number = words.next()?.parse().ok().filter(|number| *number >= 0)?;
    let argument = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    Some((number, argument))
}

/// Number of the call that a thread is in.
pub(super) fn call(pid: u32, tid: u32) -> Option<i32> {
    let text = fs::read(format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
    parse_syscall(&text).map(|(call, _)| call)
}

/// All arguments of the call that a thread is in, for calls whose first argument does not suffice.
pub(super) fn arguments(pid: u32, tid: u32) -> Option<[u64; 6]> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
    let mut words = text.split_whitespace().skip(1);
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    }
    Some(arguments)
}

/// The child of a thread, if it has exactly one (`CONFIG_PROC_CHILDREN`).
pub(super) fn only_child(pid: u32, tid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/children")).ok()?;
    let mut children = text.split_whitespace();
    let only = children.next()?.parse().ok();
    only.filter(|_| children.next().is_none())
}

/// Copies text into a field of fixed size: drops a final line feed, and truncates longer text.
pub(super) fn padded<const N: usize>(text: &[u8]) -> [u8; N] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let mut field = [0; N];
    for (to, from) in field.iter_mut().zip(text) {
        *to = *from;
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        assert_eq!(parse_stat(b"12 (a) S (b) R 1 2"), Some((&b"a) S (b"[..], b'R')));
        for text in [&b""[..], b"12", b"12 (x", b"12 )x(", b"12 (x)"] {
            assert_eq!(parse_stat(text), None);
        }
    }

    #[test]
    fn calls_have_a_number_and_arguments() {
        assert_eq!(parse_syscall(b"202 0x7f00aa 0x80 0x0 0x0 0x0 0x0 0x7ffe 0x7fff\n"), Some((202, 0x7f_00aa)));
        for text in [&b"running\n"[..], b"-1 0x7ffe 0x7fff\n", b"", b"7", b"7 7"] {
            assert_eq!(parse_syscall(text), None);
        }
        assert_eq!(parse_schedstat(b"5 6 7\n"), (5, 7));
        assert_eq!(parse_schedstat(b"x"), (0, 0));
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(padded::<4>(b"abcdef\n"), *b"abcd");
        assert_eq!(padded::<4>(b"ab\n"), [b'a', b'b', 0, 0]);
    }
}
