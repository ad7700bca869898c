use tracer_common::event::{flag, kind};

use super::*;
use crate::event::wire::TickEvent;

/// Counts updates, and fails as the test demands.
#[derive(Default)]
struct Counts {
    updates: usize,
    finished: bool,
}

struct Sink {
    counts: Arc<Mutex<Counts>>,
    /// The error of the first flush.
    flush: Option<io::ErrorKind>,
    /// The error of the end.
    finish: Option<io::ErrorKind>,
}

impl UpdateSink for Sink {
    fn set_realtime_offset(&mut self, _nanoseconds: i64) {}

    fn write(&mut self, _update: &Update) -> io::Result<()> {
        self.counts.lock().expect("no panic").updates += 1;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.counts.lock().expect("no panic").finished = true;
        self.finish.map_or(Ok(()), |kind| Err(kind.into()))
    }
}

fn output(flush: Option<io::ErrorKind>, finish: Option<io::ErrorKind>) -> (Output, Arc<Mutex<Counts>>) {
    let counts = Arc::<Mutex<Counts>>::default();
    let sink = Sink { counts: Arc::clone(&counts), flush, finish };
    (Output::screens(Box::new(sink)), counts)
}

fn pipeline(outputs: Vec<Output>) -> Pipeline {
    Pipeline::new(EngineOptions::default(), outputs, Vec::new())
}

fn tick() -> Vec<u8> {
    let header = EventHeader { time_ns: 1, kind: kind::TICK, flags: flag::LAST, length: 0, tgid: 0, tid: 0 };
    let mut bytes = Vec::new();
    let event = TickEvent { header, lost_events: [0; loss::CAUSES], lost_bytes: [0; loss::CAUSES] };
    Event::Tick(event).encode(&mut bytes);
    bytes
}

#[test]
fn each_output_takes_every_update_and_is_finished() {
    let ((one, first), (other, second)) = (output(None, None), output(None, None));
    let mut pipeline = pipeline(vec![one, other]);
    assert!(pipeline.batch(&tick(), |_| {}).is_continue());
    assert!(pipeline.flush().is_continue());
    pipeline.finish().expect("none fails");
    for counts in [first, second] {
        let counts = counts.lock().expect("no panic");
        assert!(counts.updates > 0 && counts.finished, "the summary at least");
    }
}

#[test]
fn an_output_that_fails_ends_alone_and_its_error_is_the_result() {
    let full = Some(io::ErrorKind::StorageFull);
    let ((failing, first), (other, second)) = (output(full, None), output(None, None));
    let mut pipeline = pipeline(vec![failing, other]);
    assert!(pipeline.flush().is_continue());
    assert!(pipeline.batch(&tick(), |_| {}).is_continue());
    assert_eq!(pipeline.finish().expect_err("one failed").kind(), io::ErrorKind::StorageFull);
    assert_eq!(first.lock().expect("no panic").updates, 0);
    assert!(!first.lock().expect("no panic").finished);
    assert!(second.lock().expect("no panic").updates > 0 && second.lock().expect("no panic").finished);
}

#[test]
fn an_end_that_fails_is_the_result() {
    let mut pipeline = pipeline(vec![output(None, None).0, output(None, Some(io::ErrorKind::StorageFull)).0]);
    assert_eq!(pipeline.finish().expect_err("one fails").kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_reader_who_has_seen_enough_is_a_failure_only_where_no_output_is_left() {
    let left = Some(io::ErrorKind::BrokenPipe);
    let mut both = pipeline(vec![output(left, None).0, output(None, None).0]);
    assert!(both.flush().is_continue());
    both.finish().expect("one takes everything");
    let mut alone = pipeline(vec![output(left, None).0]);
    assert!(alone.flush().is_break());
    assert_eq!(alone.finish().expect_err("none is left").kind(), io::ErrorKind::BrokenPipe);
    let mut full = pipeline(vec![output(left, None).0, output(Some(io::ErrorKind::StorageFull), None).0]);
    assert!(full.flush().is_break());
    assert_eq!(full.finish().expect_err("the worse of both").kind(), io::ErrorKind::StorageFull);
}
