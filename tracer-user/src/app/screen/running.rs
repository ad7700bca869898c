//! Screens that are shown.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustix::process::Signal;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{shared::Shared, terminal};
use crate::app::message::Messages;

/// A terminal that takes nothing delays the end of the program by this at most.
const GIVE_UP: Duration = Duration::from_secs(2);

/// Waits until the user has left the screens; without screens, for ever.
pub(in crate::app) async fn left(screens: Option<&mut Running>) {
    match screens {
        Some(screens) => screens.left().await,
        None => std::future::pending().await,
    }
}

/// See the module. A drop ends the screens too: after an error, the terminal must not stay taken.
pub(in crate::app) struct Running {
    pub(in crate::app) shared: Arc<Shared>,
    /// Receives a message, or closes, once the thread that draws has ended.
    over: UnboundedReceiver<()>,
    thread: Option<JoinHandle<io::Result<()>>>,
    ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            // The caller reports the error that led here.
            let _ = self.finish();
        }
    }
}

impl Running {
    /// Screens whose thread is not started yet.
    pub(super) fn new(shared: Arc<Shared>, over: UnboundedReceiver<()>) -> Self {
        Self { shared, over, thread: None, ended: false }
    }

    /// Sets the thread that draws.
    pub(super) fn set_thread(&mut self, thread: JoinHandle<io::Result<()>>) {
        self.thread = Some(thread);
    }

    /// Waits until the user has left the screens.
    pub(in crate::app) async fn left(&mut self) {
        // A closed channel means the same: the thread has ended.
        let _ = self.over.recv().await;
    }

    /// Handles a signal that concerns the screens alone. False for a signal that ends the trace.
    pub(in crate::app) fn take_signal(&self, signal: Signal) -> bool {
        self.shared.take_signal(signal)
    }

    /// Waits until the user has left the screens.
    pub(in crate::app) fn wait(&mut self) {
        let _ = self.over.blocking_recv();
    }

    /// Ends the screens, gives the terminal back, and prints the messages that they showed.
    ///
    /// # Errors
    ///
    /// Those of the terminal.
    pub(in crate::app) fn end(mut self) -> anyhow::Result<()> {
        self.finish().context("the terminal failed")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.ended = true;
        self.shared.end();
        let result = self.join();
        Messages::hide();
        terminal::restore();
        self.shared.messages.print();
        result
    }

    fn join(&mut self) -> io::Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let begin = Instant::now();
        while !thread.is_finished() {
            if begin.elapsed() > GIVE_UP {
                // The thread waits for a terminal that takes nothing. The process ends without it.
                terminal::abandon();
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the drawing thread ended early; please report it")))
    }
}
