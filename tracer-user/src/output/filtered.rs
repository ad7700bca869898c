//! A sink of updates behind a filter.

use std::{cell::RefCell, io};

use super::UpdateSink;
use crate::{
    analysis::detector::Live,
    engine::Update,
    event::Timestamp,
    filter::{Context, Filter},
    payload::coding::Budget,
    text::redact::Redactor,
};

/// Passes on all updates but the exchanges that the filter rejects, and counts those.
///
/// Incidents, notes and losses are always passed on: who looks at one host must not miss that something goes wrong or is
/// missing, and an incident may rest on exchanges that are not over, of which no filter can say yet whether it takes them.
#[derive(Debug)]
pub struct Filtered<O> {
    output: O,
    filter: Filter,
    redactor: Redactor,
    /// Budget for decoding bodies that the filter reads: the same as that of an output.
    budget: RefCell<Budget>,
}

impl<O: UpdateSink> Filtered<O> {
    /// Puts `filter` before `output`, which must redact as `redactor` does.
    pub fn new(mut output: O, filter: Filter, redactor: Redactor) -> Self {
        output.narrow();
        Self { output, filter, redactor, budget: RefCell::default() }
    }
}

impl<O: UpdateSink> UpdateSink for Filtered<O> {
    fn set_realtime_offset(&mut self, nanoseconds: i64) {
        self.output.set_realtime_offset(nanoseconds);
    }

    fn set_width(&mut self, width: Option<usize>) {
        self.output.set_width(width);
    }

    fn look(&mut self, now: Timestamp, live: &dyn Live) {
        self.output.look(now, live);
    }

    fn write(&mut self, update: &Update) -> io::Result<()> {
        if let Update::Exchange(exchange) = update {
            // An open exchange ends with tracing.
            let now = exchange.timing.end.unwrap_or(exchange.started);
            let before = self.budget.borrow().skipped();
            let context = Context { redactor: self.redactor, now, budget: Some(&self.budget) };
            let is_wanted = self.filter.matches(exchange, &context);
            if self.budget.borrow().skipped() > before {
                self.output.doubt();
            }
            if !is_wanted {
                self.output.leave_out(exchange);
                return Ok(());
            }
        }
        self.output.write(update)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.output.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::NoteKind,
        fixture,
        output::{
            json::{JsonOptions, JsonOutput},
            line::{LineOptions, LineOutput},
        },
    };

    /// An exchange with 502 and one with 200, and all else that there is.
    fn trace() -> Vec<Update> {
        let mut good = fixture::exchange();
        good.response.as_mut().expect("there").status = 200;
        let exchanges = [fixture::exchange(), good].map(|exchange| Update::Exchange(exchange.into()));
        let others = [fixture::note(NoteKind::NotHttp), Update::Loss(fixture::loss()), fixture::summary()];
        [fixture::attached()].into_iter().chain(exchanges).chain(others).collect()
    }

    fn narrowed<O: UpdateSink>(output: O, filter: &str) -> Filtered<O> {
        let filter = Filter::parse(filter).expect("valid");
        let mut output = Filtered::new(output, filter, Redactor::new(false));
        for update in trace() {
            output.write(&update).expect("memory takes everything");
        }
        output.flush().expect("memory takes everything");
        output
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn json_has_what_matches_and_says_how_many_do_not() {
        let lines = |filter: &str| {
            let output = narrowed(JsonOutput::new(Vec::new(), JsonOptions::default()), filter);
            text(output.output.get_ref())
                .lines()
                .map(|line| serde_json::from_str(line).expect("JSON"))
                .collect::<Vec<serde_json::Value>>()
        };
        for (filter, types, filtered) in [
            ("", &["attached", "exchange", "exchange", "note", "loss", "summary"][..], 0),
            ("status>=500", &["attached", "exchange", "note", "loss", "summary"], 1),
            ("nothing", &["attached", "note", "loss", "summary"], 2),
        ] {
            let lines = lines(filter);
            assert_eq!(lines.iter().map(|line| line["type"].as_str().expect("a type")).collect::<Vec<_>>(), types);
            let summary = lines.last().expect("there");
            assert_eq!((&summary["filtered"], &summary["exchanges"]), (&filtered.into(), &10.into()), "{filter}");
        }
    }

    #[test]
    fn decoding_to_look_into_bodies_has_its_time_and_what_was_not_looked_into_is_said() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        io::Write::write_all(&mut encoder, &vec![b'a'; 1 << 20]).expect("memory");
        let mut exchange = fixture::exchange();
        let response = exchange.response.as_mut().expect("there");
        response.headers.push(b"Content-Encoding", b"gzip");
        response.body.captured = encoder.finish().expect("memory");
        let update = Update::Exchange(exchange.into());
        let filter = Filter::parse("response.body:needle").expect("valid");
        let output = JsonOutput::new(Vec::new(), JsonOptions::default());
        let mut output = Filtered::new(output, filter, Redactor::new(false));
        for _ in 0..1_000 {
            output.write(&update).expect("memory takes everything");
        }
        output.write(&fixture::summary()).expect("memory takes everything");
        output.flush().expect("memory takes everything");
        let summary: serde_json::Value = serde_json::from_slice(output.output.get_ref()).expect("JSON");
        let doubtful = summary["filter_doubtful"].as_u64().expect("a number");
        assert!((100..900).contains(&doubtful) && summary["filtered"] == 1_000, "{summary}");
    }

    #[test]
    fn lines_count_what_is_left_out() {
        let output = narrowed(LineOutput::new(Vec::new(), LineOptions::default()), "status<500");
        let text = text(output.output.get_ref());
        assert!(!text.contains(" 502 ") && text.contains(" 200 "), "{text}");
        assert!(
            text.contains("10 exchanges, 1 failed, 0 slow, 0 open; 1 excluded by the filter; 2 incidents;"),
            "{text}"
        );
    }
}
