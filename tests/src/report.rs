//! A second declaration of pidtap's JSON lines: a change of the contract fails a test.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use serde::Deserialize;

use crate::truth::Fields;

/// One line.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are pidtap's contract and explained there")]
pub enum Line {
    Attached { targets: Vec<Target>, time: String },
    Exchange(Box<Exchange>),
    Incident(Box<Incident>),
    Note(Note),
    Loss { time: String, lost_events: u64, lost_bytes: u64, lost: BTreeMap<String, Lost> },
    Summary(Summary),
}

/// A target.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are pidtap's contract and explained there")]
pub struct Target {
    pub pid: u32,
    pub name: String,
}

/// An exchange.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are pidtap's contract and explained there")]
pub struct Exchange {
    pub id: u64,
    pub role: String,
    pub outcome: String,
    pub started: String,
    pub process: Process,
    pub connection: Connection,
    pub request: Request,
    pub response: Option<Response>,
    pub timing: Timing,
    pub quality: String,
    pub incidents: Vec<u64>,
    #[serde(default)]
    pub interim: Vec<Interim>,
    pub error: Option<String>,
    pub errno: Option<i32>,
    #[serde(default)]
    pub request_cut: Option<u64>,
    #[serde(default)]
    pub request_stray: Option<u64>,
    #[serde(default)]
    pub response_cut: Option<u64>,
    #[serde(default)]
    pub response_stray: Option<u64>,
}

/// An incident.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are pidtap's contract and explained there")]
pub struct Incident {
    pub id: u64,
    pub kind: String,
    pub state: String,
    pub title: String,
    pub exchanges: Vec<u64>,
    /// The contents depend on the kind.
    pub evidence: serde_json::Value,
    pub confidence: Confidence,
    pub advice: String,
    pub opened: String,
    pub updated: String,
    pub closed: Option<String>,
    pub process: Process,
    pub connection: Option<Connection>,
}

/// The confidence in an incident.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are pidtap's contract and explained there")]
pub struct Confidence {
    pub level: String,
    pub explicit: Vec<String>,
    pub inferred: Vec<String>,
}

/// A process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are pidtap's contract and explained there")]
pub struct Process {
    pub pid: u32,
    pub tid: u32,
    pub name: String,
}

/// A connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are pidtap's contract and explained there")]
pub struct Connection {
    pub id: u64,
    #[serde(deserialize_with = "or_empty")]
    pub local: String,
    #[serde(deserialize_with = "or_empty")]
    pub remote: String,
    pub tls: Option<serde_json::Value>,
    pub protocol: String,
}

/// Reads an unknown address, which is `null`, as an empty text.
fn or_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

/// A request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are pidtap's contract and explained there")]
pub struct Request {
    pub method: Option<String>,
    pub url: Option<String>,
    pub authority: Option<String>,
    pub path: Option<String>,
    pub version: Option<String>,
    pub headers: Fields,
    pub body: Option<Body>,
    #[serde(default)]
    pub trailers: Fields,
}

/// A response.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are pidtap's contract and explained there")]
pub struct Response {
    pub status: u16,
    pub headers: Fields,
    pub body: Body,
    pub reason: String,
    pub version: String,
    #[serde(default)]
    pub trailers: Fields,
}

/// An interim response.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are pidtap's contract and explained there")]
pub struct Interim {
    pub status: u16,
    pub headers: Fields,
    pub time: String,
}

/// A body.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are pidtap's contract and explained there")]
pub struct Body {
    pub bytes: u64,
    pub captured: u64,
    pub text: Option<String>,
    pub base64: Option<String>,
    pub decoded: Option<String>,
    pub undecoded: Option<String>,
    #[serde(default)]
    pub truncated: bool,
    #[serde(default)]
    pub damaged: bool,
    #[serde(default)]
    pub masked: bool,
    #[serde(default)]
    pub missing: u64,
}

impl Body {
    /// The captured bytes, from text or base64.
    ///
    /// # Errors
    ///
    /// The body has neither text nor base64, or both.
    pub fn content(&self) -> anyhow::Result<Vec<u8>> {
        match (&self.text, &self.base64) {
            (Some(text), None) => Ok(text.clone().into_bytes()),
            (None, Some(text)) => Ok(base64::engine::general_purpose::STANDARD.decode(text)?),
            _ => bail!("a body has text or base64, not both: {self:?}"),
        }
    }
}

