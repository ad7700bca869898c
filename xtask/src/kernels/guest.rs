//! A guest: its image, its emulator, and its console.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

use super::{
    archive::Archive,
    fetch,
    matrix::Kernel,
    scene::{KEPT, Scene},
};
use crate::command::output;

/// The prefix of each console line that this module reads.
const MARK: &str = "pidtap-guest:";
/// Modules for pidtap's queries about existing connections (`sock_diag`), and one that changes the path of a socket's bytes.
const MODULES: [&str; 4] = ["inet_diag", "tcp_diag", "unix_diag", "tls"];
/// Number of console lines in an error.
const SHOWN: usize = 60;

/// Programs of a guest.
pub(super) struct Programs {
    pub(super) busybox: PathBuf,
    pub(super) pidtap: PathBuf,
    /// The live tests.
    pub(super) live: PathBuf,
    /// Programs that live tests start. They have the paths of the machine that built them.
    pub(super) traced: Vec<PathBuf>,
}

/// The console's lines.
pub(super) type Console = Vec<String>;

/// Makes the guest's first file system.
pub(super) fn image(programs: &Programs, modules: &Path, scenes: &[Scene], work: &Path) -> anyhow::Result<Vec<u8>> {
    let mut archive = Archive::new();
    archive.copy("bin/busybox", &programs.busybox)?;
    let mut libraries = BTreeSet::new();
    let mut add = |to: &str, from: &Path| {
        libraries.extend(libraries_of(from)?);
        archive.copy(to, from)
    };
    add("bin/pidtap", &programs.pidtap)?;
    add("bin/live", &programs.live)?;
    for program in &programs.traced {
        add(&program.to_string_lossy(), program)?;
    }
    for library in libraries {
        archive.copy(&library, Path::new(&library))?;
    }
    for module in MODULES {
        // This build of 5.10 has no `tls`.
        if let Some(file) = fetch::find(modules, &format!("{module}.ko")) {
            archive.copy(&format!("modules/{module}.ko"), &unpressed(&file, work)?)?;
        }
    }
    archive.add("init", script(scenes).as_bytes(), true);
    Ok(archive.finish())
}

/// Shared libraries of a program, and its loader. A static program has none.
fn libraries_of(program: &Path) -> anyhow::Result<Vec<String>> {
    let linked = Command::new("ldd").arg(program).output().context("cannot start ldd")?;
    let text = String::from_utf8_lossy(&linked.stdout);
    Ok(text
        .split_whitespace()
        .filter(|word| word.starts_with('/') && !word.ends_with(':'))
        .map(str::to_owned)
        .collect())
}

/// The decompressed module, as the kernel loads it.
fn unpressed(file: &Path, work: &Path) -> anyhow::Result<PathBuf> {
    if file.extension().is_none_or(|extension| extension != "xz") {
        return Ok(file.to_owned());
    }
    let to = work.join(file.file_stem().context("a module has a name")?);
    let pressed = fs::File::open(file)?;
    let status = Command::new("xz")
        .args(["--decompress", "--stdout"])
        .stdin(pressed)
        .stdout(fs::File::create(&to)?)
        .status()
        .context("cannot start xz")?;
    ensure!(status.success(), "xz cannot unpack {}", file.display());
    Ok(to)
}

/// The first program of the guest: a shell script.
fn script(scenes: &[Scene]) -> String {
    let mut script = format!(
        "#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root PIDTAP_BIN=/bin/pidtap RUST_BACKTRACE=0 TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
ip link set lo up
for module in {}; do
    if [ -f /modules/$module.ko ]; then insmod /modules/$module.ko || echo '{MARK} broken' $module; fi
done
echo '{MARK} up' $(uname -r) after $(cut -d' ' -f1 /proc/uptime) s
",
        MODULES.join(" ")
    );
    for (number, Scene { script: line, .. }) in scenes.iter().enumerate() {
        let _ =
            write!(script, "echo '{MARK} begin {number}'\n({line}) < /dev/null 2>&1\necho '{MARK} end {number}' $?\n");
    }
    let _ = write!(
        script,
        "if [ -d {KEPT} ]; then
    cd {KEPT}
    for file in *; do echo '{MARK} file' $file; gzip -c $file | base64; done
fi
echo '{MARK} over' after $(cut -d' ' -f1 /proc/uptime) s
poweroff -f
"
    );
    script
}

/// Boots a kernel and reads its console to the end.
pub(super) fn boot(kernel: &Kernel, image: &Path, vmlinuz: &Path, bound: Duration) -> anyhow::Result<Console> {
    let machine = kernel.machine;
    let mut child = Command::new(machine.emulator)
        .args(machine.options)
        .args(["-accel", machine.accelerator, "-cpu", machine.processor, "-smp", "2", "-m", "1024"])
        .args(["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"])
        .arg("-kernel")
        .arg(vmlinuz)
        .arg("-initrd")
        .arg(image)
        .args(["-append", &format!("console={} panic=-1 loglevel=4", machine.console)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .with_context(|| format!("cannot start {}: run `cargo xtask setup`", machine.emulator))?;
    let reader = BufReader::new(child.stdout.take().context("its standard output is piped")?);
    let (sender, lines) = mpsc::channel();
    let reading = thread::spawn(move || {
        for line in reader.split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                break;
            }
        }
    });
    let (end, mut console) = (Instant::now() + bound, Console::new());
    let late = loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => console.push(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => break false,
            Err(mpsc::RecvTimeoutError::Timeout) => break true,
        }
    };
    let _ = child.kill();
    child.wait()?;
    let _ = reading.join();
    if late {
        bail!("the guest had not ended after {bound:?}; {}", last_lines(&console));
    }
    Ok(console)
}

