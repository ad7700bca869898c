//! Search for bytes that need an escape, sixteen at a time.
//!
//! This is the inner loop of JSON output. On x86-64 it uses SSE2, which every such processor has; elsewhere integers of
//! eight bytes.

/// First byte of the C1 controls U+0080 to U+009F in UTF-8.
pub(super) const C1_LEAD: u8 = 0xC2;
/// Bytes of a step.
pub(super) const STEP: usize = 16;

/// First bytes in UTF-8 of characters that hide text (see `visible::is_disguise`), without [`C1_LEAD`] and adjacent
/// ones.
const LEADS: [u8; 3] = [0xD8, 0xEF, 0xF3];
/// Three adjacent ones.
const FIRST_OF_THREE: u8 = 0xE1;

/// True where the byte needs an escape, or may begin a character that does.
pub(super) fn is_special(byte: u8) -> bool {
    byte < 0x20
        || matches!(byte, b'"' | b'\\' | 0x7f | C1_LEAD)
        || LEADS.contains(&byte)
        || byte.wrapping_sub(FIRST_OF_THREE) < 3
}

/// True where `text` is ASCII and needs no escape, as nearly all short strings.
pub(super) fn is_plain(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk::<STEP>() else {
        return match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
            // The two overlap and cover everything.
            (Some(first), Some(last)) => wide::is_plain(*first) && wide::is_plain(*last),
            _ => text.iter().all(|&byte| byte < 0x80 && !is_special(byte)),
        };
    };
    text.as_chunks::<STEP>().0.iter().all(lanes::is_plain) && lanes::is_plain(last)
}

/// Bit `n` is set where byte `n` is special; above the lowest set bit, bits may be set that should not.
pub(super) use lanes::special;

#[cfg(target_arch = "x86_64")]
mod lanes {
    use core::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
        _mm_sub_epi8,
    };

    use super::{C1_LEAD, FIRST_OF_THREE, LEADS, STEP};

    /// Bytes equal to `byte`.
    #[target_feature(enable = "sse2")]
    fn equal(lanes: __m128i, byte: u8) -> __m128i {
        _mm_cmpeq_epi8(lanes, _mm_set1_epi8(byte.cast_signed()))
    }

    pub(super) fn is_plain(chunk: &[u8; STEP]) -> bool {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { is_plain_sse2(chunk) }
    }

    pub(in super::super) fn special(chunk: &[u8; STEP]) -> u32 {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { special_sse2(chunk) }
    }

    #[target_feature(enable = "sse2")]
    fn is_plain_sse2(chunk: &[u8; STEP]) -> bool {
        let lanes: __m128i = zerocopy::transmute!(*chunk);
        // Signed: bytes from 0x80 on are negative.
        let control_or_not_ascii = _mm_cmplt_epi8(lanes, _mm_set1_epi8(0x20));
        let quote = _mm_or_si128(equal(lanes, b'"'), equal(lanes, b'\\'));
        let found = _mm_or_si128(_mm_or_si128(control_or_not_ascii, quote), equal(lanes, 0x7f));
        _mm_movemask_epi8(found) == 0
    }

    #[target_feature(enable = "sse2")]
    fn special_sse2(chunk: &[u8; STEP]) -> u32 {
        let lanes: __m128i = zerocopy::transmute!(*chunk);
        let control = _mm_cmpeq_epi8(_mm_min_epu8(lanes, _mm_set1_epi8(0x1f)), lanes);
        let quote = _mm_or_si128(equal(lanes, b'"'), equal(lanes, b'\\'));
        let other = _mm_or_si128(equal(lanes, 0x7f), equal(lanes, C1_LEAD));
        let offset = _mm_sub_epi8(lanes, _mm_set1_epi8(FIRST_OF_THREE.cast_signed()));
        let three = _mm_cmpeq_epi8(_mm_min_epu8(offset, _mm_set1_epi8(2)), offset);
        let leads = _mm_or_si128(_mm_or_si128(equal(lanes, LEADS[0]), equal(lanes, LEADS[1])), equal(lanes, LEADS[2]));
        let other = _mm_or_si128(_mm_or_si128(other, three), leads);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(control, quote), other)).cast_unsigned()
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod lanes {
    use super::{STEP, wide};

    pub(super) fn is_plain(chunk: &[u8; STEP]) -> bool {
        let (words, _) = chunk.as_chunks::<8>();
        words.iter().all(|word| wide::is_plain(*word))
    }

    pub(in super::super) fn special(chunk: &[u8; STEP]) -> u32 {
        let (words, _) = chunk.as_chunks::<8>();
        words.iter().rev().fold(0, |mask, word| mask << 8 | wide::special(*word))
    }
}

/// Eight bytes in an integer. Each test leaves the high bit of a byte set where the byte matches; above the first match
/// there may be false ones, so only whether there is one, and where the first is, counts.
mod wide {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;

    fn equal(word: u64, byte: u8) -> u64 {
        let difference = word ^ (ONES * u64::from(byte));
        difference.wrapping_sub(ONES) & !difference
    }

    fn special_ascii(word: u64) -> u64 {
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        control | equal(word, b'"') | equal(word, b'\\') | equal(word, 0x7f)
    }

    pub(super) fn is_plain(bytes: [u8; 8]) -> bool {
        let word = u64::from_le_bytes(bytes);
        (special_ascii(word) | word) & HIGHS == 0
    }

    #[cfg(any(test, not(target_arch = "x86_64")))]
    pub(super) fn special(bytes: [u8; 8]) -> u32 {
        let word = u64::from_le_bytes(bytes);
        let leads = super::LEADS.into_iter().chain(super::FIRST_OF_THREE..super::FIRST_OF_THREE + 3);
        let found =
            leads.fold(special_ascii(word) | equal(word, super::C1_LEAD), |found, lead| found | equal(word, lead));
        let found = found & HIGHS;
        // Gathers one bit of each byte in the highest byte.
        ((found >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_ways_agree_with_the_plain_one(
            text in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b'a'), Just(0x1f), Just(0x7f), Just(0xc2), Just(0xe0), Just(0xe2), Just(0xe3), Just(0xe4), Just(0xef), Just(0xf3), Just(0xd8)], 0..40),
        ) {
            prop_assert_eq!(is_plain(&text), text.iter().all(|&byte| byte < 0x80 && !is_special(byte)));
            if let Some(chunk) = text.first_chunk::<STEP>() {
                let first = chunk.iter().position(|&byte| is_special(byte));
                let found = special(chunk);
                prop_assert_eq!((found != 0).then_some(found.trailing_zeros() as usize), first);
            }
            if let Some(chunk) = text.first_chunk::<8>() {
                let first = chunk.iter().position(|&byte| is_special(byte));
                let found = wide::special(*chunk);
                prop_assert_eq!((found != 0).then_some(found.trailing_zeros() as usize), first);
            }
        }
    }
}
