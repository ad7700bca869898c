//! The hidden subcommand: one part of the demo, in a process of its own.

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

/// Connections that a part serves at a time; more are closed at once. The demo's own load needs a handful.
const MAX_CONNECTIONS: usize = 64;

/// Why a part ended.
#[derive(Debug, Error)]
pub enum RoleError {
    /// No such part, or not its arguments.
    #[error("{0:?} is not a part of the demo with its arguments; it is started by `pidtap demo` alone")]
    Usage(Vec<String>),
    /// No listening socket.
    #[error("cannot listen on 127.0.0.1 for the demo: {0}; check that the loopback interface is up")]
    Listen(#[source] io::Error),
    /// Standard output is gone: so is pidtap.
    #[error("cannot say where the demo's part listens: {0}")]
    Announce(#[source] io::Error),
}

/// Runs one part until standard input ends, which ends the process. Prints the part's address as its first line. The load
/// begins with the first byte of standard input.
///
/// # Errors
///
/// [`RoleError`] where it cannot begin.
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
    // Threads inherit the name, and `ps` and pidtap show it instead of the program's own. Without it, all works too.
    if let Ok(name) = CString::new(role) {
        let _ = rustix::thread::set_name(&name);
    }
    end_with_standard_input(begins);
    run()
}

/// The lifeline: a process that nobody holds any more must not stay. Each byte that comes through it is passed on.
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

/// A thread for each connection, up to the limit.
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
