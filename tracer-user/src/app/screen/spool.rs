//! The latest events of a live trace, for whoever decides afterwards that they are worth keeping.

use std::{
    collections::VecDeque,
    io::{self, Write},
};

use crate::{
    event::Event,
    recording::{Header, Writer},
};

/// Bytes of events that are held.
const LIMIT: usize = 8 << 20;

/// See the module. A copy is to be written to a file: whoever fills it must not wait for a disk. In memory alone: what a service says to others goes into no file unless that is asked for.
#[derive(Clone)]
pub(in crate::app) struct Spool {
    header: Header,
    /// Who is traced, and which connections were there: without it the rest is hard to read.
    prelude: Vec<u8>,
    batches: VecDeque<Vec<u8>>,
    bytes: usize,
    forgotten: u64,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) events: u64,
    pub(super) forgotten: u64,
}

impl Spool {
    pub(in crate::app) fn new(header: Header) -> Self {
        Self { header, prelude: Vec::new(), batches: VecDeque::new(), bytes: 0, forgotten: 0 }
    }

    /// Takes a batch of events that follow each other directly; the first one is kept for good.
    pub(in crate::app) fn take(&mut self, batch: &[u8]) {
        if self.prelude.is_empty() {
            self.prelude = batch.to_vec();
            return;
        }
        if batch.is_empty() {
            return;
        }
        self.bytes += batch.len();
        // Small batches share a piece of memory.
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
            self.forgotten += events(&old).count() as u64;
        }
    }

    pub(super) fn save(&self, writer: impl Write) -> io::Result<Saved> {
        let mut writer = Writer::new(io::BufWriter::new(writer), &self.header).map_err(io::Error::other)?;
        let mut saved = Saved { events: 0, forgotten: self.forgotten };
        let mut last_tick = None;
        for bytes in events(&self.prelude).chain(self.batches.iter().flat_map(|batch| events(batch))) {
            writer.write_event(bytes).map_err(io::Error::other)?;
            saved.events += 1;
            if let Ok(Event::Tick(tick)) = Event::decode(bytes) {
                last_tick = Some(tick);
            }
        }
        // It ends here, and on purpose: with the counters of loss as they stand.
        if let Some(tick) = last_tick {
            let mut end = Vec::new();
            Event::Detached(tick).encode(&mut end);
            writer.write_event(&end).map_err(io::Error::other)?;
        }
        writer.finish().map_err(io::Error::other)?.flush()?;
        Ok(saved)
    }
}

/// Batches of a quiet service are some hundred bytes.
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
        spool.take(&prelude);
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
    fn what_is_saved_is_a_whole_recording() {
        let mut spool = spool();
        spool.take(&[tick(2), tick(3)].concat());
        spool.take(&[]);
        spool.take(&tick(4));
        assert_eq!(saved(&spool), (Saved { events: 4, forgotten: 0 }, vec![1, 2, 3, 4, 4]));
    }

    #[test]
    fn the_oldest_events_are_forgotten_and_counted_but_not_the_beginning() {
        let mut spool = spool();
        let batch: Vec<u8> = (0..1_000).flat_map(|_| tick(5)).collect();
        let batches = LIMIT / batch.len() + 10;
        for _ in 0..batches {
            spool.take(&batch);
        }
        assert!(spool.bytes <= LIMIT);
        let (saved, times) = saved(&spool);
        assert_eq!(times[0], 1);
        assert!(saved.forgotten > 0);
        assert_eq!(saved.events - 1 + saved.forgotten, batches as u64 * 1_000);
    }
}
