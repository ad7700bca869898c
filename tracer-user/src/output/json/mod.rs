//! JSON lines: one object a line.
//!
//! The names and their order are a contract. Names may be added; none is renamed or removed.
//!
//! | `type` | when |
//! | --- | --- |
//! | `attached` | first, once the probes are live |
//! | `exchange` | when it is over, or when tracing ends |
//! | `incident` | a detector found something, or knows more of it |
//! | `note` | something about a connection that explains what is (not) shown |
//! | `summary` | last, always |
//!
//! Times are RFC 3339 in UTC with microseconds. Header names are in lower case; text that is not UTF-8 is given as
//! Latin-1, byte for byte. What is not known is `null`: a request whose head was not seen has `null` for everything but
//! `headers`, which is empty.
//!
//! A `url` is `http://authority/path`. Where the request names no authority, it is the address of the serving end; on a
//! Unix socket the URL is then `http+unix://` with the socket's path percent-encoded; where nothing is known, the path
//! alone. A request to a proxy has the URL that it names, `CONNECT` its authority, `OPTIONS *` no path.
//!
//! A `body` has `bytes` (on the wire, before content decoding), `captured` (how many of those were kept), and `text`, or
//! `base64` where it is not UTF-8; that is after content decoding. As needed: `decoded` (the codings that were undone),
//! `undecoded` (those that were not: unknown, or the bytes are something else), `truncated` (there is more than is
//! shown), `cut_by` (where content decoding was bounded: `decoded_size`, `decoding_time`), `damaged` (decoding failed on the way; what came before is shown as it came), `missing` (bytes that could not be captured), `masked` (secrets in it were replaced).
//!
//! Further fields, where there is something to say: `interim`, `error` and `errno` of an exchange; `trailers` of a message;
//! `reason` and `version` of every response; `lost` of the summary, by cause, `filtered`, where a filter narrows,
//! and `unseen`, where there were connections whose calls were not seen.

mod body;
mod cut;
mod escape;
mod exchange;
mod incident;
mod scan;

use std::io::{self, Write};

use exchange::Remembered;
use tracer_common::event::loss;

use super::{UpdateSink, buffer::LineBuffer};
use crate::{
    engine::{Attached, Loss, Note, NoteKind, Summary, Update},
    event::Timestamp,
    model::{
        connection::{ConnectionInfo, Endpoint, Tls},
        exchange::{Exchange, ProcessRef},
    },
    payload::coding::{Budget, DECODED_LIMIT},
    text::{
        clock::Clock,
        redact::{MarkKey, Redactor},
    },
};

/// Options of JSON lines.
#[derive(Clone, Copy, Debug)]
pub struct JsonOptions {
    /// Print secrets as they are.
    pub show_secrets: bool,
    /// Key of the marks that stand for secrets.
    pub mark_key: Option<MarkKey>,
    /// Bytes of a body that are shown after content decoding.
    pub decoded_limit: usize,
}

impl Default for JsonOptions {
    fn default() -> Self {
        Self { show_secrets: false, mark_key: None, decoded_limit: DECODED_LIMIT }
    }
}

/// Names of the causes of loss, by their index in [`loss`].
pub(super) const LOSS_NAMES: [&str; loss::CAUSES] = {
    let mut names = [""; loss::CAUSES];
    names[loss::RING_FULL] = "ring_full";
    names[loss::FAULT] = "fault";
    names[loss::KERNEL_READ] = "kernel_read";
    names[loss::MAP_FULL] = "map_full";
    names[loss::QUEUE_FULL] = "queue_full";
    names[loss::RECORDING] = "recording";
    names
};

/// Writes JSON lines.
#[derive(Debug)]
pub struct JsonOutput<W> {
    buffer: LineBuffer<W>,
    writer: ObjectWriter,
}

impl<W: Write> JsonOutput<W> {
    /// Writes to `writer`, a buffer full of lines at a time.
    pub fn new(writer: W, options: JsonOptions) -> Self {
        let redactor = Redactor::new(options.show_secrets).with_key(options.mark_key);
        Self {
            buffer: LineBuffer::new(writer),
            writer: ObjectWriter {
                redactor,
                decoded_limit: options.decoded_limit,
                clock: Clock::new(0),
                request_headers: Remembered::default(),
                response_headers: Remembered::default(),
                filtered: None,
                doubtful: 0,
                decoding: Budget::default(),
            },
        }
    }

