//! Evaluation of terms on an exchange.

use std::{borrow::Cow, cell::RefCell};

use super::{
    Context,
    expression::{Comparison, Expression, Term},
    field::{Field, Flag, Side},
};
use crate::{
    event::Timestamp,
    model::{
        connection::{Endpoint, Role},
        errno,
        exchange::{Body, Exchange, Fields, Outcome, Quality, Request},
    },
    payload::coding::{self as content, DECODED_LIMIT, End},
    text::{
        redact::Redactor,
        url::{self, Base},
    },
};

impl Expression {
    pub(super) fn matches(&self, exchange: &Exchange, context: &Context<'_>) -> bool {
        match self {
            Self::All(members) => members.iter().all(|member| member.matches(exchange, context)),
            Self::Any(members) => members.iter().any(|member| member.matches(exchange, context)),
            Self::Not(inner) => !inner.matches(exchange, context),
            Self::Term(term) => term.matches(exchange, context),
        }
    }
}

impl Term {
    fn matches(&self, exchange: &Exchange, context: &Context<'_>) -> bool {
        match self {
            Self::Is(flag) => is(*flag, exchange),
            Self::Has(field) => {
                numbers(field, exchange, context.now, &mut |number| {
                    // A message without content has a body of no bytes.
                    number > 0 || !matches!(field, Field::Body(_) | Field::Size)
                }) || !matches!(field, Field::Body(_)) && texts(field, exchange, context, false, &mut |_| true)
            }
            Self::Contains(Field::Body(side), needles) => {
                // Masking a large body costs much more than a search for text that mostly is not there.
                let worth = |body: &[u8]| needles.iter().any(|needle| needle.may_be_mark() || needle.is_in(body));
                let test = &mut |body: &[u8]| needles.iter().any(|needle| needle.is_in(body));
                messages(*side, exchange).any(|(fields, body)| content(fields, body, context, worth, test))
            }
            Self::Contains(field, needles) => {
                texts(field, exchange, context, false, &mut |text| needles.iter().any(|needle| needle.is_in(text)))
            }
            Self::Equals(field, wanted, needles) => {
                *wanted
                    == texts(field, exchange, context, true, &mut |text| needles.iter().any(|needle| needle.is(text)))
            }
            Self::Matches(field, wanted, pattern) => {
                *wanted == texts(field, exchange, context, true, &mut |text| pattern.matches(text))
            }
            Self::Compares(field, comparison, _, wanted) => {
                let equal = |number: u64| wanted.iter().any(|wanted| wanted.range().contains(&number));
                // Only equality has several numbers.
                let limit = wanted.first().map_or(0, |number| *number.range().start());
                let any = |test: &dyn Fn(u64) -> bool| numbers(field, exchange, context.now, &mut |n| test(n));
                match comparison {
                    Comparison::Equal => any(&equal),
                    Comparison::NotEqual => !any(&equal),
                    Comparison::Less => any(&|number| number < limit),
                    Comparison::LessOrEqual => any(&|number| number <= limit),
                    Comparison::Greater => any(&|number| number > limit),
                    Comparison::GreaterOrEqual => any(&|number| number >= limit),
                }
            }
        }
    }
}

fn is(flag: Flag, exchange: &Exchange) -> bool {
    match flag {
        Flag::Failed => exchange.is_failed(),
        Flag::Open => exchange.outcome == Outcome::InFlight,
        Flag::Slow => exchange.is_slow(),
        Flag::Client => exchange.role == Role::Client,
        Flag::Server => exchange.role == Role::Server,
        Flag::Incident => !exchange.incidents.is_empty(),
        // A message that is cut or unframed was observed completely.
        Flag::Partial => exchange.quality > Quality::Unframed,
    }
}

/// Whether a number of the field passes the test.
fn numbers(field: &Field, exchange: &Exchange, now: Timestamp, test: &mut impl FnMut(u64) -> bool) -> bool {
    let timing = &exchange.timing;
    // The current phase of an open exchange lasts until now.
    let open_until = (exchange.outcome == Outcome::InFlight).then(|| timing.end.map_or(now, |end| end.max(now)));
    let phase = |from: Option<Timestamp>, to: Option<Timestamp>| Some(to.or(open_until)?.since(from?));
    let request = exchange.request.as_ref().map(|request| request.body.bytes);
    let response = exchange.response.as_ref().map(|response| response.body.bytes);
    let number = match field {
        Field::Status => exchange.response.as_ref().map(|response| response.status.into()),
        Field::Pid => Some(exchange.process.pid.into()),
        Field::Tid => Some(exchange.process.tid.into()),
        Field::Connection => Some(exchange.connection.id.0),
        Field::Id => Some(exchange.id.0),
        Field::Incident => return exchange.incidents.iter().any(|incident| test(incident.0)),
        Field::Body(Side::Both) => return request.into_iter().chain(response).any(test),
        Field::Body(Side::Request) => request,
        Field::Body(Side::Response) => response,
        Field::Size => (request.is_some() || response.is_some())
            .then(|| request.unwrap_or(0).saturating_add(response.unwrap_or(0))),
        Field::Duration => phase(Some(exchange.started), exchange.end()),
        Field::Connect => phase(timing.connect_start, timing.connect_end),
        Field::Send => phase(timing.request_start, timing.request_end),
        Field::Wait => phase(timing.request_end, timing.response_start),
        Field::Receive => phase(timing.response_start, timing.response_end),
        _ => None,
    };
    number.is_some_and(test)
}

