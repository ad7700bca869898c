//! An incident in one line.

use crate::{
    analysis::detector::{Incident, Kind},
    store::{Severity, severity},
    tui::{
        pen::{Pen, columns},
        theme::Tone,
        view::Context,
    },
    view::line::{Picture, line},
};

/// From this number of columns on, kinds have their full names.
const WIDE: u16 = 110;

/// Draws the line.
pub(in crate::tui) fn draw(pen: &mut Pen<'_>, incident: &Incident, context: &Context<'_>) {
    let (sign, tone) = sign(incident);
    pen.put(Tone::Plain, if pen.is_selected() { '>' } else { ' ' }).put(tone, format_args!("{sign} "));
    if pen.left() >= WIDE {
        pen.cell(16, tone, incident.kind().name());
    } else {
        pen.cell(6, tone, short(incident.kind()));
    }
    let line = line(incident, context);
    match line.picture {
        Picture::None => {}
        Picture::Attempts(dots, count) => {
            pen.put(Tone::Bad, dots).put(Tone::Plain, format_args!(" {count}x "));
        }
        Picture::Age(age, goes_on) => {
            pen.cell(7, if goes_on { Tone::Bad } else { Tone::Plain }, age);
        }
    }
    two_sided(pen, &line.about, &line.words);
}

/// The kind in six columns.
fn short(kind: Kind) -> &'static str {
    match kind {
        Kind::Retry => "retry",
        Kind::Hang => "hang",
        Kind::ErrorBurst => "errors",
        Kind::Slow => "slow",
        Kind::Duplicate => "twice",
        Kind::Stale => "stale",
        Kind::Leak => "leak",
        Kind::Pool => "pool",
        Kind::Late => "late",
        Kind::Listen => "queue",
    }
}

/// Its severity as a sign, which needs no colour.
pub(in crate::tui) fn sign(incident: &Incident) -> (char, Tone) {
    match severity(incident) {
        Severity::Waiting | Severity::Failing => ('▲', Tone::Bad),
        Severity::Notable => ('▲', Tone::Warn),
        Severity::Harmed => ('▼', Tone::Warn),
        Severity::Recovered => ('✓', Tone::Good),
    }
}

/// Writes the subject at the left, and the words at the right. Words are left out, last first, where the subject would have less
/// than a third of the line.
fn two_sided(pen: &mut Pen<'_>, left: &str, said: &[String]) {
    let room = pen.left();
    let least = columns(left).min(room / 3);
    let mut right = said.join(", ");
    for count in (1..said.len()).rev() {
        if columns(&right) + least < room {
            break;
        }
        right = said[..count].join(", ");
    }
    let width = room.saturating_sub(columns(&right) + 1).max(least);
    pen.cell(width, Tone::Plain, left).put(Tone::Strong, right);
}
