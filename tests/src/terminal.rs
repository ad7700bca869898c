//! An emulated terminal: a program runs in a pseudo terminal, and an emulator keeps its screen.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
    io::Errno,
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};
use vt100::{Callbacks, Parser, Screen};

use crate::child::{PATIENCE, wait_for};

/// The sequence that ends a synchronised frame.
const FRAME_END: &[u8] = b"\x1b[?2026l";

/// The program's requests to the terminal besides text.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Titles, of windows and icons.
    pub titles: Vec<Vec<u8>>,
    /// Texts for the clipboard, in base64.
    pub copied: Vec<Vec<u8>>,
    /// The program queried the clipboard.
    pub pasted: usize,
    /// Bells.
    pub bells: usize,
    /// Sequences that the emulator does not know.
    pub unknown: BTreeSet<String>,
}

impl Callbacks for Asked {
    fn audible_bell(&mut self, _: &mut Screen) {
        self.bells += 1;
    }

    fn visual_bell(&mut self, _: &mut Screen) {
        self.bells += 1;
    }

    fn set_window_icon_name(&mut self, _: &mut Screen, name: &[u8]) {
        self.titles.push(name.to_vec());
    }

    fn set_window_title(&mut self, _: &mut Screen, title: &[u8]) {
        self.titles.push(title.to_vec());
    }

    fn copy_to_clipboard(&mut self, _: &mut Screen, _: &[u8], data: &[u8]) {
        self.copied.push(data.to_vec());
    }

    fn paste_from_clipboard(&mut self, _: &mut Screen, _: &[u8]) {
        self.pasted += 1;
    }

    fn unhandled_char(&mut self, _: &mut Screen, character: char) {
        self.unknown.insert(format!("character {character:?}"));
    }

    fn unhandled_control(&mut self, _: &mut Screen, byte: u8) {
        self.unknown.insert(format!("control {byte:#04x}"));
    }

    fn unhandled_escape(&mut self, _: &mut Screen, one: Option<u8>, two: Option<u8>, byte: u8) {
        self.unknown.insert(format!("escape {one:?} {two:?} {:?}", char::from(byte)));
    }

    fn unhandled_csi(&mut self, _: &mut Screen, one: Option<u8>, two: Option<u8>, numbers: &[&[u16]], last: char) {
        let lead: String = one.into_iter().chain(two).map(char::from).collect();
        let numbers: Vec<String> = numbers.iter().flat_map(|list| list.iter()).map(u16::to_string).collect();
        self.unknown.insert(format!("CSI {lead}{}{last}", numbers.join(";")));
    }

    fn unhandled_osc(&mut self, _: &mut Screen, parts: &[&[u8]]) {
        self.unknown.insert(format!("OSC {}", String::from_utf8_lossy(&parts.concat())));
    }
}

struct State {
    parser: Parser<Asked>,
    /// Every byte of the program.
    raw: Vec<u8>,
    /// The time at which each frame ended.
    frames: Vec<Instant>,
    closed: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    fn take(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let searched = state.raw.len().saturating_sub(FRAME_END.len() - 1);
        state.raw.extend_from_slice(bytes);
        let ends = state.raw[searched..].windows(FRAME_END.len()).filter(|bytes| *bytes == FRAME_END).count();
        state.frames.extend(std::iter::repeat_n(Instant::now(), ends));
        state.parser.process(bytes);
        self.changed.notify_all();
    }
}

/// A terminal with a program in it. The program is killed when this value is dropped.
pub struct Terminal {
    master: OwnedFd,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
    hung: Arc<AtomicBool>,
    held: Arc<AtomicBool>,
    child: Child,
    before: Termios,
}

