//! Connections: what is known of the socket behind an exchange.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::event::{SocketInode, Timestamp};

/// Number of a connection in this trace: 1, 2, 3 in the order in which they became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// TCP over IPv4 or IPv6; a v4-mapped IPv6 address is given as IPv4.
    Inet(SocketAddr),
    /// A Unix stream socket with its path (abstract names with a leading `@`), empty where it has none.
    Unix(String),
    /// Not known.
    Unknown,
}

impl Endpoint {
    /// From the address bytes of an event. `family` is `AF_*`; unknown families give [`Endpoint::Unknown`].
    pub fn from_wire(family: u16, address: [u8; 16], port: u16) -> Self {
        match family {
            AF_INET => {
                let [a, b, c, d, ..] = address;
                Self::Inet(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port))
            }
            AF_INET6 => Self::Inet(SocketAddr::new(Ipv6Addr::from(address).to_canonical(), port)),
            AF_UNIX => Self::Unix(String::new()),
            _ => Self::Unknown,
        }
    }
}

/// `AF_UNIX` of `include/linux/socket.h`.
pub const AF_UNIX: u16 = 1;
/// `AF_INET` of `include/linux/socket.h`.
pub const AF_INET: u16 = 2;
/// `AF_INET6` of `include/linux/socket.h`.
pub const AF_INET6: u16 = 10;

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) if path.is_empty() => f.write_str("unix"),
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Unknown => f.write_str("?"),
        }
    }
}

/// What the target is on this connection, or in this exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The target sends requests.
    Client,
    /// The target answers requests.
    Server,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The peer closed (FIN).
    ByPeer,
    /// The target closed.
    ByTarget,
    /// The peer reset it (RST), or a call returned an error that says so.
    Reset,
    /// The target reset it.
    ResetByTarget,
    /// Tracing ended first.
    Unfinished,
}

/// What a connection carries, as far as its bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Nothing seen yet, or nothing that decides.
    Unknown,
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2 by its connection preface; not rebuilt.
    Http2,
    /// HTTP/0.9: a request line without a version.
    Http09,
    /// SSH, by its banner.
    Ssh,
    /// SHOUTcast: an answer that begins with `ICY` instead of a version of HTTP.
    Icy,
    /// A TLS record; the contents are encrypted.
    Tls,
    /// HTTP/1.1 upgraded to WebSocket.
    WebSocket,
    /// After CONNECT or another upgrade: bytes that are not HTTP.
    Tunnel,
    /// Bytes that no protocol above begins with.
    Other,
}

impl Protocol {
    /// The name in JSON (`connection.protocol`): OpenTelemetry's `network.protocol.name` with version.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
            Self::Http09 => "http/0.9",
            Self::Ssh => "ssh",
            Self::Icy => "icy",
            Self::Tls => "tls",
            Self::WebSocket => "websocket",
            Self::Tunnel => "tunnel",
            Self::Other => "other",
        }
    }
}

/// What outputs say of a connection. Shared by the exchanges that it carried; a new value is made when it changes.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Number in this trace.
    pub id: ConnectionId,
    /// The socket.
    pub inode: SocketInode,
    /// The target's end.
    pub local: Endpoint,
    /// The other end.
    pub remote: Endpoint,
    /// `local` as text.
    pub local_text: Box<str>,
    /// `remote` as text.
    pub remote_text: Box<str>,
    /// Whom a balancer made it for, where a header of the PROXY protocol says so.
    pub client: Option<Box<str>>,
    /// Where a SOCKS proxy was asked to lead it.
    pub destination: Option<Box<str>>,
    /// What it carries.
    pub protocol: Protocol,
    /// When it was opened; `None` where that was before tracing.
    pub opened: Option<Timestamp>,
}

impl ConnectionInfo {
    /// It is a Unix socket.
    pub fn is_unix(&self) -> bool {
        matches!(self.local, Endpoint::Unix(_)) || matches!(self.remote, Endpoint::Unix(_))
    }
}
