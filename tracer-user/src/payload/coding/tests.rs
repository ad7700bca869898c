use std::io::Write;

use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use proptest::prelude::*;

use super::*;

/// Long enough for several blocks and back-references, and not a repetition of one line.
fn sample() -> Vec<u8> {
    let mut text = Vec::new();
    for line in 0..4_000 {
        writeln!(text, "{{\"line\":{line},\"square\":{},\"text\":\"a line of a fixture\"}}", line * line)
            .expect("memory");
    }
    text
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn raw_deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn brotli(data: &[u8]) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
    encoder.write_all(data).expect("memory");
    encoder.into_inner()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(data, ruzstd::encoding::CompressionLevel::Fastest)
}

type Encoder = fn(&[u8]) -> Vec<u8>;
const ENCODERS: [(&str, Coding, Encoder); 6] = [
    ("gzip", Coding::Gzip, gzip),
    ("X-Gzip", Coding::Gzip, gzip),
    ("deflate", Coding::Deflate, zlib),
    ("deflate", Coding::Deflate, raw_deflate),
    ("br", Coding::Brotli, brotli),
    ("zstd", Coding::Zstd, zstd),
];

#[test]
fn each_coding_is_undone() {
    let data = sample();
    for (name, coding, encode) in ENCODERS {
        let encoded = encode(&data);
        let decoded = decode([name.as_bytes()], &encoded, DECODED_LIMIT);
        assert_eq!(decoded.end, End::Whole, "{name}");
        assert_eq!(decoded.undone, [coding]);
        assert_eq!(decoded.left, None);
        assert!(*decoded.bytes == data[..], "{name}");
    }
}

/// Made by other programs than the crates that decode them: gzip, CPython's `zlib`, Node's `zlib`, zstd.
#[test]
fn fixtures_of_other_encoders() {
    let plain = b"pidtap pidtap pidtap\n";
    let fixtures: [(&str, &[u8]); 4] = [
        ("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x2b\xc8\x4c\x29\x49\x2c\x50\x28\x40\xa6\xb8\x00\xc5\xe5\x60\xa1\x15\x00\x00\x00"),
        ("deflate", b"\x78\x9c\x2b\xc8\x4c\x29\x49\x2c\x50\x28\x40\xa6\xb8\x00\x59\x90\x07\xd1"),
        ("br", b"\x1b\x14\x00\xf8\x8d\x54\xb5\xbf\x84\x4b\x23\x6b\x05\x90\x30\x3a\xa5\x48\x3c\x91\xc0\xdd\x11"),
        ("zstd", b"\x28\xb5\x2f\xfd\x04\x58\x75\x00\x00\x40\x70\x69\x64\x74\x61\x70\x20\x0a\x01\x00\x3a\x8a\x11\x82\xe1\x8b\x72"),
    ];
    for (name, encoded) in fixtures {
        let decoded = decode([name.as_bytes()], encoded, DECODED_LIMIT);
        assert_eq!((decoded.end, &*decoded.bytes), (End::Whole, &plain[..]), "{name}");
    }
}

#[test]
fn several_codings_are_undone_last_first() {
    let encoded = brotli(&gzip(b"hello"));
    for values in [vec![&b"gzip, br"[..]], vec![&b"gzip"[..], b" BR "], vec![&b"gzip,, identity ,br"[..]]] {
        let decoded = decode(values, &encoded, DECODED_LIMIT);
        assert_eq!(
            (&*decoded.bytes, decoded.undone, decoded.left),
            (&b"hello"[..], vec![Coding::Gzip, Coding::Brotli], None)
        );
    }
}

#[test]
fn unknown_codings_are_left_and_named() {
    let encoded = gzip(b"hello");
    let decoded = decode([&b"compress"[..]], &encoded, DECODED_LIMIT);
    assert_eq!((&*decoded.bytes, decoded.left.as_deref()), (&encoded[..], Some("compress")));
    let decoded = decode([&b"aws-chunked, gzip"[..]], &encoded, DECODED_LIMIT);
    assert_eq!((&*decoded.bytes, decoded.left.as_deref()), (&b"hello"[..], Some("aws-chunked")));
    // A known one below an unknown one cannot be reached.
    let decoded = decode([&b"gzip, secret"[..]], &encoded, DECODED_LIMIT);
    assert_eq!((&*decoded.bytes, decoded.left.as_deref()), (&encoded[..], Some("gzip, secret")));
}

#[test]
fn a_body_that_is_not_what_the_header_says_stays_as_it_is() {
    for (name, ..) in ENCODERS {
        let decoded = decode([name.as_bytes()], b"\xff\xfe\xfdplain text, honestly", DECODED_LIMIT);
        assert_eq!(&*decoded.bytes, b"\xff\xfe\xfdplain text, honestly", "{name}");
        assert_eq!((decoded.end, decoded.left.as_deref()), (End::Damaged, Some(name)));
    }
}

#[test]
fn no_body_leaves_nothing_to_undo() {
    let decoded = decode([&b"gzip"[..]], b"", DECODED_LIMIT);
    assert_eq!((decoded.bytes.len(), decoded.left, decoded.end), (0, None, End::Whole));
}

