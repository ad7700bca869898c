//! The probes, against processes whose every call is known. The tests need root and eBPF, so they are ignored unless
//! `cargo xtask test live` includes them.
//!
//! Every program sends the same endless sequence of bytes ([`pattern`]): the stream position of a captured byte says which
//! value it must have.
#![cfg(feature = "live")]

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use pidtap::{
    event::{
        Event, SocketInode,
        wire::{call, descriptor, direction, flag, loss, origin, process, tcp, tcp_state},
    },
    host::capture::{Capture, CaptureOptions, Mute, Received},
};

/// What all traced programs begin with. They wait for a line before they open a socket.
const PRELUDE: &str = r#"
import ctypes, os, socket, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
P = bytes((i * 7 + (i >> 8) * 3) & 0xff for i in range(1 << 18))
def pattern(start, size):
    start &= 0x3ffff
    return (P * (size // len(P) + 2))[start:start + size]
class Iovec(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
class Msghdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("iov", ctypes.POINTER(Iovec)),
        ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t), ("flags", ctypes.c_int)]
class Mmsghdr(ctypes.Structure): _fields_ = [("hdr", Msghdr), ("length", ctypes.c_uint)]
def messages(buffers):
    m = (Mmsghdr * len(buffers))(); keep = []
    for i, parts in enumerate(buffers):
        v = (Iovec * len(parts))()
        for j, part in enumerate(parts):
            v[j].base = ctypes.addressof(part); v[j].length = len(part)
        m[i].hdr.iov = v; m[i].hdr.iovlen = len(parts); keep.append((v, parts))
    return m, keep
def buffer(data): return (ctypes.c_char * len(data)).from_buffer_copy(data)
def room(size): return (ctypes.c_char * size)()
def pair(family, host):
    listener = socket.socket(family); listener.bind((host, 0)); listener.listen(8)
    client = socket.socket(family); client.connect(listener.getsockname()[:2])
    server, _ = listener.accept(); listener.close()
    return client, server
print('ready', flush=True)
sys.stdin.readline()
"#;

/// Byte `position` of what every program sends.
fn pattern(position: u64) -> u8 {
    let index = position & 0x3_ffff;
    (index * 7 + (index >> 8) * 3) as u8
}

/// A traced program.
struct Tracee {
    child: Child,
    capture: Capture,
    bytes: Vec<u8>,
}

impl Tracee {
    fn start(script: &str, change: impl FnOnce(&mut CaptureOptions)) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", &format!("{PRELUDE}{script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut said = String::new();
        let output = child.stdout.as_mut().expect("a pipe");
        BufReader::new(output).read_line(&mut said).expect("it says that it is ready");
        assert_eq!(said, "ready\n");
        let mut options = CaptureOptions { targets: vec![child.id()], ..CaptureOptions::default() };
        change(&mut options);
        let capture = Capture::start(&options).unwrap_or_else(|error| panic!("{error}: {error:?}"));
        let mut tracee = Self { child, capture, bytes: Vec::new() };
        tracee.go();
        tracee
    }

    /// Lets the program pass its next `readline`.
    fn go(&mut self) {
        self.child.stdin.as_mut().expect("a pipe").write_all(b"\n").expect("it reads");
    }

    /// Receives until `enough` of the events seen so far.
    fn until(&mut self, enough: impl Fn(&[Event<'_>]) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !enough(&decode(&self.bytes)) {
            assert!(Instant::now() < end, "not seen: {:?}", decode(&self.bytes));
            if let Received::Batch(batch) = self.capture.recv_timeout(Duration::from_millis(100)) {
                self.bytes.extend_from_slice(&batch);
                self.capture.recycle(batch);
            }
        }
    }

    /// Waits for the program's end, which must be good; gives all its events.
    fn finish(mut self) -> Vec<u8> {
        let end = Instant::now() + Duration::from_secs(30);
        let status = loop {
            if Instant::now() > end {
                self.child.kill().expect("it is our child");
                panic!("the program hangs; its events: {:?}", decode(&self.bytes));
            }
            if let Received::Batch(batch) = self.capture.recv_timeout(Duration::from_millis(20)) {
                self.bytes.extend_from_slice(&batch);
            }
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
        };
        assert!(status.success(), "the program failed: {status}");
        self.capture.stop();
        while let Some(batch) = self.capture.recv() {
            self.bytes.extend_from_slice(&batch);
        }
        self.bytes
    }
}

fn decode(mut bytes: &[u8]) -> Vec<Event<'_>> {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let event = Event::decode(bytes).expect("the probes send what can be decoded");
        bytes = &bytes[event.header().length as usize..];
        events.push(event);
    }
    events
}

