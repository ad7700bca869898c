//! The request of an exchange as a curl command for any POSIX shell, so that it can be sent again.
//!
//! What curl sends is the request as it was: method, target, header fields, and the bytes of the body. curl's own fields
//! (`User-Agent`, `Accept`, `Content-Type`) are switched off where the request had none. Where a request cannot be had
//! again whole, comments behind the command say why. Secrets are hidden, unless the [`Redactor`] shows them; a comment
//! says either.

mod body;
mod shell;
mod target;

use std::borrow::Cow;

use crate::{
    model::exchange::{Exchange, Fields, Request, Version},
    text::redact::Redactor,
};
use target::Target;

/// Bytes of an argument, at most: Linux accepts 128 KiB (`MAX_ARG_STRLEN`), and quoting adds some.
const MAX_ARGUMENT: usize = 100 * 1024;
/// Bodies from this size on make curl ask first (`Expect: 100-continue`): 1 KiB in older versions, 1 MiB in newer ones.
const ASKS_FIRST: usize = 1024;

/// The command. `None` where the head of the request was not seen.
pub fn command(exchange: &Exchange, redactor: Redactor) -> Option<String> {
    let request = exchange.request.as_ref()?;
    let mut command = Command { redactor, options: Vec::new(), remarks: Vec::new(), hidden: false, secret: false };
    let target = Target::of(exchange, request);
    let sent = body::Sent::of(request, redactor);
    command.method(request, &sent);
    command.remark_on_losses(request);
    if request.version == Version::Http10 {
        command.option("--http1.0");
    }
    command.place(&target);
    command.fields(request, &target, &sent);
    command.body(request, &sent);
    if !request.trailers.lines.is_empty() {
        command.remarks.push("the request had trailers after the body, which curl cannot send".to_owned());
    }
    let url = shell::word(command.url(&target).as_bytes());
    command.remark_on_secrets();
    Some(command.text(&url, &sent))
}

/// A command under construction.
struct Command {
    redactor: Redactor,
    options: Vec<String>,
    remarks: Vec<String>,
    /// A secret was hidden.
    hidden: bool,
    /// A secret is shown.
    secret: bool,
}

impl Command {
    fn option(&mut self, text: &str) {
        self.options.push(text.to_owned());
    }

    fn option_with(&mut self, name: &str, value: &[u8]) {
        self.options.push(format!("{name} {}", shell::word(value)));
    }

