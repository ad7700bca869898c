//! Runtime and TLS library of a program, derived from its mapped files and from marks in its executable.

use std::{
    collections::BTreeSet,
    io::{self, Read},
};

use memchr::memmem;

/// Maximum number of bytes searched in an executable. The largest in common use (Node with its ICU data) have about 100
/// MiB.
const SEARCH_LIMIT: u64 = 128 * 1024 * 1024;
/// Number of bytes read at a time.
const BLOCK: usize = 1024 * 1024;

/// A byte string in an executable that identifies a runtime or library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// Header of Go's build information.
    Go,
    /// Path of Rust's own build in messages of its standard library.
    Rust,
    /// Symbol of a function in Go's crypto/tls.
    GoTls,
    /// BoringSSL's version text.
    BoringSsl,
    /// Path of OpenSSL's handshake code in error messages. Programs that use the shared library do not contain it.
    OpenSsl,
    /// Source path of rustls.
    Rustls,
}

pub(super) const MARKS: [(Mark, &[u8]); 6] = [
    (Mark::Go, b"\xff Go buildinf:"),
    (Mark::Rust, b"/rustc/"),
    (Mark::GoTls, b"crypto/tls.(*Conn)."),
    (Mark::BoringSsl, b"(compatible; BoringSSL)"),
    (Mark::OpenSsl, b"ssl/statem/"),
    (Mark::Rustls, b"/rustls-"),
];

/// Result of searching an executable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) found: BTreeSet<Mark>,
    /// Whether the whole file was searched.
    pub(super) whole: bool,
}

pub(super) fn search(file: impl Read) -> io::Result<Marks> {
    let longest = MARKS.iter().map(|(_, needle)| needle.len()).max().unwrap_or(1);
    let finders = MARKS.map(|(mark, needle)| (mark, memmem::Finder::new(needle)));
    let mut file = file.take(SEARCH_LIMIT + 1);
    let mut marks = Marks::default();
    let mut block = vec![0; BLOCK];
    let (mut kept, mut total) = (0, 0);
    loop {
        let read = file.read(&mut block[kept..])?;
        if read == 0 {
            marks.whole = total <= SEARCH_LIMIT;
            return Ok(marks);
        }
        let bytes = &block[..kept + read];
        total += read as u64;
        for (mark, finder) in &finders {
            if !marks.found.contains(mark) && finder.find(bytes).is_some() {
                marks.found.insert(*mark);
            }
        }
        // A mark may cross two blocks.
        let end = bytes.len();
        kept = end.min(longest - 1);
        block.copy_within(end - kept..end, 0);
    }
}

/// Base names of the files that a process has mapped, from the text of `/proc/PID/maps`.
pub(super) fn mapped_files(maps: &str) -> BTreeSet<&str> {
    maps.lines()
        .filter_map(|line| {
            let path = &line[line.find('/')?..];
            let path = path.strip_suffix(" (deleted)").unwrap_or(path);
            path.rsplit('/').next()
        })
        .collect()
}

/// Runtime of a program, by its name, mapped libraries and marks, and the evidence for it.
pub(super) fn runtime(program: &str, files: &BTreeSet<&str>, marks: &Marks) -> (&'static str, String) {
    let mapped = |prefix: &str| files.iter().find(|file| file.starts_with(prefix));
    let libraries = [
        ("libjvm.so", "JVM"),
        ("libcoreclr.so", ".NET"),
        ("libclrjit.so", ".NET"),
        ("libpython", "Python"),
        ("libruby", "Ruby"),
        ("libnode", "Node"),
        ("libphp", "PHP"),
        ("libperl", "Perl"),
    ];
    for (library, name) in libraries {
        if let Some(file) = mapped(library) {
            return (name, format!("{file} is mapped"));
        }
    }
    let programs = [
        ("python", "Python"),
        ("pypy", "Python"),
        ("node", "Node"),
        ("ruby", "Ruby"),
        ("java", "JVM"),
        ("dotnet", ".NET"),
        ("php", "PHP"),
        ("perl", "Perl"),
        ("deno", "Deno"),
        ("bun", "Bun"),
        ("beam.smp", "Erlang"),
    ];
    for (prefix, name) in programs {
        let rest = program.strip_prefix(prefix);
        // Matches "python3.11", but not "nodemon" or "javaws-like".
        if rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))) {
            return (name, format!("its program is named {program}"));
        }
    }
    if marks.found.contains(&Mark::Go) {
        return ("Go", "its executable contains Go build information".to_owned());
    }
    if marks.found.contains(&Mark::Rust) {
        return ("Rust", "its executable contains file names of the Rust standard library".to_owned());
    }
    if files.iter().any(|file| file.starts_with("libstdc++.so") || file.starts_with("libc++.so")) {
        return ("C++", "its runtime library is mapped".to_owned());
    }
    ("C or another compiled language", "no sign of another runtime".to_owned())
}

