//! The latest events of a live trace, in memory, for a user who decides afterwards to save them.

use std::{
    collections::VecDeque,
    io::{self, Write},
};

use crate::{
    event::Event,
    recording::{Header, Writer},
};

/// Bytes of events that are held, at most.
const LIMIT: usize = 8 << 20;

/// The held events. Traffic of a service goes into no file before the user saves it. A copy is saved, so that the thread that adds
/// events does not wait for a disk.
#[derive(Clone)]
pub(in crate::app) struct Spool {
    header: Header,
    /// The first batch: the traced processes, and the connections that existed before. It is never dropped.
    prelude: Vec<u8>,
    batches: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
}

/// Numbers of events that were saved, and that the spool had dropped before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) struct Saved {
    pub(in crate::app) events: u64,
    pub(in crate::app) dropped: u64,
}

impl Spool {
    pub(in crate::app) fn new(header: Header) -> Self {
        Self { header, prelude: Vec::new(), batches: VecDeque::new(), bytes: 0, dropped: 0 }
    }

    /// Adds a batch of events that follow each other directly, and drops the oldest ones beyond the limit.
    pub(in crate::app) fn add(&mut self, batch: &[u8]) {
        if self.prelude.is_empty() {
            self.prelude = batch.to_vec();
            return;
        }
        if batch.is_empty() {
            return;
        }
        self.bytes += batch.len();
        match self.batches.back_mut() {
            Some(last) if last.len() + batch.len() <= PIECE => last.extend_from_slice(batch),
            _ => {
                let mut piece = Vec::with_capacity(batch.len().max(PIECE));
                piece.extend_from_slice(batch);
                self.batches.push_back(piece);
            }
        }
        while self.bytes > LIMIT {
            let Some(old) = self.batches.pop_front() else { break };
            self.bytes -= old.len();
            self.dropped += events(&old).count() as u64;
        }
    }

    /// Writes a whole recording.
    ///
    /// # Errors
    ///
    /// Those of `writer`.
    pub(in crate::app) fn save(&self, writer: impl Write) -> io::Result<Saved> {
        let mut writer = Writer::new(io::BufWriter::new(writer), &self.header).map_err(io::Error::other)?;
        let mut saved = Saved { events: 0, dropped: self.dropped };
        let mut last_tick = None;
        for bytes in events(&self.prelude).chain(self.batches.iter().flat_map(|batch| events(batch))) {
            writer.write_event(bytes).map_err(io::Error::other)?;
            saved.events += 1;
            if let Ok(Event::Tick(tick)) = Event::decode(bytes) {
                last_tick = Some(tick);
            }
        }
        // A DETACHED event with the latest counters of loss: without it the recording would look cut off.
        if let Some(tick) = last_tick {
            let mut end = Vec::new();
            Event::Detached(tick).encode(&mut end);
            writer.write_event(&end).map_err(io::Error::other)?;
        }
        writer.finish().map_err(io::Error::other)?.flush()?;
        Ok(saved)
    }
}

/// Bytes of memory that small batches share. Batches of a quiet service have some hundred bytes.
const PIECE: usize = 256 * 1024;

fn events(batch: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = batch;
    std::iter::from_fn(move || {
        let length = Event::decode(rest).ok()?.header().length as usize;
        let (event, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(event)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::wire::{AttachedEvent, EventHeader, TickEvent},
        recording::Reader,
    };

    fn header(time_ns: u64) -> EventHeader {
        EventHeader { time_ns, kind: 0, flags: 0, length: 0, tgid: 0, tid: 0 }
    }

    fn tick(time_ns: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (lost_events, lost_bytes) = Default::default();
        Event::Tick(TickEvent { header: header(time_ns), lost_events, lost_bytes }).encode(&mut bytes);
        bytes
    }

    fn spool() -> Spool {
        let text = || "test".to_owned();
        let mut spool =
            Spool::new(Header { created_by: text(), version: text(), kernel: text(), arch: text(), mark_key: text() });
        let mut prelude = Vec::new();
        let attached = AttachedEvent { header: header(1), realtime_offset_ns: 0, call_capture: 0, ring_size: 0 };
        Event::Attached(attached).encode(&mut prelude);
        spool.add(&prelude);
        spool
    }

    fn saved(spool: &Spool) -> (Saved, Vec<u64>) {
        let mut file = Vec::new();
        let saved = spool.save(&mut file).expect("memory takes it");
        let mut reader = Reader::open(&file[..]).expect("a recording");
        let mut times = Vec::new();
        while let Some(event) = reader.next_event().expect("whole") {
            times.push(Event::decode(event).expect("an event").time().0);
        }
        assert!(reader.early_end().is_none(), "it says that it ends");
        (saved, times)
    }

    #[test]
    fn a_whole_recording_is_saved() {
        let mut spool = spool();
        spool.add(&[tick(2), tick(3)].concat());
        spool.add(&[]);
        spool.add(&tick(4));
        assert_eq!(saved(&spool), (Saved { events: 4, dropped: 0 }, vec![1, 2, 3, 4, 4]));
    }

    #[test]
    fn the_oldest_events_are_dropped_and_counted_but_never_the_prelude() {
        let mut spool = spool();
        let batch: Vec<u8> = (0..1_000).flat_map(|_| tick(5)).collect();
        let batches = LIMIT / batch.len() + 10;
        for _ in 0..batches {
            spool.add(&batch);
        }
        assert!(spool.bytes <= LIMIT);
        let (saved, times) = saved(&spool);
        assert_eq!(times[0], 1);
        assert!(saved.dropped > 0);
        assert_eq!(saved.events - 1 + saved.dropped, batches as u64 * 1_000);
    }
}
