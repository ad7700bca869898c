//! A program for traces: it uses rare system calls and framings, and logs the messages that it sends and receives.
//!
//! ```text
//! tracee client MODE ADDRESS PLAN COUNT     COUNT connections, each with the requests of PLAN
//! tracee server MODE                        prints `listening ADDRESS`; serves each connection in a thread
//! tracee scene NAME ADDRESS [COUNT]
//! tracee retry PATTERN CHAINS ATTEMPTS ADDRESS PATH
//! ```
//!
//! `TRUTH` names the log. The program prints `ready`, waits for `go`, works, prints `done`, and exits at the end of its standard
//! input. An ADDRESS is `IP:PORT` or `unix:PATH`.

mod retry;
mod scene;
mod socket;
mod sys;

use std::{
    io::{self, BufRead as _, Read as _, Write as _},
    net::TcpStream,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    thread,
};

use anyhow::{Context as _, bail};
use socket::{Mode, Socket};
use tracer_tests::{
    driver::{Client, Payload, Plan, every_kind},
    peer::{Scribe, serve},
    truth::Log,
};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let truth = std::env::var_os("TRUTH").context("TRUTH names the log")?;
    let scribe = Scribe { log: Log::to_file(Path::new(&truth))?, for_other_side: false };
    match args[..] {
        ["client", mode, address, plan, count] => {
            let mode = Mode::parse(mode).context("no such mode")?;
            let count = count.parse()?;
            start("")?;
            client(mode, address, plan, count, &scribe)?;
        }
        ["server", mode] => server(Mode::parse(mode).context("no such mode")?, &scribe)?,
        ["scene", name, address] => scene::run(name, address, 1, &scribe)?,
        ["scene", name, address, count] => scene::run(name, address, count.parse()?, &scribe)?,
        ["retry", pattern, chains, attempts, address, path] => {
            let (chains, attempts) = (chains.parse()?, attempts.parse()?);
            start("")?;
            retry::run(pattern, chains, attempts, address, path)?;
        }
        _ => bail!("see the top of tracee/main.rs"),
    }
    say("done")?;
    wait_for_end();
    Ok(())
}

/// Prints `ready` with the address, and waits for `go`.
fn start(more: &str) -> anyhow::Result<()> {
    say(&format!("ready {more}"))?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if line.trim() != "go" {
        bail!("not told to go");
    }
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

fn wait_for_end() {
    let _ = io::stdin().lock().read_to_end(&mut Vec::new());
}

fn connect(address: &str) -> anyhow::Result<OwnedFd> {
    if let Some(path) = address.strip_prefix("unix:") {
        return Ok(UnixStream::connect(path)?.into());
    }
    let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream.into())
}

fn client(mode: Mode, address: &str, plan: &str, count: usize, scribe: &Scribe) -> anyhow::Result<()> {
    for number in 0..count {
        let mut client = Client::new(Socket::new(connect(address)?, mode)?, scribe.clone());
        let id = format!("c{number}");
        let (name, size) = plan.split_once(':').unwrap_or((plan, "0"));
        let size: usize = size.parse()?;
        let one = |plan: Plan| vec![plan];
        let plans = match name {
            "kinds" => every_kind(&id),
            "bodies" => vec![
                Plan::get(format!("/get/20000/{id}-down")),
                Plan::post(format!("/echo/{id}-up"), Payload::Sized(20_000)),
                Plan::get(format!("/get/5/{id}-small")),
            ],
            "download" => one(Plan::get(format!("/get/{size}/{id}-download"))),
            "upload" => one(Plan::post(format!("/echo/{id}-upload"), Payload::Sized(size))),
            "headers" => one(Plan::get(format!("/headers/{size}/{id}-headers"))
                .header("X-Long", &"h".repeat(size / 2))
                .header("X-Longer", &"H".repeat(size / 2))),
            "close" => one(Plan::get(format!("/close/{size}/{id}-close"))),
            "pipeline" => {
                let plans: Vec<Plan> =
                    every_kind(&id).into_iter().filter(|plan| !matches!(plan.payload, Payload::Expected(_))).collect();
                let sent = plans.iter().map(|plan| client.send(plan)).collect::<Result<Vec<_>, _>>()?;
                for sent in sent {
                    client.receive(sent)?;
                }
                continue;
            }
            "upgrade" | "connect" => {
                let plan = if name == "upgrade" {
                    Plan::get(format!("/upgrade/{id}-upgrade"))
                        .header("Connection", "Upgrade")
                        .header("Upgrade", "websocket")
                } else {
                    Plan::get(format!("{id}-tunnel.test:443")).method("CONNECT")
                };
                client.exchange(&plan)?;
                // Bytes other than HTTP.
                client.stream.write_all(b"GET /not/http/any-more HTTP/1.1\r\n\r\n\x81\x05hello")?;
                client.stream.read_exact(&mut [0; 35 + 7])?;
                continue;
            }
            "early" => {
                early(&mut client, &id)?;
                continue;
            }
            "reset" => {
                let sent = client.send(&Plan::get(format!("/reset/{size}/{id}-reset")))?;
                // The body ends early. The peer logs the bytes that it read.
                let mut sink = Vec::new();
                let _ = client.stream.read_to_end(&mut sink);
                client.note_unanswered(sent, "reset");
                continue;
            }
            _ => bail!("no such plan: {plan}"),
        };
        for plan in &plans {
            client.exchange(plan).with_context(|| format!("{} {}", plan.method, plan.target))?;
        }
    }
    Ok(())
}

/// Sends half a body, reads the early response, and sends no more.
fn early(client: &mut Client<Socket>, id: &str) -> anyhow::Result<()> {
    let plan = Plan::get(format!("/early/{id}-early")).method("POST").header("Content-Length", "1000");
    let sent = client.send(&plan)?;
    client.stream.write_all(&[b'x'; 500])?;
    client.receive(sent)?;
    Ok(())
}

fn server(mode: Mode, scribe: &Scribe) -> anyhow::Result<()> {
    let listener = std::net::TcpListener::bind("[::]:0").or_else(|_| std::net::TcpListener::bind("0.0.0.0:0"))?;
    let port = listener.local_addr()?.port();
    let scribe = scribe.clone();
    thread::spawn(move || -> anyhow::Result<()> {
        loop {
            // `accept`, as std uses `accept4`.
            let fd = rustix::net::accept(&listener)?;
            // Head and body are separate calls: with Nagle's algorithm, each response would wait for a delayed acknowledgement.
            rustix::net::sockopt::set_tcp_nodelay(&fd, true)?;
            let scribe = scribe.clone();
            thread::spawn(move || -> anyhow::Result<()> {
                serve(&mut Socket::new(fd, mode)?, &scribe)?;
                Ok(())
            });
        }
    });
    start(&format!("{port}"))
}
