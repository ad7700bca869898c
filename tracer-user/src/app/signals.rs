//! Signals that end or stop a trace.

use anyhow::Context as _;
use procfs::process::Process;
use rustix::process::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// Receives the signals that end a trace, and those that stop the program, where they are wanted.
pub(super) struct Signals {
    interrupt: Stream,
    terminate: Stream,
    /// `None` under `nohup`.
    hangup: Option<Stream>,
    /// Ctrl-Z. Received only beside screens, which must give the terminal back before the program stops.
    stop: Option<Stream>,
}

impl Signals {
    /// Installs the handlers. `ignores_hangup`: [`hangup_is_ignored`].
    ///
    /// # Errors
    ///
    /// Those of the runtime, which needs descriptors for it.
    pub(super) fn new(ignores_hangup: bool) -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot set up signal handling");
        Ok(Self {
            hangup: if ignores_hangup { None } else { Some(listen(SignalKind::hangup())?) },
            interrupt: listen(SignalKind::interrupt())?,
            // The last one: a process that handles it handles all of them.
            terminate: listen(SignalKind::terminate())?,
            stop: None,
        })
    }

    /// From now on, [`recv`](Self::recv) gives Ctrl-Z as well.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub(super) fn take_stop(&mut self) -> anyhow::Result<()> {
        let kind = SignalKind::from_raw(Signal::TSTP.as_raw());
        self.stop = Some(signal(kind).context("cannot set up signal handling")?);
        Ok(())
    }

    /// Waits for the next signal.
    pub(super) async fn recv(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            () = next(self.hangup.as_mut()) => Signal::HUP,
            () = next(self.stop.as_mut()) => Signal::TSTP,
        }
    }
}

async fn next(stream: Option<&mut Stream>) {
    match stream {
        // A stream ends with the runtime only, and no task waits any more by then.
        Some(stream) => drop(stream.recv().await),
        None => std::future::pending().await,
    }
}

/// True where pidtap was started with the hangup signal ignored (`nohup`), to outlive its terminal. Reads `/proc`, so it must run in
/// a thread that may still open files.
pub(super) fn hangup_is_ignored() -> bool {
    let ignored = Process::myself().and_then(|own| own.status()).map_or(0, |status| status.sigign);
    ignored >> (Signal::HUP.as_raw() - 1) & 1 != 0
}
