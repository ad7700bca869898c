//! Messages.

/// A request without a body. Each of `lines` is a header line.
pub fn get(target: &str, host: &str, lines: &[&str]) -> Vec<u8> {
    message(&format!("GET {target} HTTP/1.1"), &[&[&*format!("Host: {host}")], lines].concat(), &[])
}

/// A request with a body.
pub fn send(method: &str, target: &str, host: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let lines = [format!("Host: {host}"), format!("Content-Type: {kind}"), length(body)];
    message(&format!("{method} {target} HTTP/1.1"), &lines.each_ref().map(String::as_str), body)
}

/// A request with a JSON body.
pub fn post(target: &str, host: &str, body: &str) -> Vec<u8> {
    send("POST", target, host, JSON, body.as_bytes())
}

/// A response with a body.
pub fn answer(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let lines = [format!("Content-Type: {kind}"), length(body)];
    message(&format!("HTTP/1.1 {status}"), &lines.each_ref().map(String::as_str), body)
}

/// A response with a JSON body.
pub fn json(status: &str, body: &str) -> Vec<u8> {
    answer(status, JSON, body.as_bytes())
}

/// A response without a body.
pub fn empty(status: &str) -> Vec<u8> {
    let lines: &[&str] = if status.starts_with("204") { &[] } else { &["Content-Length: 0"] };
    message(&format!("HTTP/1.1 {status}"), lines, &[])
}

/// Any message.
pub fn message(start: &str, lines: &[&str], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{start}\r\n").into_bytes();
    for line in lines {
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

fn length(body: &[u8]) -> String {
    format!("Content-Length: {}", body.len())
}

/// The media type.
pub const JSON: &str = "application/json";
