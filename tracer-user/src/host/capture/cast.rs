//! Puts a kernel function where the probes mean one.
//!
//! Kernel functions ("kfuncs") are called by their number in the kernel's BTF, which neither the compiler knows nor aya
//! fills in. The object therefore calls a helper that does not exist, [`CAST_CALL`]; here its instruction is made the
//! one that is meant, before aya sees the object.

use object::{Object as _, ObjectSection as _, SectionKind};
use tracer_common::control::CAST_CALL;
use zerocopy::IntoBytes as _;

/// Code of a call: `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_KFUNC_CALL`: the call's number is that of a kernel function.
const KERNEL_FUNCTION: u8 = 2;
/// Bytes of an instruction: code, registers (destination in the low half), 16-bit offset, 32-bit number.
const INSTRUCTION: usize = 8;

/// An object file in memory, aligned as ELF wants it.
pub(super) struct Resolved {
    words: Vec<u64>,
    length: usize,
}

impl Resolved {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.words.as_bytes()[..self.length]
    }
}

/// The object with every [`CAST_CALL`] made a call of the kernel function with this BTF number. Without one, such calls
/// stay as they are: the verifier must find that they are never reached. None where `object` is no ELF object.
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
            // Built without a linker for eBPF; the tests with root refuse that.
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
