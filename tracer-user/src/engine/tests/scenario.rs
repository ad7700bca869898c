//! Scenarios: calls of a process, written down line by line.
//!
//! ```text
//! +500 t1 GET /a Cookie=x > 503 Retry-After=2 took=20
//! ```
//!
//! 500 ms after what came before, thread 1 sends a request on a connection of its own, and gets an answer 20 ms later.
//! Without `>` the call stays open, until a line like `+10 t1 > 200` ends it: by a status, `closed`, `reset` or
//! `timeout` (the process waits no longer). Of a thread, `in` calls are those that it is asked for. Further words:
//!
//! * `as=NAME` tells calls of one thread apart that are open at once;
//! * `keep` uses the thread's kept connection; `on=NAME` another that is kept;
//! * `port=N` and `host=NAME` say where to, `body=TEXT` what with;
//! * `connect` is a connect alone, which ends `refused`, `unreachable`, `timeout` or `up`, or whose call returns `errno=N`;
//!   `v6` where to is an IPv6 address;
//! * `open on=NAME` makes a connection ahead, for a later call; `blocking` calls `connect` so that it returns at the end;
//! * `exit` ends the process, `exit pN` a child, which `fork pN` makes; `pN` before a thread says that it is the child's.
//!
//! * `> abort`: the process resets the connection of a call;
//! * `tN in accept` is a connection that is accepted, and no more;
//! * `> gone`: the caller of an inbound call closes its connection; the call stays open;
//! * `queue=WAITING/LIMIT` is what the kernel says of the listening socket that a process holds, `files=OPEN/LIMIT` of the descriptors.
//!
//! Empty lines and what follows `#` are left out. `*N` in front of a line repeats it.

use std::collections::BTreeMap;

use crate::{
    analysis::detector::{Evidence, Incident, RetryEvidence, State},
    engine::{Engine, EngineOptions, Update},
    event::{
        Event,
        wire::{
            AttachedEvent, DataEvent, DescriptorEvent, EventHeader, ListenerEvent, ProcessEvent, SocketEvent, TcpEvent,
            TickEvent, call, descriptor, direction, flag, origin, process, tcp, tcp_state,
        },
    },
    model::{
        connection::{AF_INET, AF_INET6},
        exchange::Exchange,
    },
};

const PID: u32 = 10;
const MS: u64 = 1_000_000;
/// As often as a live trace.
const TICK: u64 = 50 * MS;
/// How long an answer takes, unless it is said.
const TAKES: u64 = 2 * MS;
/// Where to, unless it is said.
const PORT: u16 = 8080;

#[derive(Clone, Debug)]
struct Connection {
    inode: u64,
    fd: i32,
    tid: u32,
    port: u16,
    v6: bool,
    inbound: bool,
    /// Sent and received.
    positions: [u64; 2],
}

/// A process and its calls.
pub(crate) struct Scenario {
    engine: Engine,
    time: u64,
    ticked: u64,
    last_inode: u64,
    /// Processes of threads that are not the first's.
    children: BTreeMap<u32, u32>,
    /// Kept connections, and those of open calls.
    kept: BTreeMap<String, Connection>,
    open: BTreeMap<String, (Connection, bool)>,
    updates: Vec<Update>,
}

/// What came of a scenario.
pub(crate) struct Told {
    pub(crate) updates: Vec<Update>,
}

impl Told {
    pub(crate) fn incidents(&self) -> Vec<&Incident> {
        let incidents = self.updates.iter().filter_map(|update| match update {
            Update::Incident(incident) => Some(&**incident),
            _ => None,
        });
        incidents.collect()
    }

    pub(crate) fn exchanges(&self) -> Vec<&Exchange> {
        let exchanges = self.updates.iter().filter_map(|update| match update {
            Update::Exchange(exchange) => Some(&**exchange),
            _ => None,
        });
        exchanges.collect()
    }

