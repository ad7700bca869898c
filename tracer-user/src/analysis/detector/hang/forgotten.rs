//! Calls whose answers are never read, one after the other: a leak, reported once with the number of calls.

use std::{collections::BTreeSet, sync::Arc};

use rustc_hash::FxHashMap;

use super::{
    call::{Candidate, Subject},
    evidence::{Doing, Reason},
    verdict::Verdict,
};
use crate::{
    analysis::detector::{Evidence, Report},
    model::connection::{ConnectionId, Role},
};

/// Minimum interval in nanoseconds between updates with a new number of calls.
pub(super) const UPDATE_NS: u64 = 5_000_000_000;

/// Calls of one process to one upstream that are forgotten for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pid: u32,
    remote: Arc<str>,
    closed: bool,
    /// The connection, if several calls share it. One reason stops all of them, which is no leak.
    shared: Option<ConnectionId>,
}

/// The group of a call; `None` if a thread may still take it up: one that computes, is stopped, or waits on its socket.
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
        shared: call.shared.then_some(call.connection.id),
    })
}

/// Sets the number of calls that the incident stands for.
pub(super) fn count_in(report: &mut Report, count: u32) {
    if let Evidence::Hang(evidence) = &mut report.evidence {
        evidence.forgotten = count.max(1);
    }
}

/// A group of forgotten calls.
#[derive(Debug)]
struct Group {
    leader: Subject,
    followers: BTreeSet<Subject>,
}

/// Groups of forgotten calls. Each has a leader, whose incident stands for all. There are as many groups as incidents.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    groups: FxHashMap<Key, Group>,
    leading: FxHashMap<Subject, Key>,
}

impl Forgotten {
    /// Adds a call. Returns whether the call leads its group, so that it gets an incident of its own.
    pub(super) fn join(&mut self, key: &Key, subject: Subject) -> bool {
        if let Some(group) = self.groups.get_mut(key) {
            if group.leader != subject {
                group.followers.insert(subject);
                return false;
            }
            return true;
        }
        self.lead(key.clone(), Group { leader: subject, followers: BTreeSet::new() });
        true
    }

    fn lead(&mut self, key: Key, group: Group) {
        self.leading.insert(group.leader, key.clone());
        self.groups.insert(key, group);
    }

    /// Removes a follower.
    pub(super) fn leave(&mut self, key: &Key, subject: Subject) {
        if let Some(group) = self.groups.get_mut(key) {
            group.followers.remove(&subject);
        }
    }

    /// The leader of a group.
    pub(super) fn leader(&self, key: &Key) -> Option<Subject> {
        self.groups.get(key).map(|group| group.leader)
    }

    /// Number of calls that the incident of this call stands for.
    pub(super) fn count(&self, subject: Subject) -> u32 {
        let key = self.leading.get(&subject).filter(|key| key.shared.is_none());
        let group = key.and_then(|key| self.groups.get(key));
        group.map_or(1, |group| 1 + group.followers.len() as u32)
    }

    /// Removes a leader. Returns the oldest follower, which takes its place.
    pub(super) fn end(&mut self, subject: Subject) -> Option<Subject> {
        let key = self.leading.remove(&subject)?;
        let mut group = self.groups.remove(&key)?;
        group.leader = group.followers.pop_first()?;
        let heir = group.leader;
        self.lead(key, group);
        Some(heir)
    }
}
