//! A small flaky payments service that ships with pidtap, so that there is something to look at on any machine.
//!
//! ```text
//! load --> payments --> ledger     healthy, but takes its time over the books of a day
//!                  \--> gateway    fails and recovers: throttles, 503 bursts, slow answers, resets
//! ```
//!
//! Each part is a process of its own (this same program with a hidden subcommand) on an ephemeral loopback port, so
//! that what is traced is a real process with real sockets. A part reads its standard input and ends when that ends:
//! the pipe's other end is here, so the kernel ends the demo with pidtap, however pidtap ends.

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

/// The hidden subcommand under which this program is a part of the demo: `pidtap __demo-role ROLE ARG...`.
pub const HIDDEN_COMMAND: &str = "__demo-role";

/// How long a part may take to say where it listens.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the demo could not start.
#[derive(Debug, Error)]
pub enum DemoError {
    /// The program does not find itself.
    #[error("cannot start the demo: this program's own path is not known ({0}); start pidtap from a file that exists")]
    OwnPath(#[source] io::Error),
    /// A part could not be started.
    #[error("cannot start the demo's {role}: running {program:?} failed: {source}")]
    Spawn {
        /// Which part.
        role: &'static str,
        /// What was run.
        program: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The load has ended before it began.
    #[error("the demo's load did not begin ({0}); start the demo again")]
    Begin(#[source] io::Error),
    /// A part did not say where it listens.
    #[error(
        "the demo's {role} did not start: it said {said:?} instead of its address; check that 127.0.0.1 can be bound"
    )]
    NotListening {
        /// Which part.
        role: &'static str,
        /// Its first line.
        said: String,
    },
}

/// The running demo. Dropping it ends every part.
#[derive(Debug)]
pub struct Demo {
    load: Part,
    services: Vec<Part>,
    payments_pid: u32,
    payments_address: SocketAddr,
}

impl Demo {
    /// Starts ledger, gateway, payments and load, in this order; returns when all of them run. The load waits.
    ///
    /// # Errors
    ///
    /// [`DemoError`] with the part that did not start; parts that did are ended.
    pub fn start() -> Result<Self, DemoError> {
        let program = std::env::current_exe().map_err(DemoError::OwnPath)?;
        let ledger = Part::start(&program, "ledger", &[])?;
        let gateway = Part::start(&program, "gateway", &[])?;
        let payments = Part::start(&program, "payments", &[ledger.address, gateway.address])?;
        let (payments_pid, payments_address) = (payments.child.id(), payments.address);
        let load = Part::start(&program, "load", &[payments_address])?;
        Ok(Self { load, services: vec![payments, gateway, ledger], payments_pid, payments_address })
    }

    /// Lets the load begin: once the service is traced, so that what goes wrong in it is seen from its beginning.
    ///
    /// # Errors
    ///
    /// [`DemoError::Begin`] where the load has ended.
    pub fn begin(&mut self) -> Result<(), DemoError> {
        self.load.lifeline.write_all(b"\n").map_err(DemoError::Begin)
    }

    /// The process to look at: it answers the load and calls the upstreams.
    pub fn payments_pid(&self) -> u32 {
        self.payments_pid
    }

    /// Where the payments service listens.
    pub fn payments_address(&self) -> SocketAddr {
        self.payments_address
    }

    /// Process ids of all parts.
    pub fn pids(&self) -> Vec<u32> {
        std::iter::once(&self.load).chain(&self.services).map(|part| part.child.id()).collect()
    }
}

/// One process of the demo.
#[derive(Debug)]
struct Part {
    child: Child,
    address: SocketAddr,
    /// Open as long as the part shall run.
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
        // Only a thread bounds the wait for a line; it ends with the pipe.
        thread::spawn(move || {
            // What the demo says is as good as a stranger's; where nothing can be given up, the line is read all the same.
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

/// Kills and reaps. Errors mean that it has ended by itself.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
