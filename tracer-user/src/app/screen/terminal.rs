//! The terminal: taken, drawn on, lent to other programs, and restored in every case.

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

/// Bytes of the buffer: a frame of a large terminal is one write.
const BUFFER: usize = 256 * 1024;

/// pidtap has the terminal and must restore it.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// A thread panicked, and the terminal was restored: its message must stay visible.
static LOST: AtomicBool = AtomicBool::new(false);

/// True where the terminal was restored because of a panic.
pub(super) fn was_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// Restores the terminal, if pidtap has it.
pub(in crate::app) fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // An error cannot be handled.
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

/// Gives up a terminal that takes nothing more, as each write would block for ever. Only the input mode is restored.
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

/// The terminal while pidtap has it.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<File>>>,
}

impl Screen {
    pub(super) fn enter() -> io::Result<Self> {
        // Not `Stdout`, which writes at each line end.
        let output = own_copy(io::stdout())?;
        let backend = CrosstermBackend::new(BufWriter::with_capacity(BUFFER, output));
        restore_at_panic();
        take().inspect_err(|_| restore())?;
        let terminal = Terminal::new(backend).inspect_err(|_| restore())?;
        Ok(Self { terminal })
    }

    /// Draws a frame. A terminal with synchronized updates shows it at once, not line by line.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(draw)?;
        execute!(self.terminal.backend_mut(), EndSynchronizedUpdate)
    }

    /// Waits for a key or a change of size. crossterm alone would read for ever once the terminal is gone; that is an
    /// error here.
    pub(super) fn has_input(timeout: Duration) -> io::Result<bool> {
        let (input, output) = (io::stdin(), io::stdout());
        // The same source of keys as that of crossterm: with a recording on standard input, the terminal itself.
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

    /// Redraws everything. `clear` would query the position of the cursor, and fail without an answer.
    pub(super) fn redraw(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }

    /// Copies text to the clipboard of the terminal's user, also over SSH (OSC 52 of xterm's control sequences).
    pub(super) fn copy(&mut self, text: &str) -> io::Result<()> {
        let encoded = STANDARD.encode(text);
        let backend = self.terminal.backend_mut();
        write!(backend, "\x1b]52;c;{encoded}\x1b\\")?;
        io::Write::flush(backend)
    }

    /// Lends the terminal to another program while `work` runs.
    pub(super) fn lend<T>(&mut self, work: impl FnOnce() -> T) -> io::Result<T> {
        restore();
        let result = work();
        take()?;
        self.redraw()?;
        Ok(result)
    }

    /// Stops the whole program, as Ctrl-Z does others, until it is continued.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        // Not SIGTSTP, which pidtap handles. The signal goes to this thread, as another one could handle it while this
        // one takes the terminal again.
        self.lend(stop_all)
    }
}

#[cfg(test)]
mod tests;
