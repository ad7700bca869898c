//! The archive for distribution.

use std::{env::consts, fs, process::Command};

use anyhow::{Context as _, ensure};

use crate::{
    command::{perform, root, say},
    compile,
};

/// Files that the binary prints, and the arguments for each.
const PRINTED: [(&str, &[&str]); 4] = [
    ("pidtap.1", &["man"]),
    ("completions/pidtap.bash", &["completions", "bash"]),
    ("completions/_pidtap", &["completions", "zsh"]),
    ("completions/pidtap.fish", &["completions", "fish"]),
];

/// Files beside the binary.
const PAPERS: [&str; 8] = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "docs/json.md",
    "docs/recording-format.md",
    "docs/terms.md",
    "docs/pictures/overview.svg",
];

pub(crate) fn run() -> anyhow::Result<()> {
    let binary = compile::release()?;
    let name = format!("pidtap-{}-{}-linux", env!("CARGO_PKG_VERSION"), consts::ARCH);
    let dist = compile::target_folder()?.join("dist");
    let folder = dist.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("could not empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder.join("docs/pictures")).with_context(|| format!("could not make {}", folder.display()))?;
    fs::copy(&binary, folder.join("pidtap")).context("could not copy the binary")?;
    for paper in PAPERS {
        fs::copy(root().join(paper), folder.join(paper)).with_context(|| format!("could not copy {paper}"))?;
    }
    fs::create_dir_all(folder.join("completions")).context("could not make the folder of completions")?;
    for (file, words) in PRINTED {
        let output = Command::new(&binary).args(words).output().with_context(|| format!("could not print {file}"))?;
        ensure!(output.status.success(), "`pidtap {}` failed", words.join(" "));
        fs::write(folder.join(file), output.stdout).with_context(|| format!("could not write {file}"))?;
    }
    let archive = dist.join(format!("{name}.tar.gz"));
    // The same files give the same archive: sorted, without owners, and without times (gzip's header has none either).
    perform(
        Command::new("tar")
            .args(["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"])
            .args(["--mode=u+rw,go+r,go-w", "--use-compress-program=gzip -9 -n", "--file"])
            .arg(&archive)
            .arg("--directory")
            .arg(&dist)
            .arg(&name),
    )?;
    say(&format!("wrote {}", archive.display()));
    Ok(())
}
