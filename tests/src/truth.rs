//! The log of a program: the messages that it sent and received.

use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Names and values in wire order.
pub type Fields = Vec<(String, String)>;

/// The role of the traced program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sends requests.
    Client,
    /// Sends responses.
    Server,
}

impl Role {
    /// The role of the other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// The body of a message, without transfer coding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Length.
    pub bytes: u64,
    /// Digest in hex; `None` if the bytes never were in the program's memory.
    pub sha256: Option<String>,
    /// Trailer section.
    #[serde(default)]
    pub trailers: Fields,
}

impl Content {
    /// A body of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, sha256: Some(hex(&Sha256::digest(bytes))), trailers: Fields::new() }
    }

    /// A body whose digest was computed on the way.
    pub fn digested(bytes: u64, digest: Sha256) -> Self {
        Self { bytes, sha256: Some(hex(&digest.finalize())), trailers: Fields::new() }
    }
}

/// A digest in hex.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // A write into a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Target as on the wire.
    pub target: String,
    /// Header section; `None` if the program does not know it exactly.
    pub headers: Option<Fields>,
    /// Body.
    pub body: Content,
}

/// One response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header section; `None` if the program does not know it exactly.
    pub headers: Option<Fields>,
    /// Body.
    pub body: Content,
    /// Status codes of interim responses before it.
    #[serde(default)]
    pub interim: Vec<u16>,
}

/// An exchange in the view of the **traced** program, even if the other side logged it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// Role of the traced program.
    pub role: Role,
    /// The traced program's address; empty if unknown.
    #[serde(default)]
    pub local: String,
    /// The peer's address; empty if unknown.
    #[serde(default)]
    pub remote: String,
    /// The request.
    pub request: Request,
    /// The response.
    pub response: Option<Response>,
    /// The outcome, by pidtap's names.
    #[serde(default = "complete")]
    pub outcome: String,
}

fn complete() -> String {
    "complete".to_owned()
}

impl Exchange {
    /// The unique part of the target: the last segment of its path.
    pub fn id(&self) -> &str {
        id_of(&self.request.target)
    }
}

/// The unique part of a request target.
pub fn id_of(target: &str) -> &str {
    let path = target.split('?').next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

/// A log of several threads in memory, or of several processes in a file of JSON lines.
#[derive(Clone, Debug, Default)]
pub struct Log {
    memory: Arc<Mutex<Vec<Exchange>>>,
    file: Option<Arc<File>>,
}

impl Log {
    /// A log in memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// A log in a file. One write appends a whole line, so that lines of several processes do not mix.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub fn to_file(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file: Some(Arc::new(file)), ..Self::default() })
    }

    /// Logs an exchange that has ended.
    ///
    /// # Panics
    ///
    /// The file cannot be written: an incomplete log is no ground truth.
    pub fn push(&self, exchange: Exchange) {
        if let Some(file) = &self.file {
            let mut line = serde_json::to_vec(&exchange).expect("strings and numbers");
            line.push(b'\n');
            (&**file).write_all(&line).expect("the ground truth can be written");
            return;
        }
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
    }

    /// The exchanges in memory so far.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads a file of JSON lines.
///
/// # Errors
///
/// The file cannot be read, or a line is not an exchange.
pub fn read(path: &Path) -> anyhow::Result<Vec<Exchange>> {
    std::fs::read_to_string(path)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Text of `length` bytes that depends on `id`, so that no two bodies are equal. Nothing in it looks like a secret.
pub fn pattern(id: &str, length: usize) -> Vec<u8> {
    let mut state = id.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
    });
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        bytes
            .extend((state >> 8).to_le_bytes().map(|byte| b"abcdefghijklmnopqrstuvwxyz012345"[usize::from(byte & 31)]));
    }
    bytes.truncate(length);
    bytes
}
