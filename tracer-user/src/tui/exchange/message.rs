//! Requests and responses as lines.

use super::page::Line;
use crate::{
    model::{
        connection::Role,
        exchange::{Answer, Body, Exchange, Fields, InterimResponse, Outcome, Quality},
    },
    payload::body::{self, Limits, Remark},
    text::{escape::Visible, redact::Redactor, units},
    tui::{theme::Tone, view::Context},
};

/// Bytes of a header value that are shown, at most.
const MAX_VALUE: usize = 8 * 1024;

/// The lines of the request.
pub(super) fn request(exchange: &Exchange, context: &Context<'_>) -> Vec<Line> {
    let redactor = context.redactor;
    let Some(request) = &exchange.request else {
        let why = match exchange.quality {
            _ if exchange.never_connected() => "The connection was not established, so nothing was sent.",
            Quality::JoinedLate => "It was sent before tracing began.",
            Quality::HeaderGap => "Its head was not captured, so it cannot be shown.",
            Quality::Unframed => "The sent data is not an HTTP request.",
            _ if exchange.outcome == Outcome::Unsolicited => "None: no request asked for this response.",
            Quality::Whole | Quality::Cut | Quality::BodyGap => "Its head has not been seen yet.",
        };
        return vec![heading("Request"), Line::new(Tone::Warn, why), Line::default()];
    };
    let mut lines = vec![heading("Request")];
    let target = Visible(&redactor.url(&request.target)).to_string();
    lines.push(
        Line::new(Tone::Strong, format!("{} ", Visible(&request.method)))
            .and(Tone::Plain, target)
            .and(Tone::Faint, format!(" HTTP/{}", request.version.number())),
    );
    fields(&request.headers, redactor, &mut lines);
    body(&request.headers, &request.body, exchange, redactor, &mut lines);
    trailers(&request.trailers, redactor, &mut lines);
    lines.push(Line::default());
    lines
}

/// The lines of the response, after those of the interim responses.
pub(super) fn response(exchange: &Exchange, context: &Context<'_>) -> Vec<Line> {
    let redactor = context.redactor;
    let mut lines = vec![heading("Response")];
    for response in &exchange.interim {
        interim(exchange, response, redactor, &mut lines);
    }
    let Some(response) = &exchange.response else {
        let client = exchange.role == Role::Client;
        let (tone, why) = match (exchange.outcome, exchange.quality) {
            (Outcome::InFlight, _) => (Tone::Open, "None yet."),
            (Outcome::NotHttp, _) => (Tone::Bad, "The response is not HTTP."),
            (_, Quality::HeaderGap) => (Tone::Warn, "Its head was not captured, so it cannot be shown."),
            (Outcome::ClientTimeout, _) if client => (Tone::Bad, "None came before this process gave up."),
            (outcome, _) if outcome.no_connection().is_some() => (Tone::Bad, "None: there was no connection."),
            _ => (Tone::Bad, "None came before the connection ended."),
        };
        lines.push(Line::new(tone, why));
        return lines;
    };
    let tone = match response.answer() {
        Answer::Success => Tone::Good,
        Answer::Challenge | Answer::NotNow | Answer::Rejected => Tone::Warn,
        Answer::Failed => Tone::Bad,
        Answer::Other => Tone::Strong,
    };
    lines.push(
        Line::new(Tone::Faint, format!("HTTP/{} ", response.version.number()))
            .and(tone, format!("{} {}", response.status, Visible(&redactor.text(&response.reason)))),
    );
    fields(&response.headers, redactor, &mut lines);
    body(&response.headers, &response.body, exchange, redactor, &mut lines);
    trailers(&response.trailers, redactor, &mut lines);
    lines
}

fn heading(text: &str) -> Line {
    Line::new(Tone::Strong, format!("── {text} ──"))
}

fn interim(exchange: &Exchange, response: &InterimResponse, redactor: Redactor, lines: &mut Vec<Line>) {
    let after = units::duration(Some(response.time.since(exchange.started)));
    lines.push(
        Line::new(Tone::Strong, response.status.to_string()).and(Tone::Faint, format!(" interim, after {after}")),
    );
    fields(&response.headers, redactor, lines);
    lines.push(Line::default());
}

fn fields(fields: &Fields, redactor: Redactor, lines: &mut Vec<Line>) {
    for (name, value) in fields.iter() {
        let value = redactor.header(name, value);
        let shown = &value[..value.len().min(MAX_VALUE)];
        let mut line = body::Line::default();
        line.push_bytes(body::Kind::Key, &name[..name.len().min(MAX_VALUE)]);
        line.push(body::Kind::Punctuation, ": ");
        line.push_bytes(body::Kind::Plain, shown);
        if shown.len() < value.len() {
            line.push(body::Kind::Note, &format!(" … and {} more bytes", value.len() - shown.len()));
        }
        lines.push(line.into());
    }
}

fn trailers(trailers: &Fields, redactor: Redactor, lines: &mut Vec<Line>) {
    if !trailers.lines.is_empty() {
        lines.push(Line::default());
        lines.push(Line::new(Tone::Faint, "trailers"));
        fields(trailers, redactor, lines);
    }
}

fn body(headers: &Fields, body: &Body, exchange: &Exchange, redactor: Redactor, lines: &mut Vec<Line>) {
    let missing = announced(headers, body, exchange);
    if body.bytes == 0 && missing.is_none() {
        return;
    }
    let shown = body::show(headers, body, redactor, Limits::default());
    lines.push(Line::default());
    let size = units::size(Some(body.bytes));
    lines.push(Line::new(Tone::Faint, format!("body: {}, {size}", shown.shape.name())));
    if let Some(length) = missing {
        let so_far = if exchange.outcome == Outcome::InFlight { "so far " } else { "only " };
        let text = format!("! {so_far}{size} of {} received (Content-Length)", units::size(Some(length)));
        lines.push(Line::new(Tone::Warn, text));
    }
    for remark in &shown.remarks {
        let (sign, tone) = if remark.is_loss() { ('!', Tone::Warn) } else { ('·', Tone::Faint) };
        let key = match remark {
            Remark::Masked => ": X shows them",
            Remark::Lines(_) => ": d shows more",
            _ => "",
        };
        lines.push(Line::new(tone, format!("{sign} {remark}{key}")));
    }
    lines.extend(shown.lines.into_iter().map(Line::from));
}

/// The value of `Content-Length`, where fewer bytes came. A response to HEAD and a 304 announce a body that does not follow.
fn announced(headers: &Fields, body: &Body, exchange: &Exchange) -> Option<u64> {
    if matches!(exchange.outcome, Outcome::Complete | Outcome::Upgraded) {
        return None;
    }
    let length: u64 = std::str::from_utf8(headers.get("content-length")?).ok()?.trim().parse().ok()?;
    (body.bytes < length).then_some(length)
}
