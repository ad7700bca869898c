//! How an exchange ended, and how much of it was observed.

use strum::{IntoStaticStr, VariantNames};

use crate::model::errno;

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// Request and final response are over.
    Complete,
    /// The peer reset the connection or the stream, or a call of the target returned `ECONNRESET` or `EPIPE`.
    Reset,
    /// The serving side closed the connection before the response was whole.
    Closed,
    /// The peer refused the connection (`ECONNREFUSED`).
    Refused,
    /// The connection could not be made in time (`ETIMEDOUT`).
    ConnectTimeout,
    /// No local port or address was left to connect from (`EADDRNOTAVAIL`).
    NoLocalPort,
    /// There is no route to the network (`ENETUNREACH`, `ENETDOWN`).
    NetworkUnreachable,
    /// The host does not answer on its link, or a router reported it unreachable (`EHOSTUNREACH`, `EHOSTDOWN`).
    HostUnreachable,
    /// The process or the machine has no descriptor left (`EMFILE`, `ENFILE`).
    TooManyFiles,
    /// The connection could not be made for another reason: see the error number.
    ConnectFailed,
    /// The client gave up: it closed before the response was whole.
    ClientTimeout,
    /// The client closed while the response flowed: it had enough.
    ClosedEarly,
    /// A response without a request: a 408 or 400 on an idle connection.
    Unsolicited,
    /// The answer is not HTTP.
    NotHttp,
    /// The exchange was pending when tracing ended.
    InFlight,
    /// The response was 101, or 2xx to CONNECT: the connection now carries another protocol.
    Upgraded,
}

impl Outcome {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// A remark to show beside the status; `None` where the status says it all.
    pub fn remark(self) -> Option<&'static str> {
        match self {
            Self::Upgraded => Some("upgraded"),
            Self::ClosedEarly => Some("closed early"),
            Self::Unsolicited => Some("unasked"),
            _ => None,
        }
    }

    /// A word to show in place of the status, at most seven columns wide; `None` where the status says it all.
    pub fn word(self) -> Option<&'static str> {
        Some(match self {
            Self::Complete | Self::Upgraded | Self::ClosedEarly | Self::Unsolicited => return None,
            Self::Reset => "RESET",
            Self::Closed => "CLOSED",
            Self::Refused => "REFUSED",
            Self::ConnectTimeout | Self::ConnectFailed => "NO CONN",
            Self::NoLocalPort => "NO PORT",
            Self::NetworkUnreachable => "NO NET",
            Self::HostUnreachable => "NO HOST",
            Self::TooManyFiles => "NO FDS",
            Self::ClientTimeout => "GAVE UP",
            Self::NotHttp => "NO HTTP",
            Self::InFlight => "OPEN",
        })
    }

    /// The reason for a failed connect, in words for a person; `None` for the other outcomes.
    pub fn no_connection(self) -> Option<&'static str> {
        Some(match self {
            Self::Refused => "no server listens there",
            Self::ConnectTimeout => "the connection could not be established in time",
            Self::NoLocalPort => "no local port is free to connect from",
            Self::NetworkUnreachable => "there is no route to the network",
            Self::HostUnreachable => "the host is unreachable",
            Self::TooManyFiles => "no file descriptor is free",
            Self::ConnectFailed => "the connection could not be established",
            _ => return None,
        })
    }

    /// The outcome of a connect that returned this error number.
    pub fn of_connect(error: i32) -> Self {
        match error {
            errno::ENFILE | errno::EMFILE => Self::TooManyFiles,
            errno::EADDRNOTAVAIL => Self::NoLocalPort,
            errno::ENETDOWN | errno::ENETUNREACH => Self::NetworkUnreachable,
            errno::ECONNRESET => Self::Reset,
            errno::ETIMEDOUT => Self::ConnectTimeout,
            errno::ECONNREFUSED => Self::Refused,
            errno::EHOSTDOWN | errno::EHOSTUNREACH => Self::HostUnreachable,
            _ => Self::ConnectFailed,
        }
    }
}

/// How much of an exchange was observed. Ordered: a greater quality is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Quality {
    /// Every byte was observed.
    Whole,
    /// Every byte was observed, but a message ended before its framing said so.
    Cut,
    /// Every byte was observed, but the framing of a message is invalid or does not cover all bytes.
    Unframed,
    /// Bytes of a body are missing; sizes are exact.
    BodyGap,
    /// The exchange began before tracing.
    JoinedLate,
    /// Bytes of a head or of the framing are missing; fields that depend on them are absent.
    HeaderGap,
}

impl Quality {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