impl Terminal {
    /// Starts a program in a terminal of this size, in a session of its own, which the terminal controls.
    ///
    /// # Errors
    ///
    /// There is no pseudo terminal, or the program cannot be started.
    pub fn start((columns, rows): (u16, u16), command: &Command) -> anyhow::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .context("cannot make a pseudo terminal")?;
        grantpt(&master)?;
        unlockpt(&master)?;
        tcsetwinsize(&master, winsize(columns, rows))?;
        let before = tcgetattr(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let open = || rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
        // The session and the controlling terminal need a call between fork and exec, which setsid of util-linux makes.
        let mut setsid = Command::new("setsid");
        setsid.arg("--ctty").arg(command.get_program()).args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            setsid.current_dir(folder);
        }
        for name in ["NO_COLOR", "COLORFGBG", "COLORTERM", "TMUX"] {
            setsid.env_remove(name);
        }
        setsid.env("TERM", "xterm-256color").env("TZ", "UTC");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => setsid.env(name, value),
                None => setsid.env_remove(name),
            };
        }
        setsid.stdin(Stdio::from(open()?)).stdout(Stdio::from(open()?)).stderr(Stdio::from(open()?));
        let child = setsid.spawn().with_context(|| format!("cannot start {command:?} by way of setsid"))?;
        drop(setsid);
        let parser = Parser::new_with_callbacks(size(rows), size(columns), 0, Asked::default());
        let state = Mutex::new(State { parser, raw: Vec::new(), frames: Vec::new(), closed: false });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let hung = Arc::new(AtomicBool::new(false));
        let held = Arc::new(AtomicBool::new(false));
        let (side, to) = (fs::File::from(master.try_clone()?), Arc::clone(&shared));
        let (end, stop) = (Arc::clone(&hung), Arc::clone(&held));
        let reader = thread::spawn(move || read(side, &to, &end, &stop));
        Ok(Self { master, shared, reader: Some(reader), hung, held, child, before })
    }

    /// The process id of the program.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends the bytes of pressed keys.
    ///
    /// # Errors
    ///
    /// The program no longer reads.
    pub fn press(&self, keys: &str) -> anyhow::Result<()> {
        fs::File::from(self.master.try_clone()?).write_all(keys.as_bytes()).context("cannot press a key")
    }

    /// The screen as text.
    pub fn text(&self) -> String {
        self.look(Screen::contents)
    }

    /// Passes the current screen to a function.
    pub fn look<T>(&self, look: impl FnOnce(&Screen) -> T) -> T {
        self.shared.read(|state| look(state.parser.screen()))
    }

    /// The requests so far.
    pub fn asked(&self) -> Asked {
        self.shared.read(|state| state.parser.callbacks().clone())
    }

    /// Every byte so far.
    pub fn raw(&self) -> Vec<u8> {
        self.shared.read(|state| state.raw.clone())
    }

    /// The time at which each frame ended.
    pub fn frames(&self) -> Vec<Instant> {
        self.shared.read(|state| state.frames.clone())
    }

    /// Waits until the screen fulfils a condition. Returns the time that it took.
    ///
    /// # Errors
    ///
    /// The screen does not within the usual patience, or the program ends. The error has the screen.
    pub fn wait(&self, what: &str, condition: impl Fn(&Screen) -> bool) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        let mut state = self.shared.lock();
        loop {
            if condition(state.parser.screen()) {
                return Ok(begin.elapsed());
            }
            let left = PATIENCE.saturating_sub(begin.elapsed());
            if left.is_zero() || state.closed {
                let why = if state.closed { "the program ended" } else { "time is up" };
                bail!("{what}: {why}; the screen:\n{}", state.parser.screen().contents());
            }
            let (next, _) = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            state = next;
        }
    }

    /// Waits until the screen has this text.
    ///
    /// # Errors
    ///
    /// As [`Self::wait`].
    pub fn wait_for(&self, text: &str) -> anyhow::Result<Duration> {
        self.wait(&format!("{text:?} on the screen"), |screen| screen.contents().contains(text))
    }

    /// Presses keys, and waits until the screen has this text.
    ///
    /// # Errors
    ///
    /// As [`Self::wait`].
    pub fn press_for(&self, keys: &str, text: &str) -> anyhow::Result<Duration> {
        self.press(keys)?;
        self.wait_for(text)
    }

    /// Changes the size of the terminal, and sends SIGWINCH to the program.
    ///
    /// # Errors
    ///
    /// The pseudo terminal fails.
    pub fn resize(&self, columns: u16, rows: u16) -> anyhow::Result<()> {
        self.shared.lock().parser.set_size(size(rows), size(columns));
        Ok(tcsetwinsize(&self.master, winsize(columns, rows))?)
    }

    /// Stops reading the program's output, as after Ctrl-S or on a stalled line, or resumes.
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// Closes the terminal like the window of an emulator. Returns the exit status of the program.
    ///
    /// # Errors
    ///
    /// The program does not end.
    pub fn hang_up(&mut self) -> anyhow::Result<ExitStatus> {
        self.hung.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        // This is the last descriptor of this side.
        self.master = fs::File::open("/dev/null")?.into();
        wait_for("the end of the program", PATIENCE, || self.child.try_wait().ok().flatten())
    }

    /// Sends a signal to the program.
    ///
    /// # Errors
    ///
    /// There is no such process.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits for the end of the program.
    ///
    /// # Errors
    ///
    /// The program does not end. The error has the screen.
    pub fn end(&mut self) -> anyhow::Result<ExitStatus> {
        let Self { child, shared, .. } = self;
        let status = wait_for("the end of the program", PATIENCE, || child.try_wait().ok().flatten());
        let status = status.with_context(|| shared.read(|state| state.parser.screen().contents()))?;
        // The last output.
        wait_for("the end of the terminal", PATIENCE, || shared.read(|state| state.closed).then_some(()))?;
        Ok(status)
    }

    /// The settings of the terminal, and those before the program.
    ///
    /// # Errors
    ///
    /// The pseudo terminal fails.
    pub fn settings(&self) -> anyhow::Result<(Termios, Termios)> {
        Ok((tcgetattr(&self.master)?, self.before.clone()))
    }

    /// Private modes that were set and not reset.
    pub fn modes(&self) -> BTreeSet<String> {
        let raw = self.raw();
        let mut modes = BTreeSet::new();
        for part in raw.split(|byte| *byte == 0x1b).filter_map(|part| part.strip_prefix(b"[?")) {
            let Some(end) = part.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b';')) else { continue };
            for mode in String::from_utf8_lossy(&part[..end]).split(';') {
                match part[end] {
                    b'h' => modes.insert(mode.to_owned()),
                    b'l' => modes.remove(mode),
                    _ => continue,
                };
            }
        }
        modes
    }

    /// Asserts that the terminal is as it was before the program: no mode, screen, cursor or setting of it is left.
    ///
    /// # Errors
    ///
    /// Something is left.
    pub fn is_restored(&self) -> anyhow::Result<()> {
        let modes = self.modes();
        // Mode 25 shows the cursor.
        ensure!(modes.iter().all(|mode| mode == "25"), "modes are left set: {modes:?}");
        self.look(|screen| {
            ensure!(!screen.alternate_screen(), "the alternate screen is left");
            ensure!(!screen.hide_cursor(), "the cursor is hidden");
            ensure!(!screen.application_keypad() && !screen.application_cursor(), "keys send something else");
            ensure!(screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None, "the mouse is taken");
            Ok(())
        })?;
        let (now, before) = self.settings()?;
        let modes = |settings: &Termios| {
            (settings.input_modes, settings.output_modes, settings.control_modes, settings.local_modes)
        };
        ensure!(modes(&now) == modes(&before), "settings are {now:?}, were {before:?}");
        Ok(())
    }
}

