//! A connection of a test program. The tracee has implementations with other system calls.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Duration,
};

use crate::truth::Content;

/// A stream with replaceable calls.
pub trait Transport: Read + Write + Send {
    /// Local and remote address; empty for Unix sockets.
    fn addresses(&self) -> (String, String);

    /// Sends the start line and the header section of a message.
    ///
    /// # Errors
    ///
    /// The call fails.
    fn send_head(&mut self, head: &[u8], _more: bool) -> io::Result<()> {
        self.write_all(head)
    }

    /// Sends (part of) a body.
    ///
    /// # Errors
    ///
    /// The call fails.
    fn send_body(&mut self, body: &[u8]) -> io::Result<()> {
        self.write_all(body)
    }

    /// Receives a body of this length by a special call; `None` if the transport has none.
    ///
    /// # Errors
    ///
    /// The call fails.
    fn receive_body(&mut self, _length: u64) -> io::Result<Option<Content>> {
        Ok(None)
    }

    /// Makes the next close an RST.
    ///
    /// # Errors
    ///
    /// The call fails.
    fn reset_on_close(&self) -> io::Result<()>;

    /// Bytes per read.
    fn read_size(&self) -> usize {
        64 * 1024
    }
}

impl Transport for TcpStream {
    fn addresses(&self) -> (String, String) {
        let text = |address: io::Result<std::net::SocketAddr>| address.map(address_text).unwrap_or_default();
        (text(self.local_addr()), text(self.peer_addr()))
    }

    fn reset_on_close(&self) -> io::Result<()> {
        Ok(rustix::net::sockopt::set_socket_linger(self, Some(Duration::ZERO))?)
    }
}

impl Transport for UnixStream {
    fn addresses(&self) -> (String, String) {
        (String::new(), String::new())
    }

    fn reset_on_close(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Formats an address like pidtap, which writes a v4-mapped address as IPv4.
pub fn address_text(address: std::net::SocketAddr) -> String {
    std::net::SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}
