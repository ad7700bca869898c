//! What there is to know about an exchange before one reads it.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    links::Links,
    waterfall::{self, Phase},
};
use crate::{
    event::Timestamp,
    model::{
        connection::Role,
        errno,
        exchange::{Exchange, Outcome, Quality, SLOW_NS},
    },
    text::{escape::Visible, redact::Redactor, units},
    tui::{overview::place, pen::Pen, theme::Tone, view::Context},
};

/// A row above the messages.
pub(super) enum Top {
    /// Words.
    Words(Vec<(Tone, String)>),
    /// A phase, and the scale of all.
    Phase(Phase, (Timestamp, u64)),
    /// A row of the links.
    Link(usize),
}

impl Top {
    pub(super) fn draw(&self, line: Rect, buffer: &mut Buffer, links: &Links, context: &Context<'_>) {
        match self {
            Self::Words(pieces) => {
                let mut pen = Pen::new(buffer, line, context.theme);
                pen.skip(2);
                for (tone, text) in pieces {
                    pen.put(*tone, text);
                }
            }
            Self::Phase(phase, scale) => waterfall::draw(phase, *scale, line, buffer, context.theme),
            Self::Link(index) => links.draw(*index, line, buffer, context),
        }
    }
}

/// A sign that needs no colour, and what it is.
fn sign(exchange: &Exchange, context: &Context<'_>) -> (char, Tone) {
    if exchange.is_failed() {
        ('!', Tone::Bad)
    } else if exchange.outcome == Outcome::InFlight {
        ('…', Tone::Open)
    } else if context.store.duration(exchange) > SLOW_NS {
        ('*', Tone::Warn)
    } else {
        (' ', Tone::Good)
    }
}

/// `!→ POST http://h/p`
pub(super) fn title(pen: &mut Pen<'_>, exchange: &Exchange, context: &Context<'_>) {
    let (sign, tone) = sign(exchange, context);
    let arrow = if exchange.role == Role::Client { '→' } else { '←' };
    pen.put(tone, format_args!("{sign}{arrow} "));
    if let Some(request) = &exchange.request {
        pen.put(Tone::Strong, format_args!("{} ", Visible(&request.method)));
    } else if exchange.never_connected() {
        pen.put(Tone::Strong, "connect ");
    }
    let (host, path) = place(exchange, context);
    pen.put(Tone::Strong, format_args!("{host}{path}"));
}

/// All but the links, which come last.
pub(super) fn rows(exchange: &Exchange, links: &Links, context: &Context<'_>) -> Vec<Top> {
    let mut rows = vec![Top::Words(outcome(exchange, context))];
    rows.extend(how(exchange, context).map(Top::Words));
    rows.push(Top::Words(who(exchange, context.redactor)));
    if let Some(words) = quality(exchange.quality) {
        rows.push(Top::Words(vec![(Tone::Warn, format!("~ {words}"))]));
    }
    let phases = waterfall::phases(exchange, until(exchange, context));
    let scale = waterfall::scale(&phases);
    rows.extend(phases.into_iter().map(|phase| Top::Phase(phase, scale)));
    rows.extend((0..links.rows()).map(Top::Link));
    rows
}

/// Up to when it is open: now, or when tracing ended.
fn until(exchange: &Exchange, context: &Context<'_>) -> Timestamp {
    let end = exchange.timing.end.filter(|_| context.store.summary().is_some());
    end.unwrap_or_else(|| context.store.now())
}

