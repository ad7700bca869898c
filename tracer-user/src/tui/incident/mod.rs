//! One incident.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    keys::{Action, On},
    pen::Pen,
    theme::Tone,
    view::{Context, Reaction, View},
};
use crate::exchange::IncidentId;

/// See the module.
pub(super) struct IncidentView {
    id: IncidentId,
}

impl IncidentView {
    pub(super) fn new(id: IncidentId) -> Self {
        Self { id }
    }
}

impl View for IncidentView {
    fn on(&self) -> On {
        On::INCIDENT
    }

    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        Pen::new(buffer, area, context.theme).put(Tone::Plain, format_args!("incident {}", self.id.0));
    }

    fn act(&mut self, _action: Action, _context: &Context<'_>) -> Vec<Reaction> {
        Vec::new()
    }
}