    /// The latest that was said of each retry chain.
    pub(crate) fn chains(&self) -> Vec<(State, RetryEvidence)> {
        let mut latest = BTreeMap::new();
        for incident in self.incidents() {
            if let Evidence::Retry(evidence) = &incident.report.evidence {
                latest.insert(incident.id, (incident.state, (**evidence).clone()));
            }
        }
        latest.into_values().collect()
    }
}

impl Scenario {
    pub(crate) fn new(options: EngineOptions) -> Self {
        let mut scenario = Self {
            engine: Engine::new(options),
            time: 1_000 * MS,
            ticked: 1_000 * MS,
            last_inode: 100,
            children: BTreeMap::new(),
            kept: BTreeMap::new(),
            open: BTreeMap::new(),
            updates: Vec::new(),
        };
        let attached =
            AttachedEvent { header: scenario.header(0, 0), realtime_offset_ns: 0, call_capture: 0, ring_size: 0 };
        scenario.event(&Event::Attached(attached));
        scenario
    }

    /// Plays lines, lets time pass, and ends.
    pub(crate) fn told(text: &str) -> Told {
        let mut scenario = Self::new(EngineOptions::default());
        scenario.play(text);
        scenario.end()
    }

    pub(crate) fn play(&mut self, text: &str) -> &mut Self {
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let (times, line) = match line.strip_prefix('*').and_then(|line| line.split_once(' ')) {
                Some((times, line)) => (times.parse().expect("a number of times"), line),
                None => (1, line),
            };
            for _ in 0..times {
                if !line.is_empty() {
                    self.line(line);
                }
            }
        }
        self
    }

    /// The same without anything that happens after the last line.
    pub(crate) fn end(mut self) -> Told {
        self.engine.finish();
        self.fetch();
        Told { updates: self.updates }
    }

    /// The engine, to be looked at.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What was told since the last time.
    pub(crate) fn take_updates(&mut self) -> Vec<Update> {
        std::mem::take(&mut self.updates)
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, nanoseconds: u64) -> &mut Self {
        let until = self.time + nanoseconds;
        while self.ticked + TICK <= until {
            self.ticked += TICK;
            self.time = self.time.max(self.ticked);
            let header = self.header(0, 0);
            self.event(&Event::Tick(TickEvent { header, lost_events: [0; 6], lost_bytes: [0; 6] }));
        }
        self.time = until;
        self
    }

    fn line(&mut self, line: &str) {
        let mut words = line.split_whitespace().peekable();
        let gap = words.next().and_then(|word| word.strip_prefix('+')?.parse::<f64>().ok());
        self.wait((gap.unwrap_or_else(|| panic!("+TIME is missing: {line}")) * MS as f64) as u64);
        let Some(mut who) = words.next() else { return };
        let process = |word: &str| word.strip_prefix('p')?.parse::<u32>().ok();
        if who == "fork" {
            let child = words.next().and_then(process).unwrap_or_else(|| panic!("pN: {line}"));
            let header = self.header(PID, 0);
            let (action, name) = (process::FORK, [0; 16]);
            let fork = ProcessEvent { header, other_tgid: child, exit_code: 0, action, reserved: [0; 7], name };
            return self.event(&Event::Process(fork));
        }
        let child = process(who);
        if let Some(child) = child {
            who = words.next().unwrap_or_else(|| panic!("tN: {line}"));
            let tid: u32 = who.strip_prefix('t').and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("tN: {line}"));
            self.children.insert(tid + 1000, child);
        }
        if who == "exit" {
            let mut header = self.header(PID, 0);
            header.tgid = words.next().and_then(process).unwrap_or(PID);
            let (action, name) = (process::EXIT, [0; 16]);
            let exit = ProcessEvent { header, other_tgid: 0, exit_code: 0, action, reserved: [0; 7], name };
            return self.event(&Event::Process(exit));
        }
        let tid: u32 = who.strip_prefix('t').and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("tN: {line}"));
        let inbound = words.next_if_eq(&"in").is_some();
        let (mut asks, mut answers) = (Vec::new(), Vec::new());
        let mut answered = false;
        for word in words {
            if word == ">" {
                answered = true;
            } else if answered {
                answers.push(word);
            } else {
                asks.push(word);
            }
        }
        let named = option(&asks, "as").or(option(&answers, "as"));
        let name = named.map_or_else(|| format!("{}{tid}", if inbound { "in" } else { "" }), str::to_owned);
        asks.retain(|word| !word.starts_with("as="));
        answers.retain(|word| !word.starts_with("as="));
        if asks.first() == Some(&"open") {
            let connection = self.connection(tid + 1000, false, &asks);
            let name = option(&asks, "on").unwrap_or_else(|| panic!("on=NAME: {line}"));
            self.kept.insert(name.to_owned(), connection);
            return;
        }
        if let Some(queue) = option(&asks, "queue") {
            return self.listener(tid + 1000, queue, option(&asks, "files").unwrap_or("0/0"));
        }
        if asks.first() == Some(&"accept") {
            self.connection(tid + 1000, true, &asks);
            return;
        }
        if asks.first() == Some(&"connect") {
            return self.connect_alone(tid + 1000, &asks, &answers);
        }
        if !asks.is_empty() {
            self.ask(&name, tid + 1000, inbound, &asks);
        }
        if answered {
            let takes = option(&answers, "took").map_or(TAKES, |ms| (ms.parse::<f64>().expect("ms") * 1e6) as u64);
            self.wait(if asks.is_empty() { 0 } else { takes });
            self.answer(&name, &answers);
        }
    }

    /// What the kernel says of a listening socket: `queue=WAITING/LIMIT files=OPEN/LIMIT`
    fn listener(&mut self, tid: u32, queue: &str, files: &str) {
        let pair = |text: &str| {
            let (one, other) = text.split_once('/').expect("A/B");
            (one.parse::<u32>().expect("a number"), other.parse::<u32>().expect("a number"))
        };
        let ((waiting, limit), (descriptors, descriptor_limit)) = (pair(queue), pair(files));
        let mut local = [0; 16];
        local[..4].copy_from_slice(&[127, 0, 0, 1]);
        let header = self.header(tid, 0);
        self.event(&Event::Listener(ListenerEvent {
            header,
            connection: 7,
            local,
            local_port: 80,
            family: AF_INET,
            netns: 0,
            waiting,
            limit,
            descriptors,
            descriptor_limit,
            reserved: 0,
        }));
    }

    fn ask(&mut self, name: &str, tid: u32, inbound: bool, words: &[&str]) {
        let keep = words.contains(&"keep").then(|| format!("{inbound}{tid}"));
        let keep = keep.or_else(|| option(words, "on").map(str::to_owned));
        let mut connection = match keep.as_ref().and_then(|name| self.kept.remove(name)) {
            Some(connection) => Connection { tid, ..connection },
            None => self.connection(tid, inbound, words),
        };
        let words: Vec<&str> = words.iter().copied().filter(|word| *word != "keep").collect();
        let [method, path, ..] = words[..] else { panic!("METHOD PATH: {words:?}") };
        let body = option(&words, "body").unwrap_or_default();
        let host = option(&words, "host").unwrap_or("up");
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n", body.len());
        headers(&words[2..], &mut text);
        text.push_str("\r\n");
        text.push_str(body);
        let direction = if inbound { direction::RECEIVE } else { direction::SEND };
        self.data(&mut connection, direction, text.len() as i32, text.as_bytes());
        if let Some(keep) = &keep {
            self.kept.insert(keep.clone(), connection.clone());
        }
        self.open.insert(name.to_owned(), (connection, keep.is_some()));
    }

    fn answer(&mut self, name: &str, words: &[&str]) {
        let (mut connection, kept) = self.open.remove(name).unwrap_or_else(|| panic!("{name} has no open call"));
        let direction = if connection.inbound { direction::SEND } else { direction::RECEIVE };
        let mut goes_on = kept;
        match words[0] {
            "closed" => {
                self.data(&mut connection, direction::RECEIVE, 0, b"");
                goes_on = false;
            }
            "reset" => {
                self.data(&mut connection, direction::RECEIVE, -104, b"");
                goes_on = false;
            }
            "timeout" => goes_on = false,
            // With SO_LINGER of 0, or bytes left unread: no FIN before the state CLOSE.
            "abort" => {
                self.tcp(&connection, tcp_state::ESTABLISHED, tcp_state::CLOSE, 0);
                return self.kept.retain(|_, kept| kept.inode != connection.inode);
            }
            // The caller closes, and the call stays open.
            "gone" => {
                self.tcp(&connection, tcp_state::ESTABLISHED, tcp_state::CLOSE_WAIT, 0);
                self.open.insert(name.to_owned(), (connection, kept));
                return;
            }
            status => {
                let body = option(words, "body").unwrap_or("x");
                let mut text = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: {}\r\n", body.len());
                headers(&words[1..], &mut text);
                text.push_str("\r\n");
                text.push_str(body);
                self.data(&mut connection, direction, text.len() as i32, text.as_bytes());
            }
        }
        if goes_on {
            for kept in self.kept.values_mut().filter(|kept| kept.inode == connection.inode) {
                *kept = connection.clone();
            }
        } else {
            self.kept.retain(|_, kept| kept.inode != connection.inode);
            self.close(&connection);
        }
    }

    fn connection(&mut self, tid: u32, inbound: bool, words: &[&str]) -> Connection {
        self.last_inode += 1;
        let inode = self.last_inode;
        let port = option(words, "port").map_or(PORT, |port| port.parse().expect("a port"));
        let v6 = words.contains(&"v6");
        let connection = Connection { inode, fd: inode as i32, tid, port, v6, inbound, positions: [1000, 2000] };
        if inbound {
            self.socket(&connection, origin::ACCEPT, connection.fd);
        } else if words.contains(&"blocking") {
            // Where to is known only when the call returns.
            self.tcp(&connection, tcp_state::CLOSE, tcp_state::SYN_SENT, 0);
            self.time += MS / 10;
            self.tcp(&connection, tcp_state::SYN_SENT, tcp_state::ESTABLISHED, 0);
            self.socket(&connection, origin::CONNECT, 0);
        } else {
            self.tcp(&connection, tcp_state::CLOSE, tcp_state::SYN_SENT, 0);
            self.socket(&connection, origin::CONNECT, -115);
            self.time += MS / 10;
            self.tcp(&connection, tcp_state::SYN_SENT, tcp_state::ESTABLISHED, 0);
        }
        connection
    }

    /// `connect port=N > refused took=M`
    fn connect_alone(&mut self, tid: u32, words: &[&str], answers: &[&str]) {
        self.last_inode += 1;
        let inode = self.last_inode;
        let port = option(words, "port").map_or(PORT, |port| port.parse().expect("a port"));
        let v6 = words.contains(&"v6");
        let connection = Connection { inode, fd: inode as i32, tid, port, v6, inbound: false, positions: [1000, 2000] };
        if let Some(error) = option(answers, "errno") {
            let error: i32 = error.parse().expect("an error number");
            return self.socket(&connection, origin::CONNECT, -error);
        }
        self.tcp(&connection, tcp_state::CLOSE, tcp_state::SYN_SENT, 0);
        let blocking = words.contains(&"blocking");
        if !blocking {
            self.socket(&connection, origin::CONNECT, -115);
        }
        let takes = option(answers, "took").map_or(MS / 10, |ms| (ms.parse::<f64>().expect("ms") * 1e6) as u64);
        self.wait(takes);
        match answers[0] {
            "refused" => self.tcp(&connection, tcp_state::SYN_SENT, tcp_state::CLOSE, 111),
            "unreachable" => self.tcp(&connection, tcp_state::SYN_SENT, tcp_state::CLOSE, 113),
            "timeout" => self.tcp(&connection, tcp_state::SYN_SENT, tcp_state::CLOSE, 0),
            "up" => self.tcp(&connection, tcp_state::SYN_SENT, tcp_state::ESTABLISHED, 0),
            other => panic!("{other}?"),
        }
        if blocking {
            let result = match answers[0] {
                "refused" => -111,
                "unreachable" => -113,
                "up" => 0,
                _ => -110,
            };
            self.socket(&connection, origin::CONNECT, result);
        }
    }

    fn close(&mut self, connection: &Connection) {
        self.tcp(connection, tcp_state::ESTABLISHED, tcp_state::FIN_WAIT1, 0);
        let header = self.header(connection.tid, 0);
        self.event(&Event::Descriptor(DescriptorEvent {
            header,
            connection: 0,
            fd: connection.fd,
            new_fd: 0,
            action: descriptor::CLOSE,
            reserved: [0; 7],
        }));
    }

    fn header(&self, tid: u32, flags: u16) -> EventHeader {
        let process = self.children.get(&tid).copied().unwrap_or(PID);
        EventHeader { time_ns: self.time, kind: 0, flags, length: 0, tgid: process, tid }
    }

    fn event(&mut self, event: &Event<'_>) {
        // As from the ring: through its bytes.
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        self.engine.handle_event(&Event::decode(&bytes).expect("what was encoded"));
        self.fetch();
    }

    fn fetch(&mut self) {
        self.updates.extend(std::iter::from_fn(|| self.engine.poll()));
    }

    fn socket(&mut self, connection: &Connection, origin: u8, result: i32) {
        let mut address = [0; 16];
        if connection.v6 {
            address[15] = 1;
        } else {
            address[..4].copy_from_slice(&[127, 0, 0, 1]);
        }
        let (local_port, remote_port) =
            if connection.inbound { (80, connection.inode as u16) } else { (connection.inode as u16, connection.port) };
        self.event(&Event::Socket(SocketEvent {
            header: self.header(connection.tid, flag::SEQUENCE),
            connection: connection.inode,
            send_position: connection.positions[0],
            receive_position: connection.positions[1],
            local: address,
            remote: address,
            local_port,
            remote_port,
            family: if connection.v6 { AF_INET6 } else { AF_INET },
            protocol: 6,
            result,
            fd: connection.fd,
            state: 0,
            origin,
            reserved: [0; 2],
            netns: 0,
        }));
    }

    fn tcp(&mut self, connection: &Connection, old_state: u8, new_state: u8, error: i32) {
        self.event(&Event::Tcp(TcpEvent {
            header: self.header(connection.tid, flag::SEQUENCE),
            connection: connection.inode,
            send_position: connection.positions[0],
            receive_position: connection.positions[1],
            error,
            what: tcp::STATE,
            old_state,
            new_state,
            reserved: 0,
        }));
    }

    fn data(&mut self, connection: &mut Connection, direction: u8, result: i32, payload: &[u8]) {
        let own = usize::from(direction);
        let event = DataEvent {
            header: self.header(connection.tid, flag::SEQUENCE | flag::LAST),
            connection: connection.inode,
            position: connection.positions[own],
            opposite_position: connection.positions[1 - own],
            result,
            offset: 0,
            captured: payload.len() as u32,
            fd: connection.fd,
            direction,
            call: call::WRITE,
            reserved: [0; 6],
        };
        connection.positions[own] += payload.len() as u64;
        self.event(&Event::Data(event, payload));
    }
}

/// The value of `NAME=VALUE`.
fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// Words of the form `Name=value` that are no options become headers.
fn headers(words: &[&str], text: &mut String) {
    for (name, value) in words.iter().filter_map(|word| word.split_once('=')) {
        if name.chars().next().is_some_and(char::is_uppercase) {
            text.extend([name, ": ", value, "\r\n"]);
        }
    }
}
