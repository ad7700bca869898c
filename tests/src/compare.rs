//! Comparison of pidtap's report with ground truth.

use std::{collections::BTreeMap, fmt::Debug};

use anyhow::bail;
use sha2::{Digest as _, Sha256};

use crate::{
    report::{self, Report},
    truth::{self, Content, Fields, Role, hex, id_of},
};

/// Number of differences in an error. They must suffice to understand a fault that appears once in many runs.
const SHOWN: usize = 40;

/// Expectations besides equality.
#[derive(Clone, Copy, Debug)]
pub struct Expectation<'a> {
    /// The quality of every exchange, if all have the same.
    pub quality: Option<&'a str>,
    /// Whether lost events are a failure.
    pub nothing_lost: bool,
    /// Whether bodies are compared by digest if both sides have one.
    pub digests: bool,
}

impl Default for Expectation<'_> {
    fn default() -> Self {
        Self { quality: Some("whole"), nothing_lost: true, digests: true }
    }
}

/// Checks that the report has every exchange of `truth` exactly once, equal in all fields, in the same order on each connection, and
/// no other exchange.
///
/// # Errors
///
/// The report differs; the error lists the differences.
pub fn compare(truth: &[truth::Exchange], report: &Report, expectation: &Expectation<'_>) -> anyhow::Result<()> {
    let mut differences = Vec::new();
    if expectation.nothing_lost && (report.summary.lost_events, report.summary.lost_bytes) != (0, 0) {
        differences.push(format!("lost: {:?}", report.summary.lost));
    }
    let mut reported: BTreeMap<(String, &str), &report::Exchange> = BTreeMap::new();
    for exchange in &report.exchanges {
        let target = target_of(exchange);
        let key = (exchange.role.clone(), id_of(target));
        if reported.insert(key, exchange).is_some() {
            differences.push(format!("{} {target:?} is reported twice", exchange.role));
        }
    }
    for exchange in truth {
        let role = if exchange.role == Role::Client { "client" } else { "server" };
        match reported.remove(&(role.to_owned(), exchange.id())) {
            Some(report) => one(exchange, report, expectation, &mut differences),
            None => differences.push(format!("{role} {:?} is not reported", exchange.request.target)),
        }
    }
    for ((role, id), exchange) in &reported {
        differences.push(format!("{role} {id:?} is invented: {exchange:?}"));
    }
    order(truth, report, &mut differences);
    if differences.is_empty() {
        return Ok(());
    }
    let count = differences.len();
    differences.truncate(SHOWN);
    let report::Summary { lost_events, lost_bytes, duration_ms, unseen, .. } = &report.summary;
    bail!(
        "{count} differences; {} exchanges were made, {} reported in {duration_ms} ms, with {} notes; lost {lost_events} \
         events, {lost_bytes} bytes; unseen {unseen:?}:\n{}",
        truth.len(),
        report.exchanges.len(),
        report.notes.len(),
        differences.join("\n")
    )
}

/// The request target, by the fields of the report.
fn target_of(exchange: &report::Exchange) -> &str {
    let path = exchange.request.path.as_deref().unwrap_or_default();
    if path.is_empty() { exchange.request.authority.as_deref().unwrap_or_default() } else { path }
}

