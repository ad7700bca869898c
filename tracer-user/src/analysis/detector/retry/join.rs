//! Joining of attempts to chains, and the reports about it.

use super::{
    CHATTY, ChainId, Retry, RetryResult,
    bond::{Beginning, Bond},
    chain::Doing,
};
use crate::{analysis::detector::Findings, event::Timestamp};

impl Retry {
    /// Adds the attempt to the chain.
    pub(super) fn join(
        &mut self,
        id: ChainId,
        bond: Bond,
        beginning: &Beginning<'_>,
        doing: Doing,
        now: Timestamp,
        findings: &mut Findings,
    ) {
        let thresholds = &self.thresholds;
        let Some(chain) = self.chains.get_mut(&id) else { return };
        let exchange = if let Doing::Trying(exchange) = doing { Some(exchange) } else { None };
        for name in &bond.explicit {
            if !chain.confidence.explicit.contains(name) {
                chain.confidence.explicit.push(name);
            }
        }
        if chain.confidence.inferred.is_empty() {
            let same = if chain.call.method.is_some() {
                "same method, authority, path and body"
            } else {
                "connects to the same address"
            };
            chain.confidence.inferred.push(same);
        }
        chain.confidence.doubtful |= bond.doubtful;
        chain.held |= bond.held;
        chain.begin(exchange, beginning.started, beginning.remote, thresholds);
        if let Some((_, marks)) = beginning.request {
            if let Some((_, number)) = marks.number.filter(|(_, number)| *number > chain.attempts) {
                // The attempts in between were not seen.
                chain.attempts = number;
                if let Some(last) = chain.listed.last_mut() {
                    last.number = number;
                }
            }
            chain.marks = marks;
        }
        if chain.doing == Doing::GivenUp {
            // The answered caller does not wait for this attempt.
            chain.caller = None;
        }
        chain.doing = doing;
        chain.process.tid = beginning.process.tid;
        if let Some(gap) = chain.listed.last().and_then(|attempt| attempt.gap) {
            self.upstreams.learn_gap(beginning.key, chain.attempts - 1, gap);
        }
        if chain.caller.is_none()
            && let Some(caller) = bond.caller
        {
            self.awaited.entry(caller.exchange).or_default().push(id);
            chain.caller = Some(caller);
        }
        self.compare(id);
        self.tell(id, now, findings);
    }

    /// Detects other chains that retry at the same moments, and callers that retry as well.
    pub(super) fn compare(&mut self, id: ChainId) {
        let Some(chain) = self.chains.get(&id) else { return };
        let Some((started, gap)) = chain.listed.last().and_then(|last| Some((last.started, last.gap?))) else { return };
        let near = (gap / 50).clamp(2_000_000, 100_000_000);
        let mut in_step = 0;
        if chain.attempts >= 3 && gap >= self.thresholds.hot_gap.as_nanos() as u64 {
            in_step = self
                .chains
                .values()
                .filter(|other| other.upstream == chain.upstream && other.attempts >= 3)
                .filter_map(|other| other.listed.last())
                .filter(|last| last.started.0.abs_diff(started.0) <= near)
                .count();
        }
        let layered = chain
            .caller
            .as_ref()
            .and_then(|caller| self.callers.get(caller.exchange))
            .is_some_and(|inbound| inbound.number() > 1 || self.failed_callers.contains(&inbound.asked));
        let Some(chain) = self.chains.get_mut(&id) else { return };
        if self.thresholds.in_step > 0 && in_step >= self.thresholds.in_step as usize {
            chain.pathology("in_step");
        }
        if layered {
            chain.pathology("layered");
        }
    }

    /// Reports the chain if the evidence suffices and something changed.
    pub(super) fn tell(&mut self, id: ChainId, now: Timestamp, findings: &mut Findings) {
        let Some(chain) = self.chains.get_mut(&id) else { return };
        let upstream = self.upstreams.counts(chain.upstream);
        match (chain.opened, chain.may_go_elsewhere()) {
            (None, Some(until)) if until > now => {
                chain.owed = true;
                self.next_look = self.next_look.min(until);
            }
            (None, _) if chain.attempts > 1 && chain.is_sure(&self.thresholds) => {
                chain.owed = false;
                chain.opened = Some(findings.open(now, chain.report(RetryResult::Ongoing, upstream)));
                chain.said = now;
            }
            (Some(_), _) if chain.attempts <= CHATTY || chain.may_tell() <= now => chain.tell(upstream, now, findings),
            (Some(_), _) => {
                chain.owed = true;
                self.next_look = self.next_look.min(chain.may_tell());
            }
            (None, _) => chain.owed = false,
        }
        self.loose.claim(chain);
    }
}
