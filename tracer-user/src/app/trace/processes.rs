//! The processes of a trace as it begins: those that were named, and their children.

use crate::{
    app::message::say,
    host::{
        capture::Handle,
        process::{self, Permit, ProcessError, Target},
    },
};

/// The processes to trace. Between a look at `/proc` and the first event of the probes, children are started and programs executed, so
/// they are checked before and after the probes are loaded.
pub(super) struct Processes {
    permit: Permit,
    follow: bool,
    /// The processes that were named.
    pub(super) named: Vec<Target>,
    /// Their children that may be traced; none without `--follow`.
    pub(super) children: Vec<Target>,
    /// All of them by number.
    all: Vec<u32>,
}

impl Processes {
    /// Lists the children of the named processes. Reports how many of them the user may not trace.
    pub(super) fn list(named: Vec<Target>, follow: bool, permit: Permit) -> Self {
        let pids: Vec<u32> = named.iter().map(|target| target.pid).collect();
        let mut children = if follow { process::descendants(&pids) } else { Vec::new() };
        let before = children.len();
        children.retain(|child| permit.check(child).is_ok());
        if children.len() < before {
            say(&format!(
                "{} child processes run as other users and are not traced; run pidtap with `sudo` to trace them",
                before - children.len()
            ));
        }
        let all = pids.into_iter().chain(children.iter().map(|child| child.pid)).collect();
        Self { permit, follow, named, children, all }
    }

    /// All processes by number.
    pub(super) fn all(&self) -> &[u32] {
        &self.all
    }

    /// Checks everything again once the probes are loaded. `launched`: the target waits to become the command of `run`, and is
    /// still pidtap itself, with its capabilities.
    ///
    /// # Errors
    ///
    /// No named process is left, or the user may not trace one of them any more.
    pub(super) fn confirm(&mut self, launched: bool) -> Result<(), ProcessError> {
        let (named, vanished) = process::confirm_all(std::mem::take(&mut self.named))?;
        self.named = named;
        for vanished in vanished {
            say(&vanished.to_string());
        }
        // A target may have executed a program of another user before the probes were there to see it.
        for target in self.named.iter().filter(|_| !launched) {
            self.permit.check(target)?;
        }
        for target in self.named.iter().filter(|target| process::is_32_bit(target.pid)) {
            say(&format!(
                "{} ({}) is a 32-bit program: its system calls use different numbers and are not seen",
                target.name, target.pid
            ));
        }
        Ok(())
    }

    /// Checks the children again, and adds those that were started before the probes saw forks.
    pub(super) fn confirm_children(&mut self, handle: &Handle) {
        let (permitted, refused): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.children).into_iter().partition(|child| self.permit.check(child).is_ok());
        self.children = permitted;
        for child in refused {
            self.leave_out(child.pid, handle);
        }
        if self.follow {
            self.add_late_children(handle);
        }
    }

    /// Removes a process from the trace.
    fn leave_out(&mut self, pid: u32, handle: &Handle) {
        self.all.retain(|known| *known != pid);
        if let Err(error) = handle.remove_target(pid) {
            say(&format!("cannot stop tracing process {pid}: {error}"));
        }
    }

    /// Adds the children that were started after the processes were listed, but before the probes saw forks.
    fn add_late_children(&mut self, handle: &Handle) {
        /// A child may have had children before it was added. From then on the kernel follows, so few rounds are enough.
        const ROUNDS: usize = 8;
        let named: Vec<u32> = self.named.iter().map(|target| target.pid).collect();
        for _ in 0..ROUNDS {
            let late: Vec<Target> =
                process::descendants(&named).into_iter().filter(|child| self.is_late(child)).collect();
            if late.is_empty() {
                return;
            }
            for child in late {
                if let Err(error) = handle.add_target(child.pid) {
                    say(&format!("cannot follow child process {} ({}): {error}", child.pid, child.name));
                }
                self.all.push(child.pid);
                // After it was added: from then on the probes check each `exec`.
                if self.permit.check(&child).is_err() {
                    self.leave_out(child.pid, handle);
                } else {
                    self.children.push(child);
                }
            }
        }
    }

    fn is_late(&self, child: &Target) -> bool {
        !self.all.contains(&child.pid) && self.permit.check(child).is_ok()
    }

    /// `nginx (12), worker (13) and 2 children`.
    pub(super) fn describe(&self) -> String {
        const NAMED: usize = 5;
        let mut names: Vec<String> =
            self.named.iter().take(NAMED).map(|target| format!("{} ({})", target.name, target.pid)).collect();
        if self.named.len() > NAMED {
            names.push(format!("{} more", self.named.len() - NAMED));
        }
        let text = names.join(", ");
        match self.children.len() {
            0 => text,
            1 => text + " and 1 child",
            count => format!("{text} and {count} children"),
        }
    }
}
