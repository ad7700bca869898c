//! The first lines: who is traced, how it goes, what is missing.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::{
    Source, Tab,
    pen::{Pen, columns},
    spark,
    theme::{Theme, Tone},
    view::Wanted,
};
use crate::{clock::Clock, measure, store::Store, visible::Visible};

/// Lines.
pub(super) const HEIGHT: u16 = 3;
/// Targets that are named.
const NAMED: usize = 3;
/// Seconds of the bars, and over which rates are taken.
const RATE_SECONDS: usize = 10;

/// What the header says apart from the store.
pub(super) struct Shown<'a> {
    /// Which screen; `None` where another is over it.
    pub(super) tab: Option<usize>,
    /// The view is held.
    pub(super) held: bool,
    /// Secrets are shown.
    pub(super) secrets: bool,
    /// The filter in force.
    pub(super) filter: &'a Wanted,
    /// Where it all comes from.
    pub(super) source: &'a Source,
    /// What is known now, also while the view is held.
    pub(super) newest: &'a Store,
}

/// Draws it.
pub(super) fn draw(shown: &Shown<'_>, area: Rect, buffer: &mut Buffer, store: &Store, theme: Theme, utc_offset_s: i32) {
    let mut rows = area.rows();
    let mut line = || rows.next().unwrap_or_default();
    who(shown, Pen::new(buffer, line(), theme), store, utc_offset_s);
    how(Pen::new(buffer, line(), theme), store);
    tabs(shown, Pen::new(buffer, line(), theme), store);
}

fn who(shown: &Shown<'_>, mut pen: Pen<'_>, store: &Store, utc_offset_s: i32) {
    pen.put(Tone::Strong, "pidtap ");
    let state = match &shown.source.recording {
        Some(name) => match shown.source.read_percent {
            Some(percent) => format!(" opening {} {percent}%", Visible(name)),
            None => format!(" {}", Visible(name)),
        },
        None if shown.newest.summary().is_some() => " ENDED".to_owned(),
        None => String::new(),
    };
    let Some(attached) = store.attached() else {
        pen.put(Tone::Faint, "waiting for the first event").at_end(Tone::Faint, state);
        return;
    };
    let mut names: Vec<String> = attached
        .targets
        .iter()
        .take(NAMED)
        .map(|target| format!("{} ({})", Visible(&target.name), target.pid))
        .collect();
    if let Some(more) = attached.targets.len().checked_sub(NAMED).filter(|more| *more > 0) {
        names.push(format!("{more} more"));
    }
    let mut clock = Clock::new(utc_offset_s);
    clock.set_offset(store.realtime_offset_ns());
    let since: String = clock.micros(attached.time)[11..19].iter().copied().map(char::from).collect();
    let time = measure::duration(Some(store.now().since(attached.time)));
    pen.put(Tone::Strong, names.join(", "));
    pen.put(Tone::Faint, format_args!("  since {since}, for {time}"));
    pen.at_end(Tone::Strong, state);
}

fn how(mut pen: Pen<'_>, store: &Store) {
    let (rate, failing) = store.rate().per_second(RATE_SECONDS);
    let totals = store.totals();
    let bars = if pen.left() >= 110 { 60 } else { 12 };
    let seconds = store.rate().whole_seconds();
    let skip = seconds.len().saturating_sub(bars);
    let spark = spark::line(seconds.skip(skip).map(|second| second.exchanges.into()));
    pen.put(Tone::Plain, format_args!("{}/s ", rate_text(rate))).put(Tone::Open, format_args!("{spark:>bars$}"));
    let share = failing / rate.max(f64::MIN_POSITIVE) * 100.0;
    let tone = if failing > 0.0 { Tone::Bad } else { Tone::Plain };
    pen.put(tone, if rate > 0.0 { format!("  failing {share:.0}%") } else { "  failing -".to_owned() });
    pen.put(Tone::Plain, format_args!("  {} calls, {} failed", totals.exchanges, totals.failed));
    let open = store.open_total();
    pen.put(if open > 0 { Tone::Open } else { Tone::Plain }, format_args!("  open {open}"));
    let loss = store.loss();
    match loss.total_events() {
        0 => pen.put(Tone::Plain, "  lost 0"),
        events => {
            let bytes = measure::size(Some(loss.total_bytes()));
            pen.put(Tone::Bad, format_args!("  LOST {events} events, {bytes}"))
        }
    };
}

fn rate_text(rate: f64) -> String {
    match rate {
        rate if rate >= 9.95 => format!("{rate:.0}"),
        rate => format!("{rate:.1}"),
    }
}

/// Where the screens' names stand: start and width of each.
fn places() -> impl Iterator<Item = (u16, u16)> {
    let mut x = 0;
    Tab::ALL.iter().map(move |(_, name)| {
        let place = (x, columns(name) + 4);
        x += place.1;
        place
    })
}

/// The screen whose name was clicked.
pub(super) fn tab_at(at: Position, _width: u16) -> Option<usize> {
    let found = places().position(|(start, width)| (start..start + width).contains(&at.x));
    found.filter(|_| at.y == HEIGHT - 1)
}

fn tabs(shown: &Shown<'_>, mut pen: Pen<'_>, store: &Store) {
    for (index, (_, name)) in Tab::ALL.iter().enumerate() {
        let own = shown.tab == Some(index);
        let (open, close) = if own { ('[', ']') } else { (' ', ' ') };
        let tone = if own { Tone::Strong } else { Tone::Faint };
        pen.put(tone, format_args!("{open}{} {name}{close}", index + 1));
    }
    if shown.held {
        let more = shown.newest.totals().exchanges - store.totals().exchanges;
        pen.put(Tone::Strong, format_args!("  HELD, {more} more (p goes on)"));
    }
    let secrets = if shown.secrets { "  SECRETS SHOWN" } else { "" };
    pen.put(Tone::Warn, secrets);
    if !shown.filter.takes_all() {
        pen.put(Tone::Strong, format_args!("  filter: {}", Visible(shown.filter.filter.text())));
    }
}
