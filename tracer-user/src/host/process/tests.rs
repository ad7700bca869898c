//! Tests that need no particular machine. They start processes where one is needed.

use std::process::{Child, Command, Stdio};

use procfs::FromRead as _;

use super::{
    resolve::{is_called, one_edit_apart},
    *,
};

/// A child that is killed on drop.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        Self(Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("sleep starts"))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn parse_stat(text: &str) -> Stat {
    Stat::from_read(text.as_bytes()).expect("the line is whole")
}

/// A line of /proc/PID/stat with these fields.
fn stat_line(name: &str, state: char, flags: u32, threads: u32) -> String {
    format!(
        "77 ({name}) {state} 1 77 77 0 -1 {flags} 1 0 0 0 1 1 0 0 20 0 {threads} 0 4242 1000 10 \
         18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0"
    )
}

#[test]
fn a_name_may_hold_spaces_and_brackets() {
    let stat = parse_stat(&stat_line("a) R (b", 'S', 0, 1));
    assert_eq!(
        (stat.comm.as_str(), stat.starttime, is_dead(&stat), is_kernel_thread(&stat)),
        ("a) R (b", 4242, false, false)
    );
}

#[test]
fn kernel_threads_and_zombies_are_told_from_the_line() {
    assert!(is_kernel_thread(&parse_stat(&stat_line("kworker/0:1", 'I', 0x0420_8060, 1))));
    assert!(is_dead(&parse_stat(&stat_line("gone", 'Z', 0, 1))));
    // Only the first thread has ended, so the process lives.
    assert!(!is_dead(&parse_stat(&stat_line("lives", 'Z', 0, 3))));
}

#[test]
fn names_are_comm_or_base_name_of_title_or_program() {
    assert!(is_called("nginx", "nginx", Some("nginx: worker process"), Some("nginx")));
    assert!(is_called("gunicorn", "python3", Some("gunicorn: master [app]"), Some("python3.11")));
    assert!(is_called("python3", "gunicorn", Some("/usr/bin/python3"), None));
    assert!(is_called("python3.11", "gunicorn", Some("/usr/bin/python3"), Some("python3.11")));
    assert!(is_called("bash", "x", Some("-bash"), None));
    assert!(is_called("a-name-longer-than-comm", "a-name-longer-t", Some("./a-name-longer-than-comm"), None));
    assert!(!is_called("ngin", "nginx", Some("nginx: worker process"), Some("nginx")));
}

#[test]
fn one_slip_is_near() {
    for (typed, meant) in [("ngnix", "nginx"), ("ngix", "nginx"), ("nginxx", "nginx"), ("mginx", "nginx")] {
        assert!(one_edit_apart(typed, meant), "{typed}");
    }
    for (typed, meant) in [("nginx", "nginx"), ("sh", "ssh"), ("apache", "nginx"), ("gninx", "nginxx")] {
        assert!(!one_edit_apart(typed, meant), "{typed}");
    }
}

#[test]
fn a_number_and_its_life() {
    let mut sleeper = Sleeper::start();
    let pid = sleeper.0.id();
    let resolved = resolve(&[pid.to_string(), pid.to_string()], &Permit::Any).expect("it is there");
    let [target] = resolved.targets.as_slice() else { panic!("one target: {resolved:?}") };
    assert_eq!((target.pid, target.name.raw(), target.parent), (pid, "sleep", std::process::id()));
    target.confirm().expect("it is still there");
    target.open().expect("it can be opened");
    assert!(descendants(&[std::process::id()]).contains(target));

    sleeper.0.kill().expect("it can be ended");
    // The child is not reaped yet, so it is a zombie. Its state changes shortly after the signal.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    let zombie = loop {
        match resolve(&[pid.to_string()], &Permit::Any) {
            Err(error) => break error,
            Ok(_) => assert!(std::time::Instant::now() < deadline, "it did not end"),
        }
    };
    assert!(matches!(&zombie, ProcessError::Zombie { parent, .. } if *parent == std::process::id()), "{zombie}");
    assert_eq!(target.confirm(), Err(ProcessError::Vanished { pid, name: "sleep".into() }));
    sleeper.0.wait().expect("it ended");
    assert!(matches!(resolve(&[pid.to_string()], &Permit::Any), Err(ProcessError::NoSuchPid { .. })));
    assert!(target.open().is_err());
    assert_eq!(zombie.exit_class(), ExitClass::NoProcess);
}

