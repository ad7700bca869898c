//! System call numbers of the supported architectures.
//!
//! Each table maps a system call number to the action of the probes: one of [`crate::event::call`] for calls that move
//! bytes, one of the constants here for calls that change descriptors or connections, or 0. A table look-up is one load
//! in the kernel, cheaper than a chain of comparisons, and can be tested on any machine.

use crate::event::call;

/// Number of entries in a table. The probes ignore higher system call numbers.
pub const TABLE_LENGTH: usize = 512;

/// Action of the probes for each system call number.
pub type Table = [u8; TABLE_LENGTH];

/// The probes ignore this system call.
pub const NONE: u8 = 0;
/// Highest code of a call that moves bytes.
pub const LAST_DATA: u8 = call::SPLICE;
/// `connect`.
pub const CONNECT: u8 = 32;
/// `accept`, `accept4`.
pub const ACCEPT: u8 = 33;
/// `close`.
pub const CLOSE: u8 = 34;
/// `shutdown`.
pub const SHUTDOWN: u8 = 35;
/// `dup`: uses the lowest free descriptor and closes none.
pub const DUP: u8 = 36;
/// `dup2`, `dup3`: may close the descriptor that they replace.
pub const DUP_ONTO: u8 = 37;
/// `fcntl`; only `F_DUPFD` and `F_DUPFD_CLOEXEC` matter.
pub const FCNTL: u8 = 38;
/// `socketpair`.
pub const SOCKETPAIR: u8 = 39;
/// `close_range`.
pub const CLOSE_RANGE: u8 = 40;

/// Table of x86-64 for 64-bit calls (`arch/x86/entry/syscalls/syscall_64.tbl`).
pub const X86_64: Table = table(&[
    (0, call::READ),
    (1, call::WRITE),
    (3, CLOSE),
    (19, call::READV),
    (20, call::WRITEV),
    (32, DUP),
    (33, DUP_ONTO),
    (40, call::SENDFILE),
    (42, CONNECT),
    (43, ACCEPT),
    (44, call::SENDTO),
    (45, call::RECVFROM),
    (46, call::SENDMSG),
    (47, call::RECVMSG),
    (48, SHUTDOWN),
    (53, SOCKETPAIR),
    (72, FCNTL),
    (275, call::SPLICE),
    (288, ACCEPT),
    (292, DUP_ONTO),
    (299, call::RECVMMSG),
    (307, call::SENDMMSG),
    (327, call::READV),
    (328, call::WRITEV),
    (436, CLOSE_RANGE),
]);

/// Table of aarch64 (`include/uapi/asm-generic/unistd.h`).
pub const AARCH64: Table = table(&[
    (23, DUP),
    (24, DUP_ONTO),
    (25, FCNTL),
    (57, CLOSE),
    (63, call::READ),
    (64, call::WRITE),
    (65, call::READV),
    (66, call::WRITEV),
    (71, call::SENDFILE),
    (76, call::SPLICE),
    (199, SOCKETPAIR),
    (202, ACCEPT),
    (203, CONNECT),
    (206, call::SENDTO),
    (207, call::RECVFROM),
    (210, SHUTDOWN),
    (211, call::SENDMSG),
    (212, call::RECVMSG),
    (242, ACCEPT),
    (243, call::RECVMMSG),
    (269, call::SENDMMSG),
    (286, call::READV),
    (287, call::WRITEV),
    (436, CLOSE_RANGE),
]);

const fn table(entries: &[(usize, u8)]) -> Table {
    let mut table = [NONE; TABLE_LENGTH];
    let mut index = 0;
    while index < entries.len() {
        let (number, code) = entries[index];
        assert!(table[number] == NONE, "a number stands twice in a table");
        table[number] = code;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes that each table contains.
    const CODES: [u8; 21] = [
        call::READ,
        call::READV,
        call::RECVFROM,
        call::RECVMSG,
        call::RECVMMSG,
        call::WRITE,
        call::WRITEV,
        call::SENDTO,
        call::SENDMSG,
        call::SENDMMSG,
        call::SENDFILE,
        call::SPLICE,
        CONNECT,
        ACCEPT,
        CLOSE,
        SHUTDOWN,
        DUP,
        DUP_ONTO,
        FCNTL,
        SOCKETPAIR,
        CLOSE_RANGE,
    ];

    #[test]
    fn every_call_is_in_every_table() {
        for (name, table) in [("x86-64", &X86_64), ("aarch64", &AARCH64)] {
            for code in CODES {
                assert!(table.contains(&code), "{name} has no number for code {code}");
            }
            assert!(table.iter().all(|code| *code == NONE || CODES.contains(code)), "{name} has an unknown code");
        }
    }

    /// Compares the table of the test machine with the numbers in its C library.
    #[test]
    fn the_numbers_are_those_of_the_c_library() {
        #[cfg(target_arch = "x86_64")]
        let (table, only_here) = (&X86_64, [(libc::SYS_dup2, DUP_ONTO)]);
        #[cfg(target_arch = "aarch64")]
        let (table, only_here) = (&AARCH64, [(libc::SYS_dup3, DUP_ONTO)]);
        let common = [
            (libc::SYS_read, call::READ),
            (libc::SYS_readv, call::READV),
            (libc::SYS_preadv2, call::READV),
            (libc::SYS_recvfrom, call::RECVFROM),
            (libc::SYS_recvmsg, call::RECVMSG),
            (libc::SYS_recvmmsg, call::RECVMMSG),
            (libc::SYS_write, call::WRITE),
            (libc::SYS_writev, call::WRITEV),
            (libc::SYS_pwritev2, call::WRITEV),
            (libc::SYS_sendto, call::SENDTO),
            (libc::SYS_sendmsg, call::SENDMSG),
            (libc::SYS_sendmmsg, call::SENDMMSG),
            (libc::SYS_sendfile, call::SENDFILE),
            (libc::SYS_splice, call::SPLICE),
            (libc::SYS_connect, CONNECT),
            (libc::SYS_accept, ACCEPT),
            (libc::SYS_accept4, ACCEPT),
            (libc::SYS_close, CLOSE),
            (libc::SYS_shutdown, SHUTDOWN),
            (libc::SYS_dup, DUP),
            (libc::SYS_dup3, DUP_ONTO),
            (libc::SYS_fcntl, FCNTL),
            (libc::SYS_socketpair, SOCKETPAIR),
            (libc::SYS_close_range, CLOSE_RANGE),
        ];
        for (number, code) in common.into_iter().chain(only_here) {
            assert_eq!(table[usize::try_from(number).expect("a small number")], code, "system call {number}");
        }
    }

    /// Spot checks against `include/uapi/asm-generic/unistd.h`. They run on every machine.
    #[test]
    fn the_generic_table_has_its_own_numbers() {
        assert_eq!(AARCH64[63], call::READ);
        assert_eq!(AARCH64[202], ACCEPT);
        assert_eq!(AARCH64[0], NONE, "io_setup");
        assert_eq!(AARCH64[222], NONE, "mmap");
    }
}
