//! The interface of a screen: its context, its trait and its reactions.

use std::{cell::RefCell, ops::Deref};

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::{
    keys::{Action, On},
    theme::Theme,
};
use crate::{
    filter::{self, Filter, FilterError},
    model::exchange::{Exchange, ExchangeId, IncidentId},
    payload::coding::Budget,
    view::viewpoint::Viewpoint,
};

/// Nanoseconds that the filter may take for a frame or a key. The time is estimated and not measured, so that a
/// recording draws the same screens each time.
const NS_A_FRAME: u64 = 20_000_000;
/// Cost of testing an exchange, without its bodies.
const NS_AN_EXCHANGE: u64 = 300;

/// Input of every screen.
pub(super) struct Context<'a> {
    /// Store, redactor and time zone.
    pub(super) viewpoint: Viewpoint<'a>,
    /// Colours.
    pub(super) theme: Theme,
    /// Exchanges that are wanted.
    pub(super) filter: &'a Wanted,
    /// Time that the filter has taken.
    pub(super) budget: RefCell<Budget>,
}

/// The filter of the screens.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// The current filter: the latest valid text.
    pub(super) filter: Filter,
    /// The typed text.
    pub(super) text: String,
    /// Error of the typed text.
    pub(super) error: Option<FilterError>,
    /// Number that changes with the current filter.
    pub(super) version: u64,
}

impl Wanted {
    /// Sets another text. An invalid one only sets the error.
    pub(super) fn set(&mut self, text: String) {
        match Filter::parse(&text) {
            Ok(filter) => {
                self.error = None;
                if filter != self.filter {
                    self.version += 1;
                }
                self.filter = filter;
            }
            Err(error) => self.error = Some(error),
        }
        self.text = text;
    }

    /// True where the filter takes every exchange.
    pub(super) fn takes_all(&self) -> bool {
        self.filter.is_empty()
    }
}

impl Context<'_> {
    /// True where the filter takes the exchange.
    pub(super) fn matches(&self, exchange: &Exchange) -> bool {
        self.budget.borrow_mut().spend_ns(NS_AN_EXCHANGE);
        let context = filter::Context { redactor: self.redactor, now: self.store.now(), budget: Some(&self.budget) };
        self.filter.filter.matches(exchange, &context)
    }

    /// True while there is time to test more exchanges before the next frame. At least one can be tested.
    pub(super) fn has_time(&self) -> bool {
        self.budget.borrow().spent_ns() < NS_A_FRAME
    }
}

impl<'a> Deref for Context<'a> {
    type Target = Viewpoint<'a>;

    fn deref(&self) -> &Self::Target {
        &self.viewpoint
    }
}

/// One screen.
pub(super) trait View {
    /// The screen, for its keys.
    fn on(&self) -> On;

    /// Draws the screen. Drawing changes only scroll positions.
    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>);

    /// Handles a key.
    fn act(&mut self, action: Action, context: &Context<'_>) -> Vec<Reaction>;

    /// Handles a turn of the wheel by one row, which only scrolls.
    fn wheel(&mut self, action: Action, context: &Context<'_>) -> Vec<Reaction> {
        self.act(action, context)
    }

    /// Handles a click.
    fn click(&mut self, _at: Position, _context: &Context<'_>) -> Vec<Reaction> {
        Vec::new()
    }

    /// Inodes of the connections whose queues are visible: the kernel is queried about them once a second.
    fn watched(&self) -> &[u64] {
        &[]
    }

    /// Searches for a text while it is typed. An empty text ends the search.
    fn search(&mut self, _text: &str, _context: &Context<'_>) {}
}

/// Request of a screen.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reaction {
    /// Show an exchange on top of this screen.
    OpenExchange(ExchangeId),
    /// Show an incident on top of this screen.
    OpenIncident(IncidentId),
    /// Show the overview, with this filter.
    Narrow(String),
    /// An effect outside the screens.
    Do(Effect),
    /// Show a message.
    Say(String),
    /// One step back.
    Back,
}

/// An effect outside the screens, for the owner of the terminal.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// End.
    Quit,
    /// Stop until continued.
    Suspend,
    /// Draw all anew.
    Redraw,
    /// Copy to the clipboard, by OSC 52.
    Copy {
        /// Name of the text, for the message.
        what: String,
        /// The text.
        text: String,
    },
    /// Show in a pager.
    Page {
        /// Name of the text.
        title: String,
        /// Text that is harmless for a terminal.
        text: String,
    },
    /// Write to a file in the current folder.
    WriteFile {
        /// Beginning of the file name, and its extension.
        name: (String, String),
        /// Contents.
        bytes: Vec<u8>,
    },
    /// Write a recording of the latest events.
    SaveRecording,
}
