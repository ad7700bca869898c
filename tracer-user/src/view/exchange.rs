//! An exchange in words.

use super::viewpoint::Viewpoint;
use crate::{
    analysis::detector::Evidence,
    event::Timestamp,
    model::{
        connection::Role,
        errno,
        exchange::{Exchange, Outcome, Quality},
    },
    text::{
        escape::Visible,
        redact::Redactor,
        units,
        url::{self, Base},
    },
};

/// Bytes of a request target that are shown, at most. A target can be as long as a head may be, and each frame redacts and escapes
/// it again.
const TARGET: usize = 4096;

/// Host and path, redacted and escaped. The host is empty where the path holds it.
pub fn place(exchange: &Exchange, redactor: Redactor) -> (String, String) {
    let Some(request) = &exchange.request else {
        let (_, server) = url::server(exchange);
        let why = if exchange.outcome.no_connection().is_some() { "" } else { " (request not seen)" };
        return (Visible(server).to_string(), why.to_owned());
    };
    let host = match url::base(exchange, request) {
        // Redacted before the cut: user information ends with an `@` that may stand behind it.
        Base::Target => return (String::new(), Visible(beginning(&redactor.url(&request.target))).to_string()),
        Base::Authority(authority) => Visible(&redactor.authority(authority)).to_string(),
        Base::Unix(path) => format!("unix:{}:", Visible(path)),
        Base::Nothing => String::new(),
    };
    let path = redactor.url(beginning(request.path()));
    let gap = if path.starts_with('/') { "" } else { " " };
    (host, format!("{gap}{}", Visible(&path)))
}

fn beginning(target: &str) -> &str {
    &target[..target.floor_char_boundary(TARGET)]
}

/// `[try 2, body gap]`: remarks of its incidents, its outcome and its gaps; empty without any.
pub fn remarks(exchange: &Exchange, viewpoint: &Viewpoint<'_>) -> String {
    let mut words: Vec<String> = Vec::new();
    for incident in exchange.incidents.iter().filter_map(|id| viewpoint.store.incidents().get(*id)) {
        match &incident.report.evidence {
            Evidence::Retry(evidence) => {
                if let Some(attempt) = evidence.attempt_of(exchange.id) {
                    words.push(format!("try {}", attempt.number));
                }
            }
            Evidence::Hang(_) => words.push("hung".to_owned()),
            Evidence::Duplicate(_) => words.push("twice".to_owned()),
            Evidence::Stale(_) => words.push("stale".to_owned()),
            _ => {}
        }
    }
    if let Some(remark) = exchange.outcome.remark().filter(|_| exchange.outcome != Outcome::Upgraded) {
        words.push(remark.to_owned());
    }
    match exchange.quality {
        Quality::Whole => {}
        Quality::Cut => words.push("cut".to_owned()),
        Quality::Unframed => words.push("unframed".to_owned()),
        Quality::BodyGap => words.push("body gap".to_owned()),
        Quality::JoinedLate => words.push("joined late".to_owned()),
        Quality::HeaderGap => words.push("head gap".to_owned()),
    }
    if words.is_empty() { String::new() } else { format!("[{}]", words.join(", ")) }
}

/// The end of the time in which it is open: now, or the end of tracing.
pub fn until(exchange: &Exchange, viewpoint: &Viewpoint<'_>) -> Timestamp {
    let end = exchange.timing.end.filter(|_| viewpoint.is_over());
    end.unwrap_or_else(|| viewpoint.store.now())
}

/// `RESET after 200 OK`; `None` where the response was not seen and nothing else is known.
pub fn outcome(exchange: &Exchange, redactor: Redactor) -> Option<String> {
    let status = exchange.response.as_ref().map(|response| {
        let reason = redactor.text(&response.reason);
        let reason = Visible(&reason);
        if response.reason.is_empty() { response.status.to_string() } else { format!("{} {reason}", response.status) }
    });
    match (exchange.outcome.word(), status) {
        (None, status) => status,
        (Some(word), Some(status)) => Some(format!("{word} after {status}")),
        (Some(word), None) => Some(word.to_owned()),
    }
}

