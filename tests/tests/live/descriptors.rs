//! The command of `run` inherits the descriptors that it has without pidtap, and not that of the results.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tracer_tests::{
    child::{PATIENCE, wait_for},
    descriptors::{Links, inherited, links, sleeper},
    guard,
    terminal::Terminal,
    tracer::binary,
};

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // The command is in pidtap's process group.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = wait_for("the end of pidtap", PATIENCE, || self.0.try_wait().ok().flatten());
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts pidtap with pipes for its outputs and a command that waits. Returns the links of both.
fn run(folder: &Path, options: &[&str]) -> anyhow::Result<(Ended, Links, Links)> {
    let child = Command::new(binary()?)
        .arg("run")
        .args(options)
        .args(["--", "sleep", "60"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let tracer = Ended(child);
    let pid = tracer.0.id();
    let command = sleeper(pid)?;
    let own = links(pid).context("pidtap is there")?;
    let theirs = links(command).context("the command is there")?;
    Ok((tracer, own, theirs))
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn the_command_gets_no_descriptor_of_ours() {
    let _guard = guard::live();
    let folder = tempfile::tempdir().expect("a folder");
    let inherited = inherited().expect("descriptors");
    let forms: [(&[&str], bool); 6] = [
        (&["-o", "line"], true),
        (&["-o", "json"], true),
        (&["-o", "json", "--record", "one.tap"], true),
        (&["-o", "json", "--output-file", "two.json"], false),
        (&["-o", "line", "--output-file", "three.txt", "--record", "three.tap"], false),
        (&["-o", "line", "--no-follow", "--duration", "60s"], true),
    ];
    for (options, results) in forms {
        let (tracer, own, theirs) =
            run(folder.path(), options).unwrap_or_else(|error| panic!("{options:?}: {error:?}"));
        let mut expected = inherited.clone();
        expected.insert(0, PathBuf::from("/dev/null"));
        // If the results go to standard output, the command does not have that pipe.
        expected.insert(1, own[&if results { 2 } else { 1 }].clone());
        expected.insert(2, own[&2].clone());
        assert_ne!(own[&1], own[&2]);
        assert_eq!(theirs, expected, "{options:?}");
        drop(tracer);
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_child_that_outlives_the_command_keeps_no_reader_waiting() {
    let _guard = guard::live();
    let folder = tempfile::tempdir().expect("a folder");
    let said = folder.path().join("said");
    for form in ["line", "json"] {
        let script = "echo forged; sleep 600 & echo $! > pid";
        let mut child = Command::new(binary().expect("a program"))
            .args(["run", "-o", form, "--no-follow", "--", "sh", "-c", script])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&said).expect("a file"))
            .spawn()
            .expect("it starts");
        let mut output = child.stdout.take().expect("a pipe");
        // Reads up to the end, which comes with pidtap's end although the child still runs.
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            output.read_to_string(&mut text).map(|_| text)
        });
        let status = wait_for("the end of pidtap", PATIENCE, || child.try_wait().ok().flatten());
        let whole = wait_for("the end of the results", PATIENCE, || reader.is_finished().then_some(()));
        let left = fs::read_to_string(folder.path().join("pid")).expect("it was started");
        let left = Pid::from_raw(left.trim().parse().expect("a number")).expect("a process");
        kill_process(left, Signal::KILL).expect("it is there");
        whole.unwrap_or_else(|error| panic!("{form}: {error}"));
        assert!(status.expect("it ends").success());
        let text = reader.join().expect("no panic").expect("text");
        assert!(!text.contains("forged"), "{text}");
        assert!(fs::read_to_string(&said).expect("there").contains("forged\n"), "it goes to standard error");
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn beside_screens_the_command_gets_pipes() {
    let _guard = guard::live();
    let mut command = Command::new(binary().expect("a program"));
    command.args(["run", "-o", "tui", "--", "sleep", "60"]).env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
    let terminal = Terminal::start((120, 40), &command).expect("a terminal");
    let theirs = sleeper(terminal.pid()).and_then(|pid| links(pid).context("it is there")).expect("the command");
    let inherited: Vec<u32> = inherited().expect("descriptors").into_keys().collect();
    let numbers: Vec<u32> = theirs.keys().copied().collect();
    assert_eq!(numbers, [vec![0, 1, 2], inherited].concat(), "{theirs:?}");
    assert_eq!(theirs[&0], Path::new("/dev/null"));
    for number in [1, 2] {
        assert!(theirs[&number].to_string_lossy().starts_with("pipe:"), "{theirs:?}");
    }
    terminal.wait_for("Overview").expect("screens");
    terminal.signal(Signal::TERM).expect("it is there");
}
