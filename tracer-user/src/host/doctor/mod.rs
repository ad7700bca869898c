//! `pidtap doctor [PID]`: checks of this machine and a target, with remedies.
//!
//! The result is data; [`Report::write`] formats it. The module itself loads nothing into the kernel. The caller passes
//! the trial load as a function, so that this module does not depend on `capture`.

mod apart;
mod machine;
mod program;
mod target;

use std::{io, path::Path};

pub use apart::{SEARCH_SUBCOMMAND, search_executable};

use crate::{
    host::process::{ExitClass, Permit, ProcessError, resolve},
    text::escape::Visible,
};

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The check passed.
    Ok,
    /// Tracing works, but some traffic may be invisible or surprising.
    Warn,
    /// Tracing does not work; the class selects the exit status.
    Fail(ExitClass),
    /// A neutral fact.
    Info,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Subject of the check.
    pub name: &'static str,
    /// Result.
    pub status: Status,
    /// Finding, as text.
    pub found: String,
    /// Remedy or consequence; empty if there is none.
    pub remedy: String,
}

impl Check {
    fn new(name: &'static str, status: Status, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, status, found: found.into(), remedy: remedy.into() }
    }

    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Status::Ok, found, "")
    }

    /// Creates a check whose subject could not be read.
    fn unreadable(name: &'static str, error: &str, remedy: &str) -> Self {
        Self::new(name, Status::Warn, format!("{UNREADABLE} ({error})"), remedy)
    }

    fn is_unreadable(&self) -> bool {
        self.found.starts_with(UNREADABLE)
    }

    fn info(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Status::Info, found, "")
    }
}

const UNREADABLE: &str = "cannot be read";

/// Trial load of the probes. Returns a description of the loaded probes, or the error with its remedy.
pub type Trial<'a> = &'a dyn Fn() -> Result<String, String>;

/// Options of [`examine`].
#[derive(Clone, Copy, Default)]
pub struct DoctorOptions<'a> {
    /// Target as typed: a PID or a name. All processes of a name are checked.
    pub target: Option<&'a str>,
    /// Whether this binary carries the probes.
    pub carries_probes: bool,
    /// Size in bytes of the ring that a trace would use.
    pub ring_size: u32,
    /// Path of the pidtap that searches executables in a separate process ([`SEARCH_SUBCOMMAND`]); `None` for the
    /// running program.
    pub searcher: Option<&'a Path>,
    /// Loads the probes and removes them again. Runs only if no other check failed.
    pub trial: Option<Trial<'a>>,
}

/// Results of all checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Checks of the machine.
    pub machine: Vec<Check>,
    /// Title and checks of each target.
    pub targets: Vec<(String, Vec<Check>)>,
}

/// Runs all checks.
pub fn examine(options: &DoctorOptions<'_>) -> Report {
    let mut machine = machine::checks(options);
    let mut targets = Vec::new();
    if let Some(word) = options.target {
        match Permit::this().and_then(|permit| resolve(&[word.to_owned()], &permit)) {
            Ok(resolved) => {
                targets.extend(resolved.targets.iter().map(|target| {
                    (format!("process {} ({})", target.pid, target.name), target::checks(target, options.searcher))
                }));
            }
            // The check of the machine already reports this.
            Err(ProcessError::InsidePidNamespace) => {}
            Err(error) => {
                machine.push(Check::new("target", Status::Fail(error.exit_class()), error.to_string(), ""));
            }
        }
    }
    Report { machine, targets }
}

impl Report {
    /// Class of the worst failure for the exit status; `None` if tracing works. Missing kernel features take precedence
    /// over missing permissions, as granting permissions would not help.
    pub fn exit_class(&self) -> Option<ExitClass> {
        let failed = |class| self.checks().any(|check| check.status == Status::Fail(class));
        [ExitClass::NotSupported, ExitClass::NotPermitted, ExitClass::NoProcess, ExitClass::Usage]
            .into_iter()
            .find(|&class| failed(class))
    }

    fn checks(&self) -> impl Iterator<Item = &Check> {
        self.machine.iter().chain(self.targets.iter().flat_map(|(_, checks)| checks))
    }

    /// Writes the report as text: a line for each check, with its remedy below it.
    ///
    /// # Errors
    ///
    /// The error of the writer.
    pub fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        write_section(out, "this machine", &self.machine)?;
        for (title, checks) in &self.targets {
            writeln!(out)?;
            write_section(out, title, checks)?;
        }
        let verdict = match self.exit_class() {
            None => return self.write_blind(out),
            Some(ExitClass::NotSupported) => {
                "pidtap cannot trace on this machine: requirements are missing, see the lines marked FAIL."
            }
            Some(ExitClass::NotPermitted) => {
                "pidtap lacks permission to trace: see the lines marked FAIL for the permissions to grant."
            }
            Some(ExitClass::NoProcess | ExitClass::Usage) => "The target cannot be traced: see the line marked FAIL.",
        };
        writeln!(out, "\n{verdict}")
    }
}

/// Traffic that is invisible on every machine.
const NEVER_SEEN: &str =
    "calls over TLS, HTTP/2 and HTTP/3, and bytes moved by io_uring; pidtap reports the affected connections";

