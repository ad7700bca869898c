//! An independent reader of copied commands: it splits a command into words as a shell does.

use std::{net::SocketAddr, sync::Arc};

use pidtap::{
    event::{SocketInode, Timestamp},
    model::{
        connection::{ConnectionId, ConnectionInfo, Endpoint, Protocol, Role},
        exchange::{
            Body, Exchange, ExchangeId, Fields, Misfit, Outcome, ProcessRef, Quality, Request, Scheme, Timing, Version,
        },
    },
    text::redact::Redactor,
    view::curl,
};

/// Options that take a word.
const WITH_WORD: [&str; 9] = [
    "-X",
    "-H",
    "--data-raw",
    "--data-binary",
    "--request-target",
    "--connect-to",
    "--unix-socket",
    "--abstract-unix-socket",
    "--max-time",
];
/// Options without a word.
const ALONE: [&str; 4] = ["--head", "--http1.0", "--compressed", "--globoff"];
const METHODS: [&str; 6] = ["GET", "POST", "HEAD", "PUT", "DELETE", "!X'$(id)`*"];

/// Makes a request of `bytes` and checks its command.
///
/// # Panics
///
/// The words of the command differ from the request.
pub fn check(bytes: &[u8]) {
    let Some(exchange) = exchange(bytes) else { return };
    for redactor in [Redactor::new(false), Redactor::new(true)] {
        let text = curl::command(&exchange, redactor).expect("there is a request");
        for line in text.lines() {
            assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{line:?}");
            // A terminal may cut off a longer line, and `!` and `^` may expand from the history.
            assert!(line.len() <= 1024 && !line.starts_with(['^', '!']), "{line:?}");
        }
        let commands = Shell(text.as_bytes()).commands();
        if !redactor.hides() {
            is_what_was_sent(&commands, exchange.request.as_ref().expect("just made"));
        }
    }
}

/// Reads fields; a length precedes each.
fn take<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let Some((length, after)) = rest.split_first() else { return &[] };
    let (field, after) = after.split_at(after.len().min(usize::from(*length)));
    *rest = after;
    field
}

fn exchange(mut bytes: &[u8]) -> Option<Exchange> {
    let rest = &mut bytes;
    let flags = *rest.split_off_first()?;
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let target = text(&value(take(rest)));
    let mut headers = Fields::default();
    if flags & 1 != 0 {
        headers.push(b"Host", &value(take(rest)));
    }
    for _ in 0..flags >> 1 & 3 {
        let name = take(rest);
        headers.push(name, &value(take(rest)));
    }
    if flags & 8 != 0 {
        headers.push(b"Content-Length", b"9");
    }
    let body = take(rest).to_vec();
    let path = text(take(rest)).replace('\0', "");
    let address = SocketAddr::from(([127, 0, 0, 1], 8080));
    let remote = match flags >> 4 & 3 {
        0 | 1 => Endpoint::Inet(address),
        2 => Endpoint::Unix(path),
        _ => Endpoint::Unknown,
    };
    let connection = ConnectionInfo {
        remote_text: remote.to_string().into(),
        remote,
        protocol: Protocol::Http1,
        ..ConnectionInfo::new(ConnectionId(1), SocketInode(1))
    };
    let method = METHODS[body.len() % METHODS.len()];
    let version = if flags & 0x40 == 0 { Version::Http11 } else { Version::Http10 };
    let request = Request {
        body: Body { bytes: body.len() as u64 + u64::from(flags >> 7), captured: body, missing: 0 },
        ..Request::new(method.into(), target.into(), version, headers)
    };
    Some(Exchange {
        id: ExchangeId(1),
        role: Role::Client,
        outcome: Outcome::Complete,
        quality: Quality::Whole,
        started: Timestamp(1),
        process: ProcessRef { pid: 1, tid: 1, name: "x".into() },
        connection: Arc::new(connection),
        stream: None,
        scheme: Scheme::Http,
        request: Some(request),
        interim: Vec::new(),
        response: None,
        messages: None,
        request_misfit: Misfit::default(),
        response_misfit: Misfit::default(),
        timing: Timing::default(),
        error: None,
        incidents: Vec::new(),
    })
}

/// Makes a field value as the engine delivers it: one line, without blanks around it.
fn value(field: &[u8]) -> Vec<u8> {
    let line = field.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.trim_ascii().to_vec()
}

type Words = Vec<Vec<u8>>;

/// A reader for the subset of XCU section 2 in which pidtap writes commands. Everything else is a fault, even a character that shells
/// take literally under some conditions.
struct Shell<'a>(&'a [u8]);