#[test]
fn a_later_process_of_the_same_number_is_another() {
    let sleeper = Sleeper::start();
    let mut target = Target::find(sleeper.0.id()).expect("it is there");
    target.start_time -= 1;
    assert!(matches!(target.confirm(), Err(ProcessError::Vanished { .. })));
}

#[test]
fn one_of_many_may_end_before_tracing_begins() {
    let (mut ends, stays) = (Sleeper::start(), Sleeper::start());
    let targets: Vec<Target> = [&ends, &stays].map(|sleeper| Target::find(sleeper.0.id()).expect("it is there")).into();
    let (there, gone) = confirm_all(targets.clone()).expect("both are there");
    assert_eq!((there, gone), (targets.clone(), Vec::new()));
    ends.0.kill().and_then(|()| ends.0.wait()).expect("it ends");
    let vanished = ProcessError::Vanished { pid: targets[0].pid, name: "sleep".into() };
    let (there, gone) = confirm_all(targets.clone()).expect("one is there");
    assert_eq!((there.as_slice(), gone.as_slice()), (&targets[1..], std::slice::from_ref(&vanished)));
    assert_eq!(confirm_all(targets[..1].to_vec()), Err(vanished));
    // Another process has the PID, and the probes would trace it.
    let mut other = targets[1].clone();
    other.start_time -= 1;
    assert!(matches!(confirm_all(vec![targets[1].clone(), other]), Err(ProcessError::Vanished { .. })));
}

#[test]
fn words_that_mean_nothing_are_refused() {
    let refused = |word: &str| resolve(&[word.to_owned()], &Permit::Any).expect_err(word);
    assert_eq!(resolve(&[], &Permit::Any), Err(ProcessError::NothingNamed));
    assert_eq!(refused(" "), ProcessError::NothingNamed);
    for number in ["0", "4294967295", "99999999999999999999"] {
        assert!(matches!(refused(number), ProcessError::NoSuchPid { .. }), "{number}");
    }
    assert!(matches!(refused("no-such-program-anywhere"), ProcessError::NoSuchName { .. }));
    assert!(matches!(refused(&std::process::id().to_string()), ProcessError::Itself { .. }));
}

#[test]
fn a_thread_number_means_its_process() {
    // The test thread is not the first of its process, and its process is pidtap itself.
    let tid = rustix::thread::gettid().as_raw_nonzero().to_string();
    assert_eq!(resolve(&[tid], &Permit::Any), Err(ProcessError::Itself { pid: std::process::id() }));
}

#[test]
fn the_found_event_carries_name_and_parent() {
    let target = Target { pid: 7, name: "sixteen-bytes-ab".into(), start_time: 1, parent: 3 };
    let mut bytes = Vec::new();
    target.encode_found(Timestamp(9), true, &mut bytes);
    let Ok(Event::Process(event)) = Event::decode(&bytes) else { panic!("a process event") };
    assert_eq!((event.header.tgid, event.other_tgid, event.action), (7, 3, process_action::FOUND));
    assert_eq!(event.header.flags, flag::NAMED_TARGET);
    assert_eq!(&event.name, b"sixteen-bytes-a\0");
}

#[test]
fn pidtap_is_no_child_of_its_shell() {
    let sleeper = Sleeper::start();
    let (own, parent) = (std::process::id(), std::os::unix::process::parent_id());
    let found = descendants(&[parent]);
    assert!(!found.iter().any(|target| [own, sleeper.0.id()].contains(&target.pid)), "{found:?}");
    assert!(descendants(&[own]).iter().any(|target| target.pid == sleeper.0.id()), "named, it is a root as any");
}
