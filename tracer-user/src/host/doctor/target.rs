//! Checks of one target.

use std::{collections::HashSet, fs, io, path::Path};

use procfs::{net::TcpState, process::Process};

use super::{
    Check, Status, apart,
    program::{self, Marks},
};
use crate::{
    host::{
        process::{Namespaces, Target, is_32_bit, read_bounded},
        sockdiag::descriptor,
    },
    text::escape::Foreign,
};

/// Maximum number of bytes read of `/proc/PID/maps`. 65,530 lines (`vm.max_map_count`) of usual length take a third of
/// it.
const MAPS_LIMIT: u64 = 32 * 1024 * 1024;

pub(super) fn checks(target: &Target, searcher: Option<&Path>) -> Vec<Check> {
    let pid = target.pid;
    let mut checks = Vec::new();
    let exe = fs::read_link(format!("/proc/{pid}/exe"));
    let program = match &exe {
        Ok(path) => {
            checks.push(Check::info("program", Foreign::from(&**path).to_string()));
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        }
        Err(error) => {
            checks.push(unreadable("program", &error.to_string()));
            target.name.raw().to_owned()
        }
    };
    let program = program.strip_suffix(" (deleted)").unwrap_or(&program);
    let answer = if exe.is_ok() { Some(apart::marks(pid, searcher)) } else { None };
    let unsearched = answer.as_ref().and_then(|answer| answer.as_ref().err()).map(io::Error::to_string);
    let mut marks = answer.and_then(Result::ok).unwrap_or_default();
    let maps = read_bounded(pid, "maps", MAPS_LIMIT).unwrap_or_default();
    marks.whole &= (maps.len() as u64) < MAPS_LIMIT;
    let maps = String::from_utf8_lossy(&maps);
    let files = program::mapped_files(&maps);
    if exe.is_err() && maps.is_empty() {
        checks.push(unreadable("runtime", "neither its executable nor its libraries"));
    } else {
        let (runtime, evidence) = program::runtime(program, &files, &marks);
        checks.push(match unsearched {
            Some(error) => Check::unreadable(
                "runtime",
                &format!("the signatures in its executable: {error}"),
                &format!("without them, the runtime is {runtime} ({evidence})"),
            ),
            None => Check::info("runtime", format!("{runtime} ({evidence})")),
        });
    }
    checks.push(namespaces(pid));
    checks.extend(sockets(pid, exe.is_ok()));
    checks.push(tls(&program::tls(&files, &marks), &marks, maps.is_empty()));
    if is_32_bit(pid) {
        checks.push(Check::new(
            "system calls",
            Status::Warn,
            "a 32-bit program",
            "its system calls use different numbers and are not seen",
        ));
    }
    checks
}

fn unreadable(name: &'static str, error: &str) -> Check {
    let remedy = if rustix::process::geteuid().is_root() {
        "even root cannot read it here: a security module, or the container that `doctor` runs in, denies access"
    } else {
        "run `pidtap doctor` with `sudo`"
    };
    Check::unreadable(name, error, remedy)
}

/// Checks which namespaces the target does not share with pidtap, and guesses the container runtime.
fn namespaces(pid: u32) -> Check {
    let (theirs, ours) = (Namespaces::of(pid), Namespaces::own());
    if theirs.net == 0 {
        return unreadable("namespaces", "the links in /proc/PID/ns");
    }
    let own: Vec<&str> = [
        ("network", theirs.net, ours.net),
        ("PID", theirs.pid, ours.pid),
        ("mount", theirs.mount, ours.mount),
        ("user", theirs.user, ours.user),
    ]
    .into_iter()
    .filter(|(_, theirs, ours)| theirs != ours)
    .map(|(name, ..)| name)
    .collect();
    let mut found =
        if own.is_empty() { "same as the host".to_owned() } else { format!("own namespaces: {}", own.join(", ")) };
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    if let Some(kind) = container(&cgroup) {
        found.push_str("; according to its control group, in a container of ");
        found.push_str(kind);
    }
    // Inside a separate mount namespace the root is still shown as `/`.
    if let Ok(root) = fs::read_link(format!("/proc/{pid}/root"))
        && root.as_os_str() != "/"
    {
        found.push_str("; its root directory is ");
        found.push_str(&Foreign::from(&*root).to_string());
    }
    Check::ok("namespaces", found)
}