/// Reads the program's output to its end.
fn read(mut side: fs::File, to: &Shared, hung: &AtomicBool, held: &AtomicBool) {
    let mut buffer = vec![0; 1 << 16];
    while !hung.load(Ordering::Relaxed) {
        // On hold, time passes without a read.
        let flags = if held.load(Ordering::Relaxed) { PollFlags::empty() } else { PollFlags::IN };
        let mut wanted = [PollFd::new(&side, flags)];
        match poll(&mut wanted, Some(&Timespec { tv_sec: 0, tv_nsec: 20_000_000 })) {
            Ok(0) | Err(Errno::INTR) => continue,
            // The other side is closed, and its last output can still be read.
            Ok(_) if flags.is_empty() => thread::yield_now(),
            Ok(_) => {}
            Err(_) => break,
        }
        // EIO: the other side is closed.
        match side.read(&mut buffer) {
            Ok(count @ 1..) => to.take(&buffer[..count]),
            _ => break,
        }
    }
    to.lock().closed = true;
    to.changed.notify_all();
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("pid", &self.pid()).finish_non_exhaustive()
    }
}

fn winsize(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn size(number: u16) -> std::num::NonZeroU16 {
    std::num::NonZeroU16::new(number).expect("a terminal has rows and columns")
}

/// Whether a process is stopped, as by Ctrl-Z.
///
/// # Errors
///
/// There is no such process.
pub fn is_stopped(pid: u32) -> io::Result<bool> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    Ok(stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')))
}
