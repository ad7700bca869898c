use std::io::{self, Read, Write};

use proptest::{collection::vec, prelude::*};
use tracer_common::event::{DataEvent, EventHeader, ProcessEvent, SocketNameEvent, TickEvent, flag, kind, loss};

use super::{
    EarlyEndReason, EventSink as _, Header, MAX_EVENT_LENGTH, ReadError, Reader, Recorder, WriteError, Writer,
    writer::Lost,
};
use crate::event::Event;

fn header() -> Header {
    Header {
        created_by: "pidtap".to_owned(),
        version: "0.1.0".to_owned(),
        kernel: "6.1.0".to_owned(),
        arch: "x86_64".to_owned(),
        mark_key: "00112233445566778899aabbccddeeff".to_owned(),
    }
}

fn event_header(time_ns: u64, flags: u16) -> EventHeader {
    EventHeader { time_ns, kind: 0, flags, length: 0, tgid: 7, tid: 8 }
}

fn encoded(event: Event<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    event.encode(&mut bytes);
    bytes
}

fn data(time_ns: u64, payload: &[u8]) -> Vec<u8> {
    let event = DataEvent {
        header: event_header(time_ns, flag::LAST),
        connection: 99,
        position: time_ns * 3,
        opposite_position: 5,
        result: payload.len() as i32,
        offset: 0,
        captured: payload.len() as u32,
        fd: 4,
        direction: 0,
        call: 6,
        reserved: [0; 6],
    };
    encoded(Event::Data(event, payload))
}

fn tick(time_ns: u64) -> TickEvent {
    TickEvent { header: event_header(time_ns, 0), lost_events: [0; loss::CAUSES], lost_bytes: [0; loss::CAUSES] }
}

fn process(time_ns: u64) -> Vec<u8> {
    let event = ProcessEvent {
        header: event_header(time_ns, 0),
        other_tgid: 1,
        exit_code: 0,
        action: 0,
        reserved: [0; 7],
        name: *b"service\0\0\0\0\0\0\0\0\0",
    };
    encoded(Event::Process(event))
}

fn name(time_ns: u64, path: &[u8]) -> Vec<u8> {
    let event = SocketNameEvent {
        header: event_header(time_ns, 0),
        connection: 99,
        peer: 3,
        peer_tgid: 4,
        path_length: path.len() as u32,
        reserved: 0,
    };
    encoded(Event::SocketName(event, path))
}

/// A small, complete trace with an event of each shape.
fn trace() -> Vec<Vec<u8>> {
    vec![
        process(1),
        data(2, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        encoded(Event::Tick(tick(3))),
        data(4, b""),
        name(5, b"/run/service.sock"),
        data(6, &[0xAB; 700]),
        encoded(Event::Detached(tick(7))),
    ]
}

fn recording(events: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    for event in events {
        writer.write_event(event).unwrap();
    }
    writer.finish().unwrap()
}

struct Outcome {
    events: Vec<Vec<u8>>,
    early_end: Option<EarlyEndReason>,
    skipped: u64,
    malformed: u64,
}

fn read(input: impl Read) -> Result<Outcome, ReadError> {
    let mut reader = Reader::open(input)?;
    let mut events = Vec::new();
    while let Some(event) = reader.next_event()? {
        events.push(event.to_vec());
    }
    assert!(reader.next_event()?.is_none(), "the end stays the end");
    let early_end = reader.early_end().map(|end| end.reason);
    Ok(Outcome { events, early_end, skipped: reader.skipped_events(), malformed: reader.malformed_events() })
}

#[test]
fn what_was_written_is_read() {
    let file = recording(&trace());
    let mut reader = Reader::open(file.as_slice()).unwrap();
    assert_eq!(*reader.header(), header());
    let mut events = Vec::new();
    while let Some(event) = reader.next_event().unwrap() {
        events.push(event.to_vec());
    }
    assert_eq!(events, trace());
    assert_eq!(reader.early_end(), None);
}

#[test]
fn cut_off_anywhere_gives_a_prefix() {
    let events = trace();
    let file = recording(&events);
    let header_length = recording(&[]).len();
    for length in 0..file.len() {
        let result = read(&file[..length]);
        if length < header_length {
            assert!(matches!(result, Err(ReadError::Foreign | ReadError::Header("cut off"))), "at {length}");
            continue;
        }
        let outcome = result.unwrap();
        assert!(outcome.early_end.is_some(), "at {length}");
        assert!(events.starts_with(&outcome.events), "at {length}");
        let whole: usize = header_length + outcome.events.iter().map(|event| 4 + event.len()).sum::<usize>();
        let next = events.get(outcome.events.len()).map_or(0, |event| 4 + event.len());
        assert!(whole <= length && length < whole + next, "every whole event is delivered: at {length}");
        let expected = if whole == length { EarlyEndReason::NoEnd } else { EarlyEndReason::Truncated };
        assert_eq!(outcome.early_end, Some(expected), "at {length}");
    }
}

#[test]
fn a_flipped_bit_never_gives_a_wrong_event() {
    let events = trace();
    let file = recording(&events);
    for position in 0..file.len() {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[position] ^= 1 << bit;
            if let Ok(outcome) = read(damaged.as_slice()) {
                assert!(events.starts_with(&outcome.events), "byte {position} bit {bit}");
                assert!(outcome.early_end.is_some(), "byte {position} bit {bit} goes unnoticed");
            }
        }
    }
}

