//! Sequences of looks.

use zerocopy::FromZeros as _;

use super::*;
use crate::event::wire::EventHeader;

const SECOND: u64 = 1_000_000_000;
const PID: u32 = 10;

fn event(pid: u32, tid: u32, time: u64) -> ThreadEvent {
    let header = EventHeader { time_ns: time, kind: 0, flags: 0, length: 0, tgid: pid, tid };
    ThreadEvent { header, state: b'S', call: -1, ..ThreadEvent::new_zeroed() }
}

/// A look at these threads of a process with `of` threads.
fn look(threads: &mut Threads, tids: &[u32], of: u32, time: u64) {
    for tid in tids {
        let mut event = ThreadEvent { threads: of, ..event(PID, *tid, time) };
        if Some(tid) == tids.last() {
            event.header.flags |= flag::LOOKED;
        }
        threads.take(&event);
    }
}

#[test]
fn a_look_at_all_shows_which_have_ended() {
    let mut threads = Threads::default();
    look(&mut threads, &[10, 11, 12], 3, 1);
    look(&mut threads, &[10, 12], 2, 2);
    assert!(threads.get(PID, 11).is_none() && threads.get(PID, 12).is_some());
    // One thread exited between listing and look, so the complete set is unknown.
    look(&mut threads, &[10], 2, 3);
    assert!(threads.get(PID, 12).is_some());
    // Events of single threads outside of looks remove no threads.
    threads.take(&ThreadEvent { threads: 1, ..event(PID, 10, 4) });
    assert!(threads.get(PID, 12).is_some());
    look(&mut threads, &[10], 1, 5);
    assert_eq!((threads.get(PID, 12).is_none(), threads.count), (true, 1));
}

#[test]
fn of_many_threads_some_looks_show_which_have_ended() {
    let mut threads = Threads::default();
    let mut all: Vec<u32> = (100..400).collect();
    // Half of each look covers the same threads.
    let mut next = 0;
    let mut looks = |threads: &mut Threads, all: &[u32], count: u64, from: u64| {
        for number in 0..count {
            let mut some: Vec<u32> = (100..132).collect();
            some.extend((0..32).map(|index| all[(next + index) % all.len()]).filter(|tid| *tid >= 132));
            next += 32;
            look(threads, &some, all.len() as u32, from + number);
            if number > 10 || from > 1 {
                assert!(all.iter().all(|tid| threads.get(PID, *tid).is_some()), "one that lives is not forgotten");
            }
        }
    };
    looks(&mut threads, &all, 40, 1);
    assert_eq!(threads.count, 300);
    all.retain(|tid| *tid != 250);
    looks(&mut threads, &all, 25, 100);
    assert!(threads.get(PID, 250).is_none());
}

#[test]
fn children_come_and_go() {
    let mut threads = Threads::default();
    for number in 0..30_000 {
        let time = SECOND + u64::from(number);
        threads.take(&event(100_000 + number, 100_000 + number, time));
        look(&mut threads, &[10, 11], 2, time);
        assert!(threads.count <= REMEMBERED && threads.get(PID, 11).is_some(), "{}", threads.count);
    }
    assert_eq!(threads.count, threads.all().count());
    assert!(threads.get(129_999, 129_999).is_some() && threads.get(100_000, 100_000).is_none());
    threads.expire(Timestamp(UNSEEN_NS));
    assert!(threads.get(129_999, 129_999).is_some());
    look(&mut threads, &[10, 11], 2, UNSEEN_NS);
    threads.expire(Timestamp(2 * SECOND + UNSEEN_NS));
    assert_eq!((threads.count, threads.get(PID, 11).is_some()), (2, true));
    threads.forget(PID);
    assert_eq!((threads.count, threads.processes.len()), (0, 0));
}

#[test]
fn a_number_that_is_used_again_is_not_the_child_before() {
    let waits = |time: u64| {
        let mut event = event(PID, 11, time);
        event.call_name[..5].copy_from_slice(b"wait4");
        ThreadEvent { argument: 77, call: 61, ..event }
    };
    let name = |threads: &Threads| {
        let thread = threads.get(PID, 11).expect("it was seen");
        threads.fact(thread, Timestamp(9)).child.map(|(_, name)| name.to_string())
    };
    let mut threads = Threads::default();
    let mut child = event(77, 77, 1);
    child.name[..3].copy_from_slice(b"old");
    threads.take(&child);
    threads.take(&waits(1));
    assert_eq!(name(&threads).as_deref(), Some("old"));
    // The name of its new child is unknown.
    threads.take(&waits(2));
    assert_eq!(name(&threads).as_deref(), Some(""));
}
