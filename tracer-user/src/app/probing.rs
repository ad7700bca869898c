//! Asking the kernel about open connections while a trace runs: what has not moved tells why calls hang, and bytes that
//! moved without a traced call tell of paths that are not seen.

use std::{
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread,
};

use rustc_hash::FxHashSet;
use tracer_common::event::{tcp, tcp_state};

use crate::{
    capture::Handle,
    event::{Event, SocketInode, wire::process},
    sockdiag::Prober,
};

/// Between two questions. Each costs one look at all TCP sockets of the namespace.
const INTERVAL_NS: u64 = 1_000_000_000;
/// With more open connections, asking would take more of the machine than it tells.
const MAX_CONNECTIONS: usize = 20_000;
/// `IPPROTO_TCP`.
const TCP: u16 = 6;

/// One question: which connections, and which processes are new (they may live in a namespace of their own).
struct Question {
    connections: Vec<SocketInode>,
    new_processes: Vec<u32>,
}

/// The connections that are open, by what the events say.
pub(super) struct Probing {
    open: FxHashSet<u64>,
    new_processes: Vec<u32>,
    asked: u64,
    questions: Option<SyncSender<Question>>,
}

impl Probing {
    /// Starts the thread that asks. Without one (no thread could be started), nothing is asked.
    pub(super) fn start(prober: Prober, handle: Handle) -> Self {
        let (sender, receiver) = sync_channel(1);
        let thread =
            thread::Builder::new().name("pidtap-probe".to_owned()).spawn(move || answer(prober, &receiver, &handle));
        let questions = thread.is_ok().then_some(sender);
        Self { open: FxHashSet::default(), new_processes: Vec::new(), asked: 0, questions }
    }

    /// Takes what an event says; asks when it is time. Never waits.
    pub(super) fn see(&mut self, event: &Event<'_>) {
        match event {
            Event::Socket(event) if event.protocol == TCP && self.open.len() < MAX_CONNECTIONS => {
                self.open.insert(event.connection);
            }
            Event::Tcp(event) if event.what == tcp::STATE && event.new_state == tcp_state::CLOSE => {
                self.open.remove(&event.connection);
            }
            Event::Process(event) if event.action == process::EXEC => self.new_processes.push(event.header.tgid),
            Event::Tick(tick) if tick.header.time_ns.saturating_sub(self.asked) >= INTERVAL_NS => {
                self.asked = tick.header.time_ns;
                self.ask();
            }
            _ => {}
        }
    }

    fn ask(&mut self) {
        if self.open.is_empty() || self.open.len() >= MAX_CONNECTIONS {
            return;
        }
        let Some(questions) = &self.questions else { return };
        let connections = self.open.iter().map(|inode| SocketInode(*inode)).collect();
        let question = Question { connections, new_processes: std::mem::take(&mut self.new_processes) };
        match questions.try_send(question) {
            Ok(()) => {}
            // Still at the last one.
            Err(TrySendError::Full(question)) => self.new_processes = question.new_processes,
            Err(TrySendError::Disconnected(_)) => self.questions = None,
        }
    }
}

/// The thread. Ends when nobody asks any more.
fn answer(mut prober: Prober, questions: &Receiver<Question>, handle: &Handle) {
    let mut buffer = Vec::new();
    while let Ok(question) = questions.recv() {
        for pid in question.new_processes {
            // Gone already, or not to be entered: then nothing can be asked about its connections.
            let _ = prober.add_namespace_of(pid);
        }
        buffer.clear();
        // What was answered before an error is good.
        let _ = prober.probe(&question.connections, &mut buffer);
        for event in events(&buffer) {
            handle.inject(&event);
        }
    }
}

/// The events that follow each other in a buffer of our own.
pub(super) fn events(mut buffer: &[u8]) -> impl Iterator<Item = Event<'_>> {
    std::iter::from_fn(move || {
        let event = Event::decode(buffer).ok()?;
        buffer = buffer.get(event.header().length as usize..).unwrap_or_default();
        Some(event)
    })
}
