//! Scenes: connections that processes share, processes that start and exit, bytes other than HTTP.

use std::{
    io::{IoSlice, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    net::{TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};
use tracer_tests::{
    driver::{Client, Payload, Plan},
    peer::{Scribe, serve},
    transport::Transport as _,
    truth::pattern,
};

use crate::{
    connect,
    socket::{Mode, Socket},
    start, sys,
};

pub(crate) fn run(name: &str, address: &str, count: usize, scribe: &Scribe) -> anyhow::Result<()> {
    if name == "fork-accept" {
        return fork_after_accept(scribe);
    }
    start("")?;
    match name {
        "threads" => threads(address, count, scribe),
        "pass" => pass(address, scribe),
        "dup2" => dup2(address, scribe),
        "churn" => churn(address, count, scribe),
        "children" => children(address, count, scribe),
        "one" => one(address, count, scribe),
        "exec" => exec(address, scribe),
        "exit" => exit(address, scribe),
        "garbage" => garbage(address),
        "flood" => flood(address, count, scribe),
        "give-up" => give_up(address, scribe),
        _ => bail!("no such scene"),
    }
}

fn plain(address: &str) -> anyhow::Result<Socket> {
    Ok(Socket::new(connect(address)?, Mode::Plain)?)
}

/// One thread writes requests and another reads the responses, on several connections.
fn threads(address: &str, count: usize, scribe: &Scribe) -> anyhow::Result<()> {
    for connection in 0..4 {
        let stream = TcpStream::connect(address)?;
        let mut writer = Client::new(stream.try_clone()?, scribe.clone());
        let mut reader = Client::new(stream, scribe.clone());
        let (sender, waiting) = mpsc::sync_channel(4);
        let sending = thread::spawn(move || -> anyhow::Result<()> {
            for number in 0..count {
                let plan = match number % 2 {
                    0 => Plan::get(format!("/get/{}/t{connection}-{number}", number * 31)),
                    _ => Plan::post(format!("/echo/t{connection}-{number}"), Payload::Sized(number * 17)),
                };
                sender.send(writer.send(&plan)?)?;
            }
            Ok(())
        });
        for sent in waiting {
            reader.receive(sent)?;
        }
        sending.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    }
    Ok(())
}

/// A child gets the descriptor by `SCM_RIGHTS` and uses the connection; the parent closes its own descriptor.
fn pass(address: &str, scribe: &Scribe) -> anyhow::Result<()> {
    let (here, there) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let child = sys::fork()?;
    let Some(child) = child else {
        let mut space = [MaybeUninit::uninit(); 64];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        rustix::net::recvmsg(&there, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::empty())?;
        let fd: OwnedFd = control
            .drain()
            .find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
                _ => None,
            })
            .context("no descriptor came")?;
        let mut client = Client::new(Socket::new(fd, Mode::Plain)?, scribe.clone());
        for number in 0..5 {
            client.exchange(&Plan::get(format!("/get/100/passed-{number}")))?;
        }
        std::process::exit(0);
    };
    let mut client = Client::new(plain(address)?, scribe.clone());
    client.exchange(&Plan::get("/get/100/before-passing"))?;
    let fds = [client.stream.fd()];
    let mut space = [MaybeUninit::uninit(); 64];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        bail!("no room for a descriptor");
    }
    rustix::net::sendmsg(&here, &[IoSlice::new(b"x")], &mut control, SendFlags::empty())?;
    drop(client);
    sys::wait(child)?;
    Ok(())
}

/// The parent accepts and forks. The child serves.
fn fork_after_accept(scribe: &Scribe) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    start(&listener.local_addr()?.port().to_string())?;
    for _ in 0..5 {
        let fd = rustix::net::accept(&listener)?;
        if let Some(child) = sys::fork()? {
            drop(fd);
            sys::wait(child)?;
            continue;
        }
        serve(&mut Socket::new(fd, Mode::Plain)?, scribe)?;
        std::process::exit(0);
    }
    Ok(())
}

