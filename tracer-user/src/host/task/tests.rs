//! Tests on the threads of this process.

use std::{
    net::UdpSocket,
    os::unix::net::UnixStream,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::event::wire::{ThreadEvent, flag, waits_on};

fn look_at(tids: &[u32]) -> Vec<ThreadEvent> {
    let connections = FxHashSet::default();
    look(std::process::id(), Wanted { tids, connections: &connections, after: 0 }, Timestamp(1))
}

/// State of the thread `tid`.
fn look_at_one(tid: u32) -> ThreadEvent {
    look_at(&[tid]).into_iter().find(|event| event.header.tid == tid).expect("it runs")
}

/// State of the thread once it is in this call.
fn in_call(tid: u32, call: &str) -> ThreadEvent {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let event = look_at_one(tid);
        // `poll` is implemented by `ppoll`, `recv` by `recvfrom`.
        if String::from_utf8_lossy(&event.call_name).contains(call) {
            return event;
        }
        assert!(Instant::now() < end, "never in {call}: {event:?}");
        thread::yield_now();
    }
}

/// Starts a thread that runs `work`; returns its ID.
fn start(work: impl FnOnce() + Send + 'static) -> (u32, thread::JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        let tid = rustix::thread::gettid().as_raw_nonzero().get() as u32;
        sender.send(tid).expect("it is waited for");
        work();
    });
    (receiver.recv().expect("it began"), thread)
}

#[test]
fn a_blocked_read_names_its_socket() {
    use std::{io::Read as _, os::unix::fs::MetadataExt as _};
    let (mut reader, writer) = UnixStream::pair().expect("a pair");
    let inode =
        fs::metadata(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader))).expect("open").ino();
    let (tid, thread) = start(move || drop(reader.read(&mut [0])));
    let event = in_call(tid, "re");
    assert_eq!((event.waits_on, event.connection, event.state), (waits_on::SOCKET, inode, b'S'));
    assert_eq!((event.header.tgid, event.header.tid), (std::process::id(), tid));
    drop(writer);
    thread.join().expect("it ends");
}

#[test]
fn a_polled_socket_is_found_in_memory() {
    use std::os::unix::fs::MetadataExt as _;
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let address = socket.local_addr().expect("bound");
    let inode =
        fs::metadata(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&socket))).expect("open").ino();
    let (tid, thread) = start(move || {
        let mut fds = [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::IN)];
        let _ = rustix::event::poll(&mut fds, None);
    });
    let event = in_call(tid, "poll");
    assert_eq!((event.waits_on, event.connection), (waits_on::SOCKET, inode));
    let other = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    other.send_to(b"x", address).expect("sent");
    thread.join().expect("it ends");
}

#[test]
fn a_thread_that_waits_for_a_lock_does_not_run() {
    let (sender, receiver) = mpsc::channel::<()>();
    let (tid, thread) = start(move || {
        // Ends with an error when the sender is dropped.
        let _ = receiver.recv();
    });
    let first = in_call(tid, "futex");
    let again = look_at_one(tid);
    assert_eq!((first.runs, first.argument), (again.runs, again.argument));
    assert!(again.runs > 0 && again.threads >= 2);
    drop(sender);
    thread.join().expect("it ends");
}

#[test]
fn a_child_that_is_waited_for_does_not_end_the_look() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("it starts");
    let pid = child.id();
    let (tid, thread) = start(move || {
        let pid = rustix::process::Pid::from_raw(pid as i32);
        let _ = rustix::process::waitid(
            rustix::process::WaitId::Pid(pid.expect("a child")),
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
        );
    });
    let end = Instant::now() + Duration::from_secs(30);
    let all = loop {
        let all = look_at(&[tid]);
        if all.iter().any(|event| event.header.tgid == pid) {
            break all;
        }
        assert!(Instant::now() < end, "never seen to wait for its child: {all:?}");
        thread::yield_now();
    };
    child.kill().expect("it is there");
    thread.join().expect("it ends");
    child.wait().expect("it has ended");
    let ends: Vec<u32> = all.iter().filter(|e| e.header.flags & flag::LOOKED != 0).map(|e| e.header.tgid).collect();
    assert_eq!(ends, [std::process::id()], "one event ends the look, and it is of the process that was looked at");
    assert_eq!(all.last().map(|event| event.header.tgid), Some(std::process::id()));
}

#[test]
fn the_last_ends_the_look_and_all_have_their_turn() {
    let all = look_at(&[]);
    assert!(all.iter().rev().skip(1).all(|event| event.header.flags & flag::LOOKED == 0));
    assert!(all.last().is_some_and(|event| event.header.flags & flag::LOOKED != 0));
    let connections = FxHashSet::default();
    let mut threads = vec![5, 10, 7, 20, 3];
    sort(&mut threads, 10, Wanted { tids: &[20], connections: &connections, after: 5 });
    assert_eq!(threads, [20, 10, 7, 3, 5]);
    // No process has a PID this high.
    assert!(look(1 << 23, Wanted { tids: &[], connections: &connections, after: 0 }, Timestamp(1)).is_empty());
}
