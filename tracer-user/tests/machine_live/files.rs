//! A file that root creates in a folder where another user replaces it at the same time.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use pidtap::host::file::{Opened, Options, create};
use rustix::process::geteuid;

/// A user without rights.
const NOBODY: u32 = 65_534;
/// Names the folder of the attack to the process that attacks.
const FOLDER: &str = "PIDTAP_TEST_FOLDER";
/// This test, which is also the program of the attacker.
const ITSELF: &str = "files::two_thousand_tries_of_a_swap_lead_root_nowhere";

/// Replaces `name`, which root is about to write, with own files and with links to root's files, in an endless loop.
fn attack(folder: &Path) {
    assert!(!geteuid().is_root());
    let (name, next) = (folder.join("name"), folder.join("next"));
    loop {
        for target in ["full", "empty", "missing"] {
            fs::write(&next, "").expect("its folder");
            fs::set_permissions(&next, fs::Permissions::from_mode(0o666)).expect("its file");
            fs::rename(&next, &name).expect("its folder");
            symlink(folder.join("../roots").join(target), &next).expect("its folder");
            fs::rename(&next, &name).expect("its folder");
        }
    }
}

/// Ends a process that this test started.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs root: `cargo xtask test live`"]
fn two_thousand_tries_of_a_swap_lead_root_nowhere() {
    const TRIES: usize = 2_000;
    if let Some(folder) = env::var_os(FOLDER) {
        return attack(Path::new(&folder));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    for (name, mode) in [("", 0o755), ("roots", 0o755), ("attacker", 0o755)] {
        fs::create_dir_all(path(name)).expect("a folder");
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).expect("ours");
    }
    chown(path("attacker"), Some(NOBODY), Some(NOBODY)).expect("root may");
    fs::write(path("roots/full"), "keep").expect("written");
    fs::write(path("roots/empty"), "").expect("written");
    let program = path("tests");
    // `cp` copies it: a file that this process holds open for writing while another test forks cannot be executed (ETXTBSY).
    let copied = Command::new("cp").arg(env::current_exe().expect("known")).arg(&program).status().expect("cp runs");
    assert!(copied.success());
    let attacker = Command::new("setpriv")
        .args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"])
        .arg(&program)
        .args(["--include-ignored", "--exact", ITSELF])
        .env(FOLDER, path("attacker"))
        .stdout(Stdio::null())
        .spawn()
        .expect("setpriv (util-linux) runs it");
    let mut attacker = Ends(attacker);
    let name = path("attacker/name");
    while !name.exists() {
        assert!(attacker.0.try_wait().expect("ours").is_none(), "the attacker ended");
        thread::yield_now();
    }
    let before = fs::metadata(path("roots/empty")).expect("there");
    let mut results = BTreeMap::<_, usize>::new();
    for number in 0..TRIES {
        match create(&name, Options { force: number % 2 == 0, ..Options::default() }) {
            Ok(Opened::File(mut file)) => {
                let data = file.metadata().expect("open");
                let mode = data.mode() & 0o777;
                assert_eq!((data.is_file(), data.uid(), mode), (true, 0, 0o600), "a new file of root's");
                file.write_all(b"secret").expect("written");
                *results.entry("created".to_owned()).or_default() += 1;
            }
            Ok(Opened::Pipe(_)) => panic!("there are none"),
            Err(error) => *results.entry(error.to_string()).or_default() += 1,
        }
        let after = fs::metadata(path("roots/empty")).expect("there");
        assert_eq!((after.len(), after.ino(), after.mode()), (0, before.ino(), before.mode()));
        assert_eq!(fs::read(path("roots/full")).expect("there"), b"keep");
        assert!(!path("roots/missing").exists());
    }
    assert!(attacker.0.try_wait().expect("ours").is_none(), "the attacker ended");
    println!("{results:#?}");
    for both in ["symbolic link", "another user"] {
        assert!(results.keys().any(|result| result.contains(both)), "the attack never came between: {results:?}");
    }
}
