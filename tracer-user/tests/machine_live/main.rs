//! Processes, sockets, files and launching on a real machine. The tests make namespaces and inspect other users' processes.
//! They need root, so they are ignored unless `cargo xtask test live` includes them.
#![cfg(feature = "live")]

mod files;

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::MetadataExt as _,
            net::{UnixListener, UnixStream},
            process::ExitStatusExt as _,
        },
    },
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Instant,
};

use pidtap::{
    event::{Event, SocketInode, wire},
    host::{
        doctor::{DoctorOptions, examine},
        launch::{HOLD_SUBCOMMAND, exit_status_of},
        process::{Namespaces, Permit, ProcessError, descendants, resolve},
        sockdiag::Inspector,
    },
};

/// A child that says a line when it is ready and ends when its standard input does.
struct Peer {
    child: Child,
    said: String,
}

impl Peer {
    fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the test's program starts");
        let mut said = String::new();
        let stdout = child.stdout.as_mut().expect("its output is a pipe");
        BufReader::new(stdout).read_line(&mut said).expect("it says that it is ready");
        assert!(!said.is_empty(), "it ended before it was ready");
        Self { child, said: said.trim().to_owned() }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Every event in a buffer.
fn events(mut bytes: &[u8]) -> Vec<Event<'_>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let event = Event::decode(bytes).expect("what is encoded can be decoded");
        bytes = &bytes[event.header().length as usize..];
        all.push(event);
    }
    all
}

fn found(pids: &[u32]) -> (Inspector, Vec<u8>) {
    let (mut inspector, mut buffer) = (Inspector::new(), Vec::new());
    let found = inspector.find(pids, &mut buffer);
    assert_eq!(found.notes, Vec::<String>::new());
    (inspector, buffer)
}

