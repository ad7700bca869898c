//! The keys: one table, which serves dispatch, help and the status line.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Action of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A row up.
    Up,
    /// A row down.
    Down,
    /// To the left: the other panel, or columns that do not fit.
    Left,
    /// To the right.
    Right,
    /// A screenful up.
    PageUp,
    /// A screenful down.
    PageDown,
    /// To the first row.
    First,
    /// To the last row, and follow new ones.
    Last,
    /// Open what is selected.
    Open,
    /// One step back.
    Back,
    /// The next screen.
    NextScreen,
    /// The screen before.
    PreviousScreen,
    /// The screen with this number.
    Screen(u8),
    /// To the incidents, or to the incident of the exchange that is shown.
    Incidents,
    /// Type a filter; in an exchange, a text to search for.
    Find,
    /// The next match.
    NextMatch,
    /// The previous match.
    PreviousMatch,
    /// The exchange after this one.
    NextItem,
    /// The exchange before this one.
    PreviousItem,
    /// Sort by the next column.
    SortNext,
    /// Sort by the column before.
    SortPrevious,
    /// Turn the order around.
    SortReverse,
    /// Show a row's parts, or put them together again.
    Unfold,
    /// Copy the exchange as a curl command.
    CopyCurl,
    /// Copy its URL.
    CopyUrl,
    /// Show the body in a pager.
    Body,
    /// Write the body to a file.
    BodyToFile,
    /// Write a recording of the latest events.
    Save,
    /// Show or hide secrets.
    Secrets,
    /// Hold the view, or let it go on.
    Pause,
    /// Show or leave the help.
    Help,
    /// Draw all anew.
    Redraw,
    /// Stop like any other program, until `fg`.
    Suspend,
    /// End.
    Quit,
}

/// The screens on which a key has an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct On(u8);

impl On {
    /// The first screen.
    pub(super) const OVERVIEW: Self = Self(1);
    /// One exchange.
    pub(super) const EXCHANGE: Self = Self(2);
    /// One incident.
    pub(super) const INCIDENT: Self = Self(4);
    /// The table of endpoints.
    pub(super) const ENDPOINTS: Self = Self(8);
    /// The table of connections.
    pub(super) const CONNECTIONS: Self = Self(16);
    /// The log.
    pub(super) const LOG: Self = Self(32);
    /// All of them.
    pub(super) const ALL: Self = Self(0xff);

    /// The screens of both.
    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True where both have a screen in common.
    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A key, with its modifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A character, which includes shift.
    Char(char),
    /// A letter with control.
    Ctrl(char),
    /// Another key.
    Code(KeyCode),
}

impl Key {
    /// Name in the help.
    pub(super) fn name(self) -> String {
        match self {
            Self::Char(' ') => "Space".to_owned(),
            Self::Char(character) => character.to_string(),
            Self::Ctrl(letter) => format!("Ctrl-{}", letter.to_ascii_uppercase()),
            Self::Code(code) => match code {
                KeyCode::Up => "↑".to_owned(),
                KeyCode::Down => "↓".to_owned(),
                KeyCode::Left => "←".to_owned(),
                KeyCode::Right => "→".to_owned(),
                KeyCode::PageUp => "PgUp".to_owned(),
                KeyCode::PageDown => "PgDn".to_owned(),
                KeyCode::BackTab => "Shift-Tab".to_owned(),
                KeyCode::F(number) => format!("F{number}"),
                other => format!("{other:?}"),
            },
        }
    }

    fn is(self, event: &KeyEvent) -> bool {
        let control = event.modifiers.contains(KeyModifiers::CONTROL);
        let other = event.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::SUPER | KeyModifiers::META);
        match (self, event.code) {
            (Self::Char(own), KeyCode::Char(typed)) => own == typed && !control && !other,
            (Self::Ctrl(own), KeyCode::Char(typed)) => control && own == typed.to_ascii_lowercase(),
            (Self::Code(own), code) => own == code,
            _ => false,
        }
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    /// Keys, the one to show first.
    pub(super) keys: &'static [Key],
    /// Their action.
    pub(super) action: Action,
    /// Screens.
    pub(super) on: On,
    /// Text in the help.
    pub(super) help: &'static str,
    /// Text in the status line; `None` where it has none.
    pub(super) short: Option<&'static str>,
}

