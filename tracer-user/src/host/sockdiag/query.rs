//! Queries about connections while a trace runs.

use std::io;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    Inspector, REMEMBERED, event,
    inet::{self, TcpTable},
    now, unix,
};
use crate::event::{SocketInode, wire::ThreadEvent};

/// Number of queries above which one dump of all sockets is cheaper than single queries.
const ASK_ONE_BY_ONE: usize = 64;

impl Inspector {
    /// Appends a PROBE event for each of these TCP connections that still exists. Returns their number. Covers the
    /// namespaces of [`Self::find`] and [`Self::add_namespace_of`].
    ///
    /// Takes one dump of all TCP sockets per address family and namespace, however few are requested. Measured on a
    /// 2-core x86-64 with 10,000 open connections (20,000 sockets, as both ends were on the host) in a debug build: 22
    /// ms for 10 connections, 41 ms for all; the first find takes 190 ms. The test
    /// `ten_thousand_connections_are_found_and_probed` prints the times. Once a second this costs 2 to 4 % of one
    /// processor.
    ///
    /// # Errors
    ///
    /// The first error of a dump; the events of the namespaces before it have been appended.
    pub fn inspect(&mut self, connections: &[SocketInode], buffer: &mut Vec<u8>) -> io::Result<usize> {
        if connections.is_empty() {
            return Ok(0);
        }
        let wanted = connections.iter().filter_map(|inode| u32::try_from(inode.0).ok()).collect();
        Ok(self.look_at(&wanted, buffer)?.len())
    }

    /// Probes all connections that are considered open, given with their namespaces, and reports those that no longer
    /// exist. Without this, a connection whose closing event was lost would stay open.
    ///
    /// A dump in several parts may skip a connection while others come and go. A connection is therefore reported only
    /// after it is missing from two dumps, and also from a query of its own if its key is known. Connections of unknown
    /// namespaces are ignored.
    ///
    /// # Errors
    ///
    /// The errors of [`Self::inspect`].
    pub fn reconcile(&mut self, open: &FxHashMap<u64, u32>, buffer: &mut Vec<u8>) -> io::Result<()> {
        let time = now();
        let wanted = open.keys().filter_map(|inode| u32::try_from(*inode).ok()).collect();
        let found = self.look_at(&wanted, buffer)?;
        let mut missed = FxHashSet::default();
        for (&inode, &netns) in open {
            let Ok(inode) = u32::try_from(inode) else { continue };
            let is_looked_at = self.namespaces.iter().any(|namespace| namespace.inode == u64::from(netns));
            if !is_looked_at || found.contains(&inode) {
                continue;
            }
            if self.missed.contains(&inode) && !self.is_there(inode)? {
                event::gone(time, u64::from(inode), buffer);
            } else {
                missed.insert(inode);
            }
        }
        self.missed = missed;
        // Closed connections make room, as no keys are kept beyond the limit and then a dump alone would decide.
        let is_open = |inode: &u32| open.contains_key(&u64::from(*inode));
        self.keys.retain(|inode, _| is_open(inode));
        self.mptcp.retain(is_open);
        Ok(())
    }

    /// Whether the kernel still has the connection; false if its key is unknown.
    fn is_there(&mut self, inode: u32) -> io::Result<bool> {
        let Some((index, key, _)) = self.keys.get(&inode) else { return Ok(false) };
        let Some(namespace) = self.namespaces.get_mut(*index) else { return Ok(false) };
        let is_there = inet::read_one(&mut namespace.socket, key)?.is_some_and(|tcp| tcp.inode == inode);
        if !is_there {
            self.keys.remove(&inode);
        }
        Ok(is_there)
    }

    /// Dumps all TCP sockets. Returns the wanted ones that exist.
    fn look_at(&mut self, wanted: &FxHashSet<u32>, buffer: &mut Vec<u8>) -> io::Result<FxHashSet<u32>> {
        let mut found = FxHashSet::default();
        for (index, namespace) in self.namespaces.iter_mut().enumerate() {
            let table = TcpTable::read(&mut namespace.socket, |inode| wanted.contains(&inode))?;
            let time = now();
            for tcp in &table.connections {
                let accepted = table.was_accepted(tcp);
                event::probe(time, 0, tcp, accepted, buffer);
                event::connecting(time, tcp, namespace.inode as u32, buffer);
                found.insert(tcp.inode);
                if tcp.mptcp {
                    self.mptcp.insert(tcp.inode);
                } else if self.keys.len() < REMEMBERED {
                    self.keys.insert(tcp.inode, (index, tcp.key.clone(), accepted));
                }
            }
        }
        Ok(found)
    }