#[test]
fn a_record_that_is_missing_repeated_or_moved_is_noticed() {
    let events = trace();
    let start = recording(&[]).len();
    let first = 4 + events[0].len();
    let second = 4 + events[1].len();
    let file = recording(&events);
    let (head, body) = file.split_at(start);
    for altered in [
        [head, &body[first..]].concat(),
        [head, &body[..first], body].concat(),
        [head, &body[first..first + second], &body[..first], &body[first + second..]].concat(),
    ] {
        let outcome = read(altered.as_slice()).unwrap();
        assert_eq!(outcome.early_end, Some(EarlyEndReason::Damaged));
        assert!(events.starts_with(&outcome.events));
    }
}

#[test]
fn zeros_where_data_should_be_end_it() {
    let events = trace();
    let mut file = recording(&events[..3]);
    file.extend_from_slice(&[0; 4096]);
    let outcome = read(file.as_slice()).unwrap();
    assert_eq!(outcome.events, events[..3]);
    assert_eq!(outcome.early_end, Some(EarlyEndReason::Damaged));
}

#[test]
fn other_files_are_foreign() {
    for bytes in [&b""[..], b"{", b"\x89PNG\r\n\x1a\n0000000000000000", b"\x89TAP\n\x1a\n00000000000000000", &[0; 64]] {
        assert!(matches!(read(bytes), Err(ReadError::Foreign)), "{bytes:?}");
    }
}

#[test]
fn a_newer_version_is_named() {
    let mut file = recording(&trace());
    file[8] = 9;
    assert!(matches!(read(file.as_slice()), Err(ReadError::Newer { found: 9 })));
}

#[test]
fn the_other_byte_order_is_named() {
    let mut file = recording(&[]);
    file[10] = 3 - file[10];
    let end = file.len() - 4;
    let checksum = crc32fast::hash(&file[..end]);
    file[end..].copy_from_slice(&checksum.to_le_bytes());
    assert!(matches!(read(file.as_slice()), Err(ReadError::ByteOrder { .. })));
}

#[test]
fn a_description_with_more_in_it_is_read() {
    let mut file = recording(&[])[..12].to_vec();
    let description = br#"{"kernel":"9.9","colour":"blue"}"#;
    file.extend_from_slice(&(description.len() as u32).to_le_bytes());
    file.extend_from_slice(description);
    file.extend_from_slice(&crc32fast::hash(&file).to_le_bytes());
    let reader = Reader::open(file.as_slice()).unwrap();
    assert_eq!(*reader.header(), Header { kernel: "9.9".to_owned(), ..Header::default() });
}

#[test]
fn unknown_and_senseless_events_are_counted_and_passed_over() {
    let mut unknown = process(1);
    unknown[8..10].copy_from_slice(&0x7777_u16.to_ne_bytes());
    let mut senseless = data(2, b"abc");
    senseless[52..56].copy_from_slice(&77_u32.to_ne_bytes());
    let mut short = data(2, b"");
    short.truncate(40);
    short[12..16].copy_from_slice(&40_u32.to_ne_bytes());
    let end = encoded(Event::Detached(tick(3)));
    let outcome = read(recording(&[unknown, senseless, short, end.clone()]).as_slice()).unwrap();
    assert_eq!(outcome.events, [end]);
    assert_eq!((outcome.skipped, outcome.malformed), (1, 2));
    assert_eq!(outcome.early_end, None);
}

#[test]
fn a_huge_length_takes_no_memory() {
    let mut file = recording(&[]);
    let mut event = process(1);
    event[12..16].copy_from_slice(&(MAX_EVENT_LENGTH as u32 + 1).to_ne_bytes());
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(&event);
    let mut reader = Reader::open(file.as_slice()).unwrap();
    assert!(reader.next_event().unwrap().is_none());
    assert_eq!(reader.early_end().unwrap().reason, EarlyEndReason::Damaged);

    let mut file = recording(&[]);
    file[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(read(file.as_slice()), Err(ReadError::Header("damaged"))));
}

#[test]
fn only_whole_events_are_taken() {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    let event = process(1);
    for wrong in [&event[..10], &event[..event.len() - 1], &[&event[..], b"x"].concat(), b""] {
        assert!(matches!(writer.write_event(wrong), Err(WriteError::NotAnEvent { .. })));
    }
    assert_eq!(writer.finish().unwrap(), recording(&[]));
}

/// A writer that fails once it holds `capacity` bytes.
struct Disk {
    bytes: Vec<u8>,
    capacity: usize,
}