const fn binding(
    keys: &'static [Key],
    action: Action,
    on: On,
    help: &'static str,
    short: Option<&'static str>,
) -> Binding {
    Binding { keys, action, on, help, short }
}

use Key::{Char, Code, Ctrl};

const LISTS: On = On::OVERVIEW.or(On::ENDPOINTS).or(On::CONNECTIONS);
const TABLES: On = On::ENDPOINTS.or(On::CONNECTIONS);
/// Screens that show or select one exchange.
const EXCHANGES: On = On::OVERVIEW.or(On::EXCHANGE).or(On::INCIDENT);

/// Screens on which left and right move.
const COLUMNS: On = LISTS.or(On::INCIDENT).or(On::LOG);

/// All keys. The first match counts.
pub(super) const TABLE: &[Binding] = &[
    binding(&[Code(KeyCode::Enter)], Action::Open, On::ALL, "open the selection", Some("open")),
    binding(&[Code(KeyCode::Esc), Code(KeyCode::Backspace)], Action::Back, On::ALL, "back", None),
    binding(&[Char('/')], Action::Find, LISTS, "filter as you type (see docs/filter.md)", Some("filter")),
    binding(&[Char('/')], Action::Find, On::EXCHANGE, "search this page", Some("search")),
    binding(&[Char('i')], Action::Incidents, On::OVERVIEW, "switch between incidents and calls", Some("incidents")),
    binding(&[Char('i')], Action::Incidents, On::EXCHANGE, "open the incident of this call", Some("incident")),
    binding(&[Char('n')], Action::NextMatch, On::EXCHANGE, "next match", None),
    binding(&[Char('N')], Action::PreviousMatch, On::EXCHANGE, "previous match", None),
    binding(&[Char('s'), Char('>')], Action::SortNext, TABLES, "sort by the next column", Some("sort")),
    binding(&[Char('<')], Action::SortPrevious, TABLES, "sort by the previous column", None),
    binding(&[Char('S'), Char('r')], Action::SortReverse, TABLES, "reverse the order", None),
    binding(&[Char('u')], Action::Unfold, TABLES, "unfold or fold a row", Some("unfold")),
    binding(&[Char('y')], Action::CopyCurl, EXCHANGES, "copy as a curl command", Some("curl")),
    binding(&[Char('Y')], Action::CopyUrl, EXCHANGES, "copy the URL", None),
    binding(&[Char('d')], Action::Body, EXCHANGES, "show the body in a pager", Some("body")),
    binding(&[Char('D')], Action::BodyToFile, EXCHANGES, "write the body to a file", None),
    binding(&[Char(']'), Char('J')], Action::NextItem, On::EXCHANGE, "next exchange", None),
    binding(&[Char('['), Char('K')], Action::PreviousItem, On::EXCHANGE, "previous exchange", None),
    binding(&[Char(']'), Char('J')], Action::NextItem, On::INCIDENT, "next incident", Some("next")),
    binding(&[Char('['), Char('K')], Action::PreviousItem, On::INCIDENT, "previous incident", None),
    binding(&[Char('X')], Action::Secrets, On::ALL, "show or hide secrets", None),
    binding(&[Char('p'), Char(' ')], Action::Pause, On::ALL, "pause the view; nothing is lost", Some("pause")),
    binding(&[Char('s')], Action::Save, EXCHANGES.or(On::LOG), "save a recording of the trace so far", Some("save")),
    binding(&[Char('k'), Code(KeyCode::Up)], Action::Up, On::ALL, "up", None),
    binding(&[Char('j'), Code(KeyCode::Down)], Action::Down, On::ALL, "down", None),
    binding(&[Char('h'), Code(KeyCode::Left)], Action::Left, COLUMNS, "left", None),
    binding(&[Char('l'), Code(KeyCode::Right)], Action::Right, COLUMNS, "right", None),
    binding(&[Char('l'), Code(KeyCode::Right)], Action::Right, On::EXCHANGE, "select the next incident or call", None),
    binding(
        &[Char('h'), Code(KeyCode::Left)],
        Action::Left,
        On::EXCHANGE,
        "select the previous incident or call",
        None,
    ),
    binding(&[Code(KeyCode::PageUp), Ctrl('b'), Ctrl('u')], Action::PageUp, On::ALL, "page up", None),
    binding(&[Code(KeyCode::PageDown), Ctrl('f'), Ctrl('d')], Action::PageDown, On::ALL, "page down", None),
    binding(&[Char('g'), Code(KeyCode::Home)], Action::First, On::ALL, "to the start", None),
    binding(&[Char('G'), Code(KeyCode::End)], Action::Last, On::ALL, "to the end, and follow new entries", None),
    binding(&[Code(KeyCode::Tab)], Action::NextScreen, On::ALL, "next screen", None),
    binding(&[Code(KeyCode::BackTab)], Action::PreviousScreen, On::ALL, "previous screen", None),
    binding(&[Char('1')], Action::Screen(1), On::ALL, "overview", None),
    binding(&[Char('2')], Action::Screen(2), On::ALL, "endpoints", None),
    binding(&[Char('3')], Action::Screen(3), On::ALL, "connections", None),
    binding(&[Char('4')], Action::Screen(4), On::ALL, "log", None),
    binding(&[Char('?'), Code(KeyCode::F(1))], Action::Help, On::ALL, "this help", Some("help")),
    binding(&[Ctrl('l')], Action::Redraw, On::ALL, "redraw the screen", None),
    binding(&[Ctrl('z')], Action::Suspend, On::ALL, "suspend (resume with `fg`)", None),
    binding(&[Char('q'), Ctrl('c')], Action::Quit, On::ALL, "quit", Some("quit")),
];