/// Names of target checks that reveal invisible traffic.
const BLIND: [&str; 5] = ["TLS", "io_uring", "UDP", "system calls", "sockets"];

impl Report {
    /// Writes that tracing works, and which traffic would be invisible: an empty trace does not prove that there were
    /// no calls.
    fn write_blind(&self, out: &mut dyn io::Write) -> io::Result<()> {
        writeln!(out, "\npidtap can trace on this machine. It would not see:")?;
        writeln!(out, "  {:<22} {NEVER_SEEN}", "anywhere:")?;
        for (title, checks) in &self.targets {
            let title = Visible(title);
            let blind = checks.iter().filter(|check| BLIND.contains(&check.name) && !check.remedy.is_empty());
            let (unknown, blind): (Vec<&Check>, Vec<&Check>) = blind.partition(|check| check.is_unreadable());
            let mut all: Vec<String> = blind
                .into_iter()
                .map(|check| format!("{}: {}: {}", check.name, Visible(&check.found), Visible(&check.remedy)))
                .collect();
            if !unknown.is_empty() {
                let names: Vec<&str> = unknown.iter().map(|check| check.name).collect();
                all.push(format!("possibly more: {} could not be inspected", names.join(" and ")));
            }
            if all.is_empty() {
                all.push("no other blind spots found".to_owned());
            }
            for line in all {
                writeln!(out, "  {:<22} {line}", format!("{title}:"))?;
            }
        }
        Ok(())
    }
}

fn write_section(out: &mut dyn io::Write, title: &str, checks: &[Check]) -> io::Result<()> {
    // Names and paths come from the target; their escape sequences must not reach the terminal.
    writeln!(out, "{}", Visible(title))?;
    for check in checks {
        let mark = match check.status {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail(_) => "FAIL",
            Status::Info => "-",
        };
        writeln!(out, "  {mark:<5} {:<16} {}", check.name, Visible(&check.found))?;
        if !check.remedy.is_empty() {
            writeln!(out, "  {:<5} {:<16} -> {}", "", "", Visible(&check.remedy))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(statuses: &[Status]) -> Report {
        let machine = statuses.iter().map(|&status| Check::new("name", status, "found", "do")).collect();
        Report { machine, targets: Vec::new() }
    }

    #[test]
    fn the_worst_check_decides_the_exit_status() {
        let permitted = Status::Fail(ExitClass::NotPermitted);
        let supported = Status::Fail(ExitClass::NotSupported);
        assert_eq!(report(&[Status::Ok, Status::Warn, Status::Info]).exit_class(), None);
        assert_eq!(report(&[Status::Ok, permitted]).exit_class(), Some(ExitClass::NotPermitted));
        assert_eq!(report(&[permitted, supported]).exit_class(), Some(ExitClass::NotSupported));
    }

    #[test]
    fn the_text_names_what_to_do_and_holds_no_escape_sequences() {
        let mut report = report(&[Status::Fail(ExitClass::NotPermitted)]);
        report.targets.push(("process 7 (x)".to_owned(), vec![Check::ok("program", "/tmp/\x1b[31mred")]));
        let mut text = Vec::new();
        report.write(&mut text).expect("a vector takes all");
        let text = String::from_utf8(text).expect("text");
        assert_eq!(
            text,
            "this machine\n  FAIL  name             found\n                         -> do\n\nprocess 7 (x)\n  ok    \
             program          /tmp/\\x1b[31mred\n\npidtap lacks permission to trace: see the lines marked FAIL for the permissions to grant.\n"
        );
    }

    #[test]
    fn it_ends_with_what_would_not_be_seen() {
        let mut report = report(&[Status::Ok]);
        let tls = Check::new("TLS", Status::Warn, "OpenSSL (libssl.so.3)", "is encrypted");
        report.targets.push(("process 7 (x)".to_owned(), vec![Check::ok("io_uring", "not used"), tls]));
        report.targets.push(("process 8 (y)".to_owned(), vec![Check::ok("TLS", "none")]));
        let mut text = Vec::new();
        report.write(&mut text).expect("a vector takes all");
        let text = String::from_utf8(text).expect("text");
        let (_, verdict) =
            text.split_once("\npidtap can trace on this machine. It would not see:\n").expect("a verdict");
        assert_eq!(
            verdict.lines().skip(1).collect::<Vec<_>>(),
            [
                "  process 7 (x):         TLS: OpenSSL (libssl.so.3): is encrypted",
                "  process 8 (y):         no other blind spots found"
            ]
        );
    }

    #[test]
    fn own_child_is_examined() {
        let mut child = std::process::Command::new("sleep").arg("30").spawn().expect("sleep starts");
        let pid = child.id().to_string();
        let trial = || Ok("loaded".to_owned());
        let report = examine(&DoctorOptions {
            target: Some(&pid),
            carries_probes: true,
            ring_size: 4096,
            searcher: None,
            trial: Some(&trial),
        });
        child.kill().expect("it can be ended");
        child.wait().expect("it ended");
        let names: Vec<_> = report.targets[0].1.iter().map(|check| check.name).collect();
        for name in ["program", "runtime", "namespaces", "sockets", "TLS"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        assert!(report.machine.iter().any(|check| check.name == "kernel"));
    }
}
