//! A `sock_diag` socket in a network namespace, and dumps over it.
//!
//! Framing is `netlink-packet-core`'s; the socket itself is rustix's, which this program has already.

use std::{fs::File, io, os::unix::fs::MetadataExt as _, thread, time::Duration};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use rustix::{
    fd::{AsFd as _, OwnedFd},
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

/// `NLMSG_ERROR` of `include/uapi/linux/netlink.h`.
const ERROR: u16 = 2;
/// `NLMSG_DONE`.
const DONE: u16 = 3;

/// The kernel fills at most 32 KiB of a dump at once, however large the buffer.
const BUFFER_SIZE: usize = 32 * 1024;

/// A dump answers at once; silence for this long is a fault.
const SILENCE: Duration = Duration::from_secs(5);

/// A `sock_diag` socket. It stays in the namespace in which it was opened, whoever uses it and whatever becomes of the
/// process by which the namespace was reached.
#[derive(Debug)]
pub(super) struct DiagSocket {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl DiagSocket {
    /// Opens one in the namespace that `namespace` (a file `/proc/PID/ns/net`) is.
    pub(super) fn open(namespace: &File) -> io::Result<Self> {
        let own = std::fs::metadata("/proc/thread-self/ns/net")?.ino();
        let socket = if namespace.metadata()?.ino() == own {
            open_here()?
        } else {
            let namespace = namespace.try_clone()?;
            // A thread of its own, which ends: no other code ever runs in the target's namespace.
            thread::Builder::new()
                .name("netns".to_owned())
                .spawn(move || {
                    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                    open_here()
                })?
                .join()
                .map_err(|_| io::Error::other("the thread that enters the namespace failed"))??
        };
        Ok(Self { socket, buffer: vec![0; BUFFER_SIZE] })
    }

    /// Asks for the one socket that `request` means and hands the answer to `take`; whether there is such a socket.
    pub(super) fn one(&mut self, request: SockDiagMessage, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
        self.send(request, NLM_F_REQUEST)?;
        let (length, _) = recv(&self.socket, &mut self.buffer[..], RecvFlags::empty())?;
        match take_messages(&self.buffer[..length], &mut take) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            // Addresses and ports are another socket's by now.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::STALE.raw_os_error()) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn send(&mut self, request: SockDiagMessage, flags: u16) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        sendto(&self.socket, &bytes, SendFlags::empty(), &netlink::SocketAddrNetlink::new(0, 0))?;
        Ok(())
    }

    /// Asks for all sockets that `request` means and hands each answer to `take`.
    pub(super) fn dump(&mut self, request: SockDiagMessage, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        self.send(request, NLM_F_REQUEST | NLM_F_DUMP)?;
        loop {
            let (length, _) = recv(&self.socket, &mut self.buffer[..], RecvFlags::empty())?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if take_messages(&self.buffer[..length], &mut take)? {
                return Ok(());
            }
        }
    }
}

fn open_here() -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(SILENCE))?;
    Ok(socket)
}

/// Hands the answers in one datagram to `take`; whether it was the last.
fn take_messages(mut bytes: &[u8], take: &mut impl FnMut(&[u8])) -> io::Result<bool> {
    while !bytes.is_empty() {
        let message = NetlinkBuffer::new_checked(bytes).map_err(io::Error::other)?;
        match message.message_type() {
            DONE => return code(message.payload()).map(|()| true),
            ERROR => return code(message.payload()).map(|()| true),
            _ => take(message.payload()),
        }
        // Messages are padded to four bytes; the last need not be.
        let whole = (message.length() as usize).next_multiple_of(4);
        bytes = bytes.get(whole..).unwrap_or_default();
    }
    Ok(false)
}

/// The error number with which `ERROR` and `DONE` begin.
fn code(payload: &[u8]) -> io::Result<()> {
    match payload.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)) {
        Some(code) if code < 0 => Err(io::Error::from_raw_os_error(-code)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn taken(bytes: &[u8]) -> (io::Result<bool>, Vec<Vec<u8>>) {
        let mut all = Vec::new();
        let result = take_messages(bytes, &mut |payload| all.push(payload.to_vec()));
        (result, all)
    }

    #[test]
    fn messages_are_taken_apart_until_the_end() {
        let bytes = [message(20, b"one"), message(20, b"four"), message(DONE, &[0; 4])].concat();
        let (result, all) = taken(&bytes);
        assert!(result.expect("no error"));
        assert_eq!(all, [b"one".to_vec(), b"four".to_vec()]);
        assert!(!taken(&message(20, b"x")).0.expect("more is to come"));
    }

    #[test]
    fn errors_of_the_kernel_come_through() {
        let error = taken(&message(ERROR, &(-2i32).to_ne_bytes())).0.expect_err("ENOENT");
        assert_eq!(error.raw_os_error(), Some(2));
        // Cut anywhere, a datagram is an error or ends early; never a panic.
        let whole = [message(20, b"one"), message(DONE, &[0; 4])].concat();
        for end in 0..whole.len() {
            let _ = taken(&whole[..end]);
        }
    }
}
