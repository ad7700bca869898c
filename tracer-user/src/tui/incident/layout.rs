//! The rows of an incident, and their places.

use ratatui::layout::Rect;

use super::{
    cursor::Placed,
    hang, other,
    page::{Part, Rows, Target},
    retry,
};
use crate::{
    analysis::detector::Evidence,
    text::escape::Visible,
    tui::{
        theme::Tone,
        view::Context,
        widget::{draw_exchange, draw_heading},
    },
    view::{members::Members, subject::Subject},
};

/// From this width on, evidence and exchanges are side by side.
const WIDE: u16 = 120;
/// Columns between them.
pub(super) const BETWEEN: u16 = 2;
/// Exchanges that are shown even where there is little room.
const LEAST_EXCHANGES: usize = 6;

/// The rows: first those of the whole width, then two halves side by side, of which the right one may be empty.
pub(super) struct Page<'a> {
    pub(super) top: Rows<'a>,
    pub(super) left: Rows<'a>,
    pub(super) right: Rows<'a>,
}

impl Page<'_> {
    pub(super) fn rows(&self) -> usize {
        self.top.len() + self.left.len().max(self.right.len())
    }

    pub(super) fn placed(&self) -> Vec<Placed> {
        let below = self.top.len();
        let top = self.top.items().map(|(row, item)| Placed { item, row, right: false });
        let left = self.left.items().map(|(row, item)| Placed { item, row: row + below, right: false });
        let right = self.right.items().map(|(row, item)| Placed { item, row: row + below, right: true });
        top.chain(left).chain(right).collect()
    }
}

/// All rows of an incident.
pub(super) fn page<'a>(area: Rect, subject: &Subject<'a>, members: &Members, context: &'a Context<'a>) -> Page<'a> {
    let incident = &*subject.incident;
    let is_wide = area.width >= WIDE;
    let mut top = Rows::new(area.width);
    match &incident.report.evidence {
        Evidence::Retry(evidence) => retry::timeline(&mut top, subject, evidence, members),
        Evidence::Hang(evidence) => hang::timeline(&mut top, subject, evidence),
        Evidence::ErrorBurst(evidence) => other::errors(&mut top, subject, evidence, members),
        Evidence::Slow(evidence) => other::slow(&mut top, evidence),
        Evidence::Duplicate(evidence) => other::duplicate(&mut top, subject, evidence),
        Evidence::Stale(evidence) => other::stale(&mut top, evidence),
        Evidence::Leak(evidence) => other::leak(&mut top, subject, evidence),
        Evidence::Pool(evidence) => other::pool(&mut top, evidence),
        // Words and facts are enough for these.
        Evidence::Late(_) | Evidence::Listen(_) => {}
    }
    top.rule("Problem", "");
    match &incident.report.evidence {
        Evidence::Retry(evidence) => retry::words(&mut top, subject, evidence, members),
        Evidence::Hang(evidence) => hang::words(&mut top, subject, evidence, context),
        evidence => {
            let clock = |time| subject.viewpoint.clock_time(time)[..8].to_owned();
            let title = evidence.timed_title(subject.viewpoint.redactor, &clock);
            top.words(Tone::Plain, &format!("{}.", Visible(&title)));
        }
    }
    top.words(Tone::Strong, &format!("→ {}", incident.report.evidence.advice()));
    let left_width = if is_wide { (area.width - BETWEEN) / 2 } else { area.width };
    let mut left = Rows::new(left_width);
    match &incident.report.evidence {
        Evidence::Retry(evidence) => retry::evidence(&mut left, subject, evidence),
        Evidence::Hang(evidence) => {
            left.rule("Evidence", "");
            hang::evidence(&mut left, subject, evidence);
        }
        _ => {
            left.rule("Evidence", "");
            other::facts(&mut left, subject);
        }
    }
    left.fact("confidence", &subject.confidence());
    let room = if is_wide { 2 * usize::from(area.height) } else { usize::from(area.height / 2) };
    let right_width = if is_wide { area.width - left_width - BETWEEN } else { area.width };
    let exchanges = exchanges(right_width, subject, members, room.max(LEAST_EXCHANGES), context);
    if is_wide {
        return Page { top, left, right: exchanges };
    }
    // Exchanges come before the evidence.
    top.append(exchanges);
    Page { top, left, right: Rows::new(0) }
}

fn exchanges<'a>(
    width: u16,
    subject: &Subject<'_>,
    members: &Members,
    room: usize,
    context: &'a Context<'a>,
) -> Rows<'a> {
    let (list, total) = members.list(&subject.incident, context.store, room);
    let mut rows = Rows::new(width);
    let left_out = total.saturating_sub(list.len() as u64);
    rows.rule("Exchanges", if total > 0 { total.to_string() } else { String::new() });
    if list.is_empty() {
        let is_call = matches!(subject.incident.report.evidence, Evidence::Retry(_) | Evidence::Hang(_));
        let why = if is_call { "No request was seen." } else { "This incident is not about single exchanges." };
        rows.words(Tone::Faint, why);
        return rows;
    }
    rows.put(draw_heading);
    for (index, (id, exchange)) in list.into_iter().enumerate() {
        if index == 2 && left_out > 0 {
            rows.item(Part::Exchanges, Target::All, move |pen| {
                let sign = if pen.is_selected() { '>' } else { ' ' };
                pen.put(Tone::Plain, format_args!("{sign} … {left_out} more; Enter shows all in the overview"));
            });
        }
        match exchange {
            Some(exchange) => rows.item(Part::Exchanges, Target::Exchange(id), move |pen| {
                draw_exchange(pen, &exchange, context, true);
            }),
            None => rows.put(move |pen| {
                pen.put(Tone::Faint, format_args!("  exchange {} is no longer in memory", id.0));
            }),
        }
    }
    rows
}
