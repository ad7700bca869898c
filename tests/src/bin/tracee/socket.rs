//! A stream socket that moves bytes by the system calls of a mode.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{MemfdFlags, memfd_create, sendfile},
    io::{ReadWriteFlags, preadv2, pwritev2, read, readv, write, writev},
    net::{RecvFlags, SendFlags, SocketAddrAny, recv, recvmsg, send, sendmsg},
    pipe::{PipeFlags, SpliceFlags, pipe_with, splice},
};
use sha2::{Digest as _, Sha256};
use tracer_tests::{
    transport::{Transport, address_text},
    truth::Content,
};

use crate::sys::{self, Ring};

/// The system calls that move bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `read`, `write`.
    Plain,
    /// `write` of one byte, `read` of one byte.
    OneByte,
    /// `send`, and `recv` with `MSG_PEEK` before each `recv`.
    Peek,
    /// `sendmsg`, `recvmsg` with many vectors.
    Message,
    /// `sendmmsg`, `recvmmsg`.
    Messages,
    /// `writev`, `readv` with many vectors.
    Vectors,
    /// `pwritev2`, `preadv2`.
    Positioned,
    /// The head with `MSG_MORE`.
    More,
    /// The body by `sendfile`.
    Sendfile,
    /// The body by `splice` through a pipe, both ways.
    Splice,
    /// The received body by `recv` with `MSG_TRUNC` and no buffer.
    Discard,
    /// Another call each time.
    Mixed,
    /// io_uring.
    Uring,
}

impl Mode {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "plain" => Self::Plain,
            "one-byte" => Self::OneByte,
            "peek" => Self::Peek,
            "message" => Self::Message,
            "messages" => Self::Messages,
            "vectors" => Self::Vectors,
            "positioned" => Self::Positioned,
            "more" => Self::More,
            "sendfile" => Self::Sendfile,
            "splice" => Self::Splice,
            "discard" => Self::Discard,
            "mixed" => Self::Mixed,
            "uring" => Self::Uring,
            _ => return None,
        })
    }
}

/// The modes that [`Mode::Mixed`] alternates.
const ROUND: [Mode; 6] = [Mode::Plain, Mode::Message, Mode::Messages, Mode::Vectors, Mode::Positioned, Mode::Peek];

/// The socket.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    mode: Mode,
    turn: usize,
    ring: Option<Ring>,
}

impl Socket {
    pub(crate) fn new(fd: OwnedFd, mode: Mode) -> io::Result<Self> {
        let ring = if mode == Mode::Uring { Some(Ring::new()?) } else { None };
        Ok(Self { fd, mode, turn: 0, ring })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn next_mode(&mut self) -> Mode {
        if self.mode != Mode::Mixed {
            return self.mode;
        }
        self.turn += 1;
        ROUND[self.turn % ROUND.len()]
    }
}

/// Pieces of prime length, whose boundaries fall everywhere.
const PIECE: usize = 97;
/// Upper bound for the vectors of a call.
const VECTORS: usize = 64;

fn slices(bytes: &[u8]) -> Vec<IoSlice<'_>> {
    // The last slice takes the rest, unless the rest is too much for a call.
    bytes.chunks(PIECE.max(bytes.len() / (VECTORS - 1) + 1)).map(IoSlice::new).collect()
}

fn slices_mut(bytes: &mut [u8]) -> Vec<IoSliceMut<'_>> {
    let size = PIECE.max(bytes.len() / (VECTORS - 1) + 1);
    bytes.chunks_mut(size).map(IoSliceMut::new).collect()
}

