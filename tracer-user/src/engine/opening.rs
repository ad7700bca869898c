//! How a connection begins: connecting, and what calls on it return when that, or what follows, fails.

use std::sync::Arc;

use super::{
    Environment,
    link::{Content, Link},
};
use crate::{
    analysis::detector::Observation,
    event::{SocketInode, Timestamp, wire},
    model::{
        connection::{ConnectionId, ConnectionInfo, Endpoint, Protocol, Role},
        exchange::{Connect, Exchange, ExchangeId, Misfit, Outcome, ProcessRef, Quality, Timing},
    },
    protocol::http1::pairing::{Ending, Listener as _},
};

/// Error numbers of `include/uapi/asm-generic/errno.h`.
pub(super) mod errno {
    pub(in crate::engine) const EPIPE: i32 = 32;
    pub(in crate::engine) const ENETUNREACH: i32 = 101;
    pub(in crate::engine) const ECONNABORTED: i32 = 103;
    pub(in crate::engine) const ECONNRESET: i32 = 104;
    pub(in crate::engine) const EISCONN: i32 = 106;
    pub(in crate::engine) const ETIMEDOUT: i32 = 110;
    pub(in crate::engine) const ECONNREFUSED: i32 = 111;
    pub(in crate::engine) const EHOSTUNREACH: i32 = 113;
    pub(in crate::engine) const EALREADY: i32 = 114;
    pub(in crate::engine) const EINPROGRESS: i32 = 115;
    pub(in crate::engine) const EAGAIN: i32 = 11;
    pub(in crate::engine) const EINTR: i32 = 4;
    pub(in crate::engine) const ENOENT: i32 = 2;
}

pub(super) fn new_link(
    last_connection: &mut u64,
    environment: &Environment,
    inode: u64,
    header: &wire::EventHeader,
    content: Content,
) -> Link {
    *last_connection += 1;
    let info = ConnectionInfo {
        id: ConnectionId(*last_connection),
        inode: SocketInode(inode),
        local: Endpoint::Unknown,
        remote: Endpoint::Unknown,
        local_text: Endpoint::Unknown.to_string().into(),
        remote_text: Endpoint::Unknown.to_string().into(),
        protocol: Protocol::Unknown,
        client: None,
        destination: None,
        opened: None,
    };
    let process = ProcessRef { pid: header.tgid, tid: header.tid, name: environment.processes.name(header.tgid) };
    Link::new(Arc::new(info), process, content)
}

/// A data call returned an error.
pub(super) fn failed_call(link: &mut Link, event: &wire::DataEvent, time: Timestamp, environment: &mut Environment) {
    let error = -event.result;
    match error {
        // Before the connection is up these are the result of a connect in the background.
        errno::ECONNREFUSED | errno::ETIMEDOUT | errno::EHOSTUNREACH | errno::ENETUNREACH
            if !link.connected && link.connect_start.is_some() =>
        {
            connect_failed(link, Some(error), time, environment);
        }
        errno::ECONNRESET
        | errno::EPIPE
        | errno::ECONNABORTED
        | errno::ETIMEDOUT
        | errno::EHOSTUNREACH
        | errno::ENETUNREACH => {
            link.error.get_or_insert(error);
            let reset = matches!(error, errno::ECONNRESET | errno::EPIPE | errno::ECONNABORTED);
            let ending = if reset { Ending::Reset } else { Ending::ByPeer };
            // An answer may still be there to be read when writing fails (an early refusal of an upload).
            let writes = event.direction == wire::direction::SEND;
            let client = matches!(&link.content, Content::Http1(http) if http.role() == Role::Client);
            if writes && client {
                link.reset |= reset;
            } else {
                link.close(ending, time, environment);
            }
        }
        _ => {}
    }
}

