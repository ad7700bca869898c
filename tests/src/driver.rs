//! The client side of ground truth: sends planned requests, and logs what it sends and receives.

use std::{io, net::TcpStream, time::Duration};

use crate::{
    peer::{Scribe, send_chunks},
    transport::Transport,
    truth::{Content, Fields, Request, Response, Role, pattern},
    wire::{Framing, Reader},
};

/// Bytes per call.
const PIECE: usize = 64 * 1024;

/// A body to send.
#[derive(Clone, Copy, Debug, Default)]
pub enum Payload {
    /// No body.
    #[default]
    None,
    /// A body with Content-Length.
    Sized(usize),
    /// A body in chunks, with extensions and trailers.
    Chunked(usize),
    /// A body with Content-Length, sent after a 100 response.
    Expected(usize),
}

/// A request to send.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Method.
    pub method: String,
    /// The target, whose last segment is unique.
    pub target: String,
    /// Additional header lines.
    pub headers: Fields,
    /// Body.
    pub payload: Payload,
}

impl Plan {
    /// `GET`.
    pub fn get(target: impl Into<String>) -> Self {
        Self { method: "GET".to_owned(), target: target.into(), headers: Fields::new(), payload: Payload::None }
    }

    /// `POST`.
    pub fn post(target: impl Into<String>, payload: Payload) -> Self {
        Self { method: "POST".to_owned(), payload, ..Self::get(target) }
    }

    /// A plan with another method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    /// Adds a header line.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A request that waits for its response.
#[derive(Debug)]
pub struct Sent {
    request: Request,
    payload: Vec<u8>,
    expects: bool,
}

/// A client on one connection.
#[derive(Debug)]
pub struct Client<T> {
    /// The connection.
    pub stream: T,
    reader: Reader,
    scribe: Scribe,
    addresses: (String, String),
}

impl Client<TcpStream> {
    /// Connects.
    ///
    /// # Errors
    ///
    /// The connect fails.
    pub fn connect(address: &str, scribe: Scribe) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        Ok(Self::new(stream, scribe))
    }
}

impl<T: Transport> Client<T> {
    /// Uses an existing connection.
    pub fn new(stream: T, scribe: Scribe) -> Self {
        let addresses = stream.addresses();
        Self { reader: Reader::with_reads_of(stream.read_size()), stream, scribe, addresses }
    }

    /// Sends a request and reads its response. Returns the status, and whether the connection stays open.
    ///
    /// # Errors
    ///
    /// A read or write fails. The log does not get such an exchange.
    pub fn exchange(&mut self, plan: &Plan) -> io::Result<u16> {
        let sent = self.send(plan)?;
        self.receive(sent)
    }

    /// Sends a request.
    ///
    /// # Errors
    ///
    /// The write fails.
    pub fn send(&mut self, plan: &Plan) -> io::Result<Sent> {
        let (sent, head) = prepare(plan);
        let body_follows = matches!(plan.payload, Payload::Sized(_));
        self.stream.send_head(&head, body_follows)?;
        let mut sent = sent;
        match plan.payload {
            Payload::Sized(_) => {
                for piece in sent.payload.chunks(PIECE) {
                    self.stream.send_body(piece)?;
                }
            }
            Payload::Chunked(_) => sent.request.body = send_chunks(&mut self.stream, &sent.payload)?,
            Payload::None | Payload::Expected(_) => {}
        }
        Ok(sent)
    }

