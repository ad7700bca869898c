//! Processes with hostile names, and checks of the bytes that reach a terminal.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tempfile::TempDir;

use crate::{
    child::{PATIENCE, wait_for},
    terminal::Terminal,
};

/// The part that every name contains.
pub const MARK: &str = "hx";

/// Names of program files; the kernel cuts them to 15 bytes for the names of processes. Two neighbours together make a control
/// sequence (a title).
pub const NAMES: [&[u8]; 7] = [
    b"\x1b]0;hx",
    b"hx\x07\x1b[2J",
    b"hx\npidtap: x",
    b"\xc2\x9b31mhx\xff\x9b",
    "\u{202e}hx\u{200b}\u{2028}".as_bytes(),
    "hx\u{feff}\u{2066}\r\x08".as_bytes(),
    b"\x1bP1$hx\x1b\\",
];

/// Running processes with hostile names.
#[derive(Debug)]
pub struct Hostile {
    folder: TempDir,
    children: Vec<Child>,
}

impl Hostile {
    /// Starts with no process.
    ///
    /// # Errors
    ///
    /// There is no temporary folder.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { folder: tempfile::tempdir()?, children: Vec::new() })
    }

    /// A path in the folder of the programs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Copies a program under this name.
    ///
    /// # Errors
    ///
    /// There is no such program, or it cannot be copied.
    pub fn copy(&self, program: &str, name: &[u8]) -> anyhow::Result<PathBuf> {
        let path = self.folder.path().join(OsStr::from_bytes(name));
        if path.exists() {
            return Ok(path);
        }
        // `cp` writes the copy. If this process wrote it, a child that another test forks meanwhile would hold it open for writing, and
        // nobody could execute it (ETXTBSY).
        let copied = Command::new("sh")
            .args(["-c", r#"cp -L -- "$(command -v "$1")" "$2""#, "sh", program])
            .arg(&path)
            .status()?;
        ensure!(copied.success(), "cannot copy {program}");
        Ok(path)
    }

    /// Starts a process with this name, also as its first argument and among the others. Returns its id when it runs.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start(&mut self, name: &[u8]) -> anyhow::Result<u32> {
        let path = self.copy("sleep", name)?;
        let mut command = Command::new(&path);
        command.arg0(&path).arg("600").stdin(Stdio::null());
        let child = command.spawn().context("cannot start a copy of sleep")?;
        let pid = child.id();
        self.children.push(child);
        let expected = &name[..name.len().min(15)];
        wait_for("the name", PATIENCE, || {
            fs::read(format!("/proc/{pid}/comm")).ok()?.starts_with(expected).then_some(())
        })?;
        Ok(pid)
    }

    /// Starts a shell of this name with a zombie child. Returns the child's id, and the input that keeps the shell alive.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start_with_zombie(&mut self, name: &[u8]) -> anyhow::Result<(u32, ChildStdin)> {
        let path = self.copy("dash", name)?;
        let mut child = Command::new(&path)
            .args(["-c", "true & read line"])
            .stdin(Stdio::piped())
            .spawn()
            .context("a copy of dash")?;
        let pid = child.id();
        let input = child.stdin.take().context("a pipe")?;
        self.children.push(child);
        let zombie = wait_for("a zombie", PATIENCE, || {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
            let child: u32 = children.split_whitespace().next()?.parse().ok()?;
            let stat = fs::read(format!("/proc/{child}/stat")).ok()?;
            stat.windows(4).any(|part| part == b") Z ").then_some(child)
        })?;
        Ok((zombie, input))
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether a character has a width, and neither changes the direction of text nor controls a terminal. Line feeds are allowed.
pub fn is_harmless(character: char) -> bool {
    character == '\n'
        || !character.is_control()
            && !matches!(u32::from(character),
            0xad | 0x61c | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfe00..=0xfe0f | 0xfeff | 0xe0000..=0xe0fff)
}

/// Checks that printed text contains no control character.
///
/// # Errors
///
/// The text has one; the error names it and its place.
pub fn check(what: &str, printed: &[u8]) -> anyhow::Result<()> {
    let text = std::str::from_utf8(printed).with_context(|| format!("{what}: not UTF-8"))?;
    let harmful = text.chars().find(|character| !is_harmless(*character));
    ensure!(harmful.is_none(), "{what}: {harmful:?} in {text:?}");
    Ok(())
}

/// Harmless sequences that the emulator does not know: the replacement character, synchronised frames, a mouse mode that few
/// terminals have, the colour of underlines.
const KNOWN: [&str; 6] = ["character '\u{fffd}'", "CSI ?2026h", "CSI ?2026l", "CSI ?1015h", "CSI ?1015l", "CSI 59m"];

/// Checks the bytes for a terminal: only sequences that every frame needs, no text of `names` with its control characters, and a
/// harmless clipboard.
///
/// # Errors
///
/// There is another sequence; the error names it.
pub fn check_terminal(what: &str, terminal: &Terminal, names: &[&[u8]]) -> anyhow::Result<()> {
    let mut asked = terminal.asked();
    // To the emulator, the end of the clipboard's text is a sequence of its own.
    let copies = !asked.copied.is_empty();
    let is_known = |sequence: &str| KNOWN.contains(&sequence) || copies && sequence == r"escape None None '\\'";
    asked.unknown.retain(|sequence| !is_known(sequence));
    ensure!(asked.titles.is_empty() && asked.pasted == 0 && asked.bells == 0, "{what}: {asked:?}");
    ensure!(asked.unknown.is_empty(), "{what}: {:?}", asked.unknown);
    for copied in &asked.copied {
        check(what, &STANDARD.decode(copied)?)?;
    }
    let raw = terminal.raw();
    for name in names {
        ensure!(!raw.windows(name.len()).any(|part| part == *name), "{what}: {}", name.escape_ascii());
    }
    let text = match std::str::from_utf8(&raw) {
        // The rest of the character comes with the next read.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&raw[..error.valid_up_to()]),
        result => result,
    };
    let text = text.with_context(|| format!("{what}: not UTF-8 was written"))?;
    let harmful = text.char_indices().find(|(_, one)| !is_harmless(*one) && !matches!(one, '\x1b' | '\r'));
    if let Some((at, harmful)) = harmful {
        let before: Vec<char> = text[..at].chars().rev().take(60).collect();
        anyhow::bail!("{what}: {harmful:?} behind {:?}", before.into_iter().rev().collect::<String>());
    }
    Ok(())
}
