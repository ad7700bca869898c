//! nginx, the traced process.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::command::find;

/// Bound for nginx to start or to become idle.
const PATIENCE: Duration = Duration::from_secs(10);

/// An nginx with one worker on a free port of loopback. Its configuration is in a temporary folder.
pub(super) struct Nginx {
    master: Child,
    worker: u32,
    address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    pub(super) fn start() -> anyhow::Result<Self> {
        let program = find("nginx").context("nginx is not installed: run `cargo xtask setup`")?;
        let folder = tempfile::Builder::new().prefix("pidtap-bench-").tempdir().context("no temporary folder")?;
        let path = folder.path().to_str().context("the temporary folder's path is not UTF-8")?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        fs::write(folder.path().join("nginx.conf"), configuration(path, address))?;
        let master = Command::new(program)
            .args(["-p", path, "-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("could not start nginx")?;
        let mut nginx = Self { master, worker: 0, address, _folder: folder };
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = nginx.master.try_wait()? {
                bail!("nginx ended at once: {status}");
            }
            if begin.elapsed() > PATIENCE {
                bail!("nginx does not listen on {address} after {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let master = nginx.master.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
        nginx.worker = children.trim().parse().with_context(|| format!("nginx has workers {children:?}, not one"))?;
        Ok(nginx)
    }

    /// The process id of the worker.
    pub(super) fn worker(&self) -> u32 {
        self.worker
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that nginx has begun to serve, with this one, after every other connection has closed. The count includes requests that
    /// were in flight when the load generator ended.
    pub(super) fn requests(&self) -> anyhow::Result<u64> {
        let begin = Instant::now();
        let mut asked = 0;
        loop {
            let (requests, active) = self.status()?;
            asked += 1;
            if active == 1 {
                return Ok(requests);
            }
            if begin.elapsed() > PATIENCE {
                bail!("nginx still has {active} connections after {PATIENCE:?} ({asked} times asked)");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Requests and active connections, by nginx's stub_status.
    fn status(&self) -> anyhow::Result<(u64, u64)> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /status HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let numbers: Vec<u64> = text
            .split_once("Active connections:")
            .map_or("", |(_, rest)| rest)
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        // The lines hold: active; accepts, handled, requests; reading, writing, waiting.
        match numbers[..] {
            [active, _, _, requests, ..] => Ok((requests, active)),
            _ => bail!("nginx's status makes no sense: {text}"),
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.master);
        // The master process ends its worker.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.master.wait();
    }
}

fn configuration(folder: &str, address: SocketAddr) -> String {
    format!(
        "daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {address};
        location / {{ default_type text/plain; return 200 'hello from nginx\\n'; }}
        location = /status {{ stub_status; }}
    }}
}}
"
    )
}