    /// Reads the response to the oldest request that waits, and logs the exchange.
    ///
    /// # Errors
    ///
    /// The read fails.
    pub fn receive(&mut self, sent: Sent) -> io::Result<u16> {
        let Sent { request, payload, expects } = sent;
        let mut interim = Vec::new();
        let head = loop {
            let head = self.reader.head(&mut self.stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            match head.status() {
                101 => break head,
                100 if expects => {
                    interim.push(100);
                    self.stream.send_body(&payload)?;
                }
                status @ 100..200 => interim.push(status),
                _ => break head,
            }
        };
        let status = head.status();
        let upgraded = status == 101 || request.method == "CONNECT";
        let bodiless = upgraded || request.method == "HEAD" || matches!(status, 204 | 304);
        let framing = if bodiless { Framing::Length(0) } else { head.framing(true) };
        let body = self.reader.body(&mut self.stream, framing)?;
        let response = Response { status, headers: Some(head.fields), body, interim };
        let outcome = if upgraded { "upgraded" } else { "complete" };
        self.scribe.note(Role::Client, &self.addresses, request, Some(response), outcome);
        Ok(status)
    }

    /// Logs an exchange without a response.
    pub fn note_unanswered(&self, sent: Sent, outcome: &str) {
        self.scribe.note(Role::Client, &self.addresses, sent.request, None, outcome);
    }
}

/// The head of a request, and the request for the log.
pub fn prepare(plan: &Plan) -> (Sent, Vec<u8>) {
    let id = crate::truth::id_of(&plan.target).to_owned();
    let mut headers: Fields = vec![("Host".to_owned(), "truth.test".to_owned())];
    headers.extend(plan.headers.iter().cloned());
    let (payload, expects) = match plan.payload {
        Payload::None => (Vec::new(), false),
        Payload::Sized(length) | Payload::Chunked(length) => (pattern(&id, length), false),
        Payload::Expected(length) => (pattern(&id, length), true),
    };
    match plan.payload {
        Payload::None => {}
        Payload::Chunked(_) => headers.push(("Transfer-Encoding".to_owned(), "chunked".to_owned())),
        Payload::Sized(length) | Payload::Expected(length) => {
            headers.push(("Content-Length".to_owned(), length.to_string()));
        }
    }
    if expects {
        headers.push(("Expect".to_owned(), "100-continue".to_owned()));
    }
    let mut head = format!("{} {} HTTP/1.1\r\n", plan.method, plan.target);
    for (name, value) in &headers {
        for part in [name, ": ", value, "\r\n"] {
            head.push_str(part);
        }
    }
    head.push_str("\r\n");
    let request = Request {
        method: plan.method.clone(),
        target: plan.target.clone(),
        headers: Some(headers),
        body: Content::of(&payload),
    };
    (Sent { request, payload, expects }, head.into_bytes())
}

/// A request of every kind that can follow another on one connection. The ids begin with `prefix`.
pub fn every_kind(prefix: &str) -> Vec<Plan> {
    let mut plans = vec![
        Plan::get(format!("/get/0/{prefix}-empty")),
        Plan::get(format!("/get/1/{prefix}-one")),
        Plan::get(format!("/get/1000/{prefix}-small")).header("Accept", "*/*"),
        Plan::get(format!("/get/100000/{prefix}-large")),
        Plan::get(format!("/chunked/30000/{prefix}-chunks")),
        Plan::get(format!("/get/5000/{prefix}-head")).method("HEAD"),
        Plan::get(format!("/status/204/{prefix}-no-content")),
        Plan::get(format!("/status/304/{prefix}-not-modified")),
        Plan::get(format!("/status/404/{prefix}-not-found")),
        Plan::get(format!("/status/503/{prefix}-unavailable")),
        Plan::get(format!("/interim/{prefix}-hints")),
        Plan::get(format!("http://truth.test/get/10/{prefix}-absolute")),
        Plan::post(format!("/echo/{prefix}-sized"), Payload::Sized(3000)),
        Plan::post(format!("/echo/{prefix}-upload"), Payload::Sized(200_000)),
        Plan::post(format!("/echo/{prefix}-chunked"), Payload::Chunked(50_000)),
        Plan::post(format!("/echo/{prefix}-expected"), Payload::Expected(4000)),
        Plan::post(format!("/echo/{prefix}-put"), Payload::Sized(10)).method("PUT"),
        Plan::get(format!("/status/200/{prefix}-delete")).method("DELETE"),
    ];
    plans.push(Plan::get(format!("/headers/3000/{prefix}-headers")).header("Cookie", "a=1; b=2").header("X-Empty", ""));
    plans
}