/// One direction of a connection, as its events told it.
#[derive(Debug, Default)]
struct Stream {
    start: u64,
    /// Bytes that calls moved.
    moved: u64,
    /// Of these, bytes captured and right.
    captured: u64,
    /// Which calls moved them.
    calls: BTreeMap<u8, u64>,
}

/// Follows positions and compares every captured byte; `start` of each stream is that of its SOCKET event.
fn streams(events: &[Event<'_>]) -> HashMap<(u64, u8), Stream> {
    let mut streams: HashMap<(u64, u8), Stream> = HashMap::new();
    for event in events {
        match event {
            Event::Socket(socket) => {
                for (way, start) in
                    [(direction::SEND, socket.send_position), (direction::RECEIVE, socket.receive_position)]
                {
                    let key = (socket.connection, way);
                    streams.entry(key).or_insert_with(|| Stream { start, ..Stream::default() });
                }
            }
            Event::Data(data, payload) => {
                let stream = streams.get_mut(&(data.connection, data.direction)).expect("SOCKET comes before DATA");
                let sequence = data.header.flags & flag::SEQUENCE != 0;
                let distance = data.position.wrapping_sub(stream.start);
                let at = if sequence { distance & 0xffff_ffff } else { distance };
                if data.offset == 0 {
                    assert_eq!(at, stream.moved, "position of {data:?}");
                }
                for (index, byte) in payload.iter().enumerate() {
                    let position = at + u64::from(data.offset) + index as u64;
                    assert_eq!(*byte, pattern(position), "byte {index} of {data:?}");
                }
                if data.header.flags & flag::PEEK != 0 {
                    continue;
                }
                stream.captured += payload.len() as u64;
                if data.header.flags & flag::LAST != 0 && data.result > 0 {
                    stream.moved += data.result as u64;
                    *stream.calls.entry(data.call).or_default() += 1;
                }
            }
            _ => {}
        }
    }
    streams
}

fn lost(events: &[Event<'_>]) -> ([u64; loss::CAUSES], [u64; loss::CAUSES]) {
    match events.last() {
        Some(Event::Detached(tick)) => (tick.lost_events, tick.lost_bytes),
        other => panic!("the last event is {other:?}"),
    }
}

const NOTHING: ([u64; loss::CAUSES], [u64; loss::CAUSES]) = ([0; loss::CAUSES], [0; loss::CAUSES]);

/// Every call, over a socket pair `a` and `b`; about 300 KB each way at most.
const EVERY_CALL: &str = r"
def receive(sock, size):
    while size: size -= len(sock.recv(min(size, 65536)))
def every_call(a, b):
    at = 0
    def send(how, *sizes):
        nonlocal at
        parts = []
        for size in sizes:
            parts.append(pattern(at, size)); at += size
        how(parts); return sum(sizes)
    fd = a.fileno()
    n = send(lambda p: a.send(p[0]), 100)
    assert len(b.recv(10, socket.MSG_PEEK)) == 10
    receive(b, n)
    n = send(lambda p: os.write(fd, p[0]), 5000)
    left = n
    while left: left -= len(os.read(b.fileno(), left))
    n = send(lambda p: os.writev(fd, p), 3, 0, 40, 1, 200)
    x = bytearray(100); y = bytearray(1000); got = 0
    while got < n: got += os.readv(b.fileno(), [x, y])
    n = send(lambda p: os.writev(fd, p), 300, 5)
    receive(b, n)
    n = send(lambda p: a.sendmsg(p), 1, 2, 3, 4, 5, 6, 7, 20000, 9, 30000)
    got = 0
    while got < n: got += b.recvmsg_into([bytearray(11), bytearray(7), bytearray(40000)])[0]
    n = send(lambda p: os.writev(fd, p), *([3] * 1000))
    receive(b, n)
    n = send(lambda p: a.sendall(p[0]), 150000) if False else 0
    parts = []
    def mmsg(p):
        m, keep = messages([[buffer(p[0]), buffer(p[1])], [buffer(p[2])], [buffer(p[3])]])
        assert libc.sendmmsg(fd, m, 3, 0) == 3
    n = send(mmsg, 10, 20, 300, 7)
    rooms = [[room(5), room(25)], [room(300)], [room(7)]]
    m, keep = messages(rooms)
    got = 0
    while got < n:
        count = libc.recvmmsg(b.fileno(), m, 3, socket.MSG_DONTWAIT, None)
        if count > 0: got += sum(m[i].length for i in range(count))
    import tempfile
    with tempfile.TemporaryFile() as f:
        f.write(pattern(at, 7000)); f.flush(); at += 7000
        f.seek(0)
        assert os.sendfile(fd, f.fileno(), 0, 7000) == 7000
        receive(b, 7000)
    r, w = os.pipe()
    data = pattern(at, 600); at += 600
    os.write(w, data)
    assert libc.splice(r, None, fd, None, 600, 0) == 600
    left = 600
    while left: left -= libc.splice(b.fileno(), None, w, None, left, 0)
    os.read(r, 600)
    os.close(r); os.close(w)
    n = send(lambda p: libc.pwritev2(fd, (Iovec * 1)(Iovec(ctypes.cast(ctypes.c_char_p(p[0]), ctypes.c_void_p).value, len(p[0]))), 1, ctypes.c_long(-1), ctypes.c_long(0), 0), 123)
    receive(b, n)
    if a.family != socket.AF_UNIX:
        n = send(lambda p: a.send(p[0], 0x8000), 50)  # MSG_MORE
        n += send(lambda p: a.send(p[0]), 50)
        assert libc.recv(b.fileno(), None, n, socket.MSG_TRUNC | socket.MSG_WAITALL) == n
    b.settimeout(None)
    worker = threading.Thread(target=lambda: receive(b, 3000000)); worker.start()
    data = pattern(at, 3000000); at += len(data); done = 0
    while done < len(data): done += a.send(data[done:])
    worker.join()
    assert b.send(pattern(0, 9)) == 9 and a.recv(100) == pattern(0, 9)
    a.shutdown(socket.SHUT_WR)
    assert b.recv(1) == b''
    b.close(); assert a.recv(1) == b''; a.close()
    return at
";

/// All calls between two ends that are both traced: positions have no gap, every captured byte is right, both ends agree.
fn check_every_call(script: &str, family: u16, helper_reads: bool) {
    let script = format!("{EVERY_CALL}{script}");
    let bytes = Tracee::start(&script, |options| {
        options.ring_size = 64 << 20;
        options.call_capture = 4 << 20;
        options.helper_reads = helper_reads;
    })
    .finish();
    let events = decode(&bytes);
    assert_eq!(lost(&events), NOTHING);
    let streams = streams(&events);
    let of_family: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Socket(socket) if socket.family == family && socket.origin != origin::SEEN => {
                Some(socket.connection)
            }
            _ => None,
        })
        .collect();
    assert_eq!(of_family.len(), 2, "both ends were announced");
    let sent = of_family
        .iter()
        .map(|inode| &streams[&(*inode, direction::SEND)])
        .max_by_key(|stream| stream.moved)
        .expect("two of them");
    let received = of_family
        .iter()
        .map(|inode| &streams[&(*inode, direction::RECEIVE)])
        .max_by_key(|stream| stream.moved)
        .expect("two of them");
    assert!(sent.moved > 3_000_000, "{sent:?}");
    assert_eq!(sent.moved, received.moved, "both ends moved as much");
    assert_eq!(sent.captured, sent.moved - 7000 - 600, "all but sendfile and splice is captured");
    for moving in [call::WRITE, call::WRITEV, call::SENDTO, call::SENDMSG, call::SENDMMSG, call::SENDFILE, call::SPLICE]
    {
        assert!(sent.calls.contains_key(&moving), "no event of call {moving}: {:?}", sent.calls);
    }
    for moving in [call::READ, call::READV, call::RECVFROM, call::RECVMSG, call::RECVMMSG, call::SPLICE] {
        assert!(received.calls.contains_key(&moving), "no event of call {moving}: {:?}", received.calls);
    }
    let ends = events.iter().filter(
        |event| matches!(event, Event::Data(data, _) if data.result == 0 && data.direction == direction::RECEIVE),
    );
    assert_eq!(ends.count(), 2, "each end read the end of the stream");
    // What the kernel says at the end is what was seen.
    for event in &events {
        if let Event::Tcp(event) = event
            && event.header.flags & flag::SEQUENCE != 0
            && matches!(event.new_state, tcp_state::FIN_WAIT1 | tcp_state::LAST_ACK | tcp_state::CLOSE)
        {
            for (way, position) in
                [(direction::SEND, event.send_position), (direction::RECEIVE, event.receive_position)]
            {
                let stream = &streams[&(event.connection, way)];
                let distance = position.wrapping_sub(stream.start) & 0xffff_ffff;
                assert!(distance <= stream.moved, "{event:?} is beyond {stream:?}");
                if event.old_state != tcp_state::ESTABLISHED || way == direction::SEND {
                    assert_eq!(distance, stream.moved, "direction {way} of {event:?}");
                }
            }
        }
    }
}

