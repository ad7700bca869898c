//! Real kernels in virtual machines, and the real program in them. Processors are emulated, so it needs neither KVM nor
//! root; a guest takes half a minute to some minutes.

mod archive;
mod fetch;
mod guest;
mod matrix;
mod scene;

use std::{
    fs,
    path::{Path, PathBuf},
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
    command::{find, output, say},
    compile,
};

/// Ten times what a guest takes on a quiet machine.
const BOUND: Duration = Duration::from_mins(15);
/// Guests at once.
const AT_ONCE: usize = 2;

/// Runs the kernels whose version begins with one of `only`, or all.
pub(crate) fn run(pidtap: &Path, only: &[String]) -> anyhow::Result<()> {
    let wanted =
        |kernel: &&Kernel| only.is_empty() || only.iter().any(|only| kernel.version.starts_with(only.as_str()));
    let kernels: Vec<&'static Kernel> = MATRIX.iter().filter(wanted).collect();
    ensure!(!kernels.is_empty(), "no such kernel; there are {}", versions());
    say(&format!(
        "real kernels in virtual machines: {}",
        kernels.iter().map(|kernel| kernel.version).collect::<Vec<_>>().join(", ")
    ));
    let programs = programs(pidtap)?;
    let began = Instant::now();
    let with_folder = |kernel: &&'static Kernel| Ok((*kernel, fetch::unpacked(&kernel.package)?));
    let guests = kernels.iter().map(with_folder).collect::<anyhow::Result<Vec<_>>>()?;
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(guests.len()) {
            scope.spawn(|| {
                while let Some((kernel, folder)) = guests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = one(kernel, folder, &programs) {
                        say(&format!("Linux {}: {error:#}", kernel.version));
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(kernel.version);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(failures.is_empty(), "failed on Linux {}", failures.join(", "));
    say(&format!("all guests did as they must, in {:.0} s", began.elapsed().as_secs_f64()));
    Ok(())
}

fn versions() -> String {
    MATRIX.iter().map(|kernel| kernel.version).collect::<Vec<_>>().join(", ")
}

/// The program, the live tests and what they trace; the same files as are tested on this machine.
fn programs(pidtap: &Path) -> anyhow::Result<Programs> {
    let arguments = ["test", "--no-run", "--package", "tracer-tests", "--test", "live", "--bin", "tracee"];
    let messages = compile::messages(&arguments)?;
    let built = |name: &str, kind: &str| -> anyhow::Result<PathBuf> {
        messages
            .iter()
            .filter(|message| message["target"]["name"] == name && message["target"]["kind"][0] == kind)
            .filter(|message| (message["profile"]["test"] == true) == (kind == "test"))
            .find_map(|message| message["executable"].as_str())
            .map(PathBuf::from)
            .with_context(|| format!("cargo built no {name}"))
    };
    Ok(Programs {
        busybox: find("busybox").context("there is no busybox: run `cargo xtask setup`")?,
        pidtap: pidtap.to_owned(),
        live: built("live", "test")?,
        traced: vec![built("tracee", "bin")?],
    })
}

fn one(kernel: &Kernel, folder: &Path, programs: &Programs) -> anyhow::Result<()> {
    let began = Instant::now();
    let scenes = scene::scenes(kernel.expected);
    let vmlinuz = fetch::find(folder, "vmlinuz-").with_context(|| format!("{} holds no vmlinuz", folder.display()))?;
    let work = tempfile::tempdir()?;
    let image = work.path().join("image");
    fs::write(&image, guest::image(programs, folder, &scenes, work.path())?)?;
    let console = guest::boot(kernel, &image, &vmlinuz, BOUND)?;
    guest::check(&scenes, &console)?;
    let mut replayed = 0;
    if kernel.expected == Expected::Works {
        replayed = replay(&guest::kept(&console, work.path())?, work.path(), &programs.pidtap)?;
    }
    say(&format!(
        "Linux {}: all {} scenes, {replayed} recordings replayed here ({}; {:.0} s with start and end)",
        kernel.version,
        scenes.len(),
        guest::times(&console),
        began.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// What was recorded in the guest must give the same lines here. Gives the number of recordings.
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
                .ok_or_else(|| anyhow!("{name}: replayed here, it has another number of lines"))?;
            bail!("{name}: line {} is another when replayed here:\nthere: {there}\nhere:  {here}", line + 1);
        }
    }
    Ok(recordings.len())
}
