//! A line that the user types: a filter, or a text to search for.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tui_input::{Input, InputRequest};

/// Lines of a history, at most.
const HISTORY: usize = 100;
/// Characters of a line, at most.
const LIMIT: usize = 1_000;

/// The typed line.
pub(super) struct Prompt {
    input: Input,
    filter: bool,
    before: String,
    history: Vec<String>,
    /// Index of the line of the history that is shown; the length of the history where none is.
    place: usize,
}

/// Result of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompted {
    /// The prompt does not use the key.
    Ignored,
    /// The text may have changed.
    Changed,
    /// The text is accepted.
    Done,
    /// The text is discarded.
    Cancelled,
}

/// Adds a line to a history.
pub(super) fn remember(history: &mut Vec<String>, line: &str) {
    if line.is_empty() {
        return;
    }
    history.retain(|old| old != line);
    if history.len() >= HISTORY {
        history.remove(0);
    }
    history.push(line.to_owned());
}

impl Prompt {
    /// A prompt for a filter, with the current one to be changed.
    pub(super) fn filter(text: &str, history: &[String]) -> Self {
        Self {
            input: Input::new(text.to_owned()),
            filter: true,
            before: text.to_owned(),
            history: history.to_vec(),
            place: history.len(),
        }
    }

    /// A prompt for a search.
    pub(super) fn search(history: &[String]) -> Self {
        let (input, before) = (Input::default(), String::new());
        Self { input, filter: false, before, history: history.to_vec(), place: history.len() }
    }

    pub(super) fn is_filter(&self) -> bool {
        self.filter
    }

    pub(super) fn text(&self) -> &str {
        self.input.value()
    }

    pub(super) fn before(&self) -> &str {
        &self.before
    }

    /// Columns before the cursor.
    pub(super) fn cursor(&self) -> usize {
        self.input.visual_cursor()
    }

    pub(super) fn paste(&mut self, text: &str) {
        for character in text.chars().filter(|character| !character.is_control()) {
            self.insert(character);
        }
    }

    fn insert(&mut self, character: char) {
        if self.input.value().chars().count() < LIMIT {
            self.input.handle(InputRequest::InsertChar(character));
        }
    }

    pub(super) fn key(&mut self, key: &KeyEvent) -> Prompted {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let word = control || key.modifiers.contains(KeyModifiers::ALT);
        let request = match key.code {
            KeyCode::Enter => return Prompted::Done,
            KeyCode::Esc => return Prompted::Cancelled,
            KeyCode::Up => return self.recall(self.place.checked_sub(1)),
            KeyCode::Down => return self.recall(Some(self.place + 1)),
            KeyCode::Backspace if self.input.value().is_empty() => return Prompted::Cancelled,
            KeyCode::Backspace if word => InputRequest::DeletePrevWord,
            KeyCode::Backspace => InputRequest::DeletePrevChar,
            KeyCode::Delete => InputRequest::DeleteNextChar,
            KeyCode::Left if word => InputRequest::GoToPrevWord,
            KeyCode::Right if word => InputRequest::GoToNextWord,
            KeyCode::Left => InputRequest::GoToPrevChar,
            KeyCode::Right => InputRequest::GoToNextChar,
            KeyCode::Home => InputRequest::GoToStart,
            KeyCode::End => InputRequest::GoToEnd,
            KeyCode::Char(letter) if control => match letter {
                // Some terminals send this for Backspace.
                'h' if self.input.value().is_empty() => return Prompted::Cancelled,
                'h' => InputRequest::DeletePrevChar,
                'a' => InputRequest::GoToStart,
                'e' => InputRequest::GoToEnd,
                'w' => InputRequest::DeletePrevWord,
                'u' => InputRequest::DeleteLine,
                'k' => InputRequest::DeleteTillEnd,
                _ => return Prompted::Ignored,
            },
            // Escape and a letter in quick succession arrive as Alt and the letter, which is no text.
            KeyCode::Char(_) if word => return Prompted::Changed,
            KeyCode::Char(character) if !character.is_control() => {
                self.insert(character);
                return Prompted::Changed;
            }
            _ => return Prompted::Ignored,
        };
        self.input.handle(request);
        Prompted::Changed
    }

    fn recall(&mut self, place: Option<usize>) -> Prompted {
        if let Some(place) = place.filter(|place| *place <= self.history.len()) {
            self.place = place;
            let line = self.history.get(place).unwrap_or(&self.before).clone();
            self.input = Input::new(line);
        }
        Prompted::Changed
    }
}
