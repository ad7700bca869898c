//! Exchanges that are over, as many as are remembered.

use std::{collections::VecDeque, sync::Arc};

use rustc_hash::FxHashMap;

use super::StoreOptions;
use crate::model::exchange::{Exchange, ExchangeId, Fields};

/// In which order exchanges ended: 0, 1, 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// Some of them, oldest first.
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

/// See the module. Half of the room is for those that matter: that failed, or belong to an incident.
#[derive(Clone, Debug, Default)]
pub struct Exchanges {
    options: StoreOptions,
    next: u64,
    notable: Queue,
    ordinary: Queue,
    by_id: FxHashMap<ExchangeId, Sequence>,
}

/// Roughly what an exchange takes.
fn weight(exchange: &Exchange) -> usize {
    fn fields(fields: &Fields) -> usize {
        fields.bytes.capacity() + fields.lines.capacity() * 16
    }
    let request = exchange.request.as_ref().map_or(0, |request| {
        request.target.len() + fields(&request.headers) + fields(&request.trailers) + request.body.captured.capacity()
    });
    let response = exchange.response.as_ref().map_or(0, |response| {
        response.reason.len()
            + fields(&response.headers)
            + fields(&response.trailers)
            + response.body.captured.capacity()
    });
    let interim: usize = exchange.interim.iter().map(|interim| fields(&interim.headers) + 64).sum();
    // The exchange itself, and its places in the queue and in the table.
    size_of::<Exchange>() + 64 + request + response + interim
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

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.notable.items.len() + self.ordinary.items.len()
    }

    /// None is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the next one gets.
    pub fn next_sequence(&self) -> Sequence {
        Sequence(self.next)
    }

    /// From here on all are remembered; of those before, some.
    pub fn complete_from(&self) -> Sequence {
        let first = |queue: &Queue| queue.items.front().map_or(self.next, |(sequence, _)| sequence.0);
        Sequence(first(&self.notable).max(first(&self.ordinary)))
    }

    /// The one with this sequence number, where it is remembered.
    pub fn get(&self, sequence: Sequence) -> Option<&Arc<Exchange>> {
        self.ordinary.get(sequence).or_else(|| self.notable.get(sequence))
    }

    /// The one with this number, where it is remembered.
    pub fn by_id(&self, id: ExchangeId) -> Option<&Arc<Exchange>> {
        self.get(*self.by_id.get(&id)?)
    }

    /// The sequence number of an exchange that is over and remembered.
    pub fn sequence_of(&self, id: ExchangeId) -> Option<Sequence> {
        self.by_id.get(&id).copied()
    }

    /// All that are remembered, in the order in which they ended, from a sequence number on.
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