/// Container runtime that the path of a control group indicates.
fn container(cgroup: &str) -> Option<&'static str> {
    [
        ("kubepods", "Kubernetes"),
        ("docker", "Docker"),
        ("libpod", "Podman"),
        ("containerd", "containerd"),
        ("crio", "CRI-O"),
        ("lxc", "LXC"),
        ("machine.slice", "systemd-nspawn or a virtual machine"),
    ]
    .into_iter()
    .find(|(mark, _)| cgroup.contains(mark))
    .map(|(_, kind)| kind)
}

/// Checks the kinds of open sockets, with counts, and the use of io_uring.
fn sockets(pid: u32, is_readable: bool) -> Vec<Check> {
    let mut seen = false;
    let mut inodes = HashSet::new();
    let mut rings = 0;
    let result = descriptor::each(pid, |_, link| {
        seen = true;
        if link == b"anon_inode:[io_uring]" {
            rings += 1;
        }
        inodes.extend(descriptor::parse_socket(link).map(u64::from));
    });
    if let Err(error) = result {
        return vec![unreadable("sockets", &error.to_string())];
    }
    // The directory may be readable although the targets of its links are not.
    if !seen && !is_readable {
        return vec![unreadable("sockets", "the links in /proc/PID/fd")];
    }
    let mut checks = Vec::new();
    let counts = count(pid, &inodes);
    let parts: Vec<String> = counts.iter().filter(|(_, n)| *n > 0).map(|(kind, n)| format!("{n} {kind}")).collect();
    let found = if parts.is_empty() { "none open".to_owned() } else { parts.join(", ") };
    checks.push(Check::info("sockets", found));
    if counts.iter().any(|&(kind, n)| kind == UDP && n > 0) {
        let remedy = "HTTP/3 uses UDP and is not seen; DNS queries use UDP too and are harmless";
        checks.push(Check::new("UDP", Status::Info, "UDP sockets are open", remedy));
    }
    if rings > 0 {
        checks.push(Check::new(
            "io_uring",
            Status::Warn,
            format!(
                "{rings} io_uring descriptor(s) open; this is not conclusive, because several runtimes open one but \
                 still use read and write"
            ),
            "bytes moved through io_uring are not seen; while tracing, pidtap reports each affected connection",
        ));
    } else {
        checks.push(Check::ok("io_uring", "not used"));
    }
    checks
}

const UDP: &str = "UDP";

fn count(pid: u32, inodes: &HashSet<u64>) -> Vec<(&'static str, usize)> {
    let Some(process) = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok()) else { return Vec::new() };
    let tcp: Vec<_> = [process.tcp(), process.tcp6()]
        .into_iter()
        .flat_map(Result::unwrap_or_default)
        .filter(|entry| inodes.contains(&entry.inode))
        .collect();
    let udp = [process.udp(), process.udp6()]
        .into_iter()
        .flat_map(Result::unwrap_or_default)
        .filter(|entry| inodes.contains(&entry.inode));
    let table = fs::read(format!("/proc/{pid}/net/unix")).unwrap_or_default();
    let unix: Vec<UnixSocket> = unix_sockets(&table).filter(|socket| inodes.contains(&socket.inode)).collect();
    let netlink = fs::read_to_string(format!("/proc/{pid}/net/netlink")).unwrap_or_default();
    let netlink = netlink.lines().filter(|line| {
        line.split_whitespace().last().and_then(|inode| inode.parse().ok()).is_some_and(|inode| inodes.contains(&inode))
    });
    let state = |wanted: TcpState| tcp.iter().filter(|entry| entry.state == wanted).count();
    let (listen, established) = (state(TcpState::Listen), state(TcpState::Established));
    let stream = unix.iter().filter(|socket| socket.is_connected_stream).count();
    let mut counts = vec![
        ("TCP listening", listen),
        ("TCP connected", established),
        ("TCP in other states", tcp.len() - listen - established),
        ("Unix stream connected", stream),
        ("Unix other", unix.len() - stream),
        (UDP, udp.count()),
        ("netlink", netlink.count()),
    ];
    let known: usize = counts.iter().map(|(_, n)| n).sum();
    counts.push(("of other types", inodes.len().saturating_sub(known)));
    counts
}