/// Action of a key on a screen.
pub(super) fn action(event: &KeyEvent, on: On) -> Option<Action> {
    let found = TABLE.iter().find(|binding| binding.on.meets(on) && binding.keys.iter().any(|key| key.is(event)));
    found.map(|binding| binding.action)
}

/// The keys of a screen.
pub(super) fn of(on: On) -> impl Iterator<Item = &'static Binding> {
    TABLE.iter().filter(move |binding| binding.on.meets(on))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCREENS: [On; 6] = [On::OVERVIEW, On::EXCHANGE, On::INCIDENT, On::ENDPOINTS, On::CONNECTIONS, On::LOG];

    #[test]
    fn no_key_means_two_things_on_one_screen() {
        for screen in SCREENS {
            let mut seen: Vec<Key> = Vec::new();
            for binding in of(screen) {
                for key in binding.keys {
                    assert!(!seen.contains(key), "{} on {screen:?}", key.name());
                    seen.push(*key);
                }
            }
        }
    }

    #[test]
    fn keys_are_found_by_what_is_typed() {
        let typed = |code, modifiers| action(&KeyEvent::new(code, modifiers), On::OVERVIEW);
        assert_eq!(typed(KeyCode::Char('q'), KeyModifiers::NONE), Some(Action::Quit));
        assert_eq!(typed(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Action::Quit));
        assert_eq!(typed(KeyCode::Char('c'), KeyModifiers::NONE), None);
        assert_eq!(typed(KeyCode::Char('G'), KeyModifiers::SHIFT), Some(Action::Last));
        assert_eq!(typed(KeyCode::Char('q'), KeyModifiers::ALT), None);
    }
}
