//! State of connections, their stream positions, and the event that announces them.

use aya_ebpf::bindings::BPF_NOEXIST;
use tracer_common::{
    control::{Connection, connection},
    event::{SocketEvent, flag, kind, loss, origin, tcp_state},
};

use crate::{
    emit,
    maps::{ANNOUNCEMENT, CONNECTIONS, EVENTS, FAMILIAR, FAMILIAR_SLOTS},
    memory::{kernel, kernel_at, pointer, user},
    offset::{
        NET_INUM, SK_FAMILY, SK_FLAGS, SK_LOCAL_PORT, SK_LOCAL_V4, SK_LOCAL_V6, SK_NET, SK_PROTOCOL, SK_REMOTE_PORT,
        SK_REMOTE_V4, SK_REMOTE_V6, SK_SHUTDOWN, SK_STATE, TCP_COPIED_SEQ, TCP_RCV_NXT, TCP_WRITE_SEQ,
    },
    socket::{self, AF_INET, AF_INET6, AF_UNIX},
    unix,
    value::{Announcement, Familiar, Positions, Socket},
};

const IPPROTO_TCP: u16 = 6;
/// `SOCK_DONE` of `enum sock_flags`: the peer's FIN has arrived.
const SOCK_DONE: u64 = 1 << 1;

/// A known connection.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// Value in the map, which holds the positions if they are counted.
    pub(crate) value: *mut Connection,
    /// Whether the connection is not announced yet.
    pub(crate) fresh: bool,
    /// Positions are sequence numbers.
    pub(crate) sequence: bool,
}

/// Looks up or creates the state of a socket that a process uses through this descriptor at this time. `None` for
/// families that are not traced.
#[inline(always)]
pub(crate) fn used(socket: Socket, tgid: u32, fd: i32, time: u64) -> Option<Entry> {
    /// In one of this many periods of 4 microseconds, the look-up goes to the maps, so that the LRU does not evict a
    /// connection in use.
    const PERIODS: u64 = 64;
    let familiar = FAMILIAR.get_ptr_mut(socket.inode as u32 & (FAMILIAR_SLOTS - 1))?;
    let holder = u64::from(tgid) << 32 | u64::from(fd as u32);
    let known = unsafe { familiar.read_volatile() };
    if known.inode == socket.inode && known.holder == holder && time >> 12 & (PERIODS - 1) != 0 {
        return Some(Entry { value: core::ptr::null_mut(), fresh: false, sequence: true });
    }
    let entry = remember(socket)?;
    socket::note_descriptor(tgid, fd);
    if entry.sequence {
        unsafe { familiar.write_volatile(Familiar { inode: socket.inode, holder }) };
    }
    Some(entry)
}

/// Looks up or creates the state of a socket. `None` for families that are not traced.
#[inline(always)]
pub(crate) fn remember(socket: Socket) -> Option<Entry> {
    if let Some(value) = CONNECTIONS.get_ptr_mut(socket.inode) {
        let flags = unsafe { (*value).flags };
        if flags & connection::ANNOUNCED != 0 {
            return Some(Entry { value, fresh: false, sequence: flags & connection::SEQUENCE != 0 });
        }
    }
    begin(socket)
}

/// Creates the state of a socket: the rare part of [`remember`].
#[inline(always)]
fn begin(socket: Socket) -> Option<Entry> {
    let family = kernel::<u16>(socket.sk, SK_FAMILY)?;
    if family != AF_INET && family != AF_INET6 && family != AF_UNIX {
        return None;
    }
    let protocol = kernel::<u16>(socket.sk, SK_PROTOCOL)?;
    // MPTCP and other sockets are no `struct tcp_sock`, so the probes count their bytes.
    let sequence = family != AF_UNIX && protocol == IPPROTO_TCP;
    let flags = connection::ANNOUNCED | if sequence { connection::SEQUENCE } else { 0 };
    let value = Connection { sent: 0, received: 0, flags, family, protocol };
    let _ = CONNECTIONS.insert(socket.inode, value, u64::from(BPF_NOEXIST));
    let Some(value) = CONNECTIONS.get_ptr_mut(socket.inode) else {
        emit::lose(loss::MAP_FULL, 0);
        return None;
    };
    unsafe {
        // The entry may exist already, created by user space.
        (*value).flags = flags;
        (*value).family = family;
        (*value).protocol = protocol;
    }
    Some(Entry { value, fresh: true, sequence })
}

/// Whether this side's FIN has taken a sequence number in this state.
#[inline(always)]
fn fin_sent(state: u8) -> bool {
    matches!(
        state,
        tcp_state::FIN_WAIT1 | tcp_state::FIN_WAIT2 | tcp_state::CLOSING | tcp_state::LAST_ACK | tcp_state::TIME_WAIT
    )
}

