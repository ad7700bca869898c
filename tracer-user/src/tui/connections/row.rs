//! A connection in one line.

use std::cmp::Ordering;

use crate::{
    analysis::detector::KernelView,
    event::Timestamp,
    model::connection::{Protocol, Role},
    store::connections::{Closed, Connection, How, Use},
    text::{escape::Visible, units},
    tui::{
        pen::Pen,
        table::{Column, Sort, count},
        theme::Tone,
        view::Context,
    },
};

/// Value that a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Number,
    State,
    Age,
    Calls,
    Sent,
    Got,
    /// The longer of the two queues.
    Queued,
    SendQueue,
    ReceiveQueue,
    Resent,
    Asked,
}

const fn column(what: What, name: &'static str, width: u16) -> Column<What> {
    Column { what, name, width, rank: 0 }
}

/// Columns behind number and state.
const NARROW: &[Column<What>] = &[
    column(What::Age, "age", 7),
    column(What::Calls, "calls", 6),
    column(What::Sent, "sent", 6),
    column(What::Got, "got", 6),
    column(What::Queued, "queued", 7),
    column(What::Asked, "asked", 6),
];
const WIDE: &[Column<What>] = &[
    column(What::Age, "age", 7),
    column(What::Calls, "calls", 6),
    column(What::Sent, "sent", 6),
    column(What::Got, "got", 6),
    column(What::SendQueue, "unacked", 8),
    column(What::ReceiveQueue, "unread", 7),
    column(What::Resent, "resent", 7),
    column(What::Asked, "asked", 6),
];
const NUMBER: u16 = 6;
const STATE: u16 = 11;
const PROCESS: u16 = 20;

pub(super) fn is_wide(width: u16) -> bool {
    width >= 110
}

fn columns(wide: bool) -> &'static [Column<What>] {
    if wide { WIDE } else { NARROW }
}

/// Columns to sort by, and whether each starts with its greatest value.
pub(super) fn sortable(wide: bool) -> Vec<(What, bool)> {
    let own = [(What::Number, false), (What::State, false)];
    own.into_iter().chain(columns(wide).iter().map(|column| (column.what, true))).collect()
}

pub(super) fn heading(mut pen: Pen<'_>, sort: Sort<What>, wide: bool) {
    pen.skip(2).cell(NUMBER, Tone::Faint, sort.name(What::Number, "#"));
    pen.cell(STATE, Tone::Faint, sort.name(What::State, "state"));
    sort.heading(&mut pen, columns(wide));
    if wide {
        pen.cell(PROCESS, Tone::Faint, "process");
    }
    pen.put(Tone::Faint, "from");
}

/// Order of two connections in a column.
pub(super) fn compare(by: What, one: &Connection, other: &Connection) -> Ordering {
    let kernel = |connection: &Connection, number: fn(&KernelView) -> u64| connection.kernel.as_ref().map(number);
    let by_kernel = |number: fn(&KernelView) -> u64| kernel(one, number).cmp(&kernel(other, number));
    match by {
        What::Number => one.info.id.cmp(&other.info.id),
        // Connections in use come first, the longest use before the others.
        What::State => (one.used, one.since).cmp(&(other.used, other.since)),
        What::Age => other.known.cmp(&one.known),
        What::Calls => one.carried.cmp(&other.carried),
        What::Sent => one.sent.bytes.cmp(&other.sent.bytes),
        What::Got => one.received.bytes.cmp(&other.received.bytes),
        What::Queued => by_kernel(|kernel| kernel.send_queue.max(kernel.receive_queue).into()),
        What::SendQueue => by_kernel(|kernel| kernel.send_queue.into()),
        What::ReceiveQueue => by_kernel(|kernel| kernel.receive_queue.into()),
        What::Resent => by_kernel(|kernel| kernel.retransmits.into()),
        // The connection that was used last is the youngest.
        What::Asked => kernel(other, |kernel| kernel.time.0).cmp(&kernel(one, |kernel| kernel.time.0)),
    }
}

fn state(connection: &Connection, now: Timestamp) -> (Tone, String) {
    let since = units::duration(Some(now.since(connection.since)));
    match connection.used {
        Use::Busy => (Tone::Open, format!("busy {since}")),
        Use::Connecting => (Tone::Warn, "connecting".to_owned()),
        Use::Idle if connection.peer_closed => (Tone::Warn, "peer closed".to_owned()),
        Use::Idle => (Tone::Plain, format!("idle {since}")),
        Use::Opaque => {
            let protocol = match connection.info.protocol {
                Protocol::Tls => "TLS",
                Protocol::WebSocket => "ws",
                Protocol::Http2 => "h2",
                Protocol::Tunnel => "tun",
                _ => "other",
            };
            (Tone::Faint, format!("{protocol} {since}"))
        }
    }
}

