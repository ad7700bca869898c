//! Connections: the sockets that carry exchanges.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use strum::{IntoStaticStr, VariantNames};

use crate::event::{SocketInode, Timestamp};

/// Number of a connection in this trace: 1, 2, 3 in the order in which they became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// TCP over IPv4 or IPv6. A v4-mapped IPv6 address is an IPv4 address here.
    Inet(SocketAddr),
    /// A Unix stream socket: its path, or an abstract name with a leading `@`. Empty for an unnamed socket.
    Unix(String),
    /// An address that was not observed.
    Unknown,
}

impl Endpoint {
    /// Reads the address bytes of an event. `family` is `AF_*`; an unknown family gives [`Endpoint::Unknown`].
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

/// Role of the target on a connection, or in an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Role {
    /// The target sends requests.
    Client,
    /// The target answers requests.
    Server,
}

impl Role {
    /// Name in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
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

/// Protocol on a connection, as far as its bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Protocol {
    /// No byte was observed yet, or none that decides.
    Unknown,
    /// HTTP/1.0 or HTTP/1.1.
    #[strum(serialize = "http/1.1")]
    Http1,
    /// HTTP/0.9: a request line without a version.
    #[strum(serialize = "http/0.9")]
    Http09,
    /// HTTP/2, by its connection preface. Its exchanges are not rebuilt.
    #[strum(serialize = "h2")]
    Http2,
    /// A TLS record; the contents are encrypted.
    Tls,
    /// SSH, by its banner.
    Ssh,
    /// SHOUTcast: the answer begins with `ICY` instead of a version of HTTP.
    Icy,
    /// WebSocket, after an upgrade from HTTP/1.1.
    WebSocket,
    /// Bytes after CONNECT or another upgrade.
    Tunnel,
    /// None of the protocols above.
    Other,
}

impl Protocol {
    /// The name in JSON (`connection.protocol`): OpenTelemetry's `network.protocol.name` with version.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A TLS session on a connection. A part that the handshake did not show is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Version: `1.2`, `1.3`.
    pub version: Option<&'static str>,
    /// Cipher suite, by its name at IANA.
    pub cipher: Option<&'static str>,
    /// Server name that the client asked for (RFC 6066 section 3).
    pub sni: Option<Box<str>>,
    /// Protocol that both sides agreed on (RFC 7301).
    pub alpn: Option<Box<str>>,
    /// Library that the target uses.
    pub library: Option<Box<str>>,
    /// Source of the session's secrets.
    pub secrets: Option<Box<str>>,
    /// Reason why the session is not decrypted.
    pub reason: Option<Box<str>>,
}

/// Facts about a connection that outputs show. Exchanges on the connection share it; a change makes a new value.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Number in this trace.
    pub id: ConnectionId,
    /// Inode number of the socket.
    pub inode: SocketInode,
    /// Address of the target's end.
    pub local: Endpoint,
    /// Address of the peer.
    pub remote: Endpoint,
    /// `local` as text.
    pub local_text: Box<str>,
    /// `remote` as text.
    pub remote_text: Box<str>,
    /// The client behind a load balancer, as a header of the PROXY protocol names it.
    pub client: Option<Box<str>>,
    /// The destination that a SOCKS proxy connects to.
    pub destination: Option<Box<str>>,
    /// The TLS session; `None` where the connection carries clear text, or nothing of TLS was observed.
    pub tls: Option<Box<Tls>>,
    /// The protocol on the connection.
    pub protocol: Protocol,
    /// Time of the connect or accept; `None` where that was before tracing.
    pub opened: Option<Timestamp>,
}

impl ConnectionInfo {
    /// Sets the protocol of a shared connection: exchanges that hold the previous value keep it.
    pub fn set_protocol(shared: &mut Arc<Self>, protocol: Protocol) {
        if shared.protocol != protocol {
            *shared = Arc::new(Self { protocol, ..(**shared).clone() });
        }
    }

    /// A connection of which only the socket is known.
    pub fn new(id: ConnectionId, inode: SocketInode) -> Self {
        let unknown = || Box::from("?");
        Self {
            id,
            inode,
            local: Endpoint::Unknown,
            remote: Endpoint::Unknown,
            local_text: unknown(),
            remote_text: unknown(),
            client: None,
            destination: None,
            tls: None,
            protocol: Protocol::Unknown,
            opened: None,
        }
    }

    /// Whether the socket is a Unix socket.
    pub fn is_unix(&self) -> bool {
        matches!(self.local, Endpoint::Unix(_)) || matches!(self.remote, Endpoint::Unix(_))
    }
}
