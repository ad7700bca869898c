//! The gaps between the attempts of a chain, by another clock than pidtap's.

use std::collections::BTreeMap;

use anyhow::bail;

use crate::flaky::{Arrival, Arrivals};

/// Gaps by chain.
pub(super) type Gaps = BTreeMap<String, Vec<Gap>>;

/// A gap, in milliseconds.
pub(super) struct Gap {
    pub(super) logged: f64,
    /// The upper bound, where the client logged the gap. The client takes its times outside of the system calls that pidtap
    /// observes: so the true gap is no shorter than `logged`, and no longer than from the start of the attempt before to the end
    /// of the attempt after.
    pub(super) at_most: Option<f64>,
}

/// Gaps by the server's log.
pub(super) fn of_server(arrivals: &Arrivals) -> Gaps {
    let gap = |pair: &[Arrival]| Gap {
        logged: pair[1].came.duration_since(pair[0].answered).as_secs_f64() * 1e3,
        at_most: None,
    };
    arrivals.iter().map(|(chain, attempts)| (chain.clone(), attempts.windows(2).map(gap).collect())).collect()
}

/// Gaps by the tracee's log: with 50 client threads, the server's threads run too late to be a reference.
pub(super) fn of_client(log: &str) -> anyhow::Result<Gaps> {
    let mut times: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    let mut gaps = Gaps::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [chain, began, ended] = words[..] else { bail!("a line of the log is {line:?}") };
        let (began, ended): (f64, f64) = (began.parse()?, ended.parse()?);
        let gaps = gaps.entry(chain.to_owned()).or_default();
        if let Some((before_began, before_ended)) = times.insert(chain, (began, ended)) {
            gaps.push(Gap { logged: (began - before_ended) / 1e3, at_most: Some((ended - before_began) / 1e3) });
        }
    }
    Ok(gaps)
}
