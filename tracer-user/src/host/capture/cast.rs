//! Replacement of a placeholder call in the probes by a kernel function.
//!
//! Kernel functions ("kfuncs") are called by their BTF ID in the running kernel. The compiler does not know the ID, and
//! aya does not resolve it. The object therefore calls a helper that does not exist, [`CAST_CALL`]. This module
//! rewrites these calls before aya loads the object.

use object::{Object as _, ObjectSection as _, SectionKind};
use tracer_common::control::CAST_CALL;
use zerocopy::IntoBytes as _;

/// Opcode of a call: `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_KFUNC_CALL`: the immediate is the BTF ID of a kernel function.
const KERNEL_FUNCTION: u8 = 2;
/// Length of an instruction in bytes: opcode, registers (destination in the low half), 16-bit offset, 32-bit immediate.
const INSTRUCTION: usize = 8;

/// An object file in memory with the alignment of ELF.
pub(super) struct Resolved {
    words: Vec<u64>,
    length: usize,
}

impl Resolved {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.words.as_bytes()[..self.length]
    }
}

/// Returns a copy of the object in which each [`CAST_CALL`] calls the kernel function of BTF ID `function`. Without an
/// ID the calls stay, and the verifier must find them unreachable. Returns `None` if `object` is no ELF object.
pub(super) fn resolve(object: &[u8], function: Option<u32>) -> Option<Resolved> {
    let mut words = vec![0_u64; object.len().div_ceil(size_of::<u64>())];
    let bytes = words.as_mut_bytes();
    bytes[..object.len()].copy_from_slice(object);
    if let Some(function) = function {
        let file = object::File::parse(object).ok()?;
        for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
            let (start, size) = section.file_range()?;
            let code = bytes.get_mut(start as usize..(start + size) as usize)?;
            for instruction in code.chunks_exact_mut(INSTRUCTION) {
                if instruction[..4] == [CALL, 0, 0, 0] && instruction[4..] == CAST_CALL.to_ne_bytes() {
                    instruction[1] = KERNEL_FUNCTION << 4;
                    instruction[4..].copy_from_slice(&function.to_ne_bytes());
                }
            }
        }
    }
    Some(Resolved { words, length: object.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::capture::load;

    fn calls(bytes: &[u8], registers: u8, number: u32) -> usize {
        let number = number.to_ne_bytes();
        bytes
            .chunks_exact(INSTRUCTION)
            .filter(|bytes| bytes[..4] == [CALL, registers, 0, 0] && bytes[4..] == number)
            .count()
    }

    #[test]
    fn every_call_of_the_cast_becomes_one_of_the_kernel_function() {
        if !load::carries_probes() {
            // Built without an eBPF linker. The tests with root reject such a build.
            return;
        }
        let cast = CAST_CALL.cast_unsigned();
        let as_built = resolve(load::PROBES, None).expect("an object");
        assert_eq!(as_built.bytes(), load::PROBES);
        let before = calls(as_built.bytes(), 0, cast);
        assert!(before > 10, "{before}");
        let resolved = resolve(load::PROBES, Some(0x0001_2345)).expect("an object");
        assert_eq!(calls(resolved.bytes(), 0, cast), 0);
        assert_eq!(calls(resolved.bytes(), KERNEL_FUNCTION << 4, 0x0001_2345), before);
        let changed = resolved.bytes().iter().zip(load::PROBES).filter(|(new, old)| new != old).count();
        assert!(changed <= before * 5, "nothing else has changed: {changed}");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(resolve(b"not an object", Some(1)).is_none());
        assert!(resolve(&[], Some(1)).is_none());
    }
}
