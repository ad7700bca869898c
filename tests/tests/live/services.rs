//! Real servers and clients, each with a peer that logs the bytes on the wire.
//!
//! Each scene runs twice: here with many exchanges, and in `record` with few, for a committed recording.

use std::{path::Path, thread};

use anyhow::{Context as _, ensure};
use tracer_tests::{
    compare::{Expectation, compare},
    driver::{Client, Payload, Plan},
    guard,
    service::{Nginx, Program, go, node, python},
    tracer::Tracer,
    truth::{Exchange, Role},
};

use crate::support::{Outcome, agree, all_of, driver, peer};

/// The size of a scene, and its recording.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(crate) connections: usize,
    pub(crate) each: usize,
    /// The recording to write.
    pub(crate) record: Option<&'a Path>,
}

impl Setting<'_> {
    const VOLUME: Self = Setting { connections: 8, each: 100, record: None };

    pub(crate) fn attach(&self, pids: &[u32]) -> anyhow::Result<Tracer> {
        let path = self.record.map(|path| path.to_string_lossy().into_owned());
        match &path {
            // The default limit, so that `open` with default limits gives the same lines.
            Some(path) => Tracer::attach(pids, &["--body-limit", "64KiB", "--record", path]),
            None => Tracer::attach(pids, &[]),
        }
    }
}

fn stop(trace: Tracer) -> anyhow::Result<Outcome> {
    let (report, json) = trace.stop_with_text()?;
    Ok(Outcome { report, json })
}

/// Requests that every server answers, with and without bodies, on kept-alive connections.
fn drive(address: &str, setting: Setting<'_>, chunked_requests: bool) -> anyhow::Result<Vec<Exchange>> {
    let scribe = driver();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..setting.connections)
            .map(|connection| {
                let scribe = scribe.clone();
                scope.spawn(move || -> anyhow::Result<()> {
                    let mut client = Client::connect(address, scribe)?;
                    for number in 0..setting.each {
                        let id = format!("d{connection}-{number}");
                        let plan = match number % 6 {
                            0 => Plan::get(format!("/get/{}/{id}", number * 101)).header("Accept", "*/*"),
                            1 => Plan::post(format!("/echo/{id}"), Payload::Sized(number * 57)),
                            2 => Plan::get(format!("/missing/{id}")),
                            3 => Plan::get(format!("/get/500/{id}")).method("HEAD"),
                            4 if chunked_requests => Plan::post(format!("/echo/{id}"), Payload::Chunked(number * 29)),
                            4 => Plan::post(format!("/echo/{id}"), Payload::Expected(number * 29)),
                            _ if chunked_requests => Plan::get(format!("/chunked/{}/{id}", number * 43)),
                            _ => Plan::get(format!("/get/{}/{id}", number * 43)),
                        };
                        client.exchange(&plan).with_context(|| plan.target.clone())?;
                    }
                    Ok(())
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| anyhow::anyhow!("a driver panicked"))?)
    })?;
    Ok(scribe.log.exchanges())
}

fn server(mut program: Program, setting: Setting<'_>, chunked_requests: bool) -> anyhow::Result<Outcome> {
    let trace = setting.attach(&[program.pid()])?;
    let truth = drive(&format!("127.0.0.1:{}", program.ready), setting, chunked_requests)?;
    ensure!(truth.len() == setting.connections * setting.each, "the driver did it all");
    agree(&program.truth_of(truth.len())?, &truth);
    let outcome = stop(trace)?;
    compare(&truth, &outcome.report, &Expectation::default())?;
    program.process.close_input();
    Ok(outcome)
}