/// A line of `/proc/net/unix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UnixSocket {
    inode: u64,
    is_connected_stream: bool,
}

/// Parses `/proc/net/unix`. Names are chosen by their owners and may contain any byte, also line feeds. Lines that do
/// not parse are skipped, and names are ignored.
fn unix_sockets(table: &[u8]) -> impl Iterator<Item = UnixSocket> {
    /// `SOCK_STREAM` and `SS_CONNECTED`.
    const CONNECTED_STREAM: (&str, &str) = ("0001", "03");
    table.split(|byte| *byte == b'\n').filter_map(|line| {
        let end = line.len().min(80);
        let line = String::from_utf8_lossy(&line[..end]);
        // Number, references, protocol, flags, type, state, inode.
        let mut words = line.split_ascii_whitespace().skip(4);
        let (kind, state, inode) = (words.next()?, words.next()?, words.next()?);
        Some(UnixSocket { inode: inode.parse().ok()?, is_connected_stream: (kind, state) == CONNECTED_STREAM })
    })
}

/// Checks for TLS libraries, whose traffic pidtap cannot decode.
fn tls(libraries: &[String], marks: &Marks, unreadable_maps: bool) -> Check {
    if unreadable_maps {
        return unreadable("TLS", "/proc/PID/maps");
    }
    if libraries.is_empty() {
        if marks.whole {
            return Check::ok("TLS", "no known TLS library is loaded");
        }
        return Check::unreadable(
            "TLS",
            "the executable and the mapped files were not searched completely",
            "no known TLS library was found in the searched part; one may be statically linked",
        );
    }
    let remedy = "TLS connections are seen as encrypted bytes, without exchanges; plain HTTP is seen as usual";
    Check::new("TLS", Status::Warn, libraries.join(", "), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_hides_no_other_socket() {
        let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 11 @a\nb\xff\xfe\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 4294967295\n\
            ffff888100000000: 00000003 00000000 00000000 0002 03 13 /run/\x1b[31m\n";
        let found: Vec<_> = unix_sockets(table).map(|socket| (socket.inode, socket.is_connected_stream)).collect();
        assert_eq!(found, [(11, false), (4_294_967_295, true), (13, false)]);
    }

    #[test]
    fn what_was_not_searched_is_no_all_clear() {
        let whole = Marks { whole: true, ..Marks::default() };
        assert_eq!(tls(&[], &whole, false).status, Status::Ok);
        let check = tls(&[], &Marks::default(), false);
        assert!(check.is_unreadable() && !check.remedy.is_empty(), "{check:?}");
    }

    #[test]
    fn containers_are_told_by_their_control_group() {
        assert_eq!(container("0::/system.slice/docker-0a1b.scope\n"), Some("Docker"));
        assert_eq!(
            container("0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-1.scope\n"),
            Some("Kubernetes")
        );
        assert_eq!(container("0::/user.slice/user-1000.slice\n"), None);
    }

    #[test]
    fn own_sockets_are_counted_by_kind() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let _client = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        let _udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
        let _pair = std::os::unix::net::UnixStream::pair().expect("a pair");
        let pid = std::process::id();
        let inodes = descriptor::sockets(pid).expect("own").iter().map(|socket| u64::from(socket.inode)).collect();
        let counts = count(pid, &inodes);
        let of = |kind| counts.iter().find(|(name, _)| *name == kind).map_or(0, |(_, n)| *n);
        assert!(of("TCP listening") >= 1 && of("TCP connected") >= 1 && of(UDP) >= 1, "{counts:?}");
        assert!(of("Unix stream connected") >= 2, "{counts:?}");
    }
}
