//! Resolution of command line words to targets.

use std::{cmp::Reverse, collections::HashSet, fmt::Write as _, process};

use procfs::process::{Stat, Status};

use super::{
    Permit, ProcessError, Target, all_pids, all_stats, check_initial_pid_namespace, is_dead, is_kernel_thread, name,
    program::{command_line, program_name},
    read_lossy, stat,
};
use crate::text::escape::{Foreign, Visible};

/// Maximum number of similar processes in an error message; they fit on one line.
const HINTS: usize = 4;

/// Programs that start pidtap with privileges. A name never selects them if they are ancestors of pidtap.
const STARTERS: [&str; 6] = ["sudo", "su", "doas", "pkexec", "run0", "pidtap"];

/// Result of [`resolve`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The targets without duplicates, in the order of the words.
    pub targets: Vec<Target>,
    /// Messages about the resolution: the processes that a name matched, or the process of a thread ID.
    pub notes: Vec<String>,
}

/// Resolves PIDs and names. A name selects every process of that name (`comm`, or base name of `argv[0]` or of the
/// executable), except pidtap and the programs that started it.
///
/// # Errors
///
/// [`ProcessError`] for the first word without a process that can and may be traced, and if pidtap does not run in the
/// initial PID namespace.
pub fn resolve(words: &[String], permit: &Permit) -> Result<Resolved, ProcessError> {
    check_initial_pid_namespace()?;
    if words.is_empty() {
        return Err(ProcessError::NothingNamed);
    }
    let mut resolved = Resolved { targets: Vec::new(), notes: Vec::new() };
    for word in words {
        // Only ASCII white space is trimmed, as a name may begin or end with any other white space.
        let word = word.trim_matches(|char: char| char.is_ascii_whitespace());
        if word.is_empty() {
            return Err(ProcessError::NothingNamed);
        }
        let (targets, notes) = if word.bytes().all(|byte| byte.is_ascii_digit()) {
            let (target, note) = by_number(word)?;
            permit.check(&target)?;
            (vec![target], note.into_iter().collect())
        } else {
            by_name(word, permit)?
        };
        resolved.notes.extend(notes);
        for target in targets {
            if !resolved.targets.iter().any(|known| known.pid == target.pid) {
                resolved.targets.push(target);
            }
        }
    }
    Ok(resolved)
}

/// Returns the targets of a name that may be traced, and a message about the others.
fn permitted(word: &str, targets: Vec<Target>, permit: &Permit) -> Result<(Vec<Target>, Option<String>), ProcessError> {
    let mut first = None;
    let mut left_out = 0;
    let mut kept = Vec::with_capacity(targets.len());
    for target in targets {
        match permit.check(&target) {
            Ok(()) => kept.push(target),
            Err(error) => {
                left_out += 1;
                first.get_or_insert(error);
            }
        }
    }
    match first {
        Some(error) if kept.is_empty() => Err(error),
        first => Ok((kept, first.map(|error| format!("left out {left_out} of the processes named `{word}`: {error}")))),
    }
}

fn by_number(word: &str) -> Result<(Target, Option<String>), ProcessError> {
    let missing = || ProcessError::NoSuchPid { pid: word.into(), hint: hint_for_number(word) };
    match word.parse::<i32>() {
        // PID 0 is the idle task, which is not in /proc.
        Ok(pid) if pid > 0 => traceable(pid as u32).map_err(|error| match error {
            ProcessError::NoSuchPid { .. } => missing(),
            other => other,
        }),
        _ => Err(missing()),
    }
}

/// Finds the process of a PID or thread ID, and a message if it was a thread ID.
pub(super) fn traceable(pid: u32) -> Result<(Target, Option<String>), ProcessError> {
    let missing = || ProcessError::NoSuchPid { pid: pid.to_string().into(), hint: String::new() };
    let status = read_lossy::<Status>(pid, "status").ok_or_else(missing)?;
    let process = status.tgid as u32;
    if process == process::id() {
        return Err(ProcessError::Itself { pid: process });
    }
    let stat = stat(process).ok_or_else(missing)?;
    check(&stat)?;
    let target = Target::from_stat(stat);
    let note = (process != pid)
        .then(|| format!("{pid} is a thread of process {process} ({}); tracing that process", target.name));
    Ok((target, note))
}

/// Checks that the process can be traced.
fn check(stat: &Stat) -> Result<(), ProcessError> {
    let (pid, name_of) = (stat.pid as u32, Foreign::from(stat.comm.as_str()));
    if is_kernel_thread(stat) {
        return Err(ProcessError::KernelThread { pid, name: name_of });
    }
    if is_dead(stat) {
        let parent = u32::try_from(stat.ppid).unwrap_or(0);
        let parent_name = name(parent).unwrap_or_else(|| "unknown".into());
        return Err(ProcessError::Zombie { pid, name: name_of, parent, parent_name });
    }
    Ok(())
}