fn client(start: impl FnOnce(&[String]) -> anyhow::Result<Program>, setting: Setting<'_>) -> anyhow::Result<Outcome> {
    let (address, log) = peer("127.0.0.1:0")?;
    let mut program = start(&[address, setting.connections.to_string(), setting.each.to_string()])?;
    let trace = setting.attach(&[program.pid()])?;
    program.work()?;
    let outcome = stop(trace)?;
    let own = program.truth()?;
    ensure!(own.len() == setting.connections * setting.each, "the client did it all");
    let truth = all_of(&log, own.len())?;
    agree(&own, &truth);
    compare(&truth, &outcome.report, &Expectation::default())?;
    Ok(outcome)
}

pub(crate) fn python_server(setting: Setting<'_>) -> anyhow::Result<Outcome> {
    server(Program::start(&mut python("server.py"))?, setting, false)
}

pub(crate) fn urllib3_client(setting: Setting<'_>) -> anyhow::Result<Outcome> {
    client(|args| Program::start(python("client.py").args(args)), setting)
}

pub(crate) fn node_server(setting: Setting<'_>) -> anyhow::Result<Outcome> {
    server(Program::start(&mut node("server.js"))?, setting, true)
}

pub(crate) fn node_fetch(setting: Setting<'_>) -> anyhow::Result<Outcome> {
    client(|args| Program::start(node("client.js").args(args)), setting)
}

pub(crate) fn go_server(setting: Setting<'_>) -> anyhow::Result<Outcome> {
    server(Program::start(go()?.arg("server"))?, setting, true)
}

pub(crate) fn go_client(setting: Setting<'_>) -> anyhow::Result<Outcome> {
    client(|args| Program::start(go()?.arg("client").args(args)), setting)
}

/// The resources of nginx.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Nginxs {
    Small,
    Large,
    Proxied,
}

