//! Program and command line of a process.
//!
//! The scan covers processes of all users, which control these data. Every read is bounded, and no file of a process is
//! opened: its file system (FUSE) may never answer, and a process that waits for it cannot be killed.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

/// Maximum number of bytes read of a command line. A process may declare gigabytes of its memory as its command line
/// (`PR_SET_MM_MAP`).
const COMMAND_LINE_LIMIT: u64 = 32 * 1024;
/// Maximum number of bytes read of the auxiliary vector. The kernel keeps fewer than 100 entries of 16 bytes
/// (`AT_VECTOR_SIZE`).
const AUXILIARY_LIMIT: u64 = 4096;

/// Key of the size of a program header entry, which differs between 32-bit and 64-bit programs.
const AT_PHENT: u64 = 4;
/// Sizes of `Elf32_Phdr` and `Elf64_Phdr` in bytes.
const PHENT_32: u64 = 32;
const PHENT_64: u64 = 56;

/// Arguments of a process's command line, up to the limit.
pub(super) fn command_line(pid: u32) -> Vec<String> {
    let Ok(bytes) = read_bounded(pid, "cmdline", COMMAND_LINE_LIMIT) else { return Vec::new() };
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Base name of the executable of a process, without the mark of a deleted file.
pub(super) fn program_name(pid: u32) -> Option<String> {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let bytes = exe.as_os_str().as_bytes();
    let path = Path::new(OsStr::from_bytes(bytes.strip_suffix(b" (deleted)").unwrap_or(bytes)));
    Some(path.file_name()?.to_string_lossy().into_owned())
}

/// Whether a process runs a 32-bit program, which has other system call numbers. False if unknown.
pub fn is_32_bit(pid: u32) -> bool {
    read_bounded(pid, "auxv", AUXILIARY_LIMIT).is_ok_and(|auxiliary| has_32_bits(&auxiliary))
}

/// Decides by the auxiliary vector, which the kernel created at the last `exec`: pairs of words of the program's width.
/// Both widths are little-endian, as on all supported processors.
fn has_32_bits(auxiliary: &[u8]) -> bool {
    let (wide, _) = auxiliary.as_chunks::<16>();
    let is_wide =
        wide.iter().any(|pair| u128::from_le_bytes(*pair) == u128::from(PHENT_64) << 64 | u128::from(AT_PHENT));
    let (narrow, _) = auxiliary.as_chunks::<8>();
    !is_wide && narrow.iter().any(|pair| u64::from_le_bytes(*pair) == PHENT_32 << 32 | AT_PHENT)
}

/// Reads the first `limit` bytes of a file of the process in `/proc`.
pub(crate) fn read_bounded(pid: u32, file: &str, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(format!("/proc/{pid}/{file}"))?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_auxiliary_vector_tells_how_wide_a_program_is() {
        // AT_SYSINFO_EHDR, AT_PHDR, AT_PHENT and AT_NULL in both widths, as the kernel writes them.
        let entries: [(u64, u64); 4] = [(33, 0xf7f2_6000), (3, 0x0804_8034), (4, 0), (0, 0)];
        let vector = |size: u64, bytes: usize| {
            let words = entries.iter().flat_map(|(key, value)| [*key, if *key == AT_PHENT { size } else { *value }]);
            words.flat_map(|word| word.to_le_bytes()[..bytes].to_vec()).collect::<Vec<u8>>()
        };
        assert!(has_32_bits(&vector(PHENT_32, 4)));
        assert!(!has_32_bits(&vector(PHENT_64, 8)));
        for odd in [&b""[..], b"\x04", &[0; 4096], &vector(PHENT_32, 4)[..20]] {
            assert!(!has_32_bits(odd), "{odd:?}");
        }
        assert!(!is_32_bit(std::process::id()));
    }

    #[test]
    fn a_command_line_is_read_up_to_a_bound() {
        let long = "x".repeat(100_000);
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "echo; read line", &long]);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().expect("sh starts");
        // The parent may run before `exec` has stored the arguments (`create_elf_tables`).
        child.stdout.take().expect("piped").read_exact(&mut [0]).expect("it says something");
        let words = command_line(child.id());
        child.kill().expect("ours");
        child.wait().expect("ours");
        assert_eq!(words[..3], ["sh", "-c", "echo; read line"]);
        assert_eq!(words[3].len() as u64, COMMAND_LINE_LIMIT - "sh\0-c\0echo; read line\0".len() as u64);
    }
}
