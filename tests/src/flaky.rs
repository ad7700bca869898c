//! A server that fails as it is told, and writes down when each attempt came and when it was answered.
//!
//! `/STATUS/N/AFTER/CHAIN` answers the first `N` requests of `CHAIN` with `STATUS`, all later ones with 200. `AFTER` goes
//! into `Retry-After`, unless it is `-`. Where a request has `X-Chain`, that is the chain: so chains with the same URL are
//! told apart by this server, and by nobody else.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    transport::Transport as _,
    wire::{Framing, Reader},
};

/// One attempt, as the server saw it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The request was read.
    pub came: Instant,
    /// The answer was written.
    pub answered: Instant,
    /// With what.
    pub status: u16,
}

/// Attempts by chain.
pub type Arrivals = BTreeMap<String, Vec<Arrival>>;

/// The server.
#[derive(Clone, Debug)]
pub struct Flaky {
    /// Where it listens.
    pub address: SocketAddr,
    log: Arc<Mutex<Arrivals>>,
}

/// A client that says nothing for so long is gone: a test must not hang.
const SILENCE: Duration = Duration::from_mins(1);

impl Flaky {
    /// Listens on a port of its own and serves every connection in a thread of this process.
    ///
    /// # Errors
    ///
    /// Nothing can be listened on.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let flaky = Self { address: listener.local_addr()?, log: Arc::default() };
        let server = flaky.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                thread::spawn(move || {
                    let _ = stream.set_nodelay(true);
                    let _ = stream.set_read_timeout(Some(SILENCE));
                    let _ = server.serve(stream);
                });
            }
        });
        Ok(flaky)
    }

    /// What came until now.
    pub fn arrivals(&self) -> Arrivals {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut reader = Reader::with_reads_of(stream.read_size());
        while let Some(head) = reader.head(&mut stream)? {
            let came = Instant::now();
            reader.body(&mut stream, head.framing(false))?;
            let [_, target, _] = &head.start;
            let parts: Vec<&str> = target.split('/').collect();
            let [_, status, failures, after, name] = parts[..] else {
                return Err(io::Error::other(format!("asked for {target}")));
            };
            let chain = head.get("x-chain").unwrap_or(name).to_owned();
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            let attempts = log.entry(chain).or_default();
            let failed = attempts.len() < failures.parse().unwrap_or(0);
            let status = if failed { status.parse().unwrap_or(503) } else { 200 };
            let after = if failed && after != "-" { format!("Retry-After: {after}\r\n") } else { String::new() };
            let body = format!("attempt {}\n", attempts.len() + 1);
            let answer = format!("HTTP/1.1 {status} Flaky\r\n{after}Content-Length: {}\r\n\r\n{body}", body.len());
            // Written down before it can be seen, so that the next attempt finds it; to the microsecond it is the same.
            attempts.push(Arrival { came, answered: Instant::now(), status });
            drop(log);
            stream.send_head(answer.as_bytes(), false)?;
            if head.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Reads an answer and says its status.
///
/// # Errors
///
/// Those of reading; no answer is one.
pub fn read_answer(stream: &mut TcpStream) -> io::Result<u16> {
    let mut reader = Reader::with_reads_of(stream.read_size());
    let head = reader.head(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let framing = head.framing(true);
    if framing != Framing::Close {
        reader.body(stream, framing)?;
    }
    Ok(head.status())
}