/// Its local address. The row of the upstream has the remote one.
fn address(connection: &Connection) -> &str {
    if connection.role == Some(Role::Server) { &connection.info.remote_text } else { &connection.info.local_text }
}

/// A duration in whole seconds: fractions would flicker.
fn seconds(nanoseconds: u64) -> String {
    match nanoseconds / 1_000_000_000 {
        0 => "<1s".to_owned(),
        seconds @ 1..100 => format!("{seconds}s"),
        _ => units::duration(Some(nanoseconds)),
    }
}

fn age(nanoseconds: u64, is_older: bool) -> String {
    format!("{}{}", if is_older { ">" } else { "" }, units::duration(Some(nanoseconds)))
}

pub(super) fn draw(mut pen: Pen<'_>, connection: &Connection, wide: bool, context: &Context<'_>) {
    let now = context.store.now();
    pen.cell(1, Tone::Open, if pen.is_selected() { ">" } else { "" });
    pen.cell(NUMBER, Tone::Plain, format_args!("#{}", connection.info.id.0));
    let (tone, text) = state(connection, now);
    pen.cell(STATE, tone, text);
    for column in columns(wide) {
        let (tone, text) = match (column.what, &connection.kernel) {
            (What::Age, _) => (Tone::Plain, age(now.since(connection.known), connection.is_older())),
            (What::Calls, _) => (Tone::Plain, count(connection.carried)),
            (What::Sent, _) => (Tone::Faint, units::size(Some(connection.sent.bytes))),
            (What::Got, _) => (Tone::Faint, units::size(Some(connection.received.bytes))),
            (_, None) => (Tone::Faint, "-".to_owned()),
            (What::Queued, Some(kernel)) => queued(kernel),
            (What::SendQueue, Some(kernel)) => queue(kernel.send_queue, ""),
            (What::ReceiveQueue, Some(kernel)) => queue(kernel.receive_queue, ""),
            (What::Resent, Some(kernel)) => {
                (if kernel.backoff > 0 { Tone::Warn } else { Tone::Plain }, count(kernel.retransmits.into()))
            }
            (What::Asked, Some(kernel)) => (Tone::Faint, seconds(now.since(kernel.time))),
            (What::Number | What::State, _) => continue,
        };
        pen.right(column.width, tone, text);
    }
    if wide {
        draw_process(&mut pen, connection);
    }
    pen.put(Tone::Faint, Visible(address(connection)));
}

fn draw_process(pen: &mut Pen<'_>, connection: &Connection) {
    let process = &connection.process;
    pen.cell(PROCESS, Tone::Faint, format_args!("{}[{}]", Visible(&process.name), process.pid));
}

fn queue(bytes: u32, arrow: &str) -> (Tone, String) {
    match bytes {
        0 => (Tone::Faint, "0".to_owned()),
        _ => (Tone::Warn, format!("{arrow}{}", units::size(Some(bytes.into())))),
    }
}

/// The longer of the two queues, and the direction of its bytes.
fn queued(kernel: &KernelView) -> (Tone, String) {
    if kernel.send_queue >= kernel.receive_queue {
        queue(kernel.send_queue, "→")
    } else {
        queue(kernel.receive_queue, "←")
    }
}

pub(super) fn draw_closed(mut pen: Pen<'_>, closed: &Closed, wide: bool, context: &Context<'_>) {
    let Closed { connection, how, ended } = closed;
    pen.cell(1, Tone::Open, if pen.is_selected() { ">" } else { "" });
    pen.cell(NUMBER, Tone::Plain, format_args!("#{}", connection.info.id.0));
    let (tone, how) = match how {
        How::Failed => (Tone::Bad, "!not made"),
        How::Reset => (Tone::Bad, "!reset"),
        How::ByPeer => (Tone::Plain, "by the peer"),
        How::ByTarget => (Tone::Plain, "by target"),
        How::Unknown => (Tone::Faint, "given up"),
    };
    pen.cell(STATE, tone, how);
    for column in columns(wide) {
        let (tone, text) = match column.what {
            What::Age => (Tone::Plain, age(closed.lived(), connection.is_older())),
            What::Calls => (Tone::Plain, count(connection.carried)),
            What::Sent => (Tone::Faint, units::size(Some(connection.sent.bytes))),
            What::Got => (Tone::Faint, units::size(Some(connection.received.bytes))),
            // The remaining columns are for open connections.
            _ => break,
        };
        pen.right(column.width, tone, text);
    }
    let rest = columns(wide).iter().skip_while(|column| column.what != What::Got).skip(1);
    let room: u16 = rest.map(|column| column.width + 1).sum();
    pen.right(room - 1, Tone::Faint, format_args!("{} ago", seconds(context.store.now().since(*ended))));
    if wide {
        draw_process(&mut pen, connection);
    }
    let arrow = if connection.role == Some(Role::Server) { '←' } else { '→' };
    pen.put(Tone::Faint, format_args!("{arrow}{}", Visible(&connection.info.remote_text)));
}
