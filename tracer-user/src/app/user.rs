//! A thread with the user ids of the caller and without privileges. Programs that it starts have none, and files that
//! it creates belong to the caller.
//!
//! User ids belong to a thread in Linux. A thread that has dropped root for good can start a pager without a helper
//! process, and no other thread needs a capability to change ids.

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

/// The thread. A drop ends it.
pub(super) struct UserThread {
    jobs: Sender<Job>,
    /// Variables about the user for its programs, where the user is not the one that runs pidtap.
    environment: Option<[(&'static str, PathBuf); 4]>,
    /// The user is the caller, whose folder may be the current one.
    is_caller: bool,
}

impl UserThread {
    /// Starts it: as the user who called `sudo`; as nobody, where root runs pidtap; else as it is.
    ///
    /// # Errors
    ///
    /// The system refuses the thread or the user ids.
    pub(super) fn start() -> io::Result<Self> {
        // With an invalid environment, the thread is `nobody`.
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
    /// The thread has panicked.
    pub(super) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (sender, done) = sync_channel(1);
        self.jobs.send(Box::new(move || drop(sender.send(work())))).map_err(gone)?;
        done.recv().map_err(gone)
    }

    /// Variables for programs that it starts.
    pub(super) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        self.environment.clone().into_iter().flatten().collect()
    }

    /// True for another user than that of the other threads, who may write where they must not.
    pub(super) fn is_caller(&self) -> bool {
        self.is_caller
    }
}

fn gone<T>(_: T) -> io::Error {
    io::Error::other("the thread that runs as the user ended early; please report it")
}
