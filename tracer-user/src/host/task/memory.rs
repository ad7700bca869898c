//! Non-blocking reads of a process's memory.
//!
//! Reading an absent page faults it in. A process may have mapped a file there whose file system (FUSE) never answers,
//! and a reader that waits for it cannot be killed. Only pages that are present or in swap and belong to no file are
//! read. The owner of the memory can replace a page between check and read; the only gain is one blocked thread of
//! pidtap.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use rustix::param::page_size;

/// Bits of `Documentation/admin-guide/mm/pagemap.rst`.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const FILE_OR_SHARED: u64 = 1 << 61;
/// Size in bytes of an entry of `/proc/PID/pagemap`.
const ENTRY: usize = 8;
/// Maximum number of pages of one read.
const MAX_PAGES: usize = 4;

/// Open memory of a process; serves a few reads.
pub(super) struct Memory {
    memory: File,
    pages: File,
}

impl Memory {
    /// Opens the memory of a process.
    pub(super) fn open(pid: u32) -> io::Result<Self> {
        let open = |name| File::open(format!("/proc/{pid}/{name}"));
        Ok(Self { memory: open("mem")?, pages: open("pagemap")? })
    }

    /// Fills the buffer from `address`. Returns `None` if a part cannot be read without blocking.
    pub(super) fn read(&self, buffer: &mut [u8], address: u64) -> Option<()> {
        if buffer.is_empty() {
            return Some(());
        }
        let size = page_size() as u64;
        let (first, last) = (address / size, address.checked_add(buffer.len() as u64 - 1)? / size);
        let count = usize::try_from(last - first + 1).ok().filter(|count| *count <= MAX_PAGES)?;
        let mut entries = [0; MAX_PAGES * ENTRY];
        let entries = &mut entries[..count * ENTRY];
        self.pages.read_exact_at(entries, first.checked_mul(ENTRY as u64)?).ok()?;
        let (entries, _) = entries.as_chunks::<ENTRY>();
        if !entries.iter().all(|entry| is_free(u64::from_ne_bytes(*entry))) {
            return None;
        }
        self.memory.read_exact_at(buffer, address).ok()
    }
}

fn is_free(entry: u64) -> bool {
    entry & (PRESENT | SWAPPED) != 0 && entry & FILE_OR_SHARED == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_memory_is_read_and_that_of_files_is_not() {
        static CONSTANT: [u8; 64] = [7; 64];
        let memory = Memory::open(std::process::id()).expect("own");
        let written: Vec<u8> = (0..=255).collect();
        let mut read = [0; 256];
        memory.read(&mut read, written.as_ptr() as u64).expect("it is there");
        assert_eq!(read.as_slice(), written.as_slice());
        // Constants are in the program's file.
        assert_eq!(memory.read(&mut [0; 8], (&raw const CONSTANT) as u64), None);
        for nowhere in [0, u64::MAX - 3, 1 << 62] {
            assert_eq!(memory.read(&mut [0; 8], nowhere), None, "{nowhere:x}");
        }
        assert_eq!(memory.read(&mut vec![0; 1 << 16], written.as_ptr() as u64), None, "more than is asked for");
    }

    #[test]
    fn what_is_not_there_is_not_waited_for() {
        assert!(is_free(PRESENT) && is_free(SWAPPED));
        assert!(!is_free(0) && !is_free(PRESENT | FILE_OR_SHARED));
    }
}
