//! Offsets in kernel structures, set by user space: see `tracer_common::offset`.

use aya_ebpf::Global;

// The loader finds the number by its exported name, and an exported item never counts as unused. The constant does: an
// offset that no probe reads is a warning, not a reason why the probes fail to load on a kernel without that member.
macro_rules! declare {
    ($($name:ident = $structure:ident . $member:literal,)*) => {
        $(pub(crate) const $name: &Global<u32> = {
            #[unsafe(no_mangle)]
            static $name: Global<u32> = Global::new(0);
            &$name
        };)*
    };
}

tracer_common::for_each_offset!(declare);
