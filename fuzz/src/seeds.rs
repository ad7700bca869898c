//! The first inputs: an event of each kind, recordings, and scripts of the HTTP that real services speak.

use std::{env, fs, path::Path};

use pidtap::{
    event::{
        Event,
        wire::{
            AttachedEvent, DataEvent, DescriptorEvent, EventHeader, ProbeEvent, ProcessEvent, SocketEvent,
            SocketNameEvent, TcpEvent, ThreadEvent, TickEvent, flag, loss,
        },
    },
    filter::fields,
    recording::{Header, Writer},
};
use zerocopy::FromZeros as _;

/// Names the folder into which a target writes its seeds, before libFuzzer reads the corpus.
const FOLDER: &str = "PIDTAP_FUZZ_SEEDS";

/// Writes seeds into the folder that the environment names, if it names one.
///
/// # Panics
///
/// A seed cannot be written: a run without seeds finds much less, and must not look like one with them.
pub fn write(seeds: &[Vec<u8>]) {
    let Some(folder) = env::var_os(FOLDER) else { return };
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(Path::new(&folder).join(format!("seed-{number}")), seed).expect("the folder for seeds takes files");
    }
}

/// A header for any event. Encoding sets kind and length.
fn header(flags: u16) -> EventHeader {
    EventHeader { time_ns: 1, kind: 0, flags, length: 0, tgid: 100, tid: 100 }
}

/// One event of each kind, encoded.
fn events() -> Vec<Vec<u8>> {
    let request = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    let data = DataEvent {
        header: header(flag::LAST),
        result: request.len() as i32,
        captured: request.len() as u32,
        ..DataEvent::new_zeroed()
    };
    let path = b"/run/service.sock";
    let name = SocketNameEvent { header: header(0), path_length: path.len() as u32, ..SocketNameEvent::new_zeroed() };
    let tick = TickEvent { header: header(0), lost_events: [0; loss::CAUSES], lost_bytes: [0; loss::CAUSES] };
    [
        Event::Process(ProcessEvent { header: header(flag::NAMED_TARGET), ..ProcessEvent::new_zeroed() }),
        Event::Attached(AttachedEvent { header: header(0), ..AttachedEvent::new_zeroed() }),
        Event::Socket(SocketEvent { header: header(0), family: 2, ..SocketEvent::new_zeroed() }),
        Event::Data(data, request),
        Event::Tcp(TcpEvent { header: header(0), ..TcpEvent::new_zeroed() }),
        Event::Descriptor(DescriptorEvent { header: header(0), ..DescriptorEvent::new_zeroed() }),
        Event::Probe(ProbeEvent { header: header(0), ..ProbeEvent::new_zeroed() }),
        Event::SocketName(name, path),
        Event::Thread(ThreadEvent { header: header(flag::LOOKED), state: b'S', ..ThreadEvent::new_zeroed() }),
        Event::Tick(tick),
        Event::Detached(tick),
    ]
    .iter()
    .map(|event| {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        bytes
    })
    .collect()
}

/// Seeds for the target `event`.
pub fn event() -> Vec<Vec<u8>> {
    events()
}

/// Seeds for the target `recording`: a whole file, and bare events that the target wraps into a file.
///
/// # Panics
///
/// Never: a write into memory does not fail.
pub fn recording() -> Vec<Vec<u8>> {
    let events = events();
    let mut writer = Writer::new(vec![0], &Header::default()).expect("memory takes everything");
    for event in &events {
        writer.write_event(event).expect("memory takes everything");
    }
    let file = writer.finish().expect("memory takes everything");
    let bare = std::iter::once(vec![1]).chain(events).flatten().collect();
    let cut_off = file[..file.len() - 50].to_vec();
    vec![file, bare, cut_off]
}

