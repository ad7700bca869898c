//! The terminal: taken, drawn on, lent to other programs, and given back whatever happens.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal as _, Write as _},
    os::fd::AsFd as _,
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        event::{self, DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture},
        execute, queue,
        terminal::{
            BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
            disable_raw_mode, enable_raw_mode,
        },
    },
};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
};

use super::shared::stop_all;
use crate::app::tty::own_copy;

/// A frame of a large terminal, in one write.
const BUFFER: usize = 256 * 1024;

/// The terminal is ours: it must be given back.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Something panicked, and the terminal was given back for it: what it said must stay.
static LOST: AtomicBool = AtomicBool::new(false);

/// Whether the terminal was given back because of a panic.
pub(super) fn was_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// Gives the terminal back as it was, if it is ours.
pub(in crate::app) fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // Whether it can be told or not, nothing else can be done.
        let _ = execute!(
            io::stdout(),
            EndSynchronizedUpdate,
            DisableMouseCapture,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            Show
        );
        let _ = disable_raw_mode();
    }
}

/// Gives up on a terminal that takes nothing more: whatever is written to it would wait for ever. How it treats what is typed
/// is put back all the same.
pub(super) fn abandon() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
    }
}

fn restore_at_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |information| {
            if TAKEN.load(Ordering::SeqCst) {
                LOST.store(true, Ordering::SeqCst);
                restore();
            }
            before(information);
        }));
    });
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    execute!(io::stdout(), EnterAlternateScreen, EnableMouseCapture, EnableBracketedPaste)
}

/// The terminal while it is ours.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<File>>>,
}

impl Screen {
    pub(super) fn enter() -> io::Result<Self> {
        // Not `Stdout`, which writes at each end of a line.
        let output = own_copy(io::stdout())?;
        let backend = CrosstermBackend::new(BufWriter::with_capacity(BUFFER, output));
        restore_at_panic();
        take().inspect_err(|_| restore())?;
        let terminal = Terminal::new(backend).inspect_err(|_| restore())?;
        Ok(Self { terminal })
    }

    /// Draws a frame; a terminal that understands it shows it at once, not line by line.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(draw)?;
        execute!(self.terminal.backend_mut(), EndSynchronizedUpdate)
    }

    /// Waits until a key was pressed or the size has changed. Not by crossterm alone, which reads for ever once the terminal
    /// is gone; that is an error here.
    pub(super) fn has_input(timeout: Duration) -> io::Result<bool> {
        let (input, output) = (io::stdin(), io::stdout());
        // Where keys come from, as crossterm has it: with a recording on standard input, from the terminal itself.
        let terminal = if input.is_terminal() { input.as_fd() } else { output.as_fd() };
        let mut wanted = [PollFd::from_borrowed_fd(terminal, PollFlags::IN)];
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        match rustix::event::poll(&mut wanted, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if wanted[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "it was closed"));
        }
        event::poll(Duration::ZERO)
    }

    /// Everything is drawn anew. Not by `clear`, which asks the terminal where the cursor is, and fails where none answers.
    pub(super) fn redraw(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }

    /// Puts text into the clipboard of whoever looks at the terminal, however far away (OSC 52 of xterm's control
    /// sequences).
    pub(super) fn copy(&mut self, text: &str) -> io::Result<()> {
        let encoded = STANDARD.encode(text);
        let backend = self.terminal.backend_mut();
        write!(backend, "\x1b]52;c;{encoded}\x1b\\")?;
        io::Write::flush(backend)
    }

    /// Gives the terminal to another program for as long as `work` takes.
    pub(super) fn lend<T>(&mut self, work: impl FnOnce() -> T) -> io::Result<T> {
        restore();
        let result = work();
        take()?;
        self.redraw()?;
        Ok(result)
    }

    /// Stops the whole program, as Ctrl-Z does others, until it is continued.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        // Not SIGTSTP: that is what we may have been sent, and have caught. To this thread, not to the process: another
        // thread could take it, while this one goes on to take the terminal back.
        self.lend(stop_all)
    }
}

#[cfg(test)]
mod tests;
