//! The first lines of every screen: targets, rates, losses.

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Position, Rect},
};

use super::{
    Source, Tab,
    pen::{Pen, columns},
    spark,
    theme::{Theme, Tone},
    view::Wanted,
};
use crate::{
    store::Store,
    text::{clock::Clock, escape::Visible, units},
};

/// Height in lines.
pub(super) const HEIGHT: u16 = 3;
/// Targets that are named, at most.
const NAMED: usize = 3;
/// Number of bars, one a second; also the seconds that rates are averaged over.
const RATE_SECONDS: usize = 10;

/// State that the header shows beside the store.
pub(super) struct Shown<'a> {
    /// Index of the screen; `None` while another screen covers it.
    pub(super) tab: Option<usize>,
    /// The view is held.
    pub(super) held: bool,
    /// Secrets are shown.
    pub(super) secrets: bool,
    /// The filter in force.
    pub(super) filter: &'a Wanted,
    /// Source of the events.
    pub(super) source: &'a Source,
    /// The current store, also while the view is held.
    pub(super) newest: &'a Store,
}

/// Draws the header.
pub(super) fn draw(shown: &Shown<'_>, area: Rect, buffer: &mut Buffer, store: &Store, theme: Theme, utc_offset_s: i32) {
    let mut rows = area.rows();
    let mut line = || rows.next().unwrap_or_default();
    who(shown, line(), buffer, theme, store, utc_offset_s);
    how(Pen::new(buffer, line(), theme), store);
    tabs(shown, Pen::new(buffer, line(), theme), store);
}

fn who(shown: &Shown<'_>, area: Rect, buffer: &mut Buffer, theme: Theme, store: &Store, utc_offset_s: i32) {
    // The state has priority where there is not enough room.
    let state = state(shown, area.width / 3);
    let [names, end] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(columns(&state))]).areas(area);
    let tone = if store.attached().is_some() { Tone::Strong } else { Tone::Faint };
    Pen::new(buffer, end, theme).put(tone, state);
    let mut pen = Pen::new(buffer, names, theme);
    pen.put(Tone::Strong, "pidtap ");
    let Some(attached) = store.attached() else {
        pen.put(Tone::Faint, "waiting for the first event");
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
    let time = units::duration(Some(store.now().since(attached.time)));
    pen.put(Tone::Strong, names.join(", "));
    pen.put(Tone::Faint, format_args!("  since {since}, for {time}"));
}

/// State of the source. Of the long name of a recording, the end is shown.
fn state(shown: &Shown<'_>, most: u16) -> String {
    match &shown.source.recording {
        Some(name) => {
            let mut name = Visible(name).to_string();
            if columns(&name) > most {
                while columns(&name) >= most.max(1) {
                    name.remove(0);
                }
                name.insert(0, '…');
            }
            match shown.source.read_percent {
                Some(percent) => format!(" opening {name} {percent}%"),
                None => format!(" {name}"),
            }
        }
        None if shown.newest.summary().is_some() => " ENDED".to_owned(),
        None => String::new(),
    }
}

fn how(mut pen: Pen<'_>, store: &Store) {
    let (rate, failing) = store.rate().per_second(RATE_SECONDS);
    let totals = store.totals();
    let (fails, pen_width) = (failing > 0.0, pen.left());
    let failing = match failing / rate.max(f64::MIN_POSITIVE) * 100.0 {
        _ if rate <= 0.0 => "  failing -".to_owned(),
        share if share > 0.0 && share < 1.0 => "  failing <1%".to_owned(),
        share => format!("  failing {share:.0}%"),
    };
    let calls = format!("  {} calls, {} failed", totals.exchanges, totals.failed);
    let open = format!("  open {}", store.open_total());
    let missing = store.loss();
    let at_least = if missing.at_least { " or more" } else { "" };
    let lost = match missing.total_events() {
        0 if missing.at_least => "  lost ?".to_owned(),
        0 => "  lost 0".to_owned(),
        events => format!("  LOST {events}{at_least} events, {}", units::size(Some(missing.total_bytes()))),
    };
    let rate = format!("{}/s ", rate_text(rate));
    // Losses have priority over the bars where numbers are large.
    let words: u16 = [&rate, &failing, &calls, &open, &lost].map(|text| columns(text)).iter().sum();
    let bars = usize::from(pen.left().saturating_sub(words)).min(if pen.left() >= 110 { 60 } else { 12 });
    let seconds = store.rate().whole_seconds();
    let skip = seconds.len().saturating_sub(bars);
    let spark = spark::line(seconds.skip(skip).map(|second| second.exchanges.into()));
    let bad = |is_bad| if is_bad { Tone::Bad } else { Tone::Plain };
    pen.put(Tone::Plain, rate).put(Tone::Open, format_args!("{spark:>bars$}")).put(bad(fails), failing);
    if words <= pen_width {
        pen.put(Tone::Plain, calls);
    }
    pen.put(if store.open_total() > 0 { Tone::Open } else { Tone::Plain }, open);
    pen.put(bad(missing.is_possible()), lost);
}

fn rate_text(rate: f64) -> String {
    match rate {
        rate if rate >= 9.95 => format!("{rate:.0}"),
        rate => format!("{rate:.1}"),
    }
}

/// Start and width of the name of each screen.
fn places() -> impl Iterator<Item = (u16, u16)> {
    let mut x = 0;
    Tab::ALL.iter().map(move |(_, name)| {
        let place = (x, columns(name) + 4);
        x += place.1;
        place
    })
}

/// Index of the screen whose name is at a position.
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
        pen.put(Tone::Strong, format_args!("  PAUSED, {more} more (p resumes)"));
    }
    let secrets = if shown.secrets { "  SECRETS SHOWN" } else { "" };
    pen.put(Tone::Warn, secrets);
    if !shown.filter.takes_all() {
        pen.put(Tone::Strong, format_args!("  filter: {}", Visible(shown.filter.filter.text())));
    }
}
