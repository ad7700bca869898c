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
const LIMIT: usize = 16 << 20;

/// See the module. In memory alone: what a service says to others goes into no file unless that is asked for.
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
        for event in events(&self.prelude).chain(self.batches.iter().flat_map(|batch| events(batch))) {
            writer.write_event(event).map_err(io::Error::other)?;
            saved.events += 1;
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