/// Positions of a TCP socket. A FIN takes a sequence number but is no byte of the stream, so it is subtracted: the
/// peer's FIN once it was read (`copied_seq` has passed it), the own FIN if `state` shows that it was queued.
#[inline(always)]
pub(crate) fn tcp_positions(sk: u64, state: u8) -> Option<Positions> {
    let mut send = kernel::<u32>(sk, TCP_WRITE_SEQ)?;
    let mut receive = kernel::<u32>(sk, TCP_COPIED_SEQ)?;
    if fin_sent(state) {
        send = send.wrapping_sub(1);
    }
    if kernel::<u64>(sk, SK_FLAGS)? & SOCK_DONE != 0 && receive == kernel::<u32>(sk, TCP_RCV_NXT)? {
        receive = receive.wrapping_sub(1);
    }
    Some(Positions { send: u64::from(send), receive: u64::from(receive) })
}

/// Current positions of a connection.
#[inline(always)]
pub(crate) fn positions(entry: &Entry, sk: u64) -> Option<Positions> {
    if entry.sequence {
        if kernel::<u8>(sk, SK_SHUTDOWN)? == 0 {
            // Nearly always there is no FIN in either direction, and two reads suffice.
            return Some(Positions {
                send: u64::from(kernel::<u32>(sk, TCP_WRITE_SEQ)?),
                receive: u64::from(kernel::<u32>(sk, TCP_COPIED_SEQ)?),
            });
        }
        return tcp_positions(sk, kernel::<u8>(sk, SK_STATE)?);
    }
    let value = entry.value;
    Some(unsafe { Positions { send: (*value).sent, receive: (*value).received } })
}

/// Sends a SOCKET event. Its contents pass through a map: a program and its callees share 512 bytes of stack, and this
/// call is the deepest.
#[inline(always)]
pub(crate) fn announce(what: Announcement) {
    if let Some(place) = ANNOUNCEMENT.get_ptr_mut(0) {
        unsafe { place.write(what) };
        // Called here because `send` would use more stack.
        unix::name_known();
        send();
    }
}

/// Sends the contents of [`ANNOUNCEMENT`].
#[inline(never)]
fn send() -> u64 {
    let Some(what) = ANNOUNCEMENT.get(0) else { return 0 };
    let Some(mut record) = EVENTS.reserve::<SocketEvent>(0) else {
        emit::lose(loss::RING_FULL, 0);
        return 0;
    };
    let event = record.as_mut_ptr();
    let sk = what.socket.sk;
    let flags = if what.sequence { flag::SEQUENCE } else { 0 };
    let family = kernel::<u16>(sk, SK_FAMILY).unwrap_or(0);
    unsafe {
        event.write(SocketEvent {
            header: emit::header(kind::SOCKET, flags, size_of::<SocketEvent>()),
            connection: what.socket.inode,
            send_position: what.positions.send,
            receive_position: what.positions.receive,
            local: [0; 16],
            remote: [0; 16],
            local_port: 0,
            remote_port: 0,
            family,
            protocol: kernel(sk, SK_PROTOCOL).unwrap_or(0),
            result: what.result,
            fd: what.fd,
            state: 0,
            origin: what.origin,
            reserved: [0; 2],
            netns: pointer(sk, SK_NET).and_then(|net| kernel(net, NET_INUM)).unwrap_or(0),
        });
        if family == AF_INET {
            write_v4(&raw mut (*event).local, kernel(sk, SK_LOCAL_V4));
            write_v4(&raw mut (*event).remote, kernel(sk, SK_REMOTE_V4));
        } else if family == AF_INET6 {
            write_v6(&raw mut (*event).local, kernel(sk, SK_LOCAL_V6));
            write_v6(&raw mut (*event).remote, kernel(sk, SK_REMOTE_V6));
        }
        if family != AF_UNIX {
            (*event).state = kernel(sk, SK_STATE).unwrap_or(0);
            (*event).local_port = kernel(sk, SK_LOCAL_PORT).unwrap_or(0);
            (*event).remote_port = u16::from_be(kernel(sk, SK_REMOTE_PORT).unwrap_or(0));
            if what.origin == origin::CONNECT && what.remote != 0 {
                write_connected(event, family, what.remote);
            }
        }
    }
    record.submit(emit::wake_flags(size_of::<SocketEvent>()));
    0
}

/// Copies the remote address from a `struct sockaddr_in` or `sockaddr_in6` in user space.
#[inline(always)]
unsafe fn write_connected(event: *mut SocketEvent, family: u16, address: u64) {
    // A v6 socket may get a v4 address and vice versa; the address in the socket is used then.
    if user::<u16>(address) != Some(family) {
        return;
    }
    unsafe {
        if let Some(port) = user::<u16>(address + 2) {
            (*event).remote_port = u16::from_be(port);
        }
        if family == AF_INET {
            write_v4(&raw mut (*event).remote, user(address + 4));
        } else {
            write_v6(&raw mut (*event).remote, user(address + 8));
        }
    }
}

#[inline(always)]
unsafe fn write_v4(place: *mut [u8; 16], address: Option<u32>) {
    if let Some(address) = address {
        unsafe { place.cast::<u32>().write(address) };
    }
}

#[inline(always)]
unsafe fn write_v6(place: *mut [u8; 16], address: Option<[u64; 2]>) {
    if let Some(address) = address {
        unsafe { place.cast::<[u64; 2]>().write(address) };
    }
}

/// State of a socket; 0 if unreadable.
#[inline(always)]
pub(crate) fn state(sk: u64) -> u8 {
    kernel_at(sk + u64::from(SK_STATE.load())).unwrap_or(0)
}
