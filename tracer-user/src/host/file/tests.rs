use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    thread,
};

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::*;

/// A user ID without privileges.
const NOBODY: u32 = 65_534;
const FORCE: Options<'_> = Options { force: true, taken: &[] };

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn opened(path: &Path, options: Options<'_>) -> File {
    match create(path, options) {
        Ok(Opened::File(file)) => file,
        other => panic!("{}: {other:?}", path.display()),
    }
}

fn refused(path: &Path, options: Options<'_>) -> String {
    create(path, options).expect_err("refused").to_string()
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, OWNER_ONLY, 0).expect("a named pipe");
}

#[test]
fn files_are_private_and_not_overwritten_unasked() {
    let folder = folder();
    let path = folder.path().join("a.tap");
    opened(&path, Options::default()).write_all(b"good").expect("written");
    let mode = || fs::metadata(&path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    assert!(refused(&path, Options::default()).contains("--force"));
    assert_eq!(fs::read(&path).expect("there"), b"good");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
    opened(&path, FORCE);
    assert_eq!((fs::read(&path).expect("there").len(), mode()), (0, 0o600));
    opened(&path, Options::default());
    opened(Path::new("/dev/full"), Options::default());
    assert!(refused(folder.path(), FORCE).contains("directory"));
    assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 1, "no temporary file is left");
}

#[test]
fn who_has_the_old_file_open_reads_nothing_of_the_new_one() {
    let folder = folder();
    let path = folder.path().join("a");
    fs::write(&path, "").expect("written");
    let mut old = File::open(&path).expect("there");
    opened(&path, Options::default()).write_all(b"secret").expect("written");
    let mut read = String::new();
    old.read_to_string(&mut read).expect("readable");
    assert_eq!((&*read, &*fs::read_to_string(&path).expect("there")), ("", "secret"));
}

#[test]
fn no_link_is_followed_at_the_end_and_ours_on_the_way() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("empty"), "").expect("written");
    fs::create_dir(path("real")).expect("made");
    for (target, link) in [("empty", "to-file"), ("missing", "to-nothing"), ("real", "to-folder"), ("loop", "loop")] {
        symlink(target, path(link)).expect("a link");
    }
    symlink("/dev/null", path("to-device")).expect("a link");
    for link in ["to-file", "to-nothing", "to-folder", "loop", "to-device"] {
        for options in [Options::default(), FORCE] {
            assert!(refused(&path(link), options).contains("link"), "{link}");
        }
    }
    assert!(!path("missing").exists());
    opened(&path("to-folder/new"), Options::default());
    opened(&path("to-folder/../to-folder/./other"), Options::default());
    assert!(path("real/new").is_file() && path("real/other").is_file());
    create(&path("loop/new"), FORCE).expect_err("round and round");
    create(&path("empty/new"), FORCE).expect_err("no folder");
    for nothing in ["", "/", "real/", "real/.", "real/..", "."] {
        create(&folder.path().join(nothing), FORCE).expect_err(nothing);
    }
}

#[test]
fn a_file_with_several_names_is_replaced_only_when_asked_and_then_alone() {
    let folder = folder();
    let (path, other) = (folder.path().join("a"), folder.path().join("b"));
    fs::write(&other, "").expect("written");
    fs::hard_link(&other, &path).expect("a second name");
    assert!(refused(&path, Options::default()).contains("--force"));
    opened(&path, FORCE).write_all(b"secret").expect("written");
    assert_eq!(fs::read(&other).expect("there"), b"");
}

#[test]
fn results_and_recording_are_two_files() {
    let folder = folder();
    let path = folder.path().join("a");
    let results = Identity::of(opened(&path, Options::default())).expect("one file holds one thing");
    let taken = [(results, "the results go")];
    let options = Options { force: true, taken: &taken };
    fs::hard_link(&path, folder.path().join("b")).expect("a second name");
    for name in ["a", "b"] {
        assert!(refused(&folder.path().join(name), options).contains("the results go there"));
    }
    let pipe = folder.path().join("pipe");
    fifo(&pipe);
    let Ok(Opened::Pipe(unread)) = create(&pipe, Options::default()) else { panic!("nobody reads it") };
    let taken = [(unread.identity(), "the results go")];
    let options = Options { force: true, taken: &taken };
    assert!(refused(&pipe, options).contains("the results go there"));
    assert_eq!(Identity::of(opened(Path::new("/dev/null"), Options::default())), None);
}

