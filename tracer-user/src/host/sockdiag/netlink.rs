//! A `sock_diag` socket in a network namespace, with single queries and dumps.
//!
//! `netlink-packet-core` does the framing. rustix, which this program already uses, provides the socket.

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

/// Size of the receive buffer. The kernel fills at most 32 KiB per part of a dump, however large the buffer.
const BUFFER_SIZE: usize = 32 * 1024;

/// Receive timeout. Dumps are answered at once, so longer silence is a fault.
const SILENCE: Duration = Duration::from_secs(5);

/// A `sock_diag` socket. It stays in the namespace in which it was opened, independent of its user and of the process
/// that the namespace was reached by.
#[derive(Debug)]
pub(super) struct DiagSocket {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl DiagSocket {
    /// Opens a socket in the network namespace of the file `/proc/PID/ns/net`.
    pub(super) fn open(namespace: &File) -> io::Result<Self> {
        let own = std::fs::metadata("/proc/thread-self/ns/net")?.ino();
        let socket = if namespace.metadata()?.ino() == own {
            open_here()?
        } else {
            let namespace = namespace.try_clone()?;
            // A temporary thread, so that no other code ever runs in the target's namespace.
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

    /// Queries a single socket and passes the response to `take`. Returns whether the socket exists.
    pub(super) fn one(&mut self, request: SockDiagMessage, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
        self.send(request, NLM_F_REQUEST)?;
        let (length, _) = recv(&self.socket, &mut self.buffer[..], RecvFlags::empty())?;
        match take_messages(&self.buffer[..length], &mut take) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            // The addresses and ports belong to another socket now.
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

    /// Dumps the sockets that match `request` and passes each response to `take`.
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

/// Passes the responses in one datagram to `take`. Returns whether the dump is complete.
fn take_messages(mut bytes: &[u8], take: &mut impl FnMut(&[u8])) -> io::Result<bool> {
    while !bytes.is_empty() {
        let message = NetlinkBuffer::new_checked(bytes).map_err(io::Error::other)?;
        match message.message_type() {
            DONE => return code(message.payload()).map(|()| true),
            ERROR => return code(message.payload()).map(|()| true),
            _ => take(message.payload()),
        }
        // Messages are padded to four bytes, except possibly the last.
        let whole = (message.length() as usize).next_multiple_of(4);
        bytes = bytes.get(whole..).unwrap_or_default();
    }
    Ok(false)
}

/// Result of the errno at the start of `ERROR` and `DONE` messages.
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
        // A datagram cut anywhere gives an error or an early end, but no panic.
        let whole = [message(20, b"one"), message(DONE, &[0; 4])].concat();
        for end in 0..whole.len() {
            let _ = taken(&whole[..end]);
        }
    }
}
