//! Advice for errors that a resource limit causes.

use std::io;

use rustix::io::Errno;

/// Names the limit that causes an error, and how to raise it; `None` for other errors.
pub fn advice(error: &io::Error) -> Option<&'static str> {
    if error.kind() == io::ErrorKind::OutOfMemory {
        return Some(MEMORY);
    }
    match Errno::from_io_error(error)? {
        Errno::MFILE => Some("raise the limit on open files (`ulimit -n`)"),
        Errno::NFILE => Some("too many files are open on this machine; raise the system limit (`sysctl fs.file-max`)"),
        Errno::NOMEM => Some(MEMORY),
        Errno::FBIG => Some("raise the limit on file size (`ulimit -f`)"),
        _ => None,
    }
}

const MEMORY: &str = "free some memory, or raise the memory limit (`ulimit -v`, `ulimit -d`, or the limit of the \
                      control group)";

/// Whether descriptors or memory are exhausted, in this process or on the machine.
pub fn is_shortage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory
        || matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_limit() {
        for (errno, option) in [(24, "-n"), (23, "fs.file-max"), (12, "-v"), (27, "-f")] {
            let error = io::Error::from_raw_os_error(errno);
            assert!(advice(&error).is_some_and(|advice| advice.contains(option)), "{errno}");
            assert_eq!(is_shortage(&error), errno != 27);
        }
        assert!(advice(&io::ErrorKind::OutOfMemory.into()).is_some());
        assert_eq!(advice(&io::Error::from_raw_os_error(2)), None);
    }
}