fn socket_with_port(buffer: &[u8], port: u16) -> wire::SocketEvent {
    events(buffer)
        .into_iter()
        .find_map(|event| match event {
            Event::Socket(socket) if socket.local_port == port => Some(socket),
            _ => None,
        })
        .unwrap_or_else(|| panic!("a connection with local port {port}"))
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn mapped_connections_are_ipv4_and_roles_are_told() {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("IPv6 is there");
    let port = listener.local_addr().expect("bound").port();
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connects");
    let (_server, _) = listener.accept().expect("accepts");
    let client_port = client.local_addr().expect("connected").port();

    let (_, buffer) = found(&[std::process::id()]);
    let server_side = socket_with_port(&buffer, port);
    let client_side = socket_with_port(&buffer, client_port);
    for side in [server_side, client_side] {
        assert_eq!((side.family, side.origin, side.protocol), (2, wire::origin::FOUND, 6));
        assert_eq!(side.local[..4], [127, 0, 0, 1]);
        assert_eq!(u64::from(side.netns), Namespaces::own().net);
    }
    assert_eq!(server_side.header.flags, wire::flag::LISTENING_PORT);
    assert_eq!((client_side.header.flags, client_side.remote_port), (0, port));
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_probe_tells_what_is_not_read() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
    let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
    let (server, SocketAddr::V4(peer)) = listener.accept().expect("accepts") else { panic!("IPv4") };
    client.write_all(b"unread").expect("is sent");
    // Waits for the bytes and leaves them.
    server.peek(&mut [0; 6]).expect("they arrive");
    let (mut inspector, buffer) = found(&[std::process::id()]);
    let connection = socket_with_port(&buffer, server.local_addr().expect("bound").port()).connection;
    let sender = socket_with_port(&buffer, peer.port()).connection;
    let mut buffer = Vec::new();
    let count = inspector.inspect(&[SocketInode(connection), SocketInode(sender)], &mut buffer).expect("probes");
    assert_eq!(count, 2);
    for event in events(&buffer) {
        let Event::Probe(probe) = event else { panic!("a probe: {event:?}") };
        if probe.connection == connection {
            assert_eq!((probe.bytes_received, probe.receive_queue), (6, 6));
            assert_eq!(probe.header.flags, wire::flag::LISTENING_PORT);
        } else {
            assert_eq!((probe.connection, probe.bytes_sent), (sender, 6));
        }
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn unix_sockets_have_path_and_peer() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("service.sock");
    let listener = UnixListener::bind(&path).expect("binds");
    let script = r"
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
print('ready', flush=True)
sys.stdin.read()
";
    let peer = Peer::start(Command::new("python3").args(["-c", script]).arg(&path));
    let (_server, _) = listener.accept().expect("accepts");
    let (_pair, _other) = UnixStream::pair().expect("a pair");

    // From each side the other process is known, and the path is that of the listener.
    let (own, other) = (std::process::id(), peer.child.id());
    for (pid, other, accepted) in [(own, other, true), (other, own, false)] {
        let (_, buffer) = found(&[pid]);
        let all = events(&buffer);
        let name = all.iter().find_map(|event| match event {
            Event::SocketName(name, text) if *text == path.as_os_str().as_encoded_bytes() => Some(name),
            _ => None,
        });
        let name = name.unwrap_or_else(|| panic!("a socket of {pid} with the path"));
        assert_eq!(name.peer_tgid, other);
        let flags = if accepted { wire::flag::LISTENING_PORT } else { 0 };
        assert!(all.iter().any(|event| matches!(event, Event::Socket(socket)
            if socket.connection == name.connection && socket.family == 1 && socket.header.flags == flags)));
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn targets_in_other_namespaces_are_looked_into() {
    // Its own network, process numbers and mounts: as in a container. Brings its loopback up, talks to itself.
    let script = r"
import fcntl, os, socket, struct, sys
s = socket.socket()
fcntl.ioctl(s, 0x8914, struct.pack('16sh', b'lo', 1))
l = socket.create_server(('127.0.0.1', 0))
c = socket.create_connection(l.getsockname())
a, _ = l.accept()
print(l.getsockname()[1], flush=True)
sys.stdin.read()
";
    let inside = Peer::start(Command::new("unshare").args([
        "--net",
        "--pid",
        "--fork",
        "--mount-proc",
        "python3",
        "-c",
        script,
    ]));
    let port: u16 = inside.said.parse().expect("a port");
    let children = descendants(&[inside.child.id()]);
    let [target] = children.as_slice() else { panic!("one child: {children:?}") };
    assert!(target.name.raw().starts_with("python"), "{target:?}");
    let namespaces = Namespaces::of(target.pid);
    assert_ne!(namespaces.net, Namespaces::own().net);
    assert_ne!(namespaces.pid, Namespaces::own().pid);

    let (mut inspector, buffer) = found(&[target.pid]);
    let socket = socket_with_port(&buffer, port);
    assert_eq!((socket.header.tgid, u64::from(socket.netns)), (target.pid, namespaces.net));
    assert_eq!(socket.header.flags, wire::flag::LISTENING_PORT);
    let mut buffer = Vec::new();
    assert_eq!(inspector.inspect(&[SocketInode(socket.connection)], &mut buffer).expect("probes"), 1);
    // The thread that asks has stayed where it was.
    let own = std::fs::metadata("/proc/thread-self/ns/net").expect("own namespace");
    assert_eq!(own.ino(), Namespaces::own().net);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn kernel_threads_are_refused() {
    let error = resolve(&["2".to_owned()], &Permit::Any).expect_err("kthreadd, or no such process");
    assert!(matches!(error, ProcessError::KernelThread { .. } | ProcessError::NoSuchPid { .. }), "{error}");
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_thread_means_its_process() {
    let script = r"
import sys, threading
t = threading.Thread(target=sys.stdin.read)
t.start()
print(t.native_id, flush=True)
t.join()
";
    let peer = Peer::start(Command::new("python3").args(["-c", script]));
    assert_ne!(peer.said, peer.child.id().to_string());
    let resolved = resolve(std::slice::from_ref(&peer.said), &Permit::Any).expect("the thread is there");
    assert_eq!(resolved.targets[0].pid, peer.child.id());
    assert!(resolved.notes[0].contains("is a thread of process"), "{:?}", resolved.notes);
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn ten_thousand_connections_are_found_and_probed() {
    const CONNECTIONS: usize = 10_000;
    // Two processes: both ends in one would need more descriptors than many hosts allow.
    let script = r"
import os, resource, socket, sys
n = int(sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
l = socket.create_server(('127.0.0.1', 0), backlog=1024)
server = os.getpid()
keep = []
if os.fork() == 0:
    for i in range(n):
        c = socket.socket()
        c.connect(l.getsockname())
        keep.append(c)
    sys.stdin.read()
    os._exit(0)
for i in range(n):
    keep.append(l.accept()[0])
print('ready', flush=True)
sys.stdin.read()
os.wait()
";
    let peer = Peer::start(Command::new("python3").args(["-c", script]).arg(CONNECTIONS.to_string()));
    let client = descendants(&[peer.child.id()]);
    let (mut inspector, mut buffer) = (Inspector::new(), Vec::new());
    let start = Instant::now();
    let found = inspector.find(&[peer.child.id(), client[0].pid], &mut buffer);
    let find = start.elapsed();
    assert_eq!((found.tcp, found.notes.len()), (2 * CONNECTIONS, 0), "{:?}", found.notes);
    let inodes: Vec<_> = events(&buffer)
        .iter()
        .filter_map(|event| match event {
            Event::Socket(socket) if socket.family == 2 => Some(SocketInode(socket.connection)),
            _ => None,
        })
        .collect();
    let mut buffer = Vec::new();
    let start = Instant::now();
    assert_eq!(inspector.inspect(&inodes, &mut buffer).expect("probes"), 2 * CONNECTIONS);
    let all = start.elapsed();
    let start = Instant::now();
    assert_eq!(inspector.inspect(&inodes[..10], &mut buffer).expect("probes"), 10);
    println!("20,000 sockets: found in {find:?}, all probed in {all:?}, 10 of them in {:?}", start.elapsed());
    // Far above what is measured: only that it is not of another order.
    assert!(find.as_secs() < 5, "{find:?}");
}

/// Starts the real binary as `run` does, with the reading end of a pipe of this process.
fn inode(pipe: &io::PipeReader) -> String {
    let number = pipe.as_raw_fd();
    fs::metadata(format!("/proc/self/fd/{number}")).expect("a pipe").ino().to_string()
}

fn hold(reader: &io::PipeReader, command: &[&str]) -> Child {
    let pipe = format!("/proc/{}/fd/{}", std::process::id(), reader.as_raw_fd());
    let inode = inode(reader);
    Command::new(env!("CARGO_BIN_EXE_pidtap"))
        .args([HOLD_SUBCOMMAND, &pipe, &inode, "--"])
        .args(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

fn released(command: &[&str]) -> Output {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let held = hold(&reader, command);
    writer.write_all(&[1]).expect("the reading end is open");
    held.wait_with_output().expect("it ends")
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_released_command_is_the_command_itself() {
    // Arguments come as they are, and it has the descriptors that it has without pidtap: no more.
    let command = ["sh", "-c", "echo $0 \"$1\"; ls /proc/$$/fd; exit 7", "-x", "a  b"];
    let output = released(&command);
    let direct = Command::new("sh").args(&command[1..]).stdin(Stdio::null()).output().expect("sh runs");
    assert!(output.stdout.starts_with(b"-x a  b\n"), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&direct.stdout));
    assert_eq!(exit_status_of(output.status), 7);
    assert_eq!(exit_status_of(released(&["sh", "-c", "kill -9 $$"]).status), 137);
    // Rust ignores SIGPIPE; the command must not inherit that.
    assert_eq!(released(&["sh", "-c", "kill -PIPE $$"]).status.signal(), Some(13));
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn what_cannot_be_executed_says_so() {
    let missing = released(&["/no/such/program"]);
    assert_eq!(missing.status.code(), Some(127));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/no/such/program"), "{missing:?}");
    assert_eq!(released(&["/etc/passwd"]).status.code(), Some(126));
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_command_that_is_not_released_never_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let mark = folder.path().join("ran");
    let (reader, writer) = io::pipe().expect("a pipe");
    let held = hold(&reader, &["touch", mark.to_str().expect("text")]);
    // pidtap ends: both ends close, whether the other has opened the pipe yet or not.
    drop((reader, writer));
    let output = held.wait_with_output().expect("it ends");
    assert!(!output.status.success());
    assert!(!mark.exists());
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_byte_from_another_pipe_releases_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mark = folder.path().join("ran");
    let (reader, writer) = io::pipe().expect("a pipe");
    let (other, mut byte) = io::pipe().expect("a pipe");
    byte.write_all(&[1]).expect("there is room");
    // As where the number of a closed pipe has come to mean another one.
    let path = format!("/proc/{}/fd/{}", std::process::id(), other.as_raw_fd());
    let inode = inode(&reader);
    let output = Command::new(env!("CARGO_BIN_EXE_pidtap"))
        .args([HOLD_SUBCOMMAND, &path, &inode, "--", "touch", mark.to_str().expect("text")])
        .output()
        .expect("the binary starts");
    drop((writer, other));
    assert!(!output.status.success());
    assert!(!mark.exists());
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn inside_a_pid_namespace_it_says_where_to_run_instead() {
    // What is started here has a number of this namespace as well, which means another process outside.
    for arguments in [&["1"][..], &["run", "--", "true"], &["demo", "--duration", "1s"]] {
        let output = Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", env!("CARGO_BIN_EXE_pidtap")])
            .args(arguments)
            .output()
            .expect("unshare runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{arguments:?}: {said}");
        assert!(said.contains("--pid=host"), "{arguments:?}: {said}");
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn the_doctor_looks_into_a_chroot() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = r"
import os, socket, sys
l = socket.create_server(('127.0.0.1', 0))
os.chroot(sys.argv[1])
print('ready', flush=True)
sys.stdin.read()
";
    let peer = Peer::start(Command::new("python3").args(["-c", script]).arg(folder.path()));
    let pid = peer.child.id().to_string();
    let searcher = Some(Path::new(env!("CARGO_BIN_EXE_pidtap")));
    let report =
        examine(&DoctorOptions { target: Some(&pid), carries_probes: true, ring_size: 1 << 20, searcher, trial: None });
    let of = |name: &str| {
        let check = report.targets[0].1.iter().find(|check| check.name == name);
        check.unwrap_or_else(|| panic!("{name} in {report:?}")).found.clone()
    };
    assert!(of("runtime").starts_with("Python"), "{}", of("runtime"));
    assert!(
        of("namespaces").contains(&format!("its root directory is {}", folder.path().display())),
        "{}",
        of("namespaces")
    );
    assert!(of("sockets").contains("1 TCP listening"), "{}", of("sockets"));
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_name_means_every_process_of_that_name() {
    // Longer than `comm` holds, so that only the file's name tells; unlike any other process of this host.
    let folder = tempfile::tempdir().expect("a folder");
    let name = format!("pidtap-named-target-{}", std::process::id());
    // By another process: what this one has open for writing, a child that another test forks in this moment has open
    // too, and then it cannot be executed (ETXTBSY).
    let copied = Command::new("cp").arg("/bin/sleep").arg(folder.path().join(&name)).status().expect("cp runs");
    assert!(copied.success(), "{copied}");
    let mut children: Vec<Child> =
        (0..3).map(|_| Command::new(folder.path().join(&name)).arg("60").spawn().expect("it starts")).collect();
    let mut pids: Vec<u32> = children.iter().map(Child::id).collect();
    pids.sort_unstable();
    // One of them typed as a number too: each comes once.
    let resolved = resolve(&[name.clone(), pids[1].to_string()], &Permit::Any);
    let near = resolve(&[name[..name.len() - 1].to_owned()], &Permit::Any);
    for child in &mut children {
        child.kill().expect("it can be ended");
        child.wait().expect("it ended");
    }
    let resolved = resolved.expect("they are there");
    assert_eq!(resolved.targets.iter().map(|target| target.pid).collect::<Vec<_>>(), pids);
    assert!(resolved.notes[0].contains("matches 3 processes"), "{:?}", resolved.notes);
    let near = near.expect_err("not a whole name").to_string();
    assert!(near.contains(&format!("similar: {}", pids[0])) || near.contains(&pids[2].to_string()), "{near}");
}
