//! The first file system of a guest: an archive in the format that kernels unpack (`cpio -H newc`, described in the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst`). pidtap writes it itself, as `cpio` needs root for a device node.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::Context as _;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const CONSOLE: u32 = 0o020_600;

/// An unfinished archive.
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    folders: BTreeSet<String>,
}

impl Archive {
    /// An archive with the entries that the kernel needs before the first program runs.
    pub(super) fn new() -> Self {
        let mut archive = Self { bytes: Vec::new(), entries: 0, folders: BTreeSet::new() };
        for folder in ["bin", "proc", "sys", "tmp", "root"] {
            archive.folder(folder);
        }
        archive.folder("dev");
        // The standard output of the first program.
        archive.entry("dev/console", CONSOLE, &[], (5, 1));
        archive
    }

    /// Adds a file under its path in the guest, with the folders above it.
    pub(super) fn add(&mut self, path: &str, content: &[u8], executable: bool) {
        let path = path.trim_start_matches('/');
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder);
        }
        self.entry(path, if executable { PROGRAM } else { FILE }, content, (0, 0));
    }

    /// Adds a copy of a file of this machine.
    pub(super) fn copy(&mut self, path: &str, from: &Path) -> anyhow::Result<()> {
        let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        let executable = fs::metadata(from)?.permissions().mode() & 0o111 != 0;
        self.add(path, &content, executable);
        Ok(())
    }

    /// The finished archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[], (0, 0));
        self.bytes
    }

    fn folder(&mut self, path: &str) {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above);
        }
        if self.folders.insert(path.to_owned()) {
            self.entry(path, FOLDER, &[], (0, 0));
        }
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8], device: (u32, u32)) {
        self.entries += 1;
        let length = u32::try_from(content.len()).expect("a file below 4 GiB");
        let name_length = path.len() as u32 + 1;
        // Inode, mode, user, group, links, time, size, device (2), own device number (2), length of the name, checksum.
        let fields = [self.entries, mode, 0, 0, 1, 0, length, 0, 0, device.0, device.1, name_length, 0]
            .map(|field| format!("{field:08x}"));
        self.bytes.extend(b"070701");
        self.bytes.extend(fields.concat().as_bytes());
        self.bytes.extend(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    /// Pads to a multiple of four, where the next name or content begins.
    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_files_once_and_everything_is_aligned() {
        let mut archive = Archive::new();
        archive.add("/a/b/file", b"12345", true);
        archive.add("/a/b/other", b"", false);
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        // Reads the archive as the kernel does.
        let (mut at, mut seen) = (0, Vec::new());
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 6], b"070701");
            let field = |number: usize| {
                let text = std::str::from_utf8(&bytes[at + 6 + number * 8..][..8]).expect("digits");
                u32::from_str_radix(text, 16).expect("a number") as usize
            };
            let (mode, size, name_length) = (field(1), field(6), field(11));
            let name = String::from_utf8(bytes[at + 110..][..name_length - 1].to_vec()).expect("a name");
            at = (at + 110 + name_length).next_multiple_of(4);
            let content = bytes[at..][..size].to_vec();
            at = (at + size).next_multiple_of(4);
            seen.push((name, mode as u32, content));
        }
        let find = |name: &str| seen.iter().position(|(found, ..)| found == name).expect(name);
        assert_eq!(seen.iter().filter(|(name, ..)| name == "a/b").count(), 1);
        assert!(find("a") < find("a/b") && find("a/b") < find("a/b/file"));
        assert_eq!(seen[find("a/b/file")], ("a/b/file".to_owned(), PROGRAM, b"12345".to_vec()));
        assert_eq!(seen[find("a/b/other")].1, FILE);
        assert_eq!(seen[find("dev/console")].1, CONSOLE);
        assert_eq!(seen.last().expect("entries").0, "TRAILER!!!");
    }
}
