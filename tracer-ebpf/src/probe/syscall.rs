//! `raw_tracepoint/sys_exit`: every system call of the machine, as it returns.
//!
//! One hook is enough: registers still hold number and arguments, the length really moved is known, the pages were
//! just touched, and a call that was already blocked when tracing began is seen too.

use aya_ebpf::{
    EbpfContext as _, helpers::bpf_get_current_pid_tgid, macros::raw_tracepoint, programs::RawTracePointContext,
};
use tracer_common::syscall;

use super::{data, descriptor};
use crate::{arch, target};

const EINTR: i64 = -4;
const EAGAIN: i64 = -11;
/// `ERESTARTSYS` to `ERESTART_RESTARTBLOCK`: the call will be made again, or give `EINTR` in the end.
const RESTART_LAST: i64 = -516;
const RESTART_FIRST: i64 = -512;

#[raw_tracepoint(tracepoint = "sys_exit")]
pub(crate) fn sys_exit(context: RawTracePointContext) -> i32 {
    // In this order: what all others pay for comes first and is least.
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if !target::may_be_traced(tgid) {
        return 0;
    }
    let arguments = context.as_ptr().cast::<u64>();
    let (registers, result) = unsafe { (*arguments, *arguments.add(1) as i64) };
    if result == EAGAIN || result == EINTR || (RESTART_LAST..=RESTART_FIRST).contains(&result) {
        return 0;
    }
    // Most calls of a target are none of ours, and telling that is cheaper than looking the target up.
    if let Some(call) = arch::call(registers)
        && target::is_target(tgid)
    {
        if call.code <= syscall::LAST_DATA {
            data::moved(&call, result);
        } else {
            descriptor::changed(&call, result);
        }
    }
    0
}