    /// The writer, which lacks the lines that were not flushed.
    pub fn get_ref(&self) -> &W {
        self.buffer.get_ref()
    }
}

impl<W: Write> UpdateSink for JsonOutput<W> {
    fn set_realtime_offset(&mut self, nanoseconds: i64) {
        self.writer.clock.set_offset(nanoseconds);
    }

    fn narrow(&mut self) {
        self.writer.filtered = Some(0);
    }

    fn leave_out(&mut self, _exchange: &Exchange) {
        if let Some(filtered) = &mut self.writer.filtered {
            *filtered += 1;
        }
    }

    fn doubt(&mut self) {
        self.writer.doubtful += 1;
    }

    fn write(&mut self, update: &Update) -> io::Result<()> {
        let out = &mut self.buffer.text;
        match update {
            Update::Attached(attached) => self.writer.attached(out, attached),
            Update::Exchange(exchange) => self.writer.bounded_exchange(out, exchange),
            Update::Incident(incident) => self.writer.incident(out, incident),
            Update::Note(note) => self.writer.note(out, note),
            Update::Loss(loss) => self.writer.loss(out, loss),
            Update::Summary(summary) => self.writer.summary(out, summary),
        }
        out.push(b'\n');
        self.buffer.line_done()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.buffer.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.flush()
    }
}

/// State for writing objects.
#[derive(Debug)]
struct ObjectWriter {
    redactor: Redactor,
    decoded_limit: usize,
    clock: Clock,
    request_headers: Remembered,
    response_headers: Remembered,
    /// Number of exchanges that the filter rejected; `None` without a filter.
    filtered: Option<u64>,
    /// Number of exchanges whose bodies the filter had no time to decode.
    doubtful: u64,
    decoding: Budget,
}

