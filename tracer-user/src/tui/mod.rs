//! The screens. The first one shows what is wrong, without a key press.
//!
//! [`Ui`] handles keys and draws. It reads nothing but the [`Store`], whose time is that of the trace, so a recording
//! draws the same screens each time. Actions outside the screens (copy, page, quit) are returned as [`Effect`]s.

mod connections;
mod copy;
mod endpoints;
mod exchange;
mod header;
mod help;
mod incident;
mod keys;
mod log;
mod overview;
mod pen;
mod prompt;
mod spark;
mod status;
mod table;
#[cfg(test)]
mod tests;
mod theme;
mod view;
mod widget;

use std::cell::RefCell;

use ratatui::{
    Frame,
    buffer::Buffer,
    crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind},
    layout::{Constraint, Layout, Position, Rect},
};

pub use theme::{Palette, Theme};
pub use view::Effect;

use self::{
    connections::ConnectionsView,
    endpoints::EndpointsView,
    exchange::ExchangeView,
    help::Help,
    incident::IncidentView,
    keys::{Action, On},
    log::LogView,
    overview::Overview,
    pen::Pen,
    prompt::{Prompt, Prompted},
    theme::Tone,
    view::{Context, Reaction, View, Wanted},
};
use crate::{
    event::Timestamp,
    payload::coding::Budget,
    store::Store,
    text::redact::{MarkKey, Redactor},
    view::viewpoint::Viewpoint,
};

/// Smallest size of the terminal that screens are drawn for: columns and lines.
const LEAST: (u16, u16) = (60, 12);

/// Options of the screens.
#[derive(Clone, Debug, Default)]
pub struct UiOptions {
    /// Colours.
    pub palette: Palette,
    /// Seconds to add to UTC for the times shown.
    pub utc_offset_s: i32,
    /// Show secrets from the start.
    pub show_secrets: bool,
    /// Key of the marks that stand for secrets.
    pub mark_key: Option<MarkKey>,
    /// Filter from the start.
    pub filter: String,
}

/// State of the input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Name of the recording.
    pub recording: Option<String>,
    /// Percent of it that were read; `None` where its size is not known, or all was read.
    pub read_percent: Option<u8>,
}

/// A screen with a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Tab {
    #[default]
    Overview,
    Endpoints,
    Connections,
    Log,
}

impl Tab {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Overview, "Overview"),
        (Self::Endpoints, "Endpoints"),
        (Self::Connections, "Connections"),
        (Self::Log, "Log"),
    ];

    fn step(self, by: usize) -> Self {
        Self::ALL[(self as usize + by) % Self::ALL.len()].0
    }
}

/// All screens, with their state.
pub struct Ui {
    theme: Theme,
    redactor: Redactor,
    utc_offset_s: i32,
    show_secrets: bool,
    filter: Wanted,
    source: Source,
    /// The store that is shown while the view is held.
    held: Option<Box<Store>>,
    tab: Tab,
    overview: Overview,
    endpoints: EndpointsView,
    connections: ConnectionsView,
    log: LogView,
    /// Screens that cover the numbered ones, the last one on top.
    opened: Vec<Box<dyn View + Send>>,
    help: Option<Help>,
    prompt: Option<Prompt>,
    filter_history: Vec<String>,
    search_history: Vec<String>,
    /// Message that is shown until the next key.
    message: Option<String>,
    body_area: Rect,
    /// Area of the latest frame.
    area: Rect,
    /// A key or a click came after the latest frame, so the places of rows are not known.
    is_stale: bool,
    /// Time of the trace.
    now: Timestamp,
}

