//! The terminal of the screens: who has it, who draws on it, and how it is given back.
//!
//! ```text
//! engine thread --updates--> ScreenOutput --(mutex)--> Store <--(mutex, while a frame is made)-- pidtap-screen --> terminal
//! ```
//!
//! The thread that draws holds the store only while it puts cells into a buffer, never while it writes to the terminal: a
//! terminal that takes its time holds up nobody but itself.

mod effect;
mod output;
mod spool;
mod terminal;

use std::{
    collections::VecDeque,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
pub(super) use output::ScreenOutput;
use ratatui::crossterm::event::{self, Event, MouseEventKind};
use rustix::process::Signal;
pub(super) use spool::Spool;
use terminal::Screen;
pub(super) use terminal::restore as give_back;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{live::header, marking::Marking, sink::no_colour, user::UserThread};
use crate::{
    cli::{OutputArgs, ThemeChoice},
    host::confine::{self, Duty},
    store::{Store, StoreOptions},
    text::{
        escape::{Foreign, Visible},
        redact::MarkKey,
    },
    tui::{Effect, Palette, Source, Ui, UiOptions},
};

/// From frame to frame while nobody presses a key: more than ten a second, with some to spare.
const FRAME: Duration = Duration::from_millis(66);
/// Keys that are taken before something is drawn.
const EVENTS_AT_ONCE: usize = 64;
/// Messages, and lines of a command, that wait to be shown, or to be printed in the end.
const LINES: usize = 2_000;
/// Bytes of them.
const LINES_BYTES: usize = 4 << 20;
/// How long a terminal that takes nothing may keep the program from ending.
const GIVE_UP: Duration = Duration::from_secs(2);

/// Something that was said, which must not be written over the screens.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    /// By pidtap.
    Said(String),
    /// By the command that it started.
    Command(String),
}

/// Lines, those that came first forgotten first.
#[derive(Default)]
struct Lines {
    latest: VecDeque<Line>,
    bytes: usize,
    forgotten: usize,
    /// They were printed, and are not taken any more.
    printed: bool,
}

impl Line {
    fn text(&self) -> &str {
        match self {
            Self::Said(text) | Self::Command(text) => text,
        }
    }
}

impl Lines {
    fn push(&mut self, line: Line) {
        self.bytes += line.text().len();
        self.latest.push_back(line);
        while self.latest.len() > LINES || self.bytes > LINES_BYTES {
            let Some(old) = self.latest.pop_front() else { break };
            self.bytes -= old.text().len();
            self.forgotten += 1;
        }
    }
}

/// What the threads share.
#[derive(Default)]
pub(super) struct Shared {
    store: Mutex<Store>,
    /// Frames that were drawn.
    frames: AtomicU64,
    lines: Mutex<Lines>,
    /// The screens are to end.
    end: AtomicBool,
    /// The screens are to stop until continued.
    suspend: AtomicBool,
    /// Another program has the terminal.
    paging: AtomicBool,
    /// There is no terminal any more.
    gone: AtomicBool,
    /// Connections whose queues are looked at.
    watched: Mutex<Vec<u64>>,
    /// Bytes of the recording: read, and in all (0 where that is not known).
    read: AtomicU64,
    size: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// The store, for a moment.
    fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// False where it is too late.
    fn push(&self, line: Line) -> bool {
        let mut lines = lock(&self.lines);
        if lines.printed {
            return false;
        }
        lines.push(line);
        true
    }

    /// The command that was started wrote a line. False once nobody shows it any more, and what came before is printed.
    pub(super) fn command_line(&self, line: String) -> bool {
        self.push(Line::Command(line))
    }

    /// So many bytes of the recording were read.
    pub(super) fn set_read(&self, bytes: u64) {
        self.read.store(bytes, Ordering::Relaxed);
    }

