//! The first screen: the incidents, and below them the calls as they happen.

mod incidents;
mod index;
mod list;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use self::{incidents::Incidents, list::List};
use super::{
    Tab, copy,
    keys::{Action, On},
    pen::{Pen, columns, cut},
    theme::Tone,
    view::{Context, Reaction, View},
    widget::split_top,
};
use crate::{
    engine::{Summary, Unseen},
    model::exchange::ExchangeId,
};

/// The part that keys act on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Focus {
    #[default]
    Exchanges,
    /// The list below is narrowed to the incident that is selected.
    Incidents,
}

/// State of the screen.
#[derive(Default)]
pub(super) struct Overview {
    focus: Focus,
    incidents: Incidents,
    list: List,
}

impl View for Overview {
    fn on(&self) -> On {
        On::OVERVIEW
    }

    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        let [top, bottom] = split_top(area, Incidents::height(context, area.height));
        let unseen = context.store.unseen();
        let [line, mut bottom] = split_top(bottom, u16::from(!unseen.is_empty()));
        if line.height > 0 {
            not_seen(&mut Pen::new(buffer, line, context.theme), unseen);
        }
        for words in context.store.summary().map(Summary::given_up).unwrap_or_default() {
            let [line, rest] = split_top(bottom, 1);
            bottom = rest;
            let mut pen = Pen::new(buffer, line, context.theme);
            let room = pen.left();
            pen.put(Tone::Warn, cut(&format!("pidtap {words}"), room));
        }
        let on_incidents = self.focus == Focus::Incidents;
        self.incidents.draw(top, buffer, context, on_incidents);
        let selected = self.incidents.selected().filter(|_| on_incidents);
        let incident = selected.and_then(|id| context.store.incidents().get(id));
        self.list.draw(bottom, buffer, context, incident.map(|incident| &**incident), !on_incidents);
    }

    fn act(&mut self, action: Action, context: &Context<'_>) -> Vec<Reaction> {
        match (action, self.focus) {
            (Action::Incidents | Action::Left | Action::Right, _) => self.change_focus(context),
            (Action::Up, Focus::Exchanges) if self.list.is_at_top() => self.change_focus(context),
            (Action::Back, Focus::Incidents) => self.focus = Focus::Exchanges,
            (Action::Back, Focus::Exchanges) => return vec![Reaction::Back],
            (Action::Open, Focus::Incidents) => {
                return self.incidents.selected().map(Reaction::OpenIncident).into_iter().collect();
            }
            (Action::Open, Focus::Exchanges) => {
                let none = || Reaction::Say("no call is selected: the list is empty".to_owned());
                return vec![self.list.selected().map_or_else(none, Reaction::OpenExchange)];
            }
            (action, Focus::Incidents) => {
                if !self.incidents.act(action, context) && action == Action::Down {
                    self.focus = Focus::Exchanges;
                }
            }
            (action, Focus::Exchanges) => {
                if let Some(reactions) = self.exchange_action(action, context) {
                    return reactions;
                }
                self.list.act(action, context);
            }
        }
        Vec::new()
    }

    /// The wheel does not move the focus, which would narrow the list.
    fn wheel(&mut self, action: Action, context: &Context<'_>) -> Vec<Reaction> {
        match self.focus {
            Focus::Exchanges => self.list.act(action, context),
            Focus::Incidents => drop(self.incidents.act(action, context)),
        }
        Vec::new()
    }

    fn click(&mut self, at: Position, context: &Context<'_>) -> Vec<Reaction> {
        if let Some(again) = self.incidents.click(at, context) {
            let again = again && self.focus == Focus::Incidents;
            self.focus = Focus::Incidents;
            return if again { self.act(Action::Open, context) } else { Vec::new() };
        }
        match self.list.click(at, context) {
            Some(again) => {
                // A click into a list that an incident narrows keeps it narrowed.
                if again || self.focus == Focus::Incidents {
                    return self.list.selected().map(Reaction::OpenExchange).into_iter().collect();
                }
                Vec::new()
            }
            None => Vec::new(),
        }
    }
}

/// Draws the number of connections whose calls are not seen, and the screens that have details.
fn not_seen(pen: &mut Pen<'_>, unseen: &Unseen) {
    let wanted = Tab::ALL.iter().enumerate().filter(|(_, (tab, _))| matches!(tab, Tab::Connections | Tab::Log));
    let names: Vec<String> = wanted.map(|(index, (_, name))| format!("{} {name}", index + 1)).collect();
    let where_to = format!(" ({})", names.join(", "));
    let room = pen.left().saturating_sub(columns(&where_to));
    pen.put(Tone::Warn, cut(&format!("NOT SEEN: calls on connections, {unseen}"), room));
    pen.put(Tone::Faint, where_to);
}

impl Overview {
    fn change_focus(&mut self, context: &Context<'_>) {
        self.focus = match self.focus {
            Focus::Exchanges if context.store.incidents().total() > 0 => {
                self.incidents.enter(context);
                Focus::Incidents
            }
            _ => Focus::Exchanges,
        };
    }

    /// Runs an action on the selected exchange.
    fn exchange_action(&self, action: Action, context: &Context<'_>) -> Option<Vec<Reaction>> {
        let id: ExchangeId = self.list.selected()?;
        copy::act_on(id, action, context)
    }
}