/// Seeds for the target `body`: a body of each shape, after the byte that selects its media type.
pub fn body() -> Vec<Vec<u8>> {
    let bodies: [(u8, &[u8]); 7] = [
        (0, b"{\"a\":[1,{\"token\":\"x\\\"\"}],\"b\":null}{\"c\":-1.5e3"),
        (1, b"{\"a\":\"cut"),
        (2, b"a=1&password=%20x+y&doc=%7B%22token%22%3A1%7D&%zz"),
        (3, b": hello\nevent: x\ndata: {\"a\":1}\r\n\ndata:[DONE]\n"),
        (4, b"text\twith \x1b[31m\xe2\x80\xae\xff\r\n"),
        (5, b"--X\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nsecret\r\n--X\r\nContent-Type: image/png\r\n\r\n\0\x01\r\n--X--\r\n"),
        (6, b"\x89PNG\0\x01"),
    ];
    bodies.into_iter().map(|(first, bytes)| [&[first], bytes].concat()).collect()
}

/// Seeds for the target `redact`: texts with secrets of each kind, after the byte that selects their place; for each place, also an
/// empty text and a mixed one around the secret.
pub fn redact() -> Vec<Vec<u8>> {
    let texts: [(u8, &[u8]); 14] = [
        (0, br#"{"a":[1,{"token":"x\""}],"pin":12,"name":"password","value":"x","i":"{\"token\":\"x\"}"}"#),
        (0, b"password: x\nprivate_key: |\n  a\n  b\nexport API_KEY=\"x\"\nBearer abcd1234 -u user:pass"),
        (0, b"<a><wsse:Password Type='x'>s</wsse:Password><add key=\"token\" value=\"x\"/><![CDATA[<pin>1</pin>]]></a>"),
        (0, b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY----- 4242 4242 4242 4242 eyJhbGciOiJIUzI1NiJ9.abcdef.x"),
        (1, b"a=1&password=%20x+y&doc=%7B%22token%22%3A1%7D&code=abcdef&redirect_uri=x&%zz"),
        (2, b"--X\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nsecret\r\n--X\r\n\r\n\0\r\n--X--\r\n"),
        (4, b"Bearer abcd1234 &quot;token&quot;:&quot;x&quot;"),
        (5, b"a=1; Path=/, b=2; Expires=x"),
        (6, b"a.example, user:pass@h:80"),
        (7, b"graphql-ws, bearer, abc.def"),
        (8, b"Authorization\nDigest username=\"x\""),
        (8, b"WWW-Authenticate\nNegotiate oYG2MIGzoAMKAQChCwYJKoZI"),
        (12, b"http://u:p@h/p?next=http%3A%2F%2Fi%2Fq%3Ftoken%3Dx&user[pass]=y#access_token=z"),
        (16, b"{\"token\":"),
    ];
    let mut seeds: Vec<_> = texts.into_iter().map(|(first, bytes)| [&[first], bytes].concat()).collect();
    for place in 5..21_u8 {
        seeds.push(vec![place << 2]);
        seeds.push([&[place << 2], &br#"token="a: b' <c> {\[%22@&amp;//=--X 42"#[..]].concat());
    }
    seeds
}

/// Seeds for the target `curl`: requests whose fields each follow their length.
pub fn curl() -> Vec<Vec<u8>> {
    let request = |flags: u8, fields: &[&str]| {
        let fields = fields.iter().flat_map(|field| [&[field.len() as u8], field.as_bytes()].concat());
        std::iter::once(flags).chain(fields).collect::<Vec<u8>>()
    };
    vec![
        request(0, &["/"]),
        request(0b1111, &["/a?b=c&d='e'!", "h.example", "Accept", "*/*", "X", "it's \"$HOME\" `x` !!", "Y", "", "a=1"]),
        request(0b1001, &["http://other/p", "user:pass@h", "{\"password\":\"x\"}\n"]),
        request(0b1010_1011, &["*", "docker", "Content-Type", "text/plain", "\0-%d\\n'\r\n\t\u{202e}!", "/run/a b"]),
        request(0b0111_0010, &["/\u{fc}/../b#[1]{2}", "Authorization", "Bearer abcd1234", "@file"]),
    ]
}

/// Seeds for the target `filter`: a term for each field, each other term, and every operator.
pub fn filter() -> Vec<Vec<u8>> {
    let joined = [
        "host:stripe status>=500 method=POST >1s path~/v1/",
        "a or b c | (d && !e) -f not (g or 'h i')",
        r#"path~^/(a|b)/\d+[)|]$ "say \"hi\" \\" status=5xx|404 <=1.5MiB"#,
        "localhost:8080 http://h/p ::1 is:open|slow has:header.x status >= 500 conn=#4",
    ];
    let single = fields().iter().map(|help| help.example);
    joined.into_iter().chain(single).map(|text| text.as_bytes().to_vec()).collect()
}

/// Seeds for the target `http1`: conversations as scripts, with the traced process as server (details 4 and 0) or client.
pub fn http1() -> Vec<Vec<u8>> {
    /// The traced process reads on connection 0, and writes.
    const READ: u8 = 4;
    const WRITE: u8 = 0;
    let conversations: &[&[(u8, &str)]] = &[
        &[
            (READ, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
            (WRITE, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            (READ, "HEAD /a?b HTTP/1.1\r\nHost: h\r\n\r\n"),
            (WRITE, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
        ],
        &[
            (WRITE, "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"),
            (READ, "HTTP/1.1 100 Continue\r\n\r\n"),
            (WRITE, "3;x=\"y\"\r\nabc\r\n0\r\nT: v\r\n\r\n"),
            (READ, "HTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\nHTTP/1.1 503 No\r\nRetry-After: 1\r\n"),
            (READ, "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        ],
        &[
            (READ, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n"),
            (WRITE, "HTTP/1.1 204 No Content\r\n\r\n"),
            (WRITE, "HTTP/1.1 200 OK\nContent-Length: 1\nX: a\n b\n\n1"),
        ],
        &[(READ, "GET / HTTP/1.0\r\n\r\n"), (WRITE, "HTTP/1.0 200 OK\r\n\r\nuntil the close")],
        &[
            (WRITE, "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"),
            (READ, "HTTP/1.1 200 OK\r\n\r\n"),
            (WRITE, "\x16\x03\x01\0\x05hello"),
        ],
        &[
            (READ, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
            (WRITE, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\u{1}x"),
        ],
        &[(WRITE, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), (WRITE, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")],
        // A header before the first request: by a load balancer, by a SOCKS proxy.
        &[
            (READ, "PROXY TCP4 192.0.2.1 192.0.2.2 56324 80\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
            (WRITE, "HTTP/1.1 204 No Content\r\n\r\n"),
        ],
        &[(
            READ,
            "\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x09\0PGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        )],
        &[
            (WRITE, "\x05\x02\0\x02"),
            (READ, "\x05\x02"),
            (WRITE, "\x01\x01u\x01p"),
            (READ, "\x01\0"),
            (WRITE, "\x05\x01\0\x03\x01h\0P"),
            (READ, "\x05\0\0\x01\0\0\0\0\0\0"),
            (WRITE, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        ],
        &[(WRITE, "GET http://h/x HTTP/1.1\r\n\r\n"), (READ, "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")],
    ];
    let mut scripts = Vec::new();
    for conversation in conversations {
        // The whole, byte by byte as far as the bound allows, and before each kind of step that is not data.
        let whole: Vec<u8> = conversation.iter().flat_map(|(way, text)| data(*way, text.as_bytes())).collect();
        let split =
            conversation.iter().flat_map(|(way, text)| text.as_bytes().chunks(7).flat_map(|part| data(*way, part)));
        scripts.push(split.collect());
        scripts.extend((9..16).map(|action| [&[10, 0], &whole[..], &[action, 0]].concat()));
        scripts.push(whole);
    }
    scripts
}

/// One data step of a script.
fn data(way: u8, payload: &[u8]) -> Vec<u8> {
    [&[0, way, payload.len() as u8], payload].concat()
}