    /// The user has left the screens.
    pub(super) fn is_left(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// So large is the recording.
    pub(super) fn set_size(&self, bytes: u64) {
        self.size.store(bytes, Ordering::Relaxed);
    }

    /// Ends the screens.
    pub(super) fn end(&self) {
        self.end.store(true, Ordering::Relaxed);
    }

    /// Whether a signal is the business of the screens, not of the trace.
    pub(super) fn take_signal(&self, signal: Signal) -> bool {
        match signal {
            // While a pager has the terminal, it stops by itself; without us, no shell would take the terminal back.
            Signal::TSTP if self.paging.load(Ordering::Relaxed) => {
                stop_all();
                true
            }
            Signal::TSTP => {
                self.suspend.store(true, Ordering::Relaxed);
                true
            }
            // Ctrl-C while a pager has the terminal is for the pager.
            Signal::INT => self.paging.load(Ordering::Relaxed),
            _ => false,
        }
    }
}

/// Stops this program, as Ctrl-Z does others, until it is continued. The terminal must be as others expect it.
pub(super) fn stop_all() {
    // It can always be sent to oneself.
    let _ = signal_hook::low_level::raise(Signal::STOP.as_raw());
}

/// Waits until the user has left the screens; without screens, for good.
pub(super) async fn left(screens: Option<&mut Running>) {
    match screens {
        Some(screens) => screens.left().await,
        None => std::future::pending().await,
    }
}

/// Where messages go while there are screens.
static SCREENS: Mutex<Option<Arc<Shared>>> = Mutex::new(None);

/// Shows a message on the screens; false where there are none.
pub(super) fn say(text: &str) -> bool {
    match &*lock(&SCREENS) {
        Some(shared) => shared.push(Line::Said(text.to_owned())),
        None => false,
    }
}

/// Screens that were asked for, and are not there yet.
pub(super) struct Planned {
    pub(super) shared: Arc<Shared>,
    options: UiOptions,
}

/// Whether screens are possible: somebody sees them, and somebody has keys.
pub(super) fn is_possible() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// Prepares screens.
///
/// # Errors
///
/// Where there is no terminal that can show them.
pub(super) fn plan(args: &OutputArgs, utc_offset_s: i32, mark_key: MarkKey) -> anyhow::Result<Planned> {
    if args.output_file.is_some() {
        bail!("screens cannot be written to a file; use `-o line` or `-o json` with --output-file");
    }
    if !is_possible() {
        bail!("cannot show screens: standard output is no terminal that has any; use `-o line` or `-o json`");
    }
    let options = UiOptions {
        palette: palette(args.theme),
        utc_offset_s,
        show_secrets: args.show_secrets,
        mark_key: Some(mark_key),
        filter: args.filter.as_ref().map_or_else(String::new, |filter| filter.text().to_owned()),
    };
    let shared = Shared { store: Mutex::new(Store::new(StoreOptions::default())), ..Shared::default() };
    Ok(Planned { shared: Arc::new(shared), options })
}

fn palette(choice: ThemeChoice) -> Palette {
    if no_colour() {
        return Palette::None;
    }
    match choice {
        ThemeChoice::Dark => Palette::Dark,
        ThemeChoice::Light => Palette::Light,
        ThemeChoice::None => Palette::None,
        ThemeChoice::Auto => {
            // `foreground;background`, as rxvt, Konsole and others say it; 7 and 15 are the white ones.
            let colours = std::env::var("COLORFGBG").unwrap_or_default();
            match colours.rsplit(';').next() {
                Some("7" | "15") => Palette::Light,
                _ => Palette::Dark,
            }
        }
    }
}

/// What `s` writes.
pub(super) enum Recorded {
    /// What is held in memory of a live trace.
    Spool(Arc<Mutex<Spool>>),
    /// It is being recorded already, or is a recording: that is said.
    Already(String),
}

impl Recorded {
    /// For a live trace; the spool is to be filled by it.
    pub(super) fn of_trace(record: Option<&Path>, marking: Marking) -> (Self, Option<Arc<Mutex<Spool>>>) {
        if let Some(path) = record {
            let words = format!("all is being recorded to {} anyway (--record)", Foreign::from(path));
            return (Self::Already(words), None);
        }
        let spool = Arc::new(Mutex::new(Spool::new(header(marking))));
        (Self::Spool(Arc::clone(&spool)), Some(spool))
    }
}

/// Screens that are there. Dropped, they end as well: no error on the way may leave a terminal that shows nothing.
pub(super) struct Running {
    pub(super) shared: Arc<Shared>,
    over: UnboundedReceiver<()>,
    thread: Option<JoinHandle<io::Result<()>>>,
    ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            // What led here is said by whoever dropped it.
            let _ = self.finish();
        }
    }
}

