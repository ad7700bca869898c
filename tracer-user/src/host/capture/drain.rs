//! Thread that drains the ring buffer.

use std::{sync::Arc, time::Duration};

use aya::maps::{MapData, PerCpuArray, RingBuf};
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    fd::{AsFd as _, OwnedFd},
    time::{ClockId, clock_gettime},
};
use tracer_common::{
    control::Losses,
    event::{EventHeader, TickEvent, flag, loss},
};
use zerocopy::{FromBytes as _, transmute};

use super::{
    error::CaptureError,
    handle::Shared,
    queue::{BATCH_SIZE, BatchSender},
};
use crate::event::Event;

/// Interval of TICK events.
const TICK: Duration = Duration::from_millis(40);
/// Sleep after a look that found at least [`MANY`] bytes. The probes wake the thread earlier only if the ring fills
/// beyond its mark, so this is the maximum delay of an event. If target and client use all processors, each run of
/// pidtap delays one of them, and then the other waits for the first. Few long runs cost them less than many short
/// ones.
const BUSY_WAIT: Duration = Duration::from_millis(100);
/// Sleep after a look that found fewer bytes, so that events of a quiet service appear without delay.
const QUIET_WAIT: Duration = Duration::from_millis(20);
/// Size in bytes of a few hundred exchanges.
const MANY: usize = 128 << 10;

/// Amount of data that one look into the ring found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Few,
    Many,
    /// The batch is full; the ring may hold more.
    Full,
}

/// Value type of the loss map.
pub(super) type LossWords = [u64; 2 * loss::CAUSES];

/// State of the thread.
pub(super) struct Drain {
    ring: RingBuf<MapData>,
    losses: PerCpuArray<MapData, LossWords>,
    /// Counters at the last successful read.
    lost_events: [u64; loss::CAUSES],
    lost_bytes: [u64; loss::CAUSES],
    sender: BatchSender,
    shared: Arc<Shared>,
    epoll: OwnedFd,
    batch: Vec<u8>,
    last_tick: u64,
}

impl Drain {
    pub(super) fn new(
        ring: RingBuf<MapData>,
        losses: PerCpuArray<MapData, LossWords>,
        sender: BatchSender,
        shared: Arc<Shared>,
    ) -> Result<Self, CaptureError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(CaptureError::wait)?;
        // Edge-triggered: only a wake-up by the probes ends a sleep, not the presence of events.
        epoll::add(&epoll, ring.as_fd(), epoll::EventData::new_u64(0), epoll::EventFlags::IN | epoll::EventFlags::ET)
            .map_err(CaptureError::wait)?;
        let batch = sender.buffer();
        let (lost_events, lost_bytes) = ([0; loss::CAUSES], [0; loss::CAUSES]);
        Ok(Self { ring, losses, lost_events, lost_bytes, sender, shared, epoll, batch, last_tick: 0 })
    }

    /// Runs until the capture is stopped or the receiver of batches is gone.
    pub(super) fn run(mut self) {
        let mut filled = false;
        loop {
            // Read the flag before the ring, so that events sent before the stop are drained.
            let stopping = self.shared.stopping();
            let now = monotonic_ns();
            let found = self.take();
            self.shared.take_injected(&mut self.batch);
            if stopping && found != Found::Full {
                let event = Event::Detached(self.tick(now));
                event.encode(&mut self.batch);
                self.flush();
                return;
            }
            if now.saturating_sub(self.last_tick) >= TICK.as_nanos() as u64 {
                self.last_tick = now;
                let event = Event::Tick(self.tick(now));
                event.encode(&mut self.batch);
            }
            if !self.batch.is_empty() && !self.flush() {
                return;
            }
            // Little data after a full batch is the rest of much data.
            let much = std::mem::replace(&mut filled, found == Found::Full);
            match found {
                // The ring may hold more.
                Found::Full => {}
                Found::Few if !much => self.wait(QUIET_WAIT),
                Found::Few | Found::Many => self.wait(BUSY_WAIT),
            }
        }
    }

    /// Moves events from the ring into the batch until the batch is full.
    fn take(&mut self) -> Found {
        while self.batch.len() < BATCH_SIZE {
            let Some(record) = self.ring.next() else {
                return if self.batch.len() < MANY { Found::Few } else { Found::Many };
            };
            // The record is as long as its size class; the event may be shorter.
            let length = EventHeader::ref_from_prefix(&record).map_or(0, |(header, _)| header.length as usize);
            self.batch.extend_from_slice(record.get(..length).unwrap_or(&record));
        }
        Found::Full
    }

    /// Sends the batch and waits for room in the queue. Returns `false` if the receiver is gone.
    fn flush(&mut self) -> bool {
        let next = self.sender.buffer();
        self.sender.send(std::mem::replace(&mut self.batch, next))
    }

    fn wait(&self, time: Duration) {
        let mut events = Vec::with_capacity(1);
        let timeout = Timespec { tv_sec: 0, tv_nsec: time.as_nanos() as _ };
        // An interrupted wait counts as a short one.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout));
    }

    /// Creates a TICK or DETACHED event with the current loss counters.
    fn tick(&mut self, time_ns: u64) -> TickEvent {
        let flags = match self.losses.get(&0, 0) {
            Ok(processors) => {
                let (mut lost_events, mut lost_bytes) = ([0; loss::CAUSES], [0; loss::CAUSES]);
                for words in processors.iter() {
                    let losses: Losses = transmute!(*words);
                    for cause in 0..loss::CAUSES {
                        lost_events[cause] += losses.events[cause];
                        lost_bytes[cause] += losses.bytes[cause];
                    }
                }
                (self.lost_events, self.lost_bytes) = (lost_events, lost_bytes);
                0
            }
            // Report the last counters. The kernel keeps counting, so the next successful read includes everything.
            Err(_) => flag::OUTDATED,
        };
        let header = EventHeader { time_ns, kind: 0, flags, length: 0, tgid: 0, tid: 0 };
        TickEvent { header, lost_events: self.lost_events, lost_bytes: self.lost_bytes }
    }
}

/// Current time of the clock that the events use.
pub(super) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
