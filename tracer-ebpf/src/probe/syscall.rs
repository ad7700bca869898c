//! `raw_tracepoint/sys_exit`: every system call of the machine at its return.
//!
//! One hook suffices: the registers still hold number and arguments, the moved length is known, the pages were just
//! used, and calls that were blocked when tracing began are included.

use aya_ebpf::{EbpfContext as _, macros::raw_tracepoint, programs::RawTracePointContext};
use tracer_common::syscall;

use super::{data, descriptor};
use crate::{
    arch,
    maps::DIRECT,
    target::{self, Task},
};

const EINTR: i64 = -4;
const EAGAIN: i64 = -11;
/// `ERESTARTSYS` to `ERESTART_RESTARTBLOCK`: the call is restarted, or finally returns `EINTR`.
const RESTART_LAST: i64 = -516;
const RESTART_FIRST: i64 = -512;

#[raw_tracepoint(tracepoint = "sys_exit")]
pub(crate) fn sys_exit(context: RawTracePointContext) -> i32 {
    // The order matters: checks that every call of the machine pays for come first and are the cheapest. Most calls are
    // ignored, and this takes no helper call, while even reading the current process does.
    let arguments = context.as_ptr().cast::<u64>();
    let (registers, result) = unsafe { (*arguments, *arguments.add(1) as i64) };
    if result == EAGAIN || result == EINTR || (RESTART_LAST..=RESTART_FIRST).contains(&result) {
        return 0;
    }
    if DIRECT.load() != 0 && arch::code(registers).is_none() {
        return 0;
    }
    let task = Task::current();
    if !target::may_be_traced(task.tgid) {
        return 0;
    }
    if let Some(call) = arch::call(registers)
        && target::is_target(task.tgid)
    {
        if call.code <= syscall::LAST_DATA {
            data::moved(task, &call, result);
        } else {
            descriptor::changed(task, &call, result);
        }
    }
    0
}
