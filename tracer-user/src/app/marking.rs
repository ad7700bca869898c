//! The key of the marks that stand for secrets.

use std::{fs::OpenOptions, io::Read as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use anyhow::{Context as _, bail};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::{cli::OutputArgs, recording::Header, text::redact::MarkKey};

/// Bytes of a key file that are read, at most: more do not make a better key.
const MOST: u64 = 4096;

/// A key, and its source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marking {
    pub(super) key: MarkKey,
    /// The key belongs to this trace alone. A key from a file belongs to other traces as well, so a recording, which
    /// may be passed on, does not contain it.
    own: bool,
}

impl Marking {
    /// Key of a live trace: from the file of `--mark-key-file`, else a new one.
    pub(super) fn of_trace(args: &OutputArgs) -> anyhow::Result<Self> {
        match &args.mark_key_file {
            Some(path) => Ok(Self { key: read(path)?, own: false }),
            None => Ok(Self { key: fresh()?, own: true }),
        }
    }

    /// Key for a recording: from the file of `--mark-key-file`, else the one in the recording, else a new one. With a
    /// fixed key for recordings without one, anybody could confirm guesses.
    pub(super) fn of_recording(args: &OutputArgs, header: &Header) -> anyhow::Result<Self> {
        match MarkKey::from_hex(&header.mark_key) {
            Some(key) if args.mark_key_file.is_none() => Ok(Self { key, own: true }),
            _ => Self::of_trace(args),
        }
    }

    /// The header of a recording that this machine makes now.
    pub(super) fn header(self) -> Header {
        let system = rustix::system::uname();
        Header {
            created_by: "pidtap".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: system.release().to_string_lossy().into_owned(),
            arch: system.machine().to_string_lossy().into_owned(),
            mark_key: self.kept(),
        }
    }

    /// The key as a recording holds it; empty where it must not.
    fn kept(self) -> String {
        if self.own { self.key.to_hex() } else { String::new() }
    }
}

fn fresh() -> anyhow::Result<MarkKey> {
    let mut key = [0; MarkKey::LEAST];
    let length = getrandom(&mut key, GetRandomFlags::empty())
        .context("cannot get random bytes for the marks of secrets (getrandom)")?;
    if length < key.len() {
        bail!("cannot get random bytes for the marks of secrets: the kernel returned only {length}");
    }
    Ok(MarkKey::new(key))
}

fn read(path: &Path) -> anyhow::Result<MarkKey> {
    let what = || format!("cannot read the mark key from {}", path.display());
    // A FIFO without a writer must not hold the start.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).with_context(what)?;
    if !file.metadata().with_context(what)?.is_file() {
        bail!("{}: it is not a regular file", what());
    }
    let mut contents = Vec::new();
    file.take(MOST).read_to_end(&mut contents).with_context(what)?;
    MarkKey::of_contents(&contents).with_context(|| {
        format!(
            "{}: it has fewer than {} bytes; create a key with `head -c 32 /dev/urandom > FILE`",
            what(),
            MarkKey::LEAST
        )
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn args(rest: &[&str]) -> OutputArgs {
        let line = ["pidtap", "open", "a.tap"].iter().chain(rest);
        let Some(Command::Open(open)) = Cli::try_parse_from(line).expect("valid").command else { panic!("open") };
        open.output
    }

    #[test]
    fn each_trace_has_a_key_of_its_own_and_its_recording_holds_it() {
        let (one, other) = (Marking::of_trace(&args(&[])).expect("made"), Marking::of_trace(&args(&[])).expect("made"));
        assert_ne!(one.key, other.key);
        let header = Header { mark_key: one.kept(), ..Header::default() };
        assert_eq!(Marking::of_recording(&args(&[]), &header).expect("there").key, one.key);
        // One that has none, or a broken one.
        for mark_key in ["", "x"] {
            let header = Header { mark_key: mark_key.to_owned(), ..Header::default() };
            Marking::of_recording(&args(&[]), &header).expect("made");
        }
    }

    #[test]
    fn a_file_makes_marks_equal_across_traces_and_no_recording_holds_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key");
        std::fs::write(&path, b"thirty-two bytes of somebody....").expect("written");
        let named = args(&["--mark-key-file", path.to_str().expect("UTF-8")]);
        let one = Marking::of_trace(&named).expect("read");
        let header = Header { mark_key: MarkKey::new([1; 16]).to_hex(), ..Header::default() };
        assert_eq!(Marking::of_recording(&named, &header).expect("read").key, one.key);
        assert_eq!(one.kept(), "");
        std::fs::write(&path, b"short").expect("written");
        let error = format!("{:#}", Marking::of_trace(&named).expect_err("too short"));
        assert!(error.contains("fewer than 16 bytes"), "{error}");
        for path in ["/dev/null", "/nonexistent/key", folder.path().to_str().expect("UTF-8")] {
            Marking::of_trace(&args(&["--mark-key-file", path])).expect_err("no key file");
        }
    }
}