/// A kernel that can, does: nothing but the cost would tell.
#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn kernel_memory_is_loaded_directly_where_the_kernel_allows_it() {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let options = CaptureOptions { targets: vec![std::process::id() + 1], ..CaptureOptions::default() };
    let capture = Capture::start(&options).expect("the probes start");
    assert_eq!(capture.loads_directly(), version >= (6, 2), "Linux {release}");
    let capture = Capture::start(&CaptureOptions { helper_reads: true, ..options }).expect("the probes start");
    assert!(!capture.loads_directly());
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn every_call_over_tcp() {
    check_every_call("every_call(*pair(socket.AF_INET, '127.0.0.1'))", 2, false);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn every_call_over_tcp_v6_with_helper_reads() {
    check_every_call("every_call(*pair(socket.AF_INET6, '::1'))", 10, true);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn every_call_over_unix_sockets() {
    check_every_call("every_call(*socket.socketpair())", 1, false);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_call_beyond_the_capture_limit_is_marked_and_counted() {
    let script = "
a, b = socket.socketpair()
b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
threading.Thread(target=lambda: [b.recv(1 << 16) for _ in range(64)], daemon=True).start()
data = pattern(0, 100000); a.sendall(data); a.close()
";
    let bytes = Tracee::start(script, |options| options.call_capture = 20_000).finish();
    let events = decode(&bytes);
    let send: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Data(data, payload) if data.direction == direction::SEND => Some((data, payload.len())),
            _ => None,
        })
        .collect();
    let (last, length) = send.last().expect("it sent");
    assert_eq!((last.result, last.offset as usize + length), (100_000, 20_000));
    assert_ne!(last.header.flags & flag::TRUNCATED, 0);
    assert_ne!(last.header.flags & flag::LAST, 0);
    assert_eq!(lost(&events), NOTHING);
    assert!(streams(&events).values().any(|stream| stream.moved == 100_000));
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_range_of_descriptors_that_is_closed_closes_its_connections() {
    let script = "
SYS_close_range = 436
def close_range(first, last, flags):
    if ctypes.CDLL(None, use_errno=True).syscall(SYS_close_range, first, ctypes.c_uint(last), flags) != 0:
        raise OSError(ctypes.get_errno(), 'close_range')
pairs = [socket.socketpair() for _ in range(4)]
numbers = sorted(end.fileno() for pair in pairs for end in pair)
for a, b in pairs: a.sendall(pattern(0, 10)); b.recv(10)
for pair in pairs:
    for end in pair: end.detach()
# Marked only; then the last two; then all from there on, as programs do before they execute another.
close_range(numbers[0], numbers[-1], 4)
close_range(numbers[6], numbers[7], 0)
close_range(numbers[0], 0xffffffff, 0)
";
    let bytes = Tracee::start(script, |_| {}).finish();
    let events = decode(&bytes);
    let pairs: Vec<i32> = events
        .iter()
        .filter_map(|event| match event {
            Event::Socket(socket) if socket.origin == origin::PAIR => Some(socket.fd),
            _ => None,
        })
        .collect();
    assert_eq!(pairs.len(), 8);
    let closed: Vec<i32> = events
        .iter()
        .filter_map(|event| match event {
            Event::Descriptor(event) if event.action == descriptor::CLOSE && pairs.contains(&event.fd) => {
                Some(event.fd)
            }
            _ => None,
        })
        .collect();
    let mut expected = pairs;
    expected.sort_unstable();
    expected.rotate_right(2);
    assert_eq!(closed, expected);
    assert_eq!(lost(&events), NOTHING);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn what_a_full_ring_loses_is_counted_to_the_byte() {
    // 16 MB through a ring of 64 KiB, much faster than it is drained.
    let script = "
a, b = socket.socketpair()
def receive():
    left = 16000000
    while left: left -= len(b.recv(4000))
worker = threading.Thread(target=receive); worker.start()
for i in range(4000): a.sendall(pattern(i * 4000, 4000))
worker.join()
# A sleep on purpose: the ring needs room for the event of the exit, and the process cannot see how full the ring is.
time.sleep(0.3)
";
    let bytes = Tracee::start(script, |options| options.ring_size = 64 << 10).finish();
    let events = decode(&bytes);
    let (lost_events, lost_bytes) = lost(&events);
    assert!(lost_events[loss::RING_FULL] > 100, "the ring was big enough: {lost_events:?}");
    let seen: u64 = events
        .iter()
        .map(|event| match event {
            Event::Data(_, payload) => payload.len() as u64,
            _ => 0,
        })
        .sum();
    assert_eq!(seen + lost_bytes[loss::RING_FULL], 2 * 16_000_000, "what came and what was lost is what moved");
    // Positions stay exact over the losses.
    let mut ends: HashMap<(u64, u8), u64> = HashMap::new();
    for event in &events {
        if let Event::Data(data, payload) = event {
            let end = ends.entry((data.connection, data.direction)).or_default();
            assert!(data.position + u64::from(data.offset) >= *end, "{data:?} goes back");
            for (index, byte) in payload.iter().enumerate() {
                assert_eq!(*byte, pattern(data.position + u64::from(data.offset) + index as u64), "{data:?}");
            }
            *end = data.position + u64::from(data.offset) + payload.len() as u64;
        }
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn many_children_are_followed_and_seen_to_end() {
    // As fast as fork goes: well over 500 a second. Each child speaks on a pair of its own.
    let script = "
for i in range(400):
    child = os.fork()
    if child == 0:
        a, b = socket.socketpair(); a.send(pattern(0, 20)); b.recv(20); os._exit(i & 0x7f)
    os.waitpid(child, 0)
";
    let bytes = Tracee::start(script, |_| {}).finish();
    let events = decode(&bytes);
    assert_eq!(lost(&events), NOTHING);
    let mut children: HashMap<u32, (u32, u64)> = HashMap::new();
    let mut codes = Vec::new();
    for event in &events {
        match event {
            Event::Process(event) if event.action == process::FORK => {
                children.insert(event.other_tgid, (0, 0));
            }
            Event::Process(event) if event.action == process::EXIT => {
                if let Some(child) = children.get_mut(&event.header.tgid) {
                    child.0 += 1;
                    codes.push(event.exit_code);
                }
            }
            Event::Data(data, payload) => {
                if let Some(child) = children.get_mut(&data.header.tgid) {
                    child.1 += payload.len() as u64;
                }
            }
            _ => {}
        }
    }
    assert_eq!(children.len(), 400, "every fork was seen");
    assert!(children.values().all(|child| *child == (1, 40)), "each child's bytes and end were seen: {children:?}");
    let expected: Vec<i32> = (0..400).map(|index| (index & 0x7f) << 8).collect();
    assert_eq!(codes, expected, "exit codes are those of wait(2)");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_connection_is_one_however_it_is_reached() {
    // dup, dup2 over an open socket, SCM_RIGHTS to a child, and a child that inherits: all the same connection.
    let script = "
client, server = pair(socket.AF_INET6, '::1')
second = os.dup(client.fileno())
client.send(pattern(0, 10)); os.write(second, pattern(10, 10))
other, unused = socket.socketpair()
os.dup2(client.fileno(), other.fileno())
os.write(other.fileno(), pattern(20, 10))
here, there = socket.socketpair()
child = os.fork()
if child == 0:
    os.write(second, pattern(30, 10))
    message, fds, _, _ = socket.recv_fds(there, 100, 1)
    os.write(fds[0], pattern(40, 10))
    os._exit(0)
while 'unix' not in open(f'/proc/{child}/wchan').read(): pass
socket.send_fds(here, [pattern(0, 1)], [client.fileno()])
os.waitpid(child, 0)
left = 50
while left: left -= len(server.recv(left))
client.shutdown(socket.SHUT_RDWR); os.close(second)
";
    let bytes = Tracee::start(script, |_| {}).finish();
    let events = decode(&bytes);
    assert_eq!(lost(&events), NOTHING);
    let streams = streams(&events);
    let client = events
        .iter()
        .find_map(|event| match event {
            Event::Socket(socket) if socket.origin == origin::CONNECT => Some(socket),
            _ => None,
        })
        .expect("it connected");
    let loopback = std::net::Ipv6Addr::LOCALHOST.octets();
    assert_eq!((client.family, client.local, client.remote, client.result), (10, loopback, loopback, 0));
    assert_ne!((client.local_port, client.remote_port, client.netns), (0, 0, 0));
    let sent = &streams[&(client.connection, direction::SEND)];
    assert_eq!((sent.moved, sent.captured), (50, 50));
    let duplicates = events.iter().filter(|event| {
        matches!(event, Event::Descriptor(event)
            if event.action == descriptor::DUPLICATE && event.connection == client.connection)
    });
    assert_eq!(duplicates.count(), 2);
    let shut = events.iter().any(|event| {
        matches!(event, Event::Descriptor(event)
            if event.action == descriptor::SHUTDOWN_BOTH && event.connection == client.connection)
    });
    assert!(shut, "shutdown was seen");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn failed_and_unfinished_connects_are_told() {
    let script = "
listener = socket.socket(); listener.bind(('127.0.0.1', 0)); port = listener.getsockname()[1]
dead = socket.socket(); dead.bind(('127.0.0.1', 0)); free = dead.getsockname()[1]; dead.close()
s = socket.socket()
try: s.connect(('127.0.0.1', free)); raise SystemExit('connected to nothing')
except ConnectionRefusedError: pass
listener.listen()
t = socket.socket(); t.setblocking(False)
error = t.connect_ex(('127.0.0.1', port))
import select
select.select([], [t], [])
t.send(pattern(0, 5))
u = socket.socket(); u.connect(('127.0.0.1', port)); peer, _ = listener.accept(); peer2, _ = listener.accept()
peer2.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); peer2.close()
try: u.recv(10); raise SystemExit('no reset')
except ConnectionResetError: pass
";
    let bytes = Tracee::start(script, |_| {}).finish();
    let events = decode(&bytes);
    assert_eq!(lost(&events), NOTHING);
    let results: Vec<(i32, u16)> = events
        .iter()
        .filter_map(|event| match event {
            Event::Socket(socket) if socket.origin == origin::CONNECT => Some((socket.result, socket.remote_port)),
            _ => None,
        })
        .collect();
    assert_eq!(results.iter().map(|(result, _)| *result).collect::<Vec<_>>(), [-111, -115, 0]);
    assert!(results.iter().all(|(_, port)| *port != 0), "where to is known, even of those that failed: {results:?}");
    let begun =
        events.iter().filter(|event| matches!(event, Event::Tcp(event) if event.what == tcp::STATE && event.new_state == tcp_state::SYN_SENT));
    assert_eq!(begun.count(), 3, "each connect's beginning is known");
    let reset = events.iter().any(|event| matches!(event, Event::Data(data, _) if data.result == -104));
    assert!(reset, "ECONNRESET was told");
    let resets = events.iter().filter(|event| matches!(event, Event::Tcp(event) if event.what == tcp::RESET_RECEIVED));
    assert_eq!(resets.count(), 2, "of the refused connection and of the one that was reset");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn what_is_muted_is_not_copied_but_goes_on_being_counted() {
    let script = "
a, b = socket.socketpair()
a.send(pattern(0, 1000)); b.recv(1000)
sys.stdin.readline()
a.send(pattern(1000, 3000)); a.send(pattern(4000, 1000)); b.recv(2000); b.recv(2000)
sys.stdin.readline()
a.send(pattern(5000, 10))
";
    let mut tracee = Tracee::start(script, |_| {});
    let received = |events: &[Event<'_>], end: u64| {
        events.iter().any(|event| {
            matches!(event, Event::Data(data, _) if data.direction == direction::RECEIVE
                && data.position + data.result as u64 == end)
        })
    };
    tracee.until(|events| received(events, 1000));
    let inodes: Vec<(u64, u8)> = decode(&tracee.bytes)
        .iter()
        .filter_map(|event| match event {
            Event::Data(data, _) => Some((data.connection, data.direction)),
            _ => None,
        })
        .collect();
    let writer = SocketInode(inodes.iter().find(|(_, way)| *way == direction::SEND).expect("it sent").0);
    let reader = SocketInode(inodes.iter().find(|(_, way)| *way == direction::RECEIVE).expect("it received").0);
    let handle = tracee.capture.handle();
    handle.mute(reader, Mute::Payload).expect("muted");
    handle.skip(writer, direction::SEND, 3500).expect("skipping");
    tracee.go();
    tracee.until(|events| received(events, 5000));
    handle.mute(writer, Mute::Everything).expect("muted");
    tracee.go();
    let bytes = tracee.finish();
    let events = decode(&bytes);
    let told: Vec<(u8, u64, u32, u32, bool)> = events
        .iter()
        .filter_map(|event| match event {
            Event::Data(data, _) => Some((
                data.direction,
                data.position,
                data.offset,
                data.captured,
                data.header.flags & flag::LENGTH_ONLY != 0,
            )),
            _ => None,
        })
        .collect();
    let (send, receive) = (direction::SEND, direction::RECEIVE);
    let expected = [
        (send, 0, 0, 1000, false),
        (receive, 0, 0, 1000, false),
        // Across the mark: begins there.
        (send, 1000, 2500, 500, false),
        (send, 4000, 0, 1000, false),
        (receive, 1000, 0, 0, true),
        (receive, 3000, 0, 0, true),
    ];
    assert_eq!(told, expected);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn threads_that_exec_and_die_are_told_apart_from_the_process() {
    let script = "
threads = [threading.Thread(target=os.getpid) for _ in range(5)]
[t.start() for t in threads]; [t.join() for t in threads]
threading.Thread(target=lambda: os.execv('/bin/sh', ['sh', '-c', 'exit 7'])).start()
sys.stdin.read() # until the other thread's execve ends this one
";
    let mut tracee = Tracee::start(script, |_| {});
    tracee.until(|events| {
        events.iter().any(|event| matches!(event, Event::Process(event) if event.action == process::EXIT))
    });
    let pid = tracee.child.id();
    assert_eq!(tracee.child.wait().expect("our child").code(), Some(7));
    let ends: Vec<(u8, u32, i32)> = decode(&tracee.bytes)
        .iter()
        .filter_map(|event| match event {
            Event::Process(event) => Some((event.action, event.header.tgid, event.exit_code)),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [(process::EXEC, pid, 0), (process::EXIT, pid, 7 << 8)]);
}
