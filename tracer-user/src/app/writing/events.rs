//! The thread of a sink of events.

use std::{
    fs::File,
    io::Write,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
};

use anyhow::Context as _;
use tracer_common::event::loss;

use super::queue::{Noting, PATIENCE, Queue};
use crate::{
    event::Event,
    host::{
        confine::{self, Duty},
        file::{FileError, Opened},
    },
    recording::{EventSink, Lost, WriteError},
};

/// State of the thread.
#[derive(Debug, Default)]
struct Status {
    /// The error that ended the sink.
    failure: Option<String>,
    lost: Lost,
}

/// Hands events to the thread of a sink. Never waits.
#[derive(Debug)]
pub(in crate::app) struct EventWriter {
    queue: Arc<Queue>,
    status: Arc<Mutex<Status>>,
    /// Events that were dropped because the queue was full.
    left_out: Lost,
    event: Vec<u8>,
}

/// The writer of a sink of events: the opened file, whose progress the queue notes.
pub(in crate::app) type Output<W> = Noting<W>;

impl EventWriter {
    /// Starts the thread, which opens the file and begins the sink. Waits until the sink has ready, unless the file is a pipe
    /// without a reader.
    ///
    /// # Errors
    ///
    /// Those of the file and of `begin`.
    pub(in crate::app) fn start<S: EventSink>(
        opened: Opened,
        begin: impl FnOnce(Output<File>) -> Result<S, WriteError> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let is_pipe = matches!(opened, Opened::Pipe(_));
        Self::start_with(is_pipe, move || opened.wait(), begin)
    }

    fn start_with<W: Write, S: EventSink>(
        is_pipe: bool,
        open: impl FnOnce() -> Result<W, FileError> + Send + 'static,
        begin: impl FnOnce(Output<W>) -> Result<S, WriteError> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let queue = Arc::<Queue>::default();
        let status = Arc::<Mutex<Status>>::default();
        let (ready, beginning) = sync_channel(1);
        let thread = Thread { queue: Arc::clone(&queue), status: Arc::clone(&status) };
        confine::spawn("pidtap-record", Duty::Pipe, move || thread.run(open, begin, &ready))
            .context("cannot start the recording thread; check the limit on processes (`ulimit -u`)")?;
        if !is_pipe {
            match beginning.recv_timeout(PATIENCE) {
                Ok(ready) => ready?,
                // The file system is slow; events wait in the queue.
                Err(RecvTimeoutError::Timeout) => {}
                // The thread panicked, and printed why.
                Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the recording thread ended early"),
            }
        }
        Ok(Self { queue, status, left_out: Lost::default(), event: Vec::new() })
    }

    /// Queues events that follow each other directly.
    pub(in crate::app) fn write(&mut self, events: &[u8]) {
        if !events.is_empty() && !self.queue.offer(events) {
            self.left_out.add_all(events);
        }
    }

    /// Queues a TICK or DETACHED event. Its counters of loss get the events that the queue had no room for: for a reader of the
    /// recording, these were lost before the engine.
    pub(in crate::app) fn write_tick(&mut self, mut event: Event<'_>) {
        let is_end = matches!(event, Event::Detached(_));
        if let Event::Tick(tick) | Event::Detached(tick) = &mut event {
            tick.lost_events[loss::QUEUE_FULL] += self.left_out.events;
            tick.lost_bytes[loss::QUEUE_FULL] += self.left_out.bytes;
        }
        self.event.clear();
        event.encode(&mut self.event);
        if is_end {
            // Without it the recording would look cut off.
            self.queue.put_last(&self.event);
        } else {
            // A tick may be dropped: the next one has the same counters.
            self.queue.offer(&self.event);
        }
    }

    /// Events that were dropped because the queue was full.
    pub(in crate::app) fn left_out(&self) -> Lost {
        self.left_out
    }

    /// All events that the output lacks.
    pub(in crate::app) fn lost(&self) -> Lost {
        let lost = self.status().lost;
        Lost { events: self.left_out.events + lost.events, bytes: self.left_out.bytes + lost.bytes }
    }

    /// The error that ended the sink.
    pub(in crate::app) fn failure(&self) -> Option<String> {
        self.status().failure.clone()
    }

    /// Ends the queue: the thread writes what waits, and finishes the sink.
    pub(in crate::app) fn close(&self) {
        self.queue.close();
        self.queue.hurry();
    }