/// `RESET after 200 OK  took 1.52s  since 04:05:06.123`
fn outcome(exchange: &Exchange, context: &Context<'_>) -> Vec<(Tone, String)> {
    let (_, tone) = sign(exchange, context);
    let status = exchange.response.as_ref().map(|response| {
        let reason = context.redactor.text(&response.reason);
        let reason = Visible(&reason);
        if response.reason.is_empty() { response.status.to_string() } else { format!("{} {reason}", response.status) }
    });
    let outcome = match (exchange.outcome.word(), status) {
        (None, Some(status)) => (tone, status),
        (None, None) => (Tone::Warn, "its answer was not seen".to_owned()),
        (Some(word), Some(status)) => (tone, format!("{word} after {status}")),
        (Some(word), None) => (tone, word.to_owned()),
    };
    let duration = context.store.duration(exchange);
    let took = if exchange.outcome == Outcome::InFlight { "for" } else { "took" };
    let late = exchange.quality == Quality::JoinedLate;
    let least = match units::least(Some(duration), late).as_str() {
        "-" => format!("  {took} a time that was not seen"),
        _ if late => format!("  {took} at least {}", units::duration(Some(duration))),
        _ => format!("  {took} {}", units::duration(Some(duration))),
    };
    let slow = if duration > SLOW_NS { Tone::Warn } else { Tone::Strong };
    vec![outcome, (slow, least), (Tone::Faint, format!("  since {}", context.clock_time(exchange.started)))]
}

/// How it came to that.
fn how(exchange: &Exchange, context: &Context<'_>) -> Option<Vec<(Tone, String)>> {
    let (_, tone) = sign(exchange, context);
    let client = exchange.role == Role::Client;
    let words = match exchange.outcome {
        Outcome::Upgraded => "upgraded: what follows on this connection is another protocol",
        Outcome::Reset => "the connection was reset",
        Outcome::Closed if client => "the peer closed the connection before all of it came",
        Outcome::Closed => "this process closed the connection before all of it was sent",
        Outcome::ClosedEarly if client => "this process closed it before its end: it had what it wanted",
        Outcome::ClosedEarly => "the client closed it before its end: it had what it wanted",
        Outcome::Unsolicited => "nobody asked for it: the server said so before it closed an idle connection",
        Outcome::NotHttp => "the answer is no HTTP",
        Outcome::ClientTimeout if client => "this process gave up: it closed the connection",
        Outcome::ClientTimeout => "the client gave up",
        Outcome::InFlight if context.store.summary().is_some() => "it was open when tracing ended",
        Outcome::Complete | Outcome::InFlight => "",
        outcome => outcome.no_connection().unwrap_or_default(),
    };
    let error = match exchange.error.map(|number| (number, errno::name(number), errno::meaning(number))) {
        None => String::new(),
        // The words say these already.
        Some((104 | 111, Some(name), _)) => format!(" ({name})"),
        Some((_, Some(name), Some(meaning))) => format!(" ({name}: {meaning})"),
        Some((number, ..)) => format!(" (error {number})"),
    };
    let text = format!("{words}{error}");
    (!text.is_empty()).then(|| vec![(tone, text)])
}

fn who(exchange: &Exchange, redactor: Redactor) -> Vec<(Tone, String)> {
    let (process, connection) = (&exchange.process, &exchange.connection);
    let verb = if exchange.role == Role::Client { "asks" } else { "answers" };
    let said = |word: &str, said: &Option<Box<str>>| {
        said.as_ref().map_or_else(String::new, |said| format!(" {word} {}", Visible(&redactor.url(said))))
    };
    let (client, destination) = (said("for", &connection.client), said("to", &connection.destination));
    vec![
        (Tone::Plain, format!("{} ({})", Visible(&process.name), process.pid)),
        (Tone::Faint, format!(" thread {} ", process.tid)),
        (Tone::Plain, format!("{verb} {}{client}{destination}", Visible(&connection.remote_text))),
        (Tone::Faint, format!("  call {}, connection #{}", exchange.id.0, connection.id.0)),
    ]
}

fn quality(quality: Quality) -> Option<&'static str> {
    match quality {
        Quality::Whole => None,
        Quality::Cut => Some("cut: a message ended before its framing said so"),
        Quality::Unframed => Some("unframed: the framing of a message is invalid or does not cover all its bytes"),
        Quality::BodyGap => Some("body gap: bytes of a body were not captured; its size is exact"),
        Quality::JoinedLate => Some("joined late: it was under way when tracing began, so some of it was not seen"),
        Quality::HeaderGap => Some("head gap: bytes of a head were not captured; what they said is absent"),
    }
}
