//! Log of the kernel's verifier for a rejected program.
//!
//! The log has thousands of lines and cannot be retrieved later. It is written to a file, and the message names the
//! file.

use std::{
    fmt,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    host::file,
    text::escape::{Foreign, Visible},
};

/// Number of last lines in the message if no file could be written. The rejection is at the end of the log.
const LAST_LINES: usize = 8;
/// Number of file names to try before giving up.
const ATTEMPTS: u32 = 100;

/// The verifier's log. Its text form continues a sentence that ends with "the verifier's log,".
#[derive(Debug)]
pub struct VerifierLog {
    text: String,
    saved: Option<io::Result<PathBuf>>,
}

impl VerifierLog {
    pub(super) fn new(text: String) -> Self {
        Self { text, saved: None }
    }

    /// Writes the log into the directory for temporary files.
    pub(super) fn save(&mut self, program: &str) {
        self.saved = Some(write(&std::env::temp_dir(), program, &self.text));
    }
}

impl fmt::Display for VerifierLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = match &self.saved {
            Some(Ok(path)) => return write!(f, "which was saved to {}", Foreign::from(&**path)),
            Some(Err(error)) => format!(" ({error})"),
            None => String::new(),
        };
        write!(f, "which could not be saved to a file{error} and ends with:")?;
        let lines: Vec<&str> = self.text.lines().filter(|line| !line.trim().is_empty()).collect();
        for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
            write!(f, " | {}", Visible(line.trim()))?;
        }
        Ok(())
    }
}

/// Creates a new file. The directory is writable by everybody, so existing files and symbolic links are not followed.
fn write(folder: &Path, program: &str, text: &str) -> io::Result<PathBuf> {
    let names = (0..ATTEMPTS).map(|number| format!("pidtap-verifier-{program}-{}-{number}.log", std::process::id()));
    let (mut file, path) = file::create_new(folder, names)?;
    file.write_all(text.as_bytes()).map(|()| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_log_is_in_the_file_that_the_message_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "0: R1=ctx(off=0,imm=0)\ninvalid size of register fill\n";
        let first = write(folder.path(), "sys_exit", text).expect("the folder can be written");
        let second = write(folder.path(), "sys_exit", "another").expect("the first stays");
        assert_ne!(first, second);
        assert_eq!(std::fs::read_to_string(&first).expect("it is there"), text);
        let log = VerifierLog { text: text.to_owned(), saved: Some(Ok(first.clone())) };
        assert_eq!(log.to_string(), format!("which was saved to {}", Foreign::from(&*first)));
    }

    #[test]
    fn without_a_file_the_end_is_shown() {
        let text = (0..100).map(|line| format!("line {line}\n")).collect::<Vec<_>>().concat();
        let error = write(Path::new("/nonexistent"), "sys_exit", &text).expect_err("there is no such folder");
        let shown = VerifierLog { text, saved: Some(Err(error)) }.to_string();
        assert!(shown.contains("No such file"), "{shown}");
        assert!(shown.ends_with(" | line 98 | line 99"), "{shown}");
        assert_eq!(shown.matches(" | ").count(), LAST_LINES);
    }
}
