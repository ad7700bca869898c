//! Running other programs, with a message for each.

use std::{
    env,
    ffi::OsStr,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

/// Reports the current step on stderr: the results of a program may be on stdout.
pub(crate) fn say(what: &str) {
    eprintln!("xtask: {what}");
}

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace").to_owned()
}

/// A cargo command in the folder of the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Whether the current user is root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command as root: with sudo, if the current user is another one.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

/// Prints a command and runs it to its end. Fails where the command fails.
pub(crate) fn perform(command: &mut Command) -> anyhow::Result<()> {
    let text = text(command);
    eprintln!("   $ {text}");
    let status = command.status().with_context(|| format!("could not start `{text}`"))?;
    if !status.success() {
        bail!("`{text}` failed: {status}");
    }
    Ok(())
}

/// Like [`perform`], and shows what the command prints at its end, in one piece: another command runs at the same time.
pub(crate) fn quietly(command: &mut Command) -> anyhow::Result<()> {
    let text = text(command);
    let output = command.output().with_context(|| format!("could not start `{text}`"))?;
    let mut shown = format!("   $ {text}\n").into_bytes();
    shown.extend(output.stdout);
    shown.extend(output.stderr);
    // A closed stderr is no failure of the command.
    let _ = io::stderr().write_all(&shown);
    if !output.status.success() {
        bail!("`{text}` failed: {}", output.status);
    }
    Ok(())
}

/// Replaces this process with the command, which then has its exit status and its signals.
pub(crate) fn exec(command: &mut Command) -> anyhow::Result<()> {
    let text = text(command);
    eprintln!("   $ {text}");
    Err(command.exec()).with_context(|| format!("could not start `{text}`"))
}

/// Standard output of a command that must succeed. Its standard error goes to this one's.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let text = text(command);
    let output =
        command.stderr(std::process::Stdio::inherit()).output().with_context(|| format!("could not start `{text}`"))?;
    if !output.status.success() {
        bail!("`{text}` failed: {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as a shell would take it.
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

/// The path of a program in `PATH`, or in a folder for system programs that a user's `PATH` may lack.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|folder| folder.join(program)).find(|file| file.is_file())
}
