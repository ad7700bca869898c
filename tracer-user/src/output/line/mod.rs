//! Lines for people: one an exchange.
//!
//! ```text
//! 04:05:06.123 ! → 502     POST      1.52s    34B  1.2kB #4    payments.local/charge  [body gap]
//! ```
//!
//! Time of the start; a mark (`!` failed, `*` slow, `…` open); who asked (`→` the process sent the request, `←` it
//! answers); status or outcome; method; duration; sizes of both bodies on the wire; connection; process, where there are
//! several; where to; what to know about it. A narrow terminal gets fewer columns, a file gets lines of any length.
//! Marks and words carry all the meaning: colour only repeats it.
//!
//! An incident has a line when it begins and one when it is over. Its remarks on single exchanges stand in brackets
//! behind them.

mod incident;
mod styled;

use std::io::{self, Write};

use incident::Incidents;
use styled::{Style, StyledLine};
use tracer_common::event::loss;

use super::{UpdateSink, buffer::LineBuffer};
use crate::{
    engine::{Attached, Loss, Note, NoteKind, Summary, Update},
    event::Timestamp,
    model::{
        connection::{Endpoint, Protocol, Role},
        errno,
        exchange::{Answer, Exchange, Outcome, Quality, SLOW_NS},
    },
    text::{
        clock::Clock,
        escape::Visible,
        redact::{MarkKey, Redactor},
        units,
        url::{self, Base},
    },
};

/// Options of lines.
#[derive(Clone, Debug, Default)]
pub struct LineOptions {
    /// Columns of the terminal; `None` without one: lines are not cut.
    pub width: Option<usize>,
    /// Use colour.
    pub colour: bool,
    /// Seconds to add to UTC for the times shown.
    pub utc_offset_s: i32,
    /// Print secrets as they are.
    pub show_secrets: bool,
    /// Key of the marks that stand for secrets.
    pub mark_key: Option<MarkKey>,
}

/// Targets that the first line names, at most.
const NAMED_TARGETS: usize = 4;
/// Width from which on all columns are shown.
const WIDE: usize = 100;
/// Width from which on the address is shown beside the name.
const WIDEST: usize = 140;
/// Width from which on there are columns.
const MEDIUM: usize = 60;

/// Writes lines.
#[derive(Debug)]
pub struct LineOutput<W> {
    buffer: LineBuffer<W>,
    line: StyledLine,
    options: LineOptions,
    redactor: Redactor,
    clock: Clock,
    /// The first process that was seen.
    process: Option<u32>,
    several_processes: bool,
    failed: u64,
    slow: u64,
    open: u64,
    /// Number of exchanges that the filter rejected; `None` without a filter.
    filtered: Option<u64>,
    /// Number of exchanges whose bodies the filter had no time to decode.
    doubtful: u64,
    incidents: Incidents,
}

/// State of an exchange that its mark shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    Failed,
    Slow,
    Open,
}

impl<W: Write> LineOutput<W> {
    /// Writes to `writer`, several lines at a time.
    pub fn new(writer: W, options: LineOptions) -> Self {
        Self {
            buffer: LineBuffer::new(writer),
            line: StyledLine::default(),
            redactor: Redactor::new(options.show_secrets).with_key(options.mark_key),
            clock: Clock::new(options.utc_offset_s),
            options,
            process: None,
            several_processes: false,
            failed: 0,
            slow: 0,
            open: 0,
            filtered: None,
            doubtful: 0,
            incidents: Incidents::default(),
        }
    }

    /// The writer, which lacks the lines that were not flushed.
    pub fn get_ref(&self) -> &W {
        self.buffer.get_ref()
    }

    /// Ends a line of words, which is never cut: a terminal wraps it.
    fn finish_words(&mut self) -> io::Result<()> {
        self.line.write_to(&mut self.buffer.text, None, self.options.colour);
        self.buffer.line_done()
    }