fn one(
    truth: &truth::Exchange,
    report: &report::Exchange,
    expectation: &Expectation<'_>,
    differences: &mut Vec<String>,
) {
    let mut list = Differences { name: format!("{:?} {}", truth.role, truth.request.target), list: differences };
    list.same("outcome", &truth.outcome, &report.outcome);
    if let Some(quality) = expectation.quality {
        list.same("quality", &quality, &report.quality.as_str());
    }
    if !truth.local.is_empty() {
        list.same("local", &truth.local, &report.connection.local);
        list.same("remote", &truth.remote, &report.connection.remote);
    }
    list.same("method", &Some(truth.request.method.as_str()), &report.request.method.as_deref());
    let path = match truth.request.target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None if truth.request.method == "CONNECT" => "",
        None => &truth.request.target,
    };
    list.same("path", &Some(path), &report.request.path.as_deref());
    list.fields("request headers", truth.request.headers.as_ref(), &report.request.headers);
    match &report.request.body {
        Some(body) => list.body("request", &truth.request.body, body, &report.request.trailers, expectation),
        None => list.list.push(format!("{}: no request body", list.name)),
    }
    match (&truth.response, &report.response) {
        (None, None) => {}
        (Some(truth), Some(seen)) => {
            list.same("status", &truth.status, &seen.status);
            list.fields("response headers", truth.headers.as_ref(), &seen.headers);
            list.body("response", &truth.body, &seen.body, &seen.trailers, expectation);
            let interim: Vec<u16> = report.interim.iter().map(|interim| interim.status).collect();
            list.same("interim", &truth.interim, &interim);
        }
        (truth, seen) => list.same("response", &format!("{truth:?}"), &format!("{seen:?}")),
    }
}

struct Differences<'a> {
    name: String,
    list: &'a mut Vec<String>,
}

impl Differences<'_> {
    fn same<T: PartialEq + Debug>(&mut self, what: &str, truth: &T, report: &T) {
        if truth != report {
            self.list.push(format!("{}: {what} was {truth:?}, reported as {report:?}", self.name));
        }
    }

    fn fields(&mut self, what: &str, truth: Option<&Fields>, report: &Fields) {
        let Some(truth) = truth else { return };
        if lower(truth) != lower(report) {
            let short = |fields: &Fields| format!("{fields:.300?}").chars().take(1500).collect::<String>();
            self.list.push(format!("{}: {what} were {}, reported as {}", self.name, short(truth), short(report)));
        }
    }

    fn body(
        &mut self,
        what: &str,
        truth: &Content,
        report: &report::Body,
        trailers: &Fields,
        expectation: &Expectation<'_>,
    ) {
        self.same(&format!("{what} body length"), &truth.bytes, &report.bytes);
        self.same(&format!("{what} trailers"), &lower(&truth.trailers), &lower(trailers));
        let Some(digest) = truth.sha256.as_ref().filter(|_| expectation.digests) else { return };
        if report.decoded.is_some() {
            return;
        }
        match report.content() {
            Ok(content) => self.same(&format!("{what} body digest"), digest, &hex(&Sha256::digest(&content))),
            Err(error) => self.list.push(format!("{}: {error}", self.name)),
        }
    }
}

fn lower(fields: &Fields) -> Fields {
    fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect()
}

/// Compares the order of ids on each connection, if the truth has addresses.
fn order(truth: &[truth::Exchange], report: &Report, differences: &mut Vec<String>) {
    let mut expected: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for exchange in truth.iter().filter(|exchange| !exchange.local.is_empty()) {
        expected.entry((&exchange.local, &exchange.remote)).or_default().push(exchange.id());
    }
    let mut exchanges: Vec<_> = report.exchanges.iter().collect();
    exchanges.sort_by_key(|exchange| exchange.id);
    let mut seen: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for exchange in exchanges {
        let connection = &exchange.connection;
        seen.entry((&connection.local, &connection.remote)).or_default().push(id_of(target_of(exchange)));
    }
    for (connection, ids) in &expected {
        let other = seen.get(connection).map(Vec::as_slice).unwrap_or_default();
        if ids != other {
            differences.push(format!("order on {connection:?} was {ids:?}, reported as {other:?}"));
        }
    }
}

/// Checks by `X-Echo-Id` that no request is paired with the response to another. Returns the number of pairs that have the field.
///
/// # Errors
///
/// A pair is wrong.
pub fn no_wrong_pair(report: &Report) -> anyhow::Result<usize> {
    let mut told = 0;
    for exchange in &report.exchanges {
        let (Some(path), Some(response)) = (&exchange.request.path, &exchange.response) else { continue };
        let Some((_, id)) = response.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-echo-id")) else {
            continue;
        };
        if id_of(path) != id {
            bail!("{path} is paired with the answer to {id}: {exchange:?}");
        }
        told += 1;
    }
    Ok(told)
}