pub(crate) fn nginx(what: Nginxs, setting: Setting<'_>) -> anyhow::Result<Outcome> {
    let (backend, log) = peer("127.0.0.1:0")?;
    let nginx = Nginx::start(&backend)?;
    let trace = setting.attach(&nginx.pids()?)?;
    let scribe = driver();
    let address = &nginx.address;
    thread::scope(|scope| {
        let clients: Vec<_> = (0..setting.connections)
            .map(|connection| {
                let scribe = scribe.clone();
                scope.spawn(move || -> anyhow::Result<()> {
                    let mut client = Client::connect(address, scribe)?;
                    for number in 0..setting.each {
                        let id = format!("x{connection}-{number}");
                        client.exchange(&match (what, number % 4) {
                            (Nginxs::Small, 3) => Plan::get(format!("/none/{id}")),
                            (Nginxs::Small, 2) => Plan::get(format!("/small/{id}")).method("HEAD"),
                            (Nginxs::Small, _) => Plan::get(format!("/small/{id}")),
                            (Nginxs::Large, _) => Plan::get(format!("/large/{id}")),
                            (Nginxs::Proxied, 0) => Plan::get(format!("/proxy/get/{}/{id}", number * 50)),
                            (Nginxs::Proxied, 1) => {
                                Plan::post(format!("/proxy/echo/{id}"), Payload::Sized(number * 30))
                            }
                            (Nginxs::Proxied, 2) => Plan::get(format!("/proxy/chunked/{}/{id}", number * 50)),
                            (Nginxs::Proxied, _) => Plan::get(format!("/proxy/status/503/{id}")),
                        })?;
                    }
                    Ok(())
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| anyhow::anyhow!("a driver panicked"))?)
    })?;
    let mut truth = scribe.log.exchanges();
    let count = setting.connections * setting.each;
    ensure!(truth.len() == count, "the driver did it all");
    check_access_log(&nginx, &truth, what)?;
    if what == Nginxs::Proxied {
        truth.extend(all_of(&log, count)?);
    }
    let outcome = stop(trace)?;
    // sendfile: the bytes of the body never are in user space.
    let (quality, digests) = if what == Nginxs::Large { ("body_gap", false) } else { ("whole", true) };
    compare(&truth, &outcome.report, &Expectation { quality: Some(quality), nothing_lost: true, digests })?;
    Ok(outcome)
}

/// Checks that nginx's own log equals the driver's.
fn check_access_log(nginx: &Nginx, truth: &[Exchange], what: Nginxs) -> anyhow::Result<()> {
    let mut log = nginx.log(truth.len())?;
    log.sort();
    let mut truth: Vec<&Exchange> = truth.iter().filter(|exchange| exchange.role == Role::Server).collect();
    truth.sort_by_key(|exchange| exchange.request.target.clone());
    ensure!(log.len() == truth.len(), "nginx answered {} of {}", log.len(), truth.len());
    for (access, exchange) in log.iter().zip(truth) {
        let response = exchange.response.as_ref().context("it was answered")?;
        ensure!(
            (&access.target, &access.method, access.status)
                == (&exchange.request.target, &exchange.request.method, response.status),
            "{access:?} is not {exchange:?}"
        );
        // nginx counts the framing of proxied chunks, too.
        ensure!(what == Nginxs::Proxied || access.bytes == response.body.bytes, "{access:?} is not {exchange:?}");
        let id = response.headers.iter().flatten().rev().find(|(name, _)| name == "X-Request-Id");
        if let Some((_, id)) = id {
            ensure!(*id == access.request_id, "{access:?} is not {exchange:?}");
        }
    }
    Ok(())
}

pub(crate) fn curl(setting: Setting<'_>) -> anyhow::Result<Outcome> {
    let (address, log) = peer("127.0.0.1:0")?;
    let url = |path: &str| format!("http://{address}{path}");
    let (get, chunked, post) = (url("/get/2000/curl-get"), url("/chunked/3000/curl-chunked"), url("/echo/curl-post"));
    let command = [
        "curl",
        "--silent",
        "--show-error",
        "--output",
        "/dev/null",
        &get,
        "--next",
        "--silent",
        "--output",
        "/dev/null",
        &chunked,
        "--next",
        "--silent",
        "--output",
        "/dev/null",
        "--header",
        "Expect: 100-continue",
        "--data",
        "amount=17&note=of+curl",
        &post,
    ];
    let command: Vec<&std::ffi::OsStr> = command.iter().map(std::ffi::OsStr::new).collect();
    let path = setting.record.map(|path| path.to_string_lossy().into_owned());
    let options: Vec<&str> = path.iter().flat_map(|path| ["--body-limit", "64KiB", "--record", path]).collect();
    let (report, json) = Tracer::run(&options, &command)?.finish_with_text()?;
    let truth = all_of(&log, 3)?;
    compare(&truth, &report, &Expectation::default())?;
    Ok(Outcome { report, json })
}

macro_rules! services {
    ($($name:ident)*) => {
        $(
            #[test]
            #[ignore = "needs root: `cargo xtask test live`"]
            fn $name() {
                let _guard = guard::live();
                super::$name(Setting::VOLUME).expect("all is as it was");
            }
        )*
    };
}

mod tests {
    use super::*;

    services! { python_server urllib3_client node_server node_fetch go_server go_client curl }

    #[test]
    #[ignore = "needs root: `cargo xtask test live`"]
    fn nginx_small() {
        let _guard = guard::live();
        nginx(Nginxs::Small, Setting::VOLUME).expect("all is as it was");
    }

    #[test]
    #[ignore = "needs root: `cargo xtask test live`"]
    fn nginx_sendfile() {
        let _guard = guard::live();
        let outcome =
            nginx(Nginxs::Large, Setting { connections: 2, each: 20, record: None }).expect("all is as it was");
        let missing: Vec<u64> =
            outcome.report.exchanges.iter().filter_map(|seen| Some(seen.response.as_ref()?.body.missing)).collect();
        assert!(missing.iter().all(|missing| *missing > 0), "{missing:?}");
    }

    #[test]
    #[ignore = "needs root: `cargo xtask test live`"]
    fn nginx_proxied() {
        let _guard = guard::live();
        nginx(Nginxs::Proxied, Setting::VOLUME).expect("all is as it was");
    }
}
