//! The real program on real kernels, in virtual machines. The processors are emulated, so neither KVM nor root is needed. A guest
//! takes half a minute to some minutes.

mod archive;
mod fetch;
mod guest;
mod matrix;
mod programs;
mod scene;

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail, ensure};

use self::{
    guest::Programs,
    matrix::{Expected, Kernel, MATRIX},
};
use crate::{
    command::{output, say},
    times::Times,
};

/// Ten times what a guest takes on a quiet machine.
const BOUND: Duration = Duration::from_mins(15);
/// Guests at once.
const AT_ONCE: usize = 2;

/// Rust targets for guests of other architectures.
pub(crate) fn foreign_targets() -> impl Iterator<Item = &'static str> {
    MATRIX.iter().filter_map(|kernel| kernel.machine.foreign.as_ref()).map(|foreign| foreign.target)
}

/// Runs the kernels that a word of `only` selects by version or processor; without words, all.
pub(crate) fn run(pidtap: &Path, only: &[String], times: &mut Times) -> anyhow::Result<()> {
    let wanted = |kernel: &&Kernel| only.is_empty() || only.iter().any(|only| kernel.is_meant(only));
    let kernels: Vec<&'static Kernel> = MATRIX.iter().filter(wanted).collect();
    ensure!(!kernels.is_empty(), "no such kernel; there are {}", names(MATRIX.iter()));
    say(&format!("real kernels in virtual machines: {}", names(kernels.iter().copied())));
    let mut programs: Vec<(&str, Programs)> = Vec::new();
    for Kernel { machine, .. } in &kernels {
        if programs.iter().all(|(architecture, _)| *architecture != machine.architecture) {
            let built = times.compile("kernels", || match &machine.foreign {
                None => programs::own(pidtap),
                Some(foreign) => programs::foreign(foreign),
            });
            programs.push((machine.architecture, built?));
        }
    }
    times.run("kernels", || boot(&kernels, &programs, pidtap))
}

/// Boots every kernel with the programs for its processor.
fn boot(kernels: &[&'static Kernel], programs: &[(&str, Programs)], pidtap: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    let with_folder = |kernel: &&'static Kernel| Ok((*kernel, fetch::unpacked(&kernel.package)?));
    let guests = kernels.iter().map(with_folder).collect::<anyhow::Result<Vec<_>>>()?;
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(guests.len()) {
            scope.spawn(|| {
                while let Some((kernel, folder)) = guests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let programs = programs
                        .iter()
                        .find(|(architecture, _)| *architecture == kernel.machine.architecture)
                        .map(|(_, programs)| programs)
                        .expect("programs for each processor");
                    if let Err(error) = one(kernel, folder, programs, pidtap) {
                        say(&format!("Linux {}: {error:#}", kernel.name()));
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(kernel.name());
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(failures.is_empty(), "failed on Linux {}", failures.join(", "));
    say(&format!("every scene passed in every guest, in {:.0} s", began.elapsed().as_secs_f64()));
    Ok(())
}

fn names<'kernels>(kernels: impl Iterator<Item = &'kernels Kernel>) -> String {
    kernels.map(Kernel::name).collect::<Vec<_>>().join(", ")
}

fn one(kernel: &Kernel, folder: &Path, programs: &Programs, pidtap: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    let scenes = scene::scenes(kernel.expected);
    let vmlinuz = fetch::find(folder, "vmlinuz-").with_context(|| format!("{} holds no vmlinuz", folder.display()))?;
    let work = tempfile::tempdir()?;
    let image = work.path().join("image");
    fs::write(&image, guest::image(programs, folder, &scenes, work.path())?)?;
    let console = guest::boot(kernel, &image, &vmlinuz, BOUND)?;
    guest::check(&scenes, &console)?;
    let mut replayed = 0;
    if kernel.expected != Expected::Refuses {
        replayed = replay(&guest::kept(&console, work.path())?, work.path(), pidtap)?;
    }
    say(&format!(
        "Linux {}: all {} scenes, {replayed} recordings replayed here ({}; {:.0} s with start and end)",
        kernel.name(),
        scenes.len(),
        guest::times(&console),
        began.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// Replays the guest's recordings here, which must give the same lines. Returns the number of recordings.
fn replay(names: &[String], folder: &Path, pidtap: &Path) -> anyhow::Result<usize> {
    let recordings: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(".tap")).collect();
    ensure!(!recordings.is_empty(), "the guest kept no recordings");
    for name in &recordings {
        let path = folder.join(name);
        let printed =
            fs::read_to_string(path.with_extension("json")).with_context(|| format!("the lines of {name}"))?;
        let replayed = output(
            Command::new(pidtap).args(["open", "-o", "json", "--show-secrets"]).arg(path.with_extension("tap")),
        )?;
        if replayed != printed {
            let (line, (there, here)) = printed
                .lines()
                .zip(replayed.lines())
                .enumerate()
                .find(|(_, (there, here))| there != here)
                .ok_or_else(|| anyhow!("{name}: the number of lines differs when replayed here"))?;
            bail!("{name}: line {} differs when replayed here:\nthere: {there}\nhere:  {here}", line + 1);
        }
    }
    Ok(recordings.len())
}
