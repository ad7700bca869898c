//! A reader of HTTP/1 for ground truth, independent of pidtap's: lines, lengths, chunks.

use std::io::{self, ErrorKind};

use sha2::{Digest as _, Sha256};

use crate::{
    transport::Transport,
    truth::{Content, Fields},
};

/// Upper bound for a head. The tests send up to 64 KiB.
const MAX_HEAD: usize = 256 * 1024;

/// Start line and header section.
#[derive(Clone, Debug)]
pub struct Head {
    /// The three parts of the start line.
    pub start: [String; 3],
    /// Names and values.
    pub fields: Fields,
}

impl Head {
    /// Value of the first field of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Status code of a response.
    pub fn status(&self) -> u16 {
        self.start[1].parse().unwrap_or_default()
    }

    /// The framing of this message's body.
    pub fn framing(&self, is_response: bool) -> Framing {
        if self.get("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Framing::Chunked;
        }
        match self.get("content-length").and_then(|value| value.parse().ok()) {
            Some(length) => Framing::Length(length),
            None if is_response => Framing::Close,
            None => Framing::Length(0),
        }
    }
}

/// The framing of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Content-Length, or no body.
    Length(u64),
    /// Chunked.
    Chunked,
    /// Up to the end of the stream.
    Close,
}

/// Reads messages from a transport.
#[derive(Debug)]
pub struct Reader {
    ahead: Vec<u8>,
    start: usize,
    chunk: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self::with_reads_of(64 * 1024)
    }
}

impl Reader {
    /// Limits the bytes of a read.
    pub fn with_reads_of(chunk: usize) -> Self {
        Self { ahead: Vec::new(), start: 0, chunk }
    }

    /// The next head; `None` if the stream ends before it.
    ///
    /// # Errors
    ///
    /// The read fails, or the stream ends within a head.
    pub fn head<T: Transport + ?Sized>(&mut self, from: &mut T) -> io::Result<Option<Head>> {
        let Some(start) = self.line(from)? else { return Ok(None) };
        let mut parts = start.splitn(3, ' ').map(str::to_owned);
        let mut part = || parts.next().unwrap_or_default();
        let start = [part(), part(), part()];
        let fields = self.fields(from)?;
        Ok(Some(Head { start, fields }))
    }

    /// The body after a head.
    ///
    /// # Errors
    ///
    /// The read fails, or the stream ends within a body.
    pub fn body<T: Transport + ?Sized>(&mut self, from: &mut T, framing: Framing) -> io::Result<Content> {
        let mut digest = Sha256::new();
        let mut bytes = 0;
        match framing {
            Framing::Length(length) => {
                let read_ahead = length.min((self.ahead.len() - self.start) as u64);
                if read_ahead == 0
                    && length > 0
                    && let Some(content) = from.receive_body(length)?
                {
                    return Ok(content);
                }
                self.take(from, length, &mut digest)?;
                bytes = length;
            }
            Framing::Close => loop {
                let count = (self.ahead.len() - self.start) as u64;
                self.take(from, count, &mut digest)?;
                bytes += count;
                if self.fill(from)? == 0 {
                    break;
                }
            },
            Framing::Chunked => {
                loop {
                    let line = self.line(from)?.ok_or(ErrorKind::UnexpectedEof)?;
                    let size = line.split(';').next().unwrap_or_default().trim();
                    let size = u64::from_str_radix(size, 16).map_err(|_| invalid(&line))?;
                    if size == 0 {
                        break;
                    }
                    self.take(from, size, &mut digest)?;
                    bytes += size;
                    if self.line(from)?.as_deref() != Some("") {
                        return Err(invalid("no line end after a chunk"));
                    }
                }
                let trailers = self.fields(from)?;
                return Ok(Content { trailers, ..Content::digested(bytes, digest) });
            }
        }
        Ok(Content::digested(bytes, digest))
    }

    /// Bytes after the last message.
    pub fn rest(&mut self) -> Vec<u8> {
        let rest = self.ahead.split_off(self.start);
        self.ahead.clear();
        self.start = 0;
        rest
    }

    fn fields<T: Transport + ?Sized>(&mut self, from: &mut T) -> io::Result<Fields> {
        let mut fields = Fields::new();
        loop {
            let line = self.line(from)?.ok_or(ErrorKind::UnexpectedEof)?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid(&line))?;
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    fn line<T: Transport + ?Sized>(&mut self, from: &mut T) -> io::Result<Option<String>> {
        let mut searched = self.start;
        loop {
            if let Some(end) = self.ahead[searched..].iter().position(|byte| *byte == b'\n') {
                let line = &self.ahead[self.start..searched + end];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let line = line.iter().map(|byte| char::from(*byte)).collect();
                self.start = searched + end + 1;
                return Ok(Some(line));
            }
            let held = self.ahead.len() - self.start;
            if held > MAX_HEAD {
                return Err(invalid("a head without end"));
            }
            if self.fill(from)? == 0 {
                return if held == 0 { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
            searched = self.start + held;
        }
    }

    fn take<T: Transport + ?Sized>(&mut self, from: &mut T, mut length: u64, digest: &mut Sha256) -> io::Result<()> {
        loop {
            let held = &self.ahead[self.start..];
            let count = length.min(held.len() as u64) as usize;
            digest.update(&held[..count]);
            self.start += count;
            length -= count as u64;
            if length == 0 {
                return Ok(());
            }
            if self.fill(from)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn fill<T: Transport + ?Sized>(&mut self, from: &mut T) -> io::Result<usize> {
        self.ahead.drain(..self.start);
        self.start = 0;
        let held = self.ahead.len();
        self.ahead.resize(held + self.chunk, 0);
        let result = from.read(&mut self.ahead[held..]);
        self.ahead.truncate(held + result.as_ref().copied().unwrap_or(0));
        result
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not HTTP as the tests speak it: {what:?}"))
}
