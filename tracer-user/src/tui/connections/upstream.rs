//! An upstream in one line: the number of its connections, and how many of them were in use recently.

use crate::{
    model::connection::Role,
    store::connections::{Pool, Upstream},
    text::{escape::Visible, redact::Redactor},
    tui::{
        pen::{Pen, columns},
        spark,
        theme::Tone,
        view::Context,
    },
    view::narrow::quoted,
};

/// From this width on, all numbers and the bars of a minute fit.
const ROOMY: u16 = 140;

/// Number of bars, one for each second.
pub(super) fn bars(width: u16) -> u16 {
    match width {
        ROOMY.. => 60,
        80.. => 20,
        _ => 10,
    }
}

pub(super) fn draw(mut pen: Pen<'_>, upstream: &Upstream, is_folded: bool, context: &Context<'_>) {
    let (roomy, bars) = (pen.left() >= ROOMY, bars(pen.left()));
    pen.cell(1, Tone::Open, if pen.is_selected() { ">" } else { "" });
    let fold = if is_folded { '▸' } else { '▾' };
    let arrow = match upstream.role {
        Some(Role::Client) => '→',
        Some(Role::Server) => '←',
        None => ' ',
    };
    pen.put(Tone::Strong, format_args!("{fold}{arrow} "));
    let numbers = numbers(upstream, roomy);
    let room = pen.left().saturating_sub(columns(&numbers) + bars + 3);
    pen.cell(room, Tone::Strong, name(upstream, room, context.redactor));
    pen.put(if upstream.now.busy > 0 { Tone::Open } else { Tone::Plain }, numbers);
    let seconds = upstream.history.whole(context.store.now());
    let busy = seconds[seconds.len() - usize::from(bars)..].iter().map(|pool| u64::from(pool.busy));
    pen.at_end(Tone::Open, spark::scaled(busy, upstream.most.open.into()));
}

fn numbers(upstream: &Upstream, roomy: bool) -> String {
    let Pool { open, busy, idle, connecting } = upstream.now;
    let (most, busiest, closed) = (upstream.most.open, upstream.most.busy, upstream.closed);
    let connects = if connecting > 0 { format!(", {connecting} connecting") } else { String::new() };
    if roomy {
        format!("{open} open, {busy} busy{connects}, {idle} idle; most {most} open, {busiest} busy; {closed} closed")
    } else if connecting > 0 {
        format!("{open} open, {busy} busy{connects}")
    } else {
        format!("{open} open, {busy} busy, most {busiest} of {most}")
    }
}

/// Name of an upstream, and its address where there is room or no name.
fn name(upstream: &Upstream, room: u16, redactor: Redactor) -> String {
    let address = Visible(&upstream.address).to_string();
    let Some((first, more)) = upstream.names.split_first() else { return address };
    let mut name = Visible(&redactor.authority(first)).to_string();
    if !more.is_empty() {
        name = format!("{name} +{}", more.len());
    }
    let both = format!("{name} ({address})");
    if columns(&both) <= room { both } else { name }
}

/// Filter that takes the calls to an upstream.
pub(super) fn filter(upstream: &Upstream) -> String {
    let address = quoted(&upstream.address);
    match upstream.role {
        Some(Role::Client) => format!("is:client remote={address}"),
        Some(Role::Server) => format!("is:server local={address}"),
        None => format!("remote={address}"),
    }
}
