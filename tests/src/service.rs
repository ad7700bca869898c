//! Programs that keep a log: the tracee, and real services.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context as _, bail};

use crate::{
    child::{Guarded, PATIENCE, wait_for},
    truth::{self, Exchange},
};

/// A program that prints `ready`, may wait for `go`, and writes its log into the file that `TRUTH` names.
#[derive(Debug)]
pub struct Program {
    /// The process.
    pub process: Guarded,
    /// The text after `ready`: a server's port.
    pub ready: String,
    folder: tempfile::TempDir,
}

impl Program {
    /// Starts the program.
    ///
    /// # Errors
    ///
    /// The program cannot be started, or does not become ready.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let process = Guarded::start(command.env("TRUTH", folder.path().join("truth")))?;
        let ready = process.expect("ready")?;
        Ok(Self { process, ready, folder })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Lets the program work, and waits until it is done.
    ///
    /// # Errors
    ///
    /// The program prints another word, or none.
    pub fn work(&mut self) -> anyhow::Result<()> {
        self.process.say("go")?;
        self.process.expect("done")?;
        Ok(())
    }

    /// The log of the program.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub fn truth(&self) -> anyhow::Result<Vec<Exchange>> {
        truth::read(&self.folder.path().join("truth"))
    }

    /// The text of the log.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("truth"))?)
    }

    /// Waits until the log has this many exchanges, and returns it.
    ///
    /// # Errors
    ///
    /// The log stays shorter.
    pub fn truth_of(&self, count: usize) -> anyhow::Result<Vec<Exchange>> {
        wait_for(&format!("{count} exchanges in the log"), PATIENCE, || {
            self.truth().ok().filter(|truth| truth.len() >= count)
        })
    }
}

/// A file of `tests/services`.
pub fn script(name: &str) -> PathBuf {
    let folder = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    folder.join("services").join(name)
}

/// Debian's CPython, which has Debian's urllib3.
pub fn python(name: &str) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script(name));
    command
}

/// Node.
pub fn node(name: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(script(name));
    command
}

/// The program in Go, compiled once for all tests of a run.
///
/// # Errors
///
/// The program does not compile.
pub fn go() -> anyhow::Result<Command> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build_go().map_err(|error| format!("{error:#}")));
    match built {
        Ok(path) => Ok(Command::new(path)),
        Err(error) => bail!("{error}"),
    }
}

fn build_go() -> anyhow::Result<PathBuf> {
    // Beside the test program, so that the next run reuses it. Go's own cache makes that quick.
    let folder = env::current_exe()?.parent().context("tests run from a target folder")?.join("go");
    fs::create_dir_all(&folder)?;
    let path = folder.join("service");
    let mut command = Command::new("go");
    command.args(["build", "-o"]).arg(&path).arg(script("service.go")).env("GO111MODULE", "off");
    if env::var_os("HOME").is_none() {
        command.env("GOCACHE", folder.join("cache"));
    }
    let status = command.status().context("cannot run go; is it installed? (`cargo xtask setup`)")?;
    if !status.success() {
        bail!("service.go does not compile");
    }
    Ok(path)
}

/// nginx with one worker.
#[derive(Debug)]
pub struct Nginx {
    process: Guarded,
    folder: tempfile::TempDir,
    /// The address on which it listens.
    pub address: String,
}

/// A line of nginx's log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// Request target.
    pub target: String,
    /// Method.
    pub method: String,
    /// Status code.
    pub status: u16,
    /// Bytes of the body.
    pub bytes: u64,
    /// The value of `X-Request-Id` in the response.
    pub request_id: String,
}

impl Nginx {
    /// Starts nginx in front of `backend`, with a small file and one of 1 MiB.
    ///
    /// # Errors
    ///
    /// nginx does not start.
    pub fn start(backend: &str) -> anyhow::Result<Self> {
        // nginx does not report a port that the kernel chose, so the test chooses one that is free.
        let mut last = None;
        for _ in 0..5 {
            match Self::try_start(backend) {
                Ok(nginx) => return Ok(nginx),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("it was tried")?)
    }

    fn try_start(backend: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let files = folder.path().join("files");
        fs::create_dir(&files)?;
        // Under root, nginx's worker runs as another user.
        for path in [folder.path(), &files] {
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        }
        fs::write(files.join("small.txt"), "small\n")?;
        fs::write(files.join("large.bin"), truth::pattern("large", 1 << 20))?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = fs::read_to_string(script("nginx.conf"))?
            .replace("@FOLDER@", &folder.path().display().to_string())
            .replace("@PORT@", &address.port().to_string())
            .replace("@BACKEND@", backend);
        let path = folder.path().join("nginx.conf");
        fs::write(&path, config)?;
        let errors = fs::File::create(folder.path().join("stderr"))?;
        let mut process = Guarded::start(
            Command::new("nginx").arg("-c").arg(&path).args(["-e", "stderr"]).stderr(Stdio::from(errors)),
        )?;
        // No connection before pidtap attaches: the first one is the test's.
        let pid = process.pid();
        wait_for("nginx's worker", PATIENCE, || {
            (process.wait(std::time::Duration::ZERO).is_ok() || worker(pid).is_some_and(is_waiting)).then_some(())
        })?;
        if worker(pid).is_none() {
            bail!("nginx: {}", fs::read_to_string(folder.path().join("stderr")).unwrap_or_default());
        }
        Ok(Self { process, folder, address: address.to_string() })
    }

    /// The process ids of master and worker.
    ///
    /// # Errors
    ///
    /// nginx has ended.
    pub fn pids(&self) -> anyhow::Result<[u32; 2]> {
        let master = self.process.pid();
        Ok([master, worker(master).context("nginx has no worker")?])
    }

    /// Waits until the log has this many lines, and returns it.
    ///
    /// # Errors
    ///
    /// The log stays shorter.
    pub fn log(&self, count: usize) -> anyhow::Result<Vec<Access>> {
        let path = self.folder.path().join("access.log");
        wait_for(&format!("{count} lines in nginx's log"), PATIENCE, || {
            let text = fs::read_to_string(&path).ok()?;
            let lines: Option<Vec<Access>> = text.lines().map(access).collect();
            lines.filter(|lines| lines.len() >= count)
        })
    }
}

fn access(line: &str) -> Option<Access> {
    let mut parts = line.split(' ').map(str::to_owned);
    Some(Access {
        method: parts.next()?,
        target: parts.next()?,
        status: parts.next()?.parse().ok()?,
        bytes: parts.next()?.parse().ok()?,
        request_id: parts.next()?,
    })
}

fn worker(master: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// The worker sleeps in `epoll_wait` once it accepts connections.
fn is_waiting(pid: u32) -> bool {
    let has_epoll = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")).is_ok_and(|fds| {
        fds.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().contains("eventpoll")))
    });
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    has_epoll && state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'))
}
