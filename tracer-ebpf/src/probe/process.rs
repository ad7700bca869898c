//! Life of processes. Children of targets are targets from their first instruction.

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use tracer_common::event::{ProcessEvent, flag, kind, loss, process};

use crate::{
    emit,
    maps::{FOLLOW, OWNED, OWNER_GID, OWNER_UID},
    memory::{kernel, pointer},
    offset::{
        CRED_EGID, CRED_EUID, CRED_GID, CRED_PERMITTED, CRED_SGID, CRED_SUID, CRED_UID, SIGNAL_LIVE, TASK_CRED,
        TASK_EXIT_CODE, TASK_SIGNAL, TASK_TGID,
    },
    target,
};

#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub(crate) fn sched_process_fork(context: RawTracePointContext) -> i32 {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if FOLLOW.load() == 0 || !target::is_traced(tgid) {
        return 0;
    }
    let child = unsafe { *context.as_ptr().cast::<u64>().add(1) };
    match kernel::<u32>(child, TASK_TGID) {
        // A new thread.
        Some(child) if child == tgid => {}
        Some(child) => {
            if target::add(child) {
                report(process::FORK, child, 0);
            } else {
                emit::lose(loss::MAP_FULL, 0);
            }
        }
        None => emit::lose(loss::KERNEL_READ, 0),
    }
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub(crate) fn sched_process_exec(context: RawTracePointContext) -> i32 {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if !target::is_traced(tgid) {
        return 0;
    }
    // The tracepoint fires after the change of credentials (`begin_new_exec` in fs/exec.c) and before the first
    // instruction of the program.
    let task = unsafe { *context.as_ptr().cast::<u64>() };
    if OWNED.load() != 0 && !is_owned(task) {
        target::remove(tgid);
        send(flag::REFUSED, process::EXEC, 0, 0);
    } else {
        report(process::EXEC, 0, 0);
    }
    0
}

/// Whether a task has only the owner's IDs and no capabilities. Only an `exec` can change that.
#[inline(always)]
fn is_owned(task: u64) -> bool {
    let Some(cred) = pointer(task, TASK_CRED) else { return false };
    let is = |offset, id| kernel::<u32>(cred, offset) == Some(id);
    let (user, group) = (OWNER_UID.load(), OWNER_GID.load());
    is(CRED_UID, user)
        && is(CRED_EUID, user)
        && is(CRED_SUID, user)
        && is(CRED_GID, group)
        && is(CRED_EGID, group)
        && is(CRED_SGID, group)
        && kernel::<u64>(cred, CRED_PERMITTED) == Some(0)
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub(crate) fn sched_process_exit(context: RawTracePointContext) -> i32 {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if !target::is_traced(tgid) {
        return 0;
    }
    let task = unsafe { *context.as_ptr().cast::<u64>() };
    // The counter is decremented before the tracepoint, so it is 0 for the last thread.
    let live = pointer(task, TASK_SIGNAL).and_then(|signal| kernel::<i32>(signal, SIGNAL_LIVE));
    if live == Some(0) {
        target::remove(tgid);
        report(process::EXIT, 0, kernel(task, TASK_EXIT_CODE).unwrap_or(0));
    }
    0
}

#[inline(always)]
fn report(action: u8, other_tgid: u32, exit_code: i32) {
    send(0, action, other_tgid, exit_code);
}

#[inline(always)]
fn send(flags: u16, action: u8, other_tgid: u32, exit_code: i32) {
    emit::send(ProcessEvent {
        header: emit::header(kind::PROCESS, flags, size_of::<ProcessEvent>()),
        other_tgid,
        exit_code,
        action,
        reserved: [0; 7],
        name: bpf_get_current_comm().unwrap_or([0; 16]),
    });
}
