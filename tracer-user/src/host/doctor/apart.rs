//! The search of an executable, in a process of its own.
//!
//! To read an executable is to ask its file system, and one that another process or host serves (FUSE, NFS) may never answer. Who waits
//! for it cannot be ended, not even by a signal. So pidtap starts itself once more for that, waits for a bounded time, and leaves
//! behind what does not come back.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use super::program::{MARKS, Marks, search};
use crate::host::process::{Permit, Target};

/// The hidden subcommand: `pidtap SEARCH_SUBCOMMAND PID`.
pub const SEARCH_SUBCOMMAND: &str = "search-executable";

/// Enough for the largest executables from a slow disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// What it answers: a byte for each mark, by its place, one that all was searched, and one that it is at the end.
const FIRST_MARK: u8 = b'0';
const WHOLE: u8 = b'+';
const END: u8 = b'\n';

/// Searches the executable of a process, by this program or the one that runs. An error says why it was not searched.
pub(super) fn marks(pid: u32, searcher: Option<&Path>) -> io::Result<Marks> {
    let program = searcher.unwrap_or(Path::new("/proc/self/exe"));
    ask(Command::new(program).arg0("pidtap").args([SEARCH_SUBCOMMAND, &pid.to_string()]), PATIENCE)
}

fn ask(command: &mut Command, patience: Duration) -> io::Result<Marks> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let (sender, answer) = sync_channel(1);
    thread::Builder::new().name("search".to_owned()).spawn(move || {
        let mut bytes = Vec::new();
        let result = output.read_to_end(&mut bytes).map(|_| bytes);
        // Nobody waits any more.
        let _ = sender.send(result);
    })?;
    match answer.recv_timeout(patience) {
        Ok(answer) => {
            // It has closed its output: it is at its end.
            child.wait()?;
            decode(&answer?).ok_or_else(|| io::Error::other("it cannot be read"))
        }
        Err(RecvTimeoutError::Timeout) => {
            // It goes once its file system lets it; that is not waited for.
            let _ = child.kill();
            Err(io::Error::other(format!("its file system did not answer for {} s", patience.as_secs())))
        }
        Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// The hidden subcommand. Whoever types it may search what `doctor` would search for them.
///
/// # Errors
///
/// Where there is no such process, it may not be looked at, or its executable cannot be read.
pub fn search_executable(pid: u32) -> io::Result<Vec<u8>> {
    let target = Target::find(pid).map_err(io::Error::other)?;
    Permit::this().and_then(|permit| permit.check(&target)).map_err(io::Error::other)?;
    // Through /proc, so that it is found in any mount namespace, and when it was deleted.
    search(File::open(format!("/proc/{pid}/exe"))?).map(|marks| encode(&marks))
}

fn encode(marks: &Marks) -> Vec<u8> {
    let found = (FIRST_MARK..).zip(MARKS).filter(|(_, (mark, _))| marks.found.contains(mark)).map(|(byte, _)| byte);
    found.chain(marks.whole.then_some(WHOLE)).chain([END]).collect()
}

fn decode(bytes: &[u8]) -> Option<Marks> {
    let bytes = bytes.strip_suffix(&[END])?;
    let mut marks = Marks::default();
    for &byte in bytes {
        if byte == WHOLE {
            marks.whole = true;
        } else {
            marks.found.insert(MARKS.get(usize::from(byte.checked_sub(FIRST_MARK)?))?.0);
        }
    }
    Some(marks)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn marks_come_back_from_another_process() {
        let all = Marks { found: MARKS.iter().map(|(mark, _)| *mark).collect(), whole: true };
        let last = Marks { found: MARKS.iter().skip(5).map(|(mark, _)| *mark).collect(), whole: false };
        for marks in [Marks::default(), all, last] {
            assert_eq!(decode(&encode(&marks)), Some(marks));
        }
        for odd in [&b""[..], b"+", b"9\n", b"running 0 tests\n"] {
            assert_eq!(decode(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn one_that_does_not_answer_is_left_behind() {
        let begin = Instant::now();
        let error = ask(Command::new("sleep").arg("60"), Duration::from_millis(50)).expect_err("it says nothing");
        assert!(error.to_string().contains("did not answer") && begin.elapsed() < Duration::from_secs(30), "{error}");
        ask(&mut Command::new("true"), PATIENCE).expect_err("it says nothing, and ends");
    }
}
