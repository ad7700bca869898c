//! The life of processes: children of targets are targets from their first instruction on.

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use tracer_common::event::{ProcessEvent, kind, loss, process};

use crate::{
    emit,
    maps::FOLLOW,
    memory::{kernel, pointer},
    offset::{SIGNAL_LIVE, TASK_EXIT_CODE, TASK_SIGNAL, TASK_TGID},
    target,
};

#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub(crate) fn sched_process_fork(context: RawTracePointContext) -> i32 {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if FOLLOW.load() == 0 || !target::is_traced(tgid) {
        return 0;
    }
    let child = unsafe { *context.as_ptr().cast::<u64>().add(1) };
    match kernel::<u32>(child, &TASK_TGID) {
        // A thread.
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
pub(crate) fn sched_process_exec(_context: RawTracePointContext) -> i32 {
    if target::is_traced((bpf_get_current_pid_tgid() >> 32) as u32) {
        report(process::EXEC, 0, 0);
    }
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub(crate) fn sched_process_exit(context: RawTracePointContext) -> i32 {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if !target::is_traced(tgid) {
        return 0;
    }
    let task = unsafe { *context.as_ptr().cast::<u64>() };
    // Counted down before the tracepoint: 0 for the last thread.
    let live = pointer(task, &TASK_SIGNAL).and_then(|signal| kernel::<i32>(signal, &SIGNAL_LIVE));
    if live == Some(0) {
        target::remove(tgid);
        report(process::EXIT, 0, kernel(task, &TASK_EXIT_CODE).unwrap_or(0));
    }
    0
}

#[inline(always)]
fn report(action: u8, other_tgid: u32, exit_code: i32) {
    emit::send(ProcessEvent {
        header: emit::header(kind::PROCESS, 0, size_of::<ProcessEvent>()),
        other_tgid,
        exit_code,
        action,
        reserved: [0; 7],
        name: bpf_get_current_comm().unwrap_or([0; 16]),
    });
}
