//! Search of an executable in a separate process.
//!
//! Reading an executable may block forever if another process or host serves its file system (FUSE, NFS). No signal
//! ends a process that waits for such a file system. pidtap therefore starts itself again for the search, waits for a
//! bounded time, and abandons a process that does not return.

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

/// Name of the hidden subcommand: `pidtap search-executable PID`.
pub const SEARCH_SUBCOMMAND: &str = "search-executable";

/// Maximum duration of a search. It suffices for the largest executables on a slow disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// Encoding of the output: a byte for each mark found, by index, a byte if the whole file was searched, and an end
/// byte.
const FIRST_MARK: u8 = b'0';
const WHOLE: u8 = b'+';
const END: u8 = b'\n';

/// Searches the executable of a process with the program `searcher`, or with the running program. An error states why
/// the search failed.
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
        // The receiver may have timed out.
        let _ = sender.send(result);
    })?;
    match answer.recv_timeout(patience) {
        Ok(answer) => {
            // The process has closed its output and is about to exit.
            child.wait()?;
            decode(&answer?).ok_or_else(|| io::Error::other("it cannot be read"))
        }
        Err(RecvTimeoutError::Timeout) => {
            // The process ends once its file system lets it; pidtap does not wait for that.
            let _ = child.kill();
            Err(io::Error::other(format!("its file system did not respond within {} s", patience.as_secs())))
        }
        Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// Implements the hidden subcommand. It checks the same permissions as `doctor`.
///
/// # Errors
///
/// [`io::Error`] if the process does not exist, may not be inspected, or its executable cannot be read.
pub fn search_executable(pid: u32) -> io::Result<Vec<u8>> {
    let target = Target::find(pid).map_err(io::Error::other)?;
    Permit::this().and_then(|permit| permit.check(&target)).map_err(io::Error::other)?;
    // Opened through /proc, which works in any mount namespace and for a deleted file.
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
        assert!(error.to_string().contains("did not respond") && begin.elapsed() < Duration::from_secs(30), "{error}");
        ask(&mut Command::new("true"), PATIENCE).expect_err("it says nothing, and ends");
    }
}
