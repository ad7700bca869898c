//! A traced process with hostile names everywhere, on every way from it to a terminal.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::ensure;
use rustix::process::{Pid, Signal, kill_process};
use tracer_tests::{
    child::{Guarded, PATIENCE, wait_for},
    guard,
    hostile::{Hostile, NAMES, check, check_terminal},
    service::script,
    terminal::Terminal,
    tracer::binary,
};

/// The hostile process, and a folder for files.
struct Scene {
    /// The folder of its program and its sockets.
    _hostile: Hostile,
    target: Guarded,
    folder: tempfile::TempDir,
}

impl Scene {
    fn start() -> anyhow::Result<Self> {
        let hostile = Hostile::new()?;
        let program = hostile.copy("/usr/bin/python3", NAMES[3])?;
        let sockets = hostile.path("f");
        fs::create_dir(&sockets)?;
        // The program of its child.
        fs::copy("/bin/true", sockets.join(OsStr::from_bytes(NAMES[2])))?;
        let mut command = Command::new(program);
        command.arg(script("hostile.py")).arg(&sockets).args(NAMES.iter().map(|name| OsStr::from_bytes(name)));
        let target = Guarded::start(command.env("PYTHONHOME", "/usr"))?;
        target.expect("ready")?;
        Ok(Self { _hostile: hostile, target, folder: tempfile::tempdir()? })
    }

    fn works(&mut self) -> anyhow::Result<()> {
        self.target.say("go")?;
        self.target.expect("done").map(drop)
    }

    fn path(&self, name: &[u8]) -> PathBuf {
        self.folder.path().join(OsStr::from_bytes(name))
    }

