//! Minimal HTTP/1.1 of the demo: messages with `Content-Length` on persistent connections.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// Maximum size of a head in bytes; heads of the demo are below 1 KiB.
const MAX_HEAD: usize = 16 * 1024;
/// Maximum size of a body in bytes.
const MAX_BODY: usize = 64 * 1024;
/// Maximum number of header lines.
const MAX_HEADERS: usize = 32;

/// Header names and values, as sent.
pub(super) type Headers = Vec<(String, String)>;

/// Start line of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Request { method: String, path: String },
    Response { status: u16 },
}

/// A request or a response.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) start: Start,
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
}

impl Message {
    pub(super) fn request(method: &str, path: &str, headers: Headers, body: Option<&Value>) -> Self {
        let start = Start::Request { method: method.to_owned(), path: path.to_owned() };
        Self::new(start, headers, body)
    }

    pub(super) fn response(status: u16, body: &Value) -> Self {
        Self::new(Start::Response { status }, Vec::new(), Some(body))
    }

    fn new(start: Start, mut headers: Headers, body: Option<&Value>) -> Self {
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        if !body.is_empty() {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        let counted = !body.is_empty() || matches!(start, Start::Response { .. });
        if counted {
            headers.push(("Content-Length".to_owned(), body.len().to_string()));
        }
        Self { start, headers, body }
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.insert(0, (name.to_owned(), value.into()));
        self
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(super) fn status(&self) -> u16 {
        match self.start {
            Start::Response { status } => status,
            Start::Request { .. } => 0,
        }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    fn encode(&self) -> Vec<u8> {
        let mut text = match &self.start {
            Start::Request { method, path } => format!("{method} {path} HTTP/1.1\r\n"),
            Start::Response { status } => format!("HTTP/1.1 {status} {}\r\n", reason(*status)),
        };
        for (name, value) in &self.headers {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        400 => "Bad Request",
        404 => "Not Found",
        429 => "Too Many Requests",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

/// A stream and the bytes read ahead of it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    ahead: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, ahead: Vec::new() }
    }

    pub(super) fn connect(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        Ok(Self::new(stream))
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn write(&mut self, message: &Message) -> io::Result<()> {
        self.stream.write_all(&message.encode())
    }

    /// Reads the next message; `None` if the stream ends between messages.
    pub(super) fn read(&mut self, requests: bool) -> io::Result<Option<Message>> {
        let (mut message, head_length) = loop {
            if let Some(parsed) = parse(&self.ahead, requests)? {
                break parsed;
            }
            if self.ahead.len() > MAX_HEAD {
                return Err(invalid("the head is too long"));
            }
            if self.fill()? == 0 {
                return if self.ahead.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        };
        let length = match message.header("content-length") {
            Some(text) => text.parse().map_err(|_| invalid("Content-Length is not a number"))?,
            None => 0,
        };
        if length > MAX_BODY {
            return Err(invalid("the body is too long"));
        }
        while self.ahead.len() < head_length + length {
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        message.body = self.ahead[head_length..head_length + length].to_vec();
        self.ahead.drain(..head_length + length);
        Ok(Some(message))
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer)?;
        self.ahead.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// Parses a head at the start of `bytes` and returns it with its length; `None` if it is incomplete.
fn parse(bytes: &[u8], request: bool) -> io::Result<Option<(Message, usize)>> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let bad = |error: httparse::Error| io::Error::new(ErrorKind::InvalidData, error.to_string());
    let (status, start, headers) = if request {
        let mut head = httparse::Request::new(&mut lines);
        let status = head.parse(bytes).map_err(bad)?;
        let (method, path) = (head.method.unwrap_or_default().to_owned(), head.path.unwrap_or_default().to_owned());
        (status, Start::Request { method, path }, owned(head.headers))
    } else {
        let mut head = httparse::Response::new(&mut lines);
        let status = head.parse(bytes).map_err(bad)?;
        (status, Start::Response { status: head.code.unwrap_or_default() }, owned(head.headers))
    };
    Ok(match status {
        httparse::Status::Complete(length) => Some((Message { start, headers, body: Vec::new() }, length)),
        httparse::Status::Partial => None,
    })
}

fn owned(headers: &[httparse::Header<'_>]) -> Headers {
    headers.iter().map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned())).collect()
}
