//! Ended exchanges, as many as there is room for.

use std::{collections::VecDeque, sync::Arc};

use rustc_hash::FxHashMap;

use super::StoreOptions;
use crate::model::exchange::{Exchange, ExchangeId};

/// Position of an exchange in the order of their ends: 0, 1, 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// A part of the exchanges, oldest first.
#[derive(Clone, Debug, Default)]
struct Queue {
    items: VecDeque<(Sequence, Arc<Exchange>)>,
    bytes: usize,
}

impl Queue {
    fn get(&self, sequence: Sequence) -> Option<&Arc<Exchange>> {
        let index = self.items.binary_search_by_key(&sequence, |(sequence, _)| *sequence).ok()?;
        Some(&self.items[index].1)
    }

    fn from(&self, sequence: Sequence) -> impl DoubleEndedIterator<Item = (Sequence, &Arc<Exchange>)> {
        let start = self.items.partition_point(|(own, _)| *own < sequence);
        self.items.range(start..).map(|(sequence, exchange)| (*sequence, exchange))
    }
}

/// Ended exchanges. Half of the room is for those that failed or belong to an incident.
#[derive(Clone, Debug, Default)]
pub struct Exchanges {
    options: StoreOptions,
    next: u64,
    notable: Queue,
    ordinary: Queue,
    by_id: FxHashMap<ExchangeId, Sequence>,
}

/// Bytes of memory that an exchange takes, approximately, with its places in the queue and in the table.
fn weight(exchange: &Exchange) -> usize {
    exchange.weight() + 64
}

impl Exchanges {
    pub(super) fn new(options: StoreOptions) -> Self {
        Self { options, ..Self::default() }
    }

    pub(super) fn push(&mut self, exchange: Arc<Exchange>, failed: bool) {
        let sequence = Sequence(self.next);
        self.next += 1;
        self.by_id.insert(exchange.id, sequence);
        let queue = if failed || !exchange.incidents.is_empty() { &mut self.notable } else { &mut self.ordinary };
        queue.bytes += weight(&exchange);
        queue.items.push_back((sequence, exchange));
        while queue.items.len() > (self.options.exchanges / 2).max(1) || queue.bytes > self.options.bytes / 2 {
            let Some((_, old)) = queue.items.pop_front() else { break };
            queue.bytes -= weight(&old);
            self.by_id.remove(&old.id);
        }
    }

    /// Number of remembered exchanges.
    pub fn len(&self) -> usize {
        self.notable.items.len() + self.ordinary.items.len()
    }

    /// Whether no exchange is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sequence number of the next exchange.
    pub fn next_sequence(&self) -> Sequence {
        Sequence(self.next)
    }

    /// The sequence number from which on all exchanges are remembered. Before it, some are missing.
    pub fn complete_from(&self) -> Sequence {
        let first = |queue: &Queue| queue.items.front().map_or(self.next, |(sequence, _)| sequence.0);
        Sequence(first(&self.notable).max(first(&self.ordinary)))
    }

    /// The exchange with this sequence number, if remembered.
    pub fn get(&self, sequence: Sequence) -> Option<&Arc<Exchange>> {
        self.ordinary.get(sequence).or_else(|| self.notable.get(sequence))
    }

    /// The exchange with this number, if remembered.
    pub fn by_id(&self, id: ExchangeId) -> Option<&Arc<Exchange>> {
        self.get(*self.by_id.get(&id)?)
    }

    /// The sequence number of an exchange, if remembered.
    pub fn sequence_of(&self, id: ExchangeId) -> Option<Sequence> {
        self.by_id.get(&id).copied()
    }

    /// Remembered exchanges from a sequence number on, in the order of their ends.
    pub fn from(&self, sequence: Sequence) -> impl Iterator<Item = (Sequence, &Arc<Exchange>)> {
        let mut one = self.notable.from(sequence).peekable();
        let mut other = self.ordinary.from(sequence).peekable();
        std::iter::from_fn(move || match (one.peek(), other.peek()) {
            (Some((first, _)), Some((second, _))) if second < first => other.next(),
            (Some(_), _) => one.next(),
            (None, _) => other.next(),
        })
    }
}