#[test]
fn a_pipe_without_a_reader_is_waited_for_by_whoever_has_time() {
    let folder = folder();
    let path = folder.path().join("pipe");
    fifo(&path);
    let Ok(Opened::Pipe(unread)) = create(&path, Options::default()) else { panic!("nobody reads it") };
    let reader = path.clone();
    let reader = thread::spawn(move || fs::read_to_string(reader).expect("a pipe"));
    unread.wait().expect("somebody reads").write_all(b"told").expect("taken");
    assert_eq!(reader.join().expect("no panic"), "told");
}

#[test]
fn another_pipe_in_the_place_of_one_gets_nothing() {
    let folder = folder();
    let path = folder.path().join("pipe");
    fifo(&path);
    let Ok(Opened::Pipe(unread)) = create(&path, Options::default()) else { panic!("nobody reads it") };
    fifo(&folder.path().join("other"));
    fs::rename(folder.path().join("other"), &path).expect("ours");
    let _reader = rustix::fs::open(&path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).expect("a pipe");
    assert!(matches!(unread.wait(), Err(FileError::Changing)));
}

#[test]
fn a_folder_that_takes_no_new_files_keeps_those_that_are_there() {
    let folder = folder();
    let path = folder.path().join("a");
    fs::write(&path, "old").expect("written");
    let inode = fs::metadata(&path).expect("there").ino();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).expect("ours");
    let is_root = geteuid().is_root();
    if is_root {
        for path in [folder.path(), &path] {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
        }
    }
    // A thread of its own: permissions do not bind root, and the system call changes the identity of the calling thread alone.
    let write = || {
        if is_root {
            let nobody = rustix::process::Uid::from_raw(NOBODY);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("root may");
        }
        opened(&path, FORCE).write_all(b"new").expect("written");
    };
    thread::scope(|scope| scope.spawn(write).join()).expect("it is written");
    let after = fs::metadata(&path).expect("there");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("ours");
    assert_eq!((fs::read(&path).expect("there"), after.ino(), after.mode() & 0o777), (b"new".to_vec(), inode, 0o600));
}

#[test]
fn root_that_must_keep_to_modes_is_told_which_capability_it_lacks() {
    let had = capabilities(None).expect("own");
    if !geteuid().is_root() || !had.effective.contains(CapabilitySet::DAC_OVERRIDE) {
        eprintln!("skipped: only root passes over modes");
        return;
    }
    let folder = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("ours");
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
    let path = folder.path().join("new");
    let refused = thread::scope(|scope| {
        // Capabilities are a thread's own.
        let lacking = scope.spawn(|| {
            let lacks = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
            let sets = CapabilitySets { effective: had.effective - lacks, ..had };
            set_capabilities(None, sets).expect("fewer may always be had");
            refused(&path, Options::default())
        });
        lacking.join().expect("no panic")
    });
    assert!(refused.contains("Permission denied") && refused.contains("lacks CAP_DAC_OVERRIDE"), "{refused}");
    opened(&path, Options::default());
}

#[test]
fn descriptors_that_were_given_are_written_to() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let number = rustix::fd::AsRawFd::as_raw_fd(&writer);
    for folder in ["/dev/fd", "/proc/self/fd"] {
        opened(&Path::new(folder).join(number.to_string()), Options::default()).write_all(b"told ").expect("taken");
    }
    drop(writer);
    assert_eq!(std::io::read_to_string(reader).expect("a pipe"), "told told ");
    create(Path::new("/dev/fd/9999"), FORCE).expect_err("none such");
}
