//! An index of the finished exchanges that match the filter. It follows additions and removals, so the cost of a frame
//! depends on the changes since the last one, not on all kept exchanges.

use std::collections::VecDeque;

use crate::{
    model::exchange::Exchange,
    store::{Exchanges, Sequence},
};

/// Number of updates between two searches for single dropped exchanges.
const SWEEP: u32 = 32;

/// Sequence numbers of the exchanges that match.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Those of the time from which only some exchanges are kept.
    old: VecDeque<Sequence>,
    recent: VecDeque<Sequence>,
    /// The first sequence number that was not tested.
    upto: Sequence,
    updates: u32,
}

impl Index {
    /// Adds new exchanges that match, and removes dropped ones. Without time, the rest waits for the next update.
    pub(super) fn update(
        &mut self,
        exchanges: &Exchanges,
        mut matches: impl FnMut(&Exchange) -> bool,
        has_time: impl Fn() -> bool,
    ) {
        let mut upto = exchanges.next_sequence();
        for (sequence, exchange) in exchanges.from(self.upto) {
            if !has_time() {
                upto = sequence;
                break;
            }
            if matches(exchange) {
                self.recent.push_back(sequence);
            }
        }
        self.upto = upto;
        let complete_from = exchanges.complete_from();
        while let Some(sequence) = self.recent.front().copied().filter(|sequence| *sequence < complete_from) {
            self.recent.pop_front();
            if exchanges.get(sequence).is_some() {
                self.old.push_back(sequence);
            }
        }
        self.updates = self.updates.wrapping_add(1);
        if self.updates.is_multiple_of(SWEEP) {
            self.old.retain(|sequence| exchanges.get(*sequence).is_some());
        }
        while self.old.front().is_some_and(|sequence| exchanges.get(*sequence).is_none()) {
            self.old.pop_front();
        }
    }

    /// Number of exchanges that were not tested yet.
    pub(super) fn behind(&self, exchanges: &Exchanges) -> usize {
        if self.upto < exchanges.next_sequence() { exchanges.from(self.upto).count() } else { 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.old.len() + self.recent.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<Sequence> {
        self.old.get(index).or_else(|| self.recent.get(index.checked_sub(self.old.len())?)).copied()
    }

    /// Index of the first one with this sequence number or a later one.
    pub(super) fn place_of(&self, sequence: Sequence) -> usize {
        let old = self.old.partition_point(|own| *own < sequence);
        if old < self.old.len() { old } else { old + self.recent.partition_point(|own| *own < sequence) }
    }
}
