//! Error numbers that end exchanges.

/// Number, name and meaning, from `include/uapi/asm-generic/errno*.h`: the same on all architectures that pidtap runs on.
const NAMES: [(i32, &str, &str); 24] = [
    (4, "EINTR", "interrupted"),
    (5, "EIO", "input/output error"),
    (1, "EPERM", "not permitted"),
    (9, "EBADF", "bad file descriptor"),
    (13, "EACCES", "permission denied"),
    (22, "EINVAL", "invalid argument"),
    (23, "ENFILE", "too many open files on this machine"),
    (24, "EMFILE", "too many open files in this process"),
    (32, "EPIPE", "broken pipe"),
    (97, "EAFNOSUPPORT", "address family not supported"),
    (98, "EADDRINUSE", "address in use"),
    (99, "EADDRNOTAVAIL", "no free local address or port"),
    (100, "ENETDOWN", "network is down"),
    (101, "ENETUNREACH", "network unreachable"),
    (103, "ECONNABORTED", "connection aborted"),
    (104, "ECONNRESET", "connection reset"),
    (105, "ENOBUFS", "no buffer space"),
    (107, "ENOTCONN", "not connected"),
    (110, "ETIMEDOUT", "timed out"),
    (111, "ECONNREFUSED", "connection refused"),
    (112, "EHOSTDOWN", "host is down"),
    (113, "EHOSTUNREACH", "host unreachable"),
    (125, "ECANCELED", "cancelled"),
    (2, "ENOENT", "no such socket"),
];

/// The name of an error number: `ECONNRESET` for 104. `None` for numbers that no socket call returns.
pub fn name(number: i32) -> Option<&'static str> {
    NAMES.iter().find(|(known, ..)| *known == number).map(|(_, name, _)| *name)
}

/// The meaning of an error number: `connection reset` for 104. `None` for numbers that no socket call returns.
pub fn meaning(number: i32) -> Option<&'static str> {
    NAMES.iter().find(|(known, ..)| *known == number).map(|(.., meaning)| *meaning)
}
