//! Offsets in kernel structures, set by user space: see `tracer_common::offset`.

use aya_ebpf::Global;

macro_rules! offsets {
    ($($name:ident)*) => {
        $(#[unsafe(no_mangle)] pub(crate) static $name: Global<u32> = Global::new(0);)*
    };
}

offsets! {
    TASK_FILES TASK_PID TASK_TGID TASK_EXIT_CODE TASK_SIGNAL SIGNAL_LIVE
    FILES_FDT FDT_MAX_FDS FDT_FD FILE_INODE INODE_NUMBER
    SOCKET_TYPE SOCKET_FILE SOCKET_SK SOCKET_ALLOC_INODE
    SK_FAMILY SK_STATE SK_FLAGS SK_REMOTE_V4 SK_LOCAL_V4 SK_REMOTE_V6 SK_LOCAL_V6 SK_REMOTE_PORT SK_LOCAL_PORT
    SK_NET SK_SHUTDOWN SK_PROTOCOL SK_SOCKET SK_ERROR SK_PEER_PID NET_INUM
    TCP_WRITE_SEQ TCP_COPIED_SEQ TCP_RCV_NXT
    UNIX_ADDRESS UNIX_PEER UNIX_ADDRESS_LENGTH UNIX_ADDRESS_NAME PID_NUMBERS
}
