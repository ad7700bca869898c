//! Processes with hostile names, on every way to the terminal that needs no probes.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
};

use tracer_tests::{
    cli::Dir,
    hostile::{Hostile, MARK, NAMES, check},
};

/// Runs pidtap, and returns its exit status and output. The output has nothing harmful, and no line that a name forged.
fn printed(dir: &Dir, arguments: &[&OsStr]) -> anyhow::Result<(Option<i32>, String)> {
    let mut run = dir.pidtap(&[]);
    run.command().args(arguments);
    let output = run.command().output()?;
    let what = format!("{arguments:?}");
    check(&what, &output.stdout)?;
    check(&what, &output.stderr)?;
    let said = String::from_utf8(output.stderr)?;
    for line in said.lines() {
        assert!(!line.starts_with("pidtap: x"), "{what}: forged: {said}");
    }
    Ok((output.status.code(), said + &String::from_utf8(output.stdout)?))
}

#[test]
fn hints_name_similar_processes_without_harm() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let mut hostile = Hostile::new()?;
    for pair in NAMES.windows(2) {
        let pids = [hostile.start(pair[0])?, hostile.start(pair[1])?];
        for command in ["attach", "doctor"] {
            let (_, said) = printed(&dir, &[OsStr::new(command), OsStr::new(MARK)])?;
            assert!(said.contains("similar: "), "{said}");
        }
        assert!(pids[0] < pids[1]);
    }
    Ok(())
}

#[test]
fn the_doctor_shows_names_and_paths_without_harm() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let mut hostile = Hostile::new()?;
    for name in NAMES {
        let pid = hostile.start(name)?.to_string();
        // By number, by name (which is quoted), and where several have the name.
        for _ in 0..2 {
            for word in [pid.as_bytes(), name] {
                let (status, shown) = printed(&dir, &[OsStr::new("doctor"), OsStr::from_bytes(word)])?;
                if word == name && std::str::from_utf8(name).is_err() {
                    assert_eq!(status, Some(2), "{shown}");
                } else {
                    assert!(shown.contains(&format!("process {pid} (")) && shown.contains("  program "), "{shown}");
                }
            }
            if std::str::from_utf8(name).is_ok() {
                hostile.start(name)?;
            }
        }
    }
    Ok(())
}

#[test]
fn refusals_quote_names_without_harm() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let mut hostile = Hostile::new()?;
    for name in NAMES {
        let (zombie, _input) = hostile.start_with_zombie(name)?;
        let (status, said) = printed(&dir, &[OsStr::new("attach"), OsStr::new(&zombie.to_string())])?;
        assert!(status == Some(3) && said.contains("is a zombie until its parent"), "{said}");
    }
    Ok(())
}

/// A script may pass words that it read anywhere.
#[test]
fn words_of_the_command_line_are_quoted_without_harm() -> anyhow::Result<()> {
    let dir = Dir::new()?;
    for name in NAMES {
        // Processes of other tests have the names themselves.
        let name = [b"no", name].concat();
        let name = OsStr::from_bytes(&name);
        let mut long = OsString::from("--");
        long.push(name);
        let forms: [&[&OsStr]; 11] = [
            &[name],
            &[OsStr::new("attach"), name],
            &[OsStr::new("doctor"), name],
            &[OsStr::new("open"), name],
            &[OsStr::new("open"), OsStr::new("/"), OsStr::new("--output-file"), name],
            &[OsStr::new("open"), name, OsStr::new("-o"), name],
            &[OsStr::new("4194305"), OsStr::new("--filter"), name],
            &[OsStr::new("4194305"), OsStr::new("--duration"), name],
            &[OsStr::new("4194305"), OsStr::new("--detector"), name],
            &[OsStr::new("run"), OsStr::new("--"), name],
            &[&long, OsStr::new("4194305")],
        ];
        for arguments in forms {
            let (status, said) = printed(&dir, arguments)?;
            assert!(status != Some(0) && !said.contains("panicked"), "{arguments:?}: {said}");
        }
    }
    Ok(())
}
