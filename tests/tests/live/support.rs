//! Shared code of the live tests: a tracee, its peer, pidtap, and three logs that must agree.

use std::{
    ffi::OsStr,
    ops::{Deref, DerefMut},
    process::Command,
};

use anyhow::Context as _;
use tracer_tests::{
    child::{PATIENCE, wait_for},
    compare::{Expectation, compare},
    peer::{self, Scribe},
    report::Report,
    service::Program,
    tracer::Tracer,
    truth::{Exchange, Log, Role},
};

/// A server and its client in one process: a request is read and not answered, and the thread waits in `recv`.
pub(crate) const NEVER_ANSWERS: &str = "
import socket
server = socket.socket()
server.bind(('127.0.0.1', 0))
server.listen()
client = socket.create_connection(server.getsockname())
accepted, _ = server.accept()
print('ready', flush=True)
input()
client.send(b'GET /hang HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
accepted.recv(100)
client.recv(10)
";

/// pidtap's report, and its JSON lines.
pub(crate) struct Outcome {
    pub(crate) report: Report,
    pub(crate) json: String,
}

/// A tracee with its log.
pub(crate) struct Tracee(Program);

impl Tracee {
    pub(crate) fn start(args: &[&str]) -> anyhow::Result<Self> {
        Program::start(Command::new(tracee_path()).args(args)).map(Self)
    }
}

impl Deref for Tracee {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.0
    }
}

impl DerefMut for Tracee {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.0
    }
}

pub(crate) fn tracee_path() -> &'static OsStr {
    OsStr::new(env!("CARGO_BIN_EXE_tracee"))
}

/// A peer in this process, which logs for the traced side.
pub(crate) fn peer(address: &str) -> anyhow::Result<(String, Log)> {
    let log = Log::new();
    let address = peer::listen(address, Scribe { log: log.clone(), for_other_side: true })?;
    Ok((address.to_string(), log))
}

/// A driver's scribe, which logs for the traced side.
pub(crate) fn driver() -> Scribe {
    Scribe { log: Log::new(), for_other_side: true }
}

/// Waits until the peer's log has as many exchanges as the tracee's, and returns them.
pub(crate) fn all_of(log: &Log, count: usize) -> anyhow::Result<Vec<Exchange>> {
    wait_for(&format!("{count} exchanges in the peer's log"), PATIENCE, || {
        let exchanges = log.exchanges();
        (exchanges.len() >= count).then_some(exchanges)
    })
}

/// Checks that the logs of both sides agree.
pub(crate) fn agree(one: &[Exchange], other: &[Exchange]) {
    let sorted = |exchanges: &[Exchange]| {
        let mut exchanges = exchanges.to_vec();
        exchanges.sort_by_key(|exchange| exchange.id().to_owned());
        exchanges
    };
    let (one, other) = (sorted(one), sorted(other));
    let ids = |exchanges: &[Exchange]| exchanges.iter().map(|exchange| exchange.id().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&one), ids(&other), "the logs of both sides have the same exchanges");
    for (one, other) in one.iter().zip(&other) {
        let mut other = other.clone();
        forget_what_is_unknown(one, &mut other);
        assert_eq!(*one, other, "the logs of both sides agree");
    }
}

/// Removes facts that the log of `one` lacks: addresses, header lists and trailers, digests of bytes that were never in its memory.
fn forget_what_is_unknown(one: &Exchange, other: &mut Exchange) {
    if one.local.is_empty() {
        other.local.clear();
        other.remote.clear();
    }
    if one.request.headers.is_none() {
        other.request.headers = None;
        other.request.body.trailers.clear();
    }
    if one.request.body.sha256.is_none() {
        other.request.body.sha256 = None;
    }
    if let (Some(one), Some(other)) = (&one.response, &mut other.response) {
        if one.headers.is_none() {
            other.headers = None;
            other.body.trailers.clear();
            other.interim.clear();
        }
        if one.body.sha256.is_none() {
            other.body.sha256 = None;
        }
    }
}

/// Traces a client tracee with a peer at `listen`. Compares the logs with each other and with pidtap's report.
pub(crate) fn trace_client(args: &[&str], listen: &str, expectation: &Expectation<'_>) -> anyhow::Result<Report> {
    Ok(trace_client_with(args, listen, expectation, &[])?.report)
}

/// The same with options for pidtap.
pub(crate) fn trace_client_with(
    args: &[&str],
    listen: &str,
    expectation: &Expectation<'_>,
    options: &[&str],
) -> anyhow::Result<Outcome> {
    let (address, log) = peer(listen)?;
    let args: Vec<&str> = args.iter().map(|arg| if *arg == "ADDRESS" { address.as_str() } else { *arg }).collect();
    let mut tracee = Tracee::start(&args)?;
    let trace = Tracer::attach(&[tracee.pid()], options)?;
    tracee.work()?;
    let (report, json) = trace.stop_with_text()?;
    let truth = tracee.truth()?;
    assert!(!truth.is_empty(), "the tracee did something");
    agree(&truth, &all_of(&log, truth.len())?);
    compare(&truth, &report, expectation).with_context(|| format!("{args:?}"))?;
    assert!(truth.iter().all(|exchange| exchange.role == Role::Client));
    Ok(Outcome { report, json })
}
