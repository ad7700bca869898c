//! Effects of keys outside the screens: clipboard, pager, files.

use std::{
    env,
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::Ordering,
};

use super::{draw::Drawing, recorded::Recorded, shared::lock};
use crate::{host::file, text::escape::Foreign, tui::Effect};

/// Bytes that every terminal takes; beyond this, some take nothing at all.
const CLIPBOARD: usize = 74_000;
/// Names that are tried for a new file, at most.
const NAMES: u32 = 1_000;

impl Drawing {
    /// Performs an effect, and reports failures. Only a failure of the terminal is an error.
    pub(super) fn effect(&mut self, effect: Effect) -> io::Result<()> {
        match effect {
            // The caller handles it.
            Effect::Quit => {}
            Effect::Suspend => self.screen.suspend()?,
            Effect::Redraw => self.screen.redraw()?,
            Effect::Copy { what, text } => {
                self.screen.copy(&text)?;
                let doubt = if text.len() > CLIPBOARD { "; many terminals do not accept this much" } else { "" };
                self.ui.say(&format!("copied {what}, {} bytes{doubt}", text.len()));
            }
            Effect::Page { title, text } => self.page(&title, &text)?,
            Effect::WriteFile { name: (name, extension), bytes } => {
                let said = match self.new_file(&name, &extension, |file| file.write_all(&bytes)) {
                    Ok(name) => format!("wrote {} bytes to {name}", bytes.len()),
                    Err(error) => format!(
                        "cannot write {name}.{extension} to the current directory: {error}; start pidtap in a \
                         writable directory"
                    ),
                };
                self.ui.say(&said);
            }
            Effect::SaveRecording => {
                let said = self.save();
                self.ui.say(&said);
            }
        }
        Ok(())
    }

    fn page(&mut self, title: &str, text: &str) -> io::Result<()> {
        let pager = env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
        let pager = pager.unwrap_or_else(|| "less -S".to_owned());
        self.shared.paging.store(true, Ordering::Relaxed);
        let (command, text, environment) = (pager.clone(), text.to_owned(), self.user.environment());
        let user = &self.user;
        let result = self.screen.lend(|| user.run(move || show(&command, &text, &environment)).flatten());
        self.shared.paging.store(false, Ordering::Relaxed);
        if let Err(error) = result? {
            self.ui.say(&format!(
                "cannot show {title} with `{pager}`: {error}; set PAGER to an installed pager, or press D to write a \
                 file"
            ));
        }
        Ok(())
    }

    /// Creates a new file that only its owner can read, and gives its name. Where root must not write without its
    /// capabilities, as in the folder of the user who called `sudo`, the file belongs to that user.
    fn new_file(
        &self,
        name: &str,
        extension: &str,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<String> {
        let made = match create(name, extension) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && self.user.is_caller() => {
                let (name, extension) = (name.to_owned(), extension.to_owned());
                self.user.run(move || create(&name, &extension)).flatten()
            }
            made => made,
        };
        let (mut file, path) = made?;
        write(&mut file).map(|()| Foreign::from(&*path).to_string())
    }

    fn save(&self) -> String {
        let spool = match &self.recorded {
            Recorded::Already(words) => return words.clone(),
            Recorded::Spool(spool) => spool,
        };
        let mut saved = None;
        // A copy is saved, so that the thread that adds events does not wait for a disk.
        let spool = lock(spool).clone();
        let result = self.new_file("pidtap", "tap", |file| {
            saved = Some(spool.save(file)?);
            Ok(())
        });
        match (result, saved) {
            (Ok(name), Some(saved)) if saved.dropped == 0 => {
                format!(
                    "saved all {} events to {name}, secrets included; `pidtap open {name}` replays it",
                    saved.events
                )
            }
            (Ok(name), Some(saved)) => format!(
                "saved the latest {} events to {name}, secrets included ({} older events are gone; --record keeps all)",
                saved.events, saved.dropped
            ),
            (Err(error), _) => format!("cannot save a recording to the current directory: {error}; use --record FILE"),
            (Ok(name), None) => format!("saved {name}"),
        }
    }
}

/// Runs a pager with `text`, and waits for its end. Must run in the thread without privileges. `LESSSECURE`: pidtap
/// often runs as root, and a pager that shows foreign text needs no shell.
fn show(pager: &str, text: &str, environment: &[(&'static str, PathBuf)]) -> io::Result<()> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", pager]).env("LESSSECURE", "1").stdin(Stdio::piped());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    if let Ok(options) = env::var("LESS") {
        // `+F` would end the pager at once where the text fits on one screen.
        command.env("LESS", format!("{options} -+F"));
    }
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // The user may leave the pager before it has read everything.
        let _ = input.write_all(text.as_bytes());
    }
    let status = child.wait()?;
    // The status of a shell without such a program.
    if status.code() == Some(127) { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
}

/// Creates a new file that only its owner can read, and gives its name.
fn create(name: &str, extension: &str) -> io::Result<(File, PathBuf)> {
    let names = (1..=NAMES).map(|number| match number {
        1 => format!("{name}.{extension}"),
        _ => format!("{name}-{number}.{extension}"),
    });
    file::create_new(Path::new(""), names)
}
