//! Life of TCP connections. The tracepoints fire in any context.

use aya_ebpf::{
    EbpfContext as _, bindings::BPF_NOEXIST, helpers::bpf_get_current_pid_tgid, macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use tracer_common::{
    control::{Connection, connection as known},
    event::{TcpEvent, flag, kind, loss, tcp, tcp_state},
};

use crate::{
    connection, emit,
    maps::CONNECTIONS,
    memory::kernel,
    offset::{SK_ERROR, SK_PROTOCOL},
    socket, target,
    value::Positions,
};

const IPPROTO_TCP: u16 = 6;
const IPPROTO_MPTCP: u16 = 262;
/// `TCP_NEW_SYN_RECV`: the socket is no full `struct sock`, as in `TIME_WAIT`.
const NEW_SYN_RECV: u8 = 12;

#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub(crate) fn inet_sock_set_state(context: RawTracePointContext) -> i32 {
    let arguments = context.as_ptr().cast::<u64>();
    let (sk, old, new) = unsafe { (*arguments, *arguments.add(1) as u8, *arguments.add(2) as u8) };
    let protocol = kernel::<u16>(sk, SK_PROTOCOL).unwrap_or(0);
    if protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP {
        return 0;
    }
    let Some(inode) = socket::inode_of(sk) else { return 0 };
    if let Some(entry) = CONNECTIONS.get_ptr(inode) {
        if protocol == IPPROTO_TCP && is_subflow(sk, unsafe { (*entry).flags }) {
            return 0;
        }
    } else {
        // A connection that a target initiates is followed from here, as its `connect` may return before or after the
        // connection is established, or never.
        if new != tcp_state::SYN_SENT
            || socket::is_lent(sk)
            || !target::is_traced((bpf_get_current_pid_tgid() >> 32) as u32)
        {
            return 0;
        }
        let value = Connection { sent: 0, received: 0, flags: 0, family: 0, protocol: 0 };
        if CONNECTIONS.insert(inode, value, u64::from(BPF_NOEXIST)).is_err() {
            emit::lose(loss::MAP_FULL, 0);
        }
    }
    // The tracepoint fires before the new state takes effect, so its FIN is not queued yet.
    report(sk, inode, tcp::STATE, old, new, protocol == IPPROTO_MPTCP);
    0
}

/// Whether a TCP socket is a subflow of an MPTCP connection. It has the inode of the MPTCP socket (`mptcp_sock_graft`),
/// but its own sequence numbers and end. `flags` are those of the connection with this inode.
#[inline(always)]
fn is_subflow(sk: u64, flags: u32) -> bool {
    if flags & known::ANNOUNCED != 0 { flags & known::SEQUENCE == 0 } else { socket::is_lent(sk) }
}

#[raw_tracepoint(tracepoint = "tcp_retransmit_skb")]
pub(crate) fn tcp_retransmit_skb(context: RawTracePointContext) -> i32 {
    segment(&context, tcp::RETRANSMIT)
}

#[raw_tracepoint(tracepoint = "tcp_receive_reset")]
pub(crate) fn tcp_receive_reset(context: RawTracePointContext) -> i32 {
    segment(&context, tcp::RESET_RECEIVED)
}

#[raw_tracepoint(tracepoint = "tcp_send_reset")]
pub(crate) fn tcp_send_reset(context: RawTracePointContext) -> i32 {
    segment(&context, tcp::RESET_SENT)
}

/// Handles a tracepoint whose first argument is the socket in all kernels that have it; it may be null.
#[inline(always)]
fn segment(context: &RawTracePointContext, what: u8) -> i32 {
    let sk = unsafe { *context.as_ptr().cast::<u64>() };
    if sk == 0 {
        return 0;
    }
    let state = connection::state(sk);
    if state == tcp_state::TIME_WAIT || state == NEW_SYN_RECV {
        return 0;
    }
    let Some(inode) = socket::inode_of(sk) else { return 0 };
    if let Some(entry) = CONNECTIONS.get_ptr(inode)
        && !is_subflow(sk, unsafe { (*entry).flags })
    {
        report(sk, inode, what, state, state, false);
    }
    0
}

#[inline(always)]
fn report(sk: u64, inode: u64, what: u8, old_state: u8, new_state: u8, counted: bool) {
    // There are no positions before the handshake, and none for MPTCP sockets.
    let positions =
        if counted || new_state == tcp_state::SYN_SENT { None } else { connection::tcp_positions(sk, old_state) };
    let flags = if counted {
        flag::COUNTED
    } else if positions.is_some() {
        flag::SEQUENCE
    } else {
        0
    };
    let Positions { send, receive } = positions.unwrap_or(Positions { send: 0, receive: 0 });
    emit::send(TcpEvent {
        header: emit::header(kind::TCP, flags, size_of::<TcpEvent>()),
        connection: inode,
        send_position: send,
        receive_position: receive,
        error: kernel(sk, SK_ERROR).unwrap_or(0),
        what,
        old_state,
        new_state,
        reserved: 0,
    });
}