    /// Waits until everything is written. False where the output took nothing for [`PATIENCE`].
    pub(in crate::app) fn is_written(&self) -> bool {
        self.queue.drain()
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Thread {
    queue: Arc<Queue>,
    status: Arc<Mutex<Status>>,
}

impl Thread {
    fn run<W: Write, S: EventSink>(
        self,
        open: impl FnOnce() -> Result<W, FileError>,
        begin: impl FnOnce(Output<W>) -> Result<S, WriteError>,
        ready: &SyncSender<anyhow::Result<()>>,
    ) {
        let sink = open().map_err(anyhow::Error::from).and_then(|writer| {
            // Only opening a pipe needs the privileges of the duty so far.
            confine::enter(Duty::Open)?;
            begin(Noting { writer, queue: Arc::clone(&self.queue) }).map_err(anyhow::Error::from)
        });
        match sink {
            Ok(mut sink) => {
                // The receiver is gone where it stopped waiting.
                let _ = ready.send(Ok(()));
                let mut piece = None;
                while let Some(next) = self.queue.take(piece) {
                    let result = sink.write(&next);
                    self.report(result, sink.lost());
                    piece = Some(next);
                }
                let result = sink.finish();
                self.report(result, sink.lost());
            }
            Err(error) => {
                self.fail(&error.to_string());
                let _ = ready.send(Err(error));
                let (mut piece, mut lost) = (None, Lost::default());
                while let Some(next) = self.queue.take(piece) {
                    lost.add_all(&next);
                    self.report(Ok(()), lost);
                    piece = Some(next);
                }
            }
        }
        self.queue.end();
    }

    fn report(&self, result: Result<(), WriteError>, lost: Lost) {
        if let Err(error) = result {
            self.fail(&error.to_string());
        }
        self.status.lock().unwrap_or_else(PoisonError::into_inner).lost = lost;
    }

    fn fail(&self, failure: &str) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.failure.get_or_insert_with(|| failure.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::mpsc};

    use tracer_common::event::kind;

    use super::*;
    use crate::{
        event::wire::{DataEvent, EventHeader, TickEvent},
        recording::{Header, Reader, Recorder},
    };

    /// Takes nothing but a header until the test releases it.
    struct Stopped {
        go_on: mpsc::Receiver<()>,
        ready: bool,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stopped {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.ready, true) {
                // Also released when the sender is dropped.
                let _ = self.go_on.recv();
            }
            self.taken.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn header() -> EventHeader {
        EventHeader { time_ns: 1, kind: 0, flags: tracer_common::event::flag::LAST, length: 0, tgid: 1, tid: 1 }
    }

    fn data(bytes: &[u8]) -> Vec<u8> {
        let data = DataEvent {
            header: header(),
            connection: 1,
            position: 1,
            opposite_position: 1,
            result: bytes.len() as i32,
            offset: 0,
            captured: bytes.len() as u32,
            fd: 1,
            direction: 0,
            call: 0,
            reserved: [0; 6],
        };
        let mut event = Vec::new();
        Event::Data(data, bytes).encode(&mut event);
        event
    }

    fn tick() -> TickEvent {
        TickEvent { header: header(), lost_events: [0; loss::CAUSES], lost_bytes: [0; loss::CAUSES] }
    }

    fn start(taken: &Arc<Mutex<Vec<u8>>>) -> (EventWriter, mpsc::Sender<()>) {
        let (tell, go_on) = mpsc::channel();
        let stopped = Stopped { go_on, ready: false, taken: Arc::clone(taken) };
        let begin = |output| Recorder::new(output, &Header::default());
        let recording = EventWriter::start_with(false, move || Ok(stopped), begin).expect("it begins");
        (recording, tell)
    }

    #[test]
    fn a_recording_whose_middle_is_missing_says_so_and_is_whole_otherwise() {
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let (mut recording, tell) = start(&taken);
        let event = data(&[b'x'; 10_000]);
        let count = 3 * super::super::queue::LIMIT / event.len();
        for number in 0..count {
            recording.write(&event);
            if number % 100 == 0 {
                recording.write_tick(Event::Tick(tick()));
            }
        }
        let left_out = recording.left_out();
        assert!(left_out.events > 0 && left_out.bytes == left_out.events * 10_000, "{left_out:?}");
        assert_eq!(recording.lost(), left_out);
        drop(tell);
        recording.write_tick(Event::Detached(tick()));
        recording.close();
        assert!(recording.is_written() && recording.failure().is_none());
        let file = taken.lock().expect("no panic").clone();
        let mut reader = Reader::open(&file[..]).expect("a recording");
        let (mut kept, mut last) = (0, None);
        while let Some(event) = reader.next_event().expect("whole") {
            match Event::decode(event).expect("an event") {
                Event::Data(..) => kept += 1,
                Event::Tick(tick) | Event::Detached(tick) => last = Some(tick),
                other => panic!("{other:?}"),
            }
        }
        assert!(reader.early_end().is_none());
        assert_eq!(kept + left_out.events, count as u64);
        let last = last.expect("an end");
        assert_eq!(last.header.kind, kind::DETACHED);
        let told = (last.lost_events[loss::QUEUE_FULL], last.lost_bytes[loss::QUEUE_FULL]);
        assert_eq!(told, (left_out.events, left_out.bytes));
    }

    #[test]
    fn what_nobody_takes_holds_up_no_end() {
        let (mut recording, tell) = start(&Arc::default());
        recording.write(&data(b"x"));
        recording.write_tick(Event::Detached(tick()));
        recording.close();
        assert!(!recording.is_written());
        drop(tell);
    }
}
