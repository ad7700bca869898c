//! Actions that copy a part of an exchange: a curl command, the URL, a body.

use std::{fmt::Write as _, sync::Arc};

use crate::{
    model::exchange::{Body, Exchange, ExchangeId, Fields},
    payload::{
        body::{self, Content, Limits, Shape},
        coding::DECODED_LIMIT,
    },
    text::{escape::Visible, redact::Redactor, url},
    tui::{
        keys::Action,
        view::{Context, Effect, Reaction},
    },
    view::curl,
};

/// Lines for a pager, at most: ten times as many as the screen shows. A hostile body can make a line of each of its bytes.
const PAGE_LINES: usize = 200_000;

/// Runs an action on an exchange, from any screen that shows it; `None` for other actions.
pub(super) fn act_on(id: ExchangeId, action: Action, context: &Context<'_>) -> Option<Vec<Reaction>> {
    match context.store.exchange_by_id(id) {
        Some(exchange) => act(exchange, action, context),
        None => is_ours(action).then(|| vec![Reaction::Say("this call is no longer in memory".to_owned())]),
    }
}

fn is_ours(action: Action) -> bool {
    matches!(action, Action::CopyCurl | Action::CopyUrl | Action::Body | Action::BodyToFile)
}

/// Runs an action on an exchange that is at hand; `None` for other actions.
pub(super) fn act(exchange: &Arc<Exchange>, action: Action, context: &Context<'_>) -> Option<Vec<Reaction>> {
    let redactor = context.redactor;
    let no_request = || vec![Reaction::Say("the request was not seen: nothing to copy".to_owned())];
    let reactions = match action {
        Action::CopyCurl => curl::command(exchange, redactor)
            .map_or_else(no_request, |text| vec![Reaction::Do(Effect::Copy { what: "curl command".to_owned(), text })]),
        Action::CopyUrl => exchange.request.as_ref().map_or_else(no_request, |request| {
            let text = harmless(&url::whole(exchange, request, redactor));
            vec![Reaction::Do(Effect::Copy { what: "URL".to_owned(), text })]
        }),
        Action::Body => page(exchange, redactor),
        Action::BodyToFile => files(exchange, redactor),
        Action::Save => vec![Reaction::Do(Effect::SaveRecording)],
        _ => return None,
    };
    Some(reactions)
}

/// Percent-encodes characters that a terminal would not take for text: the URL is going to be pasted.
fn harmless(url: &str) -> String {
    let mut out = String::with_capacity(url.len());
    for character in url.chars() {
        let mut buffer = [0; 4];
        let text = character.encode_utf8(&mut buffer);
        if Visible(text).is_plain() {
            out.push_str(text);
        } else {
            out.push_str(&url::percent_encoded(text));
        }
    }
    out
}

/// Bodies with captured bytes, and the name of the message of each.
fn bodies(exchange: &Exchange) -> impl Iterator<Item = (&'static str, &Fields, &Body)> {
    let request = exchange.request.as_ref().map(|request| ("request", &request.headers, &request.body));
    let response = exchange.response.as_ref().map(|response| ("response", &response.headers, &response.body));
    request.into_iter().chain(response).filter(|(_, _, body)| !body.captured.is_empty())
}

fn nothing() -> Vec<Reaction> {
    vec![Reaction::Say("no body was captured".to_owned())]
}

fn page(exchange: &Exchange, redactor: Redactor) -> Vec<Reaction> {
    let mut text = String::new();
    let limits = Limits { lines: PAGE_LINES, ..Limits::default() };
    let both = bodies(exchange).count() > 1;
    for (of, headers, body) in bodies(exchange) {
        let shown = body::show(headers, body, redactor, limits);
        if both {
            // Writing to a String never fails.
            let _ = writeln!(text, "── body of the {of} ──");
        }
        for remark in &shown.remarks {
            let _ = writeln!(text, "({remark})");
        }
        for line in &shown.lines {
            text.push_str(&line.text);
            text.push('\n');
        }
    }
    if text.is_empty() {
        return nothing();
    }
    vec![Reaction::Do(Effect::Page { title: format!("body of call {}", exchange.id.0), text })]
}

/// Bytes of a body after content decoding, with secrets hidden.
fn files(exchange: &Exchange, redactor: Redactor) -> Vec<Reaction> {
    let files: Vec<Reaction> = bodies(exchange)
        .map(|(of, headers, body)| {
            let content = Content::of(headers, body, redactor, DECODED_LIMIT);
            let extension = extension(headers, &content);
            let name = (format!("pidtap-call-{}-{of}", exchange.id.0), extension.to_owned());
            Reaction::Do(Effect::WriteFile { name, bytes: content.bytes.into_owned() })
        })
        .collect();
    if files.is_empty() { nothing() } else { files }
}

fn extension(headers: &Fields, content: &Content<'_>) -> &'static str {
    const TYPES: [(&[u8], &str); 9] = [
        (b"text/html", "html"),
        (b"text/css", "css"),
        (b"text/csv", "csv"),
        (b"application/xml", "xml"),
        (b"text/xml", "xml"),
        (b"image/png", "png"),
        (b"image/jpeg", "jpg"),
        (b"image/gif", "gif"),
        (b"application/pdf", "pdf"),
    ];
    let content_type = headers.get("content-type").unwrap_or_default();
    let known = TYPES
        .iter()
        .find(|(known, _)| content_type.get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known)));
    match (content.shape(content_type), known) {
        (Shape::Json, _) => "json",
        (_, Some((_, extension))) if content.left.is_none() => extension,
        (Shape::Binary | Shape::Empty, _) => "bin",
        _ => "txt",
    }
}
