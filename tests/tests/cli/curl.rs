//! A real shell and a real curl run the copied commands. The arriving requests equal the recorded ones.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use pidtap::{
    engine::{Engine, EngineOptions, Update},
    event::Event,
    model::{
        connection::{ConnectionInfo, Endpoint, Role},
        exchange::Exchange,
    },
    recording::Reader,
    text::redact::Redactor,
    view::curl,
};
use tracer_tests::cli::{PAIR, Pair, recording};

/// Bound for curl, which takes milliseconds on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request that a server received.
#[derive(Debug, PartialEq, Eq)]
struct Arrived {
    start: Vec<u8>,
    /// Fields, sorted, without Content-Length, which the body implies. Names are in lower case, as curl changes the case of some.
    fields: Vec<Vec<u8>>,
    body: Vec<u8>,
}

fn read(stream: &mut (impl Read + Unpin), mut proceed: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Arrived> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line)?;
        ensure!(line.ends_with(b"\r\n"), "a whole line");
        line.truncate(line.len() - 2);
        Ok(line)
    };
    let start = line()?;
    let (mut fields, mut length, mut chunked) = (Vec::new(), 0, false);
    loop {
        let field = line()?;
        if field.is_empty() {
            break;
        }
        let lower = String::from_utf8_lossy(&field).to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().context("a length")?;
            continue;
        }
        chunked |= lower.starts_with("transfer-encoding:");
        if lower.starts_with("expect:") {
            proceed()?;
        }
        fields.push(lower_case(&field));
    }
    fields.sort();
    let mut body = Vec::new();
    loop {
        if chunked {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            length = u64::from_str_radix(size.trim(), 16).context("a chunk size")?;
        }
        let before = body.len() as u64;
        (&mut reader).take(length).read_to_end(&mut body)?;
        ensure!(body.len() as u64 - before == length, "a whole body");
        if !chunked {
            return Ok(Arrived { start, fields, body });
        }
        reader.read_line(&mut String::new())?;
        if length == 0 {
            return Ok(Arrived { start, fields, body });
        }
    }
}

fn lower_case(field: &[u8]) -> Vec<u8> {
    let name = field.split(|&byte| byte == b':').next().unwrap_or_default().len();
    [&field[..name].to_ascii_lowercase(), field[name..].trim_ascii_end()].concat()
}

/// Answers requests, each on its own connection, and returns them.
fn serve(listener: TcpListener, count: usize) -> JoinHandle<anyhow::Result<Vec<Arrived>>> {
    std::thread::spawn(move || {
        (0..count)
            .map(|_| {
                let (mut stream, _) = listener.accept()?;
                stream.set_read_timeout(Some(PATIENCE))?;
                let mut answers = stream.try_clone()?;
                let proceed = || Ok(answers.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?);
                let arrived = read(&mut stream, proceed)?;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
                Ok(arrived)
            })
            .collect()
    })
}

pub(crate) fn exchanges(recording: &[u8]) -> anyhow::Result<Vec<Exchange>> {
    let mut reader = Reader::open(recording)?;
    let mut engine = Engine::new(EngineOptions::default());
    while let Some(event) = reader.next_event()? {
        engine.handle_event(&Event::decode(event)?);
    }
    engine.finish();
    let updates = std::iter::from_fn(|| engine.poll());
    let exchanges = updates.filter_map(|update| match update {
        Update::Exchange(exchange) => Some((*exchange).clone()),
        _ => None,
    });
    Ok(exchanges.collect())
}

/// The same requests with this address as authority.
fn moved(mut exchange: Exchange, address: SocketAddr) -> Exchange {
    let mut connection: ConnectionInfo = (*exchange.connection).clone();
    let text = address.to_string().into();
    match exchange.role {
        Role::Client => (connection.remote, connection.remote_text) = (Endpoint::Inet(address), text),
        Role::Server => (connection.local, connection.local_text) = (Endpoint::Inet(address), text),
    }
    exchange.connection = Arc::new(connection);
    exchange
}