/// Timing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are pidtap's contract and explained there")]
pub struct Timing {
    pub connect_us: Option<u64>,
    pub tls_us: Option<u64>,
    pub send_us: Option<u64>,
    pub wait_us: Option<u64>,
    pub receive_us: Option<u64>,
    pub total_us: Option<u64>,
    pub open_us: Option<u64>,
}

/// A note.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are pidtap's contract and explained there")]
pub struct Note {
    pub kind: String,
    pub time: String,
    pub process: Process,
    pub connection: Connection,
    pub protocol: Option<String>,
    pub sent: Option<u64>,
    pub received: Option<u64>,
}

/// The summary: the last line.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are pidtap's contract and explained there")]
pub struct Summary {
    pub exchanges: u64,
    pub incidents: u64,
    pub lost_events: u64,
    pub lost_bytes: u64,
    pub duration_ms: u64,
    pub lost: BTreeMap<String, Lost>,
    pub time: String,
    pub filtered: Option<u64>,
    #[serde(default)]
    pub unseen: BTreeMap<String, u64>,
}

/// Loss of one cause.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are pidtap's contract and explained there")]
pub struct Lost {
    pub events: u64,
    pub bytes: u64,
}

fn events(lost: &BTreeMap<String, Lost>) -> u64 {
    lost.values().map(|lost| lost.events).sum()
}

/// All lines of a trace.
#[derive(Clone, Debug)]
pub struct Report {
    /// From the first line.
    pub targets: Vec<Target>,
    /// Exchanges in the order of the lines.
    pub exchanges: Vec<Exchange>,
    /// Notes in the order of the lines.
    pub notes: Vec<Note>,
    /// Incidents in the order of the lines, one for each update.
    pub incidents: Vec<Incident>,
    /// From the last line.
    pub summary: Summary,
}

impl Report {
    /// Reads lines, which must begin with `attached` and end with `summary`.
    ///
    /// # Errors
    ///
    /// A line is not pidtap's, or the order is another.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut targets = None;
        let mut summary = None;
        let mut lost = 0;
        let (mut exchanges, mut notes, mut incidents) = (Vec::new(), Vec::new(), Vec::<Incident>::new());
        for (number, line) in text.lines().enumerate() {
            let shown = || format!("line {}: {}", number + 1, &line[..line.len().min(400)]);
            if summary.is_some() {
                bail!("a line after the summary, {}", shown());
            }
            if (number == 0) != line.starts_with(r#"{"type":"attached""#) {
                bail!("`attached` is the first line and no other, {}", shown());
            }
            match serde_json::from_str(line).with_context(shown)? {
                Line::Attached { targets: found, .. } => targets = Some(found),
                Line::Exchange(exchange) => exchanges.push(*exchange),
                Line::Incident(incident) => {
                    let known = incidents.iter().any(|known| known.id == incident.id);
                    if known == (incident.state == "open") {
                        bail!("an incident is opened once, before all else, {}", shown());
                    }
                    incidents.push(*incident);
                }
                Line::Note(note) => notes.push(note),
                Line::Loss { lost: causes, .. } => {
                    // `lost_events` excludes events that only the recording lacks.
                    let events = events(&causes);
                    if events <= lost {
                        bail!("loss that is no more, {}", shown());
                    }
                    lost = events;
                }
                Line::Summary(end) => summary = Some(end),
            }
        }
        let summary = summary.context("there is no summary")?;
        if events(&summary.lost) < lost {
            bail!("{lost} lost events were said, the summary says {:?}", summary.lost);
        }
        if summary.exchanges != exchanges.len() as u64 + summary.filtered.unwrap_or(0) {
            bail!("the summary says {} exchanges, there are {}", summary.exchanges, exchanges.len());
        }
        let opened = incidents.iter().filter(|incident| incident.state == "open").count();
        if summary.incidents != opened as u64 {
            bail!("the summary says {} incidents, there are {opened}", summary.incidents);
        }
        Ok(Self { targets: targets.context("there is no attached line")?, exchanges, notes, incidents, summary })
    }
}