impl Ui {
    /// The screens as they start: the overview.
    pub fn new(options: &UiOptions) -> Self {
        let mut filter = Wanted::default();
        filter.set(options.filter.clone());
        Self {
            theme: Theme::new(options.palette),
            redactor: Redactor::new(options.show_secrets).with_key(options.mark_key),
            utc_offset_s: options.utc_offset_s,
            show_secrets: options.show_secrets,
            filter,
            source: Source::default(),
            held: None,
            tab: Tab::Overview,
            overview: Overview::default(),
            endpoints: EndpointsView::default(),
            connections: ConnectionsView::default(),
            log: LogView::default(),
            opened: Vec::new(),
            help: None,
            prompt: None,
            filter_history: Vec::new(),
            search_history: Vec::new(),
            message: None,
            body_area: Rect::default(),
            area: Rect::new(0, 0, 80, 24),
            // No frame was drawn yet.
            is_stale: true,
            now: Timestamp::default(),
        }
    }

    /// Adds a message to the log, and shows it in the status line until the next key.
    pub fn say(&mut self, text: &str) {
        self.log.take(self.now, false, text);
        self.message = Some(text.to_owned());
    }

    /// Sets the trace time for the messages that follow.
    pub fn pass(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Adds a line of the traced command to the log.
    pub fn said_by_command(&mut self, line: &str) {
        self.log.take(self.now, true, line);
    }

    /// Sets the state of the input.
    pub fn set_source(&mut self, source: Source) {
        self.source = source;
    }

    /// Handles an event of the terminal. However fast keys come, each acts on the state after the previous ones, as if
    /// a frame had been drawn in between.
    pub fn handle(&mut self, event: &Event, store: &Store) -> Vec<Effect> {
        let effects = match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                self.settle(store);
                self.key(&enter(*key), store)
            }
            Event::Mouse(mouse) if mouse.kind != MouseEventKind::Moved => {
                self.settle(store);
                self.mouse(*mouse, store)
            }
            Event::Paste(text) => {
                if let Some(prompt) = &mut self.prompt {
                    prompt.paste(text);
                    self.prompted(Prompted::Changed, store);
                }
                Vec::new()
            }
            _ => return Vec::new(),
        };
        self.is_stale = true;
        effects
    }

    /// Draws a frame that is not shown, to know the places of rows and the selection.
    fn settle(&mut self, store: &Store) {
        if self.is_stale {
            let area = Rect { width: self.area.width.max(LEAST.0), height: self.area.height.max(LEAST.1), ..self.area };
            self.draw_on(area, &mut Buffer::empty(area), store);
        }
    }

    fn key(&mut self, key: &KeyEvent, store: &Store) -> Vec<Effect> {
        self.message = None;
        if let Some(prompt) = &mut self.prompt {
            let prompted = prompt.key(key);
            // Ctrl-C quits even while a text is typed.
            if prompted != Prompted::Ignored {
                self.prompted(prompted, store);
                return Vec::new();
            }
        }
        if let Some(help) = &mut self.help {
            match keys::action(key, On::ALL) {
                Some(Action::Quit | Action::Back | Action::Help | Action::Open) => self.help = None,
                Some(action) => help.act(action),
                None => {}
            }
            return Vec::new();
        }
        let on = self.view().on();
        keys::action(key, on).map_or_else(Vec::new, |action| self.act(action, store))
    }

    fn view(&self) -> &dyn View {
        match self.opened.last() {
            Some(view) => &**view,
            None => match self.tab {
                Tab::Overview => &self.overview,
                Tab::Endpoints => &self.endpoints,
                Tab::Connections => &self.connections,
                Tab::Log => &self.log,
            },
        }
    }

    /// Runs a step on the visible screen, with its context.
    fn with_view<T>(&mut self, store: &Store, step: impl FnOnce(&mut dyn View, &Context<'_>) -> T) -> T {
        let store = self.held.as_deref().unwrap_or(store);
        let context = Context {
            viewpoint: Viewpoint { store, redactor: self.redactor, utc_offset_s: self.utc_offset_s },
            theme: self.theme,
            filter: &self.filter,
            budget: RefCell::new(Budget::reckoning()),
        };
        let view: &mut dyn View = match self.opened.last_mut() {
            Some(view) => &mut **view,
            None => match self.tab {
                Tab::Overview => &mut self.overview,
                Tab::Endpoints => &mut self.endpoints,
                Tab::Connections => &mut self.connections,
                Tab::Log => &mut self.log,
            },
        };
        step(view, &context)
    }

    fn act(&mut self, action: Action, store: &Store) -> Vec<Effect> {
        match action {
            Action::Quit => return vec![Effect::Quit],
            Action::Suspend => return vec![Effect::Suspend],
            Action::Redraw => return vec![Effect::Redraw],
            Action::Save => return vec![Effect::SaveRecording],
            Action::Help => self.help = Some(Help::new(self.view().on())),
            Action::Secrets => {
                self.show_secrets = !self.show_secrets;
                self.redactor = self.redactor.showing(self.show_secrets);
                self.filter.version += 1;
                let now = if self.show_secrets { "shown; X hides them" } else { "masked" };
                self.message = Some(format!("secrets are {now}"));
            }
            Action::Pause => {
                self.held = match self.held.take() {
                    Some(_) => None,
                    None => Some(Box::new(store.clone())),
                };
            }
            Action::Screen(number) => {
                if let Some((tab, _)) = Tab::ALL.get(usize::from(number).wrapping_sub(1)) {
                    self.show_tab(*tab);
                }
            }
            Action::NextScreen => self.show_tab(self.tab.step(1)),
            Action::PreviousScreen => self.show_tab(self.tab.step(Tab::ALL.len() - 1)),
            Action::Find => {
                self.prompt = Some(if self.view().on().meets(On::EXCHANGE) {
                    Prompt::search(&self.search_history)
                } else {
                    Prompt::filter(&self.filter.text, &self.filter_history)
                });
            }
            Action::Back if self.opened.pop().is_some() => {}
            action => {
                let reactions = self.with_view(store, |view, context| view.act(action, context));
                return self.react(action, reactions);
            }
        }
        Vec::new()
    }

    fn show_tab(&mut self, tab: Tab) {
        self.tab = tab;
        self.opened.clear();
    }

    fn react(&mut self, action: Action, reactions: Vec<Reaction>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for reaction in reactions {
            match reaction {
                Reaction::OpenExchange(id) => self.open(Box::new(ExchangeView::new(id))),
                Reaction::OpenIncident(id) => self.open(Box::new(IncidentView::new(id))),
                Reaction::Narrow(filter) => {
                    self.filter.set(filter);
                    self.show_tab(Tab::Overview);
                }
                Reaction::Do(effect) => effects.push(effect),
                Reaction::Say(text) => self.message = Some(text),
                Reaction::Back => {
                    // On the first screen, Back removes the filter.
                    if self.opened.pop().is_none() && action == Action::Back && !self.filter.takes_all() {
                        self.filter.set(String::new());
                        self.message = Some("the filter is off".to_owned());
                    }
                }
            }
        }
        effects
    }

    fn open(&mut self, view: Box<dyn View + Send>) {
        /// Screens on top of each other, at most.
        const DEPTH: usize = 32;
        if self.opened.len() >= DEPTH {
            self.opened.remove(0);
        }
        self.opened.push(view);
    }

    fn prompted(&mut self, prompted: Prompted, store: &Store) {
        let Some(prompt) = &self.prompt else { return };
        let text = prompt.text().to_owned();
        let is_filter = prompt.is_filter();
        match prompted {
            Prompted::Ignored => {}
            Prompted::Changed if is_filter => self.filter.set(text),
            Prompted::Changed => self.with_view(store, |view, context| view.search(&text, context)),
            // An invalid filter cannot be accepted; its error is visible.
            Prompted::Done if is_filter && self.filter.error.is_some() => {}
            Prompted::Done => {
                self.prompt = None;
                let history = if is_filter { &mut self.filter_history } else { &mut self.search_history };
                prompt::remember(history, &text);
            }
            Prompted::Cancelled => {
                let before = prompt.before().to_owned();
                self.prompt = None;
                if is_filter {
                    self.filter.set(before);
                } else {
                    self.with_view(store, |view, context| view.search("", context));
                }
            }
        }
    }

    fn mouse(&mut self, mouse: MouseEvent, store: &Store) -> Vec<Effect> {
        const WHEEL: usize = 3;
        let at = Position::new(mouse.column, mouse.row);
        if let Some(help) = &mut self.help {
            match mouse.kind {
                MouseEventKind::ScrollUp => (0..WHEEL).for_each(|_| help.act(Action::Up)),
                MouseEventKind::ScrollDown => (0..WHEEL).for_each(|_| help.act(Action::Down)),
                MouseEventKind::Down(_) => self.help = None,
                _ => {}
            }
            return Vec::new();
        }
        let action = match mouse.kind {
            MouseEventKind::ScrollUp => Action::Up,
            MouseEventKind::ScrollDown => Action::Down,
            MouseEventKind::Down(MouseButton::Left) => {
                self.message = None;
                if let Some(tab) = header::tab_at(at, self.body_area.width) {
                    self.show_tab(Tab::ALL[tab].0);
                    return Vec::new();
                }
                if !self.body_area.contains(at) {
                    return Vec::new();
                }
                let reactions = self.with_view(store, |view, context| view.click(at, context));
                return self.react(Action::Open, reactions);
            }
            _ => return Vec::new(),
        };
        let mut effects = Vec::new();
        for _ in 0..WHEEL {
            let reactions = self.with_view(store, |view, context| view.wheel(action, context));
            effects.extend(self.react(action, reactions));
        }
        effects
    }

    /// Inodes of the connections that the kernel is to be queried about once a second: those whose queues are visible.
    pub fn watched(&self) -> &[u64] {
        self.view().watched()
    }

    /// Draws the whole screen.
    pub fn draw(&mut self, frame: &mut Frame<'_>, store: &Store) {
        self.now = store.now();
        let area = frame.area();
        self.area = area;
        if area.width < LEAST.0 || area.height < LEAST.1 {
            let text = format!("pidtap needs {}x{}, this is {}x{}", LEAST.0, LEAST.1, area.width, area.height);
            let middle = Rect { y: area.height / 2, height: 1, ..area };
            Pen::new(frame.buffer_mut(), middle, self.theme).put(Tone::Plain, text);
            return;
        }
        if let Some(cursor) = self.draw_on(area, frame.buffer_mut(), store) {
            frame.set_cursor_position(cursor);
        }
    }

    /// Draws all parts. Gives the position of the cursor while a text is typed.
    fn draw_on(&mut self, area: Rect, buffer: &mut Buffer, store: &Store) -> Option<Position> {
        self.is_stale = false;
        let error = self.filter.error.as_ref().filter(|_| self.prompt.as_ref().is_some_and(Prompt::is_filter));
        let lines = if error.is_some() { 2 } else { 1 };
        let [top, body, bottom] =
            Layout::vertical([Constraint::Length(header::HEIGHT), Constraint::Min(1), Constraint::Length(lines)])
                .areas(area);
        self.body_area = body;
        {
            let held = self.held.as_deref();
            let shown = header::Shown {
                tab: self.opened.is_empty().then_some(self.tab as usize),
                held: held.is_some(),
                secrets: self.show_secrets,
                filter: &self.filter,
                source: &self.source,
                newest: store,
            };
            header::draw(&shown, top, buffer, held.unwrap_or(store), self.theme, self.utc_offset_s);
        }
        self.with_view(store, |view, context| view.draw(body, buffer, context));
        if let Some(help) = &mut self.help {
            help.draw(body, buffer, self.theme);
        }
        let status = status::Status {
            prompt: self.prompt.as_ref(),
            error: self.filter.error.as_ref(),
            message: self.message.as_deref(),
            on: if self.help.is_some() { None } else { Some(self.view().on()) },
        };
        status::draw(&status, bottom, buffer, self.theme)
    }
}

/// Turns a line feed into Enter: a terminal that is not raw yet translates Enter (ICRNL in termios(3)).
fn enter(key: KeyEvent) -> KeyEvent {
    if key.code == KeyCode::Char('j') && key.modifiers == KeyModifiers::CONTROL {
        return KeyEvent { code: KeyCode::Enter, modifiers: KeyModifiers::NONE, ..key };
    }
    key
}
