//! The program under low limits (`ulimit`): each run names the limit, or succeeds.

use anyhow::{Context as _, ensure};
use tracer_tests::cli::{Dir, Ended, PAIR, recording, text};

/// Limits: the option of `prlimit`, the option of `ulimit`, and values. With the lowest values, the loader just reaches the program's
/// first instruction. (The kernel leaves up to 8 KiB of a stack empty at random: `arch_align_stack`.)
const LIMITS: [(&str, &str, &[u64]); 4] = [
    ("--nofile", "-n", &[4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 24, 28, 30, 32, 36, 40]),
    ("--stack", "-s", &[32 << 10, 64 << 10, 128 << 10, 512 << 10]),
    ("--data", "-d", &[1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20, 20_000 << 10, 40_000 << 10]),
    ("--as", "-v", &[72 << 20, 100 << 20, 160 << 20, 300 << 20, 500 << 20]),
];

fn under(dir: &Dir, option: &str, value: u64, words: &[&str]) -> anyhow::Result<Ended> {
    let limit = format!("{option}={value}:{value}");
    let program = dir.pidtap(&[]).command().get_program().to_str().context("a plain path")?.to_owned();
    // The environment is on the stack, and a test's environment is larger than a user's.
    dir.run("env", &[&["-i", "prlimit", limit.as_str(), program.as_str()], words].concat()).end()
}

#[test]
fn what_a_limit_forbids_names_the_limit() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let tap = dir.write("a.tap", &recording([PAIR])?)?;
    let own = std::process::id().to_string();
    let commands: [&[&str]; 5] = [
        &[own.as_str(), "--duration", "1ms", "-o", "line"],
        &["run", "-o", "line", "--", "true"],
        &["open", text(&tap), "-o", "line"],
        &["doctor"],
        &["detectors"],
    ];
    for (option, name, values) in LIMITS {
        for &value in values {
            for words in commands {
                let what = format!("{option}={value} {words:?}");
                let ended = under(&dir, option, value, words)?.orderly(&what)?;
                let named = |text: &str| text.contains("limit is too low") && text.contains(&format!("ulimit {name} "));
                let is_told = named(&ended.stderr) || (words == ["doctor"] && named(&ended.stdout));
                let is_done = ended.status == Some(0) && matches!(words[0], "open" | "detectors");
                ensure!(is_done || (ended.status == Some(5) && is_told), "{what}: {ended:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn help_and_version_need_next_to_nothing() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    for (option, _, values) in LIMITS {
        for &value in values {
            for words in ["--version", "--help"] {
                let what = format!("{option}={value} {words}");
                let ended = under(&dir, option, value, &[words])?.orderly(&what)?;
                ensure!(ended.status == Some(0) && ended.stdout.contains("pidtap"), "{what}: {ended:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_file_that_may_not_grow_is_said_not_suffered() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let tap = dir.write("a.tap", &recording([PAIR])?)?;
    let out = dir.path("out");
    for words in [
        &["open", text(&tap), "-o", "json", "--output-file", text(&out)][..],
        &["open", text(&tap), "-o", "line", "--output-file", text(&out), "--force"],
    ] {
        let ended = under(&dir, "--fsize", 0, words)?.orderly(&format!("{words:?}"))?;
        ensure!(ended.status == Some(1) && ended.stderr.contains("ulimit -f"), "{ended:?}");
    }
    Ok(())
}
