//! What a screen is given, and what it gives back.

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

/// The filter may take so long until something is drawn, or a key has done its work. It is reckoned and not measured: a recording
/// draws the same screens each time.
const NS_A_FRAME: u64 = 20_000_000;
/// To look at an exchange takes as long, but for its bodies.
const NS_AN_EXCHANGE: u64 = 300;

/// What every screen draws from. Drawing changes nothing but how far a screen is scrolled.
pub(super) struct Context<'a> {
    /// What is shown, and how.
    pub(super) viewpoint: Viewpoint<'a>,
    /// Colours.
    pub(super) theme: Theme,
    /// Exchanges that are wanted.
    pub(super) filter: &'a Wanted,
    /// Time that the filter has taken.
    pub(super) budget: RefCell<Budget>,
}

/// Which exchanges are wanted.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// What is in force: the latest text that is a filter.
    pub(super) filter: Filter,
    /// As it was typed.
    pub(super) text: String,
    /// Why the text is no filter.
    pub(super) error: Option<FilterError>,
    /// Changes with what is in force.
    pub(super) version: u64,
}

impl Wanted {
    /// Another text. One that is no filter changes nothing but the error.
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

    /// Nothing is left out.
    pub(super) fn takes_all(&self) -> bool {
        self.filter.is_empty()
    }
}

impl Context<'_> {
    /// Whether the filter lets it through.
    pub(super) fn matches(&self, exchange: &Exchange) -> bool {
        self.budget.borrow_mut().spend_ns(NS_AN_EXCHANGE);
        let context = filter::Context { redactor: self.redactor, now: self.store.now(), budget: Some(&self.budget) };
        self.filter.filter.matches(exchange, &context)
    }

    /// Whether there is time left to look at more exchanges before something is drawn. At least one is looked at.
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
    /// Which keys it has.
    fn on(&self) -> On;

    /// Draws it.
    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>);

    /// A key was pressed.
    fn act(&mut self, action: Action, context: &Context<'_>) -> Vec<Reaction>;

    /// The wheel was turned: by one row. It scrolls, and does nothing else.
    fn wheel(&mut self, action: Action, context: &Context<'_>) -> Vec<Reaction> {
        self.act(action, context)
    }

    /// A place of it was clicked.
    fn click(&mut self, _at: Position, _context: &Context<'_>) -> Vec<Reaction> {
        Vec::new()
    }

    /// Connections, by inode, whose queues it shows: of them the kernel is asked about once a second.
    fn watched(&self) -> &[u64] {
        &[]
    }

    /// Something is searched for in it, as it is typed; nothing for an empty text.
    fn search(&mut self, _text: &str, _context: &Context<'_>) {}
}

/// What a screen wants to happen.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reaction {
    /// Another screen, over this one.
    OpenExchange(ExchangeId),
    /// The same.
    OpenIncident(IncidentId),
    /// The overview, with this filter.
    Narrow(String),
    /// Something outside of the screens.
    Do(Effect),
    /// One line to be read.
    Say(String),
    /// One step back.
    Back,
}

/// What must be done outside: by whoever has the terminal.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// End.
    Quit,
    /// Stop until continued.
    Suspend,
    /// Draw all anew.
    Redraw,
    /// To the clipboard, by OSC 52.
    Copy {
        /// What it is, for the message.
        what: String,
        /// The text.
        text: String,
    },
    /// Show in a pager.
    Page {
        /// What it is.
        title: String,
        /// Text that is harmless for a terminal.
        text: String,
    },
    /// Write to a file in the current folder.
    WriteFile {
        /// What the name begins with, and its extension.
        name: (String, String),
        /// Contents.
        bytes: Vec<u8>,
    },
    /// Write a recording of what was seen so far.
    SaveRecording,
}
