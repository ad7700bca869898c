//! Load on a server.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

/// Number of connections of every load.
pub(super) const CONNECTIONS: usize = 16;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\nUser-Agent: pidtap-bench\r\n\r\n";

/// Sends as many requests as the server takes (`wrk -t1 -c16`). Returns requests per second.
pub(super) fn saturate(address: SocketAddr, seconds: u32) -> anyhow::Result<f64> {
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s"), &format!("http://{address}/")])
        .output()
        .context("could not start wrk: run `cargo xtask setup`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("Socket errors") || text.contains("Non-2xx") || !output.status.success() {
        bail!("wrk had errors: {text}");
    }
    text.lines()
        .find_map(|line| line.trim().strip_prefix("Requests/sec:"))
        .and_then(|number| number.trim().parse().ok())
        .with_context(|| format!("wrk says nothing of requests a second: {text}"))
}

/// Sends requests at a fixed rate, evenly spaced, on keep-alive connections in turn. Returns their number.
///
/// wrk has no such mode. The loop reads the response of a connection before it writes its next request, one turn later: reading
/// delays the schedule only where the server is a whole turn behind.
pub(super) fn steady(address: SocketAddr, rate: u32, time: Duration) -> anyhow::Result<u64> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(address)?);
    }
    let total = (f64::from(rate) * time.as_secs_f64()) as u64;
    let gap = time / u32::try_from(total).context("too many requests")?;
    let begin = Instant::now();
    for number in 0..total {
        let due = gap * number as u32;
        if let Some(early) = due.checked_sub(begin.elapsed()) {
            std::thread::sleep(early);
        }
        let connection = &mut connections[number as usize % CONNECTIONS];
        connection.finish()?;
        connection.ask()?;
    }
    for connection in &mut connections {
        connection.finish()?;
    }
    let took = begin.elapsed();
    if took > time.mul_f64(1.05) {
        bail!("the machine cannot keep {rate} requests a second: {total} took {took:?} instead of {time:?}");
    }
    // The first request of each connection finds out the length of the response.
    Ok(total + CONNECTIONS as u64)
}

struct Connection {
    stream: TcpStream,
    /// Every response has the length of the first.
    answer: Vec<u8>,
    open: bool,
}

impl Connection {
    fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut connection = Self { stream, answer: vec![0; 4096], open: false };
        connection.ask()?;
        let mut length = 0;
        while !connection.answer[..length].ends_with(b"\r\n\r\nhello from nginx\n") {
            let count = connection.stream.read(&mut connection.answer[length..])?;
            if count == 0 {
                bail!("nginx gave an answer that is not its own");
            }
            length += count;
        }
        connection.answer.truncate(length);
        connection.open = false;
        Ok(connection)
    }

    fn ask(&mut self) -> anyhow::Result<()> {
        self.open = true;
        Ok(self.stream.write_all(REQUEST)?)
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        if self.open {
            self.stream.read_exact(&mut self.answer)?;
            self.open = false;
        }
        Ok(())
    }
}
