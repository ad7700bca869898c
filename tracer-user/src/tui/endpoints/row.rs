//! An endpoint in one line.

use std::cmp::Ordering;

use super::what;
use crate::{
    model::{connection::Role, exchange::SLOW_NS},
    store::{
        EndpointRow,
        endpoints::{self, Counts, PathRow, Trend},
    },
    text::{escape::Visible, units},
    tui::{
        pen::{Pen, columns, cut},
        spark,
        table::{Column, Sort, count, rate, share, width},
        theme::Tone,
        view::Context,
    },
};

/// Value that a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Name,
    Calls,
    Rate,
    Bars,
    Open,
    Failed,
    Share,
    Refused,
    P50,
    P95,
    P99,
    Max,
    Late,
    Sent,
    Got,
}

const fn column(what: What, name: &'static str, width: u16, rank: u8) -> Column<What> {
    Column { what, name, width, rank }
}

/// Number of bars, one for each second.
const BARS: u16 = 20;

/// All columns but the name, which stands before them.
pub(super) const COLUMNS: [Column<What>; 14] = [
    column(What::Calls, "calls", 6, 0),
    column(What::Rate, "/s", 5, 2),
    column(What::Bars, "calls in 20 s", BARS, 5),
    column(What::Open, "open", 5, 6),
    column(What::Failed, "failed", 7, 8),
    column(What::Share, "fail", 5, 0),
    column(What::Refused, "4xx", 6, 7),
    column(What::P50, "p50", 7, 0),
    column(What::P95, "p95", 6, 1),
    column(What::P99, "p99", 6, 3),
    column(What::Max, "max", 6, 4),
    column(What::Late, "now", 7, 9),
    column(What::Sent, "sent", 6, 11),
    column(What::Got, "got", 6, 10),
];

/// Columns of the screen that the name keeps, at least.
pub(super) fn name_room(width: u16) -> u16 {
    if width < 110 { 31 } else { 46 }
}

/// Columns before the name: selection, state and direction.
const BEFORE: u16 = 2 + 3;

pub(super) fn heading(mut pen: Pen<'_>, sort: Sort<What>, shown: &[Column<What>]) {
    let name = pen.left().saturating_sub(width(shown));
    pen.skip(BEFORE).cell(name.saturating_sub(BEFORE + 1), Tone::Faint, sort.name(What::Name, "endpoint"));
    sort.heading(&mut pen, shown);
}

pub(super) fn by_name(one: &EndpointRow<'_>, other: &EndpointRow<'_>) -> Ordering {
    let group = |row: &EndpointRow<'_>| (row.what, row.endpoint.role == Role::Server);
    let name =
        |row: &EndpointRow<'_>| [&row.endpoint.authority, &row.endpoint.path, &row.endpoint.method].map(Clone::clone);
    group(one).cmp(&group(other)).then_with(|| name(one).cmp(&name(other)))
}

/// Order of two endpoints in a column.
pub(super) fn compare(by: What, one: &EndpointRow<'_>, other: &EndpointRow<'_>) -> Ordering {
    let number = |row: &EndpointRow<'_>| {
        let Counts { calls, failed, refused, open, request_bytes, response_bytes } = row.counts;
        match by {
            What::Open => open,
            What::Failed => failed,
            What::Share => (failed as f64 / calls.max(1) as f64 * 1e9) as u64,
            What::Refused => refused,
            What::P50 => row.spread.p50,
            What::P95 => row.spread.p95,
            What::P99 => row.spread.p99,
            What::Max => row.spread.max,
            What::Sent => request_bytes,
            What::Got => response_bytes,
            _ => calls,
        }
    };
    match by {
        What::Name => by_name(one, other),
        What::Rate => one.rate.total_cmp(&other.rate),
        // Endpoints that rise stand at one end, those that fall at the other.
        What::Late => (one.trend, one.spread.late).cmp(&(other.trend, other.spread.late)),
        _ => number(one).cmp(&number(other)),
    }
}

fn time(nanoseconds: u64) -> (Tone, String) {
    (if nanoseconds > SLOW_NS { Tone::Warn } else { Tone::Plain }, units::duration(Some(nanoseconds)))
}

