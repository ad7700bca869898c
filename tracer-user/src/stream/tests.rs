use std::fmt::Write as _;

use super::*;

fn segment(position: u64, payload: &[u8], missing: u64, time: u64) -> Segment<'_> {
    let mark = Mark { time: Timestamp(time), position, boundary: true, ..Mark::default() };
    Segment { mark, payload, missing, cause: GapCause::CaptureLimit }
}

/// Pushes a segment and appends the output as text: bytes, and gaps as `<length cause>`.
fn push(stream: &mut Stream, segment: Segment<'_>, out: &mut String) {
    stream.push(segment, &mut |piece| show(piece, out));
}

fn show(piece: Piece<'_>, out: &mut String) {
    match piece {
        Piece::Bytes(bytes, _) => out.push_str(&String::from_utf8_lossy(bytes)),
        Piece::Gap(length, cause, _) => write!(out, "<{length} {cause:?}>").unwrap(),
    }
}

#[test]
fn order_is_restored_and_repetition_dropped() {
    let (mut stream, mut out) = (Stream::default(), String::new());
    push(&mut stream, segment(100, b"ab", 0, 0), &mut out);
    push(&mut stream, segment(104, b"ef", 0, 1), &mut out);
    push(&mut stream, segment(106, b"gh", 0, 1), &mut out);
    assert_eq!((&*out, stream.waits()), ("ab", true));
    push(&mut stream, segment(102, b"cd", 0, 2), &mut out);
    push(&mut stream, segment(102, b"cd", 0, 3), &mut out);
    push(&mut stream, segment(107, b"hij", 0, 3), &mut out);
    assert_eq!((&*out, stream.waits(), stream.lost()), ("abcdefghij", false, 0));
}

#[test]
fn what_does_not_come_is_a_gap_after_a_while() {
    let (mut stream, mut out) = (Stream::default(), String::new());
    push(&mut stream, segment(0, b"ab", 3, 0), &mut out);
    push(&mut stream, segment(9, b"xy", 0, 1_000), &mut out);
    stream.handle_timeout(Timestamp(REORDER_WAIT_NS), &mut |piece| show(piece, &mut out));
    assert_eq!(out, "ab<3 CaptureLimit>");
    stream.handle_timeout(Timestamp(REORDER_WAIT_NS + 1_000), &mut |piece| show(piece, &mut out));
    assert_eq!((&*out, stream.lost(), stream.accounted()), ("ab<3 CaptureLimit><4 Lost>xy", 4, 7));
    stream.flush(Some(12), Mark::default(), &mut |piece| show(piece, &mut out));
    assert_eq!(out, "ab<3 CaptureLimit><4 Lost>xy<1 Lost>");
}

#[test]
fn waiting_is_bounded() {
    let (mut stream, mut out) = (Stream::default(), String::new());
    push(&mut stream, segment(0, b"a", 0, 0), &mut out);
    for number in 0..10_000 {
        push(&mut stream, segment(10 + 2 * number, b"b", 0, 0), &mut out);
        assert!(stream.waiting.len() <= MAX_WAITING_SEGMENTS);
    }
    let big = vec![0; 16 * 1024];
    for number in 0..100 {
        push(&mut stream, segment(1 << 30 | (number * 20_000), &big, 0, 0), &mut out);
        assert!(stream.waiting_bytes <= MAX_WAITING_BYTES);
    }
}

#[test]
fn sequence_numbers_wrap() {
    let mut stream = Stream::default();
    stream.start_at(0xffff_fffe, true);
    let start = stream.next().unwrap();
    for (position, expected) in [(0xffff_fffe_u64, 0), (0, 2), (0x10, 0x12)] {
        assert_eq!(stream.extend(position, true), start + expected);
    }
    assert_eq!(stream.extend(0xffff_fff0, true), start - 14);
}
