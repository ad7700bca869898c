//! Phase of the call, the party that does not move, and the reason.

use strum::IntoStaticStr;

/// Phase of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Phase {
    /// A name is being resolved.
    Dns,
    /// The connection is being established.
    Connect,
    /// The TLS handshake is in progress.
    Tls,
    /// The message to the peer is incomplete.
    Send,
    /// The request was sent, and no part of the response has arrived.
    Wait,
    /// The message from the peer is incomplete.
    Receive,
    /// The target has the request and has not responded.
    Serve,
}

impl Phase {
    /// Name in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Party that does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum WaitingOn {
    /// The peer's application: its host has acknowledged everything that was sent.
    PeerApplication,
    /// The peer's host, which accepts no more bytes.
    PeerHost,
    /// The network, or the peer's host is gone. This side cannot tell them apart.
    Network,
    /// The traced process.
    ThisProcess,
    /// The evidence does not suffice.
    Unknown,
}

impl WaitingOn {
    /// Name in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Description for the user.
    pub fn words(self) -> &'static str {
        match self {
            Self::PeerApplication => "the peer's application",
            Self::PeerHost => "the peer's host",
            Self::Network => "the network",
            Self::ThisProcess => "this process",
            Self::Unknown => "an unknown party",
        }
    }
}

/// Evidence for the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// No name server responds.
    QueryUnanswered,
    /// The SYN is unanswered.
    SynUnanswered,
    /// Bytes in flight are retransmitted again and again.
    Unacknowledged,
    /// The peer's window is zero.
    ZeroWindow,
    /// Everything was acknowledged, and nothing has arrived.
    Unanswered,
    /// The request waits for `100 Continue`.
    NoContinue,
    /// The client waits for `100 Continue`, which the target does not send.
    ContinueNotSent,
    /// A part of the response has arrived, then nothing.
    BodyStalled,
    /// A part of a request has arrived, then nothing.
    RequestStalled,
    /// The receive queue holds bytes.
    Unread,
    /// The peer has closed, and the target does not react.
    CloseUnnoticed,
    /// The target stopped within its request.
    RequestUnwritten,
    /// The target stopped within its response.
    ResponseUnwritten,
    /// The target has the request and has not started to respond.
    NotServed,
    /// The evidence does not suffice.
    Unknown,
}

impl Reason {
    /// Name in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