pub(super) fn draw(mut pen: Pen<'_>, row: &EndpointRow<'_>, shown: &[Column<What>], context: &Context<'_>) {
    let Counts { calls, failed, refused, open, request_bytes, response_bytes } = row.counts;
    let bad = failed > 0;
    let name_room = pen.left().saturating_sub(width(shown) + BEFORE + 1);
    pen.cell(1, Tone::Open, if pen.is_selected() { ">" } else { "" });
    let arrow = match (row.what, row.endpoint.role) {
        (endpoints::What::Other, _) => ' ',
        (_, Role::Client) => '→',
        (_, Role::Server) => '←',
    };
    let (tone, sign) = match (bad, open > 0) {
        (true, _) => (Tone::Bad, '!'),
        (_, true) => (Tone::Open, '…'),
        _ => (Tone::Plain, ' '),
    };
    pen.cell(2, tone, format_args!("{sign}{arrow}"));
    pen.cell(name_room, Tone::Plain, name(row, context, name_room));
    let has_ended = calls > 0;
    for column in shown {
        let (tone, text) = match column.what {
            What::Calls => (Tone::Plain, count(calls)),
            What::Rate => (Tone::Plain, rate(row.rate)),
            What::Bars => {
                let seconds = &row.seconds[row.seconds.len() - usize::from(BARS)..];
                (Tone::Open, spark::line(seconds.iter().map(|count| u64::from(*count))))
            }
            What::Open => (if open > 0 { Tone::Open } else { Tone::Faint }, count(open)),
            What::Failed => (if bad { Tone::Bad } else { Tone::Faint }, count(failed)),
            What::Share => (if bad { Tone::Bad } else { Tone::Faint }, share(failed, calls)),
            What::Refused => (if refused > 0 { Tone::Warn } else { Tone::Faint }, count(refused)),
            What::Sent => (Tone::Faint, units::size(Some(request_bytes))),
            What::Got => (Tone::Faint, units::size(Some(response_bytes))),
            _ if !has_ended => (Tone::Faint, "-".to_owned()),
            What::P50 if !shown.iter().any(|column| column.what == What::Late) => {
                let (tone, text) = time(row.spread.p50);
                (tone, format!("{}{text}", trend(row.trend)))
            }
            What::P50 => time(row.spread.p50),
            What::P95 => time(row.spread.p95),
            What::P99 => time(row.spread.p99),
            What::Max => time(row.spread.max),
            What::Late => {
                let (_, text) = time(row.spread.late);
                let tone = match row.trend {
                    Trend::Rising => Tone::Warn,
                    Trend::Falling => Tone::Good,
                    _ => Tone::Plain,
                };
                (tone, format!("{}{text}", trend(row.trend)))
            }
            What::Name => continue,
        };
        pen.right(column.width, tone, text);
    }
}

/// A sign for the trend of the durations.
fn trend(trend: Trend) -> &'static str {
    match trend {
        Trend::Rising => "↑",
        Trend::Falling => "↓",
        Trend::Steady | Trend::Unknown => "",
    }
}

/// Method, host and path. Without room, the host is cut first.
fn name(row: &EndpointRow<'_>, context: &Context<'_>, room: u16) -> String {
    /// Columns that the host keeps.
    const LEAST_HOST: u16 = 8;
    let host = Visible(&context.redactor.authority(&row.endpoint.authority)).to_string();
    let path = match what(row.what) {
        Some(words) if host.is_empty() => words.to_owned(),
        Some(words) => format!(" {words}"),
        None => Visible(&context.redactor.url(&row.endpoint.path)).to_string(),
    };
    let mut method = Visible(&row.endpoint.method).to_string();
    if !method.is_empty() {
        method.push(' ');
    }
    let host_room = room.saturating_sub(columns(&method) + columns(&path)).max(LEAST_HOST.min(columns(&host)));
    format!("{method}{}{path}", cut(&host, host_room))
}

pub(super) fn draw_path(mut pen: Pen<'_>, path: &PathRow<'_>, shown: &[Column<What>], context: &Context<'_>) {
    let bad = path.failed > 0;
    let name_room = pen.left().saturating_sub(width(shown) + BEFORE + 1);
    pen.cell(1, Tone::Open, if pen.is_selected() { ">" } else { "" });
    pen.cell(2, Tone::Bad, if bad { "!" } else { "" });
    pen.cell(name_room, Tone::Plain, format_args!("    {}", Visible(&context.redactor.url(path.path))));
    for column in shown {
        let [p50, p95, p99] = path.spread;
        let (tone, text) = match column.what {
            What::Calls => (Tone::Plain, count(path.calls)),
            What::Failed => (if bad { Tone::Bad } else { Tone::Faint }, count(path.failed)),
            What::Share => (if bad { Tone::Bad } else { Tone::Faint }, share(path.failed, path.calls)),
            What::P50 => time(p50),
            What::P95 => time(p95),
            What::P99 => time(p99),
            What::Max => time(path.longest),
            _ => (Tone::Plain, String::new()),
        };
        pen.right(column.width, tone, text);
    }
}
