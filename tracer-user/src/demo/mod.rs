//! A small, flaky payments service that ships with pidtap, as a target on any machine.
//!
//! ```text
//! load --> payments --> ledger     healthy, but closing the books of a day takes long
//!                  \--> gateway    fails and recovers: throttling, bursts of 503, slow responses, resets
//! ```
//!
//! Each part is a separate process (this program with a hidden subcommand) on an ephemeral loopback port, so the target
//! is a real process with real sockets. A part ends when its standard input does. pidtap holds the other end of that
//! pipe, so the kernel ends the demo together with pidtap in every case.

mod gateway;
mod http;
mod ledger;
mod load;
mod payments;
mod role;
#[cfg(test)]
mod tests;

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

pub use role::{RoleError, run_role};
use thiserror::Error;

use crate::host::confine::{self, Duty};

/// Name of the hidden subcommand for a part of the demo: `pidtap __demo-role ROLE ARG...`.
pub const HIDDEN_COMMAND: &str = "__demo-role";

/// Time limit for a part to print its address.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Error of starting the demo.
#[derive(Debug, Error)]
pub enum DemoError {
    /// The path of the program is unknown.
    #[error("cannot start the demo: the path of this program is unknown ({0}); start pidtap from an existing file")]
    OwnPath(#[source] io::Error),
    /// A part could not be started.
    #[error("cannot start the demo's {role}: running {program:?} failed: {source}")]
    Spawn {
        /// Name of the part.
        role: &'static str,
        /// Program that was started.
        program: PathBuf,
        /// Error from the operating system.
        source: io::Error,
    },
    /// The load process ended before it was released.
    #[error("cannot start the load of the demo ({0}); start the demo again")]
    Begin(#[source] io::Error),
    /// A part did not print its address.
    #[error(
        "cannot start the {role} of the demo: it printed {said:?} instead of its address; check that 127.0.0.1 can be \
         bound"
    )]
    NotListening {
        /// Name of the part.
        role: &'static str,
        /// First line of its output.
        said: String,
    },
}

/// The running demo. Dropping it ends all parts.
#[derive(Debug)]
pub struct Demo {
    load: Part,
    services: Vec<Part>,
    payments_pid: u32,
    payments_address: SocketAddr,
}

impl Demo {
    /// Starts ledger, gateway, payments and load, in this order, and returns when all of them run. The load waits for
    /// [`Self::begin`].
    ///
    /// # Errors
    ///
    /// [`DemoError`] with the part that did not start; the other parts are ended.
    pub fn start() -> Result<Self, DemoError> {
        let program = std::env::current_exe().map_err(DemoError::OwnPath)?;
        let ledger = Part::start(&program, "ledger", &[])?;
        let gateway = Part::start(&program, "gateway", &[])?;
        let payments = Part::start(&program, "payments", &[ledger.address, gateway.address])?;
        let (payments_pid, payments_address) = (payments.child.id(), payments.address);
        let load = Part::start(&program, "load", &[payments_address])?;
        Ok(Self { load, services: vec![payments, gateway, ledger], payments_pid, payments_address })
    }

    /// Starts the load. Call this once the service is traced, so that the trace covers all failures.
    ///
    /// # Errors
    ///
    /// [`DemoError::Begin`] if the load process has ended.
    pub fn begin(&mut self) -> Result<(), DemoError> {
        self.load.lifeline.write_all(b"\n").map_err(DemoError::Begin)
    }

    /// Process ID of the payments service, the target: it serves the load and calls the upstreams.
    pub fn payments_pid(&self) -> u32 {
        self.payments_pid
    }

    /// Address on which the payments service listens.
    pub fn payments_address(&self) -> SocketAddr {
        self.payments_address
    }

    /// Process IDs of all parts.
    pub fn pids(&self) -> Vec<u32> {
        std::iter::once(&self.load).chain(&self.services).map(|part| part.child.id()).collect()
    }
}

/// One process of the demo.
#[derive(Debug)]
struct Part {
    child: Child,
    address: SocketAddr,
    /// Standard input of the part; closing it ends the part.
    lifeline: ChildStdin,
}

impl Part {
    fn start(program: &std::path::Path, role: &'static str, args: &[SocketAddr]) -> Result<Self, DemoError> {
        let spawn_error = |source| DemoError::Spawn { role, program: program.to_owned(), source };
        let mut child = Command::new(program)
            .arg(HIDDEN_COMMAND)
            .arg(role)
            .args(args.iter().map(ToString::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(spawn_error)?;
        let (Some(lifeline), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            end(&mut child);
            return Err(spawn_error(io::Error::other("its pipes are missing")));
        };
        let (sender, line) = mpsc::channel();
        // A thread is needed to bound the wait for a line; it ends with the pipe.
        thread::spawn(move || {
            // The output counts as untrusted. If no privileges can be dropped, the line is still read.
            let _ = confine::enter(Duty::Open);
            let mut line = String::new();
            let _ = BufReader::new(output).read_line(&mut line);
            let _ = sender.send(line);
        });
        let said = line.recv_timeout(START_TIMEOUT).unwrap_or_default();
        let Ok(address) = said.trim().parse() else {
            end(&mut child);
            return Err(DemoError::NotListening { role, said: said.trim().to_owned() });
        };
        Ok(Self { child, address, lifeline })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Kills and reaps a child. Errors mean that it has already ended.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
