//! The life of a connection.
//!
//! ```text
//! opening:               SYN_SENT, connect()           ESTABLISHED, accept()
//!            Existing ----------------------> Connecting --------------------> Up
//!                                                 |
//!                                                 +---- connect failed ------> Failed (and over)
//!
//! closing:               FIN, RST, last descriptor gone           REORDER_WAIT_NS
//!            Open ------------------------------------> Ending ------------------> Over
//!                <---- shutdown(SHUT_WR) alone --------
//! ```
//!
//! The two are independent: a connection that existed before tracing never opens, and one that fails to open is over at
//! once. Events that arrive late find the connection `Over` for a moment before it is forgotten.

use crate::{
    event::{Timestamp, wire::tcp_state},
    model::{
        connection::{Ending, Role},
        errno,
    },
};

/// How far a connection is, and how it ended. Only the methods change it.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Life {
    opening: Opening,
    closing: Closing,
    /// TCP state in the latest event; 0 while unknown.
    pub(in crate::engine) tcp_state: u8,
    /// The connection existed when tracing began.
    found: bool,
    /// The peer's FIN arrived.
    peer_closed: bool,
    /// An RST arrived, or a call returned an error that says so.
    reset: bool,
    /// The first error that a call on it returned.
    error: Option<i32>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Opening {
    /// It existed before tracing, or the events of its opening were lost.
    #[default]
    Existing,
    Connecting {
        start: Timestamp,
        /// Detectors know.
        reported: bool,
        /// The connect failed, but the call that tells the address has not returned yet.
        failure: Option<ConnectFailure>,
    },
    Up {
        connect_start: Option<Timestamp>,
        /// Detectors know. They learn of it once the call that tells the address has returned.
        reported: bool,
    },
    Failed {
        start: Timestamp,
    },
}

#[derive(Clone, Copy, Debug, Default)]
enum Closing {
    #[default]
    Open,
    Ending(End),
    Over {
        at: Timestamp,
        /// `None` where the connection never opened.
        how: Option<Ending>,
    },
}

/// A failed connect: its error number, if known, and when.
pub(in crate::engine) type ConnectFailure = (Option<i32>, Timestamp);

/// How a connection seems to end.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct End {
    /// Time of the first sign.
    pub(in crate::engine) since: Timestamp,
    pub(in crate::engine) how: Ending,
    /// Positions of both directions at that time: sent, received.
    pub(in crate::engine) positions: Option<(u64, u64)>,
}

impl Life {
    /// Whether it is neither over nor failed to open.
    pub(in crate::engine) fn is_open(&self) -> bool {
        !self.is_over() && !self.has_failed()
    }

    pub(in crate::engine) fn is_over(&self) -> bool {
        matches!(self.closing, Closing::Over { .. })
    }

    /// Time at which it was over.
    pub(in crate::engine) fn over(&self) -> Option<Timestamp> {
        if let Closing::Over { at, .. } = self.closing { Some(at) } else { None }
    }

    /// How it ended, once it is over.
    pub(in crate::engine) fn ended(&self) -> Option<Ending> {
        if let Closing::Over { how, .. } = self.closing { how } else { None }
    }

    /// How it seems to end, before it is over.
    pub(in crate::engine) fn ending(&self) -> Option<End> {
        if let Closing::Ending(end) = self.closing { Some(end) } else { None }
    }

    pub(in crate::engine) fn is_up(&self) -> bool {
        matches!(self.opening, Opening::Up { .. })
    }

    pub(in crate::engine) fn has_failed(&self) -> bool {
        matches!(self.opening, Opening::Failed { .. })
    }

    /// Time at which the target began to connect, if it did so while traced.
    pub(in crate::engine) fn connect_start(&self) -> Option<Timestamp> {
        match self.opening {
            Opening::Existing => None,
            Opening::Connecting { start, .. } | Opening::Failed { start } => Some(start),
            Opening::Up { connect_start, .. } => connect_start,
        }
    }

    pub(in crate::engine) fn is_found(&self) -> bool {
        self.found
    }

    pub(in crate::engine) fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    pub(in crate::engine) fn error(&self) -> Option<i32> {
        self.error
    }

    /// Whether the next tick must report the result of a connect.
    pub(in crate::engine) fn awaits_report(&self) -> bool {
        matches!(self.opening, Opening::Connecting { failure: Some(_), .. } | Opening::Up { reported: false, .. })
    }

    /// Marks a connection that existed when tracing began. Tells whether that is new.
    pub(in crate::engine) fn find(&mut self) -> bool {
        !std::mem::replace(&mut self.found, true)
    }

    /// The target connects.
    pub(in crate::engine) fn connect(&mut self, time: Timestamp) {
        if let Opening::Existing = self.opening {
            self.opening = Opening::Connecting { start: time, reported: false, failure: None };
        }
    }

    /// Tells whether detectors do not know yet that the target connects. They do afterwards.
    pub(in crate::engine) fn report_connecting(&mut self) -> bool {
        match &mut self.opening {
            Opening::Connecting { reported, .. } => !std::mem::replace(reported, true),
            _ => false,
        }
    }