    fn attached(&mut self, attached: &Attached) -> io::Result<()> {
        self.several_processes |= attached.targets.len() > 1;
        self.line.style(Style::Strong);
        self.line.text.push_str("attached to ");
        for (index, target) in attached.targets.iter().take(NAMED_TARGETS).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            self.line.put(format_args!("{comma}{} ({})", Visible(&target.name), target.pid));
        }
        if let Some(more) = attached.targets.len().checked_sub(NAMED_TARGETS + 1) {
            self.line.put(format_args!(" and {} more", more + 1));
        }
        self.line.style(Style::Faint);
        self.line.text.push_str("   → outbound  ← inbound   ! failed  * slow (over 1s)  … open");
        self.finish_words()
    }

    fn exchange(&mut self, exchange: &Exchange) -> io::Result<()> {
        let pid = exchange.process.pid;
        self.several_processes |= *self.process.get_or_insert(pid) != pid;
        let mark = self.count(exchange);
        match self.options.width {
            Some(width) if width < MEDIUM => self.narrow(exchange, mark),
            Some(width) if width < WIDE => self.columns(exchange, mark, false),
            _ => self.columns(exchange, mark, true),
        }
        self.remarks(exchange);
        self.line.write_to(&mut self.buffer.text, self.options.width, self.options.colour);
        self.buffer.line_done()
    }

    fn count(&mut self, exchange: &Exchange) -> Mark {
        let slow = exchange.is_slow();
        self.slow += u64::from(slow);
        if exchange.outcome == Outcome::InFlight {
            self.open += 1;
            Mark::Open
        } else if exchange.is_failed() {
            self.failed += 1;
            Mark::Failed
        } else if slow {
            Mark::Slow
        } else {
            Mark::None
        }
    }

    /// Writes fixed columns, then the URL.
    fn columns(&mut self, exchange: &Exchange, mark: Mark, wide: bool) {
        self.time(exchange.started, wide);
        self.mark_and_arrow(exchange, mark);
        self.status(exchange, mark, 7);
        self.line.put(format_args!("{:<7} ", Visible(method(exchange))));
        self.duration(exchange, 7);
        self.line.style(Style::Faint);
        let sent = exchange.request.as_ref().map(|request| request.body.bytes);
        let answered = exchange.response.as_ref().map(|response| response.body.bytes);
        if wide {
            self.line.put(format_args!("{:>6} ", units::size(sent)));
        }
        self.line.put(format_args!("{:>6} ", units::size(answered)));
        if wide {
            self.line.put(format_args!("#{:<4} ", exchange.connection.id.0));
        }
        if self.several_processes {
            let process = &exchange.process;
            if wide {
                let name = Visible(&process.name);
                self.line.put(format_args!("{:<20} ", format!("{name}[{}]", process.pid)));
            } else {
                self.line.put(format_args!("{:<7} ", process.pid));
            }
        }
        self.line.style(Style::Plain);
        self.url(exchange);
    }

    /// Writes the essential parts, without columns.
    fn narrow(&mut self, exchange: &Exchange, mark: Mark) {
        self.mark_and_arrow(exchange, mark);
        self.status(exchange, mark, 0);
        self.line.put(format_args!("{} ", Visible(method(exchange))));
        self.url(exchange);
        self.line.text.push(' ');
        self.duration(exchange, 0);
    }

    fn time(&mut self, time: Timestamp, with_fraction: bool) {
        let text = self.clock.micros(time);
        // `04:05:06.123` of `2026-11-21T04:05:06.123456`.
        let text = if with_fraction { &text[11..23] } else { &text[11..19] };
        self.line.style(Style::Faint);
        self.line.text.extend(text.iter().map(|&byte| char::from(byte)));
        self.line.text.push(' ');
    }

    fn mark_and_arrow(&mut self, exchange: &Exchange, mark: Mark) {
        let (sign, style) = match mark {
            Mark::None => (' ', Style::Plain),
            Mark::Failed => ('!', Style::Bad),
            Mark::Slow => ('*', Style::Slow),
            Mark::Open => ('…', Style::Open),
        };
        let arrow = match exchange.role {
            Role::Client => '→',
            Role::Server => '←',
        };
        self.line.style(style);
        self.line.put(format_args!("{sign} {arrow} "));
    }

    fn status(&mut self, exchange: &Exchange, mark: Mark, width: usize) {
        let status = exchange.response.as_ref().map(|response| response.status);
        let style = match (mark, status) {
            (Mark::Failed, _) => Style::Bad,
            (Mark::Open, _) => Style::Open,
            (_, Some(status)) if Answer::of(status) == Answer::Success => Style::Good,
            (_, Some(status)) if Answer::of(status).is_client_error() => Style::Slow,
            _ => Style::Plain,
        };
        self.line.style(style);
        match (exchange.outcome.word(), status) {
            (None, Some(status)) => self.line.put(format_args!("{status:<width$} ")),
            (None, None) => self.line.put(format_args!("{:<width$} ", "?")),
            (Some(word), _) => self.line.put(format_args!("{word:<width$} ")),
        }
        self.line.style(Style::Plain);
    }

    fn duration(&mut self, exchange: &Exchange, width: usize) {
        // For an open exchange, its age when tracing ended.
        let duration = exchange.timing.end.map(|end| end.since(exchange.started));
        let slow = duration.is_some_and(|duration| duration > SLOW_NS);
        self.line.style(if slow { Style::Slow } else { Style::Plain });
        let late = exchange.quality == Quality::JoinedLate;
        self.line.put(format_args!("{:>width$} ", units::least(duration, late)));
    }

    fn url(&mut self, exchange: &Exchange) {
        let Some(request) = &exchange.request else {
            let why = if exchange.never_connected() { "" } else { " (request not seen)" };
            self.line.put(format_args!("{}{why}", Visible(&exchange.connection.remote_text)));
            return;
        };
        match url::base(exchange, request) {
            Base::Target => return self.line.put(format_args!("{}", Visible(&self.redactor.url(&request.target)))),
            Base::Authority(authority) => {
                self.line.put(format_args!("{}", Visible(&self.redactor.authority(authority))));
            }
            Base::Unix(path) => self.line.put(format_args!("unix:{}:", Visible(path))),
            Base::Nothing => {}
        }
        let path = self.redactor.url(request.path());
        let gap = if path.starts_with('/') { "" } else { " " };
        self.line.put(format_args!("{gap}{}", Visible(&path)));
    }

    /// Host and address of a call: a name may have several addresses, of which one fails.
    fn address(&mut self, exchange: &Exchange) {
        let named = exchange.request.as_ref().and_then(|request| match url::base(exchange, request) {
            Base::Authority(authority) => Some(authority),
            Base::Target => request.authority(),
            Base::Unix(_) | Base::Nothing => None,
        });
        let remote = &*exchange.connection.remote_text;
        let inet = matches!(exchange.connection.remote, Endpoint::Inet(_));
        if exchange.role == Role::Client && inet && named.is_some_and(|named| named != remote) {
            self.line.style(Style::Faint);
            self.line.put(format_args!("  @{}", Visible(remote)));
        }
        let said = [("for", &exchange.connection.client), ("to", &exchange.connection.destination)];
        for (word, said) in said.into_iter().filter_map(|(word, said)| Some((word, said.as_ref()?))) {
            self.line.style(Style::Faint);
            self.line.put(format_args!("  {word} {}", Visible(&self.redactor.url(said))));
        }
    }

    /// Writes remarks in brackets.
    fn remarks(&mut self, exchange: &Exchange) {
        self.line.begin_tail();
        if self.options.width.is_none_or(|width| width >= WIDEST) {
            self.address(exchange);
        }
        self.incidents.mark(&mut self.line, exchange);
        self.line.style(Style::Slow);
        match exchange.quality {
            Quality::Whole => {}
            Quality::Cut => self.line.text.push_str("  [cut]"),
            Quality::Unframed => self.line.text.push_str("  [unframed]"),
            Quality::BodyGap => self.line.text.push_str("  [body gap]"),
            Quality::JoinedLate => self.line.text.push_str("  [joined late]"),
            Quality::HeaderGap => self.line.text.push_str("  [head gap]"),
        }
        if let Some(remark) = exchange.outcome.remark() {
            self.line.put(format_args!("  [{remark}]"));
        }
        if let Some(response) = exchange.response.as_ref().filter(|_| exchange.outcome.word().is_some()) {
            self.line.put(format_args!("  [after {}]", response.status));
        }
        match exchange.error {
            // The words contain these already.
            None | Some(errno::ECONNRESET | errno::ECONNREFUSED) => {}
            Some(number) => match errno::meaning(number) {
                Some(meaning) => self.line.put(format_args!("  [{meaning}]")),
                None => self.line.put(format_args!("  [error {number}]")),
            },
        }
    }

    fn note(&mut self, note: &Note) -> io::Result<()> {
        let wide = self.options.width.is_none_or(|width| width >= WIDE);
        self.time(note.time, wide);
        self.line.style(Style::Slow);
        let connection = &note.connection;
        let ends = (Visible(&connection.local_text), Visible(&connection.remote_text));
        self.line.put(format_args!("~ #{} {} - {}: ", connection.id.0, ends.0, ends.1));
        match &note.kind {
            NoteKind::NotHttp => self.line.text.push_str(match connection.protocol {
                Protocol::Tls => "TLS (encrypted): exchanges are not shown",
                Protocol::Http2 => "HTTP/2 (not supported): exchanges are not shown",
                _ => "not HTTP: content is not shown",
            }),
            NoteKind::Opaque { protocol } if &**protocol == "CONNECT" => {
                self.line.text.push_str("a tunnel from here on (CONNECT): its content is not shown");
            }
            NoteKind::Opaque { protocol } => {
                let protocol = self.redactor.text(protocol);
                self.line.put(format_args!("{} from here on: its content is not shown", Visible(&protocol)));
            }
            NoteKind::UnseenBytes { sent, received } => self.line.put(format_args!(
                "{sent} bytes sent and {received} received outside the traced system calls (io_uring?): exchanges may \
                 be missing"
            )),
        }
        self.finish_words()
    }

    /// Writes the losses up to now, with their causes.
    fn loss(&mut self, loss: &Loss) -> io::Result<()> {
        for (cause, why) in LOSS_WHY.iter().enumerate() {
            let (events, bytes) = (loss.events[cause], loss.bytes[cause]);
            if events > 0 || bytes > 0 {
                self.line.style(Style::Bad);
                self.line.put(format_args!("! lost {events} events ({bytes} bytes) so far: {why}"));
                self.finish_words()?;
            }
        }
        if loss.at_least {
            self.line.style(Style::Bad);
            self.line.put(format_args!("! cannot read the counters of the probes: more events may be lost than shown"));
            self.finish_words()?;
        }
        Ok(())
    }

    fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        self.loss(&summary.loss)?;
        for line in summary.given_up() {
            self.line.style(Style::Bad);
            self.line.put(format_args!("! {line}"));
            self.finish_words()?;
        }
        self.line.style(Style::Strong);
        let count = summary.exchanges;
        self.line.put(format_args!(
            "done after {}: {count} exchange{}",
            units::duration(Some(summary.duration_ns)),
            if count == 1 { "" } else { "s" }
        ));
        self.line.put(format_args!(", {} failed, {} slow, {} open", self.failed, self.slow, self.open));
        if let Some(filtered) = self.filtered {
            self.line.put(format_args!("; {filtered} excluded by the filter"));
        }
        if self.doubtful > 0 {
            self.line.put(format_args!("; {} with bodies that were not decoded in time", self.doubtful));
        }
        if summary.incidents > 0 {
            let plural = if summary.incidents == 1 { "" } else { "s" };
            self.line.put(format_args!("; {} incident{plural}", summary.incidents));
        }
        if !summary.unseen.is_empty() {
            self.line.style(Style::Slow);
            self.line.put(format_args!("; calls not seen on connections: {}", summary.unseen));
        }
        let (events, bytes) = (summary.loss.total_events(), summary.loss.total_bytes());
        self.line.style(if summary.loss.is_possible() { Style::Bad } else { Style::Plain });
        let or_more = if summary.loss.at_least { " or more" } else { "" };
        self.line.put(format_args!("; {events}{or_more} events lost ({bytes} bytes)"));
        self.finish_words()
    }
}