/// TLS libraries of a program, each with its location.
pub(super) fn tls(files: &BTreeSet<&str>, marks: &Marks) -> Vec<String> {
    let libraries = [
        ("libssl.so", "OpenSSL"),
        ("libgnutls.so", "GnuTLS"),
        ("libssl3.so", "NSS"),
        ("libmbedtls.so", "Mbed TLS"),
        ("libwolfssl.so", "wolfSSL"),
        ("libs2n.so", "s2n"),
        ("libnetty_tcnative", "BoringSSL (netty)"),
        ("libconscrypt", "BoringSSL (Conscrypt)"),
    ];
    let mut found: Vec<String> = libraries
        .into_iter()
        .filter_map(|(prefix, name)| {
            files.iter().find(|file| file.starts_with(prefix)).map(|file| format!("{name} ({file})"))
        })
        .collect();
    let own = |mark| marks.found.contains(&mark);
    if own(Mark::GoTls) {
        found.push("Go crypto/tls (in the executable)".to_owned());
    }
    if own(Mark::BoringSsl) {
        found.push("BoringSSL (in the executable)".to_owned());
    } else if own(Mark::OpenSsl) {
        found.push("OpenSSL (in the executable)".to_owned());
    }
    if own(Mark::Rustls) {
        found.push("rustls (in the executable)".to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "55d0c0a00000-55d0c0a28000 r--p 00000000 08:01 1234 \
                        /usr/bin/python3.11
7f0000000000-7f0000001000 rw-p 00000000 00:00 0
7f1000000000-7f1000022000 \
                        r--p 00000000 08:01 99 /usr/lib/x86_64-linux-gnu/libssl.so.3
7f1000022000-7f1000044000 r-xp \
                        00022000 08:01 99 /usr/lib/x86_64-linux-gnu/libssl.so.3
7f2000000000-7f2000001000 r--p \
                        00000000 08:01 77 /opt/with space/libpython3.11.so.1.0 (deleted)
7ffd00000000-7ffd00021000 \
                        rw-p 00000000 00:00 0 [stack]
";

    fn marked(marks: &[Mark]) -> Marks {
        Marks { found: marks.iter().copied().collect(), whole: true }
    }

    #[test]
    fn libraries_are_read_from_maps() {
        let files = mapped_files(MAPS);
        assert_eq!(files, BTreeSet::from(["python3.11", "libssl.so.3", "libpython3.11.so.1.0"]));
        assert_eq!(runtime("python3.11", &files, &marked(&[])).0, "Python");
        assert_eq!(tls(&files, &marked(&[])), ["OpenSSL (libssl.so.3)"]);
    }

    #[test]
    fn runtimes_are_told_apart() {
        let none = BTreeSet::new();
        for (program, marks, expected) in [
            ("node", &[Mark::OpenSsl][..], "Node"),
            ("nodemon", &[Mark::Go], "Go"),
            ("python3.11", &[], "Python"),
            ("server", &[Mark::Go, Mark::GoTls], "Go"),
            ("server", &[Mark::Rust], "Rust"),
            ("nginx", &[], "C or another compiled language"),
        ] {
            assert_eq!(runtime(program, &none, &marked(marks)).0, expected, "{program}");
        }
        assert_eq!(runtime("app", &BTreeSet::from(["libjvm.so"]), &marked(&[])).0, "JVM");
        assert_eq!(tls(&none, &marked(&[Mark::BoringSsl, Mark::OpenSsl])), ["BoringSSL (in the executable)"]);
        assert_eq!(tls(&none, &marked(&[Mark::Go, Mark::GoTls])), ["Go crypto/tls (in the executable)"]);
    }

    #[test]
    fn marks_across_blocks_are_found() {
        for at in [0, BLOCK - 20, BLOCK - 5, BLOCK, 2 * BLOCK - 15] {
            let mut file = vec![0; at];
            file.extend(b"\xff Go buildinf:rest");
            let marks = search(file.as_slice()).expect("a slice can be read");
            assert_eq!((marks.found, marks.whole), (BTreeSet::from([Mark::Go]), true), "{at}");
        }
    }
}
