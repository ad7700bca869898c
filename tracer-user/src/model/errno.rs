//! Error numbers of socket calls, with their names and meanings.

/// Declares a constant for each number, and the table from which [`name`] and [`meaning`] read.
macro_rules! numbers {
    ($($NAME:ident = $number:literal, $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $NAME: i32 = $number;)*

        const TABLE: &[(i32, &str, &str)] = &[$(($NAME, stringify!($NAME), $meaning),)*];
    };
}

// From `include/uapi/asm-generic/errno*.h`; the same on all architectures that pidtap runs on.
numbers! {
    EPERM = 1, "not permitted";
    ENOENT = 2, "no such socket";
    EINTR = 4, "interrupted";
    EIO = 5, "input/output error";
    EBADF = 9, "bad file descriptor";
    EAGAIN = 11, "try again";
    EACCES = 13, "permission denied";
    EINVAL = 22, "invalid argument";
    ENFILE = 23, "too many open files on this machine";
    EMFILE = 24, "too many open files in this process";
    EPIPE = 32, "broken pipe";
    EAFNOSUPPORT = 97, "address family not supported";
    EADDRINUSE = 98, "address in use";
    EADDRNOTAVAIL = 99, "no free local address or port";
    ENETDOWN = 100, "network is down";
    ENETUNREACH = 101, "network unreachable";
    ECONNABORTED = 103, "connection aborted";
    ECONNRESET = 104, "connection reset";
    ENOBUFS = 105, "no buffer space";
    EISCONN = 106, "already connected";
    ENOTCONN = 107, "not connected";
    ETIMEDOUT = 110, "timed out";
    ECONNREFUSED = 111, "connection refused";
    EHOSTDOWN = 112, "host is down";
    EHOSTUNREACH = 113, "host unreachable";
    EALREADY = 114, "already connecting";
    EINPROGRESS = 115, "connecting";
    ECANCELED = 125, "cancelled";
}

/// The name of an error number: `ECONNRESET` for 104. `None` for numbers that no socket call returns.
pub fn name(number: i32) -> Option<&'static str> {
    TABLE.iter().find(|(known, ..)| *known == number).map(|(_, name, _)| *name)
}

/// The meaning of an error number: `connection reset` for 104. `None` for numbers that no socket call returns.
pub fn meaning(number: i32) -> Option<&'static str> {
    TABLE.iter().find(|(known, ..)| *known == number).map(|(.., meaning)| *meaning)
}
