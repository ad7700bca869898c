//! Members of kernel structures that the probes read.
//!
//! Rust has no CO-RE relocations. User space looks up each member in the kernel's BTF and sets the read-only global of
//! the same name before it loads the probes.

/// A member of a kernel structure and the read-only global (`u32`) that holds its offset in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// Name of the read-only global.
    pub global: &'static str,
    /// Name of the kernel structure.
    pub structure: &'static str,
    /// Path of the member, with dots between nested members. The look-up descends into unnamed structures and unions.
    pub member: &'static str,
}

/// Passes the table of members to a macro: `GLOBAL = structure."member",` for each.
///
/// The probes declare their read-only numbers with it, user space makes [`OFFSETS`] with it.
#[macro_export]
macro_rules! for_each_offset {
    ($declare:ident) => {
        $declare! {
            TASK_FILES = task_struct."files",
            TASK_PID = task_struct."pid",
            TASK_TGID = task_struct."tgid",
            TASK_EXIT_CODE = task_struct."exit_code",
            TASK_SIGNAL = task_struct."signal",
            TASK_CRED = task_struct."cred",
            CRED_UID = cred."uid",
            CRED_EUID = cred."euid",
            CRED_SUID = cred."suid",
            CRED_GID = cred."gid",
            CRED_EGID = cred."egid",
            CRED_SGID = cred."sgid",
            CRED_PERMITTED = cred."cap_permitted",
            SIGNAL_LIVE = signal_struct."live",
            FILES_FDT = files_struct."fdt",
            FDT_MAX_FDS = fdtable."max_fds",
            FDT_FD = fdtable."fd",
            FILE_INODE = file."f_inode",
            INODE_NUMBER = inode."i_ino",
            SOCKET_TYPE = socket."type",
            SOCKET_FILE = socket."file",
            SOCKET_SK = socket."sk",
            SOCKET_ALLOC_INODE = socket_alloc."vfs_inode",
            SK_FAMILY = sock."__sk_common.skc_family",
            SK_STATE = sock."__sk_common.skc_state",
            SK_FLAGS = sock."__sk_common.skc_flags",
            SK_REMOTE_V4 = sock."__sk_common.skc_daddr",
            SK_LOCAL_V4 = sock."__sk_common.skc_rcv_saddr",
            SK_REMOTE_V6 = sock."__sk_common.skc_v6_daddr",
            SK_LOCAL_V6 = sock."__sk_common.skc_v6_rcv_saddr",
            SK_REMOTE_PORT = sock."__sk_common.skc_dport",
            SK_LOCAL_PORT = sock."__sk_common.skc_num",
            SK_NET = sock."__sk_common.skc_net",
            SK_SHUTDOWN = sock."sk_shutdown",
            SK_PROTOCOL = sock."sk_protocol",
            SK_SOCKET = sock."sk_socket",
            SK_ERROR = sock."sk_err",
            NET_INUM = net."ns.inum",
            TCP_WRITE_SEQ = tcp_sock."write_seq",
            TCP_COPIED_SEQ = tcp_sock."copied_seq",
            TCP_RCV_NXT = tcp_sock."rcv_nxt",
            UNIX_ADDRESS = unix_sock."addr",
            UNIX_PEER = unix_sock."peer",
            UNIX_ADDRESS_LENGTH = unix_address."len",
            UNIX_ADDRESS_NAME = unix_address."name",
        }
    };
}

macro_rules! list {
    ($($global:ident = $structure:ident . $member:literal,)*) => {
        /// Every member that the probes read.
        pub const OFFSETS: &[Offset] = &[
            $(Offset { global: stringify!($global), structure: stringify!($structure), member: $member },)*
        ];
    };
}

for_each_offset!(list);
