//! The rows above the messages of an exchange.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{links::Links, waterfall};
use crate::{
    event::Timestamp,
    model::{
        connection::Role,
        exchange::{Exchange, Outcome, SLOW_NS},
    },
    text::{escape::Visible, redact::Redactor},
    tui::{pen::Pen, theme::Tone, view::Context},
    view::{
        exchange as view,
        phase::{self, Phase},
    },
};

/// A row above the messages.
pub(super) enum Top {
    /// Pieces of text with their tones.
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

/// A sign for the state, which needs no colour, and its tone.
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
    let (host, path) = view::place(exchange, context.redactor);
    pen.put(Tone::Strong, format_args!("{host}{path}"));
}

/// All but the links, which come last.
pub(super) fn rows(exchange: &Exchange, links: &Links, context: &Context<'_>) -> Vec<Top> {
    let (_, tone) = sign(exchange, context);
    let mut rows = vec![Top::Words(outcome(exchange, tone, context))];
    rows.extend(view::reason(exchange, context).map(|reason| Top::Words(vec![(tone, reason)])));
    rows.push(Top::Words(ends(exchange, context.redactor)));
    if let Some(words) = view::quality(exchange.quality) {
        rows.push(Top::Words(vec![(Tone::Warn, format!("~ {words}"))]));
    }
    let phases = phase::phases(exchange, view::until(exchange, context));
    let scale = phase::scale(&phases);
    rows.extend(phases.into_iter().map(|phase| Top::Phase(phase, scale)));
    rows.extend((0..links.rows()).map(Top::Link));
    rows
}

/// `RESET after 200 OK  took 1.52s  since 04:05:06.123`
fn outcome(exchange: &Exchange, tone: Tone, context: &Context<'_>) -> Vec<(Tone, String)> {
    let outcome = match view::outcome(exchange, context.redactor) {
        Some(outcome) => (tone, outcome),
        None => (Tone::Warn, "its response was not seen".to_owned()),
    };
    let slow = if context.store.duration(exchange) > SLOW_NS { Tone::Warn } else { Tone::Strong };
    vec![
        outcome,
        (slow, format!("  {}", view::duration(exchange, context))),
        (Tone::Faint, format!("  since {}", context.clock_time(exchange.started))),
    ]
}

/// The process, and the peer of its connection.
fn ends(exchange: &Exchange, redactor: Redactor) -> Vec<(Tone, String)> {
    let (process, connection) = (&exchange.process, &exchange.connection);
    vec![
        (Tone::Plain, format!("{} ({})", Visible(&process.name), process.pid)),
        (Tone::Faint, format!(" thread {} ", process.tid)),
        (Tone::Plain, view::peer(exchange, redactor)),
        (Tone::Faint, format!("  call {}, connection #{}", exchange.id.0, connection.id.0)),
    ]
}
