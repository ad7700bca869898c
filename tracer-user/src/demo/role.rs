//! Hidden subcommand: runs one part of the demo in its own process.

use std::{
    ffi::CString,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Sender},
    },
    thread,
};

use thiserror::Error;

use super::{gateway::Gateway, ledger::Ledger, load, payments::Payments};
use crate::host::confine::{self, Duty};

/// Maximum number of concurrent connections of a part; further ones are closed at once. The load needs a handful.
const MAX_CONNECTIONS: usize = 64;

/// Error that ends a part.
#[derive(Debug, Error)]
pub enum RoleError {
    /// The part does not exist, or its arguments are invalid.
    #[error("{0:?} is not a valid part of the demo; only `pidtap demo` starts these parts")]
    Usage(Vec<String>),
    /// No listening socket could be created.
    #[error("cannot listen on 127.0.0.1 for the demo: {0}; check that the loopback interface is up")]
    Listen(#[source] io::Error),
    /// Standard output is closed, so pidtap has ended.
    #[error("cannot print the address of this part of the demo: {0}")]
    Announce(#[source] io::Error),
}

/// Runs one part until standard input ends, which ends the process. Prints the part's address as its first line. The
/// load begins with the first byte of standard input.
///
/// # Errors
///
/// [`RoleError`] if the part cannot start.
pub fn run_role(role: &str, args: &[String]) -> Result<(), RoleError> {
    let usage = || RoleError::Usage(std::iter::once(role.to_owned()).chain(args.iter().cloned()).collect());
    let addresses: Vec<SocketAddr> =
        args.iter().map(|arg| arg.parse()).collect::<Result<_, _>>().map_err(|_| usage())?;
    let (begins, begin) = mpsc::channel();
    let run: Box<dyn FnOnce() -> Result<(), RoleError>> = match (role, &addresses[..]) {
        ("ledger", []) => Box::new(|| listen(Arc::new(Ledger::default()), Ledger::serve)),
        ("gateway", []) => Box::new(|| listen(Arc::new(Gateway::default()), Gateway::serve)),
        ("payments", &[ledger, gateway]) => {
            Box::new(move || listen(Arc::new(Payments::new(ledger, gateway)), Payments::serve))
        }
        ("load", &[payments]) => Box::new(move || {
            announce(payments)?;
            if begin.recv().is_ok() {
                load::run(payments);
            }
            Ok(())
        }),
        _ => return Err(usage()),
    };
    // Threads inherit the name, and `ps` and pidtap show it. A failure does not matter.
    if let Ok(name) = CString::new(role) {
        let _ = rustix::thread::set_name(&name);
    }
    // Everyone on this machine may connect to the part. It needs no privilege and no file. If it cannot drop its privileges (pidtap
    // itself is in a sandbox), it works nevertheless.
    let _ = confine::enter(Duty::Open);
    end_with_standard_input(begins);
    run()
}

/// Ends the process when standard input ends, so that no orphan stays. Forwards each byte as a message.
fn end_with_standard_input(bytes: Sender<()>) {
    thread::spawn(move || {
        let mut byte = [0];
        while matches!(io::stdin().read(&mut byte), Ok(1..)) {
            let _ = bytes.send(());
        }
        std::process::exit(0);
    });
}

fn announce(address: SocketAddr) -> Result<(), RoleError> {
    let mut output = io::stdout().lock();
    writeln!(output, "{address}").and_then(|()| output.flush()).map_err(RoleError::Announce)
}

fn listen<S: Send + Sync + 'static>(service: Arc<S>, serve: fn(&S, TcpStream)) -> Result<(), RoleError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(RoleError::Listen)?;
    announce(listener.local_addr().map_err(RoleError::Listen)?)?;
    accept(&listener, service, serve);
    Ok(())
}

/// Serves each connection in its own thread, up to the limit.
pub(super) fn accept<S: Send + Sync + 'static>(listener: &TcpListener, service: Arc<S>, serve: fn(&S, TcpStream)) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming().flatten() {
        if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let _ = stream.set_nodelay(true);
        let (service, open) = (Arc::clone(&service), Arc::clone(&open));
        thread::spawn(move || {
            serve(&service, stream);
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
    drop(service);
}
