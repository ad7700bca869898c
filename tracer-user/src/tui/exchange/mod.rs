//! One exchange.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    keys::{Action, On},
    pen::Pen,
    theme::Tone,
    view::{Context, Reaction, View},
};
use crate::exchange::ExchangeId;

/// See the module.
pub(super) struct ExchangeView {
    id: ExchangeId,
}

impl ExchangeView {
    pub(super) fn new(id: ExchangeId) -> Self {
        Self { id }
    }
}

impl View for ExchangeView {
    fn on(&self) -> On {
        On::EXCHANGE
    }

    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        Pen::new(buffer, area, context.theme).put(Tone::Plain, format_args!("exchange {}", self.id.0));
    }

    fn act(&mut self, _action: Action, _context: &Context<'_>) -> Vec<Reaction> {
        Vec::new()
    }
}

/// What can be done with an exchange on every screen that shows it; `None` for other actions.
pub(super) fn act_on(_id: ExchangeId, _action: Action, _context: &Context<'_>) -> Option<Vec<Reaction>> {
    None
}
