//! A program in a window of tmux, with a tmux server of its own.

use std::{ffi::OsStr, path::PathBuf, process::Command};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::child::{PATIENCE, wait_for};

/// The configuration: no status line, programs may set the clipboard, and no delay after Escape.
const SETTINGS: &str = "set -g status off\nset -g set-clipboard on\nset -s escape-time 0\n";

/// A window. The server and its programs end when this value is dropped.
#[derive(Debug)]
pub struct Tmux {
    folder: TempDir,
}

impl Tmux {
    /// Starts a program in a window of this size.
    ///
    /// # Errors
    ///
    /// tmux is missing or does not start.
    pub fn start((columns, rows): (u16, u16), program: &[&OsStr]) -> anyhow::Result<Self> {
        let tmux = Self { folder: tempfile::tempdir()? };
        let settings = tmux.folder.path().join("settings");
        std::fs::write(&settings, SETTINGS)?;
        let size = [columns.to_string(), rows.to_string()];
        let mut command = tmux.command();
        command.arg("-f").arg(settings).args(["new-session", "-d", "-x", &size[0], "-y", &size[1]]).args(program);
        let status = command.status().context("cannot run tmux; `cargo xtask setup` installs it")?;
        ensure!(status.success(), "tmux did not start: {status}");
        Ok(tmux)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        // UTF-8 under any locale.
        command.arg("-u").arg("-S").arg(self.socket());
        for name in ["TMUX", "TMUX_PANE", "NO_COLOR", "COLORFGBG"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs a command of tmux, and returns its output.
    ///
    /// # Errors
    ///
    /// The command fails.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command().args(arguments).output().context("cannot run tmux")?;
        ensure!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The window as text.
    ///
    /// # Errors
    ///
    /// The window has closed.
    pub fn text(&self) -> anyhow::Result<String> {
        self.run(&["capture-pane", "-p"])
    }

    /// A variable of the window, such as `alternate_on` or `cursor_flag`.
    ///
    /// # Errors
    ///
    /// The window has closed.
    pub fn flag(&self, name: &str) -> anyhow::Result<String> {
        Ok(self.run(&["display-message", "-p", &format!("#{{{name}}}")])?.trim().to_owned())
    }

    /// Types text.
    ///
    /// # Errors
    ///
    /// The window has closed.
    pub fn types(&self, text: &str) -> anyhow::Result<()> {
        self.run(&["send-keys", "-l", text]).map(drop)
    }

    /// Presses a key by tmux's name: `Enter`, `Escape`.
    ///
    /// # Errors
    ///
    /// The window has closed.
    pub fn presses(&self, key: &str) -> anyhow::Result<()> {
        self.run(&["send-keys", key]).map(drop)
    }

    /// Waits until the window fulfils a condition, and returns its text.
    ///
    /// # Errors
    ///
    /// The window does not within the usual patience. The error has its text.
    pub fn wait(&self, what: &str, condition: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        let found = wait_for(what, PATIENCE, || self.text().ok().filter(|text| condition(text)));
        found.with_context(|| format!("the window:\n{}", self.text().unwrap_or_default()))
    }

    /// Waits until the window has all of these texts, and returns its text.
    ///
    /// # Errors
    ///
    /// As [`Self::wait`].
    pub fn wait_for(&self, parts: &[&str]) -> anyhow::Result<String> {
        self.wait(&format!("{parts:?} in the window"), |text| parts.iter().all(|part| text.contains(part)))
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.run(&["kill-server"]);
    }
}
