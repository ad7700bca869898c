//! The network namespaces of the targets.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
};

use rustc_hash::FxHashSet;

use super::{Inspector, Namespace, netlink::DiagSocket, now};
use crate::host::process::all_pids;

/// Maximum number of network namespaces. Unprivileged processes can create them, and the `sock_diag` socket keeps each
/// alive.
const MAX_NAMESPACES: usize = 256;

/// Minimum time in nanoseconds between two scans of all processes; a scan costs a system call per process.
const BETWEEN_LOOKS_NS: u64 = 1_000_000_000;

impl Inspector {
    /// Remembers the network namespace of a process, even beyond its exit. Returns the inode number of the namespace.
    ///
    /// # Errors
    ///
    /// The error of the kernel if the process is gone or its namespace must not be entered (`CAP_SYS_ADMIN`).
    pub fn add_namespace_of(&mut self, pid: u32) -> io::Result<u64> {
        let file = File::open(format!("/proc/{pid}/ns/net"))?;
        let inode = file.metadata()?.ino();
        if !self.namespaces.iter().any(|namespace| namespace.inode == inode) {
            if self.namespaces.len() >= MAX_NAMESPACES
                && now().0.saturating_sub(self.looked_for_empty.0) >= BETWEEN_LOOKS_NS
            {
                self.forget_empty_namespaces(&namespaces_of_processes());
                self.looked_for_empty = now();
            }
            if self.namespaces.len() >= MAX_NAMESPACES {
                return Err(io::Error::other(format!("pidtap inspects at most {MAX_NAMESPACES} network namespaces")));
            }
            let socket = DiagSocket::open(&file)?;
            self.namespaces.push(Namespace { inode, socket });
        }
        Ok(inode)
    }

    /// Removes namespaces without processes, and all remembered connections, which refer to namespaces by index.
    fn forget_empty_namespaces(&mut self, inhabited: &FxHashSet<u64>) {
        self.namespaces.retain(|namespace| inhabited.contains(&namespace.inode));
        self.keys.clear();
        self.mptcp.clear();
        self.unix.clear();
        self.unknown.clear();
    }
}

/// Inode numbers of the network namespaces of all processes.
fn namespaces_of_processes() -> FxHashSet<u64> {
    let inode = |pid| fs::metadata(format!("/proc/{pid}/ns/net")).ok().map(|meta| meta.ino());
    all_pids().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::unseen_namespace, *};

    fn with_namespaces(inodes: impl Iterator<Item = u64>) -> Inspector {
        let own = File::open("/proc/self/ns/net").expect("there");
        let socket = || DiagSocket::open(&own).expect("a socket");
        let namespaces = inodes.map(|inode| Namespace { inode, socket: socket() }).collect();
        Inspector { namespaces, ..Inspector::default() }
    }

    #[test]
    fn namespaces_without_processes_make_room() {
        // No namespace has such a number: those of the kernel have 32 bits.
        let mut inspector = with_namespaces((0..MAX_NAMESPACES as u64).map(|index| u64::MAX - index));
        let own = inspector.add_namespace_of(std::process::id()).expect("there is room");
        assert_eq!(inspector.namespaces.iter().map(|namespace| namespace.inode).collect::<Vec<_>>(), [own]);
    }

    #[test]
    fn where_all_are_inhabited_one_more_is_refused() {
        let mut inspector = with_namespaces((0..MAX_NAMESPACES as u64).map(|index| u64::MAX - index));
        // The processes were scanned just now.
        inspector.looked_for_empty = now();
        let error = inspector.add_namespace_of(std::process::id()).expect_err("there is no room");
        assert!(unseen_namespace(7, &error).contains("256 network namespaces"), "{error}");
        assert_eq!(inspector.namespaces.len(), MAX_NAMESPACES);
    }
}
