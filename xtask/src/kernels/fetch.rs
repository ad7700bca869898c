//! Debian's kernel packages. apt's downloader fetches them, as it knows the machine's proxies. They are verified and unpacked beside
//! the other tools, and never installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use super::matrix::Package;
use crate::{
    command::{output, perform, say},
    setup,
};

const HELPER: &str = "/usr/lib/apt/apt-helper";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The folder with the unpacked package. Fetches and unpacks it the first time.
pub(super) fn unpacked(package: &Package) -> anyhow::Result<PathBuf> {
    let cache = setup::tools_folder()?.join("kernels");
    let folder = cache.join(package.name);
    if folder.is_dir() {
        return Ok(folder);
    }
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let work = tempfile::tempdir_in(&cache)?;
    let file = match pinned(package, work.path()) {
        Ok(file) => file,
        Err(error) => newest(package, work.path(), &error)?,
    };
    let content = work.path().join("content");
    perform(Command::new("dpkg-deb").arg("--extract").args([&file, &content]))?;
    match fs::rename(&content, &folder) {
        // Another process was faster.
        Err(_) if folder.is_dir() => {}
        result => result.with_context(|| format!("cannot make {}", folder.display()))?,
    }
    Ok(folder)
}

/// Fetches the package of the pinned version.
fn pinned(package: &Package, work: &Path) -> anyhow::Result<PathBuf> {
    say(&format!("fetching {}", package.name));
    let file = work.join("pinned.deb");
    perform(
        Command::new(HELPER).arg("download-file").arg(package.url).arg(&file).arg(format!("SHA256:{}", package.sha256)),
    )?;
    Ok(file)
}

/// Fetches the current package of the release, where the mirror has dropped the pinned one. The signed index of the release has its
/// checksum.
fn newest(package: &Package, work: &Path, error: &anyhow::Error) -> anyhow::Result<PathBuf> {
    let Package { name, url, source, newest, architecture, .. } = package;
    say(&format!(
        "{name} could not be fetched ({error:#}): perhaps the mirror has dropped it after a point release. Taking what \
         `{source}` has now; to pin that, put its URL and checksum into xtask/src/kernels/matrix.rs"
    ));
    let hopeless = || {
        format!(
            "{url} could not be fetched, nor could its successor. Without a network: put the package's content (dpkg-deb \
             --extract) into {name} beside {}. With one: look up {newest} of `{source}`, and put URL and checksum into \
             xtask/src/kernels/matrix.rs",
            work.display()
        )
    };
    let lists = work.join("lists");
    fs::create_dir_all(lists.join("partial"))?;
    fs::create_dir_all(work.join("archives/partial"))?;
    let list = work.join("sources.list");
    fs::write(&list, format!("deb [arch={architecture} signed-by={KEYRING}] {source}\n"))?;
    let options = [
        format!("Dir::Etc::sourcelist={}", list.display()),
        "Dir::Etc::sourceparts=-".to_owned(),
        format!("Dir::State::lists={}", lists.display()),
        format!("Dir::Cache={}", work.display()),
        format!("APT::Architecture={architecture}"),
        format!("APT::Architectures={architecture}"),
        "Acquire::Languages=none".to_owned(),
        "Debug::NoLocking=true".to_owned(),
    ];
    let apt = |program: &str| {
        let mut command = Command::new(program);
        command.current_dir(work).args(options.iter().flat_map(|option| ["-o", option]));
        command
    };
    perform(apt("apt-get").arg("update")).with_context(hopeless)?;
    let depends = output(apt("apt-cache").args(["depends", "--no-recommends", newest])).with_context(hopeless)?;
    let wanted = wanted(&depends, newest);
    perform(apt("apt-get").args(["download", wanted])).with_context(hopeless)?;
    let found = fs::read_dir(work)?.filter_map(Result::ok).map(|entry| entry.path());
    let Some(file) = found.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb")) else {
        bail!("apt-get said that it fetched {wanted}, but left no file: {}", hopeless());
    };
    say(&format!("took {} instead of {name}", file.file_name().unwrap_or_default().display()));
    Ok(file)
}

/// The package to fetch, by the output of `apt-cache depends` for `newest`: a meta package of kernels depends on the newest kernel, any
/// other package is the newest itself.
fn wanted<'name>(depends: &'name str, newest: &'name str) -> &'name str {
    depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .filter(|name| name.starts_with("linux-image-"))
        .unwrap_or(newest)
}

/// The file below a folder with this prefix, the first by name if there are several.
pub(super) fn find(folder: &Path, begins: &str) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path()).collect();
    entries.sort();
    let name = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins));
    entries.iter().find(|path| path.is_file() && name(path)).cloned().or_else(|| {
        entries.iter().filter(|path| path.is_dir() && !path.is_symlink()).find_map(|path| find(path, begins))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_what_the_package_of_kernels_depends_on() {
        let depends = "linux-image-cloud-arm64\n  Depends: linux-image-6.12.118+deb13-cloud-arm64\n  Suggests: x\n";
        assert_eq!(wanted(depends, "linux-image-cloud-arm64"), "linux-image-6.12.118+deb13-cloud-arm64");
        assert_eq!(wanted("busybox-static\n", "busybox-static"), "busybox-static");
        let depends = "busybox-static\n  Depends: libc6\n";
        assert_eq!(wanted(depends, "busybox-static"), "busybox-static");
    }
}
