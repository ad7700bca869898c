//! Updates for tests, and events.

pub(crate) mod events;

use std::sync::Arc;

use crate::{
    engine::{Attached, Loss, Note, NoteKind, Summary, Target, Update},
    event::{SocketInode, Timestamp},
    model::{
        connection::{ConnectionId, ConnectionInfo, Endpoint, Protocol, Role},
        exchange::{
            Body, Exchange, ExchangeId, Fields, Misfit, Outcome, ProcessRef, Quality, Request, Response, Scheme,
            Timing, Version,
        },
    },
};

/// Makes [`START`] 2026-11-21T04:05:06.123456Z.
pub(crate) const REALTIME_OFFSET: i64 = 1_795_233_906_123_456_000 - START.0 as i64;
/// When everything begins.
pub(crate) const START: Timestamp = Timestamp(5_000_000_000);

pub(crate) fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in lines {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    fields
}

pub(crate) fn process() -> ProcessRef {
    ProcessRef { pid: 1, tid: 2, name: "x".into() }
}

pub(crate) fn connection() -> Arc<ConnectionInfo> {
    Arc::new(ConnectionInfo {
        local: Endpoint::Inet(([127, 0, 0, 1], 1).into()),
        remote: Endpoint::Inet(([127, 0, 0, 1], 2).into()),
        local_text: "127.0.0.1:1".into(),
        remote_text: "127.0.0.1:2".into(),
        protocol: Protocol::Http1,
        ..ConnectionInfo::new(ConnectionId(3), SocketInode(4))
    })
}

/// The exchange of the contract's example.
pub(crate) fn exchange() -> Exchange {
    let at = |micros: u64| Some(Timestamp(START.0 + micros * 1_000));
    Exchange {
        id: ExchangeId(1),
        role: Role::Client,
        outcome: Outcome::Complete,
        quality: Quality::Whole,
        started: START,
        process: process(),
        connection: connection(),
        stream: None,
        scheme: Scheme::Http,
        request: Some(Request {
            body: Body { bytes: 3, captured: b"a=1".to_vec(), missing: 0 },
            ..Request::new("POST".into(), "/p?q".into(), Version::Http11, fields(&[("Host", "h")]))
        }),
        interim: Vec::new(),
        response: Some(Response {
            status: 502,
            reason: "Bad Gateway".into(),
            version: Version::Http11,
            headers: Fields::default(),
            body: Body::default(),
            trailers: Fields::default(),
        }),
        messages: None,
        request_misfit: Misfit::default(),
        response_misfit: Misfit::default(),
        timing: Timing {
            request_start: at(0),
            request_end: at(1),
            response_start: at(2),
            response_end: at(3),
            end: at(3),
            ..Timing::default()
        },
        error: None,
        incidents: Vec::new(),
    }
}

pub(crate) fn attached() -> Update {
    Update::Attached(Attached { time: START, targets: vec![Target { pid: 1, name: "nginx".into() }] })
}

pub(crate) fn note(kind: NoteKind) -> Update {
    Update::Note(Note { time: START, connection: connection(), role: Some(Role::Client), process: process(), kind })
}

pub(crate) fn summary() -> Update {
    Update::Summary(Summary {
        exchanges: 10,
        incidents: 2,
        unseen: crate::engine::Unseen::default(),
        duration_ns: 9_000_000_000,
        loss: loss(),
        waits_given_up: 0,
        processes_forgotten: 0,
    })
}

pub(crate) fn loss() -> Loss {
    Loss {
        time: Timestamp(START.0 + 9_000_000_000),
        events: [4, 0, 0, 0, 0, 3],
        bytes: [400, 0, 0, 0, 0, 300],
        at_least: false,
    }
}