/// `took 1.52s`, `for at least 3s`.
pub fn duration(exchange: &Exchange, viewpoint: &Viewpoint<'_>) -> String {
    let duration = viewpoint.store.duration(exchange);
    let took = if exchange.outcome == Outcome::InFlight { "for" } else { "took" };
    let late = exchange.quality == Quality::JoinedLate;
    match units::least(Some(duration), late).as_str() {
        "-" => format!("{took} an unknown time"),
        _ if late => format!("{took} at least {}", units::duration(Some(duration))),
        _ => format!("{took} {}", units::duration(Some(duration))),
    }
}

/// The reason for the outcome, with the error of the kernel; `None` where the outcome says everything.
pub fn reason(exchange: &Exchange, viewpoint: &Viewpoint<'_>) -> Option<String> {
    let client = exchange.role == Role::Client;
    let words = match exchange.outcome {
        Outcome::Upgraded => "upgraded: the connection carries another protocol from here on",
        Outcome::Reset => "the connection was reset",
        Outcome::Closed if client => "the peer closed the connection before the response was complete",
        Outcome::Closed => "this process closed the connection before the response was complete",
        Outcome::ClosedEarly if client => "this process closed the connection early: it had what it needed",
        Outcome::ClosedEarly => "the client closed the connection early: it had what it needed",
        Outcome::Unsolicited => "unsolicited: the server sent it before it closed an idle connection",
        Outcome::NotHttp => "the response is not HTTP",
        Outcome::ClientTimeout if client => "this process gave up and closed the connection",
        Outcome::ClientTimeout => "the client gave up",
        Outcome::InFlight if viewpoint.is_over() => "it was open when tracing ended",
        Outcome::Complete | Outcome::InFlight => "",
        outcome => outcome.no_connection().unwrap_or_default(),
    };
    let error = match exchange.error.map(|number| (number, errno::name(number), errno::meaning(number))) {
        None => String::new(),
        // The words have the meaning of these already.
        Some((errno::ECONNRESET | errno::ECONNREFUSED, Some(name), _)) => format!(" ({name})"),
        Some((_, Some(name), Some(meaning))) => format!(" ({name}: {meaning})"),
        Some((number, ..)) => format!(" (error {number})"),
    };
    let text = format!("{words}{error}");
    (!text.is_empty()).then_some(text)
}

/// `asks 10.0.0.7:80 for client.example:1234 to db:5432`: the peer, and the ends that a proxy or a tunnel names.
pub fn peer(exchange: &Exchange, redactor: Redactor) -> String {
    let connection = &exchange.connection;
    let verb = if exchange.role == Role::Client { "calls" } else { "answers" };
    let end = |word: &str, end: &Option<Box<str>>| {
        end.as_ref().map_or_else(String::new, |end| format!(" {word} {}", Visible(&redactor.url(end))))
    };
    let (client, destination) = (end("for", &connection.client), end("to", &connection.destination));
    format!("{verb} {}{client}{destination}", Visible(&connection.remote_text))
}

/// Parts of the messages that were not seen; `None` without any.
pub fn quality(quality: Quality) -> Option<&'static str> {
    match quality {
        Quality::Whole => None,
        Quality::Cut => Some("cut: a message ended before its framing says"),
        Quality::Unframed => Some("unframed: the framing of a message is invalid or does not cover all its bytes"),
        Quality::BodyGap => Some("body gap: bytes of a body were not captured; its size is exact"),
        Quality::JoinedLate => {
            Some("joined late: the call was in progress when tracing began, so its start was not seen")
        }
        Quality::HeaderGap => Some("head gap: bytes of a head were not captured; their content is missing"),
    }
}