    /// The connect failed, and the call that tells the address has not returned yet.
    pub(in crate::engine) fn delay_failure(&mut self, error: Option<i32>, time: Timestamp) {
        self.connect(time);
        if let Opening::Connecting { failure, .. } = &mut self.opening {
            *failure = Some((error, time));
        }
    }

    /// Takes a failure whose report was delayed.
    pub(in crate::engine) fn take_failure(&mut self) -> Option<ConnectFailure> {
        if let Opening::Connecting { failure, .. } = &mut self.opening { failure.take() } else { None }
    }

    /// The connect failed at `time`, which ends the connection. Gives the time at which it began; `None` where the
    /// connection is up or has failed before.
    pub(in crate::engine) fn fail(&mut self, time: Timestamp) -> Option<Timestamp> {
        let start = match self.opening {
            Opening::Existing => time,
            Opening::Connecting { start, .. } => start,
            Opening::Up { .. } | Opening::Failed { .. } => return None,
        };
        self.opening = Opening::Failed { start };
        self.closing = Closing::Over { at: time, how: None };
        Some(start)
    }

    /// The connection was accepted, or made as one of a pair.
    pub(in crate::engine) fn accept(&mut self) {
        self.opening = Opening::Up { connect_start: self.connect_start(), reported: true };
    }

    /// The connection is up. Tells whether that is new.
    pub(in crate::engine) fn establish(&mut self) -> bool {
        if self.is_up() {
            return false;
        }
        self.opening = Opening::Up { connect_start: self.connect_start(), reported: false };
        true
    }

    /// Tells whether detectors do not know yet that the connection is up. They do afterwards.
    pub(in crate::engine) fn report_up(&mut self) -> bool {
        match &mut self.opening {
            Opening::Up { reported, .. } => !std::mem::replace(reported, true),
            _ => false,
        }
    }

    /// The peer's FIN arrived. Tells whether that is new.
    pub(in crate::engine) fn close_by_peer(&mut self) -> bool {
        !std::mem::replace(&mut self.peer_closed, true)
    }

    /// An RST arrived, or an error that says so.
    pub(in crate::engine) fn set_reset(&mut self) {
        self.reset = true;
    }

    /// A call returned this error.
    pub(in crate::engine) fn set_error(&mut self, error: i32) {
        self.error.get_or_insert(error);
    }

    /// It seems to end.
    pub(in crate::engine) fn end(&mut self, end: End) {
        if !self.is_over() {
            self.closing = Closing::Ending(end);
        }
    }

    /// It goes on after all: the FIN was a half-close.
    pub(in crate::engine) fn reopen(&mut self) {
        if let Closing::Ending(_) = self.closing {
            self.closing = Closing::Open;
        }
    }

    /// It is over.
    pub(in crate::engine) fn finish(&mut self, how: Ending, at: Timestamp) {
        self.closing = Closing::Over { at, how: Some(how) };
    }

    /// How a close that nobody explains counts: after the peer's FIN, the peer closed.
    pub(in crate::engine) fn closed_by(&self) -> Ending {
        if self.peer_closed { Ending::ByPeer } else { Ending::ByTarget }
    }

    /// How the connection ends, which the kernel does not have any more.
    pub(in crate::engine) fn vanished_by(&self) -> Ending {
        match self.ending() {
            Some(end) => end.how,
            None if self.reset => Ending::Reset,
            None => self.closed_by(),
        }
    }

    /// How a connection ends that enters `CLOSE` from the state `before`. `error` is the socket's, 0 for none.
    pub(in crate::engine) fn ends_in_close(&mut self, before: u8, error: i32, role: Option<Role>) -> Ending {
        if error != 0 {
            self.set_error(error);
        }
        match self.ending() {
            _ if self.reset || error == errno::ECONNRESET || error == errno::EPIPE => Ending::Reset,
            Some(end) => end.how,
            None if error != 0 => Ending::ByPeer,
            None if is_reset_by_target(before, role) => Ending::ResetByTarget,
            None => self.closed_by(),
        }
    }

    /// Whether TCP reports no further state: this side's FIN was sent, or the connection was over before it was known.
    pub(in crate::engine) fn reports_no_more(&self) -> bool {
        use tcp_state::{CLOSE, CLOSING, FIN_WAIT1, FIN_WAIT2, LAST_ACK, TIME_WAIT};
        matches!(self.tcp_state, FIN_WAIT1 | FIN_WAIT2 | CLOSING | LAST_ACK | TIME_WAIT | CLOSE)
    }
}

/// Whether the target reset a connection that enters `CLOSE` from the state `before` without an error, and without a FIN in
/// either state in which one is due: `SO_LINGER` of 0, or bytes that the target has not read (`tcp_close` in the kernel's
/// net/ipv4/tcp.c). A client that does so after the server's FIN waited for nothing any more: the server ended it.
fn is_reset_by_target(before: u8, role: Option<Role>) -> bool {
    match before {
        tcp_state::ESTABLISHED => true,
        tcp_state::CLOSE_WAIT => role == Some(Role::Server),
        _ => false,
    }
}