/// Whether a text of the field passes the test. A `whole` comparison also tests parts: the path without its query, the host
/// without its port.
fn texts(
    field: &Field,
    exchange: &Exchange,
    context: &Context<'_>,
    whole: bool,
    test: &mut impl FnMut(&[u8]) -> bool,
) -> bool {
    let redactor = context.redactor;
    let request = exchange.request.as_ref();
    match field {
        Field::Line => line(exchange, redactor, test),
        Field::Method => request.is_some_and(|request| test(request.method.as_bytes())),
        Field::Host => match host(exchange, redactor) {
            Some(host) => address(&host, whole, test),
            None => false,
        },
        Field::Path => request.is_some_and(|request| {
            let path = redactor.url(request.path());
            let short = path.split_once('?').map(|(short, _)| short).filter(|_| whole);
            test(path.as_bytes()) || short.is_some_and(|short| test(short.as_bytes()))
        }),
        Field::Url => request.is_some_and(|request| url(exchange, request, redactor, test)),
        Field::Outcome => test(exchange.outcome.name().as_bytes()),
        Field::Error => exchange.error.and_then(errno::name).is_some_and(|name| test(name.as_bytes())),
        Field::Quality => test(exchange.quality.name().as_bytes()),
        Field::Role => test(exchange.role.name().as_bytes()),
        Field::Protocol => test(exchange.connection.protocol.name().as_bytes()),
        Field::Process => test(exchange.process.name.as_bytes()),
        Field::Local => address(&exchange.connection.local_text, whole, test),
        Field::Remote => address(&exchange.connection.remote_text, whole, test),
        Field::Header(side, name) => sections(*side, exchange).any(|fields| header(fields, name, redactor, test)),
        Field::Body(side) => {
            messages(*side, exchange).any(|(fields, body)| content(fields, body, context, |_| true, test))
        }
        _ => false,
    }
}

/// Whether the text of the line passes: method, URL, status, outcome, missing parts, and process.
fn line(exchange: &Exchange, redactor: Redactor, test: &mut impl FnMut(&[u8]) -> bool) -> bool {
    let words: &[&str] = match exchange.outcome {
        Outcome::Complete => &[],
        Outcome::Reset => &["reset"],
        Outcome::Closed => &["closed"],
        Outcome::Refused => &["refused"],
        Outcome::ConnectTimeout => &["connect_timeout", "no conn"],
        Outcome::NoLocalPort => &["no_local_port", "no port"],
        Outcome::NetworkUnreachable => &["network_unreachable", "no net"],
        Outcome::HostUnreachable => &["host_unreachable", "no host"],
        Outcome::TooManyFiles => &["too_many_files", "no fds"],
        Outcome::ConnectFailed => &["connect_failed", "no conn"],
        Outcome::ClientTimeout => &["client_timeout", "gave up"],
        Outcome::ClosedEarly => &["closed_early", "closed early"],
        Outcome::Unsolicited => &["unsolicited", "unasked"],
        Outcome::NotHttp => &["not_http", "no http"],
        Outcome::InFlight => &["in_flight", "open"],
        Outcome::Upgraded => &["upgraded"],
    };
    let quality: &[&str] = match exchange.quality {
        Quality::Whole => &[],
        Quality::Cut => &["cut"],
        Quality::Unframed => &["unframed"],
        Quality::BodyGap => &["body_gap", "body gap"],
        Quality::JoinedLate => &["joined_late", "joined late"],
        Quality::HeaderGap => &["header_gap", "head gap"],
    };
    let error = exchange.error.filter(|_| exchange.outcome != Outcome::Complete);
    let error = error.map(|error| (errno::name(error).unwrap_or_default(), errno::meaning(error).unwrap_or_default()));
    words.iter().chain(quality).any(|word| test(word.as_bytes()))
        || error.is_some_and(|(name, meaning)| test(name.as_bytes()) || test(meaning.as_bytes()))
        || exchange
            .response
            .as_ref()
            .is_some_and(|response| test(itoa::Buffer::new().format(response.status).as_bytes()))
        || test(exchange.process.name.as_bytes())
        || match &exchange.request {
            Some(request) => test(request.method.as_bytes()) || url(exchange, request, redactor, test),
            None => test(exchange.connection.remote_text.as_bytes()),
        }
}

