//! Messages of pidtap, and lines of the command that it runs: on standard error, or on the screens while there are any.

use std::{
    collections::VecDeque,
    io::{self, Write as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::stderr;
use crate::text::escape::Visible;

/// Lines that are kept to be printed after the screens, at most.
const LINES: usize = 2_000;
/// Bytes of these lines, at most.
const BYTES: usize = 4 << 20;

/// The screens that show messages instead of standard error.
static SCREENS: Mutex<Option<Arc<Messages>>> = Mutex::new(None);

/// Shows one line on the screens, or else on standard error. A reader that is gone is no reason to end. The line may quote a
/// name, a path or a recording: all of it is escaped once more, line ends too.
pub(super) fn say(text: &str) {
    let is_shown = match &*lock(&SCREENS) {
        Some(screens) => screens.push(Line::Said(text.to_owned())),
        None => false,
    };
    if !is_shown {
        stderr::write(&format!("pidtap: {}\n", Visible(text)));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A line that must not be written over the screens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A message of pidtap.
    Said(String),
    /// A line of the command that pidtap runs.
    Command(String),
}

impl Line {
    fn text(&self) -> &str {
        match self {
            Self::Said(text) | Self::Command(text) => text,
        }
    }
}

/// The lines of one run of the screens. Screens show them; they are printed once the screens end.
#[derive(Default)]
pub(super) struct Messages(Mutex<Lines>);

/// The latest lines, bounded in number and bytes.
#[derive(Default)]
struct Lines {
    latest: VecDeque<Line>,
    bytes: usize,
    /// Number of lines that were dropped from the front.
    dropped: usize,
    /// The lines were printed. No more are accepted.
    printed: bool,
}

impl Messages {
    /// From now on, [`say`] adds to these lines.
    pub(super) fn show(self: &Arc<Self>) {
        *lock(&SCREENS) = Some(Arc::clone(self));
    }

    /// Adds a line. False once the lines were printed.
    pub(super) fn push(&self, line: Line) -> bool {
        let mut lines = lock(&self.0);
        if lines.printed {
            return false;
        }
        lines.push(line);
        true
    }

    /// Passes each line after the first `seen` of all lines to `show`, as far as it is still kept. Gives the number of all lines.
    pub(super) fn since(&self, seen: usize, mut show: impl FnMut(&Line)) -> usize {
        let lines = lock(&self.0);
        lines.latest.iter().skip(seen.saturating_sub(lines.dropped)).for_each(&mut show);
        lines.dropped + lines.latest.len()
    }

    /// The screens no longer show messages: [`say`] writes to standard error again.
    pub(super) fn hide() {
        *lock(&SCREENS) = None;
    }

    /// Prints all lines to standard error. The screens must have ended.
    pub(super) fn print(&self) {
        let mut stderr = io::stderr().lock();
        let mut lines = lock(&self.0);
        lines.printed = true;
        if lines.dropped > 0 {
            let _ = writeln!(stderr, "pidtap: {} earlier lines were discarded", lines.dropped);
        }
        for line in lines.latest.drain(..) {
            // The reader may be gone.
            let _ = match line {
                Line::Said(text) => writeln!(stderr, "pidtap: {}", Visible(&text)),
                Line::Command(text) => writeln!(stderr, "{text}"),
            };
        }
    }
}

impl Lines {
    fn push(&mut self, line: Line) {
        self.bytes += line.text().len();
        self.latest.push_back(line);
        while self.latest.len() > LINES || self.bytes > BYTES {
            let Some(old) = self.latest.pop_front() else { break };
            self.bytes -= old.text().len();
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_lines_are_bounded_and_dropped_ones_are_counted() {
        let mut lines = Lines::default();
        for _ in 0..LINES + 5 {
            lines.push(Line::Command("short".to_owned()));
        }
        assert_eq!((lines.latest.len(), lines.dropped), (LINES, 5));
        for _ in 0..1_000 {
            lines.push(Line::Command("x".repeat(64 * 1024)));
        }
        assert!(lines.bytes <= BYTES && lines.latest.len() == BYTES / (64 * 1024), "{}", lines.bytes);
        assert_eq!(lines.latest.len() + lines.dropped, LINES + 5 + 1_000);
    }

    #[test]
    fn each_line_is_passed_on_once_and_none_after_printing() {
        let messages = Messages::default();
        assert!(messages.push(Line::Said("a".to_owned())));
        let mut shown = Vec::new();
        let seen = messages.since(0, |line| shown.push(line.clone()));
        assert!(messages.push(Line::Command("b".to_owned())));
        assert_eq!(messages.since(seen, |line| shown.push(line.clone())), 2);
        assert_eq!(shown, [Line::Said("a".to_owned()), Line::Command("b".to_owned())]);
        lock(&messages.0).printed = true;
        assert!(!messages.push(Line::Said("c".to_owned())));
    }
}