pub(super) fn connect_returned(
    link: &mut Link,
    event: &wire::SocketEvent,
    time: Timestamp,
    environment: &mut Environment,
) {
    let sequence = event.header.flags & wire::flag::SEQUENCE != 0;
    match -event.result {
        0 | errno::EISCONN if event.result == 0 || link.connect_start.is_some() => {
            link.send.start_at(event.send_position, sequence);
            link.receive.start_at(event.receive_position, sequence);
            connected(link, time, environment);
        }
        errno::EINPROGRESS | errno::EALREADY | errno::EINTR | errno::EAGAIN => {
            link.connect_start.get_or_insert(time);
            // On loopback it is up before the call returns.
            say_connected(link, environment);
            if !link.connected && !link.failed && !std::mem::replace(&mut link.connecting_said, true) {
                link.observe(environment, |connection| Observation::Connecting(connection));
            }
        }
        error if error > 0 && !asks_for_a_daemon(&link.info.remote, error) => {
            connect_failed(link, Some(error), time, environment);
        }
        _ => {}
    }
}

/// Whether a connect is how the C library and others ask if a daemon of the system runs: nobody misses it where its socket
/// is not there.
fn asks_for_a_daemon(remote: &Endpoint, error: i32) -> bool {
    const DAEMONS: [&str; 9] = [
        "/nscd/",
        "/nslcd/",
        "/sss/pipes/",
        "/winbindd/",
        "/avahi-daemon/",
        "/run/systemd/",
        "/dbus/system_bus_socket",
        "/.X11-unix/",
        "/dev/log",
    ];
    match remote {
        // Without its path, nothing tells them apart.
        Endpoint::Unix(path) => {
            error == errno::ENOENT && (path.is_empty() || DAEMONS.iter().any(|daemon| path.contains(daemon)))
        }
        _ => false,
    }
}

/// The kernel says that the target connects, and where to: the call that says so itself has not returned yet, or returned
/// before tracing began.
pub(super) fn connecting_found(link: &mut Link, time: Timestamp, environment: &mut Environment) {
    if link.connected || link.failed || link.over.is_some() {
        return;
    }
    link.connect_start.get_or_insert(time);
    if !std::mem::replace(&mut link.connecting_said, true) {
        link.observe(environment, |connection| Observation::Connecting(connection));
    }
}

pub(super) fn connected(link: &mut Link, time: Timestamp, environment: &mut Environment) {
    if std::mem::replace(&mut link.connected, true) {
        say_connected(link, environment);
        return;
    }
    // A blocking `connect` says where to when it returns, after the kernel said that the connection is up.
    link.connected_unsaid = true;
    if link.info.remote != Endpoint::Unknown {
        say_connected(link, environment);
    }
    // Of a connect that began before tracing the time is not known.
    if let (Some(start), Content::Http1(http), false) = (link.connect_start, &mut link.content, link.found) {
        http.set_connect(Connect { start, end: time, pid: link.process.pid });
    }
}

/// Tells that the connection is up, where that was not told yet.
pub(super) fn say_connected(link: &mut Link, environment: &mut Environment) {
    if std::mem::replace(&mut link.connected_unsaid, false) {
        link.observe(environment, |connection| Observation::Connected(connection));
    }
}

/// A connect failed: an exchange without request or response, which a person who looks for failures must see.
pub(super) fn connect_failed(link: &mut Link, error: Option<i32>, time: Timestamp, environment: &mut Environment) {
    link.connect_error = None;
    if std::mem::replace(&mut link.failed, true) || link.connected {
        return;
    }
    let start = link.connect_start.unwrap_or(time);
    environment.last_exchange += 1;
    let outcome = match error {
        Some(error) => Outcome::of_connect(error),
        None => Outcome::ClientTimeout,
    };
    environment.told.finished(Arc::new(Exchange {
        id: ExchangeId(environment.last_exchange),
        role: Role::Client,
        outcome,
        quality: Quality::Whole,
        started: start,
        process: link.process.clone(),
        connection: Arc::clone(&link.info),
        request: None,
        interim: Vec::new(),
        response: None,
        request_misfit: Misfit::default(),
        response_misfit: Misfit::default(),
        timing: Timing { connect_start: Some(start), end: Some(time), ..Timing::default() },
        error,
        incidents: Vec::new(),
    }));
    link.over = Some(time);
}
