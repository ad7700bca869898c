//! `raw_tracepoint/sys_exit`: every system call of the machine, as it returns.
//!
//! One hook is enough: registers still hold number and arguments, the length really moved is known, the pages were
//! just touched, and a call that was already blocked when tracing began is seen too.

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
/// `ERESTARTSYS` to `ERESTART_RESTARTBLOCK`: the call will be made again, or give `EINTR` in the end.
const RESTART_LAST: i64 = -516;
const RESTART_FIRST: i64 = -512;

#[raw_tracepoint(tracepoint = "sys_exit")]
pub(crate) fn sys_exit(context: RawTracePointContext) -> i32 {
    // In this order: what every call of the machine pays for comes first and is least. Most calls are none of ours, and
    // telling that takes no helper call, which even the question who runs does.
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
