//! The recording's thread.

use std::{
    io::Write,
    sync::{
        Arc, Mutex, PoisonError,
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
    recording::{Header, Lost, Recorder, WriteError},
};

/// What the thread knows.
#[derive(Debug, Default)]
struct Told {
    /// Why the recording ends early.
    failure: Option<String>,
    lost: Lost,
}

/// Hands events to the thread that records them.
#[derive(Debug)]
pub(in crate::app) struct Recording {
    queue: Arc<Queue>,
    told: Arc<Mutex<Told>>,
    /// Events for which the queue had no room.
    left_out: Lost,
    event: Vec<u8>,
}

impl Recording {
    /// Starts the thread, and waits until the recording has begun, unless nobody reads it yet.
    ///
    /// # Errors
    ///
    /// Where not even its header can be written: then it is better not to begin the trace.
    pub(in crate::app) fn start(opened: Opened, header: Header) -> anyhow::Result<Self> {
        let waits = matches!(opened, Opened::Pipe(_));
        Self::start_with(waits, header, move || opened.wait())
    }

    fn start_with<W: Write>(
        waits: bool,
        header: Header,
        open: impl FnOnce() -> Result<W, FileError> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let queue = Arc::<Queue>::default();
        let told = Arc::<Mutex<Told>>::default();
        let (begun, beginning) = sync_channel(1);
        let thread = Thread { queue: Arc::clone(&queue), told: Arc::clone(&told) };
        confine::spawn("pidtap-record", Duty::Pipe, move || thread.run(open, &header, &begun))
            .context("cannot start the thread that records; check the limit of processes (`ulimit -u`)")?;
        if !waits {
            match beginning.recv_timeout(PATIENCE) {
                Ok(begun) => begun?,
                // Something takes its time.
                Err(RecvTimeoutError::Timeout) => {}
                // It panicked, which was printed.
                Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the thread that records ended early"),
            }
        }
        Ok(Self { queue, told, left_out: Lost::default(), event: Vec::new() })
    }

    /// Records events that follow each other directly. Never waits.
    pub(in crate::app) fn record(&mut self, events: &[u8]) {
        if !events.is_empty() && !self.queue.offer(events) {
            self.left_out.add_all(events);
        }
    }

    /// Records a TICK or DETACHED event, with what is missing before it: who reads the recording later must know. It is counted
    /// as what it is there, a loss before the engine.
    pub(in crate::app) fn tick(&mut self, mut event: Event<'_>) {
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
            // The next one says the same.
            self.queue.offer(&self.event);
        }
    }

    /// Events for which there was no room, as they were not written in time.
    pub(in crate::app) fn left_out(&self) -> Lost {
        self.left_out
    }

    /// All that is missing.
    pub(in crate::app) fn lost(&self) -> Lost {
        let told = self.told().lost;
        Lost { events: self.left_out.events + told.events, bytes: self.left_out.bytes + told.bytes }
    }

    /// Why it ends early, where it does.
    pub(in crate::app) fn failure(&self) -> Option<String> {
        self.told().failure.clone()
    }

    /// Nothing more comes, and pidtap is to end.
    pub(in crate::app) fn close(&self) {
        self.queue.close();
        self.queue.hurry();
    }

    /// Waits until all is written. False where nobody takes it.
    pub(in crate::app) fn is_written(&self) -> bool {
        self.queue.drain()
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Thread {
    queue: Arc<Queue>,
    told: Arc<Mutex<Told>>,
}

impl Thread {
    fn run<W: Write>(
        self,
        open: impl FnOnce() -> Result<W, FileError>,
        header: &Header,
        begun: &SyncSender<Result<(), anyhow::Error>>,
    ) {
        let recorder = open().map_err(anyhow::Error::from).and_then(|writer| {
            // Once it is open, nothing but that is needed.
            confine::enter(Duty::Open)?;
            let writer = Noting { writer, queue: Arc::clone(&self.queue) };
            Recorder::new(writer, header).map_err(anyhow::Error::from)
        });
        match recorder {
            Ok(mut recorder) => {
                // Nobody waits for it where it took its time.
                let _ = begun.send(Ok(()));
                let mut piece = None;
                while let Some(next) = self.queue.take(piece) {
                    recorder.record(&next);
                    self.tell(recorder.failure(), recorder.lost());
                    piece = Some(next);
                }
                recorder.finish();
                self.tell(recorder.failure(), recorder.lost());
            }
            Err(error) => {
                self.tell_failure(&error.to_string());
                let _ = begun.send(Err(error));
                let (mut piece, mut lost) = (None, Lost::default());
                while let Some(next) = self.queue.take(piece) {
                    lost.add_all(&next);
                    self.tell(None, lost);
                    piece = Some(next);
                }
            }
        }
        self.queue.end();
    }

    fn tell(&self, failure: Option<&WriteError>, lost: Lost) {
        if let Some(failure) = failure {
            self.tell_failure(&failure.to_string());
        }
        self.told.lock().unwrap_or_else(PoisonError::into_inner).lost = lost;
    }

    fn tell_failure(&self, failure: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.failure.get_or_insert_with(|| failure.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::mpsc};

    use tracer_common::event::kind;

    use super::*;
    use crate::{
        event::wire::{DataEvent, EventHeader, TickEvent},
        recording::Reader,
    };

    /// Takes nothing but a header until it is told to.
    struct Stopped {
        go_on: mpsc::Receiver<()>,
        begun: bool,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stopped {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.begun, true) {
                // Ends where nobody tells any more.
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

    fn start(taken: &Arc<Mutex<Vec<u8>>>) -> (Recording, mpsc::Sender<()>) {
        let (tell, go_on) = mpsc::channel();
        let stopped = Stopped { go_on, begun: false, taken: Arc::clone(taken) };
        let recording = Recording::start_with(false, Header::default(), move || Ok(stopped)).expect("it begins");
        (recording, tell)
    }

    #[test]
    fn a_recording_whose_middle_is_missing_says_so_and_is_whole_otherwise() {
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let (mut recording, tell) = start(&taken);
        let event = data(&[b'x'; 10_000]);
        let count = 3 * super::super::queue::LIMIT / event.len();
        for number in 0..count {
            recording.record(&event);
            if number % 100 == 0 {
                recording.tick(Event::Tick(tick()));
            }
        }
        let left_out = recording.left_out();
        assert!(left_out.events > 0 && left_out.bytes == left_out.events * 10_000, "{left_out:?}");
        assert_eq!(recording.lost(), left_out);
        drop(tell);
        recording.tick(Event::Detached(tick()));
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
        recording.record(&data(b"x"));
        recording.tick(Event::Detached(tick()));
        recording.close();
        assert!(!recording.is_written());
        drop(tell);
    }
}
