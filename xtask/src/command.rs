//! Running other programs, and saying so.

use std::{
    env,
    ffi::OsStr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

/// Says what happens now. Progress goes to stderr, as results of the program that is run may be on stdout.
pub(crate) fn say(what: &str) {
    eprintln!("xtask: {what}");
}

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace").to_owned()
}

/// Cargo, in the folder of the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `program`, with sudo where we are not root.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

/// Runs a command to its end; says which, and fails where it fails.
pub(crate) fn perform(command: &mut Command) -> anyhow::Result<()> {
    let text = text(command);
    eprintln!("   $ {text}");
    let status = command.status().with_context(|| format!("could not start `{text}`"))?;
    if !status.success() {
        bail!("`{text}` failed: {status}");
    }
    Ok(())
}

/// Becomes the command, so that its exit status and its signals are ours.
pub(crate) fn exec(command: &mut Command) -> anyhow::Result<()> {
    let text = text(command);
    eprintln!("   $ {text}");
    Err(command.exec()).with_context(|| format!("could not start `{text}`"))
}

/// Standard output of a command that must succeed; its standard error is shown.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let text = text(command);
    let output =
        command.stderr(std::process::Stdio::inherit()).output().with_context(|| format!("could not start `{text}`"))?;
    if !output.status.success() {
        bail!("`{text}` failed: {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as one would type it.
fn text(command: &Command) -> String {
    let mut words: Vec<_> =
        command.get_envs().filter_map(|(name, value)| Some(format!("{}={}", name.display(), quoted(value?)))).collect();
    words.extend(std::iter::once(command.get_program()).chain(command.get_args()).map(quoted));
    words.join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) { word.into_owned() } else { format!("'{word}'") }
}

/// Where a program is: in `PATH`, or in a folder for system programs that a user's `PATH` may lack.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|folder| folder.join(program)).find(|file| file.is_file())
}
