//! Control of a running capture from any thread.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError},
};
use tracer_common::control::{Connection, MANY_TARGETS, Restraint, alone, filter_slot, restraint};
use zerocopy::transmute;

use crate::event::{Event, SocketInode, wire::direction};

/// `BPF_NOEXIST`: insert only if the key is absent.
const NO_EXIST: u64 = 1;

/// Degree to which a connection is muted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mute {
    /// Each call still produces an event, without payload (`LENGTH_ONLY`).
    Payload,
    /// Calls that move bytes produce no event; errors and ends of stream do. Positions advance.
    Everything,
}

/// Maps that control the probes. Values are arrays of integers, which need no `unsafe` to pass.
pub(super) struct Maps {
    pub(super) connections: HashMap<MapData, u64, [u64; 3]>,
    pub(super) restraints: HashMap<MapData, u64, [u64; 3]>,
    pub(super) restraint_filter: Array<MapData, u32>,
    pub(super) targets: HashMap<MapData, u32, u32>,
    pub(super) target_filter: Array<MapData, u64>,
}

impl Maps {
    /// Adds a target before the probes run, while nothing else changes the filter.
    pub(super) fn add_first_target(&mut self, tgid: u32) -> Result<(), MapError> {
        let slot = filter_slot(u64::from(tgid));
        let value = if self.target_filter.get(&slot, 0)? == 0 { alone(tgid) } else { MANY_TARGETS };
        self.add(tgid, slot, value)
    }

    /// Adds a target while the probes run and update the filter.
    fn add_target(&mut self, tgid: u32) -> Result<(), MapError> {
        self.add(tgid, filter_slot(u64::from(tgid)), MANY_TARGETS)
    }

    /// Removes a target. The filter changes first: while the slot holds this target alone, the probes skip the hash.
    fn remove_target(&mut self, tgid: u32) -> Result<(), MapError> {
        self.target_filter.set(filter_slot(u64::from(tgid)), MANY_TARGETS, 0)?;
        match self.targets.remove(&tgid) {
            // The probes removed the target already.
            Err(MapError::KeyNotFound) => Ok(()),
            Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// The filter changes first: a set slot without a target is harmless, a target without its slot is missed.
    fn add(&mut self, tgid: u32, slot: u32, value: u64) -> Result<(), MapError> {
        self.target_filter.set(slot, value, 0)?;
        self.targets.insert(tgid, 1, 0)
    }
}

/// State that the handles and the drain thread share.
pub(super) struct Shared {
    /// Owns the links; dropping it detaches and unloads the programs.
    ebpf: Mutex<Option<Ebpf>>,
    maps: Mutex<Maps>,
    injected: Mutex<Vec<u8>>,
    stopping: AtomicBool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("stopping", &self.stopping).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Moves injected events to the end of `batch`.
    pub(super) fn take_injected(&self, batch: &mut Vec<u8>) {
        batch.append(&mut lock(&self.injected));
    }
}

/// Control of a capture. Cheap to clone; calls after the end of the capture have no effect.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(super) fn new(ebpf: Ebpf, maps: Maps) -> Self {
        Self {
            shared: Arc::new(Shared {
                ebpf: Mutex::new(Some(ebpf)),
                maps: Mutex::new(maps),
                injected: Mutex::default(),
                stopping: AtomicBool::new(false),
            }),
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Removes the probes; see [`super::Capture::stop`].
    pub fn stop(&self) {
        drop(lock(&self.shared.ebpf).take());
        self.shared.stopping.store(true, Ordering::Release);
    }

    /// Appends an event created in user space to the next batch.
    pub fn inject(&self, event: &Event<'_>) {
        event.encode(&mut lock(&self.shared.injected));
    }

    /// Adds a target process (thread group). Its children are followed like those of the first targets. Has no effect
    /// if the capture was started for a single process without children.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the kernel refuses, because there are too many targets.
    pub fn add_target(&self, tgid: u32) -> Result<(), MapError> {
        lock(&self.shared.maps).add_target(tgid)
    }

    /// Stops tracing a process.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the kernel refuses. A process that is no target is not an error.
    pub fn remove_target(&self, tgid: u32) -> Result<(), MapError> {
        lock(&self.shared.maps).remove_target(tgid)
    }

    /// Makes the probes report state changes of a connection before its first traffic. The traffic still announces it.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the kernel refuses. A known connection is not an error.
    pub fn watch(&self, inode: SocketInode) -> Result<(), MapError> {
        let value: [u64; 3] = transmute!(Connection::default());
        match lock(&self.shared.maps).connections.insert(inode.0, value, NO_EXIST) {
            Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// Permanently stops the capture of a connection's payload. Positions and kernel counters advance.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the kernel refuses; payload continues to arrive.
    pub fn mute(&self, inode: SocketInode, mute: Mute) -> Result<(), MapError> {
        let bit = match mute {
            Mute::Payload => restraint::MUTED,
            Mute::Everything => restraint::SILENT,
        };
        self.restrain(inode, |restraint| restraint.flags |= bit)
    }

    /// Stops the capture of payload in one direction (of [`direction`]) up to the position `until`. Calls that end at
    /// or before it produce events without payload; a call that crosses it produces an event with payload from there
    /// on.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the kernel refuses; payload continues to arrive.
    pub fn skip(&self, inode: SocketInode, way: u8, until: u64) -> Result<(), MapError> {
        self.restrain(inode, |restraint| {
            let (bit, index) =
                if way == direction::SEND { (restraint::SKIP_SEND, 0) } else { (restraint::SKIP_RECEIVE, 1) };
            restraint.flags |= bit;
            restraint.skip_until[index] = until;
        })
    }

    fn restrain(&self, inode: SocketInode, change: impl FnOnce(&mut Restraint)) -> Result<(), MapError> {
        let maps = &mut *lock(&self.shared.maps);
        let mut value: Restraint = match maps.restraints.get(&inode.0, 0) {
            Ok(words) => transmute!(words),
            Err(MapError::KeyNotFound) => Restraint::default(),
            Err(error) => return Err(error),
        };
        change(&mut value);
        let words: [u64; 3] = transmute!(value);
        maps.restraints.insert(inode.0, words, 0)?;
        maps.restraint_filter.set(filter_slot(inode.0), 1, 0)
    }
}

/// Locks a mutex and ignores poisoning: every change under these locks is a single step, so the data is consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