/// Another connection replaces that of a descriptor (`dup2`).
fn dup2(address: &str, scribe: &Scribe) -> anyhow::Result<()> {
    let mut first = connect(address)?;
    let mut old = Client::new(Socket::new(first.try_clone()?, Mode::Plain)?, scribe.clone());
    old.exchange(&Plan::get("/get/100/first-by-duplicate"))?;
    drop(old);
    let second = connect(address)?;
    let addresses = Socket::new(second.try_clone()?, Mode::Plain)?.addresses();
    rustix::io::dup2(&second, &mut first)?;
    drop(second);
    let mut new = Client::new(Socket::new(first, Mode::Plain)?, scribe.clone());
    if new.stream.addresses() != addresses {
        bail!("dup2 did not take");
    }
    for number in 0..3 {
        new.exchange(&Plan::post(format!("/echo/second-{number}"), Payload::Sized(50)))?;
    }
    Ok(())
}

/// Connections of one exchange each, as fast as possible: descriptors and ports are reused at once.
fn churn(address: &str, count: usize, scribe: &Scribe) -> anyhow::Result<()> {
    let begin = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                scope.spawn(move || -> anyhow::Result<()> {
                    for number in 0..count / 4 {
                        let stream = TcpStream::connect(address)?;
                        // Without TIME_WAIT: otherwise loopback runs out of ports.
                        stream.reset_on_close()?;
                        let mut client = Client::new(stream, scribe.clone());
                        client.exchange(&Plan::get(format!("/get/20/churn-{thread}-{number}")))?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
    })?;
    let rate = count as f64 / begin.elapsed().as_secs_f64();
    eprintln!("churn: {rate:.0} connections a second");
    Ok(())
}

/// Starts children that do one exchange each, 500 a second.
fn children(address: &str, count: usize, scribe: &Scribe) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut running = Vec::new();
    for number in 0..count {
        let Some(child) = sys::fork()? else {
            // An error appears as a missing exchange.
            let _ = one(address, number, scribe);
            std::process::exit(0);
        };
        running.push(child);
        // A sleep on purpose: it sets the rate.
        let due = begin + Duration::from_millis(2) * number as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    let rate = count as f64 / begin.elapsed().as_secs_f64();
    eprintln!("children: {rate:.0} a second");
    running.into_iter().try_for_each(sys::wait)?;
    Ok(())
}

fn one(address: &str, number: usize, scribe: &Scribe) -> anyhow::Result<()> {
    let mut client = Client::new(plain(address)?, scribe.clone());
    client.exchange(&Plan::get(format!("/get/50/one-{number}")))?;
    Ok(())
}

/// An exchange, then an exec of another program, which has an exchange, too.
fn exec(address: &str, scribe: &Scribe) -> anyhow::Result<()> {
    one(address, 1, scribe)?;
    Err(Command::new(std::env::current_exe()?).args(["scene", "one", address, "2"]).exec().into())
}

/// An exchange whose response is not read completely before the process exits.
fn exit(address: &str, scribe: &Scribe) -> anyhow::Result<()> {
    one(address, 1, scribe)?;
    let mut client = Client::new(plain(address)?, scribe.clone());
    let sent = client.send(&Plan::get("/hang/unanswered"))?;
    client.note_unanswered(sent, "client_timeout");
    std::process::exit(7);
}

/// The client closes before the response.
fn give_up(address: &str, scribe: &Scribe) -> anyhow::Result<()> {
    let mut client = Client::new(plain(address)?, scribe.clone());
    let sent = client.send(&Plan::get("/hang/given-up"))?;
    client.note_unanswered(sent, "client_timeout");
    Ok(())
}

/// Bytes like TLS, and bytes of no protocol, each on a connection of its own. The scene waits for no response.
fn garbage(address: &str) -> anyhow::Result<()> {
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.extend(pattern("hello", 506));
    let random: Vec<u8> = (0..4000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 21) as u8).collect();
    for bytes in [hello, random, b"\0\0\0\x12binary protocol\x01\x02".to_vec()] {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(&bytes)?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let _ = stream.read_to_end(&mut Vec::new());
    }
    Ok(())
}

/// Requests with bodies on a few connections at once, as fast as possible.
fn flood(address: &str, count: usize, scribe: &Scribe) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                scope.spawn(move || -> anyhow::Result<()> {
                    let mut client = Client::new(TcpStream::connect(address)?, scribe.clone());
                    for number in 0..count {
                        let plan = match number % 3 {
                            0 => Plan::get(format!("/get/9000/f{thread}-{number}")),
                            1 => Plan::post(format!("/echo/f{thread}-{number}"), Payload::Sized(7000)),
                            _ => Plan::get(format!("/chunked/3000/f{thread}-{number}")),
                        };
                        client.exchange(&plan)?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
    })
}
