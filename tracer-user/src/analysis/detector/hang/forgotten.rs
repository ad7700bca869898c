//! Calls whose answers nobody reads, one after the other: a leak, told once with their number.

use std::{collections::BTreeSet, sync::Arc};

use rustc_hash::FxHashMap;

use super::{
    call::{Candidate, Subject},
    evidence::{Doing, Reason},
    verdict::Verdict,
};
use crate::{
    analysis::detector::{Evidence, Report},
    model::connection::Role,
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

/// Calls that were forgotten alike.
#[derive(Debug)]
struct Group {
    leader: Subject,
    followers: BTreeSet<Subject>,
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

    /// A call that did not lead is over.
    pub(super) fn leave(&mut self, key: &Key, subject: Subject) {
        if let Some(group) = self.groups.get_mut(key) {
            group.followers.remove(&subject);
        }
    }

    /// The call that leads those that are forgotten like this.
    pub(super) fn leader(&self, key: &Key) -> Option<Subject> {
        self.groups.get(key).map(|group| group.leader)
    }

    /// Calls that this one's incident stands for.
    pub(super) fn count(&self, subject: Subject) -> u32 {
        let group = self.leading.get(&subject).and_then(|key| self.groups.get(key));
        group.map_or(1, |group| 1 + group.followers.len() as u32)
    }

    /// The call that led is over: the oldest of the others takes its place.
    pub(super) fn end(&mut self, subject: Subject) -> Option<Subject> {
        let key = self.leading.remove(&subject)?;
        let mut group = self.groups.remove(&key)?;
        group.leader = group.followers.pop_first()?;
        let heir = group.leader;
        self.lead(key, group);
        Some(heir)
    }
}
