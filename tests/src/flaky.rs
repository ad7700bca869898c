//! A server that fails on request, and logs when each attempt arrived and when it was answered.
//!
//! `/STATUS/N/AFTER/CHAIN` answers the first `N` requests of `CHAIN` with `STATUS`, all later ones with 200. `AFTER` goes
//! into `Retry-After`, unless it is `-`. `X-Chain` of a request, if present, names the chain instead: only this server can then tell
//! chains with the same URL apart.

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

/// An attempt in the server's log.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The time when the request was read.
    pub came: Instant,
    /// The time when the response was written.
    pub answered: Instant,
    /// The status of the response.
    pub status: u16,
}

/// Attempts by chain.
pub type Arrivals = BTreeMap<String, Vec<Arrival>>;

/// The server.
#[derive(Clone, Debug)]
pub struct Flaky {
    /// The address on which it listens.
    pub address: SocketAddr,
    log: Arc<Mutex<Arrivals>>,
}

/// Bound for the next request of a client, so that no test hangs.
const SILENCE: Duration = Duration::from_mins(1);

impl Flaky {
    /// Listens on a free port, and serves every connection in a thread of this process.
    ///
    /// # Errors
    ///
    /// No port is free.
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

    /// The log so far.
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
            // The log gets the attempt before the client sees the response, so that the next attempt finds it. The times differ by less than
            // a microsecond.
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

/// Reads a response and returns its status.
///
/// # Errors
///
/// The read fails, or there is no response.
pub fn read_answer(stream: &mut TcpStream) -> io::Result<u16> {
    let mut reader = Reader::with_reads_of(stream.read_size());
    let head = reader.head(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let framing = head.framing(true);
    if framing != Framing::Close {
        reader.body(stream, framing)?;
    }
    Ok(head.status())
}