/// Same text as [`url::whole`], built on the stack if it fits.
fn url(exchange: &Exchange, request: &Request, redactor: Redactor, test: &mut impl FnMut(&[u8]) -> bool) -> bool {
    let path = redactor.url(request.path());
    let (scheme, authority): (&str, Cow<'_, str>) = match url::base(exchange, request) {
        Base::Authority(authority) => ("http://", redactor.authority(authority)),
        Base::Unix(path) => ("http+unix://", url::percent_encoded(path).into()),
        Base::Target => return test(redactor.url(&request.target).as_bytes()),
        Base::Nothing => return test(path.as_bytes()),
    };
    let (slash, path) = url::after_authority(&path);
    joined(&[scheme, &authority, slash, path].map(str::as_bytes), test)
}

fn joined(parts: &[&[u8]], test: &mut impl FnMut(&[u8]) -> bool) -> bool {
    let mut room = [0; 256];
    let mut length = 0;
    for part in parts {
        let Some(place) = room.get_mut(length..length + part.len()) else { return test(&parts.concat()) };
        place.copy_from_slice(part);
        length += part.len();
    }
    test(&room[..length])
}

/// Authority of the request, or the address of the serving end.
fn host(exchange: &Exchange, redactor: Redactor) -> Option<Cow<'_, str>> {
    let named = exchange.request.as_ref().and_then(Request::authority).filter(|authority| !authority.is_empty());
    if let Some(authority) = named {
        return Some(redactor.authority(authority));
    }
    match url::server(exchange) {
        (Endpoint::Unknown, _) => None,
        (_, text) => Some(text.into()),
    }
}

fn address(address: &str, whole: bool, test: &mut impl FnMut(&[u8]) -> bool) -> bool {
    let without_port = || {
        let (host, port) = address.rsplit_once(':')?;
        let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        // `::1` has no port, `[::1]:80` has one.
        (is_port && (host.ends_with(']') || !host.contains(':'))).then_some(host)
    };
    test(address.as_bytes()) || whole && without_port().is_some_and(|host| test(host.as_bytes()))
}

fn sections(side: Side, exchange: &Exchange) -> impl Iterator<Item = &Fields> {
    let request = exchange.request.as_ref().filter(|_| side != Side::Response);
    let response = exchange.response.as_ref().filter(|_| side != Side::Request);
    let request = request.into_iter().flat_map(|request| [&request.headers, &request.trailers]);
    request.chain(response.into_iter().flat_map(|response| [&response.headers, &response.trailers]))
}

fn header(fields: &Fields, name: &str, redactor: Redactor, test: &mut impl FnMut(&[u8]) -> bool) -> bool {
    fields.iter().any(|(found, value)| {
        if name.is_empty() {
            return joined(&[found, b": ", &redactor.header(found, value)], test);
        }
        found.eq_ignore_ascii_case(name.as_bytes()) && test(&redactor.header(found, value))
    })
}

fn messages(side: Side, exchange: &Exchange) -> impl Iterator<Item = (&Fields, &Body)> {
    let request = exchange.request.as_ref().filter(|_| side != Side::Response);
    let response = exchange.response.as_ref().filter(|_| side != Side::Request);
    let request = request.map(|request| (&request.headers, &request.body));
    request.into_iter().chain(response.map(|response| (&response.headers, &response.body)))
}

/// Content as displayed, if `worth` accepts it.
fn content(
    fields: &Fields,
    body: &Body,
    context: &Context<'_>,
    worth: impl Fn(&[u8]) -> bool,
    test: &mut impl FnMut(&[u8]) -> bool,
) -> bool {
    let wire = &body.captured[..];
    if wire.is_empty() {
        return false;
    }
    let mut budget = context.budget.map(RefCell::borrow_mut);
    let decoded = if fields.get("content-encoding").is_some() {
        let room = match &mut budget {
            Some(budget) => budget.room(wire.len(), DECODED_LIMIT, context.now),
            None => Some(DECODED_LIMIT),
        };
        let Some(room) = room else { return false };
        let decoded = content::decode(fields.get_all("content-encoding"), wire, room);
        if let Some(budget) = &mut budget {
            budget.spend(wire.len(), decoded.bytes.len(), &decoded.undone, decoded.end == End::Bound);
        }
        decoded.bytes
    } else {
        Cow::Borrowed(wire)
    };
    if let Some(budget) = &mut budget {
        budget.look(decoded.len());
    }
    drop(budget);
    worth(&decoded) && test(&context.redactor.body(fields.get("content-type"), &decoded))
}
