//! Processes that attack a program which inspects them.

use std::process::{Command, Stdio};

use tracer_tests::{child::Guarded, guard, tracer::binary};

/// Declares gigabytes of its memory as its command line, which every process may do.
const HUGE_COMMAND_LINE: &str = "
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.sbrk.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
size = 8 << 30
start = libc.mmap(None, size, 1 | 2, 2 | 0x20 | 0x4000, -1, 0)
fields = open('/proc/self/stat').read().rsplit(')', 1)[1].split()
field = lambda number: int(fields[number - 3])
code, data, stack, environment = [(field(a), field(b)) for a, b in ((26, 27), (45, 46), (28, 28), (50, 51))]
words = [*code, *data, field(47), libc.sbrk(0), stack[0], start, start + size, *environment]
map = ctypes.create_string_buffer(struct.pack('<11QQII', *words, 0, 0, 0xffffffff))
assert libc.prctl(35, 14, map, ctypes.c_ulong(104), 0) == 0, ctypes.get_errno()
print('ready', flush=True)
input()
";

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_command_line_of_gigabytes_is_not_read() {
    let _guard = guard::live();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", HUGE_COMMAND_LINE]);
    let process = Guarded::start(&mut command).expect("it starts");
    process.expect("ready").expect("a kernel with CONFIG_CHECKPOINT_RESTORE");
    // The whole command line is sixteen times as large as the memory limit.
    let output = Command::new("prlimit")
        .arg("--data=536870912")
        .arg(binary().expect("pidtap"))
        .arg("no-such-name-anywhere")
        .stdin(Stdio::null())
        .output()
        .expect("prlimit starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("no process is named"), "{said}");
    drop(process);
}
