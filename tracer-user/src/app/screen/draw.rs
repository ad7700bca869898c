//! The thread that draws and takes keys.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use ratatui::crossterm::event::{self, Event, MouseEventKind};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    recorded::Recorded,
    shared::{Shared, lock},
    terminal::{self, Screen},
};
use crate::{
    app::{message::Line, user::UserThread},
    tui::{Effect, Source, Ui},
};

/// Time between frames without a key press: the screens promise ten frames a second, and this leaves a margin.
const FRAME: Duration = Duration::from_millis(66);
/// Keys that are handled before a frame is drawn, at most.
const EVENTS_AT_ONCE: usize = 64;

/// State of the thread that draws.
pub(super) struct Drawing {
    pub(super) ui: Ui,
    pub(super) shared: Arc<Shared>,
    pub(super) screen: Screen,
    /// Name of the recording that is replayed.
    pub(super) recording: Option<String>,
    pub(super) recorded: Recorded,
    /// Starts the pager.
    pub(super) user: UserThread,
    /// Number of messages and lines of the command that the log has. They are printed once more in the end.
    pub(super) shown_lines: usize,
    /// Reports the end of the thread.
    pub(super) over: UnboundedSender<()>,
}

impl Drawing {
    /// Draws and handles keys until the user leaves or the screens must end.
    ///
    /// # Errors
    ///
    /// Those of the terminal.
    pub(super) fn run(mut self) -> io::Result<()> {
        let result = self.work();
        terminal::restore();
        self.shared.gone.store(true, Ordering::Relaxed);
        let _ = self.over.send(());
        result
    }

    fn work(&mut self) -> io::Result<()> {
        let mut next_frame = Instant::now();
        while !self.shared.end.load(Ordering::Relaxed) && !terminal::was_lost() {
            if self.shared.suspend.swap(false, Ordering::Relaxed) {
                self.screen.suspend()?;
                next_frame = Instant::now();
            }
            let mut pressed = false;
            if Screen::has_input(next_frame.saturating_duration_since(Instant::now()))? {
                let begin = Instant::now();
                for _ in 0..EVENTS_AT_ONCE {
                    let event = event::read()?;
                    // Nothing on the screens follows the mouse, so a movement needs no frame.
                    pressed |= !matches!(event, Event::Mouse(mouse) if mouse.kind == MouseEventKind::Moved);
                    if let Event::Resize(..) = event {
                        // Also where the size is the one of the last frame: the terminal may have cut off lines meanwhile.
                        self.screen.redraw()?;
                    }
                    let effects = self.ui.handle(&event, &self.shared.store());
                    for effect in effects {
                        if effect == Effect::Quit {
                            return Ok(());
                        }
                        self.effect(effect)?;
                    }
                    if begin.elapsed() > FRAME || !Screen::has_input(Duration::ZERO)? {
                        break;
                    }
                }
            }
            if pressed || Instant::now() >= next_frame {
                self.take_messages();
                self.draw()?;
                next_frame = Instant::now() + FRAME;
            }
        }
        Ok(())
    }

    /// Adds new messages and lines of the command to the log.
    fn take_messages(&mut self) {
        let shared = Arc::clone(&self.shared);
        // While a recording is read, a message comes after all events that were read, of which no frame may have been drawn.
        self.ui.pass(shared.store().now());
        self.shown_lines = shared.messages.since(self.shown_lines, |line| match line {
            Line::Said(text) => self.ui.say(text),
            Line::Command(text) => self.ui.said_by_command(text),
        });
    }

    fn draw(&mut self) -> io::Result<()> {
        let (read, size) = (self.shared.read.load(Ordering::Relaxed), self.shared.size.load(Ordering::Relaxed));
        let percent = (size > 0 && read < size).then(|| (read * 100 / size) as u8);
        self.ui.set_source(Source { recording: self.recording.clone(), read_percent: percent });
        let Self { ui, screen, shared, .. } = self;
        screen.draw(|frame| ui.draw(frame, &shared.store()))?;
        ui.watched().clone_into(&mut lock(&shared.watched));
        shared.frames.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