    /// Probes the few connections with open calls, including Unix stream sockets. Connections with a known key are
    /// queried one by one, at about 5 us each; others are searched once in a dump. For connecting sockets, a SOCKET
    /// event (`FOUND`) carries the address.
    ///
    /// # Errors
    ///
    /// The errors of [`Self::inspect`].
    pub fn ask(&mut self, connections: &[SocketInode], buffer: &mut Vec<u8>) -> io::Result<usize> {
        let inodes = connections.iter().filter_map(|inode| u32::try_from(inode.0).ok());
        let (unix, wanted): (Vec<u32>, Vec<u32>) =
            inodes.filter(|inode| !self.unknown.contains(inode)).partition(|inode| self.unix.contains_key(inode));
        let mut count = 0;
        // The rest is covered by later queries.
        for inode in unix.into_iter().take(ASK_ONE_BY_ONE) {
            count += usize::from(self.ask_unix(inode, buffer)?);
        }
        let all_known = wanted.iter().all(|inode| self.keys.contains_key(inode));
        if !all_known || wanted.len() > ASK_ONE_BY_ONE {
            return Ok(count + self.look_for(&wanted, buffer)?);
        }
        for inode in wanted {
            let Some((index, key, accepted)) = self.keys.get(&inode) else { continue };
            let Some(namespace) = self.namespaces.get_mut(*index) else { continue };
            // The inode is compared, as closing sockets answer without one.
            match inet::read_one(&mut namespace.socket, key)?.filter(|tcp| tcp.inode == inode) {
                Some(tcp) => {
                    let time = now();
                    event::probe(time, 0, &tcp, *accepted, buffer);
                    event::connecting(time, &tcp, namespace.inode as u32, buffer);
                    count += 1;
                }
                None => drop(self.keys.remove(&inode)),
            }
        }
        Ok(count)
    }

    /// Appends the PROBE event of a Unix stream socket. Returns whether it exists.
    fn ask_unix(&mut self, inode: u32, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let namespace = self.unix.get(&inode).and_then(|index| self.namespaces.get_mut(*index));
        let found =
            namespace.map(|namespace| unix::read_with_peer(&mut namespace.socket, inode)).transpose()?.flatten();
        match &found {
            Some(unix) => event::unix_probe(now(), inode, unix, unix.send_queue, buffer),
            None => drop(self.unix.remove(&inode)),
        }
        Ok(found.is_some())
    }

    fn look_for(&mut self, inodes: &[u32], buffer: &mut Vec<u8>) -> io::Result<usize> {
        if [self.keys.len(), self.mptcp.len(), self.unix.len(), self.unknown.len()].iter().any(|len| *len >= REMEMBERED)
        {
            self.keys.clear();
            self.mptcp.clear();
            self.unix.clear();
            self.unknown.clear();
        }
        let connections: Vec<SocketInode> = inodes.iter().map(|inode| SocketInode(u64::from(*inode))).collect();
        let mut count = self.inspect(&connections, buffer)?;
        if count < inodes.len() {
            let no_tcp: Vec<u32> = inodes
                .iter()
                .copied()
                .filter(|inode| !self.keys.contains_key(inode) && !self.mptcp.contains(inode))
                .collect();
            for inode in no_tcp {
                if self.look_for_unix(inode, buffer) {
                    count += 1;
                } else {
                    self.unknown.insert(inode);
                }
            }
        }
        Ok(count)
    }

    /// Probes and remembers a Unix stream socket. Returns whether the inode belongs to one.
    fn look_for_unix(&mut self, inode: u32, buffer: &mut Vec<u8>) -> bool {
        for index in 0..self.namespaces.len() {
            self.unix.insert(inode, index);
            // The module unix_diag may be missing.
            if self.ask_unix(inode, buffer).unwrap_or(false) {
                return true;
            }
        }
        self.unix.remove(&inode);
        false
    }

    /// Appends a LISTENER event for each listening socket of these processes that has waiting connections, or had some
    /// at the last look.
    ///
    /// # Errors
    ///
    /// The first error of a dump; the events before it have been appended.
    pub fn look_at_listeners(&mut self, pids: &[u32], buffer: &mut Vec<u8>) -> io::Result<()> {
        let mut sockets = self.namespaces.iter_mut().map(|namespace| (&mut namespace.socket, namespace.inode as u32));
        self.listeners.look(&mut sockets, pids, now(), buffer)
    }

    /// Fills in the peers of UDP sockets that threads wait on. Dumps the UDP sockets only if a thread waits on a socket
    /// of unknown kind.
    pub fn name_udp(&mut self, threads: &mut [ThreadEvent]) {
        let waited: Vec<u64> = threads.iter().map(|thread| thread.connection).filter(|inode| *inode != 0).collect();
        let is_tcp = |inode: &u64| u32::try_from(*inode).is_ok_and(|inode| self.keys.contains_key(&inode));
        if waited.iter().all(|inode| self.no_udp.contains(inode) || is_tcp(inode)) {
            return;
        }
        if self.no_udp.len() >= REMEMBERED {
            self.no_udp.clear();
        }
        let mut peers = FxHashMap::default();
        for namespace in &mut self.namespaces {
            // On errors the sockets stay unnamed.
            let _ = inet::udp_peers(
                &mut namespace.socket,
                |inode| waited.contains(&u64::from(inode)),
                |inode, peer| {
                    peers.insert(u64::from(inode), peer);
                },
            );
        }
        for thread in threads {
            match peers.get(&thread.connection) {
                Some(peer) => event::set_peer(thread, *peer),
                None => drop(self.no_udp.insert(thread.connection)),
            }
        }
    }
}
