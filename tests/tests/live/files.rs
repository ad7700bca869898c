//! Results that root writes into a folder where another user can replace the file.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tracer_tests::{
    child,
    cli::{Dir, Ended, PAIR, recording, text},
    guard, pipe,
};

/// An unprivileged user.
const NOBODY: u32 = 65_534;

/// A folder of the attacker, in which root runs pidtap.
struct Attack {
    dir: Dir,
    tap: PathBuf,
}

impl Attack {
    fn new() -> anyhow::Result<Self> {
        let dir = Dir::new()?;
        let tap = dir.write("a.tap", &recording([PAIR])?)?;
        fs::set_permissions(dir.path(""), fs::Permissions::from_mode(0o755))?;
        fs::create_dir(dir.path("theirs"))?;
        chown(dir.path("theirs"), Some(NOBODY), Some(NOBODY))?;
        Ok(Self { dir, tap })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path("theirs").join(name)
    }

    /// Runs a script in a shell of the attacker.
    fn attacker(&self, script: &str) -> anyhow::Result<()> {
        let identity = [&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"];
        let status =
            Command::new("setpriv").args(identity).args(["sh", "-ec", script]).current_dir(self.path("")).status()?;
        anyhow::ensure!(status.success(), "{script}: {status}");
        Ok(())
    }

    fn pidtap(&self, to: &Path, more: &[&str]) -> anyhow::Result<Ended> {
        let arguments = ["open", text(&self.tap), "-o", "json", "--output-file", text(to)];
        self.dir.pidtap(&[&arguments[..], more].concat()).end()
    }
}

fn is_roots(path: &Path) -> anyhow::Result<bool> {
    let data = fs::symlink_metadata(path)?;
    Ok((data.is_file(), data.uid(), data.mode() & 0o777) == (true, 0, 0o600))
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_file_that_another_user_made_in_advance_gets_nothing() -> anyhow::Result<()> {
    let _guard = guard::live();
    let attack = Attack::new()?;
    let path = attack.path("out");
    attack.attacker("umask 0; : > out")?;
    let mut theirs = File::open(&path)?;
    attack.pidtap(&path, &[])?.status(1)?.says(&["another user (uid 65534)", "--force"])?;
    assert_eq!(fs::metadata(&path)?.len(), 0);
    // pidtap replaces the file and does not write into it.
    attack.pidtap(&path, &["--force"])?.status(0)?;
    let mut read = Vec::new();
    theirs.read_to_end(&mut read)?;
    assert!(read.is_empty() && is_roots(&path)? && fs::metadata(&path)?.len() > 0);
    Ok(())
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_link_of_another_user_is_not_followed() -> anyhow::Result<()> {
    let _guard = guard::live();
    let attack = Attack::new()?;
    let empty = attack.dir.write("empty", b"")?;
    fs::create_dir(attack.dir.path("folder"))?;
    attack.attacker("ln -s ../empty to-file; ln -s ../missing to-nothing; ln -s ../folder to-folder")?;
    for more in [&[][..], &["--force"]] {
        for name in ["to-file", "to-nothing"] {
            attack.pidtap(&attack.path(name), more)?.status(1)?.says(&[name, "symbolic link"])?;
        }
        let said = attack.pidtap(&attack.path("to-folder/out"), more)?.status(1)?;
        said.says(&["to-folder is a symbolic link that belongs to another user (uid 65534)"])?;
    }
    assert_eq!((fs::metadata(&empty)?.len(), fs::metadata(&empty)?.mode() & 0o777), (0, 0o644));
    assert!(!attack.dir.path("missing").exists());
    assert_eq!(fs::read_dir(attack.dir.path("folder"))?.count(), 0);
    // pidtap follows root's own link.
    symlink("folder", attack.dir.path("own"))?;
    attack.pidtap(&attack.dir.path("own/out"), &[])?.status(0)?;
    assert!(is_roots(&attack.dir.path("folder/out"))?);
    Ok(())
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_pipe_that_another_user_made_in_advance_gets_nothing() -> anyhow::Result<()> {
    let _guard = guard::live();
    let attack = Attack::new()?;
    let path = attack.path("pipe");
    attack.attacker("umask 0; mkfifo pipe")?;
    let mut reader = pipe::reader(&path)?;
    attack.pidtap(&path, &[])?.status(1)?.says(&["another user (uid 65534)", "--force"])?;
    let mut read = Vec::new();
    reader.read_to_end(&mut read)?;
    assert!(read.is_empty());
    attack.pidtap(&path, &["--force"])?.status(0)?;
    reader.read_to_end(&mut read)?;
    assert!(read.ends_with(b"}\n"));
    Ok(())
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn disks_sockets_and_files_with_two_names_are_no_places_for_results() -> anyhow::Result<()> {
    let _guard = guard::live();
    let attack = Attack::new()?;
    let disk = attack.dir.path("disk");
    // No driver has this number.
    if mknodat(CWD, &disk, FileType::BlockDevice, Mode::RUSR | Mode::WUSR, rustix::fs::makedev(240, 255)).is_ok() {
        attack.pidtap(&disk, &[])?.status(1)?.says(&["it is a disk", "--force"])?;
    }
    let _socket = std::os::unix::net::UnixListener::bind(attack.dir.path("socket"))?;
    attack.pidtap(&attack.dir.path("socket"), &["--force"])?.status(1)?.says(&["socket"])?;
    let one = attack.dir.write("one", b"")?;
    fs::hard_link(&one, attack.path("two"))?;
    attack.pidtap(&attack.path("two"), &[])?.status(1)?.says(&["several hard links", "--force"])?;
    attack.pidtap(&attack.path("two"), &["--force"])?.status(0)?;
    assert_eq!(fs::metadata(&one)?.len(), 0);
    Ok(())
}

/// Names the folder to the process that is the attacker.
const FOLDER: &str = "PIDTAP_TEST_FOLDER";
/// The name of the test, which is also the attacker's program.
const SWAPS: &str = "files::a_swap_while_the_program_starts_leads_nowhere";

/// Puts its own files, and links to root's files, under the name that root is about to write, in an endless loop. It keeps its own
/// files open and reads them. The file `turns` gets a byte for each turn of six swaps, `hits` a byte for each file with content.
fn swap(folder: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(!rustix::process::geteuid().is_root(), "the attacker has no privilege");
    let (name, next) = (folder.join("out"), folder.join("next"));
    let mut turns = File::create(folder.join("turns"))?;
    loop {
        for target in ["full", "empty", "missing"] {
            fs::write(&next, "")?;
            fs::set_permissions(&next, fs::Permissions::from_mode(0o666))?;
            let mut own = File::open(&next)?;
            fs::rename(&next, &name)?;
            symlink(Path::new("..").join(target), &next)?;
            fs::rename(&next, &name)?;
            if own.read(&mut [0])? > 0 {
                OpenOptions::new().create(true).append(true).open(folder.join("hits"))?.write_all(b".")?;
            }
        }
        turns.write_all(b".")?;
    }
}

/// The real program under the real attack. `PIDTAP_TRIES` sets the number of tries.
#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn a_swap_while_the_program_starts_leads_nowhere() -> anyhow::Result<()> {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return swap(Path::new(&folder));
    }
    let _guard = guard::live();
    let tries: u32 = std::env::var("PIDTAP_TRIES").map_or(Ok(100), |tries| tries.parse())?;
    let attack = Attack::new()?;
    let (empty, full) = (attack.dir.write("empty", b"")?, attack.dir.write("full", b"keep")?);
    let before = fs::metadata(&empty)?;
    // `cp` writes the copy. If this process wrote it, a child that another test forks meanwhile would hold it open for writing, and
    // nobody could execute it (ETXTBSY).
    let program = attack.dir.path("attacker");
    let copied = Command::new("cp").arg(std::env::current_exe()?).arg(&program).status()?;
    anyhow::ensure!(copied.success(), "cp: {copied}");
    let identity = [&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"];
    let mut attacker = Command::new("setpriv")
        .args(identity)
        .arg(&program)
        .args(["--include-ignored", "--exact", SWAPS])
        .env(FOLDER, attack.path(""))
        .stdout(Stdio::null())
        .spawn()?;
    let mut written = 0;
    let begun = attack.path("turns");
    let result = child::wait_for("the attack", child::PATIENCE, || begun.exists().then_some(())).and_then(|()| {
        (0..tries).try_for_each(|number| {
            let more: &[&str] = if number % 2 == 0 { &[] } else { &["--force"] };
            let ended = attack.pidtap(&attack.path("out"), more)?;
            anyhow::ensure!(!ended.stderr.contains("panicked"), "{ended:?}");
            written += u32::from(ended.status == Some(0));
            let after = fs::metadata(&empty)?;
            anyhow::ensure!((after.len(), after.ino(), after.mode()) == (0, before.ino(), before.mode()), "{after:?}");
            anyhow::ensure!(fs::read(&full)? == b"keep", "it was overwritten");
            anyhow::ensure!(!attack.dir.path("missing").exists(), "it was made");
            anyhow::ensure!(!attack.path("hits").exists(), "what root wrote was read by another user");
            Ok(())
        })
    });
    attacker.kill()?;
    attacker.wait()?;
    let swaps = 6 * fs::metadata(&begun)?.len();
    eprintln!("{tries} tries, of which {written} wrote their results; {swaps} swaps");
    result?;
    anyhow::ensure!(swaps > u64::from(tries), "there was no attack");
    Ok(())
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn who_is_not_root_writes_as_before() -> anyhow::Result<()> {
    let _guard = guard::live();
    let attack = Attack::new()?;
    let program = attack.dir.program_for_all()?;
    let run = |to: &str, more: &str| {
        let (program, tap) = (text(&program), text(&attack.tap));
        attack.attacker(&format!("{program} open {tap} -o json --output-file {to} {more}"))
    };
    let is_theirs = |name: &str| -> anyhow::Result<bool> {
        let data = fs::symlink_metadata(attack.path(name))?;
        Ok(data.is_file() && (data.uid(), data.mode() & 0o777) == (NOBODY, 0o600) && data.len() > 0)
    };
    run("new", "")?;
    run("new", "--force")?;
    attack.attacker(": > empty; mkdir folder; ln -s folder link")?;
    run("empty", "")?;
    run("link/new", "")?;
    assert!(is_theirs("new")? && is_theirs("empty")? && is_theirs("folder/new")?);
    // A folder without write permission, and an existing file in it.
    attack.attacker(": > folder/old; chmod 500 folder")?;
    run("folder/old", "")?;
    run("folder/old", "--force")?;
    assert!(is_theirs("folder/old")?);
    assert_eq!(fs::read_dir(attack.path("folder"))?.count(), 2);
    assert!(run("../not-theirs", "").is_err());
    Ok(())
}