impl Write for Disk {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let room = self.capacity - self.bytes.len();
        if room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = room.min(buffer.len());
        self.bytes.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_costs_only_what_did_not_fit() {
    let events = trace();
    let file = recording(&events);
    for capacity in recording(&[]).len()..=file.len() {
        let mut disk = Disk { bytes: Vec::new(), capacity };
        let mut recorder = Recorder::new(&mut disk, &header()).unwrap();
        let result = recorder.write(&events.concat()).and_then(|()| recorder.finish());
        assert_eq!(result.is_err(), capacity < file.len(), "at {capacity}");
        let lost = recorder.lost();
        let outcome = read(disk.bytes.as_slice()).unwrap();
        assert!(events.starts_with(&outcome.events));
        let missing = &events[outcome.events.len()..];
        assert_eq!(lost.events as usize, missing.len(), "at {capacity}");
        let mut expected = Lost::default();
        for event in missing {
            expected.add(event);
        }
        assert_eq!(lost, expected, "at {capacity}");
    }
}

#[test]
fn lost_bytes_are_those_that_the_calls_moved() {
    let mut lost = Lost::default();
    let mut event = DataEvent {
        header: event_header(1, 0),
        connection: 1,
        position: 0,
        opposite_position: 0,
        result: 50_000,
        offset: 0,
        captured: 3,
        fd: 1,
        direction: 0,
        call: 6,
        reserved: [0; 6],
    };
    lost.add(&encoded(Event::Data(event, b"abc")));
    assert_eq!(lost, Lost { events: 1, bytes: 3 });
    event.header.flags = flag::LAST | flag::TRUNCATED;
    event.offset = 3;
    lost.add(&encoded(Event::Data(event, b"def")));
    assert_eq!(lost, Lost { events: 2, bytes: 50_000 });
    event.header.flags = flag::LAST | flag::PEEK;
    lost.add(&encoded(Event::Data(event, b"def")));
    event.header.flags = flag::LAST;
    event.result = -104;
    event.offset = 0;
    event.captured = 0;
    lost.add(&encoded(Event::Data(event, b"")));
    lost.add(&process(1));
    assert_eq!(lost, Lost { events: 5, bytes: 50_000 });
}

/// A reader that returns pieces of varying size and is interrupted now and then.
struct Pieces<'a> {
    rest: &'a [u8],
    sizes: std::iter::Cycle<std::vec::IntoIter<usize>>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes.next().unwrap_or(1);
        if size == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = size.min(buffer.len()).min(self.rest.len());
        let (piece, rest) = self.rest.split_at(count);
        buffer[..count].copy_from_slice(piece);
        self.rest = rest;
        Ok(count)
    }
}

fn any_event() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (any::<u32>(), vec(any::<u8>(), 0..2000))
            .prop_map(|(time, payload)| data(time.into(), &payload)),
        1 => any::<u32>().prop_map(|time| process(time.into())),
        1 => any::<u32>().prop_map(|time| encoded(Event::Tick(tick(time.into())))),
        1 => (any::<u32>(), vec(any::<u8>(), 0..108)).prop_map(|(time, path)| name(time.into(), &path)),
        1 => (0x200_u16.., vec(any::<u8>(), 0..100)).prop_map(|(kind, rest)| {
            let mut event = encoded(Event::Tick(tick(1)));
            event.extend_from_slice(&rest);
            event[8..10].copy_from_slice(&kind.to_ne_bytes());
            let length = event.len() as u32;
            event[12..16].copy_from_slice(&length.to_ne_bytes());
            event
        }),
    ]
}

fn is_known(event: &[u8]) -> bool {
    u16::from_ne_bytes([event[8], event[9]]) <= kind::DETACHED
}

proptest! {
    #[test]
    fn any_events_survive_any_pieces(
        events in vec(any_event(), 0..40),
        sizes in vec(0_usize..5000, 1..8).prop_filter("progress", |sizes| sizes.iter().any(|size| *size > 0)),
    ) {
        let file = recording(&events);
        let outcome = read(Pieces { rest: &file, sizes: sizes.into_iter().cycle() }).unwrap();
        let known: Vec<_> = events.iter().filter(|event| is_known(event)).cloned().collect();
        prop_assert_eq!(outcome.skipped as usize, events.len() - known.len());
        prop_assert_eq!(outcome.events, known);
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..4096)) {
        let _ = read(bytes.as_slice());
        let mut file = recording(&[]);
        file.extend_from_slice(&bytes);
        let outcome = read(file.as_slice()).unwrap();
        prop_assert!(outcome.events.is_empty());
    }

    #[test]
    fn any_damage_gives_a_prefix(
        events in vec(any_event(), 1..20),
        damage in vec((any::<prop::sample::Index>(), 1_u8..), 1..4),
    ) {
        let known: Vec<_> = events.iter().filter(|event| is_known(event)).cloned().collect();
        let mut file = recording(&events);
        for (position, change) in damage {
            let position = position.index(file.len());
            file[position] ^= change;
        }
        if let Ok(outcome) = read(file.as_slice()) {
            prop_assert!(known.starts_with(&outcome.events));
        }
    }
}
