//! Fallback between several addresses of one call.
//!
//! `localhost` is `::1` and `127.0.0.1`, a name may have several addresses, and a proxy has several servers. A client
//! that is refused at one address tries the next at once, and one that waits for an address tries another in parallel
//! (RFC 8305). All of this is one connect, which fails only when the last address fails.

use std::{collections::VecDeque, net::SocketAddr};

use super::ChainId;
use crate::{
    event::Timestamp,
    model::{connection::Endpoint, exchange::ProcessRef},
};

/// Maximum delay in nanoseconds before an address of the other family is tried (RFC 8305 section 5).
pub(super) const OTHER_FAMILY_NS: u64 = 300_000_000;
/// Maximum delay in nanoseconds before any other address is tried.
pub(super) const AT_ONCE_NS: u64 = 20_000_000;
/// Maximum number of remembered failed connects, and of successful ones.
const MOST: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Tried {
    pid: u32,
    tid: u32,
    address: SocketAddr,
    time: Timestamp,
    /// Chain that the failure belongs to.
    chain: Option<ChainId>,
}

impl Tried {
    fn of(process: &ProcessRef, remote: &Endpoint, time: Timestamp, chain: Option<ChainId>) -> Option<Self> {
        let Endpoint::Inet(address) = remote else { return None };
        Some(Self { pid: process.pid, tid: process.tid, address: *address, time, chain })
    }

    /// Whether both may be addresses of one name.
    fn is_of_one_name(&self, other: &Self) -> bool {
        let families_differ = self.address.is_ipv4() != other.address.is_ipv4();
        self.address.port() == other.address.port()
            && self.address.ip() != other.address.ip()
            && (self.tid == other.tid || (self.pid == other.pid && families_differ))
    }
}

/// Recent connects.
#[derive(Debug, Default)]
pub(super) struct Fallbacks {
    failed: VecDeque<Tried>,
    made: VecDeque<Tried>,
}

impl Fallbacks {
    fn add(list: &mut VecDeque<Tried>, tried: Option<Tried>) {
        let Some(tried) = tried else { return };
        if list.len() >= MOST {
            list.pop_front();
        }
        list.push_back(tried);
    }

    /// Records a failed connect that is an attempt of the chain.
    pub(super) fn failed(&mut self, process: &ProcessRef, remote: &Endpoint, ended: Timestamp, chain: ChainId) {
        Self::add(&mut self.failed, Tried::of(process, remote, ended, Some(chain)));
    }

    /// Records a successful connect.
    pub(super) fn made(&mut self, process: &ProcessRef, remote: &Endpoint, now: Timestamp) {
        Self::add(&mut self.made, Tried::of(process, remote, now, None));
    }

    /// Finds the chain of the failed connect that this one continues. A process that handles inbound calls may also
    /// fall back to another port.
    pub(super) fn goes_on(
        &mut self,
        process: &ProcessRef,
        remote: &Endpoint,
        started: Timestamp,
        serves: bool,
    ) -> Option<ChainId> {
        if self.failed.is_empty() {
            return None;
        }
        let next = Tried::of(process, remote, started, None)?;
        let found = self.failed.iter().position(|tried| {
            let waited = started.since(tried.time);
            let families_differ = tried.address.is_ipv4() != next.address.is_ipv4();
            let name =
                tried.is_of_one_name(&next) && waited <= if families_differ { OTHER_FAMILY_NS } else { AT_ONCE_NS };
            let next_upstream =
                serves && tried.tid == next.tid && tried.address != next.address && waited <= AT_ONCE_NS;
            name || next_upstream
        })?;
        self.failed.remove(found)?.chain
    }

    /// Whether another address of the same name was connected after this connect had started, so that this one was no
    /// longer needed.
    pub(super) fn is_beaten(&self, process: &ProcessRef, remote: &Endpoint, started: Timestamp) -> bool {
        let Some(tried) = Tried::of(process, remote, started, None) else { return false };
        self.made.iter().any(|made| made.time >= started && made.is_of_one_name(&tried))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn remote(address: &str) -> Endpoint {
        Endpoint::Inet(address.parse().expect("an address"))
    }

    fn process(tid: u32) -> ProcessRef {
        ProcessRef { pid: 1, tid, name: "p".into() }
    }

    #[test]
    fn the_next_address_goes_on_with_the_connect() {
        let goes_on = |first: &str, next: &str, tid: u32, waited: u64, serves: bool| {
            let mut fallbacks = Fallbacks::default();
            fallbacks.failed(&process(1), &remote(first), Timestamp(0), 7);
            fallbacks.goes_on(&process(tid), &remote(next), Timestamp(waited * MS), serves).is_some()
        };
        assert!(goes_on("[::1]:80", "127.0.0.1:80", 1, 250, false));
        assert!(goes_on("[::1]:80", "127.0.0.1:80", 2, 1, false), "a goroutine");
        assert!(goes_on("10.0.0.1:80", "10.0.0.2:80", 1, 1, false));
        assert!(goes_on("10.0.0.1:80", "10.0.0.1:81", 1, 1, true), "a proxy");
        assert!(!goes_on("10.0.0.1:80", "10.0.0.1:80", 1, 1, true), "the same again");
        assert!(!goes_on("10.0.0.1:80", "10.0.0.1:81", 1, 1, false), "another service");
        assert!(!goes_on("10.0.0.1:80", "10.0.0.2:80", 2, 1, false), "another thread");
        assert!(!goes_on("10.0.0.1:80", "10.0.0.2:80", 1, 250, false), "not at once");
    }

    #[test]
    fn an_address_that_loses_the_race_has_not_failed() {
        let mut fallbacks = Fallbacks::default();
        fallbacks.made(&process(1), &remote("127.0.0.1:80"), Timestamp(260 * MS));
        assert!(fallbacks.is_beaten(&process(1), &remote("[::1]:80"), Timestamp(0)));
        assert!(!fallbacks.is_beaten(&process(1), &remote("[::1]:80"), Timestamp(300 * MS)), "it began later");
        assert!(!fallbacks.is_beaten(&process(1), &remote("[::1]:443"), Timestamp(0)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut fallbacks = Fallbacks::default();
        for port in 1..1000 {
            fallbacks.failed(&process(1), &remote(&format!("[::1]:{port}")), Timestamp(0), 7);
            fallbacks.made(&process(1), &remote(&format!("[::1]:{port}")), Timestamp(0));
        }
        assert_eq!((fallbacks.failed.len(), fallbacks.made.len()), (MOST, MOST));
    }
}
