//! The server side of ground truth: the path selects the response, and a log gets what the server receives and sends.
//!
//! | path | answer |
//! | --- | --- |
//! | `/get/N/ID` | `N` bytes with Content-Length (HEAD: the same head) |
//! | `/chunked/N/ID` | `N` bytes in chunks with extensions, and trailers |
//! | `/close/N/ID` | `N` bytes up to the end of the stream |
//! | `/status/S/ID` | status `S`, with a body if the status allows one |
//! | `/interim/ID` | 103, then 200 |
//! | `/echo/ID` | length of the received body |
//! | `/early/ID` | 413 before the body is read, then the connection ends |
//! | `/reset/N/ID` | half of `N` promised bytes, then RST |
//! | `/headers/N/ID` | a header section of about `N` bytes |
//! | `/hang/ID` | no response until the client closes |
//! | `/upgrade/ID`, CONNECT | 101 or 200, then an echo of every byte |
//!
//! `X-Echo-Id` of every response has the ID, which reveals a wrong pair.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::Path,
    thread,
    time::Duration,
};

use crate::{
    transport::Transport,
    truth::{Content, Exchange, Fields, Log, Request, Response, Role, id_of, pattern},
    wire::{Framing, Head, Reader},
};

/// Bytes per call.
const PIECE: usize = 64 * 1024;
/// Bound for the next request of a peer, so that no test hangs.
const SILENCE: Duration = Duration::from_mins(1);

/// A log, and the side for which it is written.
#[derive(Clone, Debug)]
pub struct Scribe {
    /// The log.
    pub log: Log,
    /// The traced side is the other one, not the one that runs this code.
    pub for_other_side: bool,
}

impl Scribe {
    /// Notes an exchange seen by a program in the role `own`.
    pub fn note(
        &self,
        own: Role,
        addresses: &(String, String),
        request: Request,
        response: Option<Response>,
        outcome: &str,
    ) {
        let (own_address, other_address) = addresses.clone();
        let (role, local, remote) = if self.for_other_side {
            (own.other(), other_address, own_address)
        } else {
            (own, own_address, other_address)
        };
        self.log.push(Exchange { role, local, remote, request, response, outcome: outcome.to_owned() });
    }
}

/// Listens on an address, and serves every connection in a thread of this process.
///
/// # Errors
///
/// The address is not free.
pub fn listen(address: &str, scribe: Scribe) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let scribe = scribe.clone();
            thread::spawn(move || {
                let mut stream = stream;
                let _ = stream.set_nodelay(true);
                let _ = stream.set_read_timeout(Some(SILENCE));
                let _ = serve(&mut stream, &scribe);
            });
        }
    });
    Ok(address)
}

/// Listens on a Unix socket like [`listen`].
///
/// # Errors
///
/// The path is not free.
pub fn listen_unix(path: &Path, scribe: Scribe) -> io::Result<()> {
    let listener = UnixListener::bind(path)?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let scribe = scribe.clone();
            thread::spawn(move || drop(serve(&mut stream, &scribe)));
        }
    });
    Ok(())
}

/// Serves a connection to its end. Returns the number of responses.
///
/// # Errors
///
/// A read or write fails. An end between requests is no error.
pub fn serve<T: Transport + ?Sized>(stream: &mut T, scribe: &Scribe) -> io::Result<u64> {
    let mut reader = Reader::with_reads_of(stream.read_size());
    let mut answers = 0;
    while let Some(head) = reader.head(stream)? {
        answers += 1;
        if !answer(stream, &mut reader, &head, scribe)? {
            break;
        }
    }
    Ok(answers)
}

/// A response.
struct Answer {
    status: u16,
    headers: Fields,
    body: Vec<u8>,
}