    /// Redacts a text, and notes whether it had secrets.
    fn masked<'a>(&mut self, mask: impl Fn(Redactor) -> Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        let hidden = mask(self.redactor.showing(false));
        let shown = mask(self.redactor);
        if matches!(hidden, Cow::Owned(_)) {
            self.hidden |= shown == hidden;
            self.secret |= shown != hidden;
        }
        shown
    }

    fn masked_url(&mut self, text: &str) -> String {
        let masked = self.masked(|redactor| match redactor.url(text) {
            Cow::Borrowed(same) => Cow::Borrowed(same.as_bytes()),
            Cow::Owned(masked) => Cow::Owned(masked.into_bytes()),
        });
        String::from_utf8_lossy(&masked).into_owned()
    }

    fn method(&mut self, request: &Request, sent: &body::Sent<'_>) {
        let has_body = !sent.is_absent();
        match &*request.method {
            "GET" if !has_body => {}
            "POST" if has_body => {}
            "HEAD" if !has_body => self.option("--head"),
            method => {
                self.option_with("-X", method.as_bytes());
                if method == "HEAD" {
                    // The server would wait for a body that never comes.
                    self.option("--max-time 5");
                }
            }
        }
    }

    /// Adds the address to connect to, where the URL does not have it.
    fn place(&mut self, target: &Target<'_>) {
        match target.connect {
            target::Connect::Url => {}
            target::Connect::Address(address) => self.option_with("--connect-to", format!("::{address}").as_bytes()),
            target::Connect::Unix(path) => {
                match path.strip_prefix('@') {
                    Some(name) => self.option_with("--abstract-unix-socket", name.as_bytes()),
                    None => self.option_with("--unix-socket", path.as_bytes()),
                }
                // The replacement character stands for bytes that are no UTF-8.
                if path.contains(['\0', '\u{fffd}']) || path.ends_with('\n') {
                    self.remarks.push("the path of the socket cannot be represented here".to_owned());
                }
            }
            target::Connect::Unknown => self.remarks.push("the destination was not seen".to_owned()),
        }
        if target.host.starts_with('[') {
            self.option("--globoff");
        }
        if let Some(text) = target.asked_for {
            let text = self.masked_url(text);
            self.option_with("--request-target", text.as_bytes());
        }
    }

    /// Notes parts that an argument cannot have: NUL, and bytes that are no UTF-8, for which a replacement character
    /// stands.
    fn remark_on_losses(&mut self, request: &Request) {
        if [&request.method, &request.target].iter().any(|part| part.contains(['\0', '\u{fffd}'])) {
            self.remarks.push("the method and target cannot be represented here".to_owned());
        }
    }

    fn url(&mut self, target: &Target<'_>) -> String {
        let path = self.masked_url(target.path);
        format!("{}://{}{path}", target.scheme.name(), target.host)
    }

    fn fields(&mut self, request: &Request, target: &Target<'_>, sent: &body::Sent<'_>) {
        let headers = &request.headers;
        let mut left_out = 0;
        for (name, value) in headers.iter() {
            let is = |candidate: &str| name.eq_ignore_ascii_case(candidate.as_bytes());
            let made_by_curl = is("content-length")
                || is("host") && target.says_host
                || is("accept") && value == b"*/*" && only(headers, "accept")
                || is("content-encoding") && sent.is_decoded()
                || is("content-type") && value == body::FORM && !sent.is_absent() && only(headers, "content-type")
                || is("transfer-encoding") && request.version == Version::Http10;
            if made_by_curl {
                continue;
            }
            if !is_token(name) || value.contains(&0) || value.len() > MAX_ARGUMENT {
                left_out += 1;
                continue;
            }
            let shown = self.masked(|redactor| {
                let masked = redactor.header(name, value);
                match std::str::from_utf8(value) {
                    Ok(text) if is("host") => match redactor.authority(text) {
                        Cow::Borrowed(same) => Cow::Borrowed(same.as_bytes()),
                        Cow::Owned(masked) => Cow::Owned(masked.into_bytes()),
                    },
                    _ => masked,
                }
            });
            // curl takes `Name;` for a field without a value.
            let separator: &[u8] = if shown.is_empty() { b";" } else { b": " };
            self.option_with("-H", &[name, separator, &shown].concat());
            if is("accept-encoding") {
                self.option("--compressed");
            }
        }
        if left_out > 0 {
            self.remarks.push(format!("{left_out} header fields are omitted: no shell or curl can pass them"));
        }
        self.switch_off(request, sent);
    }

    /// Switches off the fields that curl would add.
    fn switch_off(&mut self, request: &Request, sent: &body::Sent<'_>) {
        let headers = &request.headers;
        let mut without = |name: &str, curl_adds: bool| {
            if curl_adds && headers.get(name).is_none() {
                let name = name.split('-').map(capitalized).collect::<Vec<_>>().join("-");
                self.options.push(format!("-H '{name}:'"));
            }
        };
        without("host", true);
        without("user-agent", true);
        without("accept", true);
        without("content-type", !sent.is_absent());
        without("expect", sent.len() > ASKS_FIRST && request.version != Version::Http10);
    }

    fn body(&mut self, request: &Request, sent: &body::Sent<'_>) {
        match sent {
            body::Sent::Absent => {}
            body::Sent::Words(text) => self.option_with("--data-raw", text),
            body::Sent::Piped(_) => self.option("--data-binary @-"),
            body::Sent::Decoded(_) => {
                self.option("--data-binary @-");
                self.remarks.push(
                    "the body was compressed; it is decompressed here so that its secrets can be masked".to_owned(),
                );
            }
        }
        let body = &request.body;
        if (body.captured.len() as u64) < body.bytes {
            self.remarks.push(format!(
                "the body is incomplete: only the first {} of {} bytes were kept",
                body.captured.len(),
                body.bytes
            ));
        }
        if body::has_secrets(request) {
            let hidden = self.redactor.hides();
            self.hidden |= hidden;
            self.secret |= !hidden;
        }
    }

    fn remark_on_secrets(&mut self) {
        if self.hidden {
            self.remarks.push("secrets are masked: *** replaces the bytes that were sent".to_owned());
        }
        if self.secret {
            self.remarks.push("this command contains secrets".to_owned());
        }
    }

    fn text(self, url: &str, sent: &body::Sent<'_>) -> String {
        let mut text = String::new();
        if let Some(bytes) = sent.piped() {
            text.push_str("printf ");
            text.push_str(&shell::printf_format(bytes));
            text.push_str(" | \\\n");
        }
        text.push_str("curl ");
        text.push_str(url);
        for option in &self.options {
            text.push_str(" \\\n  ");
            text.push_str(option);
        }
        for remark in &self.remarks {
            // zsh and csh know no comments where a person types: nothing in a remark may be a command of its own.
            text.push_str("\n# ");
            text.push_str(remark);
        }
        text.push('\n');
        text
    }
}

fn only(headers: &Fields, name: &str) -> bool {
    headers.get_all(name).count() == 1
}

fn capitalized(word: &str) -> String {
    let (first, rest) = word.split_at(word.len().min(1));
    first.to_ascii_uppercase() + rest
}

/// RFC 9110 section 5.6.2.
fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

#[cfg(test)]
mod tests;