/// No position: that of the stream.
const HERE: u64 = u64::MAX;

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mode = self.next_mode();
        let fd = self.fd.as_fd();
        Ok(match mode {
            Mode::Peek => {
                let (_, peeked) = recv(fd, &mut buffer[..], RecvFlags::PEEK)?;
                if peeked == 0 {
                    return Ok(0);
                }
                // Less than the peeked bytes: the rest is peeked and received again.
                let take = peeked.div_ceil(2);
                recv(fd, &mut buffer[..take], RecvFlags::empty())?.1
            }
            Mode::Message => {
                let mut control = rustix::net::RecvAncillaryBuffer::default();
                recvmsg(fd, &mut slices_mut(buffer), &mut control, RecvFlags::empty())?.bytes
            }
            Mode::Messages => sys::recvmmsg(fd, buffer)?,
            Mode::Vectors => readv(fd, &mut slices_mut(buffer))?,
            Mode::Positioned => preadv2(fd, &mut slices_mut(buffer), HERE, ReadWriteFlags::empty())?,
            Mode::More => recv(fd, &mut buffer[..], RecvFlags::empty())?.1,
            Mode::Uring => match &mut self.ring {
                Some(ring) => ring.receive(self.fd.as_fd(), buffer)?,
                None => return Err(io::Error::other("no ring")),
            },
            _ => read(fd, buffer)?,
        })
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mode = self.next_mode();
        let fd = self.fd.as_fd();
        Ok(match mode {
            Mode::OneByte => write(fd, &bytes[..bytes.len().min(1)])?,
            Mode::Peek | Mode::More => send(fd, bytes, SendFlags::NOSIGNAL)?,
            Mode::Message => {
                let mut control = rustix::net::SendAncillaryBuffer::default();
                sendmsg(fd, &slices(bytes), &mut control, SendFlags::NOSIGNAL)?
            }
            Mode::Messages => {
                let size = bytes.len().div_ceil(8).max(1);
                sys::sendmmsg(fd, &bytes.chunks(size).collect::<Vec<_>>())?
            }
            Mode::Vectors => writev(fd, &slices(bytes))?,
            Mode::Positioned => pwritev2(fd, &slices(bytes), HERE, ReadWriteFlags::empty())?,
            Mode::Uring => match &mut self.ring {
                Some(ring) => ring.send(self.fd.as_fd(), bytes)?,
                None => return Err(io::Error::other("no ring")),
            },
            _ => write(fd, bytes)?,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn inet(address: Option<SocketAddrAny>) -> String {
    address.and_then(|address| SocketAddr::try_from(address).ok()).map(address_text).unwrap_or_default()
}

impl Transport for Socket {
    fn addresses(&self) -> (String, String) {
        let own = rustix::net::getsockname(&self.fd).ok();
        let other = rustix::net::getpeername(&self.fd).ok().flatten();
        (inet(own), inet(other))
    }

    fn send_head(&mut self, head: &[u8], more: bool) -> io::Result<()> {
        if self.mode == Mode::More && more {
            let sent = send(&self.fd, head, SendFlags::MORE | SendFlags::NOSIGNAL)?;
            return self.write_all(&head[sent..]);
        }
        self.write_all(head)
    }

    fn send_body(&mut self, body: &[u8]) -> io::Result<()> {
        match self.mode {
            Mode::Sendfile => {
                let file = memfd_create("body", MemfdFlags::CLOEXEC)?;
                write_all(&file, body)?;
                let mut offset = 0;
                while (offset as usize) < body.len() {
                    let left = body.len() - offset as usize;
                    sendfile(&self.fd, &file, Some(&mut offset), left)?;
                }
                Ok(())
            }
            Mode::Splice => {
                let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
                // A pipe holds at least 64 KiB: fewer bytes never block.
                for piece in body.chunks(32 * 1024) {
                    write_all(&writer, piece)?;
                    let mut left = piece.len();
                    while left > 0 {
                        left -= splice(&reader, None, &self.fd, None, left, SpliceFlags::empty())?;
                    }
                }
                Ok(())
            }
            _ => self.write_all(body),
        }
    }

    fn receive_body(&mut self, length: u64) -> io::Result<Option<Content>> {
        match self.mode {
            Mode::Discard => {
                let mut left = length as usize;
                while left > 0 {
                    let count = sys::discard(self.fd.as_fd(), left)?;
                    if count == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    left -= count;
                }
                Ok(Some(Content { bytes: length, ..Content::default() }))
            }
            Mode::Splice => {
                let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
                let mut digest = Sha256::new();
                let mut left = length as usize;
                let mut buffer = vec![0; 32 * 1024];
                while left > 0 {
                    let count = splice(&self.fd, None, &writer, None, left.min(buffer.len()), SpliceFlags::empty())?;
                    if count == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    left -= count;
                    let mut from_pipe = count;
                    while from_pipe > 0 {
                        let count = read(&reader, &mut buffer[..from_pipe])?;
                        digest.update(&buffer[..count]);
                        from_pipe -= count;
                    }
                }
                Ok(Some(Content::digested(length, digest)))
            }
            _ => Ok(None),
        }
    }

    fn reset_on_close(&self) -> io::Result<()> {
        Ok(rustix::net::sockopt::set_socket_linger(&self.fd, Some(std::time::Duration::ZERO))?)
    }

    fn read_size(&self) -> usize {
        match self.mode {
            // Reads no byte of a body with the head.
            Mode::OneByte | Mode::Splice | Mode::Discard => 1,
            _ => 64 * 1024,
        }
    }
}

fn write_all(fd: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = write(fd, bytes)?;
        bytes = &bytes[count..];
    }
    Ok(())
}
