//! The table of connections.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    keys::{Action, On},
    pen::Pen,
    theme::Tone,
    view::{Context, Reaction, View},
};

/// See the module.
#[derive(Default)]
pub(super) struct ConnectionsView {}

impl View for ConnectionsView {
    fn on(&self) -> On {
        On::CONNECTIONS
    }

    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        Pen::new(buffer, area, context.theme).put(Tone::Plain, "connections");
    }

    fn act(&mut self, action: Action, _context: &Context<'_>) -> Vec<Reaction> {
        if action == Action::Back { vec![Reaction::Back] } else { Vec::new() }
    }
}