impl Planned {
    /// Takes the terminal, and begins to draw. `recording` is the name of what is opened.
    ///
    /// # Errors
    ///
    /// Those of the terminal.
    pub(super) fn start(self, recording: Option<String>, recorded: Recorded) -> anyhow::Result<Running> {
        let user = UserThread::start()
            .context("cannot start the thread that starts a pager; check the limit of processes (`ulimit -u`)")?;
        let screen = Screen::enter().context("cannot show screens on this terminal; use `-o line`")?;
        *lock(&SCREENS) = Some(Arc::clone(&self.shared));
        let (sender, over) = unbounded_channel();
        // From here on, whatever fails gives the terminal back.
        let mut running = Running { shared: Arc::clone(&self.shared), over, thread: None, ended: false };
        let loop_ = Loop {
            ui: Ui::new(&self.options),
            shared: self.shared,
            screen,
            recording,
            recorded,
            user,
            heard: 0,
            over: sender,
        };
        let thread = thread::Builder::new()
            .name("pidtap-screen".to_owned())
            .spawn(move || {
                confine::enter(Duty::Screens)?;
                loop_.run()
            })
            .context("cannot start the thread that draws; check the limit of processes (`ulimit -u`)")?;
        running.thread = Some(thread);
        Ok(running)
    }
}

impl Running {
    /// Waits until the user has left.
    pub(super) async fn left(&mut self) {
        // Without a sender the thread has ended.
        let _ = self.over.recv().await;
    }

    /// Whether a signal is the business of the screens, not of the trace.
    pub(super) fn take_signal(&self, signal: Signal) -> bool {
        self.shared.take_signal(signal)
    }

    /// Waits until the user has left.
    pub(super) fn wait(&mut self) {
        let _ = self.over.blocking_recv();
    }

    /// Ends the screens, gives the terminal back, and prints what was said meanwhile.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        self.finish().context("the terminal failed")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.ended = true;
        self.shared.end();
        let result = self.join();
        *lock(&SCREENS) = None;
        terminal::restore();
        let mut stderr = io::stderr().lock();
        let mut lines = lock(&self.shared.lines);
        lines.printed = true;
        if lines.forgotten > 0 {
            let _ = writeln!(stderr, "pidtap: {} lines that came before these were not kept", lines.forgotten);
        }
        for line in lines.latest.drain(..) {
            // Nobody may be there to read it.
            let _ = match line {
                Line::Said(text) => writeln!(stderr, "pidtap: {}", Visible(&text)),
                Line::Command(text) => writeln!(stderr, "{text}"),
            };
        }
        result
    }

    fn join(&mut self) -> io::Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let begin = Instant::now();
        while !thread.is_finished() {
            if begin.elapsed() > GIVE_UP {
                // It waits for a terminal that takes nothing. The process ends all the same.
                terminal::abandon();
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that draws ended early; please report it")))
    }
}

/// The thread that draws.
struct Loop {
    ui: Ui,
    shared: Arc<Shared>,
    screen: Screen,
    recording: Option<String>,
    recorded: Recorded,
    /// Starts the pager.
    user: UserThread,
    /// Lines that the screens have taken over already, of all that there were; they stay to be printed in the end.
    heard: usize,
    over: UnboundedSender<()>,
}

impl Loop {
    fn run(mut self) -> io::Result<()> {
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
                    // Nothing follows the mouse: a frame for each place it passes would only be work.
                    pressed |= !matches!(event, Event::Mouse(mouse) if mouse.kind == MouseEventKind::Moved);
                    if let Event::Resize(..) = event {
                        // Also where it has the size again that it had before: what was shown may be cut off.
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
                self.hear();
                self.draw()?;
                next_frame = Instant::now() + FRAME;
            }
        }
        Ok(())
    }

    /// Takes over what was said.
    fn hear(&mut self) {
        let shared = Arc::clone(&self.shared);
        // What is said while a recording is opened comes after all that was read, of which no frame may have been drawn.
        self.ui.pass(shared.store().now());
        let lines = lock(&shared.lines);
        for line in lines.latest.iter().skip(self.heard.saturating_sub(lines.forgotten)) {
            match line {
                Line::Said(text) => self.ui.say(text),
                Line::Command(text) => self.ui.said_by_command(text),
            }
        }
        self.heard = lines.forgotten + lines.latest.len();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_to_be_printed_is_bounded_and_what_is_left_out_is_counted() {
        let mut lines = Lines::default();
        for _ in 0..LINES + 5 {
            lines.push(Line::Command("short".to_owned()));
        }
        assert_eq!((lines.latest.len(), lines.forgotten), (LINES, 5));
        for _ in 0..1_000 {
            lines.push(Line::Command("x".repeat(64 * 1024)));
        }
        assert!(lines.bytes <= LINES_BYTES && lines.latest.len() == LINES_BYTES / (64 * 1024), "{}", lines.bytes);
        assert_eq!(lines.latest.len() + lines.forgotten, LINES + 5 + 1_000);
    }
}