/// Returns whether the connection stays open.
fn answer<T: Transport + ?Sized>(
    stream: &mut T,
    reader: &mut Reader,
    head: &Head,
    scribe: &Scribe,
) -> io::Result<bool> {
    let addresses = stream.addresses();
    let [method, target, _] = head.start.clone();
    let id = id_of(&target).to_owned();
    let parts: Vec<&str> = target.split('/').collect();
    let verb = if method == "CONNECT" { "connect" } else { parts.get(1).copied().unwrap_or_default() };
    let number: usize = parts.get(2).and_then(|part| part.parse().ok()).unwrap_or_default();
    let mut request = Request {
        method: method.clone(),
        target: target.clone(),
        headers: Some(head.fields.clone()),
        body: Content::default(),
    };
    let mut interim = Vec::new();
    let early = verb == "early";
    if !early {
        if head.get("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            interim.push(100);
        }
        request.body = reader.body(stream, head.framing(false))?;
    }
    if verb == "hang" {
        let _ = drain(stream);
        scribe.note(Role::Server, &addresses, request, None, "client_timeout");
        return Ok(false);
    }
    let mut answer = Answer { status: 200, headers: vec![("X-Echo-Id".to_owned(), id.clone())], body: Vec::new() };
    let mut push = |name: &str, value: &str| answer.headers.push((name.to_owned(), value.to_owned()));
    let mut framing = Framing::Length(0);
    let mut outcome = "complete";
    let mut goes_on = true;
    match verb {
        "chunked" => {
            push("Transfer-Encoding", "chunked");
            push("Trailer", "X-Sum");
            answer.body = pattern(&id, number);
            framing = Framing::Chunked;
        }
        "close" => {
            push("Connection", "close");
            answer.body = pattern(&id, number);
            framing = Framing::Close;
            goes_on = false;
        }
        "status" => {
            answer.status = number as u16;
            if !matches!(answer.status, 204 | 304) {
                answer.body = format!("status {number}\n").into_bytes();
            }
        }
        "interim" => {
            stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")?;
            interim.push(103);
            answer.body = pattern(&id, 20);
        }
        "early" => {
            answer.status = 413;
            push("Connection", "close");
            answer.body = b"too large\n".to_vec();
            goes_on = false;
        }
        "headers" => {
            // Lines of about 1 KiB, the size of long cookies.
            for line in 0..number.div_ceil(1024) {
                let value = pattern(&format!("{id}-{line}"), 1000);
                push(&format!("X-Filler-{line}"), &String::from_utf8_lossy(&value));
            }
            answer.body = b"ok".to_vec();
        }
        "echo" => answer.body = format!("{}\n", request.body.bytes).into_bytes(),
        "reset" => {
            answer.body = pattern(&id, number);
            outcome = "reset";
            goes_on = false;
        }
        "upgrade" => {
            answer.status = 101;
            push("Connection", "Upgrade");
            push("Upgrade", head.get("upgrade").unwrap_or("websocket"));
            (outcome, goes_on) = ("upgraded", false);
        }
        "connect" => (outcome, goes_on) = ("upgraded", false),
        _ => answer.body = pattern(&id, number),
    }
    let counted = framing == Framing::Length(0) && outcome != "upgraded" && answer.status != 204;
    if counted {
        answer.headers.push(("Content-Length".to_owned(), answer.body.len().to_string()));
    }
    let wanted = method != "HEAD" && !matches!(answer.status, 204 | 304);
    let mut content = send(stream, &answer, framing, wanted, outcome == "reset")?;
    if outcome == "reset" {
        content.bytes = (answer.body.len() / 2) as u64;
        stream.reset_on_close()?;
    }
    if early {
        // The rest must be read: otherwise the kernel answers it with a reset, which discards the response.
        let _ = drain(stream);
    }
    if outcome == "upgraded" {
        send_back(stream, reader)?;
    }
    let response = Response { status: answer.status, headers: Some(answer.headers), body: content, interim };
    scribe.note(Role::Server, &addresses, request, Some(response), outcome);
    Ok(goes_on && !head.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")))
}

fn send<T: Transport + ?Sized>(
    stream: &mut T,
    answer: &Answer,
    framing: Framing,
    wanted: bool,
    half: bool,
) -> io::Result<Content> {
    let mut head = format!("HTTP/1.1 {} Whatever\r\n", answer.status);
    for (name, value) in &answer.headers {
        for part in [name, ": ", value, "\r\n"] {
            head.push_str(part);
        }
    }
    head.push_str("\r\n");
    let body = if half { &answer.body[..answer.body.len() / 2] } else { &answer.body[..] };
    let wanted = wanted && !body.is_empty();
    stream.send_head(head.as_bytes(), wanted)?;
    if !wanted {
        return Ok(Content::of(b""));
    }
    if framing == Framing::Chunked {
        return send_chunks(stream, body);
    }
    for piece in body.chunks(PIECE) {
        stream.send_body(piece)?;
    }
    Ok(Content::of(body))
}

/// Sends a body in chunks of rising size with extensions, then a trailer.
///
/// # Errors
///
/// The write fails.
pub fn send_chunks<T: Transport + ?Sized>(stream: &mut T, body: &[u8]) -> io::Result<Content> {
    let mut rest = body;
    let mut size = 1;
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(size.min(rest.len()));
        let mut bytes = format!("{:x};sig=\"a;b\"\r\n", piece.len()).into_bytes();
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
        stream.write_all(&bytes)?;
        rest = tail;
        size = (size * 3).min(PIECE);
    }
    stream.write_all(b"0;last\r\nX-Sum: 12345\r\n\r\n")?;
    Ok(Content { trailers: vec![("X-Sum".to_owned(), "12345".to_owned())], ..Content::of(body) })
}

fn drain<T: Transport + ?Sized>(stream: &mut T) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

fn send_back<T: Transport + ?Sized>(stream: &mut T, reader: &mut Reader) -> io::Result<()> {
    stream.write_all(&reader.rest())?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}