fn by_name(word: &str, permit: &Permit) -> Result<(Vec<Target>, Vec<String>), ProcessError> {
    let stats: Vec<Stat> = all_stats().collect();
    let ancestors = ancestors(&stats);
    let own = own_family(&stats);
    let mut refused = None;
    let mut targets = Vec::new();
    let mut near = Vec::new();
    for stat in stats {
        let pid = stat.pid as u32;
        if is_kernel_thread(&stat) {
            if stat.comm == word {
                refused = Some(ProcessError::KernelThread { pid, name: stat.comm.into() });
            }
            continue;
        }
        let words = command_line(pid);
        let program = program_name(pid);
        if !is_called(word, &stat.comm, words.first().map(String::as_str), program.as_deref()) {
            // Ancestors of pidtap (`sudo`, a shell's `-c`, `timeout`) have pidtap's arguments in their command lines.
            if !ancestors.contains(&pid) && is_near(word, &stat.comm, &words) {
                let closeness =
                    stat.comm.bytes().zip(word.bytes()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
                near.push((Reverse(closeness), format!("{pid} {}", Visible(&stat.comm))));
            }
        } else if own.contains(&pid) {
            refused = Some(ProcessError::Itself { pid });
        } else {
            match check(&stat) {
                Ok(()) => targets.push(Target::from_stat(stat)),
                Err(error) => refused = Some(error),
            }
        }
    }
    if targets.is_empty() {
        // The closest match first, as the list is cut.
        near.sort_by_key(|(closeness, _)| *closeness);
        let near: Vec<String> = near.into_iter().map(|(_, text)| text).collect();
        let missing = || ProcessError::NoSuchName { name: word.into(), hint: list("similar: ", &near) };
        return Err(refused.unwrap_or_else(missing));
    }
    targets.sort_by_key(|target| target.pid);
    let (targets, left_out) = permitted(word, targets, permit)?;
    let note = note_of_name(word, &targets);
    Ok((targets, left_out.into_iter().chain([note]).collect()))
}

/// Message about the processes that a name selected.
fn note_of_name(word: &str, targets: &[Target]) -> String {
    let shown = Visible(word);
    match targets {
        [only] if only.name == *word => format!("`{shown}` matches process {}", only.pid),
        [only] => format!("`{shown}` matches process {} ({})", only.pid, only.name),
        many => {
            let pids: Vec<String> = many.iter().map(|target| target.pid.to_string()).collect();
            format!("`{shown}` matches {} processes: {}", many.len(), pids.join(" "))
        }
    }
}

/// Whether a process has this name.
pub(super) fn is_called(word: &str, comm: &str, first_word: Option<&str>, program: Option<&str>) -> bool {
    let base = |path: &str| {
        // Servers rewrite their title: "nginx: master process /usr/sbin/nginx", "postgres: writer".
        let path = path.split_once([':', ' ']).map_or(path, |(path, _)| path);
        path.rsplit('/').next().unwrap_or(path) == word
    };
    // A login shell puts a dash before its name.
    let first_word = first_word.map(|first| first.strip_prefix('-').unwrap_or(first));
    comm == word || program == Some(word) || first_word.is_some_and(|first| base(first) || first == word)
}

/// Whether a process resembles a name that no process has.
fn is_near(word: &str, comm: &str, command_line: &[String]) -> bool {
    let word = word.to_lowercase();
    let contains = |text: &str| text.to_lowercase().contains(&word);
    let comm_lower = comm.to_lowercase();
    // A part of the name or of the command line ("app.py"), a longer name (with a version), or one typing error.
    contains(comm)
        || (comm_lower.len() >= 3 && word.starts_with(&comm_lower))
        || (word.len() >= 3 && command_line.iter().any(|text| contains(text)))
        || one_edit_apart(&word, &comm_lower)
}

/// Whether inserting, deleting or changing one letter, or swapping two adjacent ones, turns one word into the other.
/// False for words of fewer than four letters, which are all close to each other.
pub(super) fn one_edit_apart(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let (short, long) = if left.len() <= right.len() { (left, right) } else { (right, left) };
    if short.len() < 4 || long.len() - short.len() > 1 {
        return false;
    }
    let same = short.iter().zip(long).take_while(|(a, b)| a == b).count();
    if short.len() < long.len() {
        return short[same..] == long[same + 1..];
    }
    let exchanged = || {
        same + 1 < short.len()
            && short[same] == long[same + 1]
            && short[same + 1] == long[same]
            && short[same + 2..] == long[same + 2..]
    };
    same < short.len() && (short[same + 1..] == long[same + 1..] || exchanged())
}

/// PIDs of pidtap and of its ancestors that only started it (`sudo` and similar).
pub(super) fn own_family(stats: &[Stat]) -> HashSet<u32> {
    let ancestors = ancestors(stats);
    let own = process::id();
    let program = program_name(own);
    let only_started = |stat: &&Stat| {
        let pid = stat.pid as u32;
        ancestors.contains(&pid) && (STARTERS.contains(&stat.comm.as_str()) || program_name(pid) == program)
    };
    stats.iter().filter(only_started).map(|stat| stat.pid as u32).chain([own]).collect()
}

/// PIDs of pidtap and all its ancestors.
fn ancestors(stats: &[Stat]) -> HashSet<u32> {
    let mut ancestors = HashSet::new();
    let mut pid = process::id();
    // `insert` ends the loop if a changing parent closes a cycle.
    while ancestors.insert(pid)
        && let Some(stat) = stats.iter().find(|stat| stat.pid as u32 == pid)
    {
        pid = u32::try_from(stat.ppid).unwrap_or(0);
    }
    ancestors
}

/// Suggestion for a PID that no process has: processes with that PID inside their container.
fn hint_for_number(word: &str) -> String {
    let Ok(wanted) = word.parse::<i32>() else { return String::new() };
    let inside: Vec<String> = all_pids()
        .filter_map(|pid| read_lossy::<Status>(pid, "status"))
        .filter(|status| status.nspid.as_ref().is_some_and(|ids| ids.len() > 1 && ids.last() == Some(&wanted)))
        .map(|status| format!("{} {}", status.pid, Visible(&status.name)))
        .collect();
    list("inside a container, this is the PID of: ", &inside)
}

/// Lists the first entries and the number of the others.
fn list(title: &str, entries: &[String]) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let mut text = format!("{title}{}", entries[..entries.len().min(HINTS)].join(", "));
    if let Some(more) = entries.len().checked_sub(HINTS).filter(|&more| more > 0) {
        let _ = write!(text, ", and {more} more");
    }
    text
}