    /// Traces the process until a call hangs. Checks that all output is harmless, and returns the results.
    fn traced(&mut self, what: &str, arguments: &[&OsStr]) -> anyhow::Result<String> {
        let (out, err) = (self.path(b"out"), self.path(b"err"));
        let mut command = Command::new(binary()?);
        command.args(arguments).args(["--hang-after", "1s"]).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&err)?);
        let mut pidtap = command.spawn()?;
        let attached = wait_for("an attached pidtap", PATIENCE, || {
            let said = fs::read(&err).ok()?;
            let is_there = said.windows(11).any(|part| part == b"attached to");
            (is_there || pidtap.try_wait().ok()?.is_some()).then_some(())
        });
        let works = attached.and_then(|()| self.works());
        let results = || fs::read(&out).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let hangs =
            works.and_then(|()| wait_for("a call that hangs", PATIENCE, || results().contains("x/hang").then_some(())));
        kill_process(Pid::from_child(&pidtap), Signal::INT)?;
        pidtap.wait()?;
        let said = fs::read(&err)?;
        check(what, &said)?;
        check(what, &fs::read(&out)?)?;
        ensure!(!String::from_utf8_lossy(&said).lines().any(|line| line.starts_with("pidtap: x")), "{what}: forged");
        hangs.map(|()| results()).map_err(|error| error.context(String::from_utf8_lossy(&said).into_owned()))
    }

    /// Visits every screen of pidtap in a terminal, and uses every function there.
    fn look_at_everything(what: &str, terminal: &mut Terminal) -> anyhow::Result<()> {
        terminal.wait_for("GET x/hang")?;
        terminal.press("g")?;
        terminal.press_for("\r", "/ search")?;
        for key in ["G", "g", "\x1b[6~", "n", "X", "y", "Y", "D"] {
            terminal.press(key)?;
        }
        terminal.press_for("\x1b", "[1 Overview]")?;
        terminal.press("i")?;
        terminal.press_for("\r", "── Problem ──")?;
        for key in ["\x1b[6~", "G", "l", "g", "y"] {
            terminal.press(key)?;
        }
        terminal.press_for("\x1b", "[1 Overview]")?;
        for (key, shown) in [
            ("2", "[2 Endpoints]"),
            ("u", "[2 Endpoints]"),
            ("lll", "[2 Endpoints]"),
            ("3", "[3 Connections]"),
            ("lllhhh", "[3 Connections]"),
            ("4", "[4 Log]"),
            ("llllGg", "[4 Log]"),
            ("1", "[1 Overview]"),
            ("?", "Keys "),
            ("?", "[1 Overview]"),
            // An invalid filter, which the message quotes.
            ("/hx=\u{9b}\u{202e}", "^"),
            ("\x1b", "[1 Overview]"),
            ("s", "[1 Overview]"),
            ("2\r", "[1 Overview]"),
            ("\x1b3\r", "["),
        ] {
            terminal.press_for(key, shown)?;
        }
        check_terminal(what, terminal, &NAMES)?;
        terminal.press("\x1b\x1bq")?;
        let status = terminal.end()?;
        ensure!(status.success(), "{what}: {status}: {}", terminal.text());
        // The message is on the screen.
        check_terminal(what, terminal, &NAMES)
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn hostile_names_are_harmless_on_every_way() {
    let _guard = guard::live();
    every_way().unwrap_or_else(|error| panic!("{error:?}"));
}

fn every_way() -> anyhow::Result<()> {
    let mut scene = Scene::start()?;
    let pid = scene.target.pid().to_string();
    let (pid, name) = (OsStr::new(&pid), OsStr::from_bytes(NAMES[0]));

    let doctor = Command::new(binary()?).arg("doctor").arg(pid).stdin(Stdio::null()).output()?;
    check("doctor", &doctor.stdout)?;
    check("doctor", &doctor.stderr)?;
    ensure!(String::from_utf8(doctor.stdout)?.contains("libssl"), "it has a library that encrypts");

    let lines = scene.traced("lines", &[OsStr::new("attach"), pid, OsStr::new("-o"), OsStr::new("line")])?;
    ensure!(lines.contains("/named") && lines.contains(r"\x1b]0;hx"), "{lines}");
    // Attaches by name, and writes into files with hostile names.
    let recording = scene.path(NAMES[4]);
    let arguments = [name, OsStr::new("-o"), OsStr::new("json"), OsStr::new("--record"), recording.as_os_str()];
    let results = scene.traced("json", &arguments)?;
    let lines: Vec<serde_json::Value> = results.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let named = lines.iter().filter(|line| line["process"]["name"] == r"\x1b]0;hx").count();
    ensure!(named > 2 * NAMES.len(), "its name is there {named} times");

    let file = scene.path(b"results");
    for format in ["line", "json"] {
        let output = Command::new(binary()?)
            .args(["open", "-o", format])
            .arg(&recording)
            .stdin(Stdio::null())
            .current_dir(scene.folder.path())
            .output()?;
        check("a recording", &output.stdout)?;
        check("a recording", &output.stderr)?;
        ensure!(output.status.success() && !output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    in_terminals(&mut scene, &recording, &file)?;
    runs()
}

fn in_terminals(scene: &mut Scene, recording: &Path, file: &Path) -> anyhow::Result<()> {
    let mut open = Command::new(binary()?);
    open.args(["open", "-o", "tui", "--hang-after", "500ms"]).arg(recording).current_dir(scene.folder.path());
    let mut terminal = Terminal::start((160, 45), &open)?;
    Scene::look_at_everything("screens of a recording", &mut terminal)?;
    let mut attach = Command::new(binary()?);
    attach.args(["attach", "-o", "tui", "--hang-after", "1s"]).arg(scene.target.pid().to_string());
    attach.current_dir(scene.folder.path());
    let mut terminal = Terminal::start((160, 45), &attach)?;
    terminal.wait_for("[1 Overview]")?;
    scene.works()?;
    Scene::look_at_everything("screens", &mut terminal)?;
    // Lines on a terminal.
    let mut attach = Command::new(binary()?);
    attach.args(["attach", "-o", "line", "--hang-after", "1s", "--record"]).arg(file);
    attach.arg(scene.target.pid().to_string()).current_dir(scene.folder.path());
    let mut terminal = Terminal::start((160, 45), &attach)?;
    terminal.wait_for("attached to")?;
    scene.works()?;
    terminal.wait_for("GET x/hang")?;
    terminal.signal(Signal::INT)?;
    terminal.end()?;
    check_terminal("lines in a terminal", &terminal, &NAMES)
}

/// Commands with hostile names.
fn runs() -> anyhow::Result<()> {
    let hostile = Hostile::new()?;
    for name in NAMES {
        let program = hostile.copy("/bin/true", name)?;
        for format in ["line", "json"] {
            let output = Command::new(binary()?)
                .args(["run", "-o", format, "--"])
                .args([program.as_os_str(), OsStr::from_bytes(name)])
                .stdin(Stdio::null())
                .output()?;
            check("run", &output.stdout)?;
            check("run", &output.stderr)?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    Ok(())
}
