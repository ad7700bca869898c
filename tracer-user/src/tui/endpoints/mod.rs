//! The table of endpoints.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    keys::{Action, On},
    pen::Pen,
    theme::Tone,
    view::{Context, Reaction, View},
};

/// See the module.
#[derive(Default)]
pub(super) struct EndpointsView {}

impl View for EndpointsView {
    fn on(&self) -> On {
        On::ENDPOINTS
    }

    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        Pen::new(buffer, area, context.theme).put(Tone::Plain, "endpoints");
    }

    fn act(&mut self, action: Action, _context: &Context<'_>) -> Vec<Reaction> {
        if action == Action::Back { vec![Reaction::Back] } else { Vec::new() }
    }
}
