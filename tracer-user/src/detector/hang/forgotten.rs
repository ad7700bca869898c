//! Calls whose answers nobody reads, one after the other: a leak, told once with their number.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{
    call::{Candidate, Subject},
    evidence::{Doing, Reason},
    verdict::Verdict,
};
use crate::{
    connection::Role,
    detector::{Evidence, Report},
};

/// That there are more of them is told so often at most.
pub(super) const UPDATE_NS: u64 = 5_000_000_000;

/// Which calls were forgotten alike: of one process, to one upstream, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pid: u32,
    remote: Arc<str>,
    closed: bool,
}

/// `None` where something still may take the call up: a thread that computes, is stopped, or waits on its socket.
pub(super) fn key(call: &Candidate, verdict: &Verdict) -> Option<Key> {
    let closed = match verdict.reason {
        Reason::Unread => false,
        Reason::CloseUnnoticed => true,
        _ => return None,
    };
    let held_up =
        matches!(verdict.doing, Some(Doing::OnCpu | Doing::Stopped | Doing::Uninterruptible | Doing::OutboundCall))
            && !verdict.doing_is_likely;
    let waits = verdict.threads.iter().any(|thread| thread.socket == Some(call.connection.inode.0));
    (call.role == Role::Client && !held_up && !waits).then(|| Key {
        pid: call.process.pid,
        remote: Arc::from(&*call.connection.remote_text),
        closed,
    })
}

/// Says how many calls the incident stands for.
pub(super) fn count_in(report: &mut Report, count: u32) {
    if let Evidence::Hang(evidence) = &mut report.evidence {
        evidence.forgotten = count.max(1);
    }
}

#[derive(Debug)]
struct Group {
    leader: Subject,
    count: u32,
}

/// Groups of them, each led by the call whose incident it is. As many as there are incidents.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    groups: FxHashMap<Key, Group>,
    leading: FxHashMap<Subject, Key>,
}

impl Forgotten {
    /// Whether the call is to be told itself: it is the first.
    pub(super) fn join(&mut self, key: &Key, subject: Subject) -> bool {
        if let Some(group) = self.groups.get_mut(key) {
            if group.leader != subject {
                group.count += 1;
                return false;
            }
            return true;
        }
        self.lead(key.clone(), subject, 1);
        true
    }

    pub(super) fn lead(&mut self, key: Key, leader: Subject, count: u32) {
        self.leading.insert(leader, key.clone());
        self.groups.insert(key, Group { leader, count });
    }

    /// A call that did not lead is over.
    pub(super) fn leave(&mut self, key: &Key) {
        if let Some(group) = self.groups.get_mut(key) {
            group.count = group.count.saturating_sub(1).max(1);
        }
    }

    /// Calls that this one's incident stands for.
    pub(super) fn count(&self, subject: Subject) -> u32 {
        self.leading.get(&subject).and_then(|key| self.groups.get(key)).map_or(1, |group| group.count)
    }

    /// The call that led is over.
    pub(super) fn end(&mut self, subject: Subject) -> Option<Key> {
        let key = self.leading.remove(&subject)?;
        self.groups.remove(&key);
        Some(key)
    }
}
