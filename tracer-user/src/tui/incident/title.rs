//! The title of an incident: two lines that do not scroll.

use crate::{
    text::escape::Visible,
    tui::{pen::Pen, theme::Tone, widget::sign},
    view::{line::about, subject::Subject},
};

/// Its place in the order of the overview, and how many incidents there are.
pub(super) type Place = Option<(usize, usize)>;

/// The first line: kind, number, state and subject.
pub(super) fn first(mut pen: Pen<'_>, subject: &Subject<'_>, place: Place) {
    let incident = &subject.incident;
    let (sign, tone) = sign(incident);
    let kind = incident.kind().name().replace('-', " ");
    let state = subject.state();
    pen.put(tone, format_args!(" {sign} {kind} {}: {state}", incident.id.0));
    let about = about(&incident.report.evidence, subject.viewpoint.redactor);
    pen.skip(2).put(Tone::Strong, Visible(&about));
    if let Some((place, of)) = place {
        pen.at_end(Tone::Faint, format_args!("{place} of {of}"));
    }
}

/// The second line: time and confidence.
pub(super) fn second(mut pen: Pen<'_>, subject: &Subject<'_>) {
    if subject.forgotten {
        pen.put(Tone::Warn, " This incident is no longer in memory; its last known state is shown.");
    }
    let certain = subject.incident.report.confidence.level();
    pen.put(Tone::Plain, format_args!(" {}; {certain}", subject.lasting()));
    let full = subject.confidence();
    pen.put(Tone::Faint, full.strip_prefix(certain).unwrap_or_default());
}
