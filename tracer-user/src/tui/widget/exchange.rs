//! An exchange in one line.

use crate::{
    model::{
        connection::Role,
        exchange::{Answer, Exchange, Outcome, Quality, SLOW_NS},
    },
    text::{escape::Visible, units},
    tui::{
        pen::{Pen, columns, cut},
        theme::Tone,
        view::Context,
    },
    view::exchange as view,
};

/// An exchange is marked as new for this time after its end.
const NEW_NS: u64 = 1_000_000_000;
/// From this width on all columns are shown.
const WIDE: u16 = 110;
/// Columns that a host keeps when the path needs the room.
const LEAST_HOST: u16 = 10;

/// Draws the names of the columns.
pub(in crate::tui) fn heading(pen: &mut Pen<'_>) {
    let wide = pen.left() >= WIDE;
    pen.skip(2).cell(if wide { 12 } else { 8 }, Tone::Faint, "started").skip(3);
    pen.cell(7, Tone::Faint, "status").cell(7, Tone::Faint, "method");
    pen.right(7, Tone::Faint, "time");
    if wide {
        pen.right(6, Tone::Faint, "req");
    }
    pen.right(6, Tone::Faint, "resp");
    if wide {
        pen.cell(6, Tone::Faint, "conn").cell(18, Tone::Faint, "process");
    }
    pen.put(Tone::Faint, "URL");
}

/// Draws the exchange. `mark_new`: the list grows, so new rows are marked.
pub(in crate::tui) fn draw(pen: &mut Pen<'_>, exchange: &Exchange, context: &Context<'_>, mark_new: bool) {
    let store = context.store;
    let wide = pen.left() >= WIDE;
    let duration = store.duration(exchange);
    let failed = exchange.is_failed();
    let is_open = exchange.outcome == Outcome::InFlight;
    let ended = exchange.timing.end.filter(|_| !is_open);
    let is_new = mark_new && ended.is_some_and(|end| store.now().since(end) < NEW_NS);
    let mark = match (pen.is_selected(), is_new) {
        (true, _) => ">",
        (false, true) => "+",
        (false, false) => "",
    };
    pen.cell(1, Tone::Open, mark);
    let time = context.clock_time(exchange.started);
    pen.cell(if wide { 12 } else { 8 }, Tone::Faint, if wide { &time } else { &time[..8] });
    let (sign, tone) = match (failed, is_open) {
        (true, _) => ('!', Tone::Bad),
        (_, true) => ('…', Tone::Open),
        _ if duration > SLOW_NS => ('*', Tone::Warn),
        _ => (' ', Tone::Plain),
    };
    let arrow = if exchange.role == Role::Client { '→' } else { '←' };
    pen.cell(2, tone, format_args!("{sign}{arrow}"));
    let status = exchange.response.as_ref().map(|response| response.status);
    let status_tone = match (tone, status) {
        (Tone::Bad | Tone::Open, _) => tone,
        (_, Some(status)) if Answer::of(status) == Answer::Success => Tone::Good,
        (_, Some(status)) if Answer::of(status).is_client_error() => Tone::Warn,
        _ => Tone::Plain,
    };
    match (exchange.outcome.word(), status) {
        (Some(word), _) => pen.cell(7, status_tone, word),
        (None, Some(status)) => pen.cell(7, status_tone, status),
        (None, None) => pen.cell(7, status_tone, "?"),
    };
    let connect_alone = exchange.outcome.no_connection().is_some();
    let no_method = if connect_alone { "connect" } else { "-" };
    let method = exchange.request.as_ref().map_or(no_method, |request| &request.method);
    pen.cell(7, Tone::Plain, Visible(method));
    // An exchange that was under way when tracing began is older than its time.
    let late = exchange.quality == Quality::JoinedLate;
    let tone = if duration > SLOW_NS { Tone::Warn } else { Tone::Plain };
    pen.right(7, tone, units::least(Some(duration), late));
    if wide {
        pen.right(6, Tone::Faint, units::size(exchange.request.as_ref().map(|request| request.body.bytes)));
    }
    pen.right(6, Tone::Faint, units::size(exchange.response.as_ref().map(|response| response.body.bytes)));
    if wide {
        pen.cell(6, Tone::Faint, format_args!("#{}", exchange.connection.id.0));
        let process = &exchange.process;
        pen.cell(18, Tone::Faint, format_args!("{}[{}]", Visible(&process.name), process.pid));
    }
    let remark = view::remarks(exchange, context);
    let room = pen.left().saturating_sub(if remark.is_empty() { 0 } else { columns(&remark) + 1 });
    let (host, path) = view::place(exchange, context.redactor);
    let host_room = room.saturating_sub(columns(&path)).max(LEAST_HOST.min(columns(&host))).min(room);
    let host = cut(&host, host_room);
    let path = cut(&path, room.saturating_sub(columns(&host)));
    pen.put(Tone::Plain, host).put(Tone::Plain, path);
    if !remark.is_empty() {
        pen.skip(1).put(Tone::Warn, remark);
    }
}