impl Shell<'_> {
    /// The commands of one pipeline.
    fn commands(mut self) -> Vec<Words> {
        let mut commands = vec![Words::new()];
        loop {
            match self.0 {
                [] => return commands,
                [b' ', ..] => self.skip(1),
                [b'\\', b'\n', ..] => self.skip(2),
                [b'|', b' ', b'\\', b'\n', ..] => {
                    self.skip(4);
                    commands.push(Words::new());
                }
                [b'\n', b'#', ..] => {
                    let end = self.0[1..].iter().position(|byte| *byte == b'\n').expect("a comment is a line");
                    self.skip(1 + end);
                }
                [b'\n'] => self.skip(1),
                _ => {
                    let word = self.word();
                    commands.last_mut().expect("one from the beginning").push(word);
                }
            }
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.0 = &self.0[bytes..];
    }

    fn word(&mut self) -> Vec<u8> {
        let mut word = Vec::new();
        loop {
            match self.0 {
                [b'\'', ..] => self.quoted(&mut word),
                [b'\\', escaped @ (b'\'' | b'!' | b'\\'), ..] => {
                    word.push(*escaped);
                    self.skip(2);
                }
                [b'\\', b'\n', ..] => self.skip(2),
                [b'"', ..] => {
                    self.0 = self.0.strip_prefix(b"\"$(printf ").expect("double quotes have one use");
                    let mut format = Vec::new();
                    while self.0.first() != Some(&b')') {
                        match self.0 {
                            [b'\\', b'\n', ..] => self.skip(2),
                            _ => self.quoted(&mut format),
                        }
                    }
                    self.0 = self.0.strip_prefix(b")\"").expect("and no more of it");
                    let mut bytes = printed(&format);
                    assert!(!bytes.contains(&0), "no argument has that");
                    while bytes.ends_with(b"\n") {
                        bytes.pop();
                    }
                    word.extend_from_slice(&bytes);
                }
                [] | [b' ' | b'\n', ..] => return word,
                [byte, ..] => {
                    assert!(byte.is_ascii_alphanumeric() || b"_./:@,+-".contains(byte), "{:?}", char::from(*byte));
                    word.push(*byte);
                    self.skip(1);
                }
            }
        }
    }

    fn quoted(&mut self, word: &mut Vec<u8>) {
        self.0 = self.0.strip_prefix(b"'").expect("a quote");
        let end = self.0.iter().position(|byte| *byte == b'\'').expect("it is closed");
        // Interactive shells expand history before they read quotes, and some end a quote with the line.
        assert!(!self.0[..end].iter().any(|byte| matches!(byte, b'!' | b'\n')), "history expansion");
        word.extend_from_slice(&self.0[..end]);
        self.skip(end + 1);
    }
}

/// Returns the bytes that `printf` writes for a format without arguments.
fn printed(mut format: &[u8]) -> Vec<u8> {
    assert!(!format.starts_with(b"-"), "an option");
    let mut out = Vec::new();
    while let Some(byte) = format.split_off_first() {
        match (byte, format) {
            (b'%', [b'%', ..]) => out.push(b'%'),
            (b'\\', [b'\\', ..]) => out.push(b'\\'),
            (b'\\', [b'n', ..]) => out.push(b'\n'),
            (b'\\', [b'r', ..]) => out.push(b'\r'),
            (b'\\', [b't', ..]) => out.push(b'\t'),
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                format = &format[2..];
            }
            (b'%' | b'\\', _) => panic!("not what it seems"),
            (byte, _) => {
                out.push(*byte);
                continue;
            }
        }
        format = &format[1..];
    }
    out
}

fn is_what_was_sent(commands: &[Words], request: &Request) {
    let (curl, piped) = match commands {
        [curl] => (curl, None),
        [printf, curl] => {
            let [name, format] = &printf[..] else { panic!("a format alone") };
            assert_eq!(name, b"printf");
            (curl, Some(printed(format)))
        }
        _ => panic!("one command, perhaps behind printf"),
    };
    let [name, url, options @ ..] = &curl[..] else { panic!("a URL") };
    assert_eq!(name, b"curl");
    let mut options = options.iter();
    let mut target = None;
    let (mut body, mut method, mut fields) = (None, None, Vec::new());
    while let Some(option) = options.next() {
        let option = str::from_utf8(option).expect("options are ASCII");
        if ALONE.contains(&option) {
            if option == "--head" {
                method = Some(&b"HEAD"[..]);
            }
            continue;
        }
        assert!(WITH_WORD.contains(&option), "{option} is no option");
        let word = &options.next().expect("it takes a word")[..];
        match option {
            "-X" => method = Some(word),
            "-H" => fields.push(word),
            "--data-raw" => body = Some(word.to_vec()),
            "--data-binary" => {
                assert_eq!(word, b"@-");
                body = piped.clone();
            }
            "--request-target" => target = Some(word),
            _ => {}
        }
    }
    let url = str::from_utf8(url).expect("URLs are text");
    let (_, path) = url.strip_prefix("http://").expect("a scheme").split_once('/').expect("a path");
    match target {
        Some(target) => assert_eq!(target, request.target.replace('\0', "").as_bytes()),
        None => assert_eq!(format!("/{path}"), &*request.target),
    }
    let default = if body.is_some() { b"POST" } else { &b"GET"[..] };
    assert_eq!(method.unwrap_or(default), request.method.as_bytes());
    let sent = &request.body.captured;
    assert_eq!(body.unwrap_or_default(), *sent);
    for (name, value) in request.headers.iter() {
        let made = ["content-length", "host", "accept", "content-type", "transfer-encoding", "content-encoding"];
        let is_token =
            !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b));
        if made.iter().any(|made| name.eq_ignore_ascii_case(made.as_bytes())) || !is_token || value.contains(&0) {
            continue;
        }
        let field = if value.is_empty() { [name, b";"].concat() } else { [name, b": ", value].concat() };
        assert!(fields.contains(&&field[..]), "{:?}", String::from_utf8_lossy(&field));
    }
}
