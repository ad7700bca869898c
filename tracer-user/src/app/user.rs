//! A thread that is the user who called pidtap, without any privilege: what it starts has none, and what it makes is the user's.
//!
//! Ids are a thread's own in Linux. So a thread that has given up root for good starts a pager without a helper process, and
//! without a capability by which any other thread could become somebody.

use std::{
    io,
    path::PathBuf,
    sync::mpsc::{Sender, channel, sync_channel},
};

use crate::host::{
    confine::{self, Duty},
    identity::Identity,
};

type Job = Box<dyn FnOnce() + Send>;

/// The thread. It ends with this.
pub(super) struct UserThread {
    jobs: Sender<Job>,
    /// What the environment of its programs says of the user, where that is not who runs pidtap.
    environment: Option<[(&'static str, PathBuf); 4]>,
    /// It is somebody who may have a folder here.
    is_caller: bool,
}

impl UserThread {
    /// Starts it: as the user who called `sudo`; as nobody, where root runs pidtap; else as it is.
    ///
    /// # Errors
    ///
    /// Where there can be no thread, or it cannot become that user.
    pub(super) fn start() -> io::Result<Self> {
        // Where the environment makes no sense, nobody does.
        let caller = Identity::of_caller().unwrap_or_default();
        let is_caller = caller.is_some();
        let identity = caller.or_else(|| rustix::process::getuid().is_root().then(Identity::nobody));
        let ids = identity.as_ref().map(|identity| identity.ids.clone());
        let (jobs, received) = channel::<Job>();
        let (sender, taken) = sync_channel(1);
        // Without privilege from its first moment on: `Duty::Programs` comes after the ids, which root alone can take.
        std::thread::Builder::new().name("pidtap-user".to_owned()).spawn(move || {
            confine::clear_bounding_set();
            let result = ids.map_or(Ok(()), |ids| ids.take().map_err(io::Error::from));
            let result = result.and_then(|()| confine::enter(Duty::Programs));
            let is_taken = result.is_ok();
            let _ = sender.send(result);
            if is_taken {
                for job in received {
                    job();
                }
            }
        })?;
        taken.recv().map_err(gone)??;
        Ok(Self { jobs, environment: identity.map(|identity| identity.environment()), is_caller })
    }

    /// Does it there, and waits for the end.
    ///
    /// # Errors
    ///
    /// Where the thread has panicked.
    pub(super) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (sender, done) = sync_channel(1);
        self.jobs.send(Box::new(move || drop(sender.send(work())))).map_err(gone)?;
        done.recv().map_err(gone)
    }

    /// For programs that it starts.
    pub(super) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        self.environment.clone().into_iter().flatten().collect()
    }

    /// Whether it is another user than that of the other threads, who may write where they may not.
    pub(super) fn is_caller(&self) -> bool {
        self.is_caller
    }
}

fn gone<T>(_: T) -> io::Error {
    io::Error::other("the thread that runs as the user ended early; please report it")
}
