//! Bytes that wait for missing ones, over all connections.
//!
//! Each connection has its own bounds; a hundred thousand of them would still exhaust the memory of the machine. Once all
//! connections together hold too much, the one that has waited longest gives up: the missing bytes are least likely to come,
//! and the connection would give up by itself within 100 ms. The cost is a gap, which the exchanges report.

use std::collections::BTreeMap;

/// Bytes that may wait, with the memory to keep them. On a busy machine some hundred kilobytes wait.
pub(super) const MAX_WAITING: usize = 32 << 20;

/// Counts the bytes that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    bytes: usize,
    /// Connections with waiting bytes, in the order in which they began to wait.
    holders: BTreeMap<u64, u64>,
    last: u64,
    given_up: u64,
}

/// The share of one connection.
#[derive(Debug, Default)]
pub(super) struct Share {
    bytes: usize,
    /// Its place among the connections that hold something.
    number: u64,
}

impl Waiting {
    /// Counts that the connection `inode`, whose share this is, holds `bytes` now. Tells whether all hold too much.
    pub(super) fn settle(&mut self, share: &mut Share, bytes: usize, inode: u64) -> bool {
        if bytes == share.bytes {
            return false;
        }
        self.bytes = (self.bytes + bytes).saturating_sub(share.bytes);
        if share.bytes == 0 {
            self.last += 1;
            share.number = self.last;
            self.holders.insert(self.last, inode);
        } else if bytes == 0 {
            self.holders.remove(&share.number);
        }
        share.bytes = bytes;
        self.bytes > MAX_WAITING
    }

    /// Counts that a connection which [`Self::victim`] named holds nothing any more.
    pub(super) fn give_up(&mut self, share: &mut Share) {
        self.bytes = self.bytes.saturating_sub(std::mem::take(&mut share.bytes));
    }

    /// The connection that must give up, if all hold too much.
    pub(super) fn victim(&mut self) -> Option<u64> {
        if self.bytes <= MAX_WAITING {
            return None;
        }
        let (_, inode) = self.holders.pop_first()?;
        self.given_up += 1;
        Some(inode)
    }

    /// Number of times that a connection had to give up.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Bytes that wait now.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