impl ObjectWriter {
    fn attached(&mut self, out: &mut Vec<u8>, attached: &Attached) {
        raw(out, r#"{"type":"attached","targets":["#);
        for (index, target) in attached.targets.iter().enumerate() {
            raw(out, if index == 0 { r#"{"pid":"# } else { r#",{"pid":"# });
            number(out, target.pid.into());
            raw(out, r#","name":"#);
            escape::string(out, &target.name);
            out.push(b'}');
        }
        raw(out, r#"],"time":"#);
        self.time(out, attached.time);
        out.push(b'}');
    }

    fn note(&mut self, out: &mut Vec<u8>, note: &Note) {
        raw(out, r#"{"type":"note","kind":"#);
        let kind = match note.kind {
            NoteKind::NotHttp => r#""not_http""#,
            NoteKind::Opaque { .. } => r#""opaque""#,
            NoteKind::UnseenBytes { .. } => r#""unseen_bytes""#,
        };
        raw(out, kind);
        raw(out, r#","time":"#);
        self.time(out, note.time);
        raw(out, r#","process":"#);
        process(out, &note.process);
        raw(out, r#","connection":"#);
        connection(out, &note.connection, self.redactor);
        match &note.kind {
            NoteKind::NotHttp => {}
            NoteKind::Opaque { protocol } => {
                raw(out, r#","protocol":"#);
                escape::string(out, &self.redactor.text(protocol));
            }
            NoteKind::UnseenBytes { sent, received } => {
                raw(out, r#","sent":"#);
                number(out, *sent);
                raw(out, r#","received":"#);
                number(out, *received);
            }
        }
        out.push(b'}');
    }

    fn loss(&mut self, out: &mut Vec<u8>, loss: &Loss) {
        raw(out, r#"{"type":"loss","time":"#);
        self.time(out, loss.time);
        totals(out, loss);
        by_cause(out, loss);
        out.push(b'}');
    }

    fn summary(&mut self, out: &mut Vec<u8>, summary: &Summary) {
        raw(out, r#"{"type":"summary","exchanges":"#);
        number(out, summary.exchanges);
        raw(out, r#","incidents":"#);
        number(out, summary.incidents);
        totals(out, &summary.loss);
        raw(out, r#","duration_ms":"#);
        number(out, summary.duration_ns / 1_000_000);
        by_cause(out, &summary.loss);
        raw(out, r#","time":"#);
        self.time(out, summary.loss.time);
        if let Some(filtered) = self.filtered {
            raw(out, r#","filtered":"#);
            number(out, filtered);
        }
        for (name, count) in [
            (r#","filter_doubtful":"#, self.doubtful),
            (r#","decoding_cut":"#, self.decoding.cut()),
            (r#","decoding_skipped":"#, self.decoding.skipped()),
            (r#","waits_given_up":"#, summary.waits_given_up),
            (r#","processes_forgotten":"#, summary.processes_forgotten),
        ] {
            if count > 0 {
                raw(out, name);
                number(out, count);
            }
        }
        if !summary.unseen.is_empty() {
            for (index, (name, count)) in summary.unseen.counts().into_iter().enumerate() {
                raw(out, if index == 0 { r#","unseen":{""# } else { r#",""# });
                raw(out, name);
                raw(out, r#"":"#);
                number(out, count);
            }
            out.push(b'}');
        }
        out.push(b'}');
    }

    fn time(&mut self, out: &mut Vec<u8>, time: Timestamp) {
        out.push(b'"');
        out.extend_from_slice(&self.clock.micros(time));
        raw(out, "Z\"");
    }
}

fn totals(out: &mut Vec<u8>, loss: &Loss) {
    raw(out, r#","lost_events":"#);
    number(out, loss.total_events());
    raw(out, r#","lost_bytes":"#);
    number(out, loss.total_bytes());
    if loss.at_least {
        raw(out, r#","lost_at_least":true"#);
    }
}

fn by_cause(out: &mut Vec<u8>, loss: &Loss) {
    raw(out, r#","lost":{"#);
    for (index, name) in LOSS_NAMES.iter().enumerate() {
        raw(out, if index == 0 { "\"" } else { ",\"" });
        raw(out, name);
        raw(out, r#"":{"events":"#);
        number(out, loss.events[index]);
        raw(out, r#","bytes":"#);
        number(out, loss.bytes[index]);
        out.push(b'}');
    }
    out.push(b'}');
}

fn raw(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn number(out: &mut Vec<u8>, number: u64) {
    raw(out, itoa::Buffer::new().format(number));
}

fn process(out: &mut Vec<u8>, process: &ProcessRef) {
    raw(out, r#"{"pid":"#);
    number(out, process.pid.into());
    raw(out, r#","tid":"#);
    number(out, process.tid.into());
    raw(out, r#","name":"#);
    escape::string(out, &process.name);
    out.push(b'}');
}

fn connection(out: &mut Vec<u8>, connection: &ConnectionInfo, redactor: Redactor) {
    raw(out, r#"{"id":"#);
    number(out, connection.id.0);
    for (name, end, text) in [
        (r#","local":"#, &connection.local, &connection.local_text),
        (r#","remote":"#, &connection.remote, &connection.remote_text),
    ] {
        raw(out, name);
        match end {
            Endpoint::Unknown => raw(out, "null"),
            _ => escape::string(out, text),
        }
    }
    for (name, said) in [(r#","client":"#, &connection.client), (r#","destination":"#, &connection.destination)] {
        if let Some(said) = said {
            raw(out, name);
            // The peer chooses this text.
            escape::string(out, &redactor.url(said));
        }
    }
    raw(out, r#","tls":"#);
    match &connection.tls {
        Some(session) => tls(out, session, redactor),
        None => raw(out, "null"),
    }
    raw(out, r#","protocol":""#);
    raw(out, connection.protocol.name());
    raw(out, "\"}");
}

fn tls(out: &mut Vec<u8>, session: &Tls, redactor: Redactor) {
    for (name, value) in [
        (r#"{"version":"#, session.version),
        (r#","cipher":"#, session.cipher),
        (r#","sni":"#, session.sni.as_deref()),
        (r#","alpn":"#, session.alpn.as_deref()),
        (r#","library":"#, session.library.as_deref()),
        (r#","secrets":"#, session.secrets.as_deref()),
        (r#","reason":"#, session.reason.as_deref()),
    ] {
        raw(out, name);
        match value {
            // The peer chooses some of these words.
            Some(value) => escape::string(out, &redactor.text(value)),
            None => raw(out, "null"),
        }
    }
    out.push(b'}');
}

#[cfg(test)]
mod amplification;
#[cfg(test)]
mod tests;