/// Causes of loss with remedies, by their index in [`loss`].
const LOSS_WHY: [&str; loss::CAUSES] = {
    let mut why = [""; loss::CAUSES];
    why[loss::RING_FULL] = "the ring buffer was full; use a larger --ring-size";
    why[loss::FAULT] = "the memory of the process could not be read at that moment";
    why[loss::KERNEL_READ] = "a kernel structure could not be read";
    why[loss::MAP_FULL] = "too many processes or connections to follow at once";
    why[loss::QUEUE_FULL] = "the recording was written too slowly; use a faster disk or reader";
    why[loss::RECORDING] = "events could not be written to the recording; all other output is complete";
    why
};

fn method(exchange: &Exchange) -> &str {
    let without = if exchange.never_connected() { "connect" } else { "?" };
    exchange.request.as_ref().map_or(without, |request| &request.method)
}

impl<W: Write> UpdateSink for LineOutput<W> {
    fn set_realtime_offset(&mut self, nanoseconds: i64) {
        self.clock.set_offset(nanoseconds);
    }

    fn set_width(&mut self, width: Option<usize>) {
        self.options.width = width;
    }

    fn narrow(&mut self) {
        self.filtered = Some(0);
    }

    fn doubt(&mut self) {
        self.doubtful += 1;
    }

    fn leave_out(&mut self, exchange: &Exchange) {
        self.count(exchange);
        if let Some(filtered) = &mut self.filtered {
            *filtered += 1;
        }
    }

    fn write(&mut self, update: &Update) -> io::Result<()> {
        match update {
            Update::Attached(attached) => self.attached(attached),
            Update::Exchange(exchange) => self.exchange(exchange),
            Update::Incident(incident) => self.incident(incident),
            Update::Note(note) => self.note(note),
            Update::Loss(loss) => self.loss(loss),
            Update::Summary(summary) => self.summary(summary),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.buffer.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.flush()
    }
}

#[cfg(test)]
mod tests;
