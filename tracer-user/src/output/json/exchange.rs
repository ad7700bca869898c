//! The object of an exchange.

use super::{ObjectWriter, connection, cut, escape, number, process, raw};
use crate::{
    event::Timestamp,
    model::{
        connection::Role,
        errno,
        exchange::{Exchange, Fields, InterimResponse, Outcome, Request, Response},
    },
    text::{
        redact::Redactor,
        url::{self, Base},
    },
};

/// The last header section and its output. Messages of one peer mostly repeat their header section, and comparing is
/// faster than writing.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    fields: Fields,
    json: Vec<u8>,
}

impl Remembered {
    fn write(&mut self, out: &mut Vec<u8>, fields: &Fields, write: impl FnOnce(&mut Vec<u8>)) {
        if self.json.is_empty() || self.fields != *fields {
            self.json.clear();
            write(&mut self.json);
            self.fields.bytes.clone_from(&fields.bytes);
            self.fields.lines.clone_from(&fields.lines);
        }
        out.extend_from_slice(&self.json);
    }
}

impl ObjectWriter {
    /// Writes the exchange; where its line would be too long, a cut one.
    pub(super) fn bounded_exchange(&mut self, out: &mut Vec<u8>, exchange: &Exchange) {
        let start = out.len();
        self.exchange(out, exchange);
        if out.len() - start > cut::line_limit(self.decoded_limit) {
            out.truncate(start);
            self.exchange(out, &cut::cut(exchange));
            // Replaces the closing brace.
            out.pop();
            raw(out, r#","cut_by":"line_size"}"#);
        }
    }

    fn exchange(&mut self, out: &mut Vec<u8>, exchange: &Exchange) {
        raw(out, r#"{"type":"exchange","id":"#);
        number(out, exchange.id.0);
        raw(
            out,
            match exchange.role {
                Role::Client => r#","role":"client","outcome":""#,
                Role::Server => r#","role":"server","outcome":""#,
            },
        );
        raw(out, exchange.outcome.name());
        raw(out, r#"","started":"#);
        self.time(out, exchange.started);
        raw(out, r#","process":"#);
        process(out, &exchange.process);
        raw(out, r#","connection":"#);
        connection(out, &exchange.connection, self.redactor);
        raw(out, r#","request":"#);
        match &exchange.request {
            Some(request) => self.request(out, exchange, request),
            None => raw(
                out,
                r#"{"method":null,"url":null,"authority":null,"path":null,"version":null,"headers":[],"body":null}"#,
            ),
        }
        raw(out, r#","response":"#);
        match &exchange.response {
            Some(response) => self.response(out, exchange, response),
            None => raw(out, "null"),
        }
        timing(out, exchange);
        raw(out, r#","quality":""#);
        raw(out, exchange.quality.name());
        raw(out, r#"","incidents":["#);
        for (index, incident) in exchange.incidents.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            number(out, incident.0);
        }
        out.push(b']');
        for (name, bytes) in [
            ("request_cut", exchange.request_misfit.cut),
            ("request_stray", exchange.request_misfit.stray),
            ("response_cut", exchange.response_misfit.cut),
            ("response_stray", exchange.response_misfit.stray),
        ] {
            if bytes > 0 {
                raw(out, r#",""#);
                raw(out, name);
                raw(out, r#"":"#);
                number(out, bytes);
            }
        }
        if !exchange.interim.is_empty() {
            self.interim(out, &exchange.interim);
        }
        if let Some(error) = exchange.error {
            raw(out, r#","error":"#);
            match errno::name(error) {
                Some(name) => escape::string(out, name),
                None => raw(out, "null"),
            }
            raw(out, r#","errno":"#);
            number(out, error.unsigned_abs().into());
        }
        out.push(b'}');
    }

    fn request(&mut self, out: &mut Vec<u8>, exchange: &Exchange, request: &Request) {
        raw(out, r#"{"method":"#);
        escape::string(out, &request.method);
        raw(out, r#","url":"#);
        let path = self.redactor.url(request.path());
        self.url(out, exchange, request, &path);
        raw(out, r#","authority":"#);
        match request.authority() {
            Some(authority) => escape::string(out, &self.redactor.authority(authority)),
            None => raw(out, "null"),
        }
        raw(out, r#","path":"#);
        escape::string(out, &path);
        raw(out, r#","version":""#);
        raw(out, request.version.number());
        raw(out, r#"","headers":"#);
        let redactor = self.redactor;
        self.request_headers.write(out, &request.headers, |out| fields(redactor, out, &request.headers));
        raw(out, r#","body":"#);
        self.body(out, &request.headers, &request.body, exchange.timing.end.unwrap_or(exchange.started));
        if !request.trailers.lines.is_empty() {
            raw(out, r#","trailers":"#);
            fields(self.redactor, out, &request.trailers);
        }
        out.push(b'}');
    }

    fn response(&mut self, out: &mut Vec<u8>, exchange: &Exchange, response: &Response) {
        raw(out, r#"{"status":"#);
        number(out, response.status.into());
        raw(out, r#","headers":"#);
        let redactor = self.redactor;
        self.response_headers.write(out, &response.headers, |out| fields(redactor, out, &response.headers));
        raw(out, r#","body":"#);
        self.body(out, &response.headers, &response.body, exchange.timing.end.unwrap_or(exchange.started));
        raw(out, r#","reason":"#);
        escape::string(out, &self.redactor.text(&response.reason));
        raw(out, r#","version":""#);
        raw(out, response.version.number());
        out.push(b'"');
        if !response.trailers.lines.is_empty() {
            raw(out, r#","trailers":"#);
            fields(self.redactor, out, &response.trailers);
        }
        out.push(b'}');
    }

    /// See the module's documentation for the forms.
    fn url(&self, out: &mut Vec<u8>, exchange: &Exchange, request: &Request, path: &str) {
        let (kind, authority) = match url::base(exchange, request) {
            Base::Authority(authority) => ("://", self.redactor.authority(authority)),
            Base::Unix(path) => ("+unix://", url::percent_encoded(path).into()),
            Base::Target => return escape::string(out, &self.redactor.url(&request.target)),
            Base::Nothing => return escape::string(out, path),
        };
        let (slash, path) = url::after_authority(path);
        out.push(b'"');
        raw(out, exchange.scheme.name());
        raw(out, kind);
        escape::contents(out, authority.as_bytes());
        raw(out, slash);
        escape::contents(out, path.as_bytes());
        out.push(b'"');
    }

    fn interim(&mut self, out: &mut Vec<u8>, responses: &[InterimResponse]) {
        raw(out, r#","interim":["#);
        for (index, response) in responses.iter().enumerate() {
            raw(out, if index == 0 { r#"{"status":"# } else { r#",{"status":"# });
            number(out, response.status.into());
            raw(out, r#","headers":"#);
            fields(self.redactor, out, &response.headers);
            raw(out, r#","time":"#);
            self.time(out, response.time);
            out.push(b'}');
        }
        out.push(b']');
    }
}

fn fields(redactor: Redactor, out: &mut Vec<u8>, fields: &Fields) {
    out.push(b'[');
    for (index, (name, value)) in fields.iter().enumerate() {
        // The whole line is tested once, as it rarely needs escapes.
        out.reserve(name.len() + value.len() + 8);
        raw(out, if index == 0 { "[" } else { ",[" });
        escape::lower_case(out, name);
        out.push(b',');
        escape::bytes(out, &redactor.header(name, value));
        out.push(b']');
    }
    out.push(b']');
}

fn timing(out: &mut Vec<u8>, exchange: &Exchange) {
    let timing = &exchange.timing;
    let mut phase = |name: &str, from: Option<Timestamp>, to: Option<Timestamp>| {
        raw(out, name);
        match (from, to) {
            (Some(from), Some(to)) => number(out, to.micros_since(from)),
            _ => raw(out, "null"),
        }
    };
    phase(r#","timing":{"connect_us":"#, timing.connect_start, timing.connect_end);
    phase(r#","tls_us":"#, timing.tls_start, timing.tls_end);
    phase(r#","send_us":"#, timing.request_start, timing.request_end);
    phase(r#","wait_us":"#, timing.request_end, timing.response_start);
    phase(r#","receive_us":"#, timing.response_start, timing.response_end);
    phase(r#","total_us":"#, Some(exchange.started), exchange.end());
    if exchange.outcome == Outcome::InFlight {
        phase(r#","open_us":"#, Some(exchange.started), timing.end);
    }
    out.push(b'}');
}