#[test]
fn expansion_is_bounded_by_what_came() {
    let bomb = vec![b'a'; 3 << 20];
    for (name, _, encode) in ENCODERS {
        let encoded = encode(&bomb);
        let decoded = decode([name.as_bytes()], &encoded, DECODED_LIMIT);
        let bound = bound(encoded.len(), DECODED_LIMIT);
        assert!(bound <= 64 * 1024 + 20 * encoded.len());
        assert_eq!((decoded.bytes.len(), decoded.end), (bound, End::Bound), "{name}");
        let encoded = encode(b"exactly");
        let decoded = decode([name.as_bytes()], &encoded, 7);
        assert_eq!((&*decoded.bytes, decoded.end), (&b"exactly"[..], End::Whole), "{name}");
    }
    let encoded = gzip(&gzip(&bomb));
    let decoded = decode([&b"gzip,gzip"[..]], &encoded, DECODED_LIMIT);
    assert_eq!((decoded.bytes.len(), decoded.end), (bound(encoded.len(), DECODED_LIMIT), End::Bound));
    // What came is as large as the most of any: that is the bound.
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(2 << 20)
    .collect();
    let encoded = gzip(&noise);
    let decoded = decode([&b"gzip"[..]], &encoded, DECODED_LIMIT);
    assert_eq!((decoded.bytes.len(), decoded.end), (DECODED_LIMIT, End::Bound));
}

/// Each frame has a decoder of its own: a body of nothing but empty ones is no more work than its bytes are reckoned to be.
#[test]
fn many_empty_frames_come_to_an_end() {
    for (name, encode) in [("gzip", gzip as Encoder), ("zstd", zstd)] {
        let frame = encode(b"");
        let body = frame.repeat(64 * 1024 / frame.len());
        let decoded = decode([name.as_bytes()], &body, DECODED_LIMIT);
        assert_eq!((decoded.bytes.len(), decoded.end), (0, End::Whole), "{name}");
    }
}

#[test]
fn a_cut_body_is_decoded_as_far_as_it_goes() {
    let data = sample();
    for (name, _, encode) in ENCODERS {
        let encoded = encode(&data);
        for cut in (1..encoded.len()).step_by(encoded.len() / 50) {
            let (bytes, end) = undo(name.parse().expect("known"), &encoded[..cut], DECODED_LIMIT);
            assert_eq!(end, End::Short, "{name} cut at {cut} of {}", encoded.len());
            assert!(data.starts_with(&bytes), "{name} cut at {cut}");
        }
        // A zstd block is 128 KiB of content, and only whole ones can be decoded.
        let (bytes, _) = undo(name.parse().expect("known"), &encoded[..encoded.len() * 3 / 4], DECODED_LIMIT);
        assert!(bytes.len() > data.len() / 3, "{name}: {} of {}", bytes.len(), data.len());
    }
}

#[test]
fn frames_and_members_follow_each_other() {
    for (name, encode) in [("gzip", gzip as Encoder), ("zstd", zstd)] {
        let mut encoded = encode(b"one ");
        if name == "zstd" {
            encoded.extend_from_slice(b"\x53\x2a\x4d\x18\x03\x00\x00\x00xyz");
        }
        encoded.extend_from_slice(&encode(b"two"));
        let decoded = decode([name.as_bytes()], &encoded, DECODED_LIMIT);
        assert_eq!((&*decoded.bytes, decoded.end), (&b"one two"[..], End::Whole), "{name}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_bounded_and_harmless(
        body in prop::collection::vec(any::<u8>(), 0..2_000),
        which in 0..ENCODERS.len(),
        magic in any::<bool>(),
        limit in 0_usize..5_000,
    ) {
        let (name, _, encode) = ENCODERS[which];
        let mut input = body.clone();
        if magic {
            // Past the magic number, where the damage is more interesting.
            let head = encode(b"x");
            input.splice(0..0, head[..head.len().min(6)].iter().copied());
        }
        let decoded = decode([name.as_bytes()], &input, limit);
        prop_assert!(decoded.undone.is_empty() || decoded.bytes.len() <= limit);
    }

    #[test]
    fn damaged_streams_are_harmless(
        data in prop::collection::vec(0_u8..8, 1..3_000),
        which in 0..ENCODERS.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (name, _, encode) = ENCODERS[which];
        let mut encoded = encode(&data);
        for (index, byte) in damage {
            let index = index.index(encoded.len());
            encoded[index] = byte;
        }
        decode([name.as_bytes()], &encoded, 1 << 16);
    }

    #[test]
    fn any_data_comes_back(data in prop::collection::vec(any::<u8>(), 0..5_000), which in 0..ENCODERS.len()) {
        let (name, _, encode) = ENCODERS[which];
        let encoded = encode(&data);
        let decoded = decode([name.as_bytes()], &encoded, DECODED_LIMIT);
        prop_assert_eq!(&*decoded.bytes, &data[..]);
        prop_assert_eq!(decoded.end, End::Whole);
    }
}