/// Fails where a scene ended with another status, or lacks its text.
pub(super) fn check(scenes: &[Scene], console: &Console) -> anyhow::Result<()> {
    let place = |mark: &str| console.iter().position(|line| line.starts_with(mark));
    ensure!(place(&format!("{MARK} up ")).is_some(), "the guest did not come up; {}", last_lines(console));
    if let Some(line) = console.iter().find(|line| line.starts_with(&format!("{MARK} broken"))) {
        bail!("{line}: the kernel does not take its own module; {}", last_lines(console));
    }
    for (number, scene) in scenes.iter().enumerate() {
        let end = format!("{MARK} end {number} ");
        let (Some(from), Some(to)) = (place(&format!("{MARK} begin {number}")), place(&end)) else {
            bail!("{}: it did not end; {}", scene.name, last_lines(console));
        };
        let said = console[from..to].join("\n");
        let status = console[to].trim_start_matches(&end).trim();
        if status != scene.status.to_string() || !said.contains(scene.says) {
            bail!(
                "{}: `{}` ended with status {status}, not {}, or did not say {:?}:\n{said}",
                scene.name,
                scene.script,
                scene.status,
                scene.says
            );
        }
    }
    ensure!(place(&format!("{MARK} over")).is_some(), "the guest did not come to its end; {}", last_lines(console));
    Ok(())
}

fn last_lines(console: &Console) -> String {
    let last = &console[console.len().saturating_sub(SHOWN)..];
    format!("the last lines of its console:\n  {}", last.join("\n  "))
}

/// The guest's own times: when it was up, and when it had run every scene.
pub(super) fn times(console: &Console) -> String {
    let marks = ["up", "over"].map(|word| format!("{MARK} {word} "));
    let said =
        console.iter().filter_map(|line| marks.iter().find_map(|mark| Some((mark, line.strip_prefix(&**mark)?))));
    said.map(|(mark, rest)| format!("{} {rest}", mark.trim_start_matches(MARK).trim())).collect::<Vec<_>>().join(", ")
}

/// Writes the files that the guest kept into a folder. Returns their names.
pub(super) fn kept(console: &Console, folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    let mark = format!("{MARK} file ");
    for (index, line) in console.iter().enumerate() {
        let Some(name) = line.strip_prefix(&mark) else { continue };
        ensure!(!name.contains('/'), "a file is called {name}");
        let text = console[index + 1..].iter().take_while(|line| !line.starts_with(MARK)).map(String::as_str);
        let packed = folder.join("packed");
        fs::write(&packed, text.collect::<Vec<_>>().join("\n"))?;
        let unpack = "base64 --decode < \"$1\" | gzip --decompress --stdout > \"$2\"";
        output(Command::new("sh").args(["-ec", unpack, "unpack"]).arg(&packed).arg(folder.join(name)))
            .with_context(|| format!("what the guest kept as {name} came damaged"))?;
        names.push(name.to_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::{super::matrix::Expected, *};
    use crate::kernels::scene::scenes;

    fn said(lines: &[&str]) -> Console {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_guest_must_come_up_do_all_and_say_so() {
        let scenes = &scenes(Expected::Refuses)[..1];
        let whole = [
            "pidtap-guest: up 5.10 after 3 s",
            "pidtap-guest: begin 0",
            "FAIL the probes require Linux 5.17 or later (ring buffer)",
            "pidtap-guest: end 0 5",
            "pidtap-guest: over after 9 s",
        ];
        check(scenes, &said(&whole)).expect("all is as it must be");
        assert_eq!(times(&said(&whole)), "up 5.10 after 3 s, over after 9 s");
        for missing in 0..whole.len() {
            let mut lines = whole.to_vec();
            lines.remove(missing);
            check(scenes, &said(&lines)).expect_err("something is missing");
        }
        let panic = check(scenes, &said(&["[ 1.0] Kernel panic - not syncing"])).expect_err("it did not come up");
        assert!(panic.to_string().contains("Kernel panic"), "{panic}");
    }

    #[test]
    fn files_come_over_the_console_unchanged() {
        let folder = tempfile::tempdir().expect("a folder");
        let pack = "printf 'a recording\\0' | gzip -c | base64";
        let packed = output(Command::new("sh").args(["-c", pack])).expect("tools");
        let mut lines = vec!["pidtap-guest: file it.tap"];
        lines.extend(packed.lines());
        lines.push("pidtap-guest: over");
        assert_eq!(kept(&said(&lines), folder.path()).expect("whole"), ["it.tap"]);
        assert_eq!(fs::read(folder.path().join("it.tap")).expect("written"), b"a recording\0");
    }
}