fn run(command: &str, home: &Path) -> anyhow::Result<()> {
    let output = Command::new("sh")
        .args(["-c", command])
        .env_remove("http_proxy")
        .env_remove("ALL_PROXY")
        .env("HOME", home)
        .env("CURL_HOME", home)
        .output()
        .context("sh cannot be run")?;
    ensure!(output.status.success(), "{command}\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Sends all requests again, and returns the arriving ones.
fn sent_again(exchanges: Vec<Exchange>) -> anyhow::Result<Vec<(String, Arrived)>> {
    let home = tempfile::tempdir()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = serve(listener, exchanges.len());
    let mut commands = Vec::new();
    for exchange in exchanges {
        let command = curl::command(&moved(exchange, address), Redactor::new(true)).context("it has a request")?;
        let ended = run(&command, home.path());
        if ended.is_err() {
            // The server waits for another request.
            drop(TcpStream::connect(address));
        }
        ended?;
        commands.push(command);
    }
    let arrived = server.join().expect("it does not panic")?;
    Ok(commands.into_iter().zip(arrived).collect())
}

fn check(requests: &[Vec<u8>]) -> anyhow::Result<()> {
    let pairs = requests.iter().map(|request| Pair { request, ..PAIR });
    let exchanges = exchanges(&recording(pairs)?)?;
    assert_eq!(exchanges.len(), requests.len());
    for ((command, arrived), request) in sent_again(exchanges)?.iter().zip(requests) {
        let expected = read(&mut &request[..], || Ok(()))?;
        assert_eq!(*arrived, expected, "\n{}\nwas made into\n{command}", String::from_utf8_lossy(request));
    }
    Ok(())
}

fn request(start: &str, fields: &[&str], body: &[u8]) -> Vec<u8> {
    let mut request = format!("{start}\r\n").into_bytes();
    for field in fields {
        // Latin-1, in which a string can hold every byte.
        request.extend(field.chars().map(|character| character as u8));
        request.extend_from_slice(b"\r\n");
    }
    if !body.is_empty() {
        request.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
    request
}

const HOST: &str = "Host: payments.example";

#[test]
fn heads_arrive_as_they_were() -> anyhow::Result<()> {
    let mut requests = vec![
        request("GET /hello?a=1&b=%27%20+x HTTP/1.1", &[HOST], b""),
        request("GET / HTTP/1.1", &[HOST, "User-Agent: it's", "Accept: */*", "accept: text/html"], b""),
        request("GET / HTTP/1.1", &["Host: 127.0.0.1:80", "Accept-Encoding: gzip, br"], b""),
        request("GET / HTTP/1.1", &["host: Mixed.Example:8080"], b""),
        request("GET / HTTP/1.1", &["Host: example.org:81", "Cookie: a=1; b=\"2\"", "Authorization: Basic eDp5"], b""),
        request("GET / HTTP/1.0", &[], b""),
        request("GET / HTTP/1.0", &["Host: old.example", "Connection: keep-alive"], b""),
        request("HEAD /x HTTP/1.1", &[HOST], b""),
        request("DELETE /x HTTP/1.1", &[HOST], b""),
        request("OPTIONS * HTTP/1.1", &[HOST], b""),
        request("CONNECT tunnel.example:443 HTTP/1.1", &["Host: tunnel.example:443"], b""),
        request("PROPFIND /dav HTTP/1.1", &[HOST, "Depth: 1"], b""),
        request("GET http://other.example/p?q HTTP/1.1", &["Host: other.example"], b""),
        request("POST /nothing HTTP/1.1", &[HOST], b""),
        request("POST /zero HTTP/1.1", &[HOST, "Content-Length: 0"], b""),
        request(
            "GET / HTTP/1.1",
            &[HOST, "X-Empty:", "X-Tab: a\tb", "X-Raw: caf\u{e9} \u{80}\u{ff}", "X-Two: 1", "X-Two: 2"],
            b"",
        ),
        request(
            "GET / HTTP/1.1",
            &[HOST, "X-Sh: $HOME `id` \"x\" 'y' \\ ! # ~ * ; & | < > % %s \\n", "X-At: @/etc/passwd"],
            b"",
        ),
    ];
    for odd in ["/a/../b/./c", "/a//b", "/[1]{2,3}", "/a#b", "/a?", "/?", "/%zz%", "/a|b^c`d\"<>\\", "/~a*?'(b)!$&;"] {
        requests.push(request(&format!("GET {odd} HTTP/1.1"), &[HOST], b""));
    }
    check(&requests)
}

#[test]
fn bodies_arrive_byte_for_byte() -> anyhow::Result<()> {
    let every_byte: Vec<u8> = (0..=255).collect();
    let long = "{\"name\":\"Jürgen 日本 it's\",\"n\":[1,2,3]}\n".repeat(200);
    let bodies: Vec<&[u8]> = vec![
        b"a=1&b=it%27s",
        b"{\"a\":\"it's \\\"quoted\\\" $HOME `id` \\\\ %s\"}",
        b"@/etc/passwd",
        b"two\nlines\n",
        b"\n\n",
        b"\r\n\r\n",
        b"-n",
        b"\0",
        b"a\0b\0",
        b"\xff\xfe\x80",
        "\u{202e}hidden\u{200b}".as_bytes(),
        &every_byte,
        long.as_bytes(),
    ];
    let mut requests = Vec::new();
    for body in &bodies {
        requests.push(request("POST /p HTTP/1.1", &[HOST, "Content-Type: text/plain"], body));
    }
    requests.push(request("POST /p HTTP/1.1", &[HOST], b"no type"));
    requests.push(request("PUT /p HTTP/1.1", &[HOST, "Content-Type: application/x-www-form-urlencoded"], b"a=1"));
    requests.push(request("GET /search HTTP/1.1", &[HOST], b"{\"query\":{}}"));
    requests.push(request("PATCH /p HTTP/1.0", &[HOST], &every_byte));
    requests.push(request("POST /p HTTP/1.1", &[HOST, "Expect: 100-continue"], long.as_bytes()));
    requests.push(request(
        "POST /p HTTP/1.1",
        &[HOST, "Content-Encoding: gzip"],
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03K\x04\0C\xbe\xb7\xe8\x01\0\0\0",
    ));
    let chunks = b"POST /c HTTP/1.1\r\nHost: payments.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\n\0\xff'\n\r\n0\r\n\r\n";
    requests.push(chunks.to_vec());
    check(&requests)
}

/// Requests of real clients and proxies equal the recorded ones.
#[test]
fn requests_of_real_programs_arrive_as_they_were() -> anyhow::Result<()> {
    for name in ["urllib3_client", "node_fetch", "go_client", "curl", "retry_wget", "nginx_proxied"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("recordings/{name}.tap"));
        let mut exchanges = exchanges(&fs::read(path)?)?;
        exchanges.retain(|exchange| {
            exchange.request.as_ref().is_some_and(|request| {
                &*request.method != "CONNECT"
                    && request.body.captured.len() as u64 == request.body.bytes
                    && request.trailers.lines.is_empty()
            })
        });
        exchanges.truncate(8);
        ensure!(!exchanges.is_empty(), "{name} has no whole requests");
        let requests: Vec<_> = exchanges.iter().filter_map(|exchange| exchange.request.clone()).collect();
        for ((command, arrived), request) in sent_again(exchanges)?.iter().zip(requests) {
            let mut fields: Vec<Vec<u8>> = request
                .headers
                .iter()
                .filter(|(name, _)| !name.eq_ignore_ascii_case(b"content-length"))
                .map(|(name, value)| lower_case(&[name, b": ", value].concat()))
                .collect();
            fields.sort();
            assert_eq!(arrived.fields, fields, "{name}: {command}");
            let start = format!("{} {} HTTP/{}", request.method, request.target, request.version.number());
            assert_eq!(String::from_utf8_lossy(&arrived.start), start, "{name}: {command}");
            assert_eq!(arrived.body, request.body.captured, "{name}: {command}");
        }
    }
    Ok(())
}
