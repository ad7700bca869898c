//! The opening of a connection, and calls that fail on it.

use std::sync::Arc;

use super::{super::environment::Environment, Connection};
use crate::{
    analysis::detector::Observation,
    event::{Timestamp, wire},
    model::{
        connection::{Ending, Endpoint, Role},
        errno,
        exchange::{Connect, Exchange, ExchangeId, Misfit, Outcome, Quality, Scheme, Timing},
    },
    protocol::{context::Listener as _, decode::Decode as _},
};

/// Handles a data call that returned an error.
pub(in crate::engine) fn failed_call(
    connection: &mut Connection,
    event: &wire::DataEvent,
    time: Timestamp,
    environment: &mut Environment,
) {
    let error = -event.result;
    match error {
        // Before the connection is up, these report the result of a connect in the background.
        errno::ECONNREFUSED | errno::ETIMEDOUT | errno::EHOSTUNREACH | errno::ENETUNREACH
            if !connection.life.is_up() && connection.life.connect_start().is_some() =>
        {
            connect_failed(connection, Some(error), time, environment);
        }
        errno::ECONNRESET
        | errno::EPIPE
        | errno::ECONNABORTED
        | errno::ETIMEDOUT
        | errno::EHOSTUNREACH
        | errno::ENETUNREACH => {
            connection.life.set_error(error);
            let reset = matches!(error, errno::ECONNRESET | errno::EPIPE | errno::ECONNABORTED);
            let ending = if reset { Ending::Reset } else { Ending::ByPeer };
            // When a write fails, an answer may still wait to be read (an early refusal of an upload).
            let writes = event.direction == wire::direction::SEND;
            if writes && connection.channel.decoder.role() == Some(Role::Client) {
                if reset {
                    connection.life.set_reset();
                }
            } else {
                connection.close(ending, time, environment);
            }
        }
        _ => {}
    }
}

pub(in crate::engine) fn connect_returned(
    connection: &mut Connection,
    event: &wire::SocketEvent,
    time: Timestamp,
    environment: &mut Environment,
) {
    let sequence = event.header.flags & wire::flag::SEQUENCE != 0;
    match -event.result {
        0 | errno::EISCONN if event.result == 0 || connection.life.connect_start().is_some() => {
            connection.transport.send.start_at(event.send_position, sequence);
            connection.transport.receive.start_at(event.receive_position, sequence);
            connected(connection, time, environment);
        }
        errno::EINPROGRESS | errno::EALREADY | errno::EINTR | errno::EAGAIN => {
            connection.life.connect(time);
            // On loopback the connection is up before the call returns.
            report_up(connection, environment);
            report_connecting(connection, environment);
        }
        error if error > 0 && !looks_for_a_daemon(&connection.info.remote, error) => {
            connect_failed(connection, Some(error), time, environment);
        }
        _ => {}
    }
}

/// Whether a connect is a look for a system daemon, as the C library and others make it. A missing socket there is no
/// failure.
fn looks_for_a_daemon(remote: &Endpoint, error: i32) -> bool {
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
        // Without a path, nothing tells daemons apart.
        Endpoint::Unix(path) => {
            error == errno::ENOENT && (path.is_empty() || DAEMONS.iter().any(|daemon| path.contains(daemon)))
        }
        _ => false,
    }
}

/// The kernel reports a connect, and its address: the call itself has not returned, or returned before tracing.
pub(in crate::engine) fn connecting_found(connection: &mut Connection, time: Timestamp, environment: &mut Environment) {
    if !connection.life.is_over() {
        connection.life.connect(time);
        report_connecting(connection, environment);
    }
}

fn report_connecting(connection: &mut Connection, environment: &mut Environment) {
    if connection.life.report_connecting() {
        connection.observe(environment, |connection| Observation::Connecting(connection));
    }
}

/// The connection is up.
pub(in crate::engine) fn connected(connection: &mut Connection, time: Timestamp, environment: &mut Environment) {
    if !connection.life.establish() {
        report_up(connection, environment);
        return;
    }
    // A blocking `connect` tells the address when it returns, after the kernel said that the connection is up.
    if connection.info.remote != Endpoint::Unknown {
        report_up(connection, environment);
    }
    // The start of a connect that began before tracing is unknown.
    if let (Some(start), false) = (connection.life.connect_start(), connection.life.is_found()) {
        let pid = connection.process.pid;
        connection.channel.decoder.connected(Connect { start, end: time, pid });
    }
}

/// Reports that the connection is up, unless that was done.
pub(in crate::engine) fn report_up(connection: &mut Connection, environment: &mut Environment) {
    if connection.life.report_up() {
        connection.observe(environment, |connection| Observation::Connected(connection));
    }
}

/// Reports a failed connect: an exchange without request and response.
pub(in crate::engine) fn connect_failed(
    connection: &mut Connection,
    error: Option<i32>,
    time: Timestamp,
    environment: &mut Environment,
) {
    let Some(start) = connection.life.fail(time) else { return };
    environment.last_exchange += 1;
    let outcome = match error {
        Some(error) => Outcome::of_connect(error),
        None => Outcome::ClientTimeout,
    };
    environment.reports.finished(Arc::new(Exchange {
        id: ExchangeId(environment.last_exchange),
        role: Role::Client,
        outcome,
        quality: Quality::Whole,
        started: start,
        process: connection.process.clone(),
        connection: Arc::clone(&connection.info),
        stream: None,
        scheme: Scheme::of(&connection.info),
        request: None,
        interim: Vec::new(),
        response: None,
        messages: None,
        request_misfit: Misfit::default(),
        response_misfit: Misfit::default(),
        timing: Timing { connect_start: Some(start), end: Some(time), ..Timing::default() },
        error,
        incidents: Vec::new(),
    }));
}
